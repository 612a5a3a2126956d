#include "api.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "books.h"
#include "commands.h"
#include "store.h"
#include "svc/audit.h"
#include "svc/customers.h"
#include "svc/order_form.h"

#define ASSETS_PATH "/api/v1/assets"
enum { LIMIT_DEFAULT = 50, LIMIT_MAX = 200, PAGE_CURSOR_MAX = 96 };

static void write_holding(struct json_out *o, const struct holding *h)
{
    json_open(o, NULL, '{');
    json_put_int(o, "customerId", h->owner);
    json_put_text(o, "assetName", h->asset);
    json_put_decimal(o, "size", h->size);
    json_put_decimal(o, "usableSize", h->usable);
    json_put_decimal(o, "reservedSize", h->size - h->usable);
    json_close(o, '}');
}

static void reply_holding(struct call *call, int status, const struct holding *h)
{
    struct json_out o = json_out(&call->out);
    write_holding(&o, h);
    call_reply(call, status);
}

/* ---- page cursors: "<kind> <number> <text>" with a check against slips, in base64url ---- */

static const char *page_cursor(struct call *call, int64_t number, const char *text)
{
    char plain[PAGE_CURSOR_MAX];
    int len = snprintf(plain, sizeof plain, "%lld %s", (long long)number, text);
    uint32_t check = (uint32_t)hash_fnv1a(plain, (size_t)len);
    char *whole = arena_printf(&call->arena, "%08x %s", check, plain);
    char *encoded = arena_alloc(&call->arena, PAGE_CURSOR_MAX * 2);
    str_base64url_encode(whole, strlen(whole), encoded);
    return encoded;
}

static enum err page_cursor_decode(struct call *call, const char *text, int64_t *ret_number, const char **ret_text)
{
    *ret_number = 0;
    *ret_text = NULL;
    if (!text)
        return ERR_OK;

    unsigned char *plain = arena_alloc(&call->arena, PAGE_CURSOR_MAX + 1);
    size_t len;
    bool ok = str_base64url_decode(str_of(text), plain, PAGE_CURSOR_MAX, &len) && len > 9 && plain[8] == ' ' &&
              !memchr(plain, 0, len);
    const char *body = (const char *)plain + 9;
    const char *space = ok ? strchr(body, ' ') : NULL;
    char check[9];
    if (space) {
        snprintf(check, sizeof check, "%08x", (uint32_t)hash_fnv1a(body, len - 9));
        ok = memcmp(check, plain, 8) == 0 && str_to_i64((struct str){body, (size_t)(space - body)}, ret_number);
    }
    if (!space || !ok)
        return field_error_add(&call->errors, "?cursor", "is not a cursor of this list");
    *ret_text = space + 1;
    return ERR_OK;
}

/* Whose assets may be read: an admin must name one but for the list, where 0 is everybody. */
static enum err readable_customer(struct call *call, int64_t named, int64_t *ret_customer_id)
{
    return call_customer(call, named, "?customerId", ret_customer_id);
}

/* ---- GET /assets ---- */

struct list_query {
    int64_t customer_id, limit;
    const char *asset, *cursor;
    bool non_zero_only;
};
static const struct field LIST_FIELDS[] = {
    {.name = "customerId", .kind = FIELD_ID, .offset = offsetof(struct list_query, customer_id)},
    {.name = "assetName",
     .kind = FIELD_TEXT,
     .offset = offsetof(struct list_query, asset),
     .min = 1,
     .max = 200,
     .check = field_check_asset},
    {.name = "nonZeroOnly", .kind = FIELD_BOOL, .offset = offsetof(struct list_query, non_zero_only)},
    {.name = "cursor",
     .kind = FIELD_TEXT,
     .offset = offsetof(struct list_query, cursor),
     .min = 1,
     .max = PAGE_CURSOR_MAX},
    {.name = "limit", .kind = FIELD_INT, .offset = offsetof(struct list_query, limit), .min = 1, .max = LIMIT_MAX},
    FIELD_END,
};

static enum err query_list(struct call *call, struct db *db)
{
    const struct asset_filter *filter = call->state;
    struct holding_list list;
    enum err e = store_read_assets(db, &call->arena, filter, &list, &call->fault);
    if (e)
        return e;

    struct json_out o = json_out(&call->out);
    json_open(&o, NULL, '{');
    json_open(&o, "items", '[');
    for (size_t i = 0; i < list.count; i++)
        write_holding(&o, &list.items[i]);
    json_close(&o, ']');
    const struct holding *last = list.more ? &list.items[list.count - 1] : NULL;
    json_put_text(&o, "nextCursor", last ? page_cursor(call, last->owner, last->asset) : NULL);
    json_close(&o, '}');
    call_reply(call, 200);
    return ERR_OK;
}

static enum err on_list(struct call *call)
{
    struct list_query q = {.limit = LIMIT_DEFAULT};
    enum err e = call_query(call, LIST_FIELDS, &q);
    if (e)
        return e;

    struct asset_filter *f = ARENA_NEW(&call->arena, struct asset_filter);
    *f = (struct asset_filter){
        .customer_id = q.customer_id, .asset = q.asset, .non_zero_only = q.non_zero_only, .limit = q.limit};
    e = page_cursor_decode(call, q.cursor, &f->after_customer, &f->after_asset);
    if (!e && call->claims.role != ROLE_ADMIN)
        e = readable_customer(call, q.customer_id, &f->customer_id);
    if (e)
        return e;
    call->state = f;
    return readers_submit(call_service(call)->readers, call, query_list);
}

/* ---- GET /assets/{assetName}, /assets/{assetName}/entries ---- */

struct one_query {
    int64_t customer_id, limit, before_version;
    const char *asset, *cursor;
};
static const struct field ONE_FIELDS[] = {
    {.name = "customerId", .kind = FIELD_ID, .offset = offsetof(struct one_query, customer_id)},
    FIELD_END,
};
static const struct field ENTRIES_FIELDS[] = {
    {.name = "customerId", .kind = FIELD_ID, .offset = offsetof(struct one_query, customer_id)},
    {.name = "cursor",
     .kind = FIELD_TEXT,
     .offset = offsetof(struct one_query, cursor),
     .min = 1,
     .max = PAGE_CURSOR_MAX},
    {.name = "limit", .kind = FIELD_INT, .offset = offsetof(struct one_query, limit), .min = 1, .max = LIMIT_MAX},
    FIELD_END,
};

/* The asset in the path, as stored; a name that can't be one is simply not there. */
static enum err path_asset(struct call *call, const char **ret_asset)
{
    const char *text = arena_strndup(&call->arena, call->params[0].data, call->params[0].len);
    if (field_check_asset(&call->arena, text, ret_asset))
        return fault_set(&call->fault, ERR_NOT_FOUND, "there is no such asset");
    return ERR_OK;
}

static enum err query_one(struct call *call, struct db *db)
{
    const struct one_query *q = call->state;
    struct holding h;
    enum err e = store_read_asset(db, &call->arena, q->customer_id, q->asset, &h, &call->fault);
    if (!e)
        reply_holding(call, 200, &h);
    return e;
}

static void write_line_json(struct json_out *o, const struct statement_line *l)
{
    json_open(o, NULL, '{');
    json_put_uuid(o, "id", l->id);
    json_put_time(o, "at", l->at);
    json_put_text(o, "type", l->type);
    json_put_decimal(o, "amount", l->amount);
    json_put_decimal(o, "usableAmount", l->usable_amount);
    json_put_decimal(o, "size", l->size);
    json_put_decimal(o, "usableSize", l->usable);
    json_put_text(o, "causeType", l->cause_type);
    json_put_uuid(o, "causeId", l->cause_id);
    json_close(o, '}');
}

static void write_json(struct call *call, const struct statement *s)
{
    struct json_out o = json_out(&call->out);
    json_open(&o, NULL, '{');
    json_open(&o, "items", '[');
    for (size_t i = 0; i < s->count; i++)
        write_line_json(&o, &s->items[i]);
    json_close(&o, ']');
    json_put_text(&o, "nextCursor", s->more ? page_cursor(call, s->items[s->count - 1].version, "") : NULL);
    json_close(&o, '}');
}

/* RFC 4180. No value of ours holds a comma or a quote. The next page's address goes into a Link header (RFC 8288). */
static void write_csv(struct call *call, const struct one_query *q, const struct statement *s)
{
    struct buf *out = &call->out;
    buf_str(out, "id,at,type,amount,usableAmount,size,usableSize,causeType,causeId\r\n");
    for (size_t i = 0; i < s->count; i++) {
        const struct statement_line *l = &s->items[i];
        char id[UUID_TEXT_MAX], cause[UUID_TEXT_MAX], at[CLOCK_TEXT_MAX];
        char amount[DECIMAL_TEXT_MAX], usable_amount[DECIMAL_TEXT_MAX], size[DECIMAL_TEXT_MAX],
            usable[DECIMAL_TEXT_MAX];
        uuid_format(l->id, id);
        uuid_format(l->cause_id, cause);
        clock_format(l->at, at);
        decimal_format(l->amount, amount);
        decimal_format(l->usable_amount, usable_amount);
        decimal_format(l->size, size);
        decimal_format(l->usable, usable);
        buf_printf(out, "%s,%s,%s,%s,%s,%s,%s,%s,%s\r\n", id, at, l->type, amount, usable_amount, size, usable,
                   l->cause_type, cause);
    }
    call->content_type = "text/csv; charset=utf-8";
    if (s->more)
        call_reply_header(call, "Link",
                          arena_printf(&call->arena, "<%s?customerId=%lld&limit=%lld&cursor=%s>; rel=\"next\"",
                                       call->path, (long long)q->customer_id, (long long)q->limit,
                                       page_cursor(call, s->items[s->count - 1].version, "")));
}

static enum err query_entries(struct call *call, struct db *db)
{
    const struct one_query *q = call->state;
    struct holding h;
    struct statement s;
    enum err e = store_read_asset(db, &call->arena, q->customer_id, q->asset, &h, &call->fault);
    if (!e)
        e = store_read_statement(db, &call->arena, q->customer_id, q->asset, q->before_version, q->limit, &s,
                                 &call->fault);
    if (e)
        return e;
    if (call->wants_csv)
        write_csv(call, q, &s);
    else
        write_json(call, &s);
    call_reply(call, 200);
    return ERR_OK;
}

static enum err read_one(struct call *call, const struct field *fields, reader_query *query)
{
    struct one_query *q = ARENA_NEW(&call->arena, struct one_query);
    q->limit = LIMIT_DEFAULT;
    const char *ignored;
    enum err e = path_asset(call, &q->asset);
    if (!e)
        e = call_query(call, fields, q);
    if (!e)
        e = page_cursor_decode(call, q->cursor, &q->before_version, &ignored);
    if (!e)
        e = readable_customer(call, q->customer_id, &q->customer_id);
    if (e)
        return e;
    call->state = q;
    return readers_submit(call_service(call)->readers, call, query);
}

static enum err on_get(struct call *call)
{
    return read_one(call, ONE_FIELDS, query_one);
}

static enum err on_entries(struct call *call)
{
    return read_one(call, ENTRIES_FIELDS, query_entries);
}

/* ---- POST /orders/estimate ---- */

struct estimate {
    int64_t customer_id;
    const char *asset;
    decimal_t required;
};

static enum err query_estimate(struct call *call, struct db *db)
{
    const struct estimate *q = call->state;
    bool known = q->customer_id == call->claims.customer_id;
    enum err e = ERR_OK;
    if (!known)
        e = store_read_customer_known(db, &call->arena, q->customer_id, &known, &call->fault);
    if (!e && !known)
        e = fault_set(&call->fault, ERR_NOT_FOUND, "there is no customer %lld", (long long)q->customer_id);
    if (e)
        return e;

    struct holding h = {.usable = 0};
    e = store_read_asset(db, &call->arena, q->customer_id, q->asset, &h, &call->fault);
    if (e && e != ERR_NOT_FOUND)
        return e;
    decimal_t shortfall = q->required > h.usable ? q->required - h.usable : 0;
    struct json_out o = json_out(&call->out);
    json_open(&o, NULL, '{');
    json_put_text(&o, "assetName", q->asset);
    json_put_decimal(&o, "required", q->required);
    json_put_decimal(&o, "usable", h.usable);
    json_put_decimal(&o, "shortfall", shortfall);
    json_put_bool(&o, "acceptable", shortfall == 0);
    json_close(&o, '}');
    call_reply(call, 200);
    return ERR_OK;
}

static enum err on_estimate(struct call *call)
{
    struct order_form form;
    struct estimate *q = ARENA_NEW(&call->arena, struct estimate);
    enum err e = order_form_read(call, &form);
    if (e)
        return e;

    struct order_state order = {.asset = form.asset,
                                .side = (enum order_side)form.side,
                                .size = form.size,
                                .price = form.price,
                                .status = ORDER_NEW};
    e = books_required(&order, &q->required);
    if (e)
        return e;
    q->customer_id = form.customer_id;
    q->asset = books_reserved_asset(&order);
    call->state = q;
    return readers_submit(call_service(call)->readers, call, query_estimate);
}

/* ---- POST /assets ---- */

static const struct field BRING_IN_FIELDS[] = {
    {.name = "customerId", .kind = FIELD_ID, .offset = offsetof(struct bring_in, customer_id), .flags = FIELD_REQUIRED},
    {.name = "assetName",
     .kind = FIELD_TEXT,
     .offset = offsetof(struct bring_in, asset),
     .flags = FIELD_REQUIRED,
     .min = 1,
     .max = 200,
     .check = field_check_asset},
    {.name = "size",
     .kind = FIELD_DECIMAL,
     .offset = offsetof(struct bring_in, size),
     .flags = FIELD_REQUIRED | FIELD_POSITIVE,
     .places = DECIMAL_SIZE_PLACES},
    FIELD_END,
};

static enum err on_bring_in(struct call *call)
{
    struct bring_in *cmd = ARENA_NEW(&call->arena, struct bring_in);
    enum err e = call_body(call, BRING_IN_FIELDS, cmd);
    if (e)
        return e;
    if (cmd->size > DECIMAL_VALUE_MAX)
        return field_error_add(&call->errors, "/size", "must be at most 1000000000");
    if (strcmp(cmd->asset, BOOKS_MONEY) == 0)
        return fault_set(&call->fault, ERR_ASSET_NOT_TRADABLE, "TRY comes in by a deposit");

    cmd->actor = service_actor(call);
    cmd->id = uuid_v7();
    char size[DECIMAL_TEXT_MAX];
    decimal_format(cmd->size, size);
    const char *meaning = arena_printf(&call->arena, "%s %s", cmd->asset, size);
    struct lane_item *item = service_command(call, &ASSET_BRING_IN, cmd, cmd->customer_id, cmd->id, meaning);
    item->patient_until = clock_mono_ns() + CUSTOMERS_PATIENCE_MS * NS_PER_MS;
    return service_submit(call, item, NULL);
}

static enum err query_brought_in(struct call *call, struct db *db)
{
    const struct bring_in *cmd = call->state;
    struct holding h;
    enum err e = store_read_asset(db, &call->arena, cmd->customer_id, cmd->asset, &h, &call->fault);
    if (e)
        return e;
    call_reply_header(call, "Idempotency-Replayed", "true");
    reply_holding(call, 201, &h);
    return ERR_OK;
}

void api_answer_bring_in(struct lane_item *it)
{
    struct call *call = it->call;
    if (!it->replayed) {
        reply_holding(call, 201, it->result);
        call_finish(call, ERR_OK);
        return;
    }
    /* The row as it is now; the lane has only loaded what this batch wanted. */
    call->state = it->args;
    readers_pass(call_service(call)->readers, call, query_brought_in);
}

const struct http_route ASSET_SVC_ROUTES[] = {
    {HTTP_GET, ASSETS_PATH, WHO_USER, on_list, 0},
    {HTTP_POST, ASSETS_PATH, WHO_ADMIN, on_bring_in, ROUTE_IDEMPOTENT},
    {HTTP_GET, ASSETS_PATH "/{assetName}", WHO_USER, on_get, 0},
    {HTTP_GET, ASSETS_PATH "/{assetName}/entries", WHO_USER, on_entries, ROUTE_CSV},
    {HTTP_POST, "/api/v1/orders/estimate", WHO_USER, on_estimate, 0},
    AUDIT_ROUTE,
    {HTTP_GET, NULL, WHO_ANYONE, NULL, 0},
};
