/* books.h — double entry: what a deposit, a withdrawal and the state of an order mean for the books.
 *
 * For     asset-svc's commands. Pure: it computes an entry's postings from loaded state; the caller applies and saves them.
 * Owns    nothing.
 * Always  an entry's postings sum to zero per asset. For an order there is one function, books_of_order: post what was
 *         matched less what is posted already, then set the reservation to what the order's state requires. It gives the
 *         same books whatever events came before, late, doubled or overtaken.
 * Fails   ERR_INSUFFICIENT (an answer), ERR_BUG (a state that can't be: the event is parked). Nothing is changed then.
 */
#ifndef ASSET_SVC_BOOKS_H
#define ASSET_SVC_BOOKS_H

#include "events/order_event.h"
#include "holding.h"

#define BOOKS_MONEY "TRY"

enum reservation_state { RESERVATION_OPEN, RESERVATION_CAPTURED, RESERVATION_RELEASED, RESERVATION_REFUSED };
extern const char *const RESERVATION_STATES[];

struct reservation {
    struct uuid order_id;
    int64_t customer_id;
    const char *asset; /* what is set aside: TRY for a BUY */
    enum reservation_state state;
    decimal_t reserved;
    struct order_fill house, clearing; /* posted */
    int64_t version;                   /* the order version that the books stand at; 0: nothing seen yet */
    decimal_t required, usable;        /* REFUSED */
};

enum entry_type { ENTRY_DEPOSIT, ENTRY_WITHDRAWAL, ENTRY_BROUGHT_IN, ENTRY_RESERVE, ENTRY_RELEASE, ENTRY_TRADE };
extern const char *const ENTRY_TYPES[];

enum { POSTINGS_MAX = 6 };
struct posting {
    struct holding *holding;
    decimal_t amount, usable_amount;
};
struct entry {
    enum entry_type type;
    struct posting postings[POSTINGS_MAX];
    size_t count;
};

/* The accounts an order can touch; the firm's may be NULL while nothing new was matched against them. */
struct order_accounts {
    struct holding *money, *shares; /* the customer's */
    struct holding *house_money, *house_shares;
    struct holding *clearing_money, *clearing_shares;
};

/* What is set aside for the order: the asset's name, and how much its state requires (0 unless NEW or PENDING). */
const char *books_reserved_asset(const struct order_state *o);
MUST_CHECK enum err books_required(const struct order_state *o, decimal_t *ret_required);

/* Moves `r` and the accounts to the order's state; the entry tells what was posted (count 0: nothing). The order's version must be
 * newer than r->version. ERR_INSUFFICIENT: r->required and r->usable say what was missing; r becomes REFUSED at that version
 * if nothing was set aside before, and no account changes. */
MUST_CHECK enum err books_of_order(const struct order_state *o, struct reservation *r,
                                   const struct order_accounts *accounts, struct entry *ret_entry);

/* `amount` (> 0) comes from the outside to a customer, or goes back there. ERR_INSUFFICIENT for the latter. */
MUST_CHECK enum err books_bring_in(enum entry_type type, struct holding *to, struct holding *external, decimal_t amount,
                                   struct entry *ret_entry);
MUST_CHECK enum err books_take_out(struct holding *from, struct holding *external, decimal_t amount,
                                   struct entry *ret_entry);

#endif
