/* order.h — one order's states and the moves between them.
 *
 * For     order-svc's decisions. Pure: no I/O, no clock, no allocation.
 * Owns    nothing; an order belongs to the batch that loaded it.
 * Always  NEW → PENDING | REJECTED | CANCELED; PENDING → MATCHED | CANCELED. 0 <= matched <= size; MATCHED means all of it.
 *         Each move adds one to the version. A move that is not allowed is refused and changes nothing.
 */
#ifndef ORDER_SVC_ORDER_H
#define ORDER_SVC_ORDER_H

#include "events/order_event.h"

struct order {
    struct order_state state;
    int64_t books_version;      /* the version at which asset-svc last said that the books stand */
    decimal_t required, usable; /* REJECTED: what was needed, and what there was */
};

static inline decimal_t order_remaining(const struct order *o)
{
    return o->state.size - order_matched_size(&o->state);
}
static inline bool order_is_open(const struct order *o)
{
    return o->state.status == ORDER_NEW || o->state.status == ORDER_PENDING;
}

/* The books set aside what the order needs: NEW → PENDING. false: it is not NEW any more (a late answer): nothing changes. */
bool order_open(struct order *o, time_us_t now);
/* The books refused: NEW → REJECTED, and the clientOrderId is free again. false: as above. */
bool order_reject(struct order *o, const char *reason, decimal_t required, decimal_t usable, time_us_t now);
/* ERR_ORDER_NOT_CANCELABLE: MATCHED or REJECTED. CANCELED stays as it is, which is no error. */
MUST_CHECK enum err order_cancel(struct order *o, const char *actor, time_us_t now);
/* Fills `size` (0: all that remains) against the house at the order's own price. ERR_ORDER_NOT_MATCHABLE: it is not PENDING, or
 * less remains; ERR_CONFLICT: already MATCHED. */
MUST_CHECK enum err order_fill_house(struct order *o, decimal_t size, const char *actor, time_us_t now);

#endif
