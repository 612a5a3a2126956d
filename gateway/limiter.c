#include "gateway/limiter.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/id.h"

enum { WAYS = 8, BUCKETS = LIMIT_SLOTS / WAYS, SHARDS = 64, RATE_MAX = 1000000 };
#define DEBT_MAX (366 * 24 * 3600 * NS_PER_S)

struct slot {
    uint64_t hash; /* of policy and key */
    mono_ns_t tat; /* the theoretical arrival time; not in the future: the slot is free */
    uint64_t policy;
};
struct limiter {
    unsigned char secret[HASH_KEY_SIZE];
    _Atomic uint64_t evictions;
    pthread_mutex_t mutexes[SHARDS]; /* of buckets i, i + SHARDS, … */
    struct slot slots[BUCKETS][WAYS];
};

bool limit_policy_init(struct limit_policy *p, const char *name, int64_t limit, int64_t period_s, int64_t burst)
{
    bool sane = limit >= 1 && period_s >= 1 && period_s <= DEBT_MAX / NS_PER_S && burst >= 1 &&
                limit / period_s <= RATE_MAX;
    if (!sane)
        return false;
    mono_ns_t interval = period_s * NS_PER_S / limit;
    if (interval < 1 || burst > DEBT_MAX / interval)
        return false;
    *p = (struct limit_policy){name, limit, period_s, burst, interval, hash_fnv1a(name, strlen(name)), ""};
    int len = snprintf(p->text, sizeof(p->text), "\"%s\";q=%lld;w=%lld", name, (long long)limit, (long long)period_s);
    return len < LIMIT_TEXT_MAX;
}

bool limit_policy_eq(const struct limit_policy *a, const struct limit_policy *b)
{
    return strcmp(a->name, b->name) == 0 && a->limit == b->limit && a->period_s == b->period_s && a->burst == b->burst;
}

struct limiter *limiter_new(void)
{
    struct limiter *l = mem_alloc(sizeof(*l));
    id_random_bytes(l->secret, sizeof(l->secret));
    for (size_t i = 0; i < SHARDS; i++)
        pthread_mutex_init(&l->mutexes[i], NULL);
    return l;
}

void limiter_free(struct limiter *l)
{
    if (l == NULL)
        return;
    for (size_t i = 0; i < SHARDS; i++)
        pthread_mutex_destroy(&l->mutexes[i]);
    mem_free(l);
}

/* ---- the table ---- */

static uint64_t hash_of(const struct limiter *l, const struct limit_ask *a)
{
    unsigned char bytes[sizeof(uint64_t) + LIMIT_KEY_MAX];
    size_t len = a->key.len < LIMIT_KEY_MAX ? a->key.len : LIMIT_KEY_MAX;
    memcpy(bytes, &a->policy->id, sizeof(uint64_t));
    if (len > 0)
        memcpy(bytes + sizeof(uint64_t), a->key.data, len);
    return hash_siphash(l->secret, bytes, sizeof(uint64_t) + len);
}

static struct slot *bucket_of(struct limiter *l, uint64_t hash)
{
    return l->slots[hash % BUCKETS];
}

static struct slot *find(struct limiter *l, uint64_t hash)
{
    struct slot *bucket = bucket_of(l, hash);
    for (size_t i = 0; i < WAYS; i++)
        if (bucket[i].hash == hash)
            return &bucket[i];
    return NULL;
}

/* The slot with the least time is free, or is the one whose loss lets the least through. */
static struct slot *find_or_make(struct limiter *l, uint64_t hash, mono_ns_t now)
{
    struct slot *bucket = bucket_of(l, hash), *least = find(l, hash);
    if (least != NULL)
        return least;
    least = &bucket[0];
    for (size_t i = 1; i < WAYS; i++)
        if (bucket[i].tat < least->tat)
            least = &bucket[i];
    if (least->tat > now)
        atomic_fetch_add_explicit(&l->evictions, 1, memory_order_relaxed);
    return least;
}

/* The shards that some hashes are in, each once and always in the same order, so that two requests can't wait for each other. */
static void lock_shards(struct limiter *l, const uint64_t *hashes, size_t count, bool lock)
{
    uint64_t shards = 0;
    for (size_t i = 0; i < count; i++)
        shards |= UINT64_C(1) << (hashes[i] % BUCKETS % SHARDS);
    for (; shards != 0; shards &= shards - 1) {
        pthread_mutex_t *mutex = &l->mutexes[__builtin_ctzll(shards)];
        if (lock)
            pthread_mutex_lock(mutex);
        else
            pthread_mutex_unlock(mutex);
    }
}

/* ---- the algorithm ---- */

static mono_ns_t debt_max(const struct limit_policy *p)
{
    return p->burst * p->interval;
}

/* What the key has used and not yet earned back. More than the burst can only be by a clock that was set back. */
static mono_ns_t debt_of(struct slot *slot, const struct limit_policy *p, mono_ns_t now)
{
    if (slot == NULL || slot->tat <= now)
        return 0;
    if (slot->tat - now > debt_max(p))
        slot->tat = now + debt_max(p);
    return slot->tat - now;
}

static void tell(struct limit_ask *a, mono_ns_t debt)
{
    const struct limit_policy *p = a->policy;
    a->remaining = (debt_max(p) - debt) / p->interval;
    if (a->allowed)
        a->wait = a->remaining == p->burst ? 0 : debt - (p->burst - a->remaining - 1) * p->interval;
    else
        a->wait = a->cost > p->burst ? LIMIT_NEVER : debt + a->cost * p->interval - debt_max(p);
}

static bool judge(struct limiter *l, struct limit_ask *asks, const uint64_t *hashes, size_t count, mono_ns_t now)
{
    bool all = true;
    for (size_t i = 0; i < count; i++) {
        struct limit_ask *a = &asks[i];
        mono_ns_t debt = debt_of(find(l, hashes[i]), a->policy, now);
        a->allowed = a->cost <= a->policy->burst && debt + a->cost * a->policy->interval <= debt_max(a->policy);
        all = all && a->allowed;
        tell(a, debt);
    }
    return all;
}

static void spend_all(struct limiter *l, struct limit_ask *asks, const uint64_t *hashes, size_t count, mono_ns_t now)
{
    for (size_t i = 0; i < count; i++) {
        struct limit_ask *a = &asks[i];
        struct slot *slot = find_or_make(l, hashes[i], now);
        mono_ns_t debt = slot->hash == hashes[i] ? debt_of(slot, a->policy, now) : 0;
        debt += a->cost * a->policy->interval;
        *slot = (struct slot){.hash = hashes[i], .tat = now + debt, .policy = a->policy->id};
        tell(a, debt);
    }
}

bool limiter_ask(struct limiter *l, struct limit_ask *asks, size_t count, bool spend, mono_ns_t now)
{
    uint64_t hashes[LIMIT_ASKS_MAX];
    assert(count <= LIMIT_ASKS_MAX);
    for (size_t i = 0; i < count; i++) {
        assert(asks[i].cost >= 1);
        hashes[i] = hash_of(l, &asks[i]);
    }
    lock_shards(l, hashes, count, true);
    bool all = judge(l, asks, hashes, count, now);
    if (all && spend)
        spend_all(l, asks, hashes, count, now);
    lock_shards(l, hashes, count, false);
    return all;
}

static void rescale_slot(struct slot *s, const struct limit_policy *from, const struct limit_policy *to, mono_ns_t now)
{
    int64_t used = (debt_of(s, from, now) + from->interval - 1) / from->interval;
    s->tat = now + (used < to->burst ? used : to->burst) * to->interval;
}

void limiter_rescale(struct limiter *l, const struct limit_policy *from, const struct limit_policy *to, mono_ns_t now)
{
    for (size_t b = 0; b < BUCKETS; b++) {
        pthread_mutex_lock(&l->mutexes[b % SHARDS]);
        for (size_t i = 0; i < WAYS; i++)
            if (l->slots[b][i].policy == from->id && l->slots[b][i].tat > now)
                rescale_slot(&l->slots[b][i], from, to, now);
        pthread_mutex_unlock(&l->mutexes[b % SHARDS]);
    }
}

uint64_t limiter_evictions(struct limiter *l)
{
    return atomic_load_explicit(&l->evictions, memory_order_relaxed);
}

/* ---- what is told ---- */

/* Which of two is to be told first: what refuses, then what has less left of its burst. */
static bool is_stricter(const struct limit_ask *a, const struct limit_ask *b)
{
    if (a->allowed != b->allowed)
        return !a->allowed;
    if (!a->allowed)
        return a->wait > b->wait;
    return a->remaining * b->policy->burst < b->remaining * a->policy->burst;
}

static void order_by_strictness(const struct limit_ask *asks, size_t count, const struct limit_ask *ret[LIMIT_ASKS_MAX])
{
    for (size_t i = 0; i < count; i++) {
        size_t at = i;
        for (; at > 0 && is_stricter(&asks[i], ret[at - 1]); at--)
            ret[at] = ret[at - 1];
        ret[at] = &asks[i];
    }
}

/* Up: waiting so long is always enough. */
static int64_t seconds_of(mono_ns_t wait)
{
    return wait / NS_PER_S + (wait % NS_PER_S != 0);
}

/* "order";r=19;t=1 */
static const char *state_text(const struct limit_ask *a, struct arena *arena)
{
    return arena_printf(arena, "\"%s\";r=%lld;t=%lld", a->policy->name, (long long)a->remaining,
                        (long long)seconds_of(a->wait));
}

static const char *listed(const char *list, const char *item, struct arena *arena)
{
    return list == NULL ? item : arena_printf(arena, "%s, %s", list, item);
}

struct limit_fields limit_fields_of(const struct limit_ask *asks, size_t count, struct arena *arena)
{
    const struct limit_ask *ordered[LIMIT_ASKS_MAX];
    struct limit_fields f = {NULL, NULL, 0};
    assert(count >= 1 && count <= LIMIT_ASKS_MAX);
    order_by_strictness(asks, count, ordered);
    for (size_t i = 0; i < count; i++) {
        f.policy = listed(f.policy, ordered[i]->policy->text, arena);
        f.limit = listed(f.limit, state_text(ordered[i], arena), arena);
    }
    if (!ordered[0]->allowed)
        f.retry_after_s = seconds_of(ordered[0]->wait);
    return f;
}
