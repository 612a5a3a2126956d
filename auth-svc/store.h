/* store.h — the only SQL of auth-svc: set-based loads and saves of a batch, and the reads.
 *
 * Owns    rows loaded for a batch live in its arena; rows read for a query in the call's.
 * Threads the lane's for batches; a reader's for store_read_….
 * Fails   reads: ERR_DB. Loads and saves fail with their batch.
 */
#ifndef AUTH_SVC_STORE_H
#define AUTH_SVC_STORE_H

#include "svc/lane.h"
#include "svc/readers.h"
#include "user.h"

/* ---- a batch ---- */

struct batch_user; /* private: a user and what the batch did to him */
struct batch_session;
struct taken_name;
struct users_batch {
    struct batch_user *users; /* a hash by customer id */
    struct taken_name *names; /* a hash */
    struct batch_session *sessions, **sessions_end;
    struct db_array ids, new_names;
    int64_t *new_ids; /* one for each new user that is wanted */
    size_t new_id_count, new_ids_given;
    bool admins_wanted, has_admin, ready;
};
/* In `want`. */
void store_want_user(struct batch *b, int64_t customer_id);
void store_want_new_user(struct batch *b, const char *username);
void store_want_admins(struct batch *b);
/* In lane_ops. */
void store_load_batch(struct batch *b);
void store_save_batch(struct batch *b);
/* In `decide`. */
struct user *store_user(struct batch *b, int64_t customer_id); /* NULL: there is none */
bool store_name_is_taken(struct batch *b, const char *username);
bool store_has_admin(const struct batch *b);
/* Gives him his customer id. */
struct user *store_add_user(struct batch *b, const struct user *u);
void store_touch_opened(struct batch *b, struct user *u);
void store_add_session(struct batch *b, const struct session *s);
/* After COMMIT: calls back for each user whose account was opened. */
void store_each_opened(struct batch *b, void (*opened)(void *arg, const struct user *u), void *arg);

/* ---- reads ---- */

/* With the password's hash. NULL: nobody is called so. */
MUST_CHECK enum err store_read_login(struct db *db, struct arena *arena, const char *username, struct user **ret,
                                     struct fault *fault);
MUST_CHECK enum err store_read_users(struct db *db, struct arena *arena, const int64_t *ids, size_t count,
                                     struct user **ret, size_t *ret_count, struct fault *fault);
struct user_measures {
    int64_t unopened; /* sagas under way … */
    time_us_t oldest; /* … and since when the oldest (0: none) */
    bool has_admin;
};
/* false: the session is lost, which the lane finds out by itself. */
bool store_measure(struct db *db, struct user_measures *ret);

#endif
