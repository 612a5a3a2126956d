#include "events.h"

#include "commands.h"
#include "events/asset_event.h"
#include "events/match_event.h"
#include "events/transfer_event.h"
#include "svc/customers.h"

static void emit(struct batch *b, const char *type, int64_t customer_id, struct uuid subject, struct buf *data)
{
    char id[UUID_TEXT_MAX];
    uuid_format(subject, id);
    batch_emit(b, type, customer_id, id, (struct str){data->data, data->len});
    buf_done(data);
}

void events_emit_match(struct batch *b, const struct leg *leg, int64_t customer_id, const char *actor)
{
    struct buf data;
    buf_init(&data);
    match_requested_encode(
        &data, &(struct match_requested){.match_id = leg->match_id, .order_id = leg->order_id, .actor = actor});
    emit(b, "match.requested", customer_id, leg->order_id, &data);
}

void events_emit_barrier(struct batch *b, struct uuid match_id)
{
    struct buf data;
    buf_init(&data);
    barrier_requested_encode(&data, &(struct barrier_requested){match_id});
    emit(b, "barrier.requested", 0, match_id, &data);
}

static enum err decode_order(const struct event *e, struct arena *arena, void **ret_args, int64_t *ret_customer_id,
                             struct fault *fault)
{
    struct order_event *order = ARENA_NEW(arena, struct order_event);
    *ret_args = order;
    enum err err = order_event_decode(e->data, arena, order, fault);
    *ret_customer_id = order->order.customer_id;
    return err;
}

static enum err decode_refused(const struct event *e, struct arena *arena, void **ret_args, int64_t *ret_customer_id,
                               struct fault *fault)
{
    struct match_refused *refused = ARENA_NEW(arena, struct match_refused);
    *ret_args = refused;
    *ret_customer_id = 0;
    return match_refused_decode(e->data, arena, refused, fault);
}

static enum err decode_barrier(const struct event *e, struct arena *arena, void **ret_args, int64_t *ret_customer_id,
                               struct fault *fault)
{
    struct barrier_reached *barrier = ARENA_NEW(arena, struct barrier_reached);
    *ret_args = barrier;
    *ret_customer_id = 0;
    return barrier_reached_decode(e->data, arena, barrier, fault);
}

static enum err decode_outcome(const struct event *e, struct arena *arena, void **ret_args, int64_t *ret_customer_id,
                               struct fault *fault)
{
    struct asset_outcome *outcome = ARENA_NEW(arena, struct asset_outcome);
    *ret_args = outcome;
    enum err err = asset_outcome_decode(e->data, arena, outcome, fault);
    *ret_customer_id = outcome->customer_id;
    return err;
}

static enum err decode_transfer(const struct event *e, struct arena *arena, void **ret_args, int64_t *ret_customer_id,
                                struct fault *fault)
{
    struct transfer_requested *transfer = ARENA_NEW(arena, struct transfer_requested);
    *ret_args = transfer;
    enum err err = transfer_requested_decode(e->data, arena, transfer, fault);
    *ret_customer_id = transfer->customer_id;
    return err;
}

static enum err decode_transfer_outcome(const struct event *e, struct arena *arena, void **ret_args,
                                        int64_t *ret_customer_id, struct fault *fault)
{
    struct transfer_outcome *outcome = ARENA_NEW(arena, struct transfer_outcome);
    *ret_args = outcome;
    enum err err = transfer_outcome_decode(e->data, arena, outcome, fault);
    *ret_customer_id = outcome->customer_id;
    return err;
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

const char *const ADMIN_SVC_CONSUMES[] = {"order-events", "asset-events", "txn-events", "auth-events", NULL};

/* order.placed is not in the book yet: nothing is set aside for it. What was set aside is told of beside asset.settled only
 * for the audit across services, as are transfers and accounts. */
const struct event_kind ADMIN_SVC_KINDS[] = {
    {"order.opened", decode_order, &ADMIN_ORDER},
    {"order.rejected", decode_order, &ADMIN_ORDER},
    {"order.canceled", decode_order, &ADMIN_ORDER},
    {"order.filled", decode_order, &ADMIN_FILLED},
    {"match.refused", decode_refused, &ADMIN_REFUSED},
    {"barrier.reached", decode_barrier, &ADMIN_BARRIER},
    {"asset.settled", decode_outcome, &ADMIN_SETTLED},
    {"asset.reserved", decode_outcome, &ADMIN_POSTED},
    {"asset.refused", decode_outcome, &ADMIN_POSTED},
    {"asset.released", decode_outcome, &ADMIN_POSTED},
    {"transfer.requested", decode_transfer, &ADMIN_TRANSFER_ASKED},
    {"transfer.booked", decode_transfer_outcome, &ADMIN_TRANSFER_BOOKED},
    {"transfer.refused", decode_transfer_outcome, &ADMIN_TRANSFER_REFUSED},
    {"user.registered", customers_decode, &ADMIN_REGISTERED},
    {"account.opened", decode_account, &ADMIN_OPENED},
    {NULL, NULL, NULL},
};
