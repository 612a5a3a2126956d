/* store_said.h — what the services have said of what another must agree with; its part of admin-svc's SQL.
 *
 * For     the audit across services: each says what it holds in its events, and admin-svc/checks compare what was said at equal
 *         versions. It keeps the last word about an order, and counts questions and answers; nothing is loaded for it, and one
 *         statement a batch writes each table. One row an order, a transfer and a user, which stay, as the book's do.
 * Owns    what is noted lives in the batch's arena.
 * Threads the lane's.
 * Fails   with its batch.
 */
#ifndef ADMIN_SVC_STORE_SAID_H
#define ADMIN_SVC_STORE_SAID_H

#include "events/asset_event.h"
#include "svc/lane.h"

/* What others ask of the books. */
enum said_kind { SAID_TRANSFER, SAID_ACCOUNT };

struct said_order;
struct said_exchange;
struct said {
    struct said_order *orders;       /* a hash by order */
    struct said_exchange *exchanges; /* a hash by kind and id */
};

/* In `decide`; at: the event's time. The books' word about an order. */
void said_posted(struct batch *b, struct said *s, const struct asset_outcome *outcome, time_us_t at);
/* amount 0: of none. */
void said_asked(struct batch *b, struct said *s, enum said_kind kind, struct uuid id, int64_t customer_id,
                decimal_t amount, time_us_t at);
void said_answered(struct batch *b, struct said *s, enum said_kind kind, struct uuid id, int64_t customer_id, bool done,
                   decimal_t required, time_us_t at);
/* In lane_ops' save. */
void said_save(struct batch *b, const struct said *s);

#endif
