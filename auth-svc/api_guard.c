/* The steps before a password is looked at: which buckets an attempt falls into; the lane counts it; then a hasher's turn. */
#include <netinet/in.h>
#include <string.h>

#include "api_private.h"
#include "conf.h"

enum { KEY_HASH_MAX = REFRESH_HASH_MAX };

/* Of a kind and a text: one length, and nobody's name in it. */
static const char *key_of(struct arena *arena, const char *kind, const char *text)
{
    char hash[KEY_HASH_MAX];
    refresh_token_hash(text, hash);
    return arena_printf(arena, "%s/%s", kind, hash);
}

/* Who has an IPv6 address has the 2^64 beside it too. */
static const char *address_group(struct arena *arena, const char *text)
{
    enum { HALF = ADDRESS_BYTES / 2 };
    struct ip_address a;
    char group[ADDRESS_TEXT_MAX];
    if (strchr(text, ':') == NULL || !ip_address_parse(str_of(text), &a))
        return text;
    memset(a.bytes + HALF, 0, HALF);
    ip_address_format(&a, group);
    return arena_strdup(arena, group);
}

/* Who comes from where he has come in before is measured by himself alone: what strangers do does not hold him up. With
 * LIMITS=off there are only accounts. */
static void keys_of(struct call *call, const char *username, bool is_known, struct guard_keys *ret)
{
    const char *where = address_group(&call->arena, call->client);
    bool limits = auth_settings_of(call_service(call))->limits;
    *ret = (struct guard_keys){{NULL}};
    if (is_known) {
        ret->of[GUARD_ACCOUNT] = key_of(&call->arena, "account", arena_printf(&call->arena, "%s\n%s", username, where));
        return;
    }
    ret->of[GUARD_ACCOUNT] = key_of(&call->arena, "account", username);
    if (!limits)
        return;
    ret->of[GUARD_ADDRESS] = key_of(&call->arena, "address", where);
    ret->of[GUARD_ALL] = arena_printf(&call->arena, "all/%d", lane_number(call_service(call)->lane));
}

enum err api_guard(struct call *call, struct db *db, const char *username, const struct user *u, struct guard_keys *ret)
{
    bool is_known = false;
    enum err e = ERR_OK;
    if (u)
        e = store_read_known_address(db, &call->arena, u->customer_id, call->client, &is_known, &call->fault);
    if (e == ERR_OK)
        keys_of(call, username, is_known, ret);
    return e;
}

enum err api_try_password(struct call *call, const struct guard_keys *guard, int64_t customer_id, http_handler *then)
{
    struct try_password *cmd = ARENA_NEW(&call->arena, struct try_password);
    *cmd = (struct try_password){.guard = *guard, .customer_id = customer_id, .then = then};
    return api_submit(call, api_command(call, &AUTH_TRY_PASSWORD, cmd, customer_id));
}

void api_answer_try_password(struct lane_item *it)
{
    const struct try_password *cmd = it->args;
    struct call *call = it->call;
    enum err e = hashers_submit(api_auth(call)->hashers, call, cmd->then);
    if (e != ERR_OK)
        call_finish(call, e);
}
