/* events.h — the events txn-svc publishes, and the table of those it acts on.
 *
 * Owns    nothing.  Threads: the lane's.  Fails: decoding: ERR_INVALID (the event is parked).
 */
#ifndef TXN_SVC_EVENTS_H
#define TXN_SVC_EVENTS_H

#include "svc/subscriber.h"
#include "transfer.h"

void events_emit_requested(struct batch *b, const struct transfer *t);

extern const char *const TXN_SVC_CONSUMES[];
extern const struct event_kind TXN_SVC_KINDS[];

#endif
