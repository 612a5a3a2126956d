/* store.h — the only SQL of asset-svc: set-based loads and saves of a batch, and the reads.
 *
 * Owns    rows loaded for a batch live in its arena; rows read for a query in the call's.
 * Threads the lane's for batches; a reader's for store_read_….
 * Fails   reads: ERR_DB, ERR_NOT_FOUND. Loads and saves fail with their batch.
 */
#ifndef ASSET_SVC_STORE_H
#define ASSET_SVC_STORE_H

#include "books.h"
#include "svc/lane.h"

/* ---- a batch ---- */

struct batch_account;
struct batch_reservation;
struct batch_transfer;
struct journal_line;

struct assets_batch {
    struct batch_account *accounts;         /* a hash by owner and asset */
    struct batch_reservation *reservations; /* a hash by order */
    struct batch_transfer *transfers;       /* a hash by transfer */
    struct journal_line *journal, **journal_end;
    struct db_array owners, assets, named, orders, transfer_ids;
    bool ready;
};
/* In `want`. */
void store_want_account(struct batch *b, int64_t owner, const char *asset);
/* Of one whom an admin has named: it is opened only if he is a customer. */
void store_want_account_of(struct batch *b, int64_t named_customer, const char *asset);
void store_want_reservation(struct batch *b, struct uuid order_id);
void store_want_transfer(struct batch *b, struct uuid transfer_id);
/* In lane_ops. */
void store_load_batch(struct batch *b);
void store_save_batch(struct batch *b);
/* In `decide`: wanted accounts are always there (opened at 0). */
struct holding *store_account(struct batch *b, int64_t owner, const char *asset);
/* NULL: he was no customer when the batch was loaded. */
struct holding *store_account_of(struct batch *b, int64_t named_customer, const char *asset);
/* The reservation of an order, or a fresh one of version 0. */
struct reservation *store_reservation(struct batch *b, struct uuid order_id);
void store_touch_reservation(struct batch *b, struct reservation *r);
struct transfer_result {
    bool booked;
    decimal_t required, usable;
};
const struct transfer_result *store_transfer(struct batch *b, struct uuid transfer_id); /* NULL: not answered yet */
void store_add_transfer(struct batch *b, struct uuid transfer_id, struct transfer_result result);

struct cause {
    const char *type; /* "ORDER", "TRANSFER", "ADMIN" */
    struct uuid id;
    const char *actor;
};
/* Writes the entry's postings, which were applied to their holdings just now, to the journal. */
void store_journal(struct batch *b, const struct entry *entry, struct cause cause);

/* ---- reads ---- */

struct asset_filter {
    int64_t customer_id; /* 0: of all customers */
    const char *asset;   /* NULL: any */
    bool non_zero_only;
    int64_t after_customer; /* cursor: rows beyond (after_customer, after_asset); 0: from the start */
    const char *after_asset;
    int64_t limit;
};
struct holding_list {
    struct holding *items;
    size_t count;
    bool more;
};
MUST_CHECK enum err store_read_assets(struct db *db, struct arena *arena, const struct asset_filter *filter,
                                      struct holding_list *ret, struct fault *fault);
/* ERR_NOT_FOUND: there is no such row. */
MUST_CHECK enum err store_read_asset(struct db *db, struct arena *arena, int64_t customer_id, const char *asset,
                                     struct holding *ret, struct fault *fault);
MUST_CHECK enum err store_read_customer_known(struct db *db, struct arena *arena, int64_t customer_id, bool *ret_known,
                                              struct fault *fault);
struct statement_line {
    struct uuid id, cause_id;
    time_us_t at;
    int64_t version;
    const char *type, *cause_type;
    decimal_t amount, usable_amount, size, usable;
};
struct statement {
    struct statement_line *items;
    size_t count;
    bool more;
};
/* Newest first; before_version 0: from the newest. */
MUST_CHECK enum err store_read_statement(struct db *db, struct arena *arena, int64_t customer_id, const char *asset,
                                         int64_t before_version, int64_t limit, struct statement *ret,
                                         struct fault *fault);

#endif
