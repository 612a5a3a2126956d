#include "match.h"

#include <string.h>

const char *const MATCH_STATES[] = {"BARRIER", "REQUESTED", "DONE", NULL};
const char *const LEG_STATES[] = {"REQUESTED", "FILLED", "DONE", NULL};
const char *const OUTCOMES[] = {"MATCHED", "PARTIALLY_MATCHED", "ALREADY_MATCHED", "REJECTED", "UNMATCHED", NULL};

struct book_order book_order_of(const struct order_state *o, time_us_t told_at)
{
    return (struct book_order){.id = o->id,
                               .customer_id = o->customer_id,
                               .asset = o->asset,
                               .side = o->side,
                               .price = o->price,
                               .size = o->size,
                               .matched = order_matched_size(o),
                               .status = o->status,
                               .version = o->version,
                               .create_date = o->create_date,
                               .matched_value = order_matched_value(o),
                               .told_at = told_at};
}

void leg_fill(struct leg *leg, const struct order_state *o, struct order_fill fill)
{
    if (leg->state != LEG_REQUESTED)
        return;
    leg->state = leg->settled ? LEG_DONE : LEG_FILLED;
    leg->outcome = o->status == ORDER_MATCHED ? OUTCOME_MATCHED : OUTCOME_PARTIALLY_MATCHED;
    leg->size = fill.size;
    leg->price = o->price; /* the house trades at the order's own price */
}

void leg_refuse(struct leg *leg, const char *code, const struct order_state *o)
{
    if (leg->state != LEG_REQUESTED)
        return;
    leg->state = LEG_DONE;
    if (strcmp(code, "already_matched") == 0 && o) {
        leg->outcome = OUTCOME_ALREADY_MATCHED;
        leg->size = order_matched_size(o);
        leg->price = o->price;
        return;
    }
    leg->outcome = OUTCOME_REJECTED;
    leg->code = code;
}

void leg_settle(struct leg *leg)
{
    leg->settled = true;
    if (leg->state == LEG_FILLED)
        leg->state = LEG_DONE;
}

struct leg leg_foresee(const struct book_order *o, struct uuid order_id)
{
    struct leg leg = {.order_id = order_id, .state = LEG_DONE, .outcome = OUTCOME_REJECTED};
    if (!o) {
        leg.code = err_code(ERR_ORDER_NOT_FOUND);
        return leg;
    }
    switch (o->status) {
    case ORDER_PENDING:
        leg.outcome = OUTCOME_MATCHED;
        leg.size = o->size - o->matched;
        leg.price = o->price;
        break;
    case ORDER_MATCHED:
        leg.outcome = OUTCOME_ALREADY_MATCHED;
        leg.size = o->matched;
        leg.price = o->price;
        break;
    default:
        leg.code = err_code(ERR_ORDER_NOT_MATCHABLE);
        break;
    }
    return leg;
}
