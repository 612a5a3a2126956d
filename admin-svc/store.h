/* store.h — the only SQL of admin-svc: set-based loads and saves of a batch, and the reads.
 *
 * Owns    rows loaded for a batch live in its arena; rows read for a query in the call's.
 * Threads the lane's for batches; a reader's for store_read_….
 * Fails   reads: ERR_DB, ERR_NOT_FOUND. Loads and saves fail with their batch.
 */
#ifndef ADMIN_SVC_STORE_H
#define ADMIN_SVC_STORE_H

#include "match.h"
#include "store_said.h"
#include "svc/lane.h"
#include "svc/readers.h"

/* ---- a batch ---- */

struct batch_order;
struct batch_match;
struct batch_leg;
struct batch_mark;
struct matching_batch {
    struct batch_order *orders;  /* a hash by id: those asked for, and those that changed */
    struct batch_match *matches; /* a hash by id */
    struct batch_leg *legs;      /* a hash by match and order */
    struct batch_mark *marks;
    struct db_array order_ids, match_ids, leg_matches, leg_orders;
    bool wants_waiting, ready;
    struct said said;
};
struct said *store_said(struct batch *b);
/* In `want`. */
void store_want_order(struct batch *b, struct uuid order_id);
void store_want_match(struct batch *b, struct uuid match_id);
void store_want_leg(struct batch *b, struct uuid match_id, struct uuid order_id); /* and its match */
/* All matches behind a barrier, with their marks and the pending orders they are about. */
void store_want_waiting(struct batch *b);
/* In lane_ops. */
void store_load_batch(struct batch *b);
void store_save_batch(struct batch *b);
/* In `decide`. NULL: there is none. */
struct book_order *store_order(struct batch *b, struct uuid order_id);
struct match *store_match(struct batch *b, struct uuid match_id);
struct leg *store_leg(struct batch *b, struct uuid match_id, struct uuid order_id);
/* The book learns an order's state, if it is newer than what it has. */
void store_learn(struct batch *b, const struct book_order *o);
void store_add_match(struct batch *b, const struct match *m);
void store_touch_match(struct batch *b, struct match *m);
void store_add_leg(struct batch *b, const struct leg *leg);
void store_touch_leg(struct batch *b, struct leg *leg);
void store_add_mark(struct batch *b, struct uuid match_id, struct lane_mark mark);
size_t store_waiting(struct batch *b, struct match ***ret_matches);
size_t store_marks(struct batch *b, struct uuid match_id, struct lane_mark **ret_marks);
/* Pending orders as they stand after this batch's events, oldest first, at most MATCH_LEGS_MAX; asset NULL: any. */
size_t store_pending(struct batch *b, const char *asset, struct book_order ***ret_orders);
/* After COMMIT: calls back for each match that became DONE in this batch. */
void store_each_done(struct batch *b, void (*done)(void *arg, const struct match *m), void *arg);

/* ---- reads ---- */

struct match_list {
    struct match *items;
    size_t count;
    bool more;
};
MUST_CHECK enum err store_read_match(struct db *db, struct arena *arena, struct uuid id, struct match *ret,
                                     struct fault *fault);
MUST_CHECK enum err store_read_legs(struct db *db, struct arena *arena, struct uuid id, struct leg **ret,
                                    size_t *ret_count, struct fault *fault);
MUST_CHECK enum err store_read_matches(struct db *db, struct arena *arena, const struct cursor *after, int64_t limit,
                                       struct match_list *ret, struct fault *fault);
/* Those of `ids` that are DONE. */
MUST_CHECK enum err store_read_done(struct db *db, struct arena *arena, const struct uuid *ids, size_t count,
                                    struct match_list *ret, struct fault *fault);
/* For dryRun: the orders named (ids), or all pending ones of an asset (ids NULL; asset NULL: of any), oldest first. */
MUST_CHECK enum err store_read_book(struct db *db, struct arena *arena, const struct uuid *ids, size_t count,
                                    const char *asset, struct book_order **ret, size_t *ret_count, struct fault *fault);
void store_measure(struct db *db, int64_t *ret_open, time_us_t *ret_oldest);

#endif
