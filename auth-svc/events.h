/* events.h — the events auth-svc publishes, and the table of those it acts on.
 *
 * Owns    nothing.  Threads: the lane's.  Fails: decoding: ERR_INVALID (the event is parked).
 */
#ifndef AUTH_SVC_EVENTS_H
#define AUTH_SVC_EVENTS_H

#include "events/session_event.h"
#include "svc/subscriber.h"
#include "user.h"

void events_emit_registered(struct batch *b, const struct user *u);
void events_emit_revoked(struct batch *b, const struct session_revoked *e);

extern const char *const AUTH_SVC_CONSUMES[];
extern const struct event_kind AUTH_SVC_KINDS[];

#endif
