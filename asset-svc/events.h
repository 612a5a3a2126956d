/* events.h — the events asset-svc publishes, and the table of those it acts on.
 *
 * Owns    nothing.  Threads: the lane's.  Fails: decoding: ERR_INVALID (the event is parked).
 */
#ifndef ASSET_SVC_EVENTS_H
#define ASSET_SVC_EVENTS_H

#include "books.h"
#include "events/transfer_event.h"
#include "svc/subscriber.h"

/* type: "asset.reserved", "asset.refused", "asset.released", "asset.settled". match_id: nil when none. */
void events_emit_outcome(struct batch *b, const char *type, const struct reservation *r, struct uuid match_id,
                         const struct event *asked);
/* type: "transfer.booked" or "transfer.refused". */
void events_emit_transfer(struct batch *b, const char *type, const struct transfer_requested *t, decimal_t required,
                          decimal_t usable);
/* type: "account.opened" or "asset.deposited". */
void events_emit_account(struct batch *b, const char *type, const struct holding *h, decimal_t size,
                         struct uuid subject);

extern const char *const ASSET_SVC_CONSUMES[];
extern const struct event_kind ASSET_SVC_KINDS[];

#endif
