#include "commands.h"

#include "api.h"
#include "auth.h"
#include "events.h"
#include "events/asset_event.h"
#include "store.h"
#include "svc/service.h"

/* ---- register ---- */

static void want_register(struct batch *b, struct lane_item *it)
{
    store_want_new_user(b, ((const struct register_user *)it->args)->username);
}

static void register_user(struct batch *b, struct lane_item *it, enum token_role role)
{
    const struct register_user *cmd = it->args;
    if (store_name_is_taken(b, cmd->username)) {
        it->err = fault_set(&it->fault, ERR_USERNAME_TAKEN, "the user name \"%s\" is taken", cmd->username);
        return;
    }
    it->result = store_add_user(b, &(struct user){.username = cmd->username,
                                                  .full_name = cmd->full_name,
                                                  .role = role,
                                                  .status = USER_ACTIVE,
                                                  .password_hash = cmd->password_hash,
                                                  .create_date = b->now});
    events_emit_registered(b, it->result);
}

static void decide_register(struct batch *b, struct lane_item *it)
{
    register_user(b, it, ROLE_CUSTOMER);
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
        register_user(b, it, ROLE_ADMIN);
}

/* ---- log in ---- */

static void want_login(struct batch *b, struct lane_item *it)
{
    store_want_user(b, ((const struct session *)it->args)->customer_id);
}

/* The password was right a moment ago; whether the user may still come in is decided here, on his locked row. */
static void decide_login(struct batch *b, struct lane_item *it)
{
    struct session session = *(const struct session *)it->args;
    const struct user *u = store_user(b, session.customer_id);
    if (!u || !user_may_log_in(u)) {
        it->err = fault_set(&it->fault, ERR_BAD_CREDENTIALS, API_BAD_CREDENTIALS);
        return;
    }
    session.create_date = b->now;
    session.expire_date = b->now + SESSION_LIFE_S * US_PER_S;
    store_add_session(b, &session);
    it->result = (void *)u;
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

static void committed(struct batch *b)
{
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
const struct lane_verb AUTH_FIRST_ADMIN = {
    .name = "first_admin", .want = want_first_admin, .decide = decide_first_admin};
const struct lane_verb AUTH_LOGIN = {
    .name = "login", .want = want_login, .decide = decide_login, .answer = api_answer_login};
const struct lane_verb AUTH_ACCOUNT_OPENED = {
    .name = "account.opened", .want = want_account_opened, .decide = decide_account_opened};
