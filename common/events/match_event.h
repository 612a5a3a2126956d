/* match_event.h — what admin-svc tells the others (topic admin-events): match.requested, barrier.requested.
 *
 * Owns    decoded text lives in the arena.  Threads: any.  Fails: decode: ERR_INVALID with the member that is wrong.
 */
#ifndef EVENTS_MATCH_EVENT_H
#define EVENTS_MATCH_EVENT_H

#include "base/mem.h"
#include "io/json.h"

/* House mode: one order, filled against the firm at its own price. One event an order, keyed by its customer when known. */
struct match_requested {
    struct uuid match_id, order_id;
    decimal_t size; /* 0: all that remains */
    const char *actor;
};
void match_requested_encode(struct buf *out, const struct match_requested *e);
MUST_CHECK enum err match_requested_decode(const struct json *data, struct arena *arena, struct match_requested *ret,
                                           struct fault *fault);

struct barrier_requested {
    struct uuid barrier_id;
};
void barrier_requested_encode(struct buf *out, const struct barrier_requested *e);
MUST_CHECK enum err barrier_requested_decode(const struct json *data, struct arena *arena,
                                             struct barrier_requested *ret, struct fault *fault);

#endif
