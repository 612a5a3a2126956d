#include "commands.h"

#include <string.h>

#include "api.h"
#include "auth.h"
#include "events.h"
#include "events/asset_event.h"
#include "sessions.h"
#include "svc/service.h"

/* ---- register ---- */

static void want_register(struct batch *b, struct lane_item *it)
{
    store_want_new_user(b, ((const struct register_user *)it->args)->username);
}

static void register_user(struct batch *b, struct lane_item *it, enum trail_type type)
{
    const struct register_user *cmd = it->args;
    if (store_name_is_taken(b, cmd->username)) {
        it->err = fault_set(&it->fault, ERR_USERNAME_TAKEN, "the user name \"%s\" is taken", cmd->username);
        return;
    }
    it->result = store_add_user(b, &(struct user){.username = cmd->username,
                                                  .full_name = cmd->full_name,
                                                  .role = cmd->role,
                                                  .status = USER_ACTIVE,
                                                  .password_hash = cmd->password_hash,
                                                  .password_version = 1,
                                                  .must_change_password = cmd->must_change_password,
                                                  .create_date = b->now});
    const struct user *u = it->result;
    events_emit_registered(b, u);
    trail_add(b, it, &(struct trail_entry){.type = type, .customer_id = u->customer_id, .detail = USER_ROLES[u->role]});
}

static void decide_register(struct batch *b, struct lane_item *it)
{
    register_user(b, it, TRAIL_REGISTERED);
}

/* Whoever was an admin when his token was signed must still be one when what he asks for is decided. */
static bool is_by_admin(struct batch *b, struct lane_item *it)
{
    const struct user *actor = store_user(b, it->call->claims.customer_id);
    if (actor && user_is_active_admin(actor))
        return true;
    it->err = fault_set(&it->fault, ERR_FORBIDDEN, "only admins may do this");
    return false;
}

static void want_create(struct batch *b, struct lane_item *it)
{
    want_register(b, it);
    store_want_user(b, it->call->claims.customer_id);
    if (((const struct register_user *)it->args)->role == ROLE_ADMIN)
        store_want_admins(b);
}

static void decide_create(struct batch *b, struct lane_item *it)
{
    if (is_by_admin(b, it))
        register_user(b, it, TRAIL_CREATED);
}

static void want_first_admin(struct batch *b, struct lane_item *it)
{
    want_register(b, it);
    store_want_admins(b);
}

static void decide_first_admin(struct batch *b, struct lane_item *it)
{
    if (store_has_admin(b))
        it->err = fault_set(&it->fault, ERR_CONFLICT, "there is an admin");
    else
        register_user(b, it, TRAIL_CREATED);
}

/* ---- an admin changes a user ---- */

static void want_change(struct batch *b, struct lane_item *it)
{
    store_want_admins(b);
    store_want_user(b, it->call->claims.customer_id);
    store_want_sessions(b, ((const struct change_user *)it->args)->customer_id);
}

static void tell_change(struct batch *b, struct lane_item *it, enum trail_type type, const struct user *u,
                        const char *from, const char *to)
{
    trail_add(b, it,
              &(struct trail_entry){
                  .type = type, .customer_id = u->customer_id, .detail = arena_printf(b->arena, "%s to %s", from, to)});
}

static void change(struct batch *b, struct lane_item *it, struct user *u, const struct user *next)
{
    if (u->role != next->role)
        tell_change(b, it, TRAIL_ROLE, u, USER_ROLES[u->role], USER_ROLES[next->role]);
    if (u->status != next->status)
        tell_change(b, it, TRAIL_STATUS, u, USER_STATUSES[u->status], USER_STATUSES[next->status]);
    const char *reason = user_change_ends_sessions(u, next);
    *store_active_admins(b) += user_is_active_admin(next) - user_is_active_admin(u);
    *u = *next;
    store_touch_user(b, u);
    if (reason)
        (void)sessions_end(b, it, &(struct sessions_end){.customer_id = u->customer_id, .reason = reason});
}

static void decide_change(struct batch *b, struct lane_item *it)
{
    const struct change_user *cmd = it->args;
    struct user *u = store_user(b, cmd->customer_id);
    if (!is_by_admin(b, it))
        return;
    if (!u) {
        it->err = fault_set(&it->fault, ERR_NOT_FOUND, "there is no user %lld", (long long)cmd->customer_id);
        return;
    }
    struct user next = *u;
    next.role = cmd->role < 0 ? u->role : (enum token_role)cmd->role;
    next.status = cmd->status < 0 ? u->status : (enum user_status)cmd->status;
    if (user_is_active_admin(u) && !user_is_active_admin(&next) && *store_active_admins(b) <= 1) {
        it->err = fault_set(&it->fault, ERR_LAST_ADMIN, "nobody else is an admin who may log in");
        return;
    }
    it->result = u;
    if (next.role != u->role || next.status != u->status)
        change(b, it, u, &next);
}

static void want_end_user_sessions(struct batch *b, struct lane_item *it)
{
    store_want_user(b, it->call->claims.customer_id);
    store_want_sessions(b, ((const struct end_sessions *)it->args)->customer_id);
}

static void decide_end_user_sessions(struct batch *b, struct lane_item *it)
{
    if (is_by_admin(b, it))
        AUTH_END_SESSIONS.decide(b, it);
}

/* ---- what others did, and what time did ---- */

static void decide_record(struct batch *b, struct lane_item *it)
{
    trail_add(b, it, it->args);
}

static void want_keys(struct batch *b, struct lane_item *it)
{
    (void)it;
    store_want_last_keys(b);
}

/* Each replica sees them, and sees them again when it starts; they are told once. */
static void decide_keys(struct batch *b, struct lane_item *it)
{
    const struct trail_entry *seen = it->args;
    if (strcmp(store_last_keys(b), seen->detail) == 0)
        return;
    trail_add(b, it, seen);
    store_set_last_keys(b, seen->detail);
}

static void want_prune(struct batch *b, struct lane_item *it)
{
    (void)it;
    store_want_prune(b);
}

static void decide_nothing(struct batch *b, struct lane_item *it)
{
    (void)b, (void)it;
}

/* ---- log in ---- */

static void want_login(struct batch *b, struct lane_item *it)
{
    const struct begin_session *cmd = it->args;
    store_want_sessions(b, cmd->session.customer_id);
    guard_want(b, &cmd->guard);
}

static void rehash(struct batch *b, struct lane_item *it, struct user *u, const char *better_hash)
{
    u->password_hash = better_hash;
    store_touch_user(b, u);
    trail_add(b, it, &(struct trail_entry){.type = TRAIL_REHASHED, .customer_id = u->customer_id, .actor = "SYSTEM"});
}

/* The password was right a moment ago; whether it still is, and the user may still come in, is decided here, on his locked
 * row. */
static void decide_login(struct batch *b, struct lane_item *it)
{
    const struct begin_session *cmd = it->args;
    struct user *u = store_user(b, cmd->session.customer_id);
    if (!u || !user_may_log_in(u) || u->role != cmd->role || u->password_version != cmd->password_version) {
        it->err = fault_set(&it->fault, ERR_BAD_CREDENTIALS, API_BAD_CREDENTIALS);
        return;
    }
    guard_passed(b, &cmd->guard);
    const char *himself = trail_actor(b->arena, u->role, u->customer_id);
    sessions_begin(b, it, &cmd->session, cmd->refresh_hash, himself);
    trail_add(
        b, it,
        &(struct trail_entry){
            .type = TRAIL_LOGIN_OK, .customer_id = u->customer_id, .session_id = cmd->session.id, .actor = himself});
    if (cmd->better_hash)
        rehash(b, it, u, cmd->better_hash);
    it->result = u;
}

static void decide_login_failed(struct batch *b, struct lane_item *it)
{
    const struct failed_login *cmd = it->args;
    trail_add(b, it, &(struct trail_entry){.type = cmd->type, .customer_id = cmd->customer_id});
}

/* ---- what the books say ---- */

static void want_account_opened(struct batch *b, struct lane_item *it)
{
    store_want_user(b, ((const struct account_change *)it->args)->customer_id);
}

/* Accounts are opened for users that we announced: an unknown one can only be a bug or a foreign record: park it. */
static void decide_account_opened(struct batch *b, struct lane_item *it)
{
    int64_t customer_id = ((const struct account_change *)it->args)->customer_id;
    struct user *u = store_user(b, customer_id);
    if (!u)
        it->err = fault_set(&it->fault, ERR_NOT_FOUND, "there is no user %lld", (long long)customer_id);
    else if (user_open(u))
        store_touch_opened(b, u);
}

/* ---- verbs ---- */

static void offer(void *arg, const struct user *u)
{
    waiters_offer(arg, uuid_of_int(u->customer_id), u);
}

static void tell_of_first_admin(const struct batch *b)
{
    const struct service *service = b->app;
    for (size_t i = 0; i < b->count; i++) {
        const struct lane_item *it = b->items[i];
        if (it->verb == &AUTH_FIRST_ADMIN && !it->err)
            log_info(service->log, "the first admin is made: user name \"%s\"",
                     ((const struct user *)it->result)->username);
    }
}

/* Here at once; every other process hears it by the event. */
static void refuse(void *arg, const struct session *s)
{
    token_session_revoke(arg, s->id, s->revoke_date / US_PER_S + 1 + TOKEN_LIFE_S + TOKEN_LEEWAY_S);
}

static void committed(struct batch *b)
{
    store_each_ended(b, refuse, ((struct service *)b->app)->verifier);
    store_each_opened(b, offer, ((struct service *)b->app)->waiters);
    tell_of_first_admin(b);
}

const struct lane_ops AUTH_SVC_OPS = {
    .state_size = sizeof(struct users_batch),
    .load = store_load_batch,
    .save = store_save_batch,
    .committed = committed,
    .measure = auth_measure,
};

const struct lane_verb AUTH_REGISTER = {
    .name = "register", .want = want_register, .decide = decide_register, .answer = api_answer_register};
const struct lane_verb AUTH_CREATE_USER = {
    .name = "create_user", .want = want_create, .decide = decide_create, .answer = api_answer_register};
const struct lane_verb AUTH_CHANGE_USER = {
    .name = "change_user", .want = want_change, .decide = decide_change, .answer = api_answer_user};
const struct lane_verb AUTH_END_USER_SESSIONS = {.name = "end_user_sessions",
                                                 .want = want_end_user_sessions,
                                                 .decide = decide_end_user_sessions,
                                                 .answer = api_answer_done};
const struct lane_verb AUTH_RECORD = {.name = "record", .decide = decide_record, .answer = api_answer_done};
const struct lane_verb AUTH_KEYS = {.name = "keys", .want = want_keys, .decide = decide_keys};
const struct lane_verb AUTH_PRUNE = {.name = "prune", .want = want_prune, .decide = decide_nothing};
const struct lane_verb AUTH_FIRST_ADMIN = {
    .name = "first_admin", .want = want_first_admin, .decide = decide_first_admin};
const struct lane_verb AUTH_LOGIN = {
    .name = "login", .want = want_login, .decide = decide_login, .answer = api_answer_login};
const struct lane_verb AUTH_LOGIN_FAILED = {
    .name = "login_failed", .decide = decide_login_failed, .answer = api_answer_login_failed};
const struct lane_verb AUTH_ACCOUNT_OPENED = {
    .name = "account.opened", .want = want_account_opened, .decide = decide_account_opened};
