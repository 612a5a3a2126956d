#include "gateway/proxy.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { ATTEMPTS_MAX = 2, NUMBER_TEXT_MAX = 24 };

/* Writes into memory that was measured before. */
struct writer {
    char *begin, *at, *end;
};

/* One call's forwarding. What it needs of the request is taken at the beginning: a call that is cut off loses the rest. */
struct proxying {
    struct exchange exchange;
    struct call *call;
    struct upstream_pools *pools;
    const struct forward *forward;
    struct writer head; /* the request's, but for its end, which each attempt writes */
    int attempts;
    bool in_doubt;   /* an earlier attempt was on its way and was not answered: it may have done what was asked */
    int status;      /* of the service's answer; 0: none yet */
    unsigned given;  /* bit i: GIVEN_BACK[i] came */
    bool is_problem; /* it is application/problem+json */
    size_t headers_before;
};

#define OWNER_OF(p, type, member) ((type *)(void *)((char *)(p)-offsetof(type, member)))

/* ---- what goes to the service ---- */

/* A client's headers that services read. All else stays here. */
static const struct str PASSED_ON[] = {
    STR_INIT("Authorization"),   STR_INIT("Content-Type"), STR_INIT("Accept"),
    STR_INIT("Idempotency-Key"), STR_INIT("Prefer"),       STR_INIT("User-Agent"),
};

static bool is_passed_on(struct str name)
{
    for (size_t i = 0; i < sizeof(PASSED_ON) / sizeof(PASSED_ON[0]); i++)
        if (name.len == PASSED_ON[i].len && strncasecmp(name.data, PASSED_ON[i].data, name.len) == 0)
            return true;
    return false;
}

static void put(struct writer *w, struct str s)
{
    assert((size_t)(w->end - w->at) >= s.len);
    memcpy(w->at, s.data, s.len);
    w->at += s.len;
}

static void put_header(struct writer *w, struct str name, struct str value)
{
    put(w, name);
    put(w, STR(": "));
    put(w, value);
    put(w, STR("\r\n"));
}

static void put_number(struct writer *w, struct str name, int64_t value)
{
    char text[NUMBER_TEXT_MAX];
    int len = snprintf(text, sizeof(text), "%lld", (long long)value);
    put_header(w, name, (struct str){text, (size_t)len});
}

/* Everything but the client's headers, path and query: names, and values of bounded length. */
enum { OWN_TEXT_MAX = 512 };
_Static_assert(OWN_TEXT_MAX > HTTP_REQUEST_ID_MAX + TRACE_TEXT_MAX + 48 + 2 * NUMBER_TEXT_MAX + 192,
               "our own headers fit");

static size_t head_size(const struct call *call, struct str host)
{
    size_t size = OWN_TEXT_MAX + strlen(call->path) + call->query.len + host.len;
    for (size_t i = 0; i < call->header_count; i++)
        size += strlen(call->headers[i].name) + strlen(call->headers[i].value) + sizeof(": \r\n");
    return size;
}

/* HEAD is asked as GET: the answer's length is then the true one, and the HTTP server leaves the body out. */
static const char *method_upstream(const struct call *call)
{
    return http_method_name(call->method == HTTP_HEAD ? HTTP_GET : call->method);
}

static void put_request_line(struct writer *w, const struct call *call)
{
    put(w, str_of(method_upstream(call)));
    put(w, STR(" "));
    put(w, str_of(call->path));
    if (call->query.data != NULL) {
        put(w, STR("?"));
        put(w, call->query);
    }
    put(w, STR(" HTTP/1.1\r\n"));
}

static struct writer begin_head(struct call *call, const struct upstream *u)
{
    struct str host = str_of(u->name);
    size_t size = head_size(call, host);
    char *text = arena_alloc(&call->arena, size), trace[TRACE_TEXT_MAX];
    struct writer w = {text, text, text + size};
    put_request_line(&w, call);
    put_header(&w, STR("Host"), host);
    for (size_t i = 0; i < call->header_count; i++) {
        struct str name = str_of(call->headers[i].name);
        if (is_passed_on(name))
            put_header(&w, name, str_of(call->headers[i].value));
    }
    trace_format(&call->trace, trace);
    put_header(&w, STR("X-Request-Id"), str_of(call->request_id));
    put_header(&w, STR("traceparent"), str_of(trace));
    put_header(&w, STR("X-Forwarded-For"), str_of(call->peer));
    if (call->body.len > 0 || call->method == HTTP_POST || call->method == HTTP_PUT || call->method == HTTP_PATCH)
        put_number(&w, STR("Content-Length"), (int64_t)call->body.len);
    return w;
}

static struct str end_head(struct writer w, mono_ns_t left)
{
    put_number(&w, STR("X-Request-Deadline-Ms"), left / NS_PER_MS);
    put(&w, STR("\r\n"));
    return (struct str){w.begin, (size_t)(w.at - w.begin)};
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

static void on_head(struct exchange *x, const struct response *r)
{
    struct proxying *p = OWNER_OF(x, struct proxying, exchange);
    p->status = r->status;
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

static bool may_send_again(const struct proxying *p)
{
    const struct exchange *x = &p->exchange;
    return x->end == EXCHANGE_LOST && x->reused && !x->heard && p->attempts < ATTEMPTS_MAX &&
           (!x->wrote || is_repeatable(p->call));
}

static enum err error_of(const struct proxying *p)
{
    const struct exchange *x = &p->exchange;
    if (p->in_doubt)
        return ERR_OUTCOME_UNKNOWN;
    switch (x->end) {
    case EXCHANGE_BUSY:
        return ERR_BUSY;
    case EXCHANGE_LATE:
        return ERR_UPSTREAM_TIMEOUT;
    case EXCHANGE_ANSWERED: /* with an error that is no problem document */
    case EXCHANGE_REFUSED:
    case EXCHANGE_LOST:
    case EXCHANGE_BAD:
    case EXCHANGE_CUT:
    case EXCHANGE_END_COUNT:
        break;
    }
    return x->wrote && !only_reads(p->call) ? ERR_OUTCOME_UNKNOWN : ERR_UPSTREAM;
}

static void log_exchange(struct proxying *p, const struct upstream *u)
{
    struct buf *log = &p->call->log_members;
    buf_str(log, ",\"upstream\":\"");
    buf_str(log, u->name);
    if (p->exchange.instance != NULL) {
        buf_str(log, "\",\"instance\":\"");
        buf_str(log, p->exchange.instance->name);
    }
    buf_str(log, "\",\"upstream_status\":");
    buf_i64(log, p->status);
    buf_str(log, ",\"attempts\":");
    buf_i64(log, p->attempts);
    buf_str(log, ",\"upstream_us\":");
    buf_i64(log, p->exchange.took / 1000);
}

/* The call ends here, with the service's answer or a problem of ours. */
static void finish(struct proxying *p, enum err e)
{
    struct call *call = p->call;
    const struct routes *routes = call->app;
    log_exchange(p, &routes->upstreams.items[p->forward->upstream]);
    if (e == ERR_OK)
        call_reply(call, p->status);
    else
        call->reply_header_count = p->headers_before;
    call_finish(call, e);
}

static void attempt(struct proxying *p);

static void on_done(struct exchange *x)
{
    struct proxying *p = OWNER_OF(x, struct proxying, exchange);
    /* What a service says of its own trouble is true of the attempt that it saw, not of the one before. */
    bool is_true = p->status < 500 || !p->in_doubt;
    if (x->end == EXCHANGE_ANSWERED && is_true && (p->status < 400 || p->is_problem)) {
        finish(p, ERR_OK);
        return;
    }
    if (may_send_again(p)) {
        p->in_doubt = x->wrote && !only_reads(p->call);
        x->fresh = true;
        attempt(p);
        return;
    }
    const char *why = x->end != EXCHANGE_ANSWERED ? x->why
                      : is_true                   ? "its error is no problem document"
                                                  : "it failed, after an attempt that it may have heard";
    finish(p, fault_set(&p->call->fault, error_of(p), "%s: %s", x->instance->name, why));
}

/* ---- the door ---- */

static void attempt(struct proxying *p)
{
    struct call *call = p->call;
    struct exchange *x = &p->exchange;
    x->started = clock_mono_ns();
    if (x->started >= x->deadline) {
        finish(p, fault_set(&call->fault, ERR_UPSTREAM_TIMEOUT, "the deadline was over before the request was sent"));
        return;
    }
    p->attempts++;
    x->head = end_head(p->head, x->deadline - x->started);
    exchange_start(p->pools, x);
}

enum err proxy_request(struct call *call)
{
    const struct routes *routes = call->app;
    struct proxying *p = ARENA_NEW(&call->arena, struct proxying);
    p->call = call;
    p->forward = &routes->forward[call->route - routes->http];
    p->head = begin_head(call, &routes->upstreams.items[p->forward->upstream]);
    p->pools = call_local(call);
    p->headers_before = call->reply_header_count;
    mono_ns_t ours = call->started + p->forward->timeout_ms * NS_PER_MS;
    p->exchange.upstream = p->forward->upstream;
    p->exchange.deadline = ours < call->deadline ? ours : call->deadline;
    p->exchange.request_body = call->body;
    p->exchange.body = &call->out;
    p->exchange.on_head = on_head;
    p->exchange.done = on_done;
    call_defer(call);
    attempt(p);
    return ERR_OK;
}

void *proxy_thread_start(void *app, struct loop *loop)
{
    struct routes *routes = app;
    return upstream_pools_open(&routes->upstreams, loop);
}

void proxy_thread_stop(void *app, void *local)
{
    (void)app;
    upstream_pools_close(local);
}
