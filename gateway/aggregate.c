#include "gateway/aggregate.h"

#include <string.h>

#include "gateway/delivery.h"
#include "gateway/members.h"
#include "gateway/routes.h"

enum { CLIENT_GONE = 499 }; /* nginx's number; nobody is there to read it but the log */

/* Of a part's answer: what its shape takes. */
enum { ITEMS = 0, NEXT_CURSOR = 1 };
enum { CLEAN = 0, CHECKED_AT = 1, CHECKS = 2 };
enum { MEMBERS_MAX = 3 };

struct aggregating;

/* One part under way. */
struct asking {
    struct delivery delivery;
    struct aggregating *of;
    const struct aggregate_part *part;
    struct buf body;
    bool is_problem, is_open; /* is_open: it has not ended */
    const char *reason;       /* why it is unavailable, to clients; NULL: it is there */
    const char *why;          /* the same, to the log */
    struct member members[MEMBERS_MAX];
};
struct aggregating {
    struct call *call;
    const struct aggregate *aggregate;
    int64_t customer_id;
    bool is_abandoned; /* the client went away */
    size_t open;       /* parts that have not ended */
    struct asking askings[];
};

#define OWNER_OF(p, type, member) ((type *)(void *)((char *)(p)-offsetof(type, member)))

/* ---- what each shape wants of a part, and makes of all ---- */

static bool is_word(struct str value, const char *word)
{
    return str_eq(value, word);
}

static bool is_text(struct str value)
{
    return value.len >= 2 && value.data[0] == '"';
}

static bool take_list(struct asking *a, const char **ret_why)
{
    struct str *cursor = &a->members[NEXT_CURSOR].value;
    a->members[ITEMS].name = "items";
    a->members[NEXT_CURSOR].name = "nextCursor";
    if (!members_take((struct str){buf_cstr(&a->body), a->body.len}, a->members, 2, ret_why))
        return false;
    *ret_why = "no list";
    return member_is_array(a->members[ITEMS].value) &&
           (cursor->data == NULL || is_word(*cursor, "null") || is_text(*cursor));
}

static bool take_checks(struct asking *a, const char **ret_why)
{
    a->members[CLEAN].name = "clean";
    a->members[CHECKED_AT].name = "checkedAt";
    a->members[CHECKS].name = "checks";
    if (!members_take((struct str){buf_cstr(&a->body), a->body.len}, a->members, MEMBERS_MAX, ret_why))
        return false;
    *ret_why = "no checks";
    bool says = is_word(a->members[CLEAN].value, "true") || is_word(a->members[CLEAN].value, "false");
    return says && is_text(a->members[CHECKED_AT].value) && member_is_array(a->members[CHECKS].value);
}

static void write_lists(struct aggregating *g, struct json_out *o)
{
    json_put_int(o, "customerId", g->customer_id);
    for (size_t i = 0; i < g->aggregate->part_count; i++) {
        const struct asking *a = &g->askings[i];
        json_put_raw(o, a->part->name, a->reason == NULL ? a->members[ITEMS].value : STR("null"));
    }
    json_open(o, "more", '[');
    for (size_t i = 0; i < g->aggregate->part_count; i++)
        if (g->askings[i].reason == NULL && is_text(g->askings[i].members[NEXT_CURSOR].value))
            json_put_text(o, NULL, g->askings[i].part->name);
    json_close(o, ']');
}

/* Texts of one form, RFC 3339 in UTC with six digits: the earlier is the smaller. */
static bool is_earlier(struct str a, struct str b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    return memcmp(a.data, b.data, len) < 0;
}

/* The whole is clean when every part is there and clean, and as old as its oldest part. */
static void write_checks(struct aggregating *g, struct json_out *o)
{
    struct str oldest = {NULL, 0};
    bool clean = true;
    for (size_t i = 0; i < g->aggregate->part_count; i++) {
        const struct asking *a = &g->askings[i];
        clean = clean && a->reason == NULL && is_word(a->members[CLEAN].value, "true");
        if (a->reason == NULL && (oldest.data == NULL || is_earlier(a->members[CHECKED_AT].value, oldest)))
            oldest = a->members[CHECKED_AT].value;
    }
    json_put_bool(o, "clean", clean);
    json_put_raw(o, "checkedAt", oldest);
    json_open(o, "checks", '[');
    for (size_t i = 0; i < g->aggregate->part_count; i++) {
        struct str inside = g->askings[i].reason == NULL ? member_inside(g->askings[i].members[CHECKS].value)
                                                         : (struct str){"", 0};
        if (inside.len > 0)
            json_put_raw(o, NULL, inside);
    }
    json_close(o, ']');
}

static const struct {
    bool (*take)(struct asking *a, const char **ret_why);
    void (*write)(struct aggregating *g, struct json_out *o);
} SHAPES[] = {
    [AGGREGATE_LISTS] = {take_list, write_lists},
    [AGGREGATE_CHECKS] = {take_checks, write_checks},
};

/* ---- the answer ---- */

static void write_unavailable(const struct aggregating *g, struct json_out *o)
{
    json_open(o, "unavailable", '[');
    for (size_t i = 0; i < g->aggregate->part_count; i++) {
        const struct asking *a = &g->askings[i];
        if (a->reason == NULL)
            continue;
        json_open(o, NULL, '{');
        json_put_text(o, "part", a->part->name);
        json_put_text(o, "reason", a->reason);
        json_close(o, '}');
    }
    json_close(o, ']');
}

static void answer_whole(struct aggregating *g)
{
    struct json_out o = json_out(&g->call->out);
    json_open(&o, NULL, '{');
    SHAPES[g->aggregate->shape].write(g, &o);
    write_unavailable(g, &o);
    json_close(&o, '}');
    call_reply(g->call, 200);
}

/* The request itself was refused, and the first service that did tells why. */
static void answer_refusal(struct aggregating *g, const struct asking *a)
{
    buf_append(&g->call->out, buf_cstr(&a->body), a->body.len);
    g->call->content_type = "application/problem+json";
    if (a->delivery.status == 401)
        call_reply_header(g->call, "WWW-Authenticate", "Bearer realm=\"brokerage\", error=\"invalid_token\"");
    call_reply(g->call, a->delivery.status);
}

static bool is_refusal(const struct asking *a)
{
    const struct delivery *d = &a->delivery;
    return d->err == ERR_OK && a->is_problem && d->status >= 400 && d->status < 500;
}

static enum err answer(struct aggregating *g)
{
    const struct asking *refusal = NULL;
    if (g->is_abandoned) {
        call_reply(g->call, CLIENT_GONE);
        return ERR_OK;
    }
    for (size_t i = 0; i < g->aggregate->part_count; i++) {
        const struct asking *a = &g->askings[i];
        if (a->reason == NULL) {
            answer_whole(g);
            return ERR_OK;
        }
        if (refusal == NULL && is_refusal(a))
            refusal = a;
    }
    if (refusal != NULL) {
        answer_refusal(g, refusal);
        return ERR_OK;
    }
    struct json_out members = call_problem(g->call);
    write_unavailable(g, &members);
    return fault_set(&g->call->fault, ERR_UPSTREAM, "no part of \"%s\" is there", g->aggregate->name);
}

static void log_parts(const struct aggregating *g)
{
    struct json_out o = {.out = &g->call->log_members, .comma = true};
    json_open(&o, "parts", '[');
    for (size_t i = 0; i < g->aggregate->part_count; i++) {
        const struct asking *a = &g->askings[i];
        json_open(&o, NULL, '{');
        json_put_text(&o, "part", a->part->name);
        json_put_text(&o, "instance", a->delivery.exchange.instance);
        json_put_int(&o, "status", a->delivery.status);
        json_put_int(&o, "attempts", a->delivery.attempts);
        json_put_int(&o, "upstream_us", a->delivery.upstream_took / 1000);
        if (a->reason != NULL) {
            json_put_text(&o, "reason", a->reason);
            json_put_text(&o, "why", a->why);
        }
        json_close(&o, '}');
    }
    json_close(&o, ']');
}

/* The last part has ended. */
static void finish(struct aggregating *g)
{
    struct call *call = g->call;
    log_parts(g);
    enum err e = answer(g);
    for (size_t i = 0; i < g->aggregate->part_count; i++)
        buf_done(&g->askings[i].body);
    call_finish(call, e);
}

/* ---- a part ---- */

static void on_head(struct delivery *d, const struct response *r)
{
    static const struct str PROBLEM = STR_INIT("application/problem+json");
    struct asking *a = OWNER_OF(d, struct asking, delivery);
    a->is_problem = false;
    for (size_t i = 0; i < r->header_count; i++) {
        struct str value = r->headers[i].value;
        if (str_eq_nocase(r->headers[i].name, "Content-Type") && value.len >= PROBLEM.len)
            a->is_problem = str_eq_nocase((struct str){value.data, PROBLEM.len}, PROBLEM.data);
    }
}

/* A breaker's or a bulkhead's refusal is told as such; what else went wrong on the way is of no use to a client. */
static const char *reason_of(const struct delivery *d)
{
    switch (d->err) {
    case ERR_CIRCUIT_OPEN:
        return "open";
    case ERR_BUSY:
        return "busy";
    case ERR_UPSTREAM_TIMEOUT:
        return "late";
    default:
        return "down";
    }
}

/* NULL: the part is there. */
static const char *judge(struct asking *a)
{
    struct delivery *d = &a->delivery;
    a->why = d->why;
    if (d->err != ERR_OK)
        return reason_of(d);
    a->why = "its status";
    if (d->status != 200)
        return "error";
    a->why = "its size";
    if (a->body.len > AGGREGATE_PART_MAX)
        return "error";
    return SHAPES[a->of->aggregate->shape].take(a, &a->why) ? NULL : "error";
}

static void part_ended(struct aggregating *g)
{
    if (--g->open == 0)
        finish(g);
}

static void on_done(struct delivery *d)
{
    struct asking *a = OWNER_OF(d, struct asking, delivery);
    a->reason = judge(a);
    a->is_open = false;
    part_ended(a->of);
}

/* ---- the door ---- */

static const char *query_of(struct aggregating *g, const struct aggregate_part *part)
{
    if (g->aggregate->shape != AGGREGATE_LISTS)
        return part->query;
    return arena_printf(&g->call->arena, "customerId=%lld%s%s", (long long)g->customer_id,
                        part->query[0] == '\0' ? "" : "&", part->query);
}

/* Of the parts: some of the time is left for joining them. */
static mono_ns_t deadline_of(const struct call *call, const struct forward *forward)
{
    mono_ns_t ours = call->started + forward->timeout_ms * NS_PER_MS;
    return (ours < call->deadline ? ours : call->deadline) - AGGREGATE_SPARE_MS * NS_PER_MS;
}

static void prepare(struct aggregating *g, const struct forward *forward, mono_ns_t deadline, size_t i)
{
    const struct aggregate_part *part = &g->aggregate->parts[i];
    struct upstream_pools *pools = call_local(g->call);
    struct asking *a = &g->askings[i];
    const char *query = query_of(g, part);
    const struct request_line line = {
        .method = http_method_name(HTTP_GET),
        .path = part->path,
        .query = query[0] == '\0' ? (struct str){NULL, 0} : str_of(query),
    };
    a->of = g;
    a->part = part;
    buf_init(&a->body);
    a->delivery = (struct delivery){
        .pools = pools,
        .upstream = part->upstream,
        .head = request_head_begin(g->call, &line, upstream_of(pools, part->upstream)),
        .only_reads = true,
        .repeatable = true,
        .deadline = deadline,
        .deadline_is_ours = deadline <= g->call->deadline - AGGREGATE_SPARE_MS * NS_PER_MS,
        .try_ms = forward->try_ms,
        .slow_ms = forward->slow_ms,
        .out = &a->body,
        .on_head = on_head,
        .done = on_done,
    };
}

struct query {
    int64_t customer_id;
};
static const struct field LISTS_QUERY[] = {
    {.name = "customerId", .kind = FIELD_ID, .offset = offsetof(struct query, customer_id)},
    FIELD_END,
};
static const struct field NO_QUERY[] = {FIELD_END};

static enum err read_query(struct call *call, enum aggregate_shape shape, int64_t *ret_customer_id)
{
    struct query q = {.customer_id = 0};
    enum err e = call_query(call, shape == AGGREGATE_LISTS ? LISTS_QUERY : NO_QUERY, &q);
    if (e != ERR_OK || shape != AGGREGATE_LISTS)
        return e;
    return call_customer(call, q.customer_id, "?customerId", ret_customer_id);
}

/* Each of them ends by itself, and the last one ends the call. */
static void on_client_gone(struct call *call)
{
    struct aggregating *g = call->state;
    size_t count = g->aggregate->part_count;
    g->is_abandoned = true;
    g->open++; /* so that it lives until the loop is through */
    for (size_t i = 0; i < count; i++)
        if (g->askings[i].is_open)
            delivery_cancel(&g->askings[i].delivery);
    part_ended(g);
}

enum err aggregate_request(struct call *call)
{
    const struct routes *routes = call->app;
    const struct forward *forward = &routes->forward[call->route - routes->http];
    const struct aggregate *aggregate = forward->aggregate;
    int64_t customer_id = 0;
    enum err e = read_query(call, aggregate->shape, &customer_id);
    if (e != ERR_OK)
        return e;

    mono_ns_t deadline = deadline_of(call, forward);
    if (clock_mono_ns() >= deadline)
        return fault_set(&call->fault, ERR_UPSTREAM_TIMEOUT, "there is no time left to ask for parts");
    struct aggregating *g = arena_alloc(&call->arena, sizeof(*g) + aggregate->part_count * sizeof(g->askings[0]));
    g->call = call;
    g->aggregate = aggregate;
    g->customer_id = customer_id;
    g->open = aggregate->part_count;
    for (size_t i = 0; i < aggregate->part_count; i++)
        prepare(g, forward, deadline, i);
    call->state = g;
    call_defer(call);
    call_on_gone(call, on_client_gone);
    for (size_t i = 0; i < aggregate->part_count; i++) {
        g->askings[i].is_open = true;
        delivery_start(&g->askings[i].delivery);
    }
    return ERR_OK;
}
