/* spans.h — what took how long in a trace, told to a collector: OTLP over HTTP, as JSON (OpenTelemetry Protocol 1).
 *
 * For     the HTTP server (one span a call), the gateway (one a request to a service) and the lane (one a command or event). Off
 *         unless a process is given an endpoint; then everybody's `struct spans *` is NULL, which all of these take.
 * Owns    a ring of SPANS_MAX finished spans, and the thread that sends them, SPANS_BATCH_MAX at most at a time.
 * Threads spans_add: any; it copies, and never waits for the network. Opening and closing: main.
 * Fails   spans_open with what is wrong with the endpoint. Later nothing fails: spans that find the ring full, or whose batch the
 *         collector does not take within SPANS_SEND_MS, are dropped and counted (trace_spans_dropped_total).
 */
#ifndef IO_SPANS_H
#define IO_SPANS_H

#include "base/clock.h"
#include "base/err.h"
#include "io/metrics.h"
#include "io/trace.h"

enum { SPANS_MAX = 4096, SPANS_BATCH_MAX = 512, SPANS_SEND_MS = 2000, SPANS_EVERY_MS = 1000 };

enum span_kind { SPAN_INTERNAL = 1, SPAN_SERVER, SPAN_CLIENT, SPAN_PRODUCER, SPAN_CONSUMER }; /* as OTLP numbers them */
struct span {
    struct trace trace; /* its own id, and that of the span above */
    enum span_kind kind;
    char name[64];    /* "GET /api/v1/orders/{id}": from a bounded set */
    char service[48]; /* whom a client asks; "": nobody */
    time_us_t started, ended;
    int status; /* HTTP's; 0: none */
    bool failed;
};

struct spans;
struct spans_conf {
    const char *endpoint; /* "http://127.0.0.1:4318"; /v1/traces is added */
    const char *service;  /* "order-svc" */
    struct metrics *metrics;
};
MUST_CHECK enum err spans_open(const struct spans_conf *conf, struct spans **ret, struct fault *fault);
void spans_close(struct spans *s); /* sends what is left, once */

/* A span that began then and ends now; the caller says the rest. */
struct span span_since(const struct trace *trace, enum span_kind kind, mono_ns_t started);
void spans_add(struct spans *s, const struct span *span);

#endif
