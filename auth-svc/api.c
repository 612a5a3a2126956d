#include "api.h"

#include <stddef.h>
#include <string.h>

#include "auth.h"
#include "commands.h"
#include "password_rule.h"
#include "store.h"
#include "svc/audit.h"

#define AUTH_PATH "/api/v1/auth"

static struct auth *auth_of_call(const struct call *call)
{
    return auth_of(call_service(call));
}

/* service_submit for a call that is deferred already. After ERR_OK the call is somebody else's. */
static enum err submit_deferred(struct call *call, struct lane_item *item)
{
    enum err e = lane_submit(call_service(call)->lane, item);
    if (e != ERR_OK)
        call->fault = item->fault;
    return e;
}

/* ---- encoding ---- */

static void reply_user(struct call *call, int status, const struct user *u)
{
    struct json_out o = json_out(&call->out);
    json_open(&o, NULL, '{');
    json_put_int(&o, "customerId", u->customer_id);
    json_put_text(&o, "username", u->username);
    json_put_text(&o, "fullName", u->full_name);
    json_put_text(&o, "role", USER_ROLES[u->role]);
    json_close(&o, '}');
    call_reply(call, status);
}

/* ---- fields ---- */

static const char *check_username(struct arena *arena, const char *text, const char **ret_text)
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

/* ---- POST /auth/register ---- */

struct registration {
    struct register_user cmd;
    const char *password;
    struct waiter waiter;
};
struct register_body {
    const char *username, *password, *full_name;
};
/* clang-format off */
static const struct field REGISTER_FIELDS[] = {
    {.name = "username", .kind = FIELD_TEXT, .offset = offsetof(struct register_body, username), .flags = FIELD_REQUIRED,
     .min = 1, .max = USER_NAME_MAX, .check = check_username},
    {.name = "password", .kind = FIELD_TEXT, .offset = offsetof(struct register_body, password), .flags = FIELD_REQUIRED,
     .min = 1, .max = PASSWORD_BYTES_MAX, .check = check_new_password},
    {.name = "fullName", .kind = FIELD_TEXT, .offset = offsetof(struct register_body, full_name), .flags = FIELD_REQUIRED,
     .min = 1, .max = USER_FULL_NAME_MAX, .check = check_full_name},
    FIELD_END,
};
/* clang-format on */

static bool registered(struct waiter *w, const void *resource)
{
    const struct user *u = resource;
    if (!u->opened)
        return false;
    call_reply_header(w->call, "Location", AUTH_PATH "/me");
    reply_user(w->call, 201, u);
    call_finish(w->call, ERR_OK);
    return true;
}

/* He is registered and may log in; his account is opened when its events come through. */
static void registered_late(struct waiter *w)
{
    call_reply_header(w->call, "Location", AUTH_PATH "/me");
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
    enum err e = password_hash(auth_of_call(call)->cost, r->password, hash, &call->fault);
    if (e == ERR_OK)
        e = waiters_add(call_service(call)->waiters, &r->waiter);
    if (e != ERR_OK)
        return e;
    r->cmd.password_hash = arena_strdup(&call->arena, hash);
    return submit_deferred(call, service_command(call, &AUTH_REGISTER, &r->cmd, 0, (struct uuid){{0}}, ""));
}

static enum err hash_new_password(struct call *call)
{
    return hashers_submit(auth_of_call(call)->hashers, call, work_register);
}

/* The lane decides whether the name is free; but who can see that it isn't need not hash for it. */
static enum err query_name(struct call *call, struct db *db)
{
    const struct registration *r = call->state;
    struct user *holder;
    enum err e = store_read_login(db, &call->arena, r->cmd.username, &holder, &call->fault);
    return e == ERR_OK && holder ? taken(call, r->cmd.username) : e;
}

static enum err on_register(struct call *call)
{
    struct register_body body = {.username = NULL};
    enum err e = call_body(call, REGISTER_FIELDS, &body);
    if (e != ERR_OK)
        return e;
    const char *complaint = password_complaint(body.password, body.username);
    if (complaint)
        return field_error_add(&call->errors, "/password", "%s", complaint);
    if (strcmp(body.username, USER_FIRST_ADMIN) == 0)
        return taken(call, body.username);

    struct registration *r = ARENA_NEW(&call->arena, struct registration);
    r->cmd = (struct register_user){.username = body.username, .full_name = body.full_name};
    r->password = body.password;
    r->waiter = (struct waiter){.call = call, .settled = registered, .late = registered_late};
    call->state = r;
    return readers_submit_then(call_service(call)->readers, call, query_name, hash_new_password);
}

/* ---- POST /auth/login ---- */

struct login {
    const char *username, *password;
    struct user *user; /* NULL: nobody is called so */
    struct session session;
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

/* Session, refresh token and access token; they are good once the lane has committed them. */
static enum err begin_session(struct call *call, struct login *l)
{
    refresh_token_new(l->refresh_token, l->refresh_hash);
    struct uuid id = uuid_v7();
    l->session = (struct session){.id = id,
                                  .family = id,
                                  .customer_id = l->user->customer_id,
                                  .refresh_hash = l->refresh_hash,
                                  .peer = call->peer};
    int64_t now_s = clock_now_us() / US_PER_S;
    struct token_claims claims = {.customer_id = l->user->customer_id,
                                  .role = l->user->role,
                                  .sid = id,
                                  .iat = now_s,
                                  .exp = now_s + TOKEN_LIFE_S};
    return token_sign(auth_of_call(call)->signer, &claims, &call->arena, &l->access_token, &call->fault);
}

/* A hash is computed for whoever asks, so that time tells nothing either. */
static enum err verify(struct call *call, const struct login *l)
{
    const struct auth *a = auth_of_call(call);
    enum err e = password_verify(l->user ? l->user->password_hash : a->nobody, l->password, &call->fault);
    bool refused = e == ERR_BAD_CREDENTIALS || (e == ERR_OK && !(l->user && user_may_log_in(l->user)));
    if (!refused)
        return e;
    counter_add(a->logins_refused, 1);
    return fault_set(&call->fault, ERR_BAD_CREDENTIALS, API_BAD_CREDENTIALS);
}

/* A hash whose cost is below today's would be made anew here, where the password is known. */
static enum err work_login(struct call *call)
{
    struct login *l = call->state;
    enum err e = verify(call, l);
    if (e == ERR_OK)
        e = begin_session(call, l);
    if (e != ERR_OK)
        return e;
    struct lane_item *item = service_command(call, &AUTH_LOGIN, &l->session, l->session.customer_id, l->session.id, "");
    return submit_deferred(call, item);
}

static enum err check_password(struct call *call)
{
    return hashers_submit(auth_of_call(call)->hashers, call, work_login);
}

static enum err query_login(struct call *call, struct db *db)
{
    struct login *l = call->state;
    return store_read_login(db, &call->arena, l->username, &l->user, &call->fault);
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
    const struct user *u = it->result;
    struct json_out o = json_out(&call->out);
    json_open(&o, NULL, '{');
    json_put_text(&o, "accessToken", l->access_token);
    json_put_text(&o, "tokenType", "Bearer");
    json_put_int(&o, "expiresIn", TOKEN_LIFE_S);
    json_put_text(&o, "refreshToken", l->refresh_token);
    json_put_int(&o, "customerId", u->customer_id);
    json_put_text(&o, "role", USER_ROLES[u->role]);
    json_close(&o, '}');
    counter_add(auth_of_call(call)->logins, 1);
    call_reply(call, 200);
    call_finish(call, ERR_OK);
}

/* ---- GET /auth/me ---- */

static const struct field NO_FIELDS[] = {FIELD_END};

static enum err query_me(struct call *call, struct db *db)
{
    struct user *users;
    size_t count;
    enum err e = store_read_users(db, &call->arena, &call->claims.customer_id, 1, &users, &count, &call->fault);
    if (e != ERR_OK)
        return e;
    if (count == 0)
        return fault_set(&call->fault, ERR_UNAUTHENTICATED, "the token's user is not known here");
    reply_user(call, 200, &users[0]);
    return ERR_OK;
}

static enum err on_me(struct call *call)
{
    enum err e = call_query(call, NO_FIELDS, NULL);
    return e == ERR_OK ? readers_submit(call_service(call)->readers, call, query_me) : e;
}

/* ---- GET /.well-known/jwks.json ---- */

static enum err on_jwks(struct call *call)
{
    enum err e = call_query(call, NO_FIELDS, NULL);
    if (e != ERR_OK)
        return e;
    jwks_write(auth_of_call(call)->jwks, &call->out);
    call_reply_header(call, "Cache-Control", "public, max-age=300");
    call_reply(call, 200);
    return ERR_OK;
}

/* ---- the rest ---- */

/* The other way of uuid_of_int. */
static int64_t int_of_uuid(struct uuid id)
{
    uint64_t value = 0;
    for (size_t i = 8; i < sizeof id.bytes; i++)
        value = value << 8 | id.bytes[i];
    return (int64_t)value;
}

static enum err reread(struct service *s, struct db *db, struct arena *arena, const struct uuid *ids, size_t count,
                       struct fault *fault)
{
    int64_t *customers = ARENA_ARRAY(arena, int64_t, count + 1);
    for (size_t i = 0; i < count; i++)
        customers[i] = int_of_uuid(ids[i]);
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
    {HTTP_GET, AUTH_PATH "/me", WHO_USER, on_me, 0},
    {HTTP_GET, "/.well-known/jwks.json", WHO_ANYONE, on_jwks, 0},
    AUDIT_ROUTE,
    {HTTP_GET, NULL, WHO_ANYONE, NULL, 0},
};
