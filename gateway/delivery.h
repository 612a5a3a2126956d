/* delivery.h — one request to a service until it has its end: sent, and where that is safe and of use, sent again.
 *
 * For     proxy.c (a request as it is), aggregate.c (parts of one answer) and breakers.c (a line for the audit trail).
 *         A request is sent again when no instance took it, or when twice does no harm: it only reads, its method is idempotent,
 *         or its route honours the Idempotency-Key that it carries. So a POST without a key is sent again only if no byte of it
 *         was written. Reads are sent up to DELIVERY_READS_MAX times, others DELIVERY_WRITES_MAX, to another instance if there is
 *         one, after a random wait of up to 25 ms * 2^n (250 ms at most) or what the service's Retry-After says, only while the
 *         deadline allows it and the service's retry budget too (budget.h). A kept connection that turns out to be dead costs no
 *         wait.
 * Owns    a delivery and all it points to: the caller's, untouched until `done`.
 * Threads its loop's.
 * Fails   delivery->err with `why`, a constant phrase, and the problem's Retry-After. 503 when the service surely did nothing (or
 *         was only read), else 504 outcome_unknown: what an earlier sending may have done is never denied by a later one.
 */
#ifndef GATEWAY_DELIVERY_H
#define GATEWAY_DELIVERY_H

#include "gateway/exchange.h"
#include "gateway/request.h"

enum {
    DELIVERY_READS_MAX = 3, /* sendings */
    DELIVERY_WRITES_MAX = 2,
    DELIVERY_BACKOFF_MS = 25,
    DELIVERY_BACKOFF_MAX_MS = 250,
    DELIVERY_LEFT_MIN_MS = 100, /* of the deadline, for one more sending */
};

struct delivery {
    /* -- asked -- */
    struct upstream_pools *pools;
    size_t upstream;          /* index */
    struct request_head head; /* each sending ends it anew */
    struct str body;
    bool only_reads, repeatable; /* repeatable: twice does no harm */
    mono_ns_t deadline;          /* of all sendings together */
    bool deadline_is_ours;       /* exchange.h */
    int try_ms, slow_ms;         /* of one sending; slow_ms 0: never slow */
    struct buf *out;             /* the answer's body; emptied before each sending */
    /* An answer's head. Called again if the request is sent again: what came before does not count any more. */
    void (*on_head)(struct delivery *d, const struct response *r);
    /* Once, and never from inside delivery_start. */
    void (*done)(struct delivery *d);

    /* -- told -- */
    enum err err; /* ERR_OK: the answer is whole, and true; its status may be anything */
    const char *why;
    int retry_after_s; /* 0: none */
    int status;        /* of the last answer; 0: none */
    int attempts;
    bool circuit_open;       /* the breaker let nothing pass */
    bool canceled;           /* by delivery_cancel */
    mono_ns_t upstream_took; /* of all sendings, without the waits between them */

    mono_ns_t started;
    /* -- delivery.c's; exchange: who was asked last, and how that ended -- */
    struct exchange exchange;
    bool in_doubt; /* an earlier sending was on its way and was not answered: it may have done what was asked */
    bool is_retry;
    int64_t asked_to_wait_s; /* Retry-After of the last answer; -1: none */
};
void delivery_start(struct delivery *d);
/* Nobody waits for it any more: `done` follows at once, or in this round of the loop. */
void delivery_cancel(struct delivery *d);
/* What to tell a client whose answer came, but is none that may be passed on. */
enum err delivery_error(const struct delivery *d);

#endif
