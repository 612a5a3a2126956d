#include "api.h"
#include "commands.h"
#include "sessions.h"
#include "svc/service.h"

/* ---- refresh ---- */

static void want_refresh(struct batch *b, struct lane_item *it)
{
    const struct refresh *cmd = it->args;
    store_want_sessions(b, cmd->signed_for->customer_id);
    store_want_token(b, cmd->hash);
}

static void renew(struct batch *b, struct lane_item *it, struct session *s, struct refresh_token *t)
{
    const struct refresh *cmd = it->args;
    t->used_date = b->now;
    t->successor = cmd->sealed;
    t->repeat_key = cmd->repeat_key;
    store_touch_token(b, t);
    store_add_token(b, s->id, cmd->next_hash);
    session_renew(s, b->now);
    store_touch_session(b, s);
    trail_add(b, it,
              &(struct trail_entry){.type = TRAIL_REFRESHED,
                                    .customer_id = s->customer_id,
                                    .session_id = s->id,
                                    .actor = trail_actor(b->arena, cmd->signed_for->role, s->customer_id)});
}

/* Two have the token, and nobody can tell who is the thief: so neither goes on. */
static void end_reused(struct batch *b, struct lane_item *it, const struct session *s)
{
    trail_add(b, it, &(struct trail_entry){.type = TRAIL_REUSED, .customer_id = s->customer_id, .session_id = s->id});
    (void)sessions_end(
        b, it,
        &(struct sessions_end){.customer_id = s->customer_id, .only = s->id, .reason = "reuse", .actor = "SYSTEM"});
}

/* The role in the access token that goes with it is looked up when it is signed; here it must still be his. */
static bool is_still(const struct user *u, const struct user *signed_for)
{
    return u && user_may_log_in(u) && u->role == signed_for->role;
}

static void decide_refresh(struct batch *b, struct lane_item *it)
{
    const struct refresh *cmd = it->args;
    const struct user *u = store_user(b, cmd->signed_for->customer_id);
    struct session *s = store_session(b, cmd->signed_for->customer_id, cmd->session_id);
    struct refresh_token *t = store_token(b, cmd->hash);
    if (!is_still(u, cmd->signed_for) || !s || !t) {
        it->err = fault_set(&it->fault, ERR_BAD_REFRESH_TOKEN, API_BAD_REFRESH_TOKEN);
        return;
    }
    struct refreshed *result = ARENA_NEW(b->arena, struct refreshed);
    result->verdict = refresh_judge(t, s, cmd->arrived, cmd->repeat_key);
    if (result->verdict == REFRESH_RENEW)
        renew(b, it, s, t);
    else if (result->verdict == REFRESH_REUSED)
        end_reused(b, it, s);
    result->sealed = t->successor;
    result->answer_date = refresh_answer_date(t);
    it->result = result;
}

/* ---- the end of sessions ---- */

static void want_end_sessions(struct batch *b, struct lane_item *it)
{
    store_want_sessions(b, ((const struct end_sessions *)it->args)->customer_id);
}

static void decide_end_sessions(struct batch *b, struct lane_item *it)
{
    const struct end_sessions *cmd = it->args;
    bool is_there = uuid_is_nil(cmd->only) ? store_user(b, cmd->customer_id) != NULL
                                           : store_session(b, cmd->customer_id, cmd->only) != NULL;
    if (!is_there && cmd->must_be_there) {
        it->err = fault_set(&it->fault, ERR_NOT_FOUND, "there is no such session");
        return;
    }
    (void)sessions_end(
        b, it, &(struct sessions_end){.customer_id = cmd->customer_id, .only = cmd->only, .reason = cmd->reason});
}

/* ---- a new password ---- */

static void want_change_password(struct batch *b, struct lane_item *it)
{
    const struct change_password *cmd = it->args;
    store_want_sessions(b, cmd->customer_id);
    guard_want(b, &cmd->guard);
}

static void decide_change_password(struct batch *b, struct lane_item *it)
{
    const struct change_password *cmd = it->args;
    struct user *u = store_user(b, cmd->customer_id);
    if (!u || !user_may_log_in(u) || u->password_version != cmd->password_version) {
        it->err = fault_set(&it->fault, ERR_BAD_CREDENTIALS, "the password was changed meanwhile");
        return;
    }
    guard_passed(b, &cmd->guard);
    u->password_hash = cmd->new_hash;
    u->password_version++;
    u->must_change_password = false;
    store_touch_user(b, u);
    trail_add(b, it,
              &(struct trail_entry){.type = TRAIL_PASSWORD, .customer_id = u->customer_id, .session_id = cmd->keep});
    (void)sessions_end(
        b, it, &(struct sessions_end){.customer_id = u->customer_id, .except = cmd->keep, .reason = "password"});
}

const struct lane_verb AUTH_REFRESH = {
    .name = "refresh", .want = want_refresh, .decide = decide_refresh, .answer = api_answer_refresh};
const struct lane_verb AUTH_END_SESSIONS = {
    .name = "end_sessions", .want = want_end_sessions, .decide = decide_end_sessions, .answer = api_answer_done};
const struct lane_verb AUTH_CHANGE_PASSWORD = {.name = "change_password",
                                               .want = want_change_password,
                                               .decide = decide_change_password,
                                               .answer = api_answer_done};
