/* match.h — one request to match orders, its legs and their outcomes.
 *
 * For     admin-svc's decisions. Pure: no I/O, no clock, no allocation.
 * Owns    nothing; matches belong to the batch or call that loaded them.
 * Always  a leg goes REQUESTED → FILLED → DONE, or REQUESTED → DONE; a match is DONE when all its legs are. One outcome an
 *         order; none spoils another.
 */
#ifndef ADMIN_SVC_MATCH_H
#define ADMIN_SVC_MATCH_H

#include "events/order_event.h"

enum { MATCH_ORDER_IDS_MAX = 1000, MATCH_LEGS_MAX = 10000 };

enum match_state { MATCH_BARRIER, MATCH_REQUESTED, MATCH_DONE };
extern const char *const MATCH_STATES[];
enum leg_state { LEG_REQUESTED, LEG_FILLED, LEG_DONE };
extern const char *const LEG_STATES[];
enum outcome {
    OUTCOME_MATCHED,
    OUTCOME_PARTIALLY_MATCHED,
    OUTCOME_ALREADY_MATCHED,
    OUTCOME_REJECTED,
    OUTCOME_UNMATCHED,
    OUTCOME_NONE
};
extern const char *const OUTCOMES[]; /* NULL at OUTCOME_NONE */

struct match {
    struct uuid id;
    const char *asset; /* NULL: named orders, or all */
    enum match_state state;
    bool reached;
    int legs, legs_open;
    const char *actor;
    time_us_t create_date, complete_date; /* 0: not yet */
};

struct leg {
    struct uuid match_id, order_id;
    int position;
    enum leg_state state;
    bool settled; /* the books have answered: that may be heard before order-svc's own word (another topic) */
    enum outcome outcome;
    const char *code; /* NULL: none */
    decimal_t size, price;
};

/* An order as the book knows it. */
struct book_order {
    struct uuid id;
    int64_t customer_id;
    const char *asset;
    enum order_side side;
    decimal_t price, size, matched;
    enum order_status status;
    int64_t version;
    time_us_t create_date;
    decimal_t matched_value;
    time_us_t told_at; /* when order-svc said so */
};
struct book_order book_order_of(const struct order_state *o, time_us_t told_at);

/* order-svc filled it. */
void leg_fill(struct leg *leg, const struct order_state *o, struct order_fill fill);
/* order-svc refused: its word becomes the outcome; the leg is DONE. `code` must outlive the leg. */
void leg_refuse(struct leg *leg, const char *code, const struct order_state *o);
/* The books have settled what was filled. */
void leg_settle(struct leg *leg);
/* What matching the order now would give; o NULL: the book has no such order. Stores nothing (dryRun). */
struct leg leg_foresee(const struct book_order *o, struct uuid order_id);

#endif
