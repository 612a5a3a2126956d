/* store.h — the only SQL of txn-svc: set-based loads and saves of a batch, and the reads.
 *
 * Owns    rows loaded for a batch live in its arena; rows read for a query in the call's.
 * Threads the lane's for batches; a reader's for store_read_….
 * Fails   reads: ERR_DB, ERR_NOT_FOUND. Loads and saves fail with their batch.
 */
#ifndef TXN_SVC_STORE_H
#define TXN_SVC_STORE_H

#include "svc/lane.h"
#include "svc/readers.h"
#include "transfer.h"

struct batch_transfer;
struct transfers_batch {
    struct batch_transfer *transfers; /* a hash by id */
    struct db_array ids;
    bool ready;
};
void store_want_transfer(struct batch *b, struct uuid id); /* in `want` */
void store_load_batch(struct batch *b);                    /* in lane_ops */
void store_save_batch(struct batch *b);
struct transfer *store_transfer(struct batch *b, struct uuid id); /* in `decide`; NULL: there is none */
struct transfer *store_add(struct batch *b, const struct transfer *t);
void store_touch(struct batch *b, struct transfer *t);
/* After COMMIT: calls back for each transfer that was answered in this batch. */
void store_each_changed(struct batch *b, void (*changed)(void *arg, const struct transfer *t), void *arg);

struct transfer_filter {
    int64_t customer_id; /* 0: of all customers */
    int type;            /* -1: any */
    unsigned statuses;   /* bit set; 0: any */
    time_us_t from, to;  /* 0: open */
    struct cursor after;
    int64_t limit;
};
struct transfer_list {
    struct transfer *items;
    size_t count;
    bool more;
};
MUST_CHECK enum err store_read_transfer(struct db *db, struct arena *arena, struct uuid id, int64_t customer_id,
                                        struct transfer *ret, struct fault *fault);
MUST_CHECK enum err store_read_transfers(struct db *db, struct arena *arena, const struct transfer_filter *filter,
                                         struct transfer_list *ret, struct fault *fault);
MUST_CHECK enum err store_read_transfers_by_id(struct db *db, struct arena *arena, const struct uuid *ids, size_t count,
                                               struct transfer_list *ret, struct fault *fault);
/* How many sagas are under way, and since when the oldest (0: none). */
void store_measure(struct db *db, int64_t *ret_pending, time_us_t *ret_oldest);

#endif
