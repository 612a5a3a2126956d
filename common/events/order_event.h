/* order_event.h — what order-svc tells the others (topic order-events).
 *
 * For     order-svc encodes; asset-svc and admin-svc decode. Every event about an order carries the whole state of that
 *         order and its version, not only the change: late, doubled or overtaken events do no harm.
 *         order.placed (NEW), order.opened (PENDING), order.rejected, order.canceled, order.filled; match.refused;
 *         barrier.reached.
 * Owns    decoded text lives in the arena.
 * Threads any.
 * Fails   decode: ERR_INVALID with the member that is wrong.
 */
#ifndef EVENTS_ORDER_EVENT_H
#define EVENTS_ORDER_EVENT_H

#include "base/mem.h"
#include "io/json.h"

enum order_side { ORDER_BUY, ORDER_SELL };
enum order_status { ORDER_NEW, ORDER_PENDING, ORDER_MATCHED, ORDER_CANCELED, ORDER_REJECTED };
extern const char *const ORDER_SIDES[];    /* "BUY", "SELL", NULL */
extern const char *const ORDER_STATUSES[]; /* "NEW", "PENDING", "MATCHED", "CANCELED", "REJECTED", NULL */

/* What was matched against one counter-account: cumulative. value = Σ size × trade price. */
struct order_fill {
    decimal_t size, value;
};
struct order_state {
    struct uuid id;
    int64_t customer_id;
    const char *client_order_id; /* NULL: none */
    const char *asset;
    enum order_side side;
    decimal_t size, price;
    enum order_status status;
    const char *status_reason; /* NULL: none; "insufficient_usable_size" */
    struct order_fill house, clearing;
    int64_t version; /* 1 when NEW; +1 at each change */
    time_us_t create_date, update_date;
    const char *actor; /* who made it what it is: "CUSTOMER:17" */
};
static inline decimal_t order_matched_size(const struct order_state *o)
{
    return o->house.size + o->clearing.size;
}
static inline decimal_t order_matched_value(const struct order_state *o)
{
    return o->house.value + o->clearing.value;
}

struct order_event {
    struct order_state order;
    struct uuid match_id;   /* order.filled; nil otherwise */
    struct order_fill fill; /* what this very event matched; 0 unless order.filled */
};
void order_event_encode(struct buf *out, const struct order_event *e);
MUST_CHECK enum err order_event_decode(const struct json *data, struct arena *arena, struct order_event *ret,
                                       struct fault *fault);

struct match_refused {
    struct uuid match_id, order_id;
    const char *code; /* "order_not_found", "order_not_matchable", "already_matched" */
    bool has_order;
    struct order_state order; /* as it is */
};
void match_refused_encode(struct buf *out, const struct match_refused *e);
MUST_CHECK enum err match_refused_decode(const struct json *data, struct arena *arena, struct match_refused *ret,
                                         struct fault *fault);

/* The answer to barrier.requested: what order-svc has published so far. */
enum { BARRIER_MARKS_MAX = 64 * 64 }; /* lanes × partitions */
struct barrier_mark {
    int lane, partition;
    int64_t part_seq;
};
struct barrier_reached {
    struct uuid barrier_id;
    struct barrier_mark *marks;
    size_t count;
};
void barrier_reached_encode(struct buf *out, const struct barrier_reached *e);
MUST_CHECK enum err barrier_reached_decode(const struct json *data, struct arena *arena, struct barrier_reached *ret,
                                           struct fault *fault);

#endif
