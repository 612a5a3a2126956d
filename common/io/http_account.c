#include <stdio.h>
#include <string.h>

#include "io/http_private.h"

/* Each route's series, by the statuses that are worth telling apart: the set is bounded, and made at start. */
static const int STATUSES[] = {200, 201, 202, 204, 400, 401, 403, 404, 409, 422, 429, 499, 500, 502, 503, 504};
static const char *const CLASSES[] = {"2xx", "4xx", "5xx", "other"};
enum {
    STATUS_COUNT = sizeof STATUSES / sizeof STATUSES[0],
    CLASS_COUNT = sizeof CLASSES / sizeof CLASSES[0],
    CLIENT_GONE = 499, /* no answer got out; nginx's number */
    LABELS_MAX = 256,
};

struct route_metrics {
    struct counter *requests[STATUS_COUNT + 1]; /* the last: any other */
    struct histogram *seconds[CLASS_COUNT];
};
struct http_metrics {
    const struct http_route *routes;
    size_t count;
    struct route_metrics by_route[]; /* count + 1: the last for requests without a route */
};

static void make_series(struct metrics *m, struct route_metrics *r, const char *path, const char *method)
{
    char labels[LABELS_MAX], status[8];
    for (int i = 0; i <= STATUS_COUNT; i++) {
        snprintf(status, sizeof status, "%d", i < STATUS_COUNT ? STATUSES[i] : 0);
        snprintf(labels, sizeof labels, "route=\"%s\",method=\"%s\",status=\"%s\"", path, method,
                 i < STATUS_COUNT ? status : "other");
        r->requests[i] = metrics_counter(m, "http_server_requests_total", "Requests answered", labels);
    }
    for (int i = 0; i < CLASS_COUNT; i++) {
        snprintf(labels, sizeof labels, "route=\"%s\",method=\"%s\",status=\"%s\"", path, method, CLASSES[i]);
        r->seconds[i] = metrics_histogram(m, "http_server_request_duration_seconds", "From request line to answer sent",
                                          labels, HISTOGRAM_SECONDS,
                                          sizeof HISTOGRAM_SECONDS / sizeof HISTOGRAM_SECONDS[0]);
    }
}

struct http_metrics *account_open(struct metrics *m, const struct http_route *routes)
{
    size_t count = 0;
    if (m == NULL)
        return NULL;
    while (routes[count].path != NULL)
        count++;
    struct http_metrics *hm = mem_alloc(sizeof *hm + (count + 1) * sizeof hm->by_route[0]);
    hm->routes = routes;
    hm->count = count;
    for (size_t i = 0; i < count; i++)
        make_series(m, &hm->by_route[i], routes[i].path, http_method_name(routes[i].method));
    make_series(m, &hm->by_route[count], "none", "any");
    return hm;
}

void account_close(struct http_metrics *m)
{
    mem_free(m);
}

static int status_index(int status)
{
    for (int i = 0; i < STATUS_COUNT; i++)
        if (STATUSES[i] == status)
            return i;
    return STATUS_COUNT;
}

static int class_index(int status)
{
    switch (status / 100) {
    case 2:
        return 0;
    case 4:
        return 1;
    case 5:
        return 2;
    default:
        return 3;
    }
}

static void count(const struct call *call, int status, mono_ns_t took)
{
    struct http_metrics *m = call->priv->generation->metrics;
    if (m == NULL)
        return;
    struct route_metrics *r = &m->by_route[call->route == NULL ? m->count : (size_t)(call->route - m->routes)];
    counter_add(r->requests[status_index(status)], 1);
    histogram_observe(r->seconds[class_index(status)], (double)took / (double)NS_PER_S);
}

/* Without the query: it may hold what nobody should read in a log. */
static struct str path_of(const struct call *call)
{
    struct str raw = call->priv->target;
    if (call->path != NULL)
        return str_of(call->path);
    const char *mark = raw.len == 0 ? NULL : memchr(raw.data, '?', raw.len);
    return mark == NULL ? raw : (struct str){raw.data, (size_t)(mark - raw.data)};
}

static void write_line(const struct call *call, int status, mono_ns_t took, struct buf *line)
{
    struct json_out o = json_out(line);
    json_put_text(&o, "method", http_method_name(call->method));
    json_put_text(&o, "route", call->route == NULL ? NULL : call->route->path);
    json_put_str(&o, "path", path_of(call));
    json_put_int(&o, "status", status);
    if (call->priv->failed != ERR_OK)
        json_put_text(&o, "code", err_code(call->priv->failed));
    json_put_int(&o, "bytes", (int64_t)call->out.len);
    json_put_int(&o, "duration_us", took / 1000);
    json_put_text(&o, "request_id", call->request_id);
    json_put_text(&o, "trace_id", call->trace.trace_id);
    if (call->has_token)
        json_put_int(&o, "customer_id", call->claims.customer_id);
    json_put_text(&o, "peer", call->peer);
    if (strcmp(call->client, call->peer) != 0)
        json_put_text(&o, "client", call->client);
    buf_append(line, buf_cstr(&call->log_members), call->log_members.len);
}

static void tell_span(const struct call *call, int status)
{
    struct spans *spans = call->priv->shared->conf.spans;
    if (spans == NULL)
        return;
    struct span span = span_since(&call->trace, SPAN_SERVER, call->started);
    snprintf(span.name, sizeof span.name, "%s %s", http_method_name(call->method),
             call->route == NULL ? "" : call->route->path);
    span.status = status;
    span.failed = status >= 500;
    spans_add(spans, &span);
}

void account_call(const struct call *call, bool aborted, struct buf *line)
{
    mono_ns_t took = clock_mono_ns() - call->started;
    int status = aborted ? CLIENT_GONE : call->status;
    count(call, status, took);
    tell_span(call, status);
    if (!call->priv->shared->conf.access_log || call->priv->shared->conf.log == NULL)
        return;
    buf_reset(line);
    write_line(call, status, took, line);
    log_access(call->priv->shared->conf.log, line);
}
