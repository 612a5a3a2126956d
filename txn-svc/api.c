#include "api.h"

#include <stddef.h>

#include "commands.h"
#include "store.h"
#include "svc/audit.h"
#include "svc/customers.h"

#define TRANSACTIONS_PATH "/api/v1/transactions"
enum { LIMIT_DEFAULT = 50, LIMIT_MAX = 200 };

/* ---- encoding ---- */

static void write_transfer(struct json_out *o, const struct transfer *t)
{
    char masked[IBAN_MASKED_MAX];
    json_open(o, NULL, '{');
    json_put_uuid(o, "id", t->id);
    json_put_int(o, "customerId", t->customer_id);
    json_put_text(o, "type", TRANSFER_TYPES[t->type]);
    json_put_text(o, "assetName", "TRY");
    json_put_decimal(o, "amount", t->amount);
    if (t->iban)
        transfer_mask_iban(t->iban, masked);
    json_put_text(o, "iban", t->iban ? masked : NULL);
    json_put_text(o, "status", TRANSFER_STATUSES[t->status]);
    json_put_text(o, "statusReason", t->status_reason);
    json_put_time(o, "createDate", t->create_date);
    json_close(o, '}');
}

static void reply_transfer(struct call *call, int status, const struct transfer *t)
{
    struct json_out o = json_out(&call->out);
    write_transfer(&o, t);
    call_reply(call, status);
}

/* ---- POST /transactions/deposits, /transactions/withdrawals ---- */

struct transfer_body {
    decimal_t amount;
    const char *iban;
    int64_t customer_id;
};
#define AMOUNT_FIELD \
    { \
        .name = "amount", .kind = FIELD_DECIMAL, .offset = offsetof(struct transfer_body, amount), \
        .flags = FIELD_REQUIRED | FIELD_POSITIVE, .places = DECIMAL_AMOUNT_PLACES \
    }
#define CUSTOMER_FIELD \
    { \
        .name = "customerId", .kind = FIELD_ID, .offset = offsetof(struct transfer_body, customer_id) \
    }
static const struct field DEPOSIT_FIELDS[] = {AMOUNT_FIELD, CUSTOMER_FIELD, FIELD_END};
static const struct field WITHDRAWAL_FIELDS[] = {
    AMOUNT_FIELD,
    CUSTOMER_FIELD,
    {.name = "iban",
     .kind = FIELD_TEXT,
     .offset = offsetof(struct transfer_body, iban),
     .flags = FIELD_REQUIRED,
     .min = 1,
     .max = 64,
     .check = field_check_iban},
    FIELD_END,
};

static void reply_rejected(struct call *call, const struct transfer *t)
{
    if (t->type == TRANSFER_DEPOSIT) {
        call_finish(call, fault_set(&call->fault, ERR_CONFLICT, "the balance would be too large"));
        return;
    }
    struct json_out o = call_problem(call);
    json_put_text(&o, "assetName", "TRY");
    json_put_decimal(&o, "required", t->required);
    json_put_decimal(&o, "usable", t->usable);
    json_put_uuid(&o, "transactionId", t->id);
    call_finish(call, fault_set(&call->fault, ERR_INSUFFICIENT, "the withdrawal needs more than is usable"));
}

static bool settled(struct waiter *w, const void *resource)
{
    const struct transfer *t = resource;
    if (t->status == TRANSFER_PENDING)
        return false;
    if (t->status == TRANSFER_REJECTED) {
        reply_rejected(w->call, t);
        return true;
    }
    char id[UUID_TEXT_MAX];
    uuid_format(t->id, id);
    if (w->replayed)
        call_reply_header(w->call, "Idempotency-Replayed", "true");
    call_reply_header(w->call, "Location", arena_printf(&w->call->arena, TRANSACTIONS_PATH "/%s", id));
    reply_transfer(w->call, 201, t);
    call_finish(w->call, ERR_OK);
    return true;
}

static void late(struct waiter *w)
{
    service_accepted(w, TRANSACTIONS_PATH);
}

static const char *meaning_of(struct call *call, const struct transfer *t)
{
    char amount[DECIMAL_TEXT_MAX];
    decimal_format(t->amount, amount);
    return arena_printf(&call->arena, "%s %s", amount, t->iban ? t->iban : "");
}

static enum err request(struct call *call, enum transfer_type type, const struct field *fields)
{
    struct transfer_body body = {.iban = NULL};
    struct transfer *t = ARENA_NEW(&call->arena, struct transfer);
    enum err e = call_body(call, fields, &body);
    if (!e && body.amount > DECIMAL_VALUE_MAX)
        e = field_error_add(&call->errors, "/amount", "must be at most 1000000000");
    if (!e)
        e = call_customer(call, body.customer_id, "/customerId", &t->customer_id);
    if (e)
        return e;
    t->id = uuid_v7();
    t->type = type;
    t->amount = body.amount;
    t->iban = body.iban;
    t->actor = service_actor(call);

    struct waiter *w = ARENA_NEW(&call->arena, struct waiter);
    *w = (struct waiter){.call = call, .id = t->id, .settled = settled, .late = late};
    struct lane_item *item = service_command(call, &TXN_REQUEST, t, t->customer_id, t->id, meaning_of(call, t));
    item->patient_until = clock_mono_ns() + CUSTOMERS_PATIENCE_MS * NS_PER_MS;
    return service_submit(call, item, w);
}

static enum err on_deposit(struct call *call)
{
    return request(call, TRANSFER_DEPOSIT, DEPOSIT_FIELDS);
}

static enum err on_withdraw(struct call *call)
{
    return request(call, TRANSFER_WITHDRAWAL, WITHDRAWAL_FIELDS);
}

/* ---- GET /transactions, /transactions/{id} ---- */

struct list_query {
    int64_t customer_id, limit;
    int type;
    unsigned statuses;
    time_us_t from, to;
    const char *cursor;
};
static const struct field LIST_FIELDS[] = {
    {.name = "customerId", .kind = FIELD_ID, .offset = offsetof(struct list_query, customer_id)},
    {.name = "type", .kind = FIELD_CHOICE, .offset = offsetof(struct list_query, type), .choices = TRANSFER_TYPES},
    {.name = "status",
     .kind = FIELD_CHOICES,
     .offset = offsetof(struct list_query, statuses),
     .choices = TRANSFER_STATUSES},
    {.name = "from", .kind = FIELD_TIME, .offset = offsetof(struct list_query, from)},
    {.name = "to", .kind = FIELD_TIME, .offset = offsetof(struct list_query, to)},
    {.name = "cursor", .kind = FIELD_TEXT, .offset = offsetof(struct list_query, cursor), .min = 1, .max = 64},
    {.name = "limit", .kind = FIELD_INT, .offset = offsetof(struct list_query, limit), .min = 1, .max = LIMIT_MAX},
    FIELD_END,
};

static enum err query_list(struct call *call, struct db *db)
{
    const struct transfer_filter *filter = call->state;
    struct transfer_list list;
    enum err e = store_read_transfers(db, &call->arena, filter, &list, &call->fault);
    if (e)
        return e;

    struct json_out o = json_out(&call->out);
    json_open(&o, NULL, '{');
    json_open(&o, "items", '[');
    for (size_t i = 0; i < list.count; i++)
        write_transfer(&o, &list.items[i]);
    json_close(&o, ']');
    char next[64] = "";
    if (list.more) {
        const struct transfer *last = &list.items[list.count - 1];
        cursor_encode(&(struct cursor){.at = last->create_date, .id = last->id}, next);
    }
    json_put_text(&o, "nextCursor", list.more ? next : NULL);
    json_close(&o, '}');
    call_reply(call, 200);
    return ERR_OK;
}

static enum err on_list(struct call *call)
{
    struct list_query q = {.type = -1, .limit = LIMIT_DEFAULT};
    enum err e = call_query(call, LIST_FIELDS, &q);
    if (e)
        return e;
    if (q.from && q.to && q.to < q.from)
        return field_error_add(&call->errors, "?to", "must not be before from");

    struct transfer_filter *f = ARENA_NEW(&call->arena, struct transfer_filter);
    *f = (struct transfer_filter){.customer_id = q.customer_id,
                                  .type = q.type,
                                  .statuses = q.statuses,
                                  .from = q.from,
                                  .to = q.to,
                                  .limit = q.limit};
    e = cursor_decode(q.cursor, &f->after, &call->errors);
    if (!e && call->claims.role != ROLE_ADMIN) /* an admin's without customerId are everybody's */
        e = call_customer(call, q.customer_id, "?customerId", &f->customer_id);
    if (e)
        return e;
    call->state = f;
    return readers_submit(call_service(call)->readers, call, query_list);
}

static enum err query_one(struct call *call, struct db *db)
{
    int64_t only = call->claims.role == ROLE_ADMIN ? 0 : call->claims.customer_id;
    struct transfer t;
    enum err e = store_read_transfer(db, &call->arena, *(struct uuid *)call->state, only, &t, &call->fault);
    if (!e)
        reply_transfer(call, 200, &t);
    return e;
}

static enum err on_get(struct call *call)
{
    static const struct field NO_FIELDS[] = {FIELD_END};
    struct uuid *id = ARENA_NEW(&call->arena, struct uuid);
    enum err e = call_param_uuid(call, 0, id);
    if (!e)
        e = call_query(call, NO_FIELDS, NULL);
    if (e)
        return e;
    call->state = id;
    return readers_submit(call_service(call)->readers, call, query_one);
}

/* ---- the rest ---- */

enum err api_reread(void *app, struct db *db, const struct uuid *ids, size_t count, struct fault *fault)
{
    struct service *service = app;
    struct arena arena;
    arena_init(&arena);
    struct transfer_list list = {.count = 0};
    enum err e = store_read_transfers_by_id(db, &arena, ids, count, &list, fault);
    for (size_t i = 0; i < list.count; i++)
        waiters_offer(service->waiters, list.items[i].id, &list.items[i]);
    arena_done(&arena);
    return e;
}

struct transfer_gauges {
    struct gauge *count, *age;
};

enum err api_open(struct service *s, struct fault *fault)
{
    (void)fault;
    struct transfer_gauges *g = mem_alloc(sizeof *g);
    g->count = metrics_gauge(s->metrics, "sagas_open", "Sagas under way, by state.",
                             "saga=\"transfer\",state=\"PENDING\"");
    g->age = metrics_gauge(s->metrics, "sagas_oldest_seconds", "Age of the oldest saga under way.",
                           "saga=\"transfer\",state=\"PENDING\"");
    s->app = g;
    return ERR_OK;
}

void api_close(struct service *s)
{
    mem_free(s->app);
}

void api_measure(void *app, struct db *db)
{
    const struct transfer_gauges *g = ((struct service *)app)->app;
    int64_t count = 0;
    time_us_t oldest = 0;
    store_measure(db, &count, &oldest);
    gauge_set(g->count, (double)count);
    gauge_set(g->age, oldest ? (double)(clock_now_us() - oldest) / 1e6 : 0);
}

const struct http_route TXN_SVC_ROUTES[] = {
    {HTTP_POST, TRANSACTIONS_PATH "/deposits", WHO_USER, on_deposit, ROUTE_IDEMPOTENT},
    {HTTP_POST, TRANSACTIONS_PATH "/withdrawals", WHO_USER, on_withdraw, ROUTE_IDEMPOTENT},
    {HTTP_GET, TRANSACTIONS_PATH, WHO_USER, on_list, 0},
    {HTTP_GET, TRANSACTIONS_PATH "/{id}", WHO_USER, on_get, 0},
    AUDIT_ROUTE,
    {HTTP_GET, NULL, WHO_ANYONE, NULL, 0},
};
