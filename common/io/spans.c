#include "io/spans.h"

#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "io/json.h"

enum { HOST_MAX = 256, PORT_MAX = 6, PATH_MAX_LEN = 128, STATUS_LINE = 12, ANSWER_MAX = 4096 };
#define SCHEME "http://"
#define DEFAULT_PORT "4318"

struct spans {
    char host[HOST_MAX], port[PORT_MAX], path[PATH_MAX_LEN];
    const char *service;
    struct counter *exported, *dropped;
    pthread_t id;
    pthread_mutex_t mutex; /* for all below */
    pthread_cond_t changed;
    struct span ring[SPANS_MAX];
    size_t first, count;
    bool ended;
    struct span batch[SPANS_BATCH_MAX]; /* the thread's own */
};

/* ---- the endpoint ---- */

static enum err endpoint_parse(const char *text, struct spans *ret, struct fault *fault)
{
    const char *rest = text + sizeof SCHEME - 1;
    bool known = strncasecmp(text, SCHEME, sizeof SCHEME - 1) == 0;
    size_t len = known ? strcspn(rest, "/") : 0;
    struct str authority = {rest, len}, path = known ? str_of(rest + len) : (struct str){0};
    const char *colon = known ? memchr(rest, ':', len) : NULL;
    struct str host = {rest, colon == NULL ? authority.len : (size_t)(colon - rest)};
    struct str port = colon == NULL ? str_of(DEFAULT_PORT) : (struct str){colon + 1, len - host.len - 1};
    while (path.len > 0 && path.data[path.len - 1] == '/')
        path.len--;
    if (!known || host.len == 0 || port.len == 0 || !str_copy(ret->host, sizeof ret->host, host) ||
        !str_copy(ret->port, sizeof ret->port, port) || strspn(ret->port, "0123456789") != port.len ||
        path.len + sizeof "/v1/traces" > sizeof ret->path)
        return fault_set(fault, ERR_CONF, "OTLP_ENDPOINT must be http://HOST:PORT, not \"%s\"", text);
    snprintf(ret->path, sizeof ret->path, "%.*s/v1/traces", (int)path.len, path.data);
    return ERR_OK;
}

/* ---- OTLP ---- */

static void put_text_attribute(struct json_out *o, const char *key, const char *value)
{
    json_open(o, NULL, '{');
    json_put_text(o, "key", key);
    json_open(o, "value", '{');
    json_put_text(o, "stringValue", value);
    json_close(o, '}');
    json_close(o, '}');
}

static void put_time(struct json_out *o, const char *name, time_us_t at)
{
    char text[32];
    snprintf(text, sizeof text, "%lld000", (long long)at); /* nanoseconds, which a double would not hold */
    json_put_text(o, name, text);
}

static void put_span(struct json_out *o, const struct span *s)
{
    json_open(o, NULL, '{');
    json_put_text(o, "traceId", s->trace.trace_id);
    json_put_text(o, "spanId", s->trace.span_id);
    if (s->trace.parent_id[0] != '\0')
        json_put_text(o, "parentSpanId", s->trace.parent_id);
    json_put_text(o, "name", s->name);
    json_put_int(o, "kind", (int)s->kind);
    put_time(o, "startTimeUnixNano", s->started);
    put_time(o, "endTimeUnixNano", s->ended);
    json_open(o, "attributes", '[');
    if (s->service[0] != '\0')
        put_text_attribute(o, "peer.service", s->service);
    if (s->status != 0) {
        json_open(o, NULL, '{');
        json_put_text(o, "key", "http.response.status_code");
        json_open(o, "value", '{');
        json_put_int(o, "intValue", s->status);
        json_close(o, '}');
        json_close(o, '}');
    }
    json_close(o, ']');
    json_open(o, "status", '{');
    if (s->failed)
        json_put_int(o, "code", 2);
    json_close(o, '}');
    json_close(o, '}');
}

static void put_batch(const struct spans *s, size_t count, struct buf *out)
{
    struct json_out o = json_out(out);
    json_open(&o, NULL, '{');
    json_open(&o, "resourceSpans", '[');
    json_open(&o, NULL, '{');
    json_open(&o, "resource", '{');
    json_open(&o, "attributes", '[');
    put_text_attribute(&o, "service.name", s->service);
    json_close(&o, ']');
    json_close(&o, '}');
    json_open(&o, "scopeSpans", '[');
    json_open(&o, NULL, '{');
    json_open(&o, "spans", '[');
    for (size_t i = 0; i < count; i++)
        put_span(&o, &s->batch[i]);
    json_close(&o, ']');
    json_close(&o, '}');
    json_close(&o, ']');
    json_close(&o, '}');
    json_close(&o, ']');
    json_close(&o, '}');
}

/* ---- sending ---- */

/* The name is looked up each time: a collector may move. */
static int dial(const struct spans *s)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    const struct timeval patience = {.tv_sec = SPANS_SEND_MS / 1000, .tv_usec = SPANS_SEND_MS % 1000 * 1000};
    int fd = -1;
    if (getaddrinfo(s->host, s->port, &hints, &found) != 0)
        return -1;
    for (const struct addrinfo *a = found; a != NULL && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
            continue;
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience); /* connect's, too */
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        if (connect(fd, a->ai_addr, a->ai_addrlen) != 0) {
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(found);
    return fd;
}

static bool send_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        data += n;
        len -= (size_t)n;
    }
    return true;
}

/* Only the status counts. The answer is read to its end, bounded, so that closing does not reset what we sent. */
static bool is_taken(int fd)
{
    char answer[ANSWER_MAX];
    size_t len = 0;
    ssize_t n;
    while (len < sizeof answer && (n = recv(fd, answer + len, sizeof answer - len, 0)) > 0)
        len += (size_t)n;
    return len >= STATUS_LINE && memcmp(answer, "HTTP/1.", 7) == 0 && answer[9] == '2';
}

static bool send_batch(const struct spans *s, size_t count)
{
    struct buf body, head;
    int fd = dial(s);
    if (fd < 0)
        return false;
    buf_init(&body);
    buf_init(&head);
    put_batch(s, count, &body);
    buf_printf(&head,
               "POST %s HTTP/1.1\r\nHost: %s:%s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n"
               "Connection: close\r\n\r\n",
               s->path, s->host, s->port, body.len);
    bool taken = send_all(fd, head.data, head.len) && send_all(fd, body.data, body.len) && is_taken(fd);
    buf_done(&head);
    buf_done(&body);
    close(fd);
    return taken;
}

/* ---- the thread ---- */

static void await_work(struct spans *s)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += SPANS_EVERY_MS / 1000;
    while (!s->ended && s->count < SPANS_BATCH_MAX)
        if (pthread_cond_timedwait(&s->changed, &s->mutex, &until) != 0)
            return;
}

static size_t take_batch(struct spans *s)
{
    size_t count = s->count < SPANS_BATCH_MAX ? s->count : SPANS_BATCH_MAX;
    for (size_t i = 0; i < count; i++)
        s->batch[i] = s->ring[(s->first + i) % SPANS_MAX];
    s->first = (s->first + count) % SPANS_MAX;
    s->count -= count;
    return count;
}

static void count_in(struct counter *c, size_t n)
{
    if (c != NULL)
        counter_add(c, n);
}

/* At the end a collector that does not answer is not asked again. */
static void *thread_main(void *arg)
{
    struct spans *s = arg;
    bool ends = false;
    while (!ends) {
        pthread_mutex_lock(&s->mutex);
        await_work(s);
        size_t count = take_batch(s);
        bool ended = s->ended;
        ends = ended && s->count == 0;
        pthread_mutex_unlock(&s->mutex);
        bool taken = count > 0 && send_batch(s, count);
        count_in(taken ? s->exported : s->dropped, count);
        ends = ends || (ended && !taken);
    }
    return NULL;
}

enum err spans_open(const struct spans_conf *conf, struct spans **ret, struct fault *fault)
{
    sigset_t all, before;
    pthread_condattr_t monotonic;
    struct spans *s = mem_alloc(sizeof *s);
    enum err e = endpoint_parse(conf->endpoint, s, fault);
    if (e != ERR_OK) {
        mem_free(s);
        return e;
    }
    s->service = conf->service;
    if (conf->metrics != NULL) {
        s->exported = metrics_counter(conf->metrics, "trace_spans_exported_total", "Spans that the collector took", "");
        s->dropped = metrics_counter(conf->metrics, "trace_spans_dropped_total",
                                     "Spans that found no room, or that the collector did not take", "");
    }
    pthread_mutex_init(&s->mutex, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&s->id, NULL, thread_main, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0) {
        mem_free(s);
        return fault_set(fault, ERR_BUSY, "start the thread that sends spans: %s", strerror(rc));
    }
    *ret = s;
    return ERR_OK;
}

void spans_close(struct spans *s)
{
    if (s == NULL)
        return;
    pthread_mutex_lock(&s->mutex);
    s->ended = true;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->mutex);
    pthread_join(s->id, NULL);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->mutex);
    mem_free(s);
}

/* ---- adding ---- */

struct span span_since(const struct trace *trace, enum span_kind kind, mono_ns_t started)
{
    time_us_t now = clock_now_us();
    return (struct span){
        .trace = *trace, .kind = kind, .started = now - (clock_mono_ns() - started) / 1000, .ended = now};
}

void spans_add(struct spans *s, const struct span *span)
{
    if (s == NULL || !span->trace.sampled)
        return;
    pthread_mutex_lock(&s->mutex);
    bool fits = s->count < SPANS_MAX;
    if (fits)
        s->ring[(s->first + s->count++) % SPANS_MAX] = *span;
    if (s->count == SPANS_BATCH_MAX)
        pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->mutex);
    if (!fits)
        count_in(s->dropped, 1);
}
