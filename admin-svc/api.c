#include "api.h"

#include <assert.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "store.h"
#include "svc/audit.h"

#define MATCHES_PATH "/api/v1/admin/matches"
enum { LIMIT_DEFAULT = 50, LIMIT_MAX = 200 };

static const char *const MODES[] = {"HOUSE", NULL};
static const struct field NO_FIELDS[] = {FIELD_END};

/* ---- encoding ---- */

static void write_leg(struct json_out *o, const struct leg *leg)
{
    json_open(o, NULL, '{');
    json_put_uuid(o, "orderId", leg->order_id);
    json_put_text(o, "outcome", OUTCOMES[leg->outcome]); /* null while it is under way */
    json_put_decimal(o, "size", leg->size);
    json_put_decimal(o, "price", leg->price);
    if (leg->code)
        json_put_text(o, "code", leg->code);
    json_close(o, '}');
}

static void write_legs(struct json_out *o, const struct leg *legs, size_t count)
{
    json_open(o, "results", '[');
    for (size_t i = 0; i < count; i++)
        write_leg(o, &legs[i]);
    json_close(o, ']');
}

static void write_match(struct json_out *o, const struct match *m)
{
    json_put_uuid(o, "matchId", m->id);
    json_put_text(o, "mode", MODES[0]);
    json_put_text(o, "assetName", m->asset);
    json_put_text(o, "status", m->state == MATCH_DONE ? "COMPLETED" : "PENDING");
    json_put_int(o, "orders", m->legs);
    json_put_text(o, "actor", m->actor);
    json_put_time(o, "createDate", m->create_date);
    if (m->complete_date)
        json_put_time(o, "completeDate", m->complete_date);
    else
        json_put_null(o, "completeDate");
}

/* ---- what a finished match is answered with ---- */

struct match_call {
    struct match_command cmd;
    bool single; /* POST /admin/orders/{id}/match: a refusal is the answer */
    bool replayed;
    struct uuid match_id; /* a replay's: the first request's */
};

static enum err refuse_single(struct call *call, const struct leg *leg)
{
    if (strcmp(leg->code, err_code(ERR_ORDER_NOT_FOUND)) == 0)
        return fault_set(&call->fault, ERR_ORDER_NOT_FOUND, "there is no such order");
    return fault_set(&call->fault, ERR_ORDER_NOT_MATCHABLE, "the order is not pending");
}

static enum err query_results(struct call *call, struct db *db)
{
    const struct match_call *mc = call->state;
    struct leg *legs;
    size_t count;
    enum err e = store_read_legs(db, &call->arena, mc->match_id, &legs, &count, &call->fault);
    if (e)
        return e;
    if (mc->single && count == 1 && legs[0].outcome == OUTCOME_REJECTED)
        return refuse_single(call, &legs[0]);

    struct json_out o = json_out(&call->out);
    json_open(&o, NULL, '{');
    json_put_uuid(&o, "matchId", mc->match_id);
    write_legs(&o, legs, count);
    json_close(&o, '}');
    if (mc->replayed)
        call_reply_header(call, "Idempotency-Replayed", "true");
    call_reply(call, 200);
    return ERR_OK;
}

/* Its legs ended in many batches: they are read once, by a reader. */
static bool match_settled(struct waiter *w, const void *resource)
{
    const struct match *m = resource;
    if (m->state != MATCH_DONE)
        return false;
    struct match_call *mc = w->state;
    struct call *call = w->call;
    mc->match_id = m->id;
    mc->replayed = w->replayed;
    call->state = mc;
    readers_pass(call_service(call)->readers, call, query_results);
    return true;
}

static void match_late(struct waiter *w)
{
    service_accepted(w, MATCHES_PATH);
}

static enum err submit(struct call *call, struct match_call *mc, const char *meaning)
{
    mc->cmd.id = uuid_v7();
    mc->cmd.actor = service_actor(call);
    struct waiter *w = ARENA_NEW(&call->arena, struct waiter);
    *w = (struct waiter){.call = call, .id = mc->cmd.id, .state = mc, .settled = match_settled, .late = match_late};
    struct lane_item *item = service_command(call, &ADMIN_MATCH, &mc->cmd, call->claims.customer_id, mc->cmd.id,
                                             meaning);
    return service_submit(call, item, w);
}

/* ---- dryRun ---- */

static const struct book_order *find_order(const struct book_order *orders, size_t count, struct uuid id)
{
    for (size_t i = 0; i < count; i++)
        if (uuid_eq(orders[i].id, id))
            return &orders[i];
    return NULL;
}

static enum err query_dry_run(struct call *call, struct db *db)
{
    const struct match_command *cmd = &((const struct match_call *)call->state)->cmd;
    struct book_order *orders;
    size_t known;
    enum err e = store_read_book(db, &call->arena, cmd->order_ids, cmd->count, cmd->asset, &orders, &known,
                                 &call->fault);
    if (e)
        return e;

    size_t count = cmd->count ? cmd->count : known;
    struct leg *legs = ARENA_ARRAY(&call->arena, struct leg, count + 1);
    for (size_t i = 0; i < count; i++)
        legs[i] = cmd->count ? leg_foresee(find_order(orders, known, cmd->order_ids[i]), cmd->order_ids[i])
                             : leg_foresee(&orders[i], orders[i].id);
    struct json_out o = json_out(&call->out);
    json_open(&o, NULL, '{');
    json_put_null(&o, "matchId");
    json_put_bool(&o, "dryRun", true);
    write_legs(&o, legs, count);
    json_close(&o, '}');
    call_reply(call, 200);
    return ERR_OK;
}

/* ---- POST /admin/matches ---- */

struct match_body {
    struct field_texts order_ids;
    const char *asset;
    int mode;
    bool dry_run;
};
static const struct field MATCH_FIELDS[] = {
    {.name = "orderIds", .kind = FIELD_TEXTS, .offset = offsetof(struct match_body, order_ids), .min = 1, .max = 64},
    {.name = "assetName",
     .kind = FIELD_TEXT,
     .offset = offsetof(struct match_body, asset),
     .min = 1,
     .max = 200,
     .check = field_check_asset},
    {.name = "mode", .kind = FIELD_CHOICE, .offset = offsetof(struct match_body, mode), .choices = MODES},
    {.name = "dryRun", .kind = FIELD_BOOL, .offset = offsetof(struct match_body, dry_run)},
    FIELD_END,
};

static bool holds(const struct uuid *ids, size_t count, struct uuid id)
{
    for (size_t i = 0; i < count; i++)
        if (uuid_eq(ids[i], id))
            return true;
    return false;
}

/* One outcome an order: a repeated id counts once. */
static enum err parse_ids(struct call *call, const struct field_texts *texts, struct match_command *cmd)
{
    struct uuid *ids = ARENA_ARRAY(&call->arena, struct uuid, texts->count + 1);
    enum err e = ERR_OK;
    for (size_t i = 0; i < texts->count; i++) {
        struct uuid id;
        if (!uuid_parse(str_of(texts->items[i]), &id) || uuid_is_nil(id)) {
            e = field_error_add(&call->errors, arena_printf(&call->arena, "/orderIds/%zu", i),
                                "must be a UUID, and not nil");
            continue;
        }
        if (!holds(ids, cmd->count, id))
            ids[cmd->count++] = id;
    }
    cmd->order_ids = texts->count ? ids : NULL;
    return e;
}

static int by_id(const void *a, const void *b)
{
    return uuid_cmp(*(const struct uuid *)a, *(const struct uuid *)b);
}

/* The same orders named in another order mean the same. */
static const char *meaning_of(struct call *call, const struct match_command *cmd)
{
    struct buf text;
    buf_init(&text);
    buf_printf(&text, "HOUSE %s", cmd->asset ? cmd->asset : "");
    struct uuid *ids = ARENA_ARRAY(&call->arena, struct uuid, cmd->count + 1);
    assert(cmd->count == 0 || cmd->order_ids);
    for (size_t i = 0; i < cmd->count; i++)
        ids[i] = cmd->order_ids[i];
    qsort(ids, cmd->count, sizeof *ids, by_id);
    for (size_t i = 0; i < cmd->count; i++) {
        char id[UUID_TEXT_MAX];
        uuid_format(ids[i], id);
        buf_printf(&text, " %s", id);
    }
    const char *meaning = arena_strndup(&call->arena, text.data, text.len);
    buf_done(&text);
    return meaning;
}

static enum err on_match(struct call *call)
{
    struct match_body body = {.mode = -1};
    struct match_call *mc = ARENA_NEW(&call->arena, struct match_call);
    enum err e = call_body(call, MATCH_FIELDS, &body);
    if (!e)
        e = parse_ids(call, &body.order_ids, &mc->cmd);
    if (!e && body.order_ids.present && body.asset)
        e = field_error_add(&call->errors, "/assetName", "must not stand beside orderIds");
    if (e)
        return e;
    mc->cmd.asset = body.asset;
    if (!body.dry_run)
        return submit(call, mc, meaning_of(call, &mc->cmd));
    call->state = mc;
    return readers_submit(call_service(call)->readers, call, query_dry_run);
}

static enum err on_match_order(struct call *call)
{
    struct match_call *mc = ARENA_NEW(&call->arena, struct match_call);
    struct uuid *id = ARENA_NEW(&call->arena, struct uuid);
    enum err e = call_param_uuid(call, 0, id);
    if (!e && call->body.len)
        e = call_body(call, NO_FIELDS, NULL);
    if (e)
        return e;
    mc->single = true;
    mc->cmd.order_ids = id;
    mc->cmd.count = 1;
    return submit(call, mc, meaning_of(call, &mc->cmd));
}

/* ---- GET /admin/matches, /admin/matches/{id} ---- */

struct list_query {
    const char *cursor;
    int64_t limit;
};
static const struct field LIST_FIELDS[] = {
    {.name = "cursor", .kind = FIELD_TEXT, .offset = offsetof(struct list_query, cursor), .min = 1, .max = 64},
    {.name = "limit", .kind = FIELD_INT, .offset = offsetof(struct list_query, limit), .min = 1, .max = LIMIT_MAX},
    FIELD_END,
};
struct list_state {
    struct cursor after;
    int64_t limit;
};

static enum err query_list(struct call *call, struct db *db)
{
    const struct list_state *q = call->state;
    struct match_list list;
    enum err e = store_read_matches(db, &call->arena, &q->after, q->limit, &list, &call->fault);
    if (e)
        return e;

    struct json_out o = json_out(&call->out);
    json_open(&o, NULL, '{');
    json_open(&o, "items", '[');
    for (size_t i = 0; i < list.count; i++) {
        json_open(&o, NULL, '{');
        write_match(&o, &list.items[i]);
        json_close(&o, '}');
    }
    json_close(&o, ']');
    char next[64] = "";
    if (list.more) {
        const struct match *last = &list.items[list.count - 1];
        cursor_encode(&(struct cursor){.at = last->create_date, .id = last->id}, next);
    }
    json_put_text(&o, "nextCursor", list.more ? next : NULL);
    json_close(&o, '}');
    call_reply(call, 200);
    return ERR_OK;
}

static enum err on_list(struct call *call)
{
    struct list_query q = {.limit = LIMIT_DEFAULT};
    struct list_state *state = ARENA_NEW(&call->arena, struct list_state);
    enum err e = call_query(call, LIST_FIELDS, &q);
    if (!e)
        e = cursor_decode(q.cursor, &state->after, &call->errors);
    if (e)
        return e;
    state->limit = q.limit;
    call->state = state;
    return readers_submit(call_service(call)->readers, call, query_list);
}

static enum err query_one(struct call *call, struct db *db)
{
    struct uuid id = *(struct uuid *)call->state;
    struct match m;
    struct leg *legs;
    size_t count;
    enum err e = store_read_match(db, &call->arena, id, &m, &call->fault);
    if (!e)
        e = store_read_legs(db, &call->arena, id, &legs, &count, &call->fault);
    if (e)
        return e;
    struct json_out o = json_out(&call->out);
    json_open(&o, NULL, '{');
    write_match(&o, &m);
    write_legs(&o, legs, count);
    json_close(&o, '}');
    call_reply(call, 200);
    return ERR_OK;
}

static enum err on_get(struct call *call)
{
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
    struct match_list list = {.count = 0};
    enum err e = store_read_done(db, &arena, ids, count, &list, fault);
    for (size_t i = 0; i < list.count; i++)
        waiters_offer(service->waiters, list.items[i].id, &list.items[i]);
    arena_done(&arena);
    return e;
}

enum err api_open(struct service *s, struct fault *fault)
{
    (void)fault;
    struct admin_app *app = mem_alloc(sizeof *app);
    app->matches_open = metrics_gauge(s->metrics, "sagas_open", "Sagas under way, by state.",
                                      "saga=\"match\",state=\"PENDING\"");
    app->matches_age = metrics_gauge(s->metrics, "sagas_oldest_seconds", "Age of the oldest saga under way.",
                                     "saga=\"match\",state=\"PENDING\"");
    s->app = app;
    return ERR_OK;
}

void api_close(struct service *s)
{
    mem_free(s->app);
}

void api_measure(void *app, struct db *db)
{
    const struct admin_app *a = ((struct service *)app)->app;
    int64_t open = 0;
    time_us_t oldest = 0;
    store_measure(db, &open, &oldest);
    gauge_set(a->matches_open, (double)open);
    gauge_set(a->matches_age, oldest ? (double)(clock_now_us() - oldest) / 1e6 : 0);
}

const struct http_route ADMIN_SVC_ROUTES[] = {
    {HTTP_POST, MATCHES_PATH, WHO_ADMIN, on_match, ROUTE_IDEMPOTENT},
    {HTTP_GET, MATCHES_PATH, WHO_ADMIN, on_list, 0},
    {HTTP_GET, MATCHES_PATH "/{id}", WHO_ADMIN, on_get, 0},
    {HTTP_POST, "/api/v1/admin/orders/{id}/match", WHO_ADMIN, on_match_order, ROUTE_IDEMPOTENT | ROUTE_OPTIONAL_BODY},
    AUDIT_ROUTE,
    {HTTP_GET, NULL, WHO_ANYONE, NULL, 0},
};
