#include "books.h"

#include <assert.h>
#include <string.h>

const char *const RESERVATION_STATES[] = {"OPEN", "CAPTURED", "RELEASED", "REFUSED", NULL};
const char *const ENTRY_TYPES[] = {"DEPOSIT", "WITHDRAWAL", "BROUGHT_IN", "RESERVE", "RELEASE", "TRADE", NULL};

/* ---- entries ---- */

static void add(struct entry *e, struct holding *h, decimal_t amount, decimal_t usable_amount)
{
    if (amount == 0 && usable_amount == 0)
        return;
    assert(h && e->count < POSTINGS_MAX);
    e->postings[e->count++] = (struct posting){h, amount, usable_amount};
}

/* All or nothing: what was moved before a refusal is moved back. */
static enum err apply(const struct entry *e)
{
    for (size_t i = 0; i < e->count; i++) {
        const struct posting *p = &e->postings[i];
        enum err err = holding_move(p->holding, p->amount, p->usable_amount);
        if (!err)
            continue;
        while (i-- > 0) {
            struct holding *h = e->postings[i].holding;
            h->size -= e->postings[i].amount;
            h->usable -= e->postings[i].usable_amount;
            h->version--;
        }
        return err;
    }
    return ERR_OK;
}

enum err books_bring_in(enum entry_type type, struct holding *to, struct holding *external, decimal_t amount,
                        struct entry *ret_entry)
{
    assert(amount > 0);
    struct entry e = {.type = type};
    add(&e, to, amount, amount);
    add(&e, external, -amount, -amount);
    enum err err = apply(&e);
    if (!err)
        *ret_entry = e;
    return err;
}

enum err books_take_out(struct holding *from, struct holding *external, decimal_t amount, struct entry *ret_entry)
{
    assert(amount > 0);
    struct entry e = {.type = ENTRY_WITHDRAWAL};
    add(&e, from, -amount, -amount);
    add(&e, external, amount, amount);
    enum err err = apply(&e);
    if (!err)
        *ret_entry = e;
    return err;
}

/* ---- orders ---- */

const char *books_reserved_asset(const struct order_state *o)
{
    return o->side == ORDER_BUY ? BOOKS_MONEY : o->asset;
}

enum err books_required(const struct order_state *o, decimal_t *ret_required)
{
    *ret_required = 0;
    if (o->status != ORDER_NEW && o->status != ORDER_PENDING)
        return ERR_OK;
    decimal_t remaining = o->size - order_matched_size(o);
    if (remaining < 0)
        return ERR_BUG;
    if (o->side == ORDER_SELL) {
        *ret_required = remaining;
        return ERR_OK;
    }
    return decimal_mul(remaining, o->price, ret_required) ? ERR_OK : ERR_BUG;
}

/* Matched since what is posted; both grow only. */
static bool newly_matched(struct order_fill now, struct order_fill posted, struct order_fill *ret)
{
    *ret = (struct order_fill){now.size - posted.size, now.value - posted.value};
    return ret->size >= 0 && ret->value >= 0 && (ret->size > 0) == (ret->value > 0);
}

static enum entry_type type_of(bool traded, decimal_t reserve_change)
{
    if (traded)
        return ENTRY_TRADE;
    return reserve_change > 0 ? ENTRY_RESERVE : ENTRY_RELEASE;
}

static enum reservation_state state_of(const struct order_state *o, decimal_t required)
{
    if (required > 0)
        return RESERVATION_OPEN;
    return o->status == ORDER_MATCHED ? RESERVATION_CAPTURED : RESERVATION_RELEASED;
}

/* A buyer gives money for shares, a seller the other way round; the counter-account does the opposite. */
static void trade(struct entry *e, enum order_side side, struct order_fill fill, struct holding *money,
                  struct holding *shares)
{
    decimal_t sign = side == ORDER_BUY ? 1 : -1;
    add(e, money, sign * fill.value, sign * fill.value);
    add(e, shares, -sign * fill.size, -sign * fill.size);
}

static enum err refuse(const struct order_state *o, struct reservation *r, decimal_t required, decimal_t usable)
{
    if (o->status != ORDER_NEW || r->version)
        return ERR_BUG; /* it was set aside once: it can't be missing now */
    r->state = RESERVATION_REFUSED;
    r->version = o->version;
    r->required = required;
    r->usable = usable;
    return ERR_INSUFFICIENT;
}

enum err books_of_order(const struct order_state *o, struct reservation *r, const struct order_accounts *accounts,
                        struct entry *ret_entry)
{
    assert(o->version > r->version);
    decimal_t required;
    struct order_fill house, clearing;
    enum err err = books_required(o, &required);
    if (err || !newly_matched(o->house, r->house, &house) || !newly_matched(o->clearing, r->clearing, &clearing))
        return ERR_BUG;

    struct holding *pays = o->side == ORDER_BUY ? accounts->money : accounts->shares;
    struct holding *gets = o->side == ORDER_BUY ? accounts->shares : accounts->money;
    decimal_t size = house.size + clearing.size, value = house.value + clearing.value;
    decimal_t paid = o->side == ORDER_BUY ? value : size;
    decimal_t got = o->side == ORDER_BUY ? size : value;
    decimal_t reserve_change = required - r->reserved;

    struct entry e = {.type = type_of(size > 0, reserve_change)};
    add(&e, pays, -paid, -paid - reserve_change);
    add(&e, gets, got, got);
    trade(&e, o->side, house, accounts->house_money, accounts->house_shares);
    trade(&e, o->side, clearing, accounts->clearing_money, accounts->clearing_shares);

    decimal_t usable = pays->usable;
    err = apply(&e);
    if (err == ERR_INSUFFICIENT)
        return refuse(o, r, required, usable);
    if (err)
        return err;

    r->reserved = required;
    r->house = o->house;
    r->clearing = o->clearing;
    r->state = state_of(o, required);
    r->version = o->version;
    *ret_entry = e;
    return ERR_OK;
}
