#include "commands.h"

#include "api.h"
#include "events.h"
#include "events/asset_event.h"
#include "store.h"
#include "svc/customers.h"

static void want_request(struct batch *b, struct lane_item *it)
{
    customers_want(b, ((const struct transfer *)it->args)->customer_id);
}

static void decide_request(struct batch *b, struct lane_item *it)
{
    struct transfer t = *(const struct transfer *)it->args;
    it->err = customers_check(b, it, t.customer_id);
    if (it->err)
        return;
    t.status = TRANSFER_PENDING;
    t.create_date = t.update_date = b->now;
    it->result = store_add(b, &t);
    events_emit_requested(b, &t);
}

static void want_outcome(struct batch *b, struct lane_item *it)
{
    store_want_transfer(b, ((const struct transfer_outcome *)it->args)->transfer_id);
}

/* An answer about a transfer that we do not have can only be a bug of ours or a foreign record: park it. */
static struct transfer *outcome_transfer(struct batch *b, struct lane_item *it)
{
    struct transfer *t = store_transfer(b, ((const struct transfer_outcome *)it->args)->transfer_id);
    if (!t)
        it->err = fault_set(&it->fault, ERR_NOT_FOUND, "no such transfer here");
    return t;
}

static void decide_booked(struct batch *b, struct lane_item *it)
{
    struct transfer *t = outcome_transfer(b, it);
    if (t && transfer_complete(t, b->now))
        store_touch(b, t);
}

static void decide_refused(struct batch *b, struct lane_item *it)
{
    const struct transfer_outcome *outcome = it->args;
    struct transfer *t = outcome_transfer(b, it);
    if (!t || !transfer_reject(t, outcome->required, outcome->usable, b->now))
        return;
    store_touch(b, t);
    batch_forget_key(b, t->id);
}

static void offer(void *arg, const struct transfer *t)
{
    waiters_offer(arg, t->id, t);
}

static void committed(struct batch *b)
{
    store_each_changed(b, offer, ((struct service *)b->app)->waiters);
}

const struct lane_ops TXN_SVC_OPS = {
    .state_size = sizeof(struct transfers_batch),
    .load = store_load_batch,
    .save = store_save_batch,
    .committed = committed,
    .measure = api_measure,
};

const struct lane_verb TXN_REQUEST = {
    .name = "transfer", .want = want_request, .decide = decide_request, .answer = service_await};
const struct lane_verb TXN_BOOKED = {.name = "transfer.booked", .want = want_outcome, .decide = decide_booked};
const struct lane_verb TXN_REFUSED = {.name = "transfer.refused", .want = want_outcome, .decide = decide_refused};
