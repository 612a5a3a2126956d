/* breaker.h — a circuit breaker: stops asking a service that fails or hangs, and finds out by a few probes when it is back.
 *
 * For     the gateway: one a service, and the same machine with smaller numbers an instance, to leave one out. Pure but for its
 *         mutex: time is passed in (CLOCK_MONOTONIC), so tests step it as they like and a stepped wall clock does nothing.
 * Owns    the caller's storage; breaker_init before use, breaker_done after. `changed` is called without the mutex by the
 *         thread that made the change; two changes may be told in the wrong order, their generations say which was first.
 * Threads any at once. In CLOSED an acquire is one atomic load.
 * Fails   never. A permit that is never reported is found after half_open_max_ms; one reported late, in another state than it
 *         was given in, changes nothing but stale_total.
 *
 *     CLOSED      all pass; the last 10 s decide: calls >= min_calls, and failed or slow ones at or above their percentage; or
 *                 conn_fails calls in a row that found nobody -> OPEN
 *     OPEN        none passes for wait_ms * 2^k (at most wait_max_ms, +-jitter) -> HALF_OPEN, by an acquire or by breaker_tick
 *     HALF_OPEN   `probes` calls pass, probes_at_once at a time. As soon as what is left can't change the verdict: -> OPEN or
 *                 CLOSED. Probes under way for half_open_max_ms count as failed -> OPEN
 *     FORCED_OPEN, DISABLED   an admin's word: none passes, or all do and are counted only. Until breaker_force(CLOSED)
 *
 * There is no ramp after OPEN: the probes are one, and instances start slowly by themselves.
 */
#ifndef GATEWAY_BREAKER_H
#define GATEWAY_BREAKER_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/err.h"

enum { BREAKER_WINDOW_S = 10 };

enum breaker_state {
    BREAKER_CLOSED,
    BREAKER_OPEN,
    BREAKER_HALF_OPEN,
    BREAKER_FORCED_OPEN,
    BREAKER_DISABLED,
    BREAKER_STATE_COUNT
};
const char *breaker_state_name(enum breaker_state s); /* "HALF_OPEN" */

/* How a call that had a permit ended. The gateway's own refusals (limit, bulkhead, token) had none. */
enum breaker_outcome {
    BREAKER_SUCCESS,       /* any answer but 500, 502, 503, 504 */
    BREAKER_FAILURE,       /* those; a connection lost or not HTTP before an answer */
    BREAKER_NOT_CONNECTED, /* a failure that met nobody: refused, no route, no connection in time */
    BREAKER_LATE,          /* a failure, and slow: no answer by the deadline */
    BREAKER_CANCELED,      /* the client left first: ignored, unless it was slow by then: then slow, not failed */
};
enum breaker_outcome breaker_outcome_of(int status);

struct breaker_conf {
    int min_calls, failure_percent, slow_percent, conn_fails;
    int wait_ms, wait_max_ms, jitter_percent;
    int probes, probes_at_once, half_open_max_ms;
};
extern const struct breaker_conf BREAKER_SERVICE, BREAKER_INSTANCE;

struct breaker_change {
    enum breaker_state from, to;
    uint32_t generation;          /* of `to` */
    uint32_t calls, failed, slow; /* what decided: of the window, or of the probes */
};
typedef void breaker_changed(void *arg, const struct breaker_change *change);

struct breaker_counts {
    uint32_t calls, failed, slow;
};
struct breaker {
    _Atomic uint64_t gate; /* state and generation, as acquire reads them without the mutex */
    struct breaker_conf conf;
    breaker_changed *changed; /* or NULL */
    void *arg;
    pthread_mutex_t mutex;
    enum breaker_state state;
    uint32_t generation;
    int64_t second; /* of the window's newest bucket */
    struct breaker_counts buckets[BREAKER_WINDOW_S], window, probes;
    int conn_fails, open_count, probes_given, probes_under_way;
    mono_ns_t open_until, probes_until, since;
    uint64_t random;
    uint64_t successful_total, failed_total, slow_total, ignored_total, stale_total, not_permitted_total;
    uint64_t entered_total[BREAKER_STATE_COUNT];
};

/* `seed` is for the jitter; any number. */
void breaker_init(struct breaker *b, const struct breaker_conf *conf, uint64_t seed, breaker_changed *changed,
                  void *arg, mono_ns_t now);
void breaker_done(struct breaker *b);

/* May a call go on? Then it has *ret_generation, and must be reported once with it. Else *ret_wait is how long not to ask
 * again, more than 0. */
MUST_CHECK bool breaker_acquire(struct breaker *b, mono_ns_t now, uint32_t *ret_generation, mono_ns_t *ret_wait);

struct breaker_result {
    enum breaker_outcome outcome;
    mono_ns_t took, slow_after; /* slow: took > slow_after; never, if slow_after is 0 (a 202 that was to wait) */
};
void breaker_report(struct breaker *b, uint32_t generation, struct breaker_result result, mono_ns_t now);

/* What time alone changes. Once in about 100 ms, so that states and metrics don't depend on traffic. */
void breaker_tick(struct breaker *b, mono_ns_t now);
/* An admin's word: to FORCED_OPEN, DISABLED, or CLOSED (which forgets all). Nothing if it is in that state. */
void breaker_force(struct breaker *b, enum breaker_state to, mono_ns_t now);

struct breaker_view {
    enum breaker_state state;
    uint32_t generation;
    struct breaker_counts window; /* of the last 10 s; of the time before it opened, while not CLOSED */
    struct breaker_counts probes;
    int64_t in_state_ms, retry_after_ms; /* 0: asks now */
    bool has_rates;                      /* calls >= min_calls */
    double failure_rate, slow_rate;      /* percent; -1 without has_rates */
    uint64_t successful_total, failed_total, slow_total, ignored_total, stale_total, not_permitted_total;
    uint64_t entered_total[BREAKER_STATE_COUNT];
};
void breaker_look(struct breaker *b, mono_ns_t now, struct breaker_view *ret);
/* Without a lock, for a choice among many: it may be another one by now. */
enum breaker_state breaker_peek(const struct breaker *b);

#endif
