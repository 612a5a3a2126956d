/* limiter.h — how many requests a key may make: GCRA, one number a key.
 *
 * For     admission.c. A policy allows `limit` requests a period, and a burst of `burst` at once. Each key has a theoretical
 *         arrival time; a request moves it on by cost * period / limit, and is refused if that would take it further than the
 *         burst into the future. So there are no windows with an edge where two bursts meet, a refused request costs nothing,
 *         and how long to wait is known exactly. Pure but for its mutexes: time is passed in.
 * Owns    a table of fixed size. An entry whose time has come is the same as none and is used again; in a bucket that is full of
 *         others, the one nearest to that gives way and is counted. Keys are hashed with a secret, so nobody chooses his bucket.
 * Threads limiter_ask: any at once. limiter_rescale: any.
 * Fails   never.
 */
#ifndef GATEWAY_LIMITER_H
#define GATEWAY_LIMITER_H

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"

enum {
    LIMIT_SLOTS = 65536,
    LIMIT_ASKS_MAX = 4,  /* policies of one request */
    LIMIT_KEY_MAX = 128, /* bytes that count */
    LIMIT_NAME_MAX = 32,
    LIMIT_TEXT_MAX = 96,
};
#define LIMIT_NEVER INT64_MAX

struct limit_policy {
    const char *name; /* of a-z, 0-9 and -; outlives the policy */
    int64_t limit, period_s, burst;
    mono_ns_t interval; /* between requests at the long run's rate */
    uint64_t id;
    char text[LIMIT_TEXT_MAX]; /* the policy as RateLimit-Policy shows it */
};
/* False: a number is out of range. 1..1,000,000 a second to 1 a day or less; a burst that takes at most a year to earn. */
MUST_CHECK bool limit_policy_init(struct limit_policy *p, const char *name, int64_t limit, int64_t period_s,
                                  int64_t burst);
bool limit_policy_eq(const struct limit_policy *a, const struct limit_policy *b);

struct limit_ask {
    const struct limit_policy *policy;
    struct str key;
    int64_t cost; /* at least 1; more than the burst is never allowed */
    /* -- told -- */
    bool allowed;      /* by this policy */
    int64_t remaining; /* that a request of cost 1 might still have now */
    mono_ns_t
        wait; /* allowed: until `remaining` grows (0: it is whole). Not: until the same would be; or LIMIT_NEVER */
};

struct limiter;
struct limiter *limiter_new(void);
void limiter_free(struct limiter *l);
/* Are all allowed? Nothing is spent unless they are, and `spend`. */
MUST_CHECK bool limiter_ask(struct limiter *l, struct limit_ask *asks, size_t count, bool spend, mono_ns_t now);
/* The policy has changed: what each key has used stays used, in whole requests. */
void limiter_rescale(struct limiter *l, const struct limit_policy *from, const struct limit_policy *to, mono_ns_t now);
uint64_t limiter_evictions(struct limiter *l);

/* The fields of draft-ietf-httpapi-ratelimit-headers-10 (RFC 9651 lists), the strictest first, in the arena:
 * "order";q=10;w=1  and  "order";r=19;t=1 */
struct limit_fields {
    const char *policy, *limit;
    int64_t retry_after_s; /* 0: all are allowed. Else enough for all of them, at least 1 */
};
struct limit_fields limit_fields_of(const struct limit_ask *asks, size_t count, struct arena *arena);

#endif
