#include "io/http.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <linux/filter.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/http_negotiate.h"
#include "io/http_private.h"
#include "io/http_tls.h"

enum {
    CONNECTIONS_DEFAULT = 4096,
    CONNECTION_MEMORY = 32 * 1024, /* the library's pool; above 32 KiB every connection costs an mmap */
    INACTIVITY_S = 15,
    HANDSHAKE_MS = 50,        /* when draining: how long one may take that has begun */
    BACKLOG_ROUNDS_MAX = 512, /* of ten accepts each, when draining */
    ACCESS_FLUSH_MS = 100,
    GONE_LOOK_MS = 20, /* a call that takes longer has its client watched: others are not worth two system calls */
    COMMON_HEADERS_MAX = 6,
};
#define NEVER INT64_MAX

/* RFC 6797: a year, as browsers' lists want it. */
#define HSTS_NAME "Strict-Transport-Security"
#define HSTS_VALUE "max-age=31536000"

const struct http_limits HTTP_LIMITS = {
    .header_ms = 5000,
    .body_ms = 5000,
    .idle_ms = 15000,
    .answer_ms = 30000,
    .linger_ms = 300,
};

/* What a connection's deadline is for. */
enum stage { STAGE_IDLE, STAGE_HEAD, STAGE_BODY, STAGE_HANDLER, STAGE_ANSWER };

struct conn {
    struct http_thread *thread;
    struct MHD_Connection *mhd;
    int fd;
    enum stage stage;
    mono_ns_t deadline;
    struct loop_timer timer; /* never later than the deadline; moved only when it fires, not at every request */
    struct call *call;       /* the request under way, or NULL */
    struct loop_timer gone_look;
    struct loop_watch gone_watch; /* of our own epoll: the library's does not know a suspended connection */
    bool gone_watched;
    bool cut_off;          /* its call was: it still gets an answer */
    bool shut;             /* we gave it up: what the library still reads from it is not acted upon */
    int served;            /* answers */
    struct tls_pair *pair; /* the certificate that it was shown */
    char peer[sizeof((struct call *)0)->peer];
};

struct http_thread {
    struct http_server *server;
    size_t index;
    struct http_generation *generation; /* new calls' */
    struct loop *loop;
    struct MHD_Daemon *daemon;
    struct loop_watch watch; /* the daemon's epoll descriptor */
    pthread_t id;
    bool started;
    void *local;
    struct call_pool calls;
    size_t in_flight, suspended;
    struct gauge *active;
    struct buf line; /* the access log's scratch */
    struct loop_timer flush, shut_door;
    struct loop_task quiesce, end, swap;
    bool ending;
};

struct http_server {
    struct http_shared shared;
    struct http_tls *tls; /* NULL: plain HTTP */
    struct gauge *tls_not_after;
    int port;
    atomic_int in_flight, conns, listening, cut_off;
    atomic_int swapping;                 /* threads that have not yet */
    struct http_generation *generations; /* that somebody has, the newest first; under the mutex */
    atomic_bool draining;
    pthread_mutex_t mutex;  /* for the condition only */
    pthread_cond_t quieter; /* while draining: a call or a connection ended. While swapping: a thread has swapped */
    struct http_thread *threads;
    int thread_count;
};

/* ---- counting ---- */

static void tell_drainer(struct http_server *s)
{
    if (!atomic_load(&s->draining))
        return;
    pthread_mutex_lock(&s->mutex);
    pthread_cond_signal(&s->quieter);
    pthread_mutex_unlock(&s->mutex);
}

static void count_in_flight(struct http_thread *t, int change)
{
    t->in_flight = (size_t)((int64_t)t->in_flight + change);
    atomic_fetch_add(&t->server->in_flight, change);
    if (t->active != NULL)
        gauge_set(t->active, (double)t->in_flight);
    if (change < 0)
        tell_drainer(t->server);
}

/* ---- connections and their deadlines ---- */

static mono_ns_t conn_check_at(const struct conn *c, mono_ns_t now)
{
    const struct http_limits *l = &c->thread->server->shared.limits;
    int tick_ms = l->header_ms;
    const int others[] = {l->body_ms, l->idle_ms, l->answer_ms};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        tick_ms = others[i] < tick_ms ? others[i] : tick_ms;
    mono_ns_t check = now + tick_ms * NS_PER_MS;
    return c->deadline < check ? c->deadline : check;
}

static void conn_expect(struct conn *c, enum stage stage, mono_ns_t now, int within_ms)
{
    c->stage = stage;
    c->deadline = now + within_ms * NS_PER_MS;
}

/* Both ways, so that the library notices and closes; what has been sent still arrives. */
static void conn_shut(struct conn *c)
{
    c->shut = true;
    (void)shutdown(c->fd, SHUT_RDWR);
}

static void answer_past_library(struct conn *c, enum err e);
static void on_gone_look(struct loop_timer *timer);
static void on_gone(struct loop_watch *w, uint32_t events);

/* The shortest of all times after `now` is when this fires; since then the deadline may have moved away. */
static void on_conn_timer(struct loop_timer *timer)
{
    struct conn *c = OWNER_OF(timer, struct conn, timer);
    mono_ns_t now = clock_mono_ns();
    if (c->deadline > now) {
        loop_timer_set(c->thread->loop, timer, conn_check_at(c, now));
        return;
    }
    if (c->stage == STAGE_HEAD || c->stage == STAGE_BODY) {
        fault_set(&c->call->fault, ERR_REQUEST_TIMEOUT, "the request did not arrive in time");
        answer_past_library(c, ERR_REQUEST_TIMEOUT);
    }
    conn_shut(c);
}

static void peer_format(const struct sockaddr *addr, char *ret, socklen_t cap)
{
    ret[0] = '\0';
    if (addr->sa_family == AF_INET) {
        inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)addr)->sin_addr, ret, cap);
    } else if (addr->sa_family == AF_INET6) {
        const struct in6_addr *a = &((const struct sockaddr_in6 *)(const void *)addr)->sin6_addr;
        bool mapped = IN6_IS_ADDR_V4MAPPED(a);
        inet_ntop(mapped ? AF_INET : AF_INET6, mapped ? (const void *)&a->s6_addr[12] : (const void *)a, ret, cap);
    }
}

static void conn_open(struct http_thread *t, struct MHD_Connection *mhd, void **ret_context)
{
    struct conn *c = mem_alloc(sizeof *c);
    mono_ns_t now = clock_mono_ns();
    c->thread = t;
    c->mhd = mhd;
    c->fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    c->timer.fire = on_conn_timer;
    c->gone_look.fire = on_gone_look;
    c->gone_watch = (struct loop_watch){on_gone, c->fd};
    peer_format(MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS)->client_addr, c->peer, sizeof c->peer);
    conn_expect(c, STAGE_IDLE, now, t->server->shared.limits.header_ms);
    loop_timer_set(t->loop, &c->timer, conn_check_at(c, now));
    atomic_fetch_add(&t->server->conns, 1);
    *ret_context = c;
}

static void conn_close(struct conn *c)
{
    struct http_server *s = c->thread->server;
    assert(c->call == NULL);
    loop_timer_clear(c->thread->loop, &c->timer);
    tls_pair_drop(c->pair);
    mem_free(c);
    atomic_fetch_sub(&s->conns, 1);
    tell_drainer(s);
}

/* In a handshake. The library has put its connection behind the session. */
static int on_certificate_wanted(gnutls_session_t session, const gnutls_datum_t *issuers, int issuer_count,
                                 const gnutls_pk_algorithm_t *algorithms, int algorithm_count,
                                 gnutls_pcert_st **ret_chain, unsigned *ret_count, gnutls_privkey_t *ret_key)
{
    struct conn *c =
        MHD_get_connection_info(gnutls_session_get_ptr(session), MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    (void)issuers, (void)issuer_count, (void)algorithms, (void)algorithm_count;
    tls_pair_drop(c->pair);
    c->pair = http_tls_take(c->thread->server->tls);
    tls_pair_show(c->pair, ret_chain, ret_count, ret_key);
    return 0;
}

static void on_connection(void *arg, struct MHD_Connection *mhd, void **context,
                          enum MHD_ConnectionNotificationCode what)
{
    if (what == MHD_CONNECTION_NOTIFY_STARTED)
        conn_open(arg, mhd, context);
    else if (*context != NULL)
        conn_close(*context);
}

/* ---- generations of routes ---- */

/* The thread has no use for it any more, or its calls have. */
static void leave_generation(struct http_thread *t, struct http_generation *g)
{
    struct http_server *s = t->server;
    if (g == t->generation || g->calls[t->index] > 0 || atomic_fetch_sub(&g->threads, 1) > 1)
        return;
    pthread_mutex_lock(&s->mutex);
    struct http_generation **at = &s->generations;
    while (*at != g)
        at = &(*at)->next;
    *at = g->next;
    pthread_mutex_unlock(&s->mutex);
    generation_free(g);
}

static void enter_call(struct http_thread *t, struct call *call)
{
    call->priv->generation = t->generation;
    call->app = t->generation->app;
    t->generation->calls[t->index]++;
}

static void leave_call(struct http_thread *t, struct http_generation *g)
{
    g->calls[t->index]--;
    leave_generation(t, g);
}

static void on_swap(struct loop_task *task)
{
    struct http_thread *t = OWNER_OF(task, struct http_thread, swap);
    struct http_server *s = t->server;
    struct http_generation *before = t->generation;
    pthread_mutex_lock(&s->mutex);
    t->generation = s->generations;
    atomic_fetch_sub(&s->swapping, 1);
    pthread_cond_signal(&s->quieter);
    pthread_mutex_unlock(&s->mutex);
    leave_generation(t, before);
}

/* ---- answers ---- */

static bool has_reply_header(const struct call *call, const char *name)
{
    for (size_t i = 0; i < call->reply_header_count; i++)
        if (strcasecmp(call->reply_headers[i].name, name) == 0)
            return true;
    return false;
}

static size_t common_headers(const struct call *call, struct header ret[COMMON_HEADERS_MAX])
{
    size_t n = 0;
    if (call->close || atomic_load_explicit(&call->priv->thread->server->draining, memory_order_relaxed))
        ret[n++] = (struct header){"Connection", "close"};
    ret[n++] = (struct header){"X-Request-Id", call->request_id};
    ret[n++] = (struct header){"X-Content-Type-Options", "nosniff"};
    if (call->priv->thread->server->tls != NULL)
        ret[n++] = (struct header){HSTS_NAME, HSTS_VALUE};
    if (!has_reply_header(call, "Cache-Control"))
        ret[n++] = (struct header){"Cache-Control", "no-store"};
    if (call->out.len > 0)
        ret[n++] = (struct header){"Content-Type",
                                   call->content_type == NULL ? "application/json" : call->content_type};
    return n;
}

static void add_headers(struct MHD_Response *response, const struct header *headers, size_t count)
{
    for (size_t i = 0; i < count; i++)
        (void)MHD_add_response_header(response, headers[i].name, headers[i].value);
}

/* The body stays where it is: the call ends only after the library is done with it. */
static enum MHD_Result answer(struct conn *c)
{
    struct call *call = c->call;
    struct header common[COMMON_HEADERS_MAX];
    int requests_max = c->thread->server->shared.conf.requests_max;
    c->served++;
    call->close = call->close || c->served == requests_max;
    if (call->status == 204)
        buf_reset(&call->out);
    struct MHD_Response *response = MHD_create_response_from_buffer(call->out.len, call->out.data,
                                                                    MHD_RESPMEM_PERSISTENT);
    if (response == NULL)
        return MHD_NO;
    add_headers(response, common, common_headers(call, common));
    add_headers(response, call->reply_headers, call->reply_header_count);
    conn_expect(c, STAGE_ANSWER, clock_mono_ns(), c->thread->server->shared.limits.answer_ms);
    enum MHD_Result rc = MHD_queue_response(c->mhd, (unsigned)call->status, response);
    MHD_destroy_response(response);
    return rc;
}

/* A request that brings neither id gets one for both: there is only one to search for. */
static void identify(struct call *call)
{
    struct str given = call->priv->head.known[KNOWN_REQUEST_ID], parent = call->priv->head.known[KNOWN_TRACEPARENT];
    call->trace = parent.len > 0 ? trace_child(parent) : trace_new();
    if (call->priv->shared->conf.trust_request_id && negotiate_is_request_id(given))
        (void)str_copy(call->request_id, sizeof call->request_id, given);
    else if (parent.len > 0)
        uuid_format(uuid_v7(), call->request_id);
    else
        (void)str_copy(call->request_id, sizeof call->request_id, str_of(call->trace.trace_id));
}

/* Nothing is known of a request whose head is wrong but who sent it. */
static void name_client(struct call *call)
{
    const struct networks *trusted = call->priv->shared->conf.trusted_proxies;
    if (trusted != NULL)
        networks_client(trusted, call->peer, call->priv->head.known[KNOWN_FORWARDED_FOR], call->client);
}

static void send_now(struct conn *c, const struct buf *text)
{
    const union MHD_ConnectionInfo *session = MHD_get_connection_info(c->mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    if (session != NULL && session->tls_session != NULL) {
        (void)tls_send(session->tls_session, text->data, text->len);
        return;
    }
    ssize_t ignored = send(c->fd, text->data, text->len, MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)ignored;
}

static void write_headers(struct buf *out, const struct header *headers, size_t count)
{
    for (size_t i = 0; i < count; i++)
        buf_printf(out, "%s: %s\r\n", headers[i].name, headers[i].value);
}

/* In the middle of a head or a body the library takes no answer. Nothing of this one has been sent and the one before is out,
 * so the socket is ours for a last word; if it doesn't fit, the client was not listening. */
static void answer_past_library(struct conn *c, enum err e)
{
    struct call *call = c->call;
    struct header common[COMMON_HEADERS_MAX];
    struct buf text;
    if (call->request_id[0] == '\0')
        identify(call);
    call->close = true;
    frame_answer(call, e);
    call->priv->answered = true;

    buf_init(&text);
    buf_printf(&text, "HTTP/1.1 %d %s\r\nContent-Length: %zu\r\n", call->status,
               MHD_get_reason_phrase_for((unsigned)call->status), call->out.len);
    write_headers(&text, common, common_headers(call, common));
    write_headers(&text, call->reply_headers, call->reply_header_count);
    buf_str(&text, "\r\n");
    buf_append(&text, call->out.data, call->out.len);
    send_now(c, &text);
    buf_done(&text);
}

/* The call is gone, to whoever was to finish it. */
static enum MHD_Result answer_cut_off(struct conn *c)
{
    struct buf out;
    buf_init(&out);
    problem_bare(&out, ERR_OUTCOME_UNKNOWN);
    struct MHD_Response *response = MHD_create_response_from_buffer(out.len, out.data, MHD_RESPMEM_MUST_COPY);
    buf_done(&out);
    if (response == NULL)
        return MHD_NO;
    (void)MHD_add_response_header(response, "Content-Type", "application/problem+json");
    (void)MHD_add_response_header(response, "Cache-Control", "no-store");
    (void)MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    (void)MHD_add_response_header(response, "Connection", "close");
    if (c->thread->server->tls != NULL)
        (void)MHD_add_response_header(response, HSTS_NAME, HSTS_VALUE);
    enum MHD_Result rc = MHD_queue_response(c->mhd, (unsigned)err_status(ERR_OUTCOME_UNKNOWN), response);
    MHD_destroy_response(response);
    return rc;
}

/* ---- a request, from its first line to its end ---- */

/* The library decodes nothing: "%00" would cut a path short, and only one place may decide what a path means. */
static size_t on_unescape(void *arg, struct MHD_Connection *mhd, char *text)
{
    (void)arg, (void)mhd;
    return strlen(text);
}

/* The request line has come. It is the only time that the raw target is to be had. */
static void *on_request_line(void *arg, const char *target, struct MHD_Connection *mhd)
{
    struct http_thread *t = arg;
    struct conn *c = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    struct call *call = call_take(&t->calls);
    struct call_private *priv = call->priv;
    priv->shared = &t->server->shared;
    priv->thread = t;
    enter_call(t, call);
    size_t len = strlen(target), kept = len <= HTTP_TARGET_MAX ? len : HTTP_TARGET_MAX + 1;
    priv->conn = c;
    priv->target_at = target;
    priv->target_len = len;
    priv->target = (struct str){arena_strndup(&call->arena, target, kept), kept};
    call->method = HTTP_OTHER;
    call->started = clock_mono_ns();
    memcpy(call->peer, c->peer, sizeof call->peer);
    memcpy(call->client, c->peer, sizeof call->client);
    c->call = call;
    count_in_flight(t, 1);
    conn_expect(c, STAGE_HEAD, call->started, t->server->shared.limits.header_ms);
    return c;
}

struct header_list {
    struct raw_header *items;
    size_t count;
};

static enum MHD_Result on_header(void *arg, enum MHD_ValueKind kind, const char *name, size_t name_len,
                                 const char *value, size_t value_len)
{
    struct header_list *list = arg;
    (void)kind;
    if (list->count < HTTP_HEADER_COUNT_MAX)
        list->items[list->count] = (struct raw_header){{name, name_len},
                                                       {value == NULL ? "" : value, value == NULL ? 0 : value_len}};
    list->count++;
    return MHD_YES;
}

static enum err check_head(struct conn *c, const char *method, const char *version)
{
    struct call *call = c->call;
    struct call_private *priv = call->priv;
    struct raw_header headers[HTTP_HEADER_COUNT_MAX];
    struct header_list list = {headers, 0};
    const union MHD_ConnectionInfo *size = MHD_get_connection_info(c->mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    (void)MHD_get_connection_values_n(c->mhd, MHD_HEADER_KIND, on_header, &list);
    struct raw_head raw = {
        .method = method,
        .target = priv->target,
        .target_at = priv->target_at,
        .target_len = priv->target_len,
        .version = version,
        .size = size == NULL ? 0 : size->header_size,
        .headers = headers,
        .header_count = list.count,
    };
#if MHD_VERSION < 0x01000000 /* later ones refuse such lines themselves, and cut values differently */
    enum err e = hygiene_layout(&raw, &call->fault);
    if (e != ERR_OK)
        return e;
#endif
    return hygiene_check(&raw, &call->arena, &priv->head, &call->fault);
}

static enum err judge_head(struct conn *c, const char *method, const char *version)
{
    struct call *call = c->call;
    struct http_head *head = &call->priv->head;
    enum err e = check_head(c, method, version);
    identify(call);
    call->method = head->method;
    if (e != ERR_OK)
        return e;
    call->path = head->path;
    call->query = head->query;
    call->headers = head->headers;
    call->header_count = head->header_count;
    name_client(call);
    return frame_admit(call);
}

/* Such a request is answered at once, and its connection closed: its body must not be read, or can't be told from the next. */
static bool must_close(const struct call *call, enum err e)
{
    const struct http_head *head = &call->priv->head;
    bool broken = e == ERR_MALFORMED_REQUEST || e == ERR_URI_TOO_LONG || e == ERR_HEADERS_TOO_LARGE ||
                  e == ERR_BODY_TOO_LARGE;
    bool unknown = head->method == HTTP_OTHER; /* whoever says CONNECT or TRACE means another kind of server */
    return broken || unknown || head->content_length > HTTP_BODY_MAX || head->known[KNOWN_EXPECT].data != NULL;
}

/* The library's first call: the head is complete. An answer queued now closes the connection, so other refusals wait for the
 * last call, when the body has been read and dropped. */
static enum MHD_Result on_head(struct conn *c, const char *method, const char *version)
{
    struct call *call = c->call;
    const struct http_limits *limits = &c->thread->server->shared.limits;
    if (c->thread->ending)
        return MHD_NO;
    enum err e = judge_head(c, method, version);
    if (e != ERR_OK && must_close(call, e)) {
        call->close = true;
        frame_answer(call, e);
        call->priv->answered = true;
        return answer(c);
    }
    call->priv->refused = e != ERR_OK;
    call->priv->outcome = e;
    conn_expect(c, STAGE_BODY, call->started, limits->header_ms + limits->body_ms);
    return MHD_YES;
}

static enum MHD_Result on_body(struct conn *c, const char *data, size_t *size)
{
    struct call *call = c->call;
    struct buf *body = &call->priv->body;
    if (body->len + *size > HTTP_BODY_MAX) { /* only a chunked one: a Content-Length has been judged before */
        fault_set(&call->fault, ERR_BODY_TOO_LARGE, "a body has at most %d bytes", HTTP_BODY_MAX);
        answer_past_library(c, ERR_BODY_TOO_LARGE);
        return MHD_NO;
    }
    buf_append(body, data, *size);
    c->deadline += (mono_ns_t)*size * NS_PER_S / HTTP_BODY_RATE;
    *size = 0;
    return MHD_YES;
}

/* The library's last call, when all has come; and once more after a deferred call has been finished. */
static enum MHD_Result on_complete_request(struct conn *c)
{
    struct call *call = c->call;
    if (call->priv->answered)
        return answer(c);
    call->body = (struct str){buf_cstr(&call->priv->body), call->priv->body.len};
    c->stage = STAGE_HANDLER;
    c->deadline = NEVER;
    frame_handle(call);
    if (atomic_load(&call->priv->state) == CALL_MINE) {
        call->priv->answered = true;
        return answer(c);
    }
    c->thread->suspended++;
    if (call->priv->gone != NULL)
        loop_timer_set(c->thread->loop, &c->gone_look, clock_mono_ns() + GONE_LOOK_MS * NS_PER_MS);
    MHD_suspend_connection(c->mhd);
    return MHD_YES;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *mhd, const char *url, const char *method,
                                  const char *version, const char *data, size_t *size, void **context)
{
    struct conn *c = *context;
    (void)arg, (void)mhd, (void)url;
    if (c->shut)
        return MHD_NO;
    if (c->cut_off)
        return answer_cut_off(c);
    if (c->stage == STAGE_HEAD)
        return on_head(c, method, version);
    if (*size > 0)
        return on_body(c, data, size);
    return on_complete_request(c);
}

static void on_flush_timer(struct loop_timer *timer)
{
    struct http_thread *t = OWNER_OF(timer, struct http_thread, flush);
    log_flush(t->server->shared.conf.log);
}

static void flush_soon(struct http_thread *t, mono_ns_t now)
{
    if (t->server->shared.conf.access_log && t->server->shared.conf.log != NULL && t->flush.slot == 0)
        loop_timer_set(t->loop, &t->flush, now + ACCESS_FLUSH_MS * NS_PER_MS);
}

/* What the library answered by itself to a head or a body that it could not read; 0: nothing. */
static int status_of_library(struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *status = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_HTTP_STATUS);
    return status == NULL ? 0 : (int)status->http_status;
}

/* The answer is out, or the client or the server gave up. */
static void on_completed(void *arg, struct MHD_Connection *mhd, void **context, enum MHD_RequestTerminationCode why)
{
    struct http_thread *t = arg;
    struct conn *c = *context;
    if (c == NULL || c->call == NULL)
        return;
    struct call *call = c->call;
    bool ours = call->priv->answered, past_library = ours && c->stage != STAGE_ANSWER;
    if (!ours)
        call->status = status_of_library(mhd);
    bool aborted = ours ? why != MHD_REQUEST_TERMINATED_COMPLETED_OK && !past_library : call->status == 0;
    mono_ns_t now = clock_mono_ns();
    c->call = NULL;
    account_call(call, aborted, &t->line);
    flush_soon(t, now);
    struct http_generation *generation = call->priv->generation;
    call_put_back(&t->calls, call);
    leave_call(t, generation);
    conn_expect(c, STAGE_IDLE, now, t->server->shared.limits.idle_ms);
    count_in_flight(t, -1);
}

/* ---- deferred calls ---- */

static void on_gone_look(struct loop_timer *timer)
{
    struct conn *c = OWNER_OF(timer, struct conn, gone_look);
    struct fault fault;
    c->gone_watched = loop_watch_add(c->thread->loop, &c->gone_watch, EPOLLRDHUP, &fault) == ERR_OK;
}

static void look_away(struct conn *c)
{
    loop_timer_clear(c->thread->loop, &c->gone_look);
    if (c->gone_watched)
        loop_watch_del(c->thread->loop, &c->gone_watch);
    c->gone_watched = false;
}

/* Half closed counts as gone, as it does with nginx: a client that waits for an answer keeps its end open. */
static void on_gone(struct loop_watch *w, uint32_t events)
{
    struct conn *c = OWNER_OF(w, struct conn, gone_watch);
    (void)events;
    look_away(c);
    if (atomic_load(&c->call->priv->state) == CALL_DEFERRED)
        c->call->priv->gone(c->call);
}

void call_on_gone(struct call *call, void (*gone)(struct call *call))
{
    call->priv->gone = gone;
}

static void resume(struct conn *c)
{
    look_away(c);
    c->thread->suspended--;
    MHD_resume_connection(c->mhd);
}

static void on_finish(struct loop_task *task)
{
    struct call_private *priv = OWNER_OF(task, struct call_private, finish);
    struct call *call = priv->conn->call;
    atomic_store(&priv->state, CALL_MINE);
    frame_answer(call, priv->outcome);
    priv->answered = true;
    resume(priv->conn);
}

void call_defer(struct call *call)
{
    assert(atomic_load(&call->priv->state) == CALL_MINE);
    call->priv->finish.run = on_finish;
    atomic_store(&call->priv->state, CALL_DEFERRED);
}

void call_finish(struct call *call, enum err e)
{
    int expected = CALL_DEFERRED;
    call->priv->outcome = e;
    if (atomic_compare_exchange_strong(&call->priv->state, &expected, CALL_FINISHED)) {
        loop_post(call->priv->thread->loop, &call->priv->finish);
        return;
    }
    assert(expected == CALL_CUT_OFF);
    call_free(call);
}

struct loop *call_loop(struct call *call)
{
    return call->priv->thread->loop;
}

void *call_local(struct call *call)
{
    return call->priv->thread->local;
}

/* ---- threads ---- */

/* Runs the library after every wake-up: some of what waits for it (resumed connections, bytes that it read but did not look at
 * yet) shows on no descriptor. */
static int before_wait(void *arg)
{
    struct http_thread *t = arg;
    unsigned long long wait_ms;
    (void)MHD_run(t->daemon);
    if (t->ending && t->suspended == 0)
        loop_stop(t->loop);
    if (MHD_get_timeout(t->daemon, &wait_ms) != MHD_YES)
        return -1;
    return wait_ms > INT_MAX ? INT_MAX : (int)wait_ms;
}

static void on_daemon_ready(struct loop_watch *w, uint32_t events)
{
    (void)w, (void)events; /* before_wait comes next */
}

static void *thread_main(void *arg)
{
    struct http_thread *t = arg;
    const struct http_server_conf *conf = &t->server->shared.conf;
    if (conf->thread_start != NULL)
        t->local = conf->thread_start(t->generation->app, t->loop);
    loop_run(t->loop);
    MHD_stop_daemon(t->daemon);
    t->daemon = NULL;
    if (conf->thread_stop != NULL)
        conf->thread_stop(t->generation->app, t->local);
    if (conf->log != NULL)
        log_flush(conf->log);
    return NULL;
}

/* ---- draining ---- */

static bool is_readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

/* Whoever has greeted or been greeted by the kernel, but not yet by us, would be reset when the socket is closed. So first a
 * filter on the TCP header's flags keeps out who has not begun (his second knock comes a second later, and is refused). */
static void keep_newcomers_out(int fd)
{
    enum { FLAGS_AT = 13, SYN = 0x02, ACK = 0x10 };
    struct sock_filter drop_syn[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, FLAGS_AT),   BPF_STMT(BPF_ALU | BPF_AND | BPF_K, SYN | ACK),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYN, 0, 1), BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
    };
    const struct sock_fprog program = {sizeof drop_syn / sizeof drop_syn[0], drop_syn};
    (void)setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

static int listen_fd_of(const struct http_thread *t)
{
    return MHD_get_daemon_info(t->daemon, MHD_DAEMON_INFO_LISTEN_FD)->listen_fd;
}

static void on_quiesce(struct loop_task *task)
{
    struct http_thread *t = OWNER_OF(task, struct http_thread, quiesce);
    keep_newcomers_out(listen_fd_of(t));
    loop_timer_set(t->loop, &t->shut_door, clock_mono_ns() + HANDSHAKE_MS * NS_PER_MS);
}

/* Greetings are over by now: takes who is in, and closes. */
static void on_shut_door(struct loop_timer *timer)
{
    struct http_thread *t = OWNER_OF(timer, struct http_thread, shut_door);
    for (int rounds = 0; rounds < BACKLOG_ROUNDS_MAX && is_readable(listen_fd_of(t)); rounds++)
        (void)MHD_run(t->daemon);
    int fd = MHD_quiesce_daemon(t->daemon);
    if (fd >= 0)
        close(fd);
    atomic_fetch_sub(&t->server->listening, 1);
    tell_drainer(t->server);
}

/* Takes the call from its connection; it belongs to whoever will finish it. False: he just has. */
static bool cut_off(struct http_thread *t, struct call *call)
{
    int expected = CALL_DEFERRED;
    struct conn *c = call->priv->conn;
    call_unlink(&t->calls, call); /* while it is still ours */
    if (!atomic_compare_exchange_strong(&call->priv->state, &expected, CALL_CUT_OFF)) {
        call_link(&t->calls, call);
        return false;
    }
    c->call = NULL;
    c->cut_off = true;
    count_in_flight(t, -1);
    resume(c);
    return true;
}

/* The library aborts when it is stopped while a connection is suspended: all are resumed, and before_wait then ends the loop. */
static void on_end(struct loop_task *task)
{
    struct http_thread *t = OWNER_OF(task, struct http_thread, end);
    struct call *next;
    atomic_fetch_add(&t->server->cut_off, (int)t->in_flight);
    t->ending = true;
    for (struct call *call = t->calls.under_way; call != NULL; call = next) {
        next = call->priv->next;
        if (atomic_load(&call->priv->state) == CALL_DEFERRED)
            (void)cut_off(t, call);
    }
}

static void post_to_all(struct http_server *s, size_t task_offset, void (*run)(struct loop_task *task))
{
    for (int i = 0; i < s->thread_count; i++) {
        struct loop_task *task = (struct loop_task *)(void *)((char *)&s->threads[i] + task_offset);
        task->run = run;
        loop_post(s->threads[i].loop, task);
    }
}

static struct timespec timespec_of(mono_ns_t at)
{
    return (struct timespec){.tv_sec = at / NS_PER_S, .tv_nsec = at % NS_PER_S};
}

static void wait_until_quiet(struct http_server *s, mono_ns_t linger_end, mono_ns_t end)
{
    pthread_mutex_lock(&s->mutex);
    for (;;) {
        mono_ns_t now = clock_mono_ns();
        bool busy = atomic_load(&s->in_flight) > 0;
        bool open = atomic_load(&s->conns) > 0 || atomic_load(&s->listening) > 0;
        mono_ns_t until = busy ? end : linger_end < end ? linger_end : end;
        if ((!busy && !open) || now >= until)
            break;
        struct timespec at = timespec_of(until);
        pthread_cond_timedwait(&s->quieter, &s->mutex, &at);
    }
    pthread_mutex_unlock(&s->mutex);
}

void http_server_lame(struct http_server *s)
{
    atomic_store(&s->draining, true);
}

int http_server_drain(struct http_server *s, int timeout_ms)
{
    mono_ns_t now = clock_mono_ns();
    if (s->thread_count == 0 || !s->threads[0].started)
        return 0;
    atomic_store(&s->draining, true);
    post_to_all(s, offsetof(struct http_thread, quiesce), on_quiesce);
    wait_until_quiet(s, now + s->shared.limits.linger_ms * NS_PER_MS, now + timeout_ms * NS_PER_MS);
    post_to_all(s, offsetof(struct http_thread, end), on_end);
    for (int i = 0; i < s->thread_count && s->threads[i].started; i++) {
        pthread_join(s->threads[i].id, NULL);
        s->threads[i].started = false;
    }
    return atomic_load(&s->cut_off);
}

/* ---- opening and closing ---- */

static unsigned share(int all, int threads)
{
    return (unsigned)((all + threads - 1) / threads);
}

/* MHD_OPTION_STRICT_FOR_CLIENT would refuse a missing Host and blanks in the target, without a problem document; hygiene
 * refuses both with one. */
static struct MHD_Daemon *daemon_start(struct http_thread *t, int listen_fd)
{
    const struct http_server_conf *conf = &t->server->shared.conf;
    const struct MHD_OptionItem options[] = {
        {MHD_OPTION_LISTEN_SOCKET, listen_fd, NULL},
        {MHD_OPTION_CONNECTION_LIMIT, share(conf->connections_max, conf->threads), NULL},
        {MHD_OPTION_PER_IP_CONNECTION_LIMIT, conf->per_ip_max, NULL},
        {MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY, NULL},
        {MHD_OPTION_CONNECTION_TIMEOUT, INACTIVITY_S, NULL},
        {MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)on_connection, t},
        {MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)on_completed, t},
        {MHD_OPTION_URI_LOG_CALLBACK, (intptr_t)on_request_line, t},
        {MHD_OPTION_UNESCAPE_CALLBACK, (intptr_t)on_unescape, t},
        {MHD_OPTION_END, 0, NULL},
    };
    const struct MHD_OptionItem tls_options[] = {
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)HTTP_TLS_PRIORITIES},
        {MHD_OPTION_HTTPS_CERT_CALLBACK, 0, (void *)(intptr_t)on_certificate_wanted},
        {MHD_OPTION_END, 0, NULL},
    };
    const struct MHD_OptionItem no_options[] = {{MHD_OPTION_END, 0, NULL}};
    bool tls = t->server->tls != NULL;
    return MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | (tls ? MHD_USE_TLS : 0), 0, NULL, NULL,
                            on_request, t, MHD_OPTION_ARRAY, options, MHD_OPTION_ARRAY, tls ? tls_options : no_options,
                            MHD_OPTION_END);
}

static enum err thread_open(struct http_thread *t, int listen_fd, struct fault *fault)
{
    enum err e = loop_open(&t->loop, fault);
    if (e == ERR_OK)
        t->daemon = daemon_start(t, listen_fd);
    if (t->daemon == NULL) {
        close(listen_fd);
        return e != ERR_OK ? e
                           : fault_set(fault, ERR_BUSY, "start the HTTP server on \"%s\": %s",
                                       t->server->shared.conf.listen, strerror(errno));
    }
    t->watch = (struct loop_watch){on_daemon_ready, MHD_get_daemon_info(t->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd};
    t->flush.fire = on_flush_timer;
    t->shut_door.fire = on_shut_door;
    loop_hook(t->loop, before_wait, t);
    return loop_watch_add(t->loop, &t->watch, POLLIN, fault);
}

static void thread_close(struct http_thread *t)
{
    assert(!t->started);
    if (t->daemon != NULL)
        MHD_stop_daemon(t->daemon);
    call_pool_done(&t->calls);
    buf_done(&t->line);
    loop_close(t->loop);
}

static void tell_not_after(struct http_server *s)
{
    if (s->tls_not_after != NULL)
        gauge_set(s->tls_not_after, (double)http_tls_not_after_s(s->tls));
}

static enum err tls_open(struct http_server *s, struct fault *fault)
{
    const struct http_server_conf *conf = &s->shared.conf;
    if (conf->tls_cert_file == NULL)
        return ERR_OK;
    enum err e = http_tls_open(conf->tls_cert_file, conf->tls_key_file, &s->tls, fault);
    if (e != ERR_OK)
        return e;
    if (conf->metrics != NULL)
        s->tls_not_after = metrics_gauge(conf->metrics, "http_server_tls_not_after_seconds",
                                         "When the certificate that is shown ends, in Unix time", "");
    tell_not_after(s);
    return ERR_OK;
}

enum err http_server_reload_tls(struct http_server *s, struct fault *fault)
{
    if (s->tls == NULL)
        return ERR_OK;
    enum err e = http_tls_reload(s->tls, fault);
    if (e == ERR_OK)
        tell_not_after(s);
    return e;
}

static struct gauge *active_gauge(const struct http_server *s, int i)
{
    char labels[128];
    if (s->shared.conf.metrics == NULL)
        return NULL;
    snprintf(labels, sizeof labels, "port=\"%d\",thread=\"%d\"", s->port, i);
    return metrics_gauge(s->shared.conf.metrics, "http_server_active_requests", "Requests under way", labels);
}

/* Signals are main's business. */
static enum err threads_start(struct http_server *s, struct fault *fault)
{
    sigset_t all, before;
    sigfillset(&all);
    int rc = pthread_sigmask(SIG_SETMASK, &all, &before);
    for (int i = 0; rc == 0 && i < s->thread_count; i++) {
        rc = pthread_create(&s->threads[i].id, NULL, thread_main, &s->threads[i]);
        s->threads[i].started = rc == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc == 0 ? ERR_OK : fault_set(fault, ERR_BUSY, "start the HTTP server's threads: %s", strerror(rc));
}

static enum err open_all(struct http_server *s, struct fault *fault)
{
    int fds[HTTP_THREADS_MAX], opened = 0;
    memset(fds, -1, sizeof fds);
    enum err e = generation_new(&s->shared.conf, &s->generations, fault);
    if (e == ERR_OK)
        e = tls_open(s, fault);
    if (e == ERR_OK)
        e = http_listen(s->shared.conf.listen, s->thread_count, fds, &s->port, fault);
    for (; e == ERR_OK && opened < s->thread_count; opened++) {
        s->threads[opened].server = s;
        s->threads[opened].index = (size_t)opened;
        s->threads[opened].generation = s->generations;
        s->threads[opened].active = active_gauge(s, opened);
        e = thread_open(&s->threads[opened], fds[opened], fault);
    }
    for (int i = opened; i < s->thread_count; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    return e == ERR_OK ? threads_start(s, fault) : e;
}

static enum err check_conf(const struct http_server_conf *conf, struct fault *fault)
{
    if (conf->threads < 1 || conf->threads > HTTP_THREADS_MAX)
        return fault_set(fault, ERR_CONF, "an HTTP server has 1 to %d threads, not %d", HTTP_THREADS_MAX,
                         conf->threads);
    if ((conf->tls_cert_file == NULL) != (conf->tls_key_file == NULL))
        return fault_set(fault, ERR_CONF, "HTTPS needs a certificate and its key, not one of them");
    for (const struct http_route *r = conf->routes; r->path != NULL; r++)
        if (r->who != WHO_ANYONE && conf->verifier == NULL)
            return fault_set(fault, ERR_BUG, "route \"%s\" needs a token, but nobody can verify it", r->path);
    return ERR_OK;
}

enum err http_server_open_with(const struct http_server_conf *conf, const struct http_limits *limits,
                               struct http_server **ret, struct fault *fault)
{
    pthread_condattr_t monotonic;
    enum err e = check_conf(conf, fault);
    if (e != ERR_OK)
        return e;
    struct http_server *s = mem_alloc(sizeof *s);
    s->shared.conf = *conf;
    s->shared.limits = *limits;
    if (conf->connections_max == 0)
        s->shared.conf.connections_max = CONNECTIONS_DEFAULT;
    s->thread_count = conf->threads;
    atomic_store(&s->listening, conf->threads);
    s->threads = mem_alloc((size_t)conf->threads * sizeof *s->threads);
    pthread_mutex_init(&s->mutex, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s->quieter, &monotonic);
    pthread_condattr_destroy(&monotonic);

    e = open_all(s, fault);
    if (e != ERR_OK) {
        http_server_close(s);
        return e;
    }
    *ret = s;
    return ERR_OK;
}

enum err http_server_open(const struct http_server_conf *conf, struct http_server **ret, struct fault *fault)
{
    return http_server_open_with(conf, &HTTP_LIMITS, ret, fault);
}

void http_server_close(struct http_server *s)
{
    if (s == NULL)
        return;
    (void)http_server_drain(s, 0);
    for (int i = 0; i < s->thread_count; i++)
        thread_close(&s->threads[i]);
    for (struct http_generation *g = s->generations, *next; g != NULL; g = next) {
        next = g->next;
        generation_free(g);
    }
    http_tls_close(s->tls);
    pthread_cond_destroy(&s->quieter);
    pthread_mutex_destroy(&s->mutex);
    mem_free(s->threads);
    mem_free(s);
}

enum err http_server_swap(struct http_server *s, const struct http_route *routes, void *app,
                          void (*released)(void *app), struct fault *fault)
{
    struct http_server_conf conf = s->shared.conf;
    struct http_generation *g = NULL;
    conf.routes = routes;
    conf.app = app;
    if (atomic_load(&s->draining))
        return fault_set(fault, ERR_BUSY, "the server is ending");
    enum err e = check_conf(&conf, fault);
    if (e == ERR_OK)
        e = generation_new(&conf, &g, fault);
    if (e != ERR_OK)
        return e;
    g->released = released;
    pthread_mutex_lock(&s->mutex);
    g->next = s->generations;
    s->generations = g;
    atomic_store(&s->swapping, s->thread_count);
    pthread_mutex_unlock(&s->mutex);
    post_to_all(s, offsetof(struct http_thread, swap), on_swap);
    pthread_mutex_lock(&s->mutex);
    while (atomic_load(&s->swapping) > 0)
        pthread_cond_wait(&s->quieter, &s->mutex);
    pthread_mutex_unlock(&s->mutex);
    return ERR_OK;
}

int http_server_port(const struct http_server *s)
{
    return s->port;
}

int http_calls_in_flight(struct http_server *s)
{
    return atomic_load(&s->in_flight);
}
