#include "events/order_event.h"

#include <stdio.h>

#include "events/members.h"

const char *const ORDER_SIDES[] = {
    [ORDER_BUY] = "BUY",
    [ORDER_SELL] = "SELL",
    [ORDER_SELL + 1] = NULL,
};
const char *const ORDER_STATUSES[] = {
    [ORDER_NEW] = "NEW",           [ORDER_PENDING] = "PENDING",   [ORDER_MATCHED] = "MATCHED",
    [ORDER_CANCELED] = "CANCELED", [ORDER_REJECTED] = "REJECTED", [ORDER_REJECTED + 1] = NULL,
};

static const struct member FILL[] = {
    MEMBER("size", DECIMAL, struct order_fill, size),
    MEMBER("value", DECIMAL, struct order_fill, value),
    MEMBER_END,
};
static const struct member ORDER[] = {
    MEMBER("orderId", UUID, struct order_state, id),
    MEMBER("customerId", ID, struct order_state, customer_id),
    MEMBER("clientOrderId", TEXT_OR_NULL, struct order_state, client_order_id),
    MEMBER("assetName", TEXT, struct order_state, asset),
    MEMBER_WORD("orderSide", struct order_state, side, ORDER_SIDES),
    MEMBER("size", AMOUNT, struct order_state, size),
    MEMBER("price", AMOUNT, struct order_state, price),
    MEMBER_WORD("status", struct order_state, status, ORDER_STATUSES),
    MEMBER("statusReason", TEXT_OR_NULL, struct order_state, status_reason),
    MEMBER_PART("house", struct order_state, house, FILL),
    MEMBER_PART("clearing", struct order_state, clearing, FILL),
    MEMBER("version", ID, struct order_state, version),
    MEMBER("createDate", TIME, struct order_state, create_date),
    MEMBER("updateDate", TIME, struct order_state, update_date),
    MEMBER("actor", TEXT, struct order_state, actor),
    MEMBER_END,
};
/* An order event's data is the order's state with two members more, at the same level. */
static const struct member CAUSE[] = {
    MEMBER("matchId", UUID_OR_NULL, struct order_event, match_id),
    MEMBER_PART("fill", struct order_event, fill, FILL),
    MEMBER_END,
};

void order_event_encode(struct buf *out, const struct order_event *e)
{
    struct json_out o = json_out(out);
    json_open(&o, NULL, '{');
    members_put(&o, ORDER, &e->order);
    members_put(&o, CAUSE, e);
    json_close(&o, '}');
}

enum err order_event_decode(const struct json *data, struct arena *arena, struct order_event *ret, struct fault *fault)
{
    enum err e = members_get(data, "", ORDER, arena, &ret->order, fault);
    return e != ERR_OK ? e : members_get(data, "", CAUSE, arena, ret, fault);
}

/* ---- match.refused ---- */

static const struct member REFUSED[] = {
    MEMBER("matchId", UUID, struct match_refused, match_id),
    MEMBER("orderId", UUID, struct match_refused, order_id),
    MEMBER("code", TEXT, struct match_refused, code),
    MEMBER_END,
};
static const struct member REFUSED_ORDER[] = {
    MEMBER_PART("order", struct match_refused, order, ORDER),
    MEMBER_END,
};

void match_refused_encode(struct buf *out, const struct match_refused *e)
{
    struct json_out o = json_out(out);
    json_open(&o, NULL, '{');
    members_put(&o, REFUSED, e);
    if (e->has_order)
        members_put(&o, REFUSED_ORDER, e);
    else
        json_put_null(&o, "order");
    json_close(&o, '}');
}

enum err match_refused_decode(const struct json *data, struct arena *arena, struct match_refused *ret,
                              struct fault *fault)
{
    enum err e = members_get(data, "", REFUSED, arena, ret, fault);
    if (e != ERR_OK)
        return e;
    const struct json *order = json_get(data, "order");
    ret->has_order = order != NULL && json_type(order) != JSON_NULL;
    return ret->has_order ? members_get(data, "", REFUSED_ORDER, arena, ret, fault) : ERR_OK;
}

/* ---- barrier.reached ---- */

static const struct member BARRIER[] = {
    MEMBER("barrierId", UUID, struct barrier_reached, barrier_id),
    MEMBER_END,
};
static const struct member MARK[] = {
    MEMBER("lane", INT, struct barrier_mark, lane),
    MEMBER("partition", INT, struct barrier_mark, partition),
    MEMBER("partSeq", SEQUENCE, struct barrier_mark, part_seq),
    MEMBER_END,
};

void barrier_reached_encode(struct buf *out, const struct barrier_reached *e)
{
    struct json_out o = json_out(out);
    json_open(&o, NULL, '{');
    members_put(&o, BARRIER, e);
    json_open(&o, "marks", '[');
    for (size_t i = 0; i < e->count; i++) {
        json_open(&o, NULL, '{');
        members_put(&o, MARK, &e->marks[i]);
        json_close(&o, '}');
    }
    json_close(&o, ']');
    json_close(&o, '}');
}

static enum err marks_get(const struct json *marks, struct barrier_mark *ret_marks, size_t count, struct fault *fault)
{
    for (size_t i = 0; i < count; i++) {
        char path[MEMBER_PATH_MAX];
        snprintf(path, sizeof path, "marks[%zu].", i);
        enum err e = members_get(json_at(marks, i), path, MARK, NULL, &ret_marks[i], fault);
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

enum err barrier_reached_decode(const struct json *data, struct arena *arena, struct barrier_reached *ret,
                                struct fault *fault)
{
    enum err e = members_get(data, "", BARRIER, arena, ret, fault);
    if (e != ERR_OK)
        return e;

    const struct json *marks = json_get(data, "marks");
    if (marks == NULL || json_type(marks) != JSON_ARRAY || json_count(marks) > BARRIER_MARKS_MAX)
        return fault_set(fault, ERR_INVALID, "marks: must be a list of at most %d", BARRIER_MARKS_MAX);
    ret->count = json_count(marks);
    ret->marks = ARENA_ARRAY(arena, struct barrier_mark, ret->count);
    return marks_get(marks, ret->marks, ret->count, fault);
}
