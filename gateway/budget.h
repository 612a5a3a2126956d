/* budget.h — how much sending again a service can bear, so that retries never make its trouble worse.
 *
 * For     delivery.c, one an upstream, over all loops. Two rules, and both must allow it: of the requests under way at most
 *         BUDGET_ACTIVE_PERCENT are second sendings (but BUDGET_ACTIVE_MIN may always be), as Envoy has it; and of the sendings of
 *         the last BUDGET_WINDOW_S seconds at most BUDGET_WINDOW_PERCENT (but BUDGET_WINDOW_MIN), as Google's SRE book has it.
 * Owns    the caller's storage.  Threads: any at once; time is passed in.
 * Fails   never.
 */
#ifndef GATEWAY_BUDGET_H
#define GATEWAY_BUDGET_H

#include <pthread.h>
#include <stdbool.h>

#include "base/clock.h"
#include "base/err.h"

enum {
    BUDGET_ACTIVE_PERCENT = 20,
    BUDGET_ACTIVE_MIN = 3,
    BUDGET_WINDOW_S = 10,
    BUDGET_WINDOW_PERCENT = 10,
    BUDGET_WINDOW_MIN = 10,
};

struct budget {
    pthread_mutex_t mutex;
    int active, retrying;
    int64_t second; /* of the newest bucket */
    struct budget_bucket {
        uint32_t requests, retries;
    } buckets[BUDGET_WINDOW_S];
    uint64_t denied_total;
};
void budget_init(struct budget *b);
void budget_done(struct budget *b);

void budget_enter(struct budget *b, mono_ns_t now); /* a request begins: its first sending */
/* May it be sent again? Then budget_retried follows, once. */
MUST_CHECK bool budget_retry(struct budget *b, mono_ns_t now);
void budget_retried(struct budget *b); /* that sending has ended */
void budget_leave(struct budget *b);   /* the request has */
uint64_t budget_denied(struct budget *b);

#endif
