#include "api_private.h"

#include <stddef.h>
#include <string.h>

#include "base/hash.h"
#include "password_rule.h"
#include "svc/audit.h"

enum err api_submit(struct call *call, struct lane_item *item)
{
    enum err e = lane_submit(call_service(call)->lane, item);
    if (e != ERR_OK)
        call->fault = item->fault;
    return e;
}

struct lane_item *api_command(struct call *call, const struct lane_verb *verb, void *args, int64_t customer_id)
{
    struct lane_item *item = service_command(call, verb, args, customer_id, (struct uuid){{0}}, "");
    item->key = NULL;
    return item;
}

void api_answer_done(struct lane_item *it)
{
    call_reply(it->call, 204);
    call_finish(it->call, ERR_OK);
}

/* ---- encoding ---- */

/* As he sees himself. */
static void write_self(struct json_out *o, const struct user *u)
{
    json_open(o, NULL, '{');
    json_put_int(o, "customerId", u->customer_id);
    json_put_text(o, "username", u->username);
    json_put_text(o, "fullName", u->full_name);
    json_put_text(o, "role", USER_ROLES[u->role]);
    json_close(o, '}');
}

/* As an admin sees him. */
void api_write_user(struct json_out *o, const struct user *u)
{
    json_open(o, NULL, '{');
    json_put_int(o, "customerId", u->customer_id);
    json_put_text(o, "username", u->username);
    json_put_text(o, "fullName", u->full_name);
    json_put_text(o, "role", USER_ROLES[u->role]);
    json_put_text(o, "status", USER_STATUSES[u->status]);
    json_put_bool(o, "mustChangePassword", u->must_change_password);
    json_put_time(o, "createDate", u->create_date);
    json_close(o, '}');
}

/* Who was made by an admin is shown, and found, as admins see him. */
static void put_location(struct call *call, int64_t customer_id)
{
    call_reply_header(call, "Location",
                      call->has_token ? arena_printf(&call->arena, AUTH_PATH "/users/%lld", (long long)customer_id)
                                      : AUTH_PATH "/me");
}

static void reply_made(struct call *call, int status, const struct user *u)
{
    struct json_out o = json_out(&call->out);
    put_location(call, u->customer_id);
    if (call->has_token)
        api_write_user(&o, u);
    else
        write_self(&o, u);
    call_reply(call, status);
}

void api_reply_tokens(struct call *call, const struct token_claims *claims, const char *access_token,
                      const char *refresh_token)
{
    struct json_out o = json_out(&call->out);
    json_open(&o, NULL, '{');
    json_put_text(&o, "accessToken", access_token);
    json_put_text(&o, "tokenType", "Bearer");
    json_put_int(&o, "expiresIn", claims->exp - claims->iat);
    json_put_text(&o, "refreshToken", refresh_token);
    json_put_int(&o, "customerId", claims->customer_id);
    json_put_text(&o, "role", token_role_name(claims->role));
    json_close(&o, '}');
    call_reply(call, 200);
}

void api_close_list(struct json_out *o, bool more, time_us_t last_at, struct uuid last_id)
{
    char next[CURSOR_TEXT_MAX];
    if (more)
        cursor_encode(&(struct cursor){.at = last_at, .id = last_id}, next);
    json_put_text(o, "nextCursor", more ? next : NULL);
    json_close(o, '}');
}

/* ---- fields ---- */

const struct field API_NO_FIELDS[] = {FIELD_END};

const char *api_check_username(struct arena *arena, const char *text, const char **ret_text)
{
    char name[USER_NAME_MAX + 1];
    if (!user_name_normalise(text, name))
        return "must be 3 to 32 letters (a to z), digits, '.', '_' or '-'";
    *ret_text = arena_strdup(arena, name);
    return NULL;
}

static const char *check_full_name(struct arena *arena, const char *text, const char **ret_text)
{
    struct str name = str_trim(str_of(text));
    if (name.len == 0)
        return "must be a name of 1 to 200 bytes without control characters";
    *ret_text = arena_strndup(arena, name.data, name.len);
    return NULL;
}

static const char *check_new_password(struct arena *arena, const char *text, const char **ret_text)
{
    (void)arena, (void)ret_text;
    return password_complaint(text, NULL);
}

/* ---- POST /auth/register, /auth/users ---- */

struct registration {
    const struct lane_verb *verb;
    struct register_user cmd;
    const char *password;
    struct waiter waiter;
};
struct register_body {
    const char *username, *password, *full_name;
    int role; /* only an admin chooses it */
};
/* clang-format off */
#define REGISTER_MEMBERS \
    {.name = "username", .kind = FIELD_TEXT, .offset = offsetof(struct register_body, username), .flags = FIELD_REQUIRED, \
     .min = 1, .max = USER_NAME_MAX, .check = api_check_username}, \
    {.name = "password", .kind = FIELD_TEXT, .offset = offsetof(struct register_body, password), .flags = FIELD_REQUIRED, \
     .min = 1, .max = PASSWORD_BYTES_MAX, .check = check_new_password}, \
    {.name = "fullName", .kind = FIELD_TEXT, .offset = offsetof(struct register_body, full_name), .flags = FIELD_REQUIRED, \
     .min = 1, .max = USER_FULL_NAME_MAX, .check = check_full_name}
static const struct field REGISTER_FIELDS[] = {REGISTER_MEMBERS, FIELD_END};
static const struct field CREATE_FIELDS[] = {
    REGISTER_MEMBERS,
    {.name = "role", .kind = FIELD_CHOICE, .offset = offsetof(struct register_body, role), .choices = USER_ROLES},
    FIELD_END,
};
/* clang-format on */

static bool registered(struct waiter *w, const void *resource)
{
    const struct user *u = resource;
    if (!u->opened)
        return false;
    reply_made(w->call, 201, u);
    call_finish(w->call, ERR_OK);
    return true;
}

/* He is registered and may log in; his account is opened when its events come through. */
static void registered_late(struct waiter *w)
{
    put_location(w->call, user_id_of_uuid(w->id));
    if (w->call->prefer_async)
        call_reply_header(w->call, "Preference-Applied", "respond-async");
    call_reply(w->call, 202);
    call_finish(w->call, ERR_OK);
}

/* Only the lane knows what the waiter waits for: the customer's number is given there. waiters_move reads him again at once, so
 * nothing that came meanwhile is missed. */
void api_answer_register(struct lane_item *it)
{
    struct registration *r = it->call->state;
    const struct user *u = it->result;
    waiters_move(call_service(it->call)->waiters, &r->waiter, uuid_of_int(u->customer_id));
}

static enum err taken(struct call *call, const char *username)
{
    return fault_set(&call->fault, ERR_USERNAME_TAKEN, "the user name \"%s\" is taken", username);
}

static enum err work_register(struct call *call)
{
    struct registration *r = call->state;
    char hash[PASSWORD_HASH_MAX];
    enum err e = password_hash(api_auth(call)->cost, r->password, hash, &call->fault);
    if (e == ERR_OK)
        e = waiters_add(call_service(call)->waiters, &r->waiter);
    if (e != ERR_OK)
        return e;
    r->cmd.password_hash = arena_strdup(&call->arena, hash);
    return api_submit(call, api_command(call, r->verb, &r->cmd, 0));
}

static enum err hash_new_password(struct call *call)
{
    return hashers_submit(api_auth(call)->hashers, call, work_register);
}

/* The lane decides whether the name is free; but who can see that it isn't need not hash for it. */
static enum err query_name(struct call *call, struct db *db)
{
    const struct registration *r = call->state;
    struct user *holder;
    enum err e = store_read_login(db, &call->arena, r->cmd.username, &holder, &call->fault);
    return e == ERR_OK && holder ? taken(call, r->cmd.username) : e;
}

static enum err make_user(struct call *call, const struct lane_verb *verb, const struct field *fields)
{
    struct register_body body = {.role = -1};
    enum err e = call_body(call, fields, &body);
    if (e != ERR_OK)
        return e;
    const char *complaint = password_complaint_by(api_auth(call)->passwords, body.password, body.username);
    if (complaint)
        return field_error_add(&call->errors, "/password", "%s", complaint);
    if (strcmp(body.username, USER_FIRST_ADMIN) == 0)
        return taken(call, body.username);

    struct registration *r = ARENA_NEW(&call->arena, struct registration);
    r->verb = verb;
    r->cmd = (struct register_user){.username = body.username,
                                    .full_name = body.full_name,
                                    .role = body.role < 0 ? ROLE_CUSTOMER : (enum token_role)body.role};
    r->password = body.password;
    r->waiter = (struct waiter){.call = call, .settled = registered, .late = registered_late};
    call->state = r;
    return readers_submit_then(call_service(call)->readers, call, query_name, hash_new_password);
}

static enum err on_register(struct call *call)
{
    return make_user(call, &AUTH_REGISTER, REGISTER_FIELDS);
}

enum err api_on_create_user(struct call *call)
{
    return make_user(call, &AUTH_CREATE_USER, CREATE_FIELDS);
}

/* ---- POST /auth/login ---- */

struct login {
    const char *username, *password;
    struct user *user; /* NULL: nobody is called so */
    struct begin_session cmd;
    struct token_claims claims;
    char refresh_token[REFRESH_TOKEN_MAX], refresh_hash[REFRESH_HASH_MAX];
    char *access_token;
};

/* A name that nobody can have is the name of nobody. */
static const char *check_login_name(struct arena *arena, const char *text, const char **ret_text)
{
    char name[USER_NAME_MAX + 1];
    if (user_name_normalise(text, name))
        *ret_text = arena_strdup(arena, name);
    return NULL;
}

/* clang-format off */
static const struct field LOGIN_FIELDS[] = {
    {.name = "username", .kind = FIELD_TEXT, .offset = offsetof(struct login, username), .flags = FIELD_REQUIRED, .min = 1,
     .check = check_login_name},
    {.name = "password", .kind = FIELD_TEXT, .offset = offsetof(struct login, password), .flags = FIELD_REQUIRED, .min = 1,
     .max = PASSWORD_BYTES_MAX},
    FIELD_END,
};
/* clang-format on */

enum err api_sign(struct call *call, const struct user *u, struct uuid sid, time_us_t expire_date,
                  struct token_claims *ret_claims, char **ret_token)
{
    int64_t now_s = clock_now_us() / US_PER_S, life_s = TOKEN_LIFE_S, left_s = expire_date / US_PER_S - now_s;
    if (expire_date != 0 && left_s < life_s)
        life_s = left_s;
    if (life_s <= 0)
        return fault_set(&call->fault, ERR_BAD_REFRESH_TOKEN, API_BAD_REFRESH_TOKEN);
    *ret_claims = (struct token_claims){
        .customer_id = u->customer_id, .role = user_token_role(u), .sid = sid, .iat = now_s, .exp = now_s + life_s};
    return token_sign(api_auth(call)->signer, ret_claims, &call->arena, ret_token, &call->fault);
}

/* Session, refresh token and access token; they are good once the lane has committed them. */
static enum err begin_session(struct call *call, struct login *l)
{
    refresh_token_new(l->refresh_token, l->refresh_hash);
    l->cmd.session = (struct session){.id = uuid_v7(), .customer_id = l->user->customer_id, .peer = call->client};
    l->cmd.refresh_hash = l->refresh_hash;
    l->cmd.role = l->user->role;
    l->cmd.password_version = l->user->password_version;
    return api_sign(call, l->user, l->cmd.session.id, 0, &l->claims, &l->access_token);
}

/* A hash is computed for whoever asks, so that time tells nothing either. */
static enum err verify(struct call *call, const struct login *l)
{
    const struct auth *a = api_auth(call);
    enum err e = password_verify(l->user ? l->user->password_hash : a->nobody, l->password, &call->fault);
    if (e == ERR_OK && !(l->user && user_may_log_in(l->user)))
        return ERR_BAD_CREDENTIALS;
    return e;
}

/* Here alone the password is known, so here it is hashed anew when a hash costs more today than it did. */
static enum err rehash(struct call *call, struct login *l)
{
    const struct auth *a = api_auth(call);
    char hash[PASSWORD_HASH_MAX];
    if (!password_is_cheap(l->user->password_hash, a->cost))
        return ERR_OK;
    enum err e = password_hash(a->cost, l->password, hash, &call->fault);
    if (e == ERR_OK)
        l->cmd.better_hash = arena_strdup(&call->arena, hash);
    return e;
}

enum err api_login_failed(struct call *call, enum trail_type type, int64_t customer_id)
{
    struct failed_login *cmd = ARENA_NEW(&call->arena, struct failed_login);
    *cmd = (struct failed_login){.customer_id = customer_id, .type = type};
    return api_submit(call, api_command(call, &AUTH_LOGIN_FAILED, cmd, customer_id));
}

void api_answer_login_failed(struct lane_item *it)
{
    struct call *call = it->call;
    counter_add(api_auth(call)->logins_refused, 1);
    call_finish(call, fault_set(&call->fault, ERR_BAD_CREDENTIALS, API_BAD_CREDENTIALS));
}

static enum err work_login(struct call *call)
{
    struct login *l = call->state;
    enum err e = verify(call, l);
    if (e == ERR_BAD_CREDENTIALS)
        return api_login_failed(call, TRAIL_LOGIN_FAILED, l->user ? l->user->customer_id : 0);
    if (e == ERR_OK)
        e = rehash(call, l);
    if (e == ERR_OK)
        e = begin_session(call, l);
    if (e != ERR_OK)
        return e;
    return api_submit(call, api_command(call, &AUTH_LOGIN, &l->cmd, l->user->customer_id));
}

static enum err check_password(struct call *call)
{
    const struct login *l = call->state;
    return api_try_password(call, &l->cmd.guard, l->user ? l->user->customer_id : 0, work_login);
}

static enum err query_login(struct call *call, struct db *db)
{
    struct login *l = call->state;
    enum err e = store_read_login(db, &call->arena, l->username, &l->user, &call->fault);
    return e == ERR_OK ? api_guard(call, db, l->username, l->user, &l->cmd.guard) : e;
}

static enum err on_login(struct call *call)
{
    struct login *l = ARENA_NEW(&call->arena, struct login);
    enum err e = call_body(call, LOGIN_FIELDS, l);
    if (e != ERR_OK)
        return e;
    call->state = l;
    return readers_submit_then(call_service(call)->readers, call, query_login, check_password);
}

void api_answer_login(struct lane_item *it)
{
    struct call *call = it->call;
    const struct login *l = call->state;
    counter_add(api_auth(call)->logins, 1);
    api_reply_tokens(call, &l->claims, l->access_token, l->refresh_token);
    call_finish(call, ERR_OK);
}

/* ---- GET /auth/me ---- */

static enum err query_me(struct call *call, struct db *db)
{
    struct user *users;
    size_t count;
    enum err e = store_read_users(db, &call->arena, &call->claims.customer_id, 1, &users, &count, &call->fault);
    if (e != ERR_OK)
        return e;
    if (count == 0)
        return fault_set(&call->fault, ERR_UNAUTHENTICATED, "the token's user is not known here");
    struct json_out o = json_out(&call->out);
    write_self(&o, &users[0]);
    call_reply(call, 200);
    return ERR_OK;
}

static enum err on_me(struct call *call)
{
    enum err e = call_query(call, API_NO_FIELDS, NULL);
    return e == ERR_OK ? readers_submit(call_service(call)->readers, call, query_me) : e;
}

/* ---- GET /.well-known/jwks.json ---- */

static enum err on_jwks(struct call *call)
{
    enum err e = call_query(call, API_NO_FIELDS, NULL);
    if (e != ERR_OK)
        return e;
    jwks_write(api_auth(call)->jwks, &call->out);
    const char *etag = arena_printf(&call->arena, "\"%016llx\"",
                                    (unsigned long long)hash_fnv1a(call->out.data, call->out.len));
    const char *known = call_header(call, "If-None-Match");
    bool is_known = known != NULL && strstr(known, etag) != NULL;
    if (is_known)
        buf_reset(&call->out);
    call_reply_header(call, "Cache-Control", "public, max-age=60"); /* a new key signs 90 s after it is shown here */
    call_reply_header(call, "ETag", etag);
    call_reply(call, is_known ? 304 : 200);
    return ERR_OK;
}

/* ---- the rest ---- */

static enum err reread(struct service *s, struct db *db, struct arena *arena, const struct uuid *ids, size_t count,
                       struct fault *fault)
{
    int64_t *customers = ARENA_ARRAY(arena, int64_t, count + 1);
    for (size_t i = 0; i < count; i++)
        customers[i] = user_id_of_uuid(ids[i]);
    struct user *users;
    size_t found;
    enum err e = store_read_users(db, arena, customers, count, &users, &found, fault);
    if (e != ERR_OK)
        return e;
    for (size_t i = 0; i < found; i++)
        waiters_offer(s->waiters, uuid_of_int(users[i].customer_id), &users[i]);
    return ERR_OK;
}

enum err api_reread(void *app, struct db *db, const struct uuid *ids, size_t count, struct fault *fault)
{
    struct arena arena;
    arena_init(&arena);
    enum err e = reread(app, db, &arena, ids, count, fault);
    arena_done(&arena);
    return e;
}

const struct http_route AUTH_SVC_ROUTES[] = {
    {HTTP_POST, AUTH_PATH "/register", WHO_ANYONE, on_register, 0},
    {HTTP_POST, AUTH_PATH "/login", WHO_ANYONE, on_login, 0},
    {HTTP_POST, AUTH_PATH "/refresh", WHO_ANYONE, api_on_refresh, ROUTE_IDEMPOTENT},
    {HTTP_POST, AUTH_PATH "/logout", WHO_SIGNED_IN, api_on_logout, ROUTE_NO_BODY},
    {HTTP_GET, AUTH_PATH "/sessions", WHO_USER, api_on_list_sessions, 0},
    {HTTP_DELETE, AUTH_PATH "/sessions/{id}", WHO_USER, api_on_end_session, 0},
    {HTTP_POST, AUTH_PATH "/password", WHO_SIGNED_IN, api_on_password, 0},
    {HTTP_GET, AUTH_PATH "/me", WHO_SIGNED_IN, on_me, 0},
    {HTTP_GET, AUTH_PATH "/users", WHO_ADMIN, api_on_list_users, 0},
    {HTTP_POST, AUTH_PATH "/users", WHO_ADMIN, api_on_create_user, 0},
    {HTTP_GET, AUTH_PATH "/users/{customerId}", WHO_ADMIN, api_on_get_user, 0},
    {HTTP_PATCH, AUTH_PATH "/users/{customerId}", WHO_ADMIN, api_on_change_user, 0},
    {HTTP_DELETE, AUTH_PATH "/users/{customerId}/sessions", WHO_ADMIN, api_on_end_sessions, 0},
    {HTTP_GET, TRAIL_PATH, WHO_ADMIN, api_on_list_trail, 0},
    {HTTP_POST, TRAIL_PATH, WHO_ADMIN, api_on_record, 0}, /* the gateway's own: not let through from outside */
    {HTTP_GET, "/.well-known/jwks.json", WHO_ANYONE, on_jwks, 0},
    AUDIT_ROUTE,
    {HTTP_GET, NULL, WHO_ANYONE, NULL, 0},
};
