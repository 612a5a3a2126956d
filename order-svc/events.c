#include "events.h"

#include "commands.h"
#include "events/asset_event.h"
#include "events/match_event.h"
#include "svc/customers.h"

static struct str text_of(const struct buf *b)
{
    return (struct str){b->data, b->len};
}

static void emit(struct batch *b, const char *type, int64_t customer_id, struct uuid subject, const struct buf *data)
{
    char id[UUID_TEXT_MAX];
    uuid_format(subject, id);
    batch_emit(b, type, customer_id, id, text_of(data));
}

static void emit_order(struct batch *b, const char *type, const struct order_event *e)
{
    struct buf data;
    buf_init(&data);
    order_event_encode(&data, e);
    emit(b, type, e->order.customer_id, e->order.id, &data);
    buf_done(&data);
}

void events_emit_order(struct batch *b, const char *type, const struct order *o)
{
    emit_order(b, type, &(struct order_event){.order = o->state});
}

void events_emit_filled(struct batch *b, const struct order *o, struct uuid match_id, struct order_fill fill)
{
    emit_order(b, "order.filled", &(struct order_event){.order = o->state, .match_id = match_id, .fill = fill});
}

void events_emit_match_refused(struct batch *b, struct uuid match_id, struct uuid order_id, const char *code,
                               const struct order *o)
{
    struct match_refused refused = {.match_id = match_id, .order_id = order_id, .code = code, .has_order = o != NULL};
    if (o)
        refused.order = o->state;
    struct buf data;
    buf_init(&data);
    match_refused_encode(&data, &refused);
    emit(b, "match.refused", o ? o->state.customer_id : 0, order_id, &data);
    buf_done(&data);
}

void events_emit_barrier(struct batch *b, struct uuid barrier_id)
{
    struct lane_mark *marks;
    struct barrier_reached reached = {.barrier_id = barrier_id, .count = batch_marks(b, &marks)};
    reached.marks = ARENA_ARRAY(b->arena, struct barrier_mark, reached.count + 1);
    for (size_t i = 0; i < reached.count; i++)
        reached.marks[i] = (struct barrier_mark){marks[i].lane, marks[i].partition, marks[i].part_seq};

    struct buf data;
    buf_init(&data);
    barrier_reached_encode(&data, &reached);
    emit(b, "barrier.reached", 0, barrier_id, &data);
    buf_done(&data);
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

static enum err decode_match(const struct event *e, struct arena *arena, void **ret_args, int64_t *ret_customer_id,
                             struct fault *fault)
{
    struct match_requested *match = ARENA_NEW(arena, struct match_requested);
    *ret_args = match;
    *ret_customer_id = 0;
    return match_requested_decode(e->data, arena, match, fault);
}

static enum err decode_barrier(const struct event *e, struct arena *arena, void **ret_args, int64_t *ret_customer_id,
                               struct fault *fault)
{
    struct barrier_requested *barrier = ARENA_NEW(arena, struct barrier_requested);
    *ret_args = barrier;
    *ret_customer_id = 0;
    return barrier_requested_decode(e->data, arena, barrier, fault);
}

const char *const ORDER_SVC_UNAWAITED[] = {"order.opened", "order.rejected", NULL};
const char *const ORDER_SVC_CONSUMES[] = {"asset-events", "admin-events", "auth-events", NULL};

const struct event_kind ORDER_SVC_KINDS[] = {
    {"asset.reserved", decode_outcome, &ORDER_RESERVED},
    {"asset.refused", decode_outcome, &ORDER_REFUSED},
    {"asset.released", decode_outcome, &ORDER_RELEASED},
    {"match.requested", decode_match, &ORDER_MATCH},
    {"barrier.requested", decode_barrier, &ORDER_BARRIER},
    {"user.registered", customers_decode, &CUSTOMERS_REGISTERED},
    {NULL, NULL, NULL},
};
