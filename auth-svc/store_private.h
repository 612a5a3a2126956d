/* store_private.h — what the store's files share: the batch's state and how arrays are saved.
 *
 * Owns    everything lives in the batch's arena.  Threads: the lane's.  Fails: with the batch.
 */
#ifndef AUTH_SVC_STORE_PRIVATE_H
#define AUTH_SVC_STORE_PRIVATE_H

#include "store.h"

#define uthash_malloc(size) arena_alloc(b->arena, size) /* tables live and die with the batch's arena */
#define uthash_free(pointer, size) ((void)0)
#include <uthash.h>

struct batch_session {
    struct session session; /* first: a struct session * of ours is a struct batch_session * */
    bool is_new, is_changed;
    struct batch_session *next;
};
struct batch_user {
    struct user user;                               /* first, as above */
    struct batch_session *sessions, **sessions_end; /* oldest first */
    bool is_new, is_changed, was_opened;
    UT_hash_handle hh;
};
struct batch_token {
    struct refresh_token token; /* first, as above */
    bool is_new, is_changed;
    UT_hash_handle hh;
};

struct users_batch *store_state(struct batch *b);
struct batch_user *store_batch_user(struct batch *b, int64_t customer_id); /* NULL: there is none */
/* Enqueues what was wanted of sessions and tokens, after the users' locks; what became of them. */
void store_load_sessions(struct batch *b);
void store_save_sessions(struct batch *b);
/* The same of buckets. */
void store_load_buckets(struct batch *b);
void store_save_buckets(struct batch *b);
void store_load_trail(struct batch *b);
void store_save_trail(struct batch *b);

/* All arrays become the statement's arguments, behind `first` (a time; NULL: none), and are done with. Empty: nothing is done. */
void store_save_arrays(struct batch *b, const struct db_stmt *stmt, const time_us_t *first, struct db_array *const *all,
                       size_t count);
/* A cursor is two arguments: time and id. */
void store_arg_cursor(struct db_args *args, const struct cursor *after);
int store_index_of(const char *const *names, const char *name);
const char *store_text_or_null(struct arena *arena, const struct db_rows *rows, int r, int c);
time_us_t store_time_or_0(const struct db_rows *rows, int r, int c);

#endif
