/* What handlers of writes share: see the second half of service.h. */
#include <assert.h>
#include <stddef.h>

#include "svc/service.h"

/* What the handler made for one call: in the call's arena, found again from the item. */
struct command {
    struct lane_item item; /* first */
    struct waiter *waiter; /* NULL: the verb's answer finishes the call */
};

static struct command *command_of(struct lane_item *item)
{
    return (struct command *)(void *)item;
}

struct lane_item *service_command(struct call *call, const struct lane_verb *verb, void *args, int64_t customer_id,
                                  struct uuid resource_id, const char *meaning)
{
    struct command *command = ARENA_NEW(&call->arena, struct command);
    command->item = (struct lane_item){
        .verb = verb,
        .args = args,
        .call = call,
        .key = call->idempotency_key,
        .route = arena_printf(&call->arena, "%s %s", http_method_name(call->method), call->route->path),
        .meaning = meaning,
        .customer_id = customer_id,
        .resource_id = resource_id,
    };
    return &command->item;
}

static enum err add_waiter(struct call *call, struct command *command, struct waiter *w)
{
    command->waiter = w;
    w->call = call;
    if (uuid_is_nil(w->id))
        w->id = command->item.resource_id;
    return waiters_add(call_service(call)->waiters, w);
}

enum err service_submit(struct call *call, struct lane_item *item, struct waiter *waiter)
{
    struct lane *lane = call_service(call)->lane;
    enum err e = waiter != NULL ? add_waiter(call, command_of(item), waiter) : ERR_OK;
    if (e != ERR_OK)
        return e;

    call_defer(call); /* before anybody else has it: the lane may answer before lane_submit returns */
    e = lane_submit(lane, item);
    if (e == ERR_OK)
        return ERR_OK;
    call->fault = item->fault;
    call_finish(call, e);
    return ERR_OK;
}

void service_await(struct lane_item *item)
{
    struct waiter *w = command_of(item)->waiter;
    struct waiters *waiters = call_service(item->call)->waiters;
    assert(w != NULL);
    if (!item->replayed) {
        waiters_arm(waiters, w);
        return;
    }
    w->replayed = true;
    waiters_move(waiters, w, item->resource_id);
}

void service_accepted(struct waiter *w, const char *path)
{
    struct call *call = w->call;
    char id[UUID_TEXT_MAX];
    uuid_format(w->id, id);
    call_reply_header(call, "Location", arena_printf(&call->arena, "%s/%s", path, id));
    if (call->prefer_async)
        call_reply_header(call, "Preference-Applied", "respond-async");
    if (w->replayed)
        call_reply_header(call, "Idempotency-Replayed", "true");
    call_reply(call, 202);
    call_finish(call, ERR_OK);
}

const char *service_actor(struct call *call)
{
    const char *role = call->claims.role == ROLE_ADMIN ? "ADMIN" : "CUSTOMER";
    return arena_printf(&call->arena, "%s:%lld", role, (long long)call->claims.customer_id);
}
