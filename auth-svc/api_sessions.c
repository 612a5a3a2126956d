/* What becomes of a session once it is begun: renewed, listed, ended; and the password. */
#include <stddef.h>
#include <string.h>

#include "api_private.h"
#include "password_rule.h"

/* ---- POST /auth/refresh ---- */

struct refresh_call {
    const char *token;
    struct refresh cmd;
    struct refresh_owner owner;
    struct token_claims claims;
    char *access_token;
    char refresh_token[REFRESH_TOKEN_MAX], sealed[REFRESH_TOKEN_MAX];
    char hash[REFRESH_HASH_MAX], next_hash[REFRESH_HASH_MAX], key_hash[REFRESH_HASH_MAX];
    struct waiter waiter;
};
static const struct field REFRESH_FIELDS[] = {
    {.name = "refreshToken",
     .kind = FIELD_TEXT,
     .offset = offsetof(struct refresh_call, token),
     .flags = FIELD_REQUIRED,
     .min = 1},
    FIELD_END,
};

static enum err bad_refresh_token(struct call *call)
{
    return fault_set(&call->fault, ERR_BAD_REFRESH_TOKEN, API_BAD_REFRESH_TOKEN);
}

/* A successor and an access token, in case the token is good. */
static enum err work_refresh(struct call *call)
{
    struct refresh_call *r = call->state;
    refresh_token_new(r->refresh_token, r->next_hash);
    if (!refresh_token_seal(r->token, r->refresh_token, r->sealed))
        return bad_refresh_token(call);
    enum err e = api_sign(call, r->owner.user, r->owner.session_id, r->owner.expire_date, &r->claims, &r->access_token);
    if (e != ERR_OK)
        return e;
    r->cmd.hash = r->hash;
    r->cmd.next_hash = r->next_hash;
    r->cmd.sealed = r->sealed;
    r->cmd.signed_for = r->owner.user;
    r->cmd.session_id = r->owner.session_id;
    return api_submit(call, api_command(call, &AUTH_REFRESH, &r->cmd, r->owner.user->customer_id));
}

static enum err sign_refresh(struct call *call)
{
    const struct refresh_call *r = call->state;
    if (r->owner.user == NULL)
        return bad_refresh_token(call);
    return hashers_submit(api_auth(call)->hashers, call, work_refresh);
}

static enum err query_refresh(struct call *call, struct db *db)
{
    struct refresh_call *r = call->state;
    return store_read_refresh_owner(db, &call->arena, r->hash, &r->owner, &call->fault);
}

enum err api_on_refresh(struct call *call)
{
    struct refresh_call *r = ARENA_NEW(&call->arena, struct refresh_call);
    enum err e = call_body(call, REFRESH_FIELDS, r);
    if (e != ERR_OK)
        return e;
    r->cmd.arrived = clock_now_us();
    refresh_token_hash(r->token, r->hash);
    if (call->idempotency_key != NULL) {
        refresh_token_hash(call->idempotency_key, r->key_hash);
        r->cmd.repeat_key = r->key_hash;
    }
    call->state = r;
    return readers_submit_then(call_service(call)->readers, call, query_refresh, sign_refresh);
}

static bool never(struct waiter *w, const void *resource)
{
    (void)w, (void)resource;
    return false;
}

static void reply_refreshed(struct waiter *w)
{
    const struct refresh_call *r = w->call->state;
    api_reply_tokens(w->call, &r->claims, r->access_token, r->refresh_token);
    call_finish(w->call, ERR_OK);
}

/* Held until nobody can ask for the same any more and be taken for the same: see refresh_judge. */
static void hold_answer(struct call *call, struct refresh_call *r, time_us_t until)
{
    int64_t left_us = until - clock_now_us();
    call->wait_ms = left_us > 0 ? (int)(left_us / 1000) + 1 : 0;
    r->waiter = (struct waiter){
        .call = call, .id = uuid_of_int(r->owner.user->customer_id), .settled = never, .late = reply_refreshed};
    struct waiters *waiters = call_service(call)->waiters;
    if (waiters_add(waiters, &r->waiter) == ERR_OK)
        waiters_arm(waiters, &r->waiter);
    else
        reply_refreshed(&r->waiter); /* too many wait: rather early than not at all, for it is done */
}

void api_answer_refresh(struct lane_item *it)
{
    struct call *call = it->call;
    struct refresh_call *r = call->state;
    const struct refreshed *result = it->result;
    if (result->verdict == REFRESH_REUSED || !refresh_token_seal(r->token, result->sealed, r->refresh_token))
        call_finish(call, bad_refresh_token(call));
    else
        hold_answer(call, r, result->answer_date);
}

/* ---- GET /auth/sessions ---- */

struct sessions_query {
    int64_t limit;
    const char *cursor;
    struct cursor after;
};
static const struct field SESSIONS_FIELDS[] = {
    {.name = "cursor",
     .kind = FIELD_TEXT,
     .offset = offsetof(struct sessions_query, cursor),
     .min = 1,
     .max = CURSOR_TEXT_MAX},
    {.name = "limit",
     .kind = FIELD_INT,
     .offset = offsetof(struct sessions_query, limit),
     .min = 1,
     .max = LIST_LIMIT_MAX},
    FIELD_END,
};

static void write_session(struct json_out *o, const struct session *s, bool is_current)
{
    json_open(o, NULL, '{');
    json_put_uuid(o, "id", s->id);
    json_put_text(o, "address", s->peer);
    json_put_time(o, "createDate", s->create_date);
    json_put_time(o, "refreshDate", s->refresh_date);
    json_put_time(o, "expireDate", s->expire_date < s->idle_date ? s->expire_date : s->idle_date);
    json_put_bool(o, "current", is_current);
    json_close(o, '}');
}

static enum err query_sessions(struct call *call, struct db *db)
{
    const struct sessions_query *q = call->state;
    struct session_list list;
    enum err e = store_read_sessions(db, &call->arena, call->claims.customer_id, clock_now_us(), &q->after, q->limit,
                                     &list, &call->fault);
    if (e != ERR_OK)
        return e;
    struct json_out o = json_out(&call->out);
    json_open(&o, NULL, '{');
    json_open(&o, "items", '[');
    for (size_t i = 0; i < list.count; i++)
        write_session(&o, &list.items[i], uuid_eq(list.items[i].id, call->claims.sid));
    json_close(&o, ']');
    const struct session *last = list.count > 0 ? &list.items[list.count - 1] : &(struct session){.customer_id = 0};
    api_close_list(&o, list.more, last->create_date, last->id);
    call_reply(call, 200);
    return ERR_OK;
}

enum err api_on_list_sessions(struct call *call)
{
    struct sessions_query *q = ARENA_NEW(&call->arena, struct sessions_query);
    q->limit = LIST_LIMIT_DEFAULT;
    enum err e = call_query(call, SESSIONS_FIELDS, q);
    if (e == ERR_OK)
        e = cursor_decode(q->cursor, &q->after, &call->errors);
    if (e != ERR_OK)
        return e;
    call->state = q;
    return readers_submit(call_service(call)->readers, call, query_sessions);
}

/* ---- POST /auth/logout, DELETE /auth/sessions/{id} ---- */

static enum err end_own(struct call *call, struct uuid id, bool must_be_there)
{
    struct end_sessions *cmd = ARENA_NEW(&call->arena, struct end_sessions);
    *cmd = (struct end_sessions){
        .customer_id = call->claims.customer_id, .only = id, .reason = "logout", .must_be_there = must_be_there};
    return service_submit(call, api_command(call, &AUTH_END_SESSIONS, cmd, cmd->customer_id), NULL);
}

/* Who is logged out already has what he asks for. */
enum err api_on_logout(struct call *call)
{
    enum err e = call_query(call, API_NO_FIELDS, NULL);
    return e == ERR_OK ? end_own(call, call->claims.sid, false) : e;
}

enum err api_on_end_session(struct call *call)
{
    struct uuid id;
    enum err e = call_param_uuid(call, 0, &id);
    if (e == ERR_OK)
        e = call_query(call, API_NO_FIELDS, NULL);
    return e == ERR_OK ? end_own(call, id, true) : e;
}

/* ---- POST /auth/password ---- */

struct password_call {
    const char *current, *new;
    struct user *user;
    struct guard_keys guard;
    struct change_password cmd;
};
static const struct field PASSWORD_FIELDS[] = {
    {.name = "currentPassword",
     .kind = FIELD_TEXT,
     .offset = offsetof(struct password_call, current),
     .flags = FIELD_REQUIRED,
     .min = 1,
     .max = PASSWORD_BYTES_MAX},
    {.name = "newPassword",
     .kind = FIELD_TEXT,
     .offset = offsetof(struct password_call, new),
     .flags = FIELD_REQUIRED,
     .min = 1,
     .max = PASSWORD_BYTES_MAX},
    FIELD_END,
};

static enum err work_password(struct call *call)
{
    struct password_call *p = call->state;
    char hash[PASSWORD_HASH_MAX];
    enum err e = password_verify(p->user->password_hash, p->current, &call->fault);
    if (e == ERR_BAD_CREDENTIALS)
        return api_login_failed(call, TRAIL_PASSWORD_FAILED, p->user->customer_id);
    if (e == ERR_OK)
        e = password_hash(api_auth(call)->cost, p->new, hash, &call->fault);
    if (e != ERR_OK)
        return e;
    p->cmd = (struct change_password){.guard = p->guard,
                                      .customer_id = p->user->customer_id,
                                      .keep = call->claims.sid,
                                      .password_version = p->user->password_version,
                                      .new_hash = arena_strdup(&call->arena, hash)};
    return api_submit(call, api_command(call, &AUTH_CHANGE_PASSWORD, &p->cmd, p->cmd.customer_id));
}

static enum err check_current_password(struct call *call)
{
    const struct password_call *p = call->state;
    const char *complaint = password_complaint_by(api_auth(call)->passwords, p->new, p->user->username);
    if (complaint != NULL)
        return field_error_add(&call->errors, "/newPassword", "%s", complaint);
    return api_try_password(call, &p->guard, p->user->customer_id, work_password);
}

static enum err query_password(struct call *call, struct db *db)
{
    struct password_call *p = call->state;
    enum err e = store_read_password(db, &call->arena, call->claims.customer_id, &p->user, &call->fault);
    if (e == ERR_OK && p->user == NULL)
        return fault_set(&call->fault, ERR_UNAUTHENTICATED, "the token's user is not known here");
    return e == ERR_OK ? api_guard(call, db, p->user->username, p->user, &p->guard) : e;
}

enum err api_on_password(struct call *call)
{
    struct password_call *p = ARENA_NEW(&call->arena, struct password_call);
    enum err e = call_body(call, PASSWORD_FIELDS, p);
    if (e != ERR_OK)
        return e;
    if (strcmp(p->current, p->new) == 0)
        return field_error_add(&call->errors, "/newPassword", "must be another one");
    call->state = p;
    return readers_submit_then(call_service(call)->readers, call, query_password, check_current_password);
}
