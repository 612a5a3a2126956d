#include <assert.h>
#include <string.h>

#include "store_private.h"

#define USER_COLUMNS \
    "u.customer_id, u.username, u.full_name, u.role, u.status, u.opened, u.create_date, u.password_version, " \
    "u.must_change_password"
enum { USER_COLUMN_COUNT = 9 };

/* Locked in key order, so that two lanes never wait for each other in a ring. */
static const struct db_stmt LOCK_USERS = {
    "users_lock",
    "SELECT " USER_COLUMNS
    ", u.password_hash FROM app_user u WHERE u.customer_id = ANY ($1::bigint[]) ORDER BY u.customer_id FOR UPDATE",
};
static const struct db_stmt LOAD_NAMES = {
    "users_names",
    "SELECT username FROM app_user WHERE username = ANY ($1::text[])",
};
/* Two admins that demote each other change different rows: what they share is this lock. Taken before any row's. */
static const struct db_stmt LOCK_ADMINS = {
    "users_lock_admins",
    "SELECT pg_advisory_xact_lock(hashtextextended('auth: who is an admin', 0))",
};
static const struct db_stmt LOAD_ADMINS = {
    "users_admins",
    "SELECT count(*) > 0, count(*) FILTER (WHERE status = 'ACTIVE') FROM app_user WHERE role = 'ADMIN'",
};
/* A batch that is rolled back leaves a gap in the numbers, and nobody minds. */
static const struct db_stmt NEXT_IDS = {
    "users_next_ids",
    "SELECT nextval('customer_id') FROM generate_series(1, $1::integer)",
};
static const struct db_stmt INSERT_USERS = {
    "users_insert",
    "INSERT INTO app_user (customer_id, username, full_name, role, status, password_hash, must_change_password, "
    "opened, "
    "create_date, update_date) "
    "SELECT g.customer_id, g.username, g.full_name, g.role, 'ACTIVE', g.password_hash, g.must_change, false, $1, $1 "
    "FROM unnest($2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::boolean[]) "
    "AS g (customer_id, username, full_name, role, password_hash, must_change)",
};
static const struct db_stmt UPDATE_USERS = {
    "users_update",
    "UPDATE app_user u SET role = g.role, status = g.status, password_hash = g.password_hash, opened = g.opened, "
    "password_version = g.password_version, must_change_password = g.must_change, update_date = $1 "
    "FROM unnest($2::bigint[], $3::text[], $4::text[], $5::text[], $6::boolean[], $7::integer[], $8::boolean[]) "
    "AS g (customer_id, role, status, password_hash, opened, password_version, must_change) WHERE u.customer_id = "
    "g.customer_id",
};
static const struct db_stmt READ_LOGIN = {
    "users_read_login",
    "SELECT " USER_COLUMNS ", u.password_hash FROM app_user u WHERE u.username = $1",
};
static const struct db_stmt READ_PASSWORD = {
    "users_read_password",
    "SELECT " USER_COLUMNS ", u.password_hash FROM app_user u WHERE u.customer_id = $1",
};
static const struct db_stmt READ_REFRESH_OWNER = {
    "refresh_tokens_owner",
    "SELECT " USER_COLUMNS ", s.id, s.expire_date FROM refresh_token t JOIN session s ON s.id = t.session_id "
    "JOIN app_user u ON u.customer_id = s.customer_id WHERE t.hash = $1",
};
static const struct db_stmt READ_LIST = {
    "users_list",
    "SELECT " USER_COLUMNS " FROM app_user u WHERE ($1::text IS NULL OR u.username = $1) "
    "AND ($2::text IS NULL OR u.role = $2) AND ($3::text IS NULL OR u.status = $3) "
    "AND ($4::timestamptz IS NULL OR (u.create_date, u.customer_id) < ($4::timestamptz, $5::bigint)) "
    "ORDER BY u.create_date DESC, u.customer_id DESC LIMIT $6",
};
static const struct db_stmt READ_USERS = {
    "users_read",
    "SELECT " USER_COLUMNS " FROM app_user u WHERE u.customer_id = ANY ($1::bigint[])",
};
static const struct db_stmt MEASURE = {
    "users_measure",
    "SELECT count(*), min(create_date), EXISTS (SELECT FROM app_user WHERE role = 'ADMIN') FROM app_user WHERE NOT "
    "opened",
};

/* ---- rows ---- */

int store_index_of(const char *const *names, const char *name)
{
    for (int i = 0; names[i]; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    return -1;
}

const char *store_text_or_null(struct arena *arena, const struct db_rows *rows, int r, int c)
{
    return db_null(rows, r, c) ? NULL : arena_strdup(arena, db_text(rows, r, c));
}

time_us_t store_time_or_0(const struct db_rows *rows, int r, int c)
{
    return db_null(rows, r, c) ? 0 : db_time(rows, r, c);
}

static void read_row(struct arena *arena, const struct db_rows *rows, int r, struct user *ret)
{
    *ret = (struct user){
        .customer_id = db_i64(rows, r, 0),
        .username = arena_strdup(arena, db_text(rows, r, 1)),
        .full_name = arena_strdup(arena, db_text(rows, r, 2)),
        .role = (enum token_role)store_index_of(USER_ROLES, db_text(rows, r, 3)),
        .status = (enum user_status)store_index_of(USER_STATUSES, db_text(rows, r, 4)),
        .opened = db_bool(rows, r, 5),
        .create_date = db_time(rows, r, 6),
        .password_version = db_i64(rows, r, 7),
        .must_change_password = db_bool(rows, r, 8),
    };
}

/* ---- a batch: what it loads ---- */

struct taken_name {
    const char *name;
    UT_hash_handle hh;
};

struct users_batch *store_state(struct batch *b)
{
    struct users_batch *s = b->state;
    if (!s->ready) {
        s->ready = true;
        s->trail_end = &s->trail;
        db_array_init(&s->ids);
        db_array_init(&s->new_names);
        db_array_init(&s->session_ids);
        db_array_init(&s->token_hashes);
        db_array_init(&s->bucket_keys);
    }
    return s;
}

void store_want_user(struct batch *b, int64_t customer_id)
{
    db_array_i64(&store_state(b)->ids, customer_id);
}

void store_want_new_user(struct batch *b, const char *username)
{
    db_array_text(&store_state(b)->new_names, username);
}

void store_want_admins(struct batch *b)
{
    store_state(b)->admins_wanted = true;
}

static void keep(struct batch *b, struct batch_user *u)
{
    HASH_ADD(hh, store_state(b)->users, user.customer_id, sizeof u->user.customer_id, u);
}

static void take_name(struct batch *b, const char *username)
{
    struct taken_name *taken = ARENA_NEW(b->arena, struct taken_name);
    taken->name = arena_strdup(b->arena, username);
    HASH_ADD_KEYPTR(hh, store_state(b)->names, taken->name, strlen(taken->name), taken);
}

static void on_users(void *arg, const struct db_rows *rows)
{
    struct batch *b = arg;
    for (int r = 0; r < db_count(rows); r++) {
        struct batch_user *u = ARENA_NEW(b->arena, struct batch_user);
        read_row(b->arena, rows, r, &u->user);
        u->user.password_hash = arena_strdup(b->arena, db_text(rows, r, USER_COLUMN_COUNT));
        keep(b, u);
    }
}

static void on_names(void *arg, const struct db_rows *rows)
{
    struct batch *b = arg;
    for (int r = 0; r < db_count(rows); r++)
        take_name(b, db_text(rows, r, 0));
}

static void on_admins(void *arg, const struct db_rows *rows)
{
    struct batch *b = arg;
    store_state(b)->has_admin = db_bool(rows, 0, 0);
    store_state(b)->active_admins = db_i64(rows, 0, 1);
}

static void on_new_ids(void *arg, const struct db_rows *rows)
{
    struct batch *b = arg;
    struct users_batch *s = store_state(b);
    s->new_id_count = (size_t)db_count(rows);
    s->new_ids = ARENA_ARRAY(b->arena, int64_t, s->new_id_count + 1);
    for (int r = 0; r < db_count(rows); r++)
        s->new_ids[r] = db_i64(rows, r, 0);
}

static void load_for_new(struct batch *b, struct users_batch *s)
{
    struct db_args count = db_args(b->arena), names = db_args(b->arena);
    db_arg_i64(&count, (int64_t)s->new_names.count);
    db_arg_array(&names, &s->new_names);
    db_enqueue(b->db, &LOAD_NAMES, &names, on_names, b);
    db_enqueue(b->db, &NEXT_IDS, &count, on_new_ids, b);
}

void store_load_batch(struct batch *b)
{
    struct users_batch *s = store_state(b);
    if (s->admins_wanted)
        db_enqueue(b->db, &LOCK_ADMINS, &(struct db_args){.count = 0}, NULL, NULL);
    if (s->ids.count) {
        struct db_args args = db_args(b->arena);
        db_arg_array(&args, &s->ids);
        db_enqueue(b->db, &LOCK_USERS, &args, on_users, b);
    }
    store_load_sessions(b);
    store_load_trail(b);
    store_load_buckets(b);
    if (s->new_names.count)
        load_for_new(b, s);
    if (s->admins_wanted)
        db_enqueue(b->db, &LOAD_ADMINS, &(struct db_args){.count = 0}, on_admins, b);
    db_array_done(&s->ids);
    db_array_done(&s->new_names);
}

/* ---- a batch: what is decided on it ---- */

struct batch_user *store_batch_user(struct batch *b, int64_t customer_id)
{
    struct batch_user *u;
    HASH_FIND(hh, store_state(b)->users, &customer_id, sizeof customer_id, u);
    return u;
}

struct user *store_user(struct batch *b, int64_t customer_id)
{
    struct batch_user *u = store_batch_user(b, customer_id);
    return u ? &u->user : NULL;
}

bool store_name_is_taken(struct batch *b, const char *username)
{
    struct taken_name *taken;
    HASH_FIND_STR(store_state(b)->names, username, taken);
    return taken != NULL;
}

bool store_has_admin(const struct batch *b)
{
    return ((const struct users_batch *)b->state)->has_admin;
}

int64_t *store_active_admins(struct batch *b)
{
    return &store_state(b)->active_admins;
}

struct user *store_add_user(struct batch *b, const struct user *user)
{
    struct users_batch *s = store_state(b);
    struct batch_user *u = ARENA_NEW(b->arena, struct batch_user);
    assert(s->new_ids_given < s->new_id_count);
    u->user = *user;
    u->user.customer_id = s->new_ids[s->new_ids_given++];
    u->is_new = true;
    keep(b, u);
    take_name(b, user->username);
    s->has_admin |= user->role == ROLE_ADMIN;
    s->active_admins += user->role == ROLE_ADMIN;
    return &u->user;
}

void store_touch_user(struct batch *b, struct user *user)
{
    (void)b;
    ((struct batch_user *)user)->is_changed = true;
}

void store_touch_opened(struct batch *b, struct user *user)
{
    ((struct batch_user *)user)->was_opened = true;
    store_touch_user(b, user);
}

void store_each_opened(struct batch *b, void (*opened)(void *arg, const struct user *u), void *arg)
{
    for (const struct batch_user *u = store_state(b)->users; u; u = u->hh.next)
        if (u->was_opened)
            opened(arg, &u->user);
}

/* ---- a batch: what it saves ---- */

void store_save_arrays(struct batch *b, const struct db_stmt *stmt, const time_us_t *first, struct db_array *const *all,
                       size_t count)
{
    bool any = all[0]->count > 0;
    struct db_args args = db_args(b->arena);
    if (first)
        db_arg_time(&args, *first);
    for (size_t i = 0; i < count; i++) {
        db_arg_array(&args, all[i]);
        db_array_done(all[i]);
    }
    if (any)
        db_enqueue(b->db, stmt, &args, NULL, NULL);
}

static void save_new(struct batch *b, const struct users_batch *s)
{
    struct db_array id, username, full_name, role, hash, must_change;
    struct db_array *all[] = {&id, &username, &full_name, &role, &hash, &must_change};
    enum { COUNT = sizeof all / sizeof all[0] };
    for (size_t i = 0; i < COUNT; i++)
        db_array_init(all[i]);
    for (const struct batch_user *u = s->users; u; u = u->hh.next) {
        if (!u->is_new)
            continue;
        db_array_i64(&id, u->user.customer_id);
        db_array_text(&username, u->user.username);
        db_array_text(&full_name, u->user.full_name);
        db_array_text(&role, USER_ROLES[u->user.role]);
        db_array_text(&hash, u->user.password_hash);
        db_array_bool(&must_change, u->user.must_change_password);
    }
    store_save_arrays(b, &INSERT_USERS, &b->now, all, COUNT);
}

static void save_changed(struct batch *b, const struct users_batch *s)
{
    struct db_array id, role, status, hash, opened, version, must_change;
    struct db_array *all[] = {&id, &role, &status, &hash, &opened, &version, &must_change};
    enum { COUNT = sizeof all / sizeof all[0] };
    for (size_t i = 0; i < COUNT; i++)
        db_array_init(all[i]);
    for (const struct batch_user *u = s->users; u; u = u->hh.next) {
        if (!u->is_changed)
            continue;
        db_array_i64(&id, u->user.customer_id);
        db_array_text(&role, USER_ROLES[u->user.role]);
        db_array_text(&status, USER_STATUSES[u->user.status]);
        db_array_text(&hash, u->user.password_hash);
        db_array_bool(&opened, u->user.opened);
        db_array_i64(&version, u->user.password_version);
        db_array_bool(&must_change, u->user.must_change_password);
    }
    store_save_arrays(b, &UPDATE_USERS, &b->now, all, COUNT);
}

void store_save_batch(struct batch *b)
{
    const struct users_batch *s = store_state(b);
    save_new(b, s);
    save_changed(b, s);
    store_save_sessions(b);
    store_save_buckets(b);
    store_save_trail(b);
}

/* ---- reads ---- */

void store_arg_cursor(struct db_args *args, const struct cursor *after)
{
    if (after->present) {
        db_arg_time(args, after->at);
        db_arg_uuid(args, after->id);
    } else {
        db_arg_null(args);
        db_arg_null(args);
    }
}

/* The one row of a statement of USER_COLUMNS and the password's hash. NULL: there is none. */
static enum err read_with_password(struct db *db, struct arena *arena, const struct db_stmt *stmt,
                                   const struct db_args *args, struct user **ret, struct fault *fault)
{
    CLEANUP_ROWS struct db_rows *rows = NULL;
    enum err e = db_query(db, stmt, args, &rows, fault);
    if (e)
        return e;
    *ret = NULL;
    if (db_count(rows) == 0)
        return ERR_OK;
    *ret = ARENA_NEW(arena, struct user);
    read_row(arena, rows, 0, *ret);
    (*ret)->password_hash = arena_strdup(arena, db_text(rows, 0, USER_COLUMN_COUNT));
    return ERR_OK;
}

enum err store_read_login(struct db *db, struct arena *arena, const char *username, struct user **ret,
                          struct fault *fault)
{
    struct db_args args = db_args(arena);
    db_arg_text(&args, username);
    return read_with_password(db, arena, &READ_LOGIN, &args, ret, fault);
}

enum err store_read_password(struct db *db, struct arena *arena, int64_t customer_id, struct user **ret,
                             struct fault *fault)
{
    struct db_args args = db_args(arena);
    db_arg_i64(&args, customer_id);
    return read_with_password(db, arena, &READ_PASSWORD, &args, ret, fault);
}

enum err store_read_refresh_owner(struct db *db, struct arena *arena, const char *hash, struct refresh_owner *ret,
                                  struct fault *fault)
{
    struct db_args args = db_args(arena);
    db_arg_text(&args, hash);
    CLEANUP_ROWS struct db_rows *rows = NULL;
    enum err e = db_query(db, &READ_REFRESH_OWNER, &args, &rows, fault);
    if (e)
        return e;
    *ret = (struct refresh_owner){.user = NULL};
    if (db_count(rows) == 0)
        return ERR_OK;
    ret->user = ARENA_NEW(arena, struct user);
    read_row(arena, rows, 0, ret->user);
    ret->session_id = db_uuid(rows, 0, USER_COLUMN_COUNT);
    ret->expire_date = db_time(rows, 0, USER_COLUMN_COUNT + 1);
    return ERR_OK;
}

enum err store_read_users(struct db *db, struct arena *arena, const int64_t *ids, size_t count, struct user **ret,
                          size_t *ret_count, struct fault *fault)
{
    struct db_array array;
    db_array_init(&array);
    for (size_t i = 0; i < count; i++)
        db_array_i64(&array, ids[i]);
    struct db_args args = db_args(arena);
    db_arg_array(&args, &array);
    db_array_done(&array);

    CLEANUP_ROWS struct db_rows *rows = NULL;
    enum err e = db_query(db, &READ_USERS, &args, &rows, fault);
    if (e)
        return e;
    *ret_count = (size_t)db_count(rows);
    *ret = ARENA_ARRAY(arena, struct user, *ret_count + 1);
    for (int r = 0; r < db_count(rows); r++)
        read_row(arena, rows, r, &(*ret)[r]);
    return ERR_OK;
}

static const char *word_or_null(const char *const *words, int i)
{
    return i < 0 ? NULL : words[i];
}

enum err store_read_user_list(struct db *db, struct arena *arena, const struct user_filter *f, struct user_list *ret,
                              struct fault *fault)
{
    struct db_args args = db_args(arena);
    db_arg_text(&args, f->username);
    db_arg_text(&args, word_or_null(USER_ROLES, f->role));
    db_arg_text(&args, word_or_null(USER_STATUSES, f->status));
    if (f->after.present) {
        db_arg_time(&args, f->after.at);
        db_arg_i64(&args, user_id_of_uuid(f->after.id));
    } else {
        db_arg_null(&args);
        db_arg_null(&args);
    }
    db_arg_i64(&args, f->limit + 1);
    CLEANUP_ROWS struct db_rows *rows = NULL;
    enum err e = db_query(db, &READ_LIST, &args, &rows, fault);
    if (e)
        return e;

    size_t found = (size_t)db_count(rows);
    ret->more = found > (size_t)f->limit;
    ret->count = ret->more ? (size_t)f->limit : found;
    ret->items = ARENA_ARRAY(arena, struct user, found + 1);
    for (size_t r = 0; r < ret->count; r++)
        read_row(arena, rows, (int)r, &ret->items[r]);
    return ERR_OK;
}

bool store_measure(struct db *db, struct user_measures *ret)
{
    CLEANUP_ROWS struct db_rows *rows = NULL;
    struct fault fault;
    if (db_query(db, &MEASURE, &(struct db_args){.count = 0}, &rows, &fault))
        return false;
    ret->unopened = db_i64(rows, 0, 0);
    ret->oldest = db_null(rows, 0, 1) ? 0 : db_time(rows, 0, 1);
    ret->has_admin = db_bool(rows, 0, 2);
    return true;
}
