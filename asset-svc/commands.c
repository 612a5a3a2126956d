#include "commands.h"

#include "api.h"
#include "events.h"
#include "events/user_event.h"
#include "store.h"
#include "svc/customers.h"

static const struct uuid NO_MATCH;

static int64_t external(const struct batch *b)
{
    return holding_firm_owner(FIRM_EXTERNAL, b->lane_number);
}

/* ---- orders ---- */

static bool has_fill(const struct order_fill *f)
{
    return f->size > 0;
}

static void want_order(struct batch *b, struct lane_item *it)
{
    const struct order_state *o = &((const struct order_event *)it->args)->order;
    store_want_reservation(b, o->id);
    store_want_account(b, o->customer_id, BOOKS_MONEY);
    store_want_account(b, o->customer_id, o->asset);
    if (has_fill(&o->house)) {
        store_want_account(b, holding_firm_owner(FIRM_HOUSE, b->lane_number), BOOKS_MONEY);
        store_want_account(b, holding_firm_owner(FIRM_HOUSE, b->lane_number), o->asset);
    }
    if (has_fill(&o->clearing)) {
        store_want_account(b, holding_firm_owner(FIRM_CLEARING, b->lane_number), BOOKS_MONEY);
        store_want_account(b, holding_firm_owner(FIRM_CLEARING, b->lane_number), o->asset);
    }
}

static struct order_accounts accounts_of(struct batch *b, const struct order_state *o)
{
    struct order_accounts a = {.money = store_account(b, o->customer_id, BOOKS_MONEY),
                               .shares = store_account(b, o->customer_id, o->asset)};
    int64_t house = holding_firm_owner(FIRM_HOUSE, b->lane_number);
    int64_t clearing = holding_firm_owner(FIRM_CLEARING, b->lane_number);
    if (has_fill(&o->house)) {
        a.house_money = store_account(b, house, BOOKS_MONEY);
        a.house_shares = store_account(b, house, o->asset);
    }
    if (has_fill(&o->clearing)) {
        a.clearing_money = store_account(b, clearing, BOOKS_MONEY);
        a.clearing_shares = store_account(b, clearing, o->asset);
    }
    return a;
}

/* Moves the books to the order's state if it is newer than theirs. false: parked. */
static bool move_to(struct batch *b, struct lane_item *it, struct reservation *r)
{
    const struct order_state *o = &((const struct order_event *)it->args)->order;
    if (o->version <= r->version)
        return true; /* late, doubled or overtaken: the books stand further on already */

    r->customer_id = o->customer_id;
    r->asset = books_reserved_asset(o);
    struct order_accounts accounts = accounts_of(b, o);
    struct entry entry;
    enum err e = books_of_order(o, r, &accounts, &entry);
    if (e && e != ERR_INSUFFICIENT) {
        it->err = fault_set(&it->fault, ERR_BUG, "the books can't be moved to version %lld of this order",
                            (long long)o->version);
        return false;
    }
    store_touch_reservation(b, r);
    if (!e)
        store_journal(b, &entry, (struct cause){"ORDER", o->id, o->actor});
    return true;
}

static struct reservation *reservation_of(struct batch *b, const struct lane_item *it)
{
    return store_reservation(b, ((const struct order_event *)it->args)->order.id);
}

/* Answered by what the books hold, whatever came first. */
static void decide_placed(struct batch *b, struct lane_item *it)
{
    static const char *const ANSWERS[] = {[RESERVATION_OPEN] = "asset.reserved",
                                          [RESERVATION_CAPTURED] = "asset.reserved",
                                          [RESERVATION_RELEASED] = "asset.released",
                                          [RESERVATION_REFUSED] = "asset.refused"};
    struct reservation *r = reservation_of(b, it);
    if (move_to(b, it, r))
        events_emit_outcome(b, ANSWERS[r->state], r, NO_MATCH, it->event);
}

static void decide_canceled(struct batch *b, struct lane_item *it)
{
    struct reservation *r = reservation_of(b, it);
    if (move_to(b, it, r))
        events_emit_outcome(b, "asset.released", r, NO_MATCH, it->event);
}

static void decide_filled(struct batch *b, struct lane_item *it)
{
    struct reservation *r = reservation_of(b, it);
    if (move_to(b, it, r))
        events_emit_outcome(b, "asset.settled", r, ((const struct order_event *)it->args)->match_id, it->event);
}

/* ---- transfers ---- */

static void want_transfer(struct batch *b, struct lane_item *it)
{
    const struct transfer_requested *t = it->args;
    store_want_transfer(b, t->transfer_id);
    store_want_account(b, t->customer_id, BOOKS_MONEY);
    store_want_account(b, external(b), BOOKS_MONEY);
}

/* A balance that would overflow is refused like one that is short: nothing is lost, and the customer is told. */
static struct transfer_result book(struct batch *b, const struct transfer_requested *t)
{
    struct holding *money = store_account(b, t->customer_id, BOOKS_MONEY);
    struct holding *outside = store_account(b, external(b), BOOKS_MONEY);
    struct transfer_result result = {.required = t->amount, .usable = money->usable};
    struct entry entry;
    enum err e = t->type == TRANSFER_DEPOSIT ? books_bring_in(ENTRY_DEPOSIT, money, outside, t->amount, &entry)
                                             : books_take_out(money, outside, t->amount, &entry);
    result.booked = e == ERR_OK;
    if (result.booked)
        store_journal(b, &entry, (struct cause){"TRANSFER", t->transfer_id, t->actor});
    return result;
}

static void decide_transfer(struct batch *b, struct lane_item *it)
{
    const struct transfer_requested *t = it->args;
    const struct transfer_result *known = store_transfer(b, t->transfer_id);
    struct transfer_result result = known ? *known : book(b, t);
    if (!known)
        store_add_transfer(b, t->transfer_id, result);
    events_emit_transfer(b, result.booked ? "transfer.booked" : "transfer.refused", t, result.required, result.usable);
}

/* ---- customers ---- */

static void want_registered(struct batch *b, struct lane_item *it)
{
    store_want_account(b, ((const struct user_registered *)it->args)->customer_id, BOOKS_MONEY);
}

static void decide_registered(struct batch *b, struct lane_item *it)
{
    const struct user_registered *user = it->args;
    customers_add(b, user->customer_id);
    events_emit_account(b, "account.opened", store_account(b, user->customer_id, BOOKS_MONEY), 0,
                        uuid_of_int(user->customer_id));
}

/* ---- shares brought in ---- */

static void want_bring_in(struct batch *b, struct lane_item *it)
{
    const struct bring_in *cmd = it->args;
    customers_want(b, cmd->customer_id);
    store_want_account_of(b, cmd->customer_id, cmd->asset);
    store_want_account(b, external(b), cmd->asset);
}

static void decide_bring_in(struct batch *b, struct lane_item *it)
{
    const struct bring_in *cmd = it->args;
    struct holding *h = store_account_of(b, cmd->customer_id, cmd->asset);
    if (!customers_known(b, cmd->customer_id) || !h) { /* announced in this very batch: he is there for the next */
        it->err = fault_set(&it->fault, ERR_NOT_FOUND, "there is no customer %lld", (long long)cmd->customer_id);
        return;
    }
    struct entry entry;
    it->err = books_bring_in(ENTRY_BROUGHT_IN, h, store_account(b, external(b), cmd->asset), cmd->size, &entry);
    if (it->err) {
        it->err = fault_set(&it->fault, ERR_CONFLICT, "the balance would be too large");
        return;
    }
    store_journal(b, &entry, (struct cause){"ADMIN", cmd->id, cmd->actor});
    events_emit_account(b, "asset.deposited", h, cmd->size, cmd->id);
    struct holding *after = ARENA_NEW(b->arena, struct holding);
    *after = *h;
    it->result = after;
}

/* ---- verbs ---- */

const struct lane_ops ASSET_SVC_OPS = {
    .state_size = sizeof(struct assets_batch),
    .load = store_load_batch,
    .save = store_save_batch,
};

const struct lane_verb ASSET_BRING_IN = {
    .name = "bring_in", .want = want_bring_in, .decide = decide_bring_in, .answer = api_answer_bring_in};
const struct lane_verb ASSET_ORDER_PLACED = {.name = "order.placed", .want = want_order, .decide = decide_placed};
const struct lane_verb ASSET_ORDER_CANCELED = {.name = "order.canceled", .want = want_order, .decide = decide_canceled};
const struct lane_verb ASSET_ORDER_FILLED = {.name = "order.filled", .want = want_order, .decide = decide_filled};
const struct lane_verb ASSET_TRANSFER = {
    .name = "transfer.requested", .want = want_transfer, .decide = decide_transfer};
const struct lane_verb ASSET_REGISTERED = {
    .name = "user.registered", .want = want_registered, .decide = decide_registered};
