#include "commands.h"

#include "api.h"
#include "events.h"
#include "events/asset_event.h"
#include "events/match_event.h"
#include "store.h"
#include "svc/customers.h"
#include "svc/service.h"

/* ---- place ---- */

static void want_place(struct batch *b, struct lane_item *it)
{
    const struct place_order *cmd = it->args;
    customers_want(b, cmd->customer_id);
    if (cmd->client_order_id)
        store_want_client_id(b, cmd->customer_id, cmd->client_order_id);
}

static void decide_place(struct batch *b, struct lane_item *it)
{
    const struct place_order *cmd = it->args;
    it->err = customers_check(b, it, cmd->customer_id);
    if (it->err)
        return;
    if (cmd->client_order_id && store_client_id_taken(b, cmd->customer_id, cmd->client_order_id)) {
        it->err = fault_set(&it->fault, ERR_CLIENT_ORDER_ID_USED, "clientOrderId \"%s\" is taken",
                            cmd->client_order_id);
        return;
    }

    struct order o = {.state = {.id = cmd->id,
                                .customer_id = cmd->customer_id,
                                .client_order_id = cmd->client_order_id,
                                .asset = cmd->asset,
                                .side = (enum order_side)cmd->side,
                                .size = cmd->size,
                                .price = cmd->price,
                                .status = ORDER_NEW,
                                .version = 1,
                                .create_date = b->now,
                                .update_date = b->now,
                                .actor = cmd->actor}};
    it->result = store_add(b, &o);
    events_emit_order(b, "order.placed", &o);
}

/* ---- cancel ---- */

static void want_cancel(struct batch *b, struct lane_item *it)
{
    store_want_order(b, ((const struct cancel_order *)it->args)->id);
}

static void cancel(struct batch *b, struct order *o)
{
    store_touch(b, o);
    events_emit_order(b, "order.canceled", o);
}

static void decide_cancel(struct batch *b, struct lane_item *it)
{
    const struct cancel_order *cmd = it->args;
    struct order *o = store_order(b, cmd->id);
    if (!o || (cmd->customer_id && o->state.customer_id != cmd->customer_id)) {
        it->err = fault_set(&it->fault, ERR_ORDER_NOT_FOUND, "there is no such order");
        return;
    }

    int64_t version = o->state.version;
    it->err = order_cancel(o, cmd->actor, b->now);
    if (it->err) {
        fault_set(&it->fault, it->err, "the order is %s", ORDER_STATUSES[o->state.status]);
        return;
    }
    it->result = o;
    if (o->state.version != version)
        cancel(b, o);
}

/* ---- cancel all ---- */

static void want_cancel_all(struct batch *b, struct lane_item *it)
{
    const struct cancel_orders *cmd = it->args;
    customers_want(b, cmd->customer_id);
    store_want_open(b, cmd->customer_id, cmd->asset, cmd->side);
}

static void decide_cancel_all(struct batch *b, struct lane_item *it)
{
    const struct cancel_orders *cmd = it->args;
    it->err = customers_check(b, it, cmd->customer_id);
    if (it->err)
        return;

    struct order **open;
    size_t count = store_open(b, cmd->customer_id, cmd->asset, cmd->side, &open);
    struct order *items = ARENA_ARRAY(b->arena, struct order, count + 1);
    for (size_t i = 0; i < count; i++) {
        enum err e = order_cancel(open[i], cmd->actor, b->now);
        if (e) {
            it->err = fault_set(&it->fault, ERR_BUG, "an open order can't be canceled");
            return;
        }
        cancel(b, open[i]);
        items[i] = *open[i];
    }
    struct canceled_orders *result = ARENA_NEW(b->arena, struct canceled_orders);
    *result = (struct canceled_orders){items, count};
    it->result = result;
}

/* ---- what the books say ---- */

static void want_outcome(struct batch *b, struct lane_item *it)
{
    store_want_order(b, ((const struct asset_outcome *)it->args)->order_id);
}

/* An answer about an order that we do not have can only be a bug of ours or a foreign record: park it. */
static struct order *outcome_order(struct batch *b, struct lane_item *it)
{
    const struct asset_outcome *outcome = it->args;
    struct order *o = store_order(b, outcome->order_id);
    if (!o) {
        it->err = fault_set(&it->fault, ERR_ORDER_NOT_FOUND, "no such order here");
        return NULL;
    }
    if (outcome->version > o->books_version)
        o->books_version = outcome->version;
    return o;
}

static void decide_reserved(struct batch *b, struct lane_item *it)
{
    struct order *o = outcome_order(b, it);
    if (!o || !order_open(o, b->now))
        return;
    store_touch(b, o);
    events_emit_order(b, "order.opened", o);
}

static void decide_refused(struct batch *b, struct lane_item *it)
{
    const struct asset_outcome *outcome = it->args;
    struct order *o = outcome_order(b, it);
    if (!o || !order_reject(o, err_code(ERR_INSUFFICIENT), outcome->required, outcome->usable, b->now))
        return;
    store_touch(b, o);
    batch_forget_key(b, o->state.id);
    events_emit_order(b, "order.rejected", o);
}

static void decide_released(struct batch *b, struct lane_item *it)
{
    struct order *o = outcome_order(b, it);
    if (o)
        store_touch_books(b, o);
}

/* ---- matching ---- */

static void want_match(struct batch *b, struct lane_item *it)
{
    store_want_order(b, ((const struct match_requested *)it->args)->order_id);
}

static const char *refusal_code(const struct order *o, enum err e)
{
    if (!o)
        return "order_not_found";
    return e == ERR_CONFLICT ? "already_matched" : "order_not_matchable";
}

static void decide_match(struct batch *b, struct lane_item *it)
{
    const struct match_requested *match = it->args;
    struct order *o = store_order(b, match->order_id);
    struct order_fill before = o ? o->state.house : (struct order_fill){0, 0};
    enum err e = o ? order_fill_house(o, match->size, match->actor, b->now) : ERR_ORDER_NOT_FOUND;
    if (e) {
        events_emit_match_refused(b, match->match_id, match->order_id, refusal_code(o, e), o);
        return;
    }
    store_touch(b, o);
    struct order_fill fill = {o->state.house.size - before.size, o->state.house.value - before.value};
    events_emit_filled(b, o, match->match_id, fill);
}

static void decide_barrier(struct batch *b, struct lane_item *it)
{
    events_emit_barrier(b, ((const struct barrier_requested *)it->args)->barrier_id);
}

/* ---- verbs ---- */

static void offer(void *arg, const struct order *o)
{
    waiters_offer(arg, o->state.id, o);
}

static void committed(struct batch *b)
{
    struct service *service = b->app;
    store_each_changed(b, offer, service->waiters);
}

static void measure(void *app, struct db *db)
{
    api_measure(app, db);
}

const struct lane_ops ORDER_SVC_OPS = {
    .state_size = sizeof(struct orders_batch),
    .load = store_load_batch,
    .save = store_save_batch,
    .committed = committed,
    .measure = measure,
};

const struct lane_verb ORDER_PLACE = {
    .name = "place", .want = want_place, .decide = decide_place, .answer = service_await};
const struct lane_verb ORDER_CANCEL = {
    .name = "cancel", .want = want_cancel, .decide = decide_cancel, .answer = api_answer_cancel};
const struct lane_verb ORDER_CANCEL_ALL = {
    .name = "cancel_all", .want = want_cancel_all, .decide = decide_cancel_all, .answer = api_answer_cancel_all};
const struct lane_verb ORDER_RESERVED = {.name = "asset.reserved", .want = want_outcome, .decide = decide_reserved};
const struct lane_verb ORDER_REFUSED = {.name = "asset.refused", .want = want_outcome, .decide = decide_refused};
const struct lane_verb ORDER_RELEASED = {.name = "asset.released", .want = want_outcome, .decide = decide_released};
const struct lane_verb ORDER_MATCH = {.name = "match.requested", .want = want_match, .decide = decide_match};
const struct lane_verb ORDER_BARRIER = {
    .name = "barrier.requested", .decide = decide_barrier, .needs = LANE_NEEDS_MARKS};
