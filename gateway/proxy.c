#include "gateway/proxy.h"

#include <string.h>
#include <strings.h>

#include "gateway/delivery.h"

enum { CLIENT_GONE = 499 }; /* nginx's number; nobody is there to read it but the log */

/* One call's forwarding. What it needs of the request is taken at the beginning: a call that is cut off loses the rest. */
struct proxying {
    struct delivery delivery;
    struct call *call;
    const struct upstream *service;
    unsigned given;  /* bit i: GIVEN_BACK[i] came */
    bool is_problem; /* the answer is application/problem+json */
    size_t headers_before;
};

#define OWNER_OF(p, type, member) ((type *)(void *)((char *)(p)-offsetof(type, member)))

/* ---- what goes to the service ---- */

/* HEAD is asked as GET: the answer's length is then the true one, and the HTTP server leaves the body out. */
static struct request_head begin_head(struct call *call, const struct upstream *u)
{
    bool by_method = call->method == HTTP_POST || call->method == HTTP_PUT || call->method == HTTP_PATCH;
    const struct request_line line = {
        .method = http_method_name(call->method == HTTP_HEAD ? HTTP_GET : call->method),
        .path = call->path,
        .query = call->query,
        .body = call->body.len > 0 || by_method ? &call->body : NULL,
    };
    return request_head_begin(call, &line, u);
}

/* ---- what comes back ---- */

/* A service's headers that clients see; the HTTP server adds its own. Content-Type is first. */
static const struct str GIVEN_BACK[] = {
    STR_INIT("Content-Type"),
    STR_INIT("Location"),
    STR_INIT("Link"),
    STR_INIT("Retry-After"),
    STR_INIT("Allow"),
    STR_INIT("WWW-Authenticate"),
    STR_INIT("Preference-Applied"),
    STR_INIT("ETag"),
    STR_INIT("Idempotency-Replayed"),
    STR_INIT("Cache-Control"),
    STR_INIT("Accept-Encoding"),
    STR_INIT("Content-Disposition"),
};
enum { GIVEN_BACK_COUNT = sizeof(GIVEN_BACK) / sizeof(GIVEN_BACK[0]), CONTENT_TYPE = 0 };

static void give_back(struct proxying *p, const struct response_header *h)
{
    struct call *call = p->call;
    unsigned i = 0;
    while (i < GIVEN_BACK_COUNT &&
           (h->name.len != GIVEN_BACK[i].len || strncasecmp(h->name.data, GIVEN_BACK[i].data, h->name.len) != 0))
        i++;
    if (i == GIVEN_BACK_COUNT || (p->given & 1U << i) != 0)
        return;
    p->given |= 1U << i;
    const char *value = arena_strndup(&call->arena, h->value.data, h->value.len);
    if (i != CONTENT_TYPE) {
        call_reply_header(call, GIVEN_BACK[i].data, value);
        return;
    }
    call->content_type = value;
    p->is_problem = strncasecmp(value, "application/problem+json", sizeof("application/problem+json") - 1) == 0;
}

static void on_head(struct delivery *d, const struct response *r)
{
    struct proxying *p = OWNER_OF(d, struct proxying, delivery);
    p->call->reply_header_count = p->headers_before;
    p->call->content_type = NULL;
    p->given = 0;
    p->is_problem = false;
    for (size_t i = 0; i < r->header_count; i++)
        give_back(p, &r->headers[i]);
}

/* ---- how it ends ---- */

static bool only_reads(const struct call *call)
{
    return call->method == HTTP_GET || call->method == HTTP_HEAD;
}

/* May the same request arrive twice? RFC 9110 section 9.2.2, or the service sees to it. */
static bool is_repeatable(const struct call *call)
{
    bool by_method = call->method != HTTP_POST && call->method != HTTP_PATCH;
    return by_method || call->idempotency_key != NULL;
}

static void log_delivery(struct proxying *p)
{
    const struct delivery *d = &p->delivery;
    struct json_out o = {.out = &p->call->log_members, .comma = true};
    json_put_text(&o, "upstream", p->service->name);
    if (d->exchange.instance[0] != '\0')
        json_put_text(&o, "instance", d->exchange.instance);
    json_put_int(&o, "upstream_status", d->status);
    json_put_int(&o, "attempts", d->attempts);
    json_put_text(&o, "breaker", breaker_state_name(breaker_peek(&p->service->breaker)));
    json_put_int(&o, "upstream_us", d->upstream_took / 1000);
    json_put_int(&o, "gateway_us", (clock_mono_ns() - p->call->started - d->upstream_took) / 1000);
}

static enum err answer_problem(struct proxying *p, enum err e, const char *why)
{
    struct call *call = p->call;
    const char *instance = p->delivery.exchange.instance;
    call->reply_header_count = p->headers_before;
    call->retry_after_s = p->delivery.retry_after_s;
    if (p->delivery.circuit_open)
        call_reply_header(call, "X-Gateway-Breaker", "open");
    return fault_set(&call->fault, e, "%s: %s", instance[0] == '\0' ? p->service->name : instance, why);
}

static enum err answer(struct proxying *p)
{
    struct delivery *d = &p->delivery;
    if (d->canceled) {
        p->call->reply_header_count = p->headers_before;
        buf_reset(&p->call->out);
        call_reply(p->call, CLIENT_GONE);
        return ERR_OK;
    }
    if (d->err != ERR_OK)
        return answer_problem(p, d->err, d->why);
    if (d->status >= 400 && !p->is_problem)
        return answer_problem(p, delivery_error(d), "its error is no problem document");
    call_reply(p->call, d->status);
    return ERR_OK;
}

static void on_done(struct delivery *d)
{
    struct proxying *p = OWNER_OF(d, struct proxying, delivery);
    log_delivery(p);
    call_finish(p->call, answer(p));
}

/* ---- the door ---- */

static void on_client_gone(struct call *call)
{
    struct proxying *p = call->state;
    delivery_cancel(&p->delivery);
}

enum err proxy_request(struct call *call)
{
    const struct routes *routes = call->app;
    const struct forward *forward = &routes->forward[call->route - routes->http];
    struct proxying *p = ARENA_NEW(&call->arena, struct proxying);
    mono_ns_t ours = call->started + forward->timeout_ms * NS_PER_MS;
    p->call = call;
    p->service = upstream_of(call_local(call), forward->upstream);
    p->headers_before = call->reply_header_count;
    p->delivery = (struct delivery){
        .pools = call_local(call),
        .upstream = forward->upstream,
        .head = begin_head(call, p->service),
        .body = call->body,
        .only_reads = only_reads(call),
        .repeatable = is_repeatable(call),
        .deadline = ours < call->deadline ? ours : call->deadline,
        .deadline_is_ours = ours <= call->deadline,
        .try_ms = forward->try_ms,
        .slow_ms = forward->slow_ms,
        .out = &call->out,
        .on_head = on_head,
        .done = on_done,
    };
    call->state = p;
    call_defer(call);
    if (p->delivery.only_reads) /* a write is let finish: its client may ask what became of it */
        call_on_gone(call, on_client_gone);
    delivery_start(&p->delivery);
    return ERR_OK;
}

void *proxy_thread_start(void *app, struct loop *loop)
{
    struct routes *routes = app;
    return upstream_pools_open(routes->upstreams, loop);
}

void proxy_thread_stop(void *app, void *local)
{
    (void)app;
    upstream_pools_close(local);
}
