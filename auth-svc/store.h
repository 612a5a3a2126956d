/* store.h — the only SQL of auth-svc: set-based loads and saves of a batch, and the reads.
 *
 * Owns    rows loaded for a batch live in its arena; rows read for a query in the call's.
 * Threads the lane's for batches; a reader's for store_read_….
 * Fails   reads: ERR_DB. Loads and saves fail with their batch.
 */
#ifndef AUTH_SVC_STORE_H
#define AUTH_SVC_STORE_H

#include "guard.h"
#include "session.h"
#include "svc/lane.h"
#include "svc/readers.h"
#include "trail.h"
#include "user.h"

/* ---- a batch ---- */

enum { STORE_KEEP_S = 24 * 3600, STORE_PRUNE_MAX = 1000 };
struct batch_user; /* private: a user, his live sessions, and what the batch did to them */
struct batch_token;
struct batch_bucket;
struct batch_trail;
struct taken_name;
struct users_batch {
    struct batch_user *users;     /* a hash by customer id */
    struct taken_name *names;     /* a hash */
    struct batch_token *tokens;   /* a hash by hash */
    struct batch_bucket *buckets; /* a hash by key */
    struct batch_trail *trail, **trail_end;
    struct db_array ids, new_names, session_ids /* of whom */, token_hashes, bucket_keys;
    int64_t *new_ids; /* one for each new user that is wanted */
    size_t new_id_count, new_ids_given;
    bool admins_wanted, has_admin, prune_wanted, ready;
    int64_t active_admins;
    bool keys_wanted;
    const char *last_keys;
};
/* In `want`. A user's row is the lock of all that is his: who changes a session wants its user. */
void store_want_user(struct batch *b, int64_t customer_id);
void store_want_new_user(struct batch *b, const char *username);
/* Who is an admin: until COMMIT nobody else decides on that. */
void store_want_admins(struct batch *b);
void store_want_sessions(struct batch *b, int64_t customer_id); /* his live ones; and him */
void store_want_token(struct batch *b, const char *hash);
void store_want_bucket(struct batch *b, const char *key);
void store_want_prune(struct batch *b); /* of sessions whose life is over for STORE_KEEP_S, a few at a time */
void store_want_last_keys(struct batch *b);
/* In lane_ops. */
void store_load_batch(struct batch *b);
void store_save_batch(struct batch *b);
/* In `decide`. */
struct user *store_user(struct batch *b, int64_t customer_id); /* NULL: there is none */
bool store_name_is_taken(struct batch *b, const char *username);
bool store_has_admin(const struct batch *b);
int64_t *store_active_admins(struct batch *b); /* how many; the caller keeps count */
/* Gives him his customer id. */
struct user *store_add_user(struct batch *b, const struct user *u);
void store_touch_opened(struct batch *b, struct user *u);
void store_touch_user(struct batch *b, struct user *u); /* role, status or password are others */
/* Calls back for each live session of his, oldest first, until it returns false. */
void store_each_session(struct batch *b, int64_t customer_id, bool (*each)(void *arg, struct session *s), void *arg);
/* NULL: none of his that is live has this id. */
struct session *store_session(struct batch *b, int64_t customer_id, struct uuid id);
void store_touch_session(struct batch *b, struct session *s);
void store_add_session(struct batch *b, const struct session *s);
struct refresh_token *store_token(struct batch *b, const char *hash); /* NULL: there is none */
void store_touch_token(struct batch *b, struct refresh_token *t);
void store_add_token(struct batch *b, struct uuid session_id, const char *hash);
struct bucket *store_bucket(struct batch *b, const char *key); /* that was wanted; what becomes of it is saved */
const char *store_last_keys(struct batch *b); /* as the trail's last entry of them says; "": there is none */
void store_set_last_keys(struct batch *b, const char *keys);
void store_add_trail(struct batch *b, struct trail_entry *e); /* see trail_add */
/* After COMMIT: calls back for each session that the batch ended. */
void store_each_ended(struct batch *b, void (*ended)(void *arg, const struct session *s), void *arg);
/* After COMMIT: calls back for each user whose account was opened. */
void store_each_opened(struct batch *b, void (*opened)(void *arg, const struct user *u), void *arg);

/* ---- reads ---- */

/* With the password's hash. NULL: nobody is called so. */
MUST_CHECK enum err store_read_login(struct db *db, struct arena *arena, const char *username, struct user **ret,
                                     struct fault *fault);
MUST_CHECK enum err store_read_users(struct db *db, struct arena *arena, const int64_t *ids, size_t count,
                                     struct user **ret, size_t *ret_count, struct fault *fault);
/* Whose session the token belongs to: used, ended or not. user is NULL: nobody's. */
struct refresh_owner {
    struct user *user;
    struct uuid session_id;
    time_us_t expire_date;
};
MUST_CHECK enum err store_read_refresh_owner(struct db *db, struct arena *arena, const char *hash,
                                             struct refresh_owner *ret, struct fault *fault);
/* With the password's hash. NULL: there is none. */
MUST_CHECK enum err store_read_password(struct db *db, struct arena *arena, int64_t customer_id, struct user **ret,
                                        struct fault *fault);
/* Live at `now`, newest first, from behind `after`; one more than limit when there are more. */
struct session_list {
    struct session *items;
    size_t count;
    bool more;
};
MUST_CHECK enum err store_read_sessions(struct db *db, struct arena *arena, int64_t customer_id, time_us_t now,
                                        const struct cursor *after, int64_t limit, struct session_list *ret,
                                        struct fault *fault);
/* Whether a session of his ever began there. */
MUST_CHECK enum err store_read_known_address(struct db *db, struct arena *arena, int64_t customer_id,
                                             const char *address, bool *ret_known, struct fault *fault);
/* Deletes buckets that hold nothing, a thousand at most. */
void store_prune_buckets(struct db *db);
/* Newest first, from behind `after`, whose id is uuid_of_int of the customer's. */
struct user_filter {
    const char *username; /* NULL: any */
    int role, status;     /* -1: any */
    struct cursor after;
    int64_t limit;
};
struct user_list {
    struct user *items;
    size_t count;
    bool more;
};
MUST_CHECK enum err store_read_user_list(struct db *db, struct arena *arena, const struct user_filter *filter,
                                         struct user_list *ret, struct fault *fault);
struct trail_filter {
    int type;            /* -1: any */
    int64_t customer_id; /* 0: any */
    time_us_t from, to;  /* 0: open */
    struct cursor after;
    int64_t limit;
};
struct trail_row {
    struct uuid id, session_id;
    time_us_t at;
    int64_t customer_id;
    const char *type, *actor, *address, *request_id, *detail;
};
struct trail_list {
    struct trail_row *items;
    size_t count;
    bool more;
};
MUST_CHECK enum err store_read_trail(struct db *db, struct arena *arena, const struct trail_filter *filter,
                                     struct trail_list *ret, struct fault *fault);
struct user_measures {
    int64_t unopened; /* sagas under way … */
    time_us_t oldest; /* … and since when the oldest (0: none) */
    bool has_admin;
};
/* false: the session is lost, which the lane finds out by itself. */
bool store_measure(struct db *db, struct user_measures *ret);

#endif
