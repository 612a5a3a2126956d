/* events.h — the events order-svc publishes, from its orders; and the table of those it acts on.
 *
 * Owns    nothing.  Threads: the lane's.  Fails: decoding: ERR_INVALID (the event is parked).
 */
#ifndef ORDER_SVC_EVENTS_H
#define ORDER_SVC_EVENTS_H

#include "order.h"
#include "svc/subscriber.h"

/* type: "order.placed", "order.opened", "order.rejected", "order.canceled". */
void events_emit_order(struct batch *b, const char *type, const struct order *o);
/* order.filled: `fill` of the order was matched just now. */
void events_emit_filled(struct batch *b, const struct order *o, struct uuid match_id, struct order_fill fill);
/* o NULL: there is no such order. */
void events_emit_match_refused(struct batch *b, struct uuid match_id, struct uuid order_id, const char *code,
                               const struct order *o);
void events_emit_barrier(struct batch *b, struct uuid barrier_id);

extern const char *const ORDER_SVC_CONSUMES[];
extern const struct event_kind ORDER_SVC_KINDS[];
extern const char *const ORDER_SVC_UNAWAITED[]; /* the client has his answer before these are read */

#endif
