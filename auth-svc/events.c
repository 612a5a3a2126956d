#include "events.h"

#include <stdio.h>

#include "commands.h"
#include "events/asset_event.h"
#include "events/user_event.h"

/* Both are about a customer and are ordered by him. */
static void emit(struct batch *b, const char *type, int64_t customer_id, struct buf *data)
{
    char id[24];
    snprintf(id, sizeof id, "%lld", (long long)customer_id);
    batch_emit(b, type, customer_id, id, (struct str){data->data, data->len});
    buf_done(data);
}

void events_emit_revoked(struct batch *b, const struct session_revoked *e)
{
    struct buf data;
    buf_init(&data);
    session_revoked_encode(&data, e);
    emit(b, "session.revoked", e->customer_id, &data);
}

void events_emit_registered(struct batch *b, const struct user *u)
{
    struct buf data;
    buf_init(&data);
    user_registered_encode(&data, &(struct user_registered){.customer_id = u->customer_id,
                                                            .username = u->username,
                                                            .full_name = u->full_name,
                                                            .role = USER_ROLES[u->role]});
    emit(b, "user.registered", u->customer_id, &data);
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
