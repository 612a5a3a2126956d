/* order_form.h — what a client writes to place an order, or to ask what it would need.
 *
 * For     POST /orders (order-svc) and POST /orders/estimate (asset-svc), which take the same and refuse the same.
 * Owns    text lives in the call's arena.
 * Threads the call's loop.
 * Fails   ERR_INVALID naming every field; ERR_NOT_FOUND for another's customerId; ERR_ASSET_NOT_TRADABLE for TRY.
 */
#ifndef SVC_ORDER_FORM_H
#define SVC_ORDER_FORM_H

#include "events/order_event.h"
#include "io/http.h"

struct order_form {
    const char *asset, *client_order_id; /* the latter may be NULL */
    int side;                            /* enum order_side */
    decimal_t size, price;               /* their product is at most DECIMAL_VALUE_MAX */
    int64_t customer_id;                 /* whose the order is */
};
MUST_CHECK enum err order_form_read(struct call *call, struct order_form *ret);

#endif
