#include "events.h"

#include "commands.h"
#include "events/asset_event.h"
#include "svc/customers.h"

static void emit(struct batch *b, const char *type, int64_t customer_id, struct uuid subject, struct buf *data)
{
    char id[UUID_TEXT_MAX];
    uuid_format(subject, id);
    batch_emit(b, type, customer_id, id, (struct str){data->data, data->len});
    buf_done(data);
}

void events_emit_outcome(struct batch *b, const char *type, const struct reservation *r, struct uuid match_id,
                         const struct event *asked)
{
    struct asset_outcome outcome = {.order_id = r->order_id,
                                    .customer_id = r->customer_id,
                                    .version = r->version,
                                    .match_id = match_id,
                                    .asset = r->asset,
                                    .reserved = r->reserved,
                                    .required = r->required,
                                    .usable = r->usable,
                                    .matched_size = r->house.size + r->clearing.size,
                                    .matched_value = r->house.value + r->clearing.value,
                                    .asked_lane = asked->lane,
                                    .asked_partition = asked->partition,
                                    .asked_part_seq = asked->part_seq};
    struct buf data;
    buf_init(&data);
    asset_outcome_encode(&data, &outcome);
    emit(b, type, r->customer_id, r->order_id, &data);
}

void events_emit_transfer(struct batch *b, const char *type, const struct transfer_requested *t, decimal_t required,
                          decimal_t usable)
{
    struct buf data;
    buf_init(&data);
    transfer_outcome_encode(&data, &(struct transfer_outcome){t->transfer_id, t->customer_id, required, usable});
    emit(b, type, t->customer_id, t->transfer_id, &data);
}

void events_emit_account(struct batch *b, const char *type, const struct holding *h, decimal_t size,
                         struct uuid subject)
{
    struct buf data;
    buf_init(&data);
    account_change_encode(&data, &(struct account_change){h->owner, h->asset, size});
    emit(b, type, h->owner, subject, &data);
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

static enum err decode_transfer(const struct event *e, struct arena *arena, void **ret_args, int64_t *ret_customer_id,
                                struct fault *fault)
{
    struct transfer_requested *transfer = ARENA_NEW(arena, struct transfer_requested);
    *ret_args = transfer;
    enum err err = transfer_requested_decode(e->data, arena, transfer, fault);
    *ret_customer_id = transfer->customer_id;
    return err;
}

const char *const ASSET_SVC_CONSUMES[] = {"order-events", "txn-events", "auth-events", NULL};

/* order.opened and order.rejected say nothing new to the books. */
const struct event_kind ASSET_SVC_KINDS[] = {
    {"order.placed", decode_order, &ASSET_ORDER_PLACED},      {"order.canceled", decode_order, &ASSET_ORDER_CANCELED},
    {"order.filled", decode_order, &ASSET_ORDER_FILLED},      {"transfer.requested", decode_transfer, &ASSET_TRANSFER},
    {"user.registered", customers_decode, &ASSET_REGISTERED}, {NULL, NULL, NULL},
};
