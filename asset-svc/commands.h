/* commands.h — what a command or an incoming event does to the books.
 *
 * Owns    commands live in their call's arena, events in their item's.
 * Threads want, decide, answer: the lane's.
 * Fails   BRING_IN refuses with an answer of api.md. An order or transfer that can't be paid is answered by an event, not an
 *         error; a state that can't be is ERR_BUG, and the event is parked.
 */
#ifndef ASSET_SVC_COMMANDS_H
#define ASSET_SVC_COMMANDS_H

#include "books.h"
#include "svc/lane.h"

struct bring_in {
    int64_t customer_id;
    const char *asset;
    decimal_t size;
    const char *actor;
    struct uuid id; /* the entry's cause */
};

/* Command; result: struct holding *, as it is after it. */
extern const struct lane_verb ASSET_BRING_IN;
/* Events. */
extern const struct lane_verb ASSET_ORDER_PLACED, ASSET_ORDER_CANCELED, ASSET_ORDER_FILLED, ASSET_TRANSFER,
    ASSET_REGISTERED;

extern const struct lane_ops ASSET_SVC_OPS;

#endif
