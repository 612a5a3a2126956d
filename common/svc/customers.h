/* customers.h — who is a customer, as auth-svc announced them (user.registered).
 *
 * For     services in which an admin names a customer. A customer's own token is proof enough of him; an id that an admin
 *         names must stand in this table, and is waited for a moment (lane_item.patient_until), since its announcement
 *         may still be on its way.
 * Owns    nothing: rows live in the batch.
 * Threads the lane's.
 * Fails   never; what can't be loaded fails the batch.
 */
#ifndef SVC_CUSTOMERS_H
#define SVC_CUSTOMERS_H

#include "svc/subscriber.h"

enum { CUSTOMERS_PATIENCE_MS = 500 };

/* The row of a service's event_kind table: {"user.registered", customers_decode, &CUSTOMERS_REGISTERED}. args are a
 * struct user_registered. */
enum err customers_decode(const struct event *e, struct arena *arena, void **ret_args, int64_t *ret_customer_id,
                          struct fault *fault);
extern const struct lane_verb CUSTOMERS_REGISTERED;

void customers_want(struct batch *b, int64_t customer_id);  /* in `want` */
bool customers_known(struct batch *b, int64_t customer_id); /* in `decide` */
void customers_add(struct batch *b, int64_t customer_id);   /* in `decide` */

/* In `decide`: a command by an admin for `customer_id` may go on. ERR_NOT_FOUND: nobody has that id (yet). Commands without
 * a call, and those of customers, may always. `want` must have asked for it. */
MUST_CHECK enum err customers_check(struct batch *b, struct lane_item *it, int64_t customer_id);

#endif
