#include "io/token_denied.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/mem.h"

enum { WAYS = 8, ROWS = DENIED_MAX / WAYS };

/* The keys of a row fill one cache line. */
struct row {
    _Atomic uint64_t keys[WAYS]; /* 0: never used */
    _Atomic int64_t until[WAYS];
};

struct denied {
    pthread_mutex_t adding;
    _Atomic int64_t last_until; /* of all: after it, nobody is denied */
    _Atomic int64_t floor;
    struct row rows[ROWS];
};

struct denied *denied_new(void)
{
    struct denied *d = mem_alloc(sizeof *d);
    pthread_mutex_init(&d->adding, NULL);
    return d;
}

void denied_free(struct denied *d)
{
    if (d == NULL)
        return;
    pthread_mutex_destroy(&d->adding);
    mem_free(d);
}

/* A sid is made by us, and its last 62 bits are random: they tell sessions apart, and nobody can aim at a row. */
static uint64_t key_of(struct uuid sid)
{
    uint64_t key;
    memcpy(&key, sid.bytes + sizeof sid.bytes - sizeof key, sizeof key);
    return key != 0 ? key : 1;
}

/* Each key may stand in either of two rows, and goes where more room is: so half of the table fills before any row is full. */
static size_t row_of(uint64_t key, int which)
{
    uint64_t mixed = key * (which == 0 ? UINT64_C(0x9E3779B97F4A7C15) : UINT64_C(0xC2B2AE3D27D4EB4F));
    return (size_t)(mixed >> 32) % ROWS;
}

/* ---- asking ---- */

static int find_in(const struct row *row, uint64_t key)
{
    for (int i = 0; i < WAYS; i++)
        if (atomic_load_explicit(&row->keys[i], memory_order_acquire) == key)
            return i;
    return -1;
}

static bool is_in(const struct row *row, uint64_t key, int64_t now_s)
{
    int at = find_in(row, key);
    return at >= 0 && atomic_load_explicit(&row->until[at], memory_order_relaxed) > now_s;
}

bool denied_has(const struct denied *d, struct uuid sid, int64_t iat, int64_t now_s)
{
    if (iat <= atomic_load_explicit(&d->floor, memory_order_acquire))
        return true;
    if (now_s >= atomic_load_explicit(&d->last_until, memory_order_acquire))
        return false;
    uint64_t key = key_of(sid);
    return is_in(&d->rows[row_of(key, 0)], key, now_s) || is_in(&d->rows[row_of(key, 1)], key, now_s);
}

int64_t denied_floor(const struct denied *d)
{
    return atomic_load_explicit(&d->floor, memory_order_acquire);
}

/* ---- adding: only the holder of `adding` writes ---- */

static void raise_to(_Atomic int64_t *value, int64_t to)
{
    if (atomic_load_explicit(value, memory_order_relaxed) < to)
        atomic_store_explicit(value, to, memory_order_release);
}

static int free_places(const struct row *row, int64_t now_s)
{
    int free = 0;
    for (int i = 0; i < WAYS; i++)
        free += atomic_load_explicit(&row->until[i], memory_order_relaxed) <= now_s;
    return free;
}

/* The time first: who still reads the place's old key finds that session denied, whose tokens have all expired. */
static void put(struct row *row, uint64_t key, int64_t until_s, int64_t now_s)
{
    for (int i = 0; i < WAYS; i++) {
        if (atomic_load_explicit(&row->until[i], memory_order_relaxed) > now_s)
            continue;
        atomic_store_explicit(&row->until[i], until_s, memory_order_relaxed);
        atomic_store_explicit(&row->keys[i], key, memory_order_release);
        return;
    }
}

static bool prolong(struct row *row, uint64_t key, int64_t until_s)
{
    int at = find_in(row, key);
    if (at >= 0)
        raise_to(&row->until[at], until_s);
    return at >= 0;
}

static void add(struct denied *d, uint64_t key, int64_t until_s, int64_t now_s)
{
    struct row *first = &d->rows[row_of(key, 0)], *second = &d->rows[row_of(key, 1)];
    if (prolong(first, key, until_s) || prolong(second, key, until_s))
        return;
    int in_first = free_places(first, now_s), in_second = free_places(second, now_s);
    if (in_first == 0 && in_second == 0)
        raise_to(&d->floor, now_s);
    else
        put(in_first >= in_second ? first : second, key, until_s, now_s);
}

void denied_add(struct denied *d, struct uuid sid, int64_t until_s, int64_t now_s)
{
    if (until_s <= now_s)
        return;
    pthread_mutex_lock(&d->adding);
    add(d, key_of(sid), until_s, now_s);
    raise_to(&d->last_until, until_s);
    pthread_mutex_unlock(&d->adding);
}
