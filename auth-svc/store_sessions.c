#include "store_private.h"

#define SESSION_COLUMNS \
    "s.id, s.customer_id, s.peer, s.create_date, s.refresh_date, s.idle_date, s.expire_date, s.revoke_date, " \
    "s.end_reason"

/* Not locked themselves: who changes a session holds its user's lock. */
static const struct db_stmt LOAD_SESSIONS = {
    "sessions_load",
    "SELECT " SESSION_COLUMNS " FROM session s WHERE s.customer_id = ANY ($1::bigint[]) AND s.revoke_date IS NULL "
    "AND s.idle_date > $2 AND s.expire_date > $2 ORDER BY s.create_date, s.id",
};
static const struct db_stmt LOAD_TOKENS = {
    "refresh_tokens_load",
    "SELECT t.hash, t.session_id, t.used_date, t.repeat_key, t.successor FROM refresh_token t "
    "WHERE t.hash = ANY ($1::text[])",
};
static const struct db_stmt INSERT_SESSIONS = {
    "sessions_insert",
    "INSERT INTO session (id, customer_id, peer, create_date, refresh_date, idle_date, expire_date, revoke_date, "
    "end_reason) "
    "SELECT g.id, g.customer_id, g.peer, g.create_date, g.refresh_date, g.idle_date, g.expire_date, g.revoke_date, "
    "g.end_reason "
    "FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::timestamptz[], "
    "$7::timestamptz[], $8::timestamptz[], $9::text[]) "
    "AS g (id, customer_id, peer, create_date, refresh_date, idle_date, expire_date, revoke_date, end_reason)",
};
static const struct db_stmt UPDATE_SESSIONS = {
    "sessions_update",
    "UPDATE session s SET refresh_date = g.refresh_date, idle_date = g.idle_date, revoke_date = g.revoke_date, "
    "end_reason = g.end_reason "
    "FROM unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[], $4::timestamptz[], $5::text[]) "
    "AS g (id, refresh_date, idle_date, revoke_date, end_reason) WHERE s.id = g.id",
};
static const struct db_stmt INSERT_TOKENS = {
    "refresh_tokens_insert",
    "INSERT INTO refresh_token (hash, session_id, create_date) SELECT g.hash, g.session_id, $1 "
    "FROM unnest($2::text[], $3::uuid[]) AS g (hash, session_id)",
};
/* Unused in the WHERE backs up the lock: a token is used once. */
static const struct db_stmt USE_TOKENS = {
    "refresh_tokens_use",
    "WITH used AS (UPDATE refresh_token t SET used_date = $1, repeat_key = g.repeat_key, successor = g.successor "
    "FROM unnest($2::text[], $3::text[], $4::text[]) AS g (hash, repeat_key, successor) "
    "WHERE t.hash = g.hash AND t.used_date IS NULL RETURNING 1) "
    "SELECT must_be((SELECT count(*) FROM used) = cardinality($2::text[]), 'XX000', 'a refresh token was used under "
    "its "
    "lock')",
};
/* Their tokens go with them. Until then a used one is known for what it is. */
static const struct db_stmt PRUNE = {
    "sessions_prune",
    "DELETE FROM session WHERE id = ANY (ARRAY(SELECT id FROM session WHERE expire_date < $1 ORDER BY expire_date "
    "LIMIT "
    "$2 FOR UPDATE SKIP LOCKED))",
};
static const struct db_stmt READ_SESSIONS = {
    "sessions_list",
    "SELECT " SESSION_COLUMNS " FROM session s WHERE s.customer_id = $1 AND s.revoke_date IS NULL "
    "AND s.idle_date > $2 AND s.expire_date > $2 "
    "AND ($3::timestamptz IS NULL OR (s.create_date, s.id) < ($3::timestamptz, $4::uuid)) "
    "ORDER BY s.create_date DESC, s.id DESC LIMIT $5",
};

static struct session read_row(struct arena *arena, const struct db_rows *rows, int r)
{
    return (struct session){
        .id = db_uuid(rows, r, 0),
        .customer_id = db_i64(rows, r, 1),
        .peer = arena_strdup(arena, db_text(rows, r, 2)),
        .create_date = db_time(rows, r, 3),
        .refresh_date = db_time(rows, r, 4),
        .idle_date = db_time(rows, r, 5),
        .expire_date = db_time(rows, r, 6),
        .revoke_date = store_time_or_0(rows, r, 7),
        .end_reason = store_text_or_null(arena, rows, r, 8),
    };
}

/* ---- a batch: what it loads ---- */

void store_want_sessions(struct batch *b, int64_t customer_id)
{
    store_want_user(b, customer_id);
    db_array_i64(&store_state(b)->session_ids, customer_id);
}

void store_want_prune(struct batch *b)
{
    store_state(b)->prune_wanted = true;
}

void store_want_token(struct batch *b, const char *hash)
{
    db_array_text(&store_state(b)->token_hashes, hash);
}

static struct batch_session *append(struct batch *b, const struct session *session)
{
    struct batch_user *u = store_batch_user(b, session->customer_id);
    struct batch_session *x = ARENA_NEW(b->arena, struct batch_session);
    x->session = *session;
    if (u->sessions == NULL)
        u->sessions_end = &u->sessions;
    *u->sessions_end = x;
    u->sessions_end = &x->next;
    return x;
}

static void on_sessions(void *arg, const struct db_rows *rows)
{
    struct batch *b = arg;
    for (int r = 0; r < db_count(rows); r++) {
        struct session session = read_row(b->arena, rows, r);
        (void)append(b, &session);
    }
}

static struct batch_token *keep(struct batch *b, const struct refresh_token *token)
{
    struct batch_token *t = ARENA_NEW(b->arena, struct batch_token);
    t->token = *token;
    HASH_ADD_KEYPTR(hh, store_state(b)->tokens, t->token.hash, strlen(t->token.hash), t);
    return t;
}

static void on_tokens(void *arg, const struct db_rows *rows)
{
    struct batch *b = arg;
    for (int r = 0; r < db_count(rows); r++) {
        const struct refresh_token token = {
            .hash = arena_strdup(b->arena, db_text(rows, r, 0)),
            .session_id = db_uuid(rows, r, 1),
            .used_date = store_time_or_0(rows, r, 2),
            .repeat_key = store_text_or_null(b->arena, rows, r, 3),
            .successor = store_text_or_null(b->arena, rows, r, 4),
        };
        (void)keep(b, &token);
    }
}

void store_load_sessions(struct batch *b)
{
    struct users_batch *s = store_state(b);
    struct db_args sessions = db_args(b->arena), tokens = db_args(b->arena);
    if (s->session_ids.count) {
        db_arg_array(&sessions, &s->session_ids);
        db_arg_time(&sessions, b->now);
        db_enqueue(b->db, &LOAD_SESSIONS, &sessions, on_sessions, b);
    }
    if (s->token_hashes.count) {
        db_arg_array(&tokens, &s->token_hashes);
        db_enqueue(b->db, &LOAD_TOKENS, &tokens, on_tokens, b);
    }
    db_array_done(&s->session_ids);
    db_array_done(&s->token_hashes);
}

/* ---- a batch: what is decided on it ---- */

/* Only live ones are loaded, so what has an end has it from this batch. */
void store_each_ended(struct batch *b, void (*ended)(void *arg, const struct session *s), void *arg)
{
    for (const struct batch_user *u = store_state(b)->users; u; u = u->hh.next)
        for (const struct batch_session *x = u->sessions; x; x = x->next)
            if (x->session.revoke_date != 0)
                ended(arg, &x->session);
}

void store_each_session(struct batch *b, int64_t customer_id, bool (*each)(void *arg, struct session *s), void *arg)
{
    const struct batch_user *u = store_batch_user(b, customer_id);
    for (struct batch_session *x = u ? u->sessions : NULL; x; x = x->next)
        if (session_is_live(&x->session, b->now) && !each(arg, &x->session))
            return;
}

struct session *store_session(struct batch *b, int64_t customer_id, struct uuid id)
{
    const struct batch_user *u = store_batch_user(b, customer_id);
    for (struct batch_session *x = u ? u->sessions : NULL; x; x = x->next)
        if (uuid_eq(x->session.id, id))
            return session_is_live(&x->session, b->now) ? &x->session : NULL;
    return NULL;
}

void store_touch_session(struct batch *b, struct session *s)
{
    (void)b;
    ((struct batch_session *)s)->is_changed = true;
}

void store_add_session(struct batch *b, const struct session *session)
{
    append(b, session)->is_new = true;
}

struct refresh_token *store_token(struct batch *b, const char *hash)
{
    struct batch_token *t;
    HASH_FIND_STR(store_state(b)->tokens, hash, t);
    return t ? &t->token : NULL;
}

void store_touch_token(struct batch *b, struct refresh_token *t)
{
    (void)b;
    ((struct batch_token *)t)->is_changed = true;
}

void store_add_token(struct batch *b, struct uuid session_id, const char *hash)
{
    keep(b, &(struct refresh_token){.hash = arena_strdup(b->arena, hash), .session_id = session_id})->is_new = true;
}

/* ---- a batch: what it saves ---- */

static void time_or_null(struct db_array *x, time_us_t t)
{
    if (t)
        db_array_time(x, t);
    else
        db_array_null(x);
}

static void save_new(struct batch *b)
{
    struct db_array id, customer, peer, created, refreshed, idle, expires, revoked, reason;
    struct db_array *all[] = {&id, &customer, &peer, &created, &refreshed, &idle, &expires, &revoked, &reason};
    enum { COUNT = sizeof all / sizeof all[0] };
    for (size_t i = 0; i < COUNT; i++)
        db_array_init(all[i]);
    for (const struct batch_user *u = store_state(b)->users; u; u = u->hh.next)
        for (const struct batch_session *x = u->sessions; x; x = x->next) {
            if (!x->is_new)
                continue;
            db_array_uuid(&id, x->session.id);
            db_array_i64(&customer, x->session.customer_id);
            db_array_text(&peer, x->session.peer);
            db_array_time(&created, x->session.create_date);
            db_array_time(&refreshed, x->session.refresh_date);
            db_array_time(&idle, x->session.idle_date);
            db_array_time(&expires, x->session.expire_date);
            time_or_null(&revoked, x->session.revoke_date);
            db_array_text(&reason, x->session.end_reason);
        }
    store_save_arrays(b, &INSERT_SESSIONS, NULL, all, COUNT);
}

static void save_changed(struct batch *b)
{
    struct db_array id, refreshed, idle, revoked, reason;
    struct db_array *all[] = {&id, &refreshed, &idle, &revoked, &reason};
    enum { COUNT = sizeof all / sizeof all[0] };
    for (size_t i = 0; i < COUNT; i++)
        db_array_init(all[i]);
    for (const struct batch_user *u = store_state(b)->users; u; u = u->hh.next)
        for (const struct batch_session *x = u->sessions; x; x = x->next) {
            if (x->is_new || !x->is_changed)
                continue;
            db_array_uuid(&id, x->session.id);
            db_array_time(&refreshed, x->session.refresh_date);
            db_array_time(&idle, x->session.idle_date);
            time_or_null(&revoked, x->session.revoke_date);
            db_array_text(&reason, x->session.end_reason);
        }
    store_save_arrays(b, &UPDATE_SESSIONS, NULL, all, COUNT);
}

static void save_tokens(struct batch *b)
{
    struct db_array hash, session, used, key, successor;
    struct db_array *added[] = {&hash, &session}, *changed[] = {&used, &key, &successor};
    db_array_init(&hash);
    db_array_init(&session);
    db_array_init(&used);
    db_array_init(&key);
    db_array_init(&successor);
    for (const struct batch_token *t = store_state(b)->tokens; t; t = t->hh.next) {
        if (t->is_new) {
            db_array_text(&hash, t->token.hash);
            db_array_uuid(&session, t->token.session_id);
        }
        if (t->is_changed) {
            db_array_text(&used, t->token.hash);
            db_array_text(&key, t->token.repeat_key);
            db_array_text(&successor, t->token.successor);
        }
    }
    store_save_arrays(b, &INSERT_TOKENS, &b->now, added, sizeof added / sizeof added[0]);
    store_save_arrays(b, &USE_TOKENS, &b->now, changed, sizeof changed / sizeof changed[0]);
}

static void prune(struct batch *b)
{
    struct db_args args = db_args(b->arena);
    db_arg_time(&args, b->now - STORE_KEEP_S * US_PER_S);
    db_arg_i64(&args, STORE_PRUNE_MAX);
    db_enqueue(b->db, &PRUNE, &args, NULL, NULL);
}

void store_save_sessions(struct batch *b)
{
    if (store_state(b)->prune_wanted)
        prune(b);
    save_new(b);
    save_changed(b);
    save_tokens(b);
}

/* ---- reads ---- */

enum err store_read_sessions(struct db *db, struct arena *arena, int64_t customer_id, time_us_t now,
                             const struct cursor *after, int64_t limit, struct session_list *ret, struct fault *fault)
{
    struct db_args args = db_args(arena);
    db_arg_i64(&args, customer_id);
    db_arg_time(&args, now);
    store_arg_cursor(&args, after);
    db_arg_i64(&args, limit + 1);
    CLEANUP_ROWS struct db_rows *rows = NULL;
    enum err e = db_query(db, &READ_SESSIONS, &args, &rows, fault);
    if (e)
        return e;

    size_t found = (size_t)db_count(rows);
    ret->more = found > (size_t)limit;
    ret->count = ret->more ? (size_t)limit : found;
    ret->items = ARENA_ARRAY(arena, struct session, found + 1);
    for (size_t r = 0; r < ret->count; r++)
        ret->items[r] = read_row(arena, rows, (int)r);
    return ERR_OK;
}
