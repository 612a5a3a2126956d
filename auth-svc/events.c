#include "events.h"

#include <stdio.h>

#include "commands.h"
#include "events/asset_event.h"
#include "events/user_event.h"

void events_emit_registered(struct batch *b, const struct user *u)
{
    char id[24];
    snprintf(id, sizeof id, "%lld", (long long)u->customer_id);
    struct buf data;
    buf_init(&data);
    user_registered_encode(&data, &(struct user_registered){.customer_id = u->customer_id,
                                                            .username = u->username,
                                                            .full_name = u->full_name,
                                                            .role = USER_ROLES[u->role]});
    batch_emit(b, "user.registered", u->customer_id, id, (struct str){data.data, data.len});
    buf_done(&data);
}

static enum err decode_account(const struct event *e, struct arena *arena, void **ret_args, int64_t *ret_customer_id,
                               struct fault *fault)
{
    struct account_change *account = ARENA_NEW(arena, struct account_change);
    *ret_args = account;
    enum err err = account_change_decode(e->data, arena, account, fault);
    *ret_customer_id = account->customer_id;
    return err;
}

const char *const AUTH_SVC_CONSUMES[] = {"asset-events", NULL};

const struct event_kind AUTH_SVC_KINDS[] = {
    {"account.opened", decode_account, &AUTH_ACCOUNT_OPENED},
    {NULL, NULL, NULL},
};
