#include "commands.h"

#include "api.h"
#include "events.h"
#include "events/asset_event.h"
#include "events/transfer_event.h"
#include "events/user_event.h"
#include "store.h"

/* ---- match ---- */

static void want_match(struct batch *b, struct lane_item *it)
{
    const struct match_command *cmd = it->args;
    for (size_t i = 0; i < cmd->count; i++)
        store_want_order(b, cmd->order_ids[i]);
}

static void finish_if_done(struct batch *b, struct match *m)
{
    if (m->legs_open > 0)
        return;
    m->state = MATCH_DONE;
    m->complete_date = b->now;
}

static void ask_for(struct batch *b, const struct match *m, struct uuid order_id, int64_t customer_id, int position)
{
    struct leg leg = {.match_id = m->id, .order_id = order_id, .position = position, .outcome = OUTCOME_NONE};
    store_add_leg(b, &leg);
    events_emit_match(b, &leg, customer_id, m->actor);
}

/* Named orders go to order-svc unjudged: it alone knows their state. The book only tells whose they are. */
static void decide_match(struct batch *b, struct lane_item *it)
{
    const struct match_command *cmd = it->args;
    struct match m = {.id = cmd->id, .asset = cmd->asset, .actor = cmd->actor, .create_date = b->now};
    if (!cmd->count) {
        m.state = MATCH_BARRIER;
        store_add_match(b, &m);
        events_emit_barrier(b, m.id);
        return;
    }
    m.state = MATCH_REQUESTED;
    m.legs = m.legs_open = (int)cmd->count;
    store_add_match(b, &m);
    for (size_t i = 0; i < cmd->count; i++) {
        const struct book_order *o = store_order(b, cmd->order_ids[i]);
        ask_for(b, &m, cmd->order_ids[i], o ? o->customer_id : 0, (int)i);
    }
}

/* ---- the barrier ---- */

static void want_barrier(struct batch *b, struct lane_item *it)
{
    store_want_match(b, ((const struct barrier_reached *)it->args)->barrier_id);
}

static void decide_barrier(struct batch *b, struct lane_item *it)
{
    const struct barrier_reached *barrier = it->args;
    struct match *m = store_match(b, barrier->barrier_id);
    if (!m || m->state != MATCH_BARRIER || m->reached)
        return;
    m->reached = true;
    store_touch_match(b, m);
    for (size_t i = 0; i < barrier->count; i++)
        store_add_mark(
            b, m->id,
            (struct lane_mark){barrier->marks[i].lane, barrier->marks[i].partition, barrier->marks[i].part_seq});
}

static void want_cross(struct batch *b, struct lane_item *it)
{
    (void)it;
    store_want_waiting(b);
}

static bool has_read_up_to(struct batch *b, const struct match *m)
{
    struct lane_mark *marks;
    size_t count = store_marks(b, m->id, &marks);
    for (size_t i = 0; i < count; i++)
        if (batch_applied(b, "order-events", marks[i].partition, "order-svc", marks[i].lane) < marks[i].part_seq)
            return false;
    return true;
}

static void cross(struct batch *b, struct match *m)
{
    struct book_order **pending;
    size_t count = store_pending(b, m->asset, &pending);
    for (size_t i = 0; i < count; i++)
        ask_for(b, m, pending[i]->id, pending[i]->customer_id, (int)i);
    m->state = MATCH_REQUESTED;
    m->legs = m->legs_open = (int)count;
    finish_if_done(b, m);
    store_touch_match(b, m);
}

static void decide_cross(struct batch *b, struct lane_item *it)
{
    struct admin_app *app = ((struct service *)b->app)->app;
    struct match **waiting;
    size_t count = store_waiting(b, &waiting);
    size_t crossed = 0;
    for (size_t i = 0; i < count; i++) {
        if (!waiting[i]->reached || !has_read_up_to(b, waiting[i]))
            continue;
        cross(b, waiting[i]);
        crossed++;
    }
    app->waiting = count - crossed;
    if (!crossed)
        it->err = fault_set(&it->fault, ERR_CONFLICT, "no barrier is open"); /* nothing to commit */
}

/* ---- what order-svc and the books say ---- */

static void learn(struct batch *b, const struct lane_item *it, const struct order_state *o)
{
    struct book_order order = book_order_of(o, it->event->time);
    store_learn(b, &order);
}

static void want_order(struct batch *b, struct lane_item *it)
{
    store_want_order(b, ((const struct order_event *)it->args)->order.id);
}

static void decide_order(struct batch *b, struct lane_item *it)
{
    learn(b, it, &((const struct order_event *)it->args)->order);
}

static void want_filled(struct batch *b, struct lane_item *it)
{
    const struct order_event *e = it->args;
    store_want_order(b, e->order.id);
    store_want_leg(b, e->match_id, e->order.id);
}

static void end_leg(struct batch *b, struct leg *leg)
{
    store_touch_leg(b, leg);
    struct match *m = store_match(b, leg->match_id);
    if (leg->state != LEG_DONE || !m)
        return;
    m->legs_open--;
    finish_if_done(b, m);
    store_touch_match(b, m);
}

static void decide_filled(struct batch *b, struct lane_item *it)
{
    const struct order_event *e = it->args;
    learn(b, it, &e->order);
    struct leg *leg = store_leg(b, e->match_id, e->order.id);
    if (!leg || leg->state != LEG_REQUESTED)
        return;
    leg_fill(leg, &e->order, e->fill);
    end_leg(b, leg);
}

static void want_refused(struct batch *b, struct lane_item *it)
{
    const struct match_refused *e = it->args;
    store_want_order(b, e->order_id);
    store_want_leg(b, e->match_id, e->order_id);
}

static void decide_refused(struct batch *b, struct lane_item *it)
{
    const struct match_refused *e = it->args;
    if (e->has_order)
        learn(b, it, &e->order);
    struct leg *leg = store_leg(b, e->match_id, e->order_id);
    if (!leg || leg->state != LEG_REQUESTED)
        return;
    leg_refuse(leg, e->code, e->has_order ? &e->order : NULL);
    end_leg(b, leg);
}

/* ---- what is only kept, for the audit across services ---- */

static void decide_posted(struct batch *b, struct lane_item *it)
{
    said_posted(b, store_said(b), it->args, it->event->time);
}

static void decide_transfer_asked(struct batch *b, struct lane_item *it)
{
    const struct transfer_requested *e = it->args;
    said_asked(b, store_said(b), SAID_TRANSFER, e->transfer_id, e->customer_id, e->amount, it->event->time);
}

static void transfer_answered(struct batch *b, struct lane_item *it, bool booked)
{
    const struct transfer_outcome *e = it->args;
    said_answered(b, store_said(b), SAID_TRANSFER, e->transfer_id, e->customer_id, booked, e->required,
                  it->event->time);
}

static void decide_transfer_booked(struct batch *b, struct lane_item *it)
{
    transfer_answered(b, it, true);
}

static void decide_transfer_refused(struct batch *b, struct lane_item *it)
{
    transfer_answered(b, it, false);
}

static void decide_registered(struct batch *b, struct lane_item *it)
{
    const struct user_registered *e = it->args;
    said_asked(b, store_said(b), SAID_ACCOUNT, uuid_of_int(e->customer_id), e->customer_id, 0, it->event->time);
}

static void decide_opened(struct batch *b, struct lane_item *it)
{
    const struct account_change *e = it->args;
    said_answered(b, store_said(b), SAID_ACCOUNT, uuid_of_int(e->customer_id), e->customer_id, true, e->size,
                  it->event->time);
}

/* ---- the books settle ---- */

static void want_settled(struct batch *b, struct lane_item *it)
{
    const struct asset_outcome *e = it->args;
    store_want_leg(b, e->match_id, e->order_id);
}

static void decide_settled(struct batch *b, struct lane_item *it)
{
    const struct asset_outcome *e = it->args;
    decide_posted(b, it);
    struct leg *leg = store_leg(b, e->match_id, e->order_id);
    if (!leg || leg->state == LEG_DONE || leg->settled)
        return;
    leg_settle(leg);
    end_leg(b, leg);
}

/* ---- verbs ---- */

static void submit_cross(struct lane *lane)
{
    struct lane_item *item = lane_item_new(false);
    item->verb = &ADMIN_CROSS;
    if (lane_submit(lane, item))
        lane_item_free(item); /* the tick comes again */
}

void commands_tick(struct service *s)
{
    if (lane_is_held(s->lane))
        submit_cross(s->lane);
}

static void offer(void *arg, const struct match *m)
{
    waiters_offer(arg, m->id, m);
}

/* A barrier that was reached, or more of the book that was read, may open one. */
static void committed(struct batch *b)
{
    struct service *s = b->app;
    struct admin_app *app = s->app;
    store_each_done(b, offer, s->waiters);

    bool may_cross = false;
    for (size_t i = 0; i < b->count; i++) {
        const struct lane_verb *verb = b->items[i]->verb;
        may_cross |= verb == &ADMIN_BARRIER || (app->waiting && b->items[i]->event);
    }
    if (may_cross)
        submit_cross(s->lane);
}

const struct lane_ops ADMIN_SVC_OPS = {
    .state_size = sizeof(struct matching_batch),
    .load = store_load_batch,
    .save = store_save_batch,
    .committed = committed,
    .measure = api_measure,
};

const struct lane_verb ADMIN_MATCH = {
    .name = "match", .want = want_match, .decide = decide_match, .answer = service_await};
const struct lane_verb ADMIN_CROSS = {
    .name = "cross", .want = want_cross, .decide = decide_cross, .needs = LANE_NEEDS_SEQUENCES};
const struct lane_verb ADMIN_ORDER = {.name = "order", .want = want_order, .decide = decide_order};
const struct lane_verb ADMIN_FILLED = {.name = "order.filled", .want = want_filled, .decide = decide_filled};
const struct lane_verb ADMIN_REFUSED = {.name = "match.refused", .want = want_refused, .decide = decide_refused};
const struct lane_verb ADMIN_BARRIER = {.name = "barrier.reached", .want = want_barrier, .decide = decide_barrier};
const struct lane_verb ADMIN_SETTLED = {.name = "asset.settled", .want = want_settled, .decide = decide_settled};
const struct lane_verb ADMIN_POSTED = {.name = "asset.reserved", .decide = decide_posted};
const struct lane_verb ADMIN_TRANSFER_ASKED = {.name = "transfer.requested", .decide = decide_transfer_asked};
const struct lane_verb ADMIN_TRANSFER_BOOKED = {.name = "transfer.booked", .decide = decide_transfer_booked};
const struct lane_verb ADMIN_TRANSFER_REFUSED = {.name = "transfer.refused", .decide = decide_transfer_refused};
const struct lane_verb ADMIN_REGISTERED = {.name = "user.registered", .decide = decide_registered};
const struct lane_verb ADMIN_OPENED = {.name = "account.opened", .decide = decide_opened};
