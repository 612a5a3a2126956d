#include "order.h"

#include <assert.h>

static const char *const ASSET_SVC = "SYSTEM:asset-svc";

static void move(struct order *o, enum order_status status, const char *reason, const char *actor, time_us_t now)
{
    o->state.status = status;
    o->state.status_reason = reason;
    o->state.actor = actor;
    o->state.update_date = now;
    o->state.version++;
}

bool order_open(struct order *o, time_us_t now)
{
    if (o->state.status != ORDER_NEW)
        return false;
    move(o, ORDER_PENDING, NULL, ASSET_SVC, now);
    return true;
}

bool order_reject(struct order *o, const char *reason, decimal_t required, decimal_t usable, time_us_t now)
{
    if (o->state.status != ORDER_NEW)
        return false;
    o->required = required;
    o->usable = usable;
    move(o, ORDER_REJECTED, reason, ASSET_SVC, now);
    return true;
}

enum err order_cancel(struct order *o, const char *actor, time_us_t now)
{
    if (o->state.status == ORDER_CANCELED)
        return ERR_OK;
    if (!order_is_open(o))
        return ERR_ORDER_NOT_CANCELABLE;
    move(o, ORDER_CANCELED, NULL, actor, now);
    return ERR_OK;
}

enum err order_fill_house(struct order *o, decimal_t size, const char *actor, time_us_t now)
{
    if (o->state.status == ORDER_MATCHED)
        return ERR_CONFLICT;
    if (o->state.status != ORDER_PENDING)
        return ERR_ORDER_NOT_MATCHABLE;

    decimal_t remaining = order_remaining(o);
    if (size == 0)
        size = remaining;
    if (size < 0 || size > remaining)
        return ERR_ORDER_NOT_MATCHABLE;

    decimal_t value;
    bool exact = decimal_mul(size, o->state.price, &value); /* size × price was in range when the order was placed */
    assert(exact);
    o->state.house.size += size;
    o->state.house.value += value;
    move(o, size == remaining ? ORDER_MATCHED : ORDER_PENDING, NULL, actor, now);
    return ERR_OK;
}
