/* events.h — the events admin-svc publishes, and the table of those it acts on.
 *
 * Owns    nothing.  Threads: the lane's.  Fails: decoding: ERR_INVALID (the event is parked).
 */
#ifndef ADMIN_SVC_EVENTS_H
#define ADMIN_SVC_EVENTS_H

#include "match.h"
#include "svc/subscriber.h"

/* customer_id: the order's, or 0 when the book does not know the order. */
void events_emit_match(struct batch *b, const struct leg *leg, int64_t customer_id, const char *actor);
void events_emit_barrier(struct batch *b, struct uuid match_id);

extern const char *const ADMIN_SVC_CONSUMES[];
extern const struct event_kind ADMIN_SVC_KINDS[];

#endif
