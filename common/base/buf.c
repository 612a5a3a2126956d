#include "base/buf.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

enum { CAP_MIN = 64 };

void buf_init(struct buf *b)
{
    *b = (struct buf){0};
}

void buf_done(struct buf *b)
{
    mem_free(b->data);
    buf_init(b);
}

void buf_reset(struct buf *b)
{
    b->len = 0;
    if (b->data != NULL)
        b->data[0] = '\0';
}

char *buf_take(struct buf *b)
{
    char *data = b->data != NULL ? b->data : mem_alloc(1);
    buf_init(b);
    return data;
}

/* Room for `more` bytes and the NUL. */
static void make_room(struct buf *b, size_t more)
{
    assert(more < SIZE_MAX / 4 && b->len < SIZE_MAX / 4);
    size_t need = b->len + more + 1;
    if (need <= b->cap)
        return;

    size_t cap = b->cap == 0 ? CAP_MIN : b->cap * 2;
    if (cap < need)
        cap = need;
    b->data = mem_realloc(b->data, cap);
    b->cap = cap;
}

void buf_append(struct buf *b, const void *data, size_t len)
{
    make_room(b, len);
    if (len > 0)
        memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = '\0';
}

void buf_str(struct buf *b, const char *s)
{
    buf_append(b, s, strlen(s));
}

void buf_char(struct buf *b, char c)
{
    buf_append(b, &c, 1);
}

void buf_i64(struct buf *b, int64_t v)
{
    char text[24];
    size_t at = sizeof(text);
    uint64_t rest = v < 0 ? -(uint64_t)v : (uint64_t)v; /* INT64_MIN has no positive twin */
    do {
        text[--at] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (v < 0)
        text[--at] = '-';
    buf_append(b, text + at, sizeof(text) - at);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    make_room(b, CAP_MIN); /* most texts fit at once */
    size_t room = b->cap - b->len;
    int len = vsnprintf(b->data + b->len, room, fmt, args);
    va_end(args);
    assert(len >= 0);

    if ((size_t)len >= room) {
        make_room(b, (size_t)len);
        vsnprintf(b->data + b->len, (size_t)len + 1, fmt, again);
    }
    va_end(again);
    b->len += (size_t)len;
}

const char *buf_cstr(const struct buf *b)
{
    return b->data != NULL ? b->data : "";
}
