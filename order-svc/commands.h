/* commands.h — what a command or an incoming event does to orders.
 *
 * Owns    commands live in their call's arena, events in their item's.
 * Threads want, decide, answer: the lane's.
 * Fails   each verb refuses with an answer of api.md; a refused item changes nothing.
 */
#ifndef ORDER_SVC_COMMANDS_H
#define ORDER_SVC_COMMANDS_H

#include "order.h"
#include "svc/lane.h"
#include "svc/waiters.h"

struct place_order {
    int64_t customer_id;
    const char *asset, *client_order_id;
    int side;
    decimal_t size, price;
    const char *actor;
    struct uuid id;
};
struct cancel_order {
    struct uuid id;
    int64_t customer_id; /* 0: an admin, anybody's */
    const char *actor;
};
struct cancel_orders {
    int64_t customer_id;
    const char *asset; /* NULL: any */
    int side;          /* -1: any */
    const char *actor;
};
struct canceled_orders {
    const struct order *items; /* as they are after it */
    size_t count;
};

/* Commands. Their waiter is call->state; results: PLACE, CANCEL: struct order *; CANCEL_ALL: struct canceled_orders *. */
extern const struct lane_verb ORDER_PLACE, ORDER_CANCEL, ORDER_CANCEL_ALL;
/* Events. */
extern const struct lane_verb ORDER_RESERVED, ORDER_REFUSED, ORDER_RELEASED, ORDER_MATCH, ORDER_BARRIER;

extern const struct lane_ops ORDER_SVC_OPS;

#endif
