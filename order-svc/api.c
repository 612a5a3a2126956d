#include "api.h"

#include <stddef.h>

#include "commands.h"
#include "store.h"
#include "svc/audit.h"
#include "svc/customers.h"
#include "svc/order_form.h"

#define ORDERS_PATH "/api/v1/orders"
enum { LIMIT_DEFAULT = 50, LIMIT_MAX = 200 };

/* ---- encoding ---- */

static void write_order(struct json_out *o, const char *name, const struct order *order)
{
    const struct order_state *s = &order->state;
    json_open(o, name, '{');
    json_put_uuid(o, "id", s->id);
    json_put_int(o, "customerId", s->customer_id);
    json_put_text(o, "clientOrderId", s->client_order_id);
    json_put_text(o, "assetName", s->asset);
    json_put_text(o, "orderSide", ORDER_SIDES[s->side]);
    json_put_decimal(o, "size", s->size);
    json_put_decimal(o, "price", s->price);
    json_put_text(o, "status", ORDER_STATUSES[s->status]);
    json_put_text(o, "statusReason", s->status_reason);
    json_put_decimal(o, "matchedSize", order_matched_size(s));
    json_put_decimal(o, "remainingSize", order_remaining(order));
    json_put_decimal(o, "matchedValue", order_matched_value(s));
    json_put_time(o, "createDate", s->create_date);
    json_put_time(o, "updateDate", s->update_date);
    json_put_int(o, "version", s->version);
    json_close(o, '}');
}

static void reply_order(struct call *call, int status, const struct order *order)
{
    struct json_out o = json_out(&call->out);
    write_order(&o, NULL, order);
    call_reply(call, status);
}

static const char *order_path(struct call *call, struct uuid id)
{
    char text[UUID_TEXT_MAX];
    uuid_format(id, text);
    return arena_printf(&call->arena, ORDERS_PATH "/%s", text);
}

static void mark_replay(const struct waiter *w)
{
    if (w->replayed)
        call_reply_header(w->call, "Idempotency-Replayed", "true");
}

/* ---- POST /orders ---- */

static void reply_rejected(struct call *call, const struct order *order)
{
    struct json_out o = call_problem(call);
    json_put_text(&o, "assetName", order->state.side == ORDER_BUY ? "TRY" : order->state.asset);
    json_put_decimal(&o, "required", order->required);
    json_put_decimal(&o, "usable", order->usable);
    json_put_uuid(&o, "orderId", order->state.id);
    call_finish(call, fault_set(&call->fault, ERR_INSUFFICIENT, "the order needs more than is usable"));
}

static bool place_settled(struct waiter *w, const void *resource)
{
    const struct order *order = resource;
    if (order->state.status == ORDER_NEW)
        return false;
    if (order->state.status == ORDER_REJECTED) {
        reply_rejected(w->call, order);
        return true;
    }
    mark_replay(w);
    call_reply_header(w->call, "Location", order_path(w->call, order->state.id));
    reply_order(w->call, 201, order);
    call_finish(w->call, ERR_OK);
    return true;
}

static void late(struct waiter *w)
{
    service_accepted(w, ORDERS_PATH);
}

static struct waiter *new_waiter(struct call *call, struct uuid id, bool (*settled)(struct waiter *, const void *))
{
    struct waiter *w = ARENA_NEW(&call->arena, struct waiter);
    *w = (struct waiter){.call = call, .id = id, .settled = settled, .late = late};
    return w;
}

static const char *place_meaning(struct call *call, const struct place_order *cmd)
{
    char size[DECIMAL_TEXT_MAX], price[DECIMAL_TEXT_MAX];
    decimal_format(cmd->size, size);
    decimal_format(cmd->price, price);
    return arena_printf(&call->arena, "%s %s %s @ %s %s", ORDER_SIDES[cmd->side], size, cmd->asset, price,
                        cmd->client_order_id ? cmd->client_order_id : "");
}

static enum err on_place(struct call *call)
{
    struct order_form form;
    enum err e = order_form_read(call, &form);
    if (e)
        return e;
    struct place_order *cmd = ARENA_NEW(&call->arena, struct place_order);
    *cmd = (struct place_order){form.customer_id, form.asset, form.client_order_id, form.side,
                                form.size,        form.price, service_actor(call),  uuid_v7()};

    struct lane_item *item = service_command(call, &ORDER_PLACE, cmd, cmd->customer_id, cmd->id,
                                             place_meaning(call, cmd));
    item->patient_until = clock_mono_ns() + CUSTOMERS_PATIENCE_MS * NS_PER_MS;
    return service_submit(call, item, new_waiter(call, cmd->id, place_settled));
}

/* ---- GET /orders, /orders/{id}, /orders/{id}/history ---- */

struct list_query {
    int64_t customer_id;
    unsigned statuses;
    const char *asset, *client_order_id, *cursor;
    int side;
    time_us_t from, to;
    int64_t limit;
};
static const struct field LIST_FIELDS[] = {
    {.name = "customerId", .kind = FIELD_ID, .offset = offsetof(struct list_query, customer_id)},
    {.name = "status",
     .kind = FIELD_CHOICES,
     .offset = offsetof(struct list_query, statuses),
     .choices = ORDER_STATUSES},
    {.name = "assetName",
     .kind = FIELD_TEXT,
     .offset = offsetof(struct list_query, asset),
     .min = 1,
     .max = 200,
     .check = field_check_asset},
    {.name = "orderSide", .kind = FIELD_CHOICE, .offset = offsetof(struct list_query, side), .choices = ORDER_SIDES},
    {.name = "clientOrderId",
     .kind = FIELD_TEXT,
     .offset = offsetof(struct list_query, client_order_id),
     .min = 1,
     .max = 64,
     .check = field_check_client_order_id},
    {.name = "from", .kind = FIELD_TIME, .offset = offsetof(struct list_query, from)},
    {.name = "to", .kind = FIELD_TIME, .offset = offsetof(struct list_query, to)},
    {.name = "cursor", .kind = FIELD_TEXT, .offset = offsetof(struct list_query, cursor), .min = 1, .max = 64},
    {.name = "limit", .kind = FIELD_INT, .offset = offsetof(struct list_query, limit), .min = 1, .max = LIMIT_MAX},
    FIELD_END,
};

/* Whose orders may be read: an admin's without customerId are everybody's (0). */
static enum err readable_customer(struct call *call, int64_t named, int64_t *ret_customer_id)
{
    if (call->claims.role == ROLE_ADMIN) {
        *ret_customer_id = named;
        return ERR_OK;
    }
    return call_customer(call, named, "?customerId", ret_customer_id);
}

static enum err query_list(struct call *call, struct db *db)
{
    const struct order_filter *filter = call->state;
    struct order_list list;
    enum err e = store_read_orders(db, &call->arena, filter, &list, &call->fault);
    if (e)
        return e;

    struct json_out o = json_out(&call->out);
    json_open(&o, NULL, '{');
    json_open(&o, "items", '[');
    for (size_t i = 0; i < list.count; i++)
        write_order(&o, NULL, &list.items[i]);
    json_close(&o, ']');
    char next[64] = "";
    if (list.more) {
        const struct order_state *last = &list.items[list.count - 1].state;
        cursor_encode(&(struct cursor){.at = last->create_date, .id = last->id}, next);
    }
    json_put_text(&o, "nextCursor", list.more ? next : NULL);
    json_close(&o, '}');
    call_reply(call, 200);
    return ERR_OK;
}

static enum err on_list(struct call *call)
{
    struct list_query q = {.side = -1, .limit = LIMIT_DEFAULT};
    enum err e = call_query(call, LIST_FIELDS, &q);
    if (e)
        return e;

    struct order_filter *f = ARENA_NEW(&call->arena, struct order_filter);
    *f = (struct order_filter){.statuses = q.statuses,
                               .asset = q.asset,
                               .client_order_id = q.client_order_id,
                               .side = q.side,
                               .from = q.from,
                               .to = q.to,
                               .limit = q.limit};
    if (q.from && q.to && q.to < q.from)
        return field_error_add(&call->errors, "?to", "must not be before from");
    e = cursor_decode(q.cursor, &f->after, &call->errors);
    if (!e)
        e = readable_customer(call, q.customer_id, &f->customer_id);
    if (e)
        return e;
    call->state = f;
    return readers_submit(call_service(call)->readers, call, query_list);
}

static int64_t only_of(const struct call *call)
{
    return call->claims.role == ROLE_ADMIN ? 0 : call->claims.customer_id;
}

static enum err query_one(struct call *call, struct db *db)
{
    struct order order;
    enum err e = store_read_order(db, &call->arena, *(struct uuid *)call->state, only_of(call), &order, &call->fault);
    if (!e)
        reply_order(call, 200, &order);
    return e;
}

static enum err query_history(struct call *call, struct db *db)
{
    struct uuid id = *(struct uuid *)call->state;
    struct order order;
    struct order_change *changes;
    size_t count;
    enum err e = store_read_order(db, &call->arena, id, only_of(call), &order, &call->fault);
    if (!e)
        e = store_read_history(db, &call->arena, id, &changes, &count, &call->fault);
    if (e)
        return e;

    struct json_out o = json_out(&call->out);
    json_open(&o, NULL, '{');
    json_open(&o, "items", '[');
    for (size_t i = 0; i < count; i++) {
        json_open(&o, NULL, '{');
        json_put_text(&o, "status", changes[i].status);
        json_put_time(&o, "at", changes[i].at);
        json_put_text(&o, "reason", changes[i].reason);
        json_put_text(&o, "actor", changes[i].actor);
        json_put_int(&o, "version", changes[i].version);
        json_close(&o, '}');
    }
    json_close(&o, ']');
    json_put_null(&o, "nextCursor"); /* an order moves a few times in its life: one page */
    json_close(&o, '}');
    call_reply(call, 200);
    return ERR_OK;
}

static enum err read_by_id(struct call *call, reader_query *query)
{
    static const struct field NO_FIELDS[] = {FIELD_END};
    struct uuid *id = ARENA_NEW(&call->arena, struct uuid);
    enum err e = call_param_uuid(call, 0, id);
    if (!e)
        e = call_query(call, NO_FIELDS, NULL);
    if (e)
        return e;
    call->state = id;
    return readers_submit(call_service(call)->readers, call, query);
}

static enum err on_get(struct call *call)
{
    return read_by_id(call, query_one);
}

static enum err on_history(struct call *call)
{
    return read_by_id(call, query_history);
}

/* ---- DELETE /orders/{id} ---- */

static bool cancel_settled(struct waiter *w, const void *resource)
{
    const struct order *order = resource;
    if (order->state.status != ORDER_CANCELED || order->books_version < order->state.version)
        return false;
    reply_order(w->call, 200, order);
    call_finish(w->call, ERR_OK);
    return true;
}

static enum err on_cancel(struct call *call)
{
    static const struct field NO_FIELDS[] = {FIELD_END};
    struct cancel_order *cmd = ARENA_NEW(&call->arena, struct cancel_order);
    enum err e = call_param_uuid(call, 0, &cmd->id);
    if (!e)
        e = call_query(call, NO_FIELDS, NULL);
    if (e)
        return e;
    cmd->customer_id = only_of(call);
    cmd->actor = service_actor(call);
    struct lane_item *item = service_command(call, &ORDER_CANCEL, cmd, cmd->customer_id, cmd->id, "");
    return service_submit(call, item, new_waiter(call, cmd->id, cancel_settled));
}

/* Already canceled and given back before: nothing will change any more, so look at once. */
void api_answer_cancel(struct lane_item *it)
{
    struct waiters *waiters = call_service(it->call)->waiters;
    const struct order *order = it->result;
    service_await(it); /* the call, and the item in it, may be gone after this */
    if (order && order->books_version >= order->state.version)
        waiters_offer(waiters, order->state.id, order);
}

/* ---- DELETE /orders ---- */

static const struct field CANCEL_ALL_FIELDS[] = {
    {.name = "customerId", .kind = FIELD_ID, .offset = offsetof(struct cancel_orders, customer_id)},
    {.name = "assetName",
     .kind = FIELD_TEXT,
     .offset = offsetof(struct cancel_orders, asset),
     .min = 1,
     .max = 200,
     .check = field_check_asset},
    {.name = "orderSide", .kind = FIELD_CHOICE, .offset = offsetof(struct cancel_orders, side), .choices = ORDER_SIDES},
    FIELD_END,
};

static enum err on_cancel_all(struct call *call)
{
    struct cancel_orders *cmd = ARENA_NEW(&call->arena, struct cancel_orders);
    cmd->side = -1;
    enum err e = call_query(call, CANCEL_ALL_FIELDS, cmd);
    if (!e)
        e = call_customer(call, cmd->customer_id, "?customerId", &cmd->customer_id);
    if (e)
        return e;
    cmd->actor = service_actor(call);
    struct lane_item *item = service_command(call, &ORDER_CANCEL_ALL, cmd, cmd->customer_id, uuid_v7(), "");
    item->patient_until = clock_mono_ns() + CUSTOMERS_PATIENCE_MS * NS_PER_MS;
    return service_submit(call, item, NULL);
}

static bool cancel_all_settled(struct waiter *w, const void *resource)
{
    const struct order *last = resource;
    if (last->books_version < last->state.version)
        return false;
    call_reply(w->call, 200); /* the body was written when they were canceled */
    call_finish(w->call, ERR_OK);
    return true;
}

static void cancel_all_late(struct waiter *w)
{
    call_reply(w->call, 202);
    call_finish(w->call, ERR_OK);
}

/* The books answer a customer's cancels in their order: when the last one is given back, all are. */
void api_answer_cancel_all(struct lane_item *it)
{
    struct call *call = it->call;
    const struct canceled_orders *canceled = it->result;
    struct json_out o = json_out(&call->out);
    json_open(&o, NULL, '{');
    json_open(&o, "canceled", '[');
    for (size_t i = 0; i < canceled->count; i++)
        write_order(&o, NULL, &canceled->items[i]);
    json_close(&o, ']');
    json_close(&o, '}');
    if (!canceled->count) {
        call_reply(call, 200);
        call_finish(call, ERR_OK);
        return;
    }

    struct waiters *waiters = call_service(call)->waiters;
    struct waiter *w = new_waiter(call, canceled->items[canceled->count - 1].state.id, cancel_all_settled);
    w->late = cancel_all_late;
    enum err e = waiters_add(waiters, w);
    if (e) {
        cancel_all_late(w); /* it is done; only its end can't be waited for */
        return;
    }
    waiters_arm(waiters, w);
}

/* ---- the rest ---- */

enum err api_reread(void *app, struct db *db, const struct uuid *ids, size_t count, struct fault *fault)
{
    struct service *service = app;
    struct arena arena;
    arena_init(&arena);
    struct order_list list = {.count = 0};
    enum err e = store_read_orders_by_id(db, &arena, ids, count, &list, fault);
    for (size_t i = 0; i < list.count; i++)
        waiters_offer(service->waiters, list.items[i].state.id, &list.items[i]);
    arena_done(&arena);
    return e;
}

struct order_gauges {
    struct gauge *count, *age;
};

enum err api_open(struct service *s, struct fault *fault)
{
    (void)fault;
    struct order_gauges *g = mem_alloc(sizeof *g);
    g->count = metrics_gauge(s->metrics, "sagas_open", "Sagas under way, by state.", "saga=\"place\",state=\"NEW\"");
    g->age = metrics_gauge(s->metrics, "sagas_oldest_seconds", "Age of the oldest saga under way.",
                           "saga=\"place\",state=\"NEW\"");
    s->app = g;
    return ERR_OK;
}

void api_close(struct service *s)
{
    mem_free(s->app);
}

void api_measure(void *app, struct db *db)
{
    const struct order_gauges *g = ((struct service *)app)->app;
    int64_t count = 0;
    time_us_t oldest = 0;
    store_measure(db, &count, &oldest);
    gauge_set(g->count, (double)count);
    gauge_set(g->age, oldest ? (double)(clock_now_us() - oldest) / 1e6 : 0);
}

const struct http_route ORDER_SVC_ROUTES[] = {
    {HTTP_POST, ORDERS_PATH, WHO_USER, on_place, ROUTE_IDEMPOTENT},
    {HTTP_GET, ORDERS_PATH, WHO_USER, on_list, 0},
    {HTTP_GET, ORDERS_PATH "/{id}", WHO_USER, on_get, 0},
    {HTTP_GET, ORDERS_PATH "/{id}/history", WHO_USER, on_history, 0},
    {HTTP_DELETE, ORDERS_PATH "/{id}", WHO_USER, on_cancel, 0},
    {HTTP_DELETE, ORDERS_PATH, WHO_USER, on_cancel_all, 0},
    AUDIT_ROUTE,
    {HTTP_GET, NULL, WHO_ANYONE, NULL, 0},
};
