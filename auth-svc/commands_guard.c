#include "api.h"
#include "auth.h"
#include "commands.h"
#include "guard.h"
#include "store.h"

static const char *const KINDS[GUARD_KINDS] = {
    [GUARD_ACCOUNT] = "account", [GUARD_ADDRESS] = "address", [GUARD_ALL] = "all"};

void guard_want(struct batch *b, const struct guard_keys *keys)
{
    for (int k = 0; k < GUARD_KINDS; k++)
        if (keys->of[k])
            store_want_bucket(b, keys->of[k]);
}

void guard_passed(struct batch *b, const struct guard_keys *keys)
{
    for (int k = 0; k < GUARD_KINDS; k++) {
        if (!keys->of[k])
            continue;
        struct bucket *x = store_bucket(b, keys->of[k]);
        if (k == GUARD_ACCOUNT)
            bucket_empty(x);
        else
            bucket_uncount(x, &GUARD_POLICIES[k], b->now);
    }
}

static void want_try(struct batch *b, struct lane_item *it)
{
    guard_want(b, &((const struct try_password *)it->args)->guard);
}

/* The longest of the waits; 0: all are open. */
static int wait_of(struct batch *b, const struct guard_keys *keys)
{
    int longest = 0;
    for (int k = 0; k < GUARD_KINDS; k++) {
        const struct bucket *x = keys->of[k] ? store_bucket(b, keys->of[k]) : NULL;
        int wait = x && !bucket_is_open(x, b->now) ? bucket_wait_s(x, b->now) : 0;
        longest = wait > longest ? wait : longest;
    }
    return longest;
}

/* Counted as failed before the password is looked at: any number of guesses at once are as many one after another. */
static void decide_try(struct batch *b, struct lane_item *it)
{
    const struct try_password *cmd = it->args;
    int wait_s = wait_of(b, &cmd->guard);
    if (wait_s > 0) {
        it->call->retry_after_s = wait_s;
        it->err = fault_set(&it->fault, ERR_RATE_LIMITED, "too many attempts failed: try again in %d s", wait_s);
        return;
    }
    for (int k = 0; k < GUARD_KINDS; k++)
        if (cmd->guard.of[k] && bucket_count(store_bucket(b, cmd->guard.of[k]), &GUARD_POLICIES[k], b->now))
            trail_add(b, it,
                      &(struct trail_entry){
                          .type = TRAIL_LOGIN_DELAYED, .customer_id = cmd->customer_id, .detail = KINDS[k]});
}

const struct lane_verb AUTH_TRY_PASSWORD = {
    .name = "try_password", .want = want_try, .decide = decide_try, .answer = api_answer_try_password};
