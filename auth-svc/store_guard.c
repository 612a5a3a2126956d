#include "store_private.h"

/* Absent ones are made first, so that there is a row to lock: two processes that meet a new name would else each count from
 * nothing. Always in the order of keys, and after the users. */
static const struct db_stmt ENSURE_BUCKETS = {
    "login_buckets_ensure",
    "INSERT INTO login_bucket (key, empty_date, open_date) "
    "SELECT DISTINCT k, timestamptz 'epoch', timestamptz 'epoch' FROM unnest($1::text[]) AS k ORDER BY k "
    "ON CONFLICT DO NOTHING",
};
static const struct db_stmt LOCK_BUCKETS = {
    "login_buckets_lock",
    "SELECT key, empty_date, open_date FROM login_bucket WHERE key = ANY ($1::text[]) ORDER BY key FOR UPDATE",
};
static const struct db_stmt SAVE_BUCKETS = {
    "login_buckets_save",
    "UPDATE login_bucket x SET empty_date = g.empty_date, open_date = g.open_date "
    "FROM unnest($1::text[], $2::timestamptz[], $3::timestamptz[]) AS g (key, empty_date, open_date) "
    "WHERE x.key = g.key",
};
static const struct db_stmt PRUNE_BUCKETS = {
    "login_buckets_prune",
    "DELETE FROM login_bucket WHERE key IN (SELECT key FROM login_bucket WHERE empty_date < now() AND open_date < "
    "now() "
    "ORDER BY empty_date LIMIT 1000 FOR UPDATE SKIP LOCKED)",
};
static const struct db_stmt READ_KNOWN_ADDRESS = {
    "login_known_address",
    "SELECT EXISTS (SELECT FROM session WHERE customer_id = $1 AND peer = $2)",
};

struct batch_bucket {
    struct bucket bucket; /* first: a struct bucket * of ours is a struct batch_bucket * */
    const char *key;
    UT_hash_handle hh;
};

void store_want_bucket(struct batch *b, const char *key)
{
    db_array_text(&store_state(b)->bucket_keys, key);
}

static void on_buckets(void *arg, const struct db_rows *rows)
{
    struct batch *b = arg;
    for (int r = 0; r < db_count(rows); r++) {
        struct batch_bucket *x = ARENA_NEW(b->arena, struct batch_bucket);
        x->key = arena_strdup(b->arena, db_text(rows, r, 0));
        x->bucket = (struct bucket){.empty_date = db_time(rows, r, 1), .open_date = db_time(rows, r, 2)};
        HASH_ADD_KEYPTR(hh, store_state(b)->buckets, x->key, strlen(x->key), x);
    }
}

void store_load_buckets(struct batch *b)
{
    struct db_array *keys = &store_state(b)->bucket_keys;
    if (keys->count) {
        struct db_args *args = ARENA_NEW(b->arena, struct db_args);
        *args = db_args(b->arena);
        db_arg_array(args, keys);
        db_enqueue(b->db, &ENSURE_BUCKETS, args, NULL, NULL);
        db_enqueue(b->db, &LOCK_BUCKETS, args, on_buckets, b);
    }
    db_array_done(keys);
}

struct bucket *store_bucket(struct batch *b, const char *key)
{
    struct batch_bucket *x;
    HASH_FIND_STR(store_state(b)->buckets, key, x);
    return &x->bucket;
}

/* All that were wanted: an attempt changes each of its own. */
void store_save_buckets(struct batch *b)
{
    struct db_array key, empty, open;
    struct db_array *all[] = {&key, &empty, &open};
    enum { COUNT = sizeof all / sizeof all[0] };
    for (size_t i = 0; i < COUNT; i++)
        db_array_init(all[i]);
    for (const struct batch_bucket *x = store_state(b)->buckets; x; x = x->hh.next) {
        db_array_text(&key, x->key);
        db_array_time(&empty, x->bucket.empty_date);
        db_array_time(&open, x->bucket.open_date);
    }
    store_save_arrays(b, &SAVE_BUCKETS, NULL, all, COUNT);
}

void store_prune_buckets(struct db *db)
{
    enum err e = db_query(db, &PRUNE_BUCKETS, &(struct db_args){.count = 0}, NULL, NULL);
    (void)e; /* the session is lost, which the lane finds out by itself; or the next time does it */
}

enum err store_read_known_address(struct db *db, struct arena *arena, int64_t customer_id, const char *address,
                                  bool *ret_known, struct fault *fault)
{
    struct db_args args = db_args(arena);
    CLEANUP_ROWS struct db_rows *rows = NULL;
    db_arg_i64(&args, customer_id);
    db_arg_text(&args, address);
    enum err e = db_query(db, &READ_KNOWN_ADDRESS, &args, &rows, fault);
    if (e == ERR_OK)
        *ret_known = db_bool(rows, 0, 0);
    return e;
}
