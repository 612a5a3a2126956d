/* store.h — the only SQL of order-svc: set-based loads and saves of a batch, and the reads.
 *
 * Owns    rows loaded for a batch live in its arena; rows read for a query in the call's.
 * Threads the lane's for store_…_batch; a reader's for store_read_….
 * Fails   reads: ERR_DB, ERR_NOT_FOUND. Loads and saves fail with their batch.
 */
#ifndef ORDER_SVC_STORE_H
#define ORDER_SVC_STORE_H

#include "order.h"
#include "svc/lane.h"
#include "svc/readers.h"

enum { STORE_OPEN_MAX = 5000 };

/* ---- a batch ---- */

struct batch_order; /* private: an order and what the batch did to it */
struct wanted_open;
struct client_key;
struct history_line;

struct orders_batch {
    struct batch_order *orders; /* a hash by id */
    struct batch_order *changed, **changed_end;
    struct client_key *client_keys; /* taken ones */
    struct wanted_open *open;
    struct history_line *history, **history_end;
    struct db_array ids, client_customers, client_ids;
    bool ready;
};
/* In `want`. */
void store_want_order(struct batch *b, struct uuid id);
void store_want_client_id(struct batch *b, int64_t customer_id, const char *client_order_id);
/* asset NULL, side -1: any. */
void store_want_open(struct batch *b, int64_t customer_id, const char *asset, int side);
/* In lane_ops. */
void store_load_batch(struct batch *b);
void store_save_batch(struct batch *b);
/* In `decide`. */
struct order *store_order(struct batch *b, struct uuid id); /* NULL: there is none */
bool store_client_id_taken(struct batch *b, int64_t customer_id, const char *client_order_id);
struct order *store_add(struct batch *b, const struct order *o);
/* The open orders of a customer as they are now, oldest first. */
size_t store_open(struct batch *b, int64_t customer_id, const char *asset, int side, struct order ***ret_orders);
/* The order was moved: it will be saved, with a line of history. */
void store_touch(struct batch *b, struct order *o);
/* Only books_version changed: saved without history. */
void store_touch_books(struct batch *b, struct order *o);
/* After COMMIT: calls back for each order that was moved; new ones that are just NEW settle nothing. */
void store_each_changed(struct batch *b, void (*changed)(void *arg, const struct order *o), void *arg);

/* ---- reads ---- */

struct order_filter {
    int64_t customer_id; /* 0: of all customers */
    unsigned statuses;   /* bit set; 0: any */
    const char *asset, *client_order_id;
    int side;           /* -1: any */
    time_us_t from, to; /* 0: open */
    struct cursor after;
    int64_t limit;
};
struct order_list {
    struct order *items;
    size_t count;
    bool more;
};
MUST_CHECK enum err store_read_order(struct db *db, struct arena *arena, struct uuid id, int64_t customer_id,
                                     struct order *ret, struct fault *fault);
MUST_CHECK enum err store_read_orders(struct db *db, struct arena *arena, const struct order_filter *filter,
                                      struct order_list *ret, struct fault *fault);
MUST_CHECK enum err store_read_orders_by_id(struct db *db, struct arena *arena, const struct uuid *ids, size_t count,
                                            struct order_list *ret, struct fault *fault);
struct order_change {
    int64_t version;
    const char *status, *reason, *actor;
    time_us_t at;
};
MUST_CHECK enum err store_read_history(struct db *db, struct arena *arena, struct uuid id, struct order_change **ret,
                                       size_t *ret_count, struct fault *fault);
/* How many sagas are under way, and since when the oldest (0: none). */
void store_measure(struct db *db, int64_t *ret_new, time_us_t *ret_oldest);

#endif
