#include "base/id.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"

/* Straight from the kernel, unbuffered: a buffer would come out twice after a fork, and 0.3 µs an id is cheap enough. */
void id_random_bytes(void *ret, size_t len)
{
    unsigned char *p = ret;
    while (len > 0) {
        ssize_t got = getrandom(p, len, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            dprintf(STDERR_FILENO, "no random bytes from the kernel: %s\n", strerror(errno));
            abort();
        }
        p += got;
        len -= (size_t)got;
    }
}

static void put_u64(unsigned char *p, uint64_t v)
{
    for (int i = 7; i >= 0; i--) {
        p[i] = (unsigned char)v;
        v >>= 8;
    }
}

/* A version 7 id before its version and variant bits are set in between: 48 bits of time, 12 and 62 of counter. */
struct v7_state {
    uint64_t ms;
    uint16_t high; /* 12 bits */
    uint64_t low;  /* 62 bits */
};

enum { HIGH_MAX = 0xfff };
#define LOW_MAX ((UINT64_C(1) << 62) - 1)

/* RFC 9562 section 6.2, method 2: within a millisecond (or while the clock stands or is set back) the random part counts up, by
 * a random step so that the next id can't be guessed from the last. */
static void v7_step_up(struct v7_state *v)
{
    uint32_t step;
    id_random_bytes(&step, sizeof(step));
    v->low += (uint64_t)step + 1;
    if (v->low <= LOW_MAX)
        return;
    v->low &= LOW_MAX;
    v->high++;
    if (v->high <= HIGH_MAX)
        return;
    v->high = 0;
    v->ms++;
}

static void v7_start_ms(struct v7_state *v, uint64_t ms)
{
    uint64_t random[2];
    id_random_bytes(random, sizeof(random));
    v->ms = ms;
    v->high = (uint16_t)(random[0] & (HIGH_MAX >> 1)); /* the top bit clear: room to count up */
    v->low = random[1] & LOW_MAX;
}

struct uuid uuid_v7(void)
{
    /* The one mutable variable outside a caller's storage: an id must be greater than its thread's last, whoever asked for that. */
    static _Thread_local struct v7_state last;

    uint64_t ms = (uint64_t)clock_now_us() / 1000;
    if (ms > last.ms)
        v7_start_ms(&last, ms);
    else
        v7_step_up(&last);

    struct uuid id;
    put_u64(id.bytes, last.ms << 16 | UINT64_C(0x7000) | last.high);
    put_u64(id.bytes + 8, UINT64_C(0x8000000000000000) | last.low);
    return id;
}

struct uuid uuid_random(void)
{
    struct uuid id;
    id_random_bytes(id.bytes, sizeof(id.bytes));
    id.bytes[6] = (unsigned char)((id.bytes[6] & 0x0f) | 0x40);
    id.bytes[8] = (unsigned char)((id.bytes[8] & 0x3f) | 0x80);
    return id;
}

struct uuid uuid_of_int(int64_t value)
{
    struct uuid id = {0};
    put_u64(id.bytes + 8, (uint64_t)value);
    return id;
}

bool uuid_eq(struct uuid a, struct uuid b)
{
    return uuid_cmp(a, b) == 0;
}

bool uuid_is_nil(struct uuid a)
{
    return uuid_eq(a, (struct uuid){0});
}

int uuid_cmp(struct uuid a, struct uuid b)
{
    return memcmp(a.bytes, b.bytes, sizeof(a.bytes));
}

/* 8-4-4-4-12: a hyphen stands before these bytes. */
static bool hyphen_before(size_t byte)
{
    return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

void uuid_format(struct uuid id, char ret_text[UUID_TEXT_MAX])
{
    static const char HEX[] = "0123456789abcdef";
    char *p = ret_text;
    for (size_t i = 0; i < sizeof(id.bytes); i++) {
        if (hyphen_before(i))
            *p++ = '-';
        *p++ = HEX[id.bytes[i] >> 4];
        *p++ = HEX[id.bytes[i] & 15];
    }
    *p = '\0';
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool uuid_parse(struct str text, struct uuid *ret_id)
{
    if (text.len != UUID_TEXT_MAX - 1)
        return false;

    struct uuid id;
    const char *p = text.data;
    for (size_t i = 0; i < sizeof(id.bytes); i++) {
        if (hyphen_before(i) && *p++ != '-')
            return false;
        int high = hex_value(*p++);
        int low = hex_value(*p++);
        if (high < 0 || low < 0)
            return false;
        id.bytes[i] = (unsigned char)(high << 4 | low);
    }
    *ret_id = id;
    return true;
}
