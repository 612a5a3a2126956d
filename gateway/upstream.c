#include "gateway/upstream.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

enum { READ_MAX = 64 * 1024, HOST_MAX = 256, LABELS_MAX = 128, SWEEP_MS = 1000 };
/* Edge-triggered and for both ways: registered once, never changed. */
#define EVENTS (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)
#define EVENTS_TO_READ (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)
#define EVENTS_OF_END (EPOLLRDHUP | EPOLLHUP | EPOLLERR)

#define OWNER_OF(p, type, member) ((type *)(void *)((char *)(p)-offsetof(type, member)))

struct connection {
    struct loop_watch watch;
    struct pool *pool;
    struct exchange *exchange; /* NULL: idle */
    TAILQ_ENTRY(connection) link;
    mono_ns_t idle_since;
    bool connected, used;
    bool in_body, keep_alive;
    int interims;
    size_t sent;      /* of head and body */
    struct buf early; /* what came of a head that is not whole */
    struct response_body reader;
};
TAILQ_HEAD(connection_list, connection);
TAILQ_HEAD(exchange_list, exchange);

/* One instance's connections of one loop. */
struct pool {
    struct upstream_pools *pools;
    struct upstream *upstream;
    const struct instance *instance;
    struct connection_list idle, busy; /* idle: used last comes first */
    struct exchange_list waiting;
    int open, waiting_count;
};

struct upstream_pools {
    struct upstreams *upstreams;
    struct loop *loop;
    struct pool *by_upstream[UPSTREAMS_MAX]; /* an array of its instances' */
    size_t turn[UPSTREAMS_MAX];
    struct exchange_list ending; /* they ended in exchange_start; told in the next round */
    struct loop_timer sweep;
    struct response response; /* scratch, of the answer that is being read */
    char bytes[READ_MAX];     /* scratch: what one recv brought */
};

/* ---- the upstreams ---- */

/* "[::1]:8080" and "host:8080" in two. */
static bool split_name(const char *name, char ret_host[HOST_MAX], const char **ret_port)
{
    const char *colon = strrchr(name, ':');
    if (colon == NULL || colon == name || colon[1] == '\0')
        return false;
    struct str host = {name, (size_t)(colon - name)};
    if (host.len > 2 && host.data[0] == '[' && host.data[host.len - 1] == ']')
        host = (struct str){host.data + 1, host.len - 2};
    *ret_port = colon + 1;
    return str_copy(ret_host, HOST_MAX, host);
}

enum err upstream_add_instance(struct upstream *u, const char *name, struct fault *fault)
{
    char host[HOST_MAX];
    const char *port;
    int64_t number;
    if (u->instance_count == UPSTREAM_INSTANCES_MAX)
        return fault_set(fault, ERR_CONF, "more than %d instances", UPSTREAM_INSTANCES_MAX);
    if (!split_name(name, host, &port) || !str_to_i64(str_of(port), &number) || number < 1 || number > UINT16_MAX)
        return fault_set(fault, ERR_CONF, "\"%s\" must be host:port with a port from 1 to 65535", name);

    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *found;
    int rc = getaddrinfo(host, port, &hints, &found);
    if (rc != 0)
        return fault_set(fault, ERR_CONF, "\"%s\": %s", name, gai_strerror(rc));
    struct instance *i = &u->instances[u->instance_count++];
    i->name = name;
    memcpy(&i->address, found->ai_addr, found->ai_addrlen);
    i->address_len = found->ai_addrlen;
    freeaddrinfo(found);
    return ERR_OK;
}

static double read_connections(void *arg)
{
    const struct upstream *u = arg;
    return (double)atomic_load_explicit(&u->connections, memory_order_relaxed);
}

static void measure(struct upstream *u, struct metrics *m)
{
    static const char *const REASONS[] = {
#define X(name, label) label,
        EXCHANGE_ENDS(X)
#undef X
    };
    char labels[LABELS_MAX];
    snprintf(labels, sizeof(labels), "upstream=\"%s\"", u->name);
    metrics_gauge_fn(m, "gateway_upstream_connections", "Open connections to a service", labels, read_connections, u);
    u->seconds = metrics_histogram(m, "http_client_request_duration_seconds", "From request to whole answer", labels,
                                   HISTOGRAM_SECONDS, sizeof(HISTOGRAM_SECONDS) / sizeof(HISTOGRAM_SECONDS[0]));
    for (int end = EXCHANGE_ANSWERED + 1; end < EXCHANGE_END_COUNT; end++) {
        snprintf(labels, sizeof(labels), "upstream=\"%s\",reason=\"%s\"", u->name, REASONS[end]);
        u->errors[end] = metrics_counter(m, "gateway_upstream_errors_total", "Exchanges that ended without an answer",
                                         labels);
    }
}

void upstreams_measure(struct upstreams *us, struct metrics *m)
{
    for (size_t i = 0; i < us->count; i++)
        measure(&us->items[i], m);
}

/* ---- the end of an exchange ---- */

static void tell(struct exchange *x)
{
    struct upstream *u = x->pool->upstream;
    x->took = clock_mono_ns() - x->started;
    if (x->end == EXCHANGE_ANSWERED && u->seconds != NULL)
        histogram_observe(u->seconds, (double)x->took / (double)NS_PER_S);
    if (u->errors[x->end] != NULL)
        counter_add(u->errors[x->end], 1);
    x->done(x);
}

/* For an exchange that no list has any more. */
static void end_exchange(struct exchange *x, enum exchange_end end, const char *why)
{
    loop_timer_clear(x->pool->pools->loop, &x->timer);
    x->end = end;
    x->why = why;
    tell(x);
}

/* The same where the caller of exchange_start must not be called back yet: in this round of the loop, by the timer. */
static void end_soon(struct exchange *x, enum exchange_end end, const char *why)
{
    struct upstream_pools *p = x->pool->pools;
    x->end = end;
    x->why = why;
    TAILQ_INSERT_TAIL(&p->ending, x, link);
    loop_timer_set(p->loop, &x->timer, 0);
}

/* ---- connections ---- */

static void serve_waiting(struct pool *pool);

static void close_connection(struct connection *c)
{
    struct pool *pool = c->pool;
    loop_watch_del(pool->pools->loop, &c->watch);
    close(c->watch.fd);
    buf_done(&c->early);
    mem_free(c);
    pool->open--;
    atomic_fetch_sub_explicit(&pool->upstream->connections, 1, memory_order_relaxed);
}

static void close_idle(struct connection *c)
{
    TAILQ_REMOVE(&c->pool->idle, c, link);
    close_connection(c);
}

static void close_busy(struct connection *c)
{
    TAILQ_REMOVE(&c->pool->busy, c, link);
    close_connection(c);
}

static void make_idle(struct connection *c)
{
    struct upstream_pools *p = c->pool->pools;
    c->exchange = NULL;
    c->idle_since = clock_mono_ns();
    TAILQ_REMOVE(&c->pool->busy, c, link);
    TAILQ_INSERT_HEAD(&c->pool->idle, c, link);
    if (p->sweep.slot == 0)
        loop_timer_set(p->loop, &p->sweep, c->idle_since + UPSTREAM_IDLE_S * NS_PER_S);
}

/* Ends the connection's exchange. What waits for a connection is served first: `done` may ask for more. */
static void end_on(struct connection *c, enum exchange_end end, const char *why)
{
    struct exchange *x = c->exchange;
    struct pool *pool = c->pool;
    bool again = end == EXCHANGE_ANSWERED && c->keep_alive;
    x->connection = NULL;
    if (again)
        make_idle(c);
    else
        close_busy(c);
    serve_waiting(pool);
    end_exchange(x, end, why);
}

/* ---- sending ---- */

/* The request that is not sent yet, as two pieces. */
static int rest_of_request(const struct connection *c, struct iovec ret[2])
{
    struct str head = c->exchange->head, body = c->exchange->request_body;
    int n = 0;
    if (c->sent < head.len)
        ret[n++] = (struct iovec){(char *)(uintptr_t)head.data + c->sent, head.len - c->sent};
    size_t of_body = c->sent > head.len ? c->sent - head.len : 0;
    if (of_body < body.len)
        ret[n++] = (struct iovec){(char *)(uintptr_t)body.data + of_body, body.len - of_body};
    return n;
}

static bool is_sent(const struct connection *c)
{
    return c->sent == c->exchange->head.len + c->exchange->request_body.len;
}

/* As much as the socket takes. NULL, or why it can't be sent. */
static const char *send_request(struct connection *c)
{
    while (!is_sent(c)) {
        struct iovec pieces[2];
        struct msghdr message = {.msg_iov = pieces, .msg_iovlen = (size_t)rest_of_request(c, pieces)};
        ssize_t n = sendmsg(c->watch.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? NULL : strerrordesc_np(errno);
        c->exchange->wrote = true;
        c->sent += (size_t)n;
    }
    return NULL;
}

static void give(struct connection *c, struct exchange *x)
{
    c->exchange = x;
    c->sent = 0;
    c->in_body = false;
    c->interims = 0;
    x->connection = c;
    x->reused = c->used;
    c->used = true;
    TAILQ_INSERT_TAIL(&c->pool->busy, c, link);
}

/* On a connection that is open. */
static void begin(struct connection *c, struct exchange *x)
{
    loop_timer_set(c->pool->pools->loop, &x->timer, x->deadline);
    const char *why = send_request(c);
    if (why == NULL)
        return;
    x->connection = NULL;
    close_busy(c);
    end_soon(x, EXCHANGE_LOST, why);
}

/* ---- receiving ---- */

enum progress { GOES_ON, ENDED }; /* ENDED: the connection is not this exchange's any more, or gone */

static enum progress finish(struct connection *c, enum exchange_end end, const char *why)
{
    end_on(c, end, why);
    return ENDED;
}

static enum progress read_body(struct connection *c, struct str bytes)
{
    struct exchange *x = c->exchange;
    const char *why = NULL;
    size_t used;
    enum response_state state = response_body_feed(&c->reader, bytes, x->body, &used, &why);
    if (state == RESPONSE_MORE)
        return GOES_ON;
    if (state == RESPONSE_WRONG)
        return finish(c, EXCHANGE_BAD, why);
    /* Bytes behind the answer belong to no request, and a service that answers before it has the whole request may be
     * anywhere in it: such a connection is not used again. */
    c->keep_alive = c->keep_alive && used == bytes.len && is_sent(c);
    return finish(c, EXCHANGE_ANSWERED, NULL);
}

/* Interim answers (1xx) and then the real one's head. */
static enum progress read_head(struct connection *c, struct str bytes)
{
    struct response *r = &c->pool->pools->response;
    const char *why = NULL;
    size_t used;
    for (;;) {
        enum response_state state = response_head(bytes, r, &used, &why);
        if (state == RESPONSE_WRONG)
            return finish(c, EXCHANGE_BAD, why);
        if (state == RESPONSE_MORE)
            break;
        bytes = (struct str){bytes.data + used, bytes.len - used};
        if (r->status == 101 || (r->status < 200 && ++c->interims > UPSTREAM_INTERIM_MAX))
            return finish(c, EXCHANGE_BAD, "an interim answer that was not asked for");
        if (r->status < 200)
            continue;
        c->in_body = true;
        c->keep_alive = r->keep_alive;
        response_body_init(&c->reader, r);
        c->exchange->on_head(c->exchange, r);
        return read_body(c, bytes);
    }

    struct buf kept; /* `bytes` may lie in c->early */
    buf_init(&kept);
    buf_append(&kept, bytes.data, bytes.len);
    buf_done(&c->early);
    c->early = kept;
    return GOES_ON;
}

static enum progress take_bytes(struct connection *c, struct str bytes)
{
    c->exchange->heard = true;
    if (c->in_body)
        return read_body(c, bytes);
    if (c->early.len == 0)
        return read_head(c, bytes);

    buf_append(&c->early, bytes.data, bytes.len);
    struct buf head = c->early; /* the connection may be gone afterwards */
    buf_init(&c->early);
    enum progress progress = read_head(c, (struct str){head.data, head.len});
    buf_done(&head);
    return progress;
}

static enum progress take_end(struct connection *c)
{
    bool whole = c->in_body && response_body_ends_by_close(&c->reader);
    c->keep_alive = false;
    return whole ? finish(c, EXCHANGE_ANSWERED, NULL)
                 : finish(c, EXCHANGE_LOST, "the connection was closed before an answer's end");
}

/* Until the socket has no more. A short read means that it had no more; an end that comes later is another event. */
static void receive(struct connection *c, uint32_t events)
{
    struct upstream_pools *p = c->pool->pools;
    for (;;) {
        ssize_t n = recv(c->watch.fd, p->bytes, READ_MAX, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0)
            end_on(c, EXCHANGE_LOST, strerrordesc_np(errno));
        if (n < 0 || (n == 0 ? take_end(c) : take_bytes(c, (struct str){p->bytes, (size_t)n})) == ENDED)
            return;
        if (n < READ_MAX && (events & EVENTS_OF_END) == 0)
            return;
    }
}

/* ---- events ---- */

/* False: the connection is gone. */
static bool finish_connect(struct connection *c)
{
    struct exchange *x = c->exchange;
    int reason = 0;
    socklen_t len = sizeof(reason);
    if (getsockopt(c->watch.fd, SOL_SOCKET, SO_ERROR, &reason, &len) != 0 || reason != 0) {
        end_on(c, EXCHANGE_REFUSED, reason == 0 ? "the connection failed" : strerrordesc_np(reason));
        return false;
    }
    c->connected = true;
    loop_timer_set(c->pool->pools->loop, &x->timer, x->deadline);
    return true;
}

static void on_ready(struct loop_watch *w, uint32_t events)
{
    struct connection *c = OWNER_OF(w, struct connection, watch);
    if (c->exchange == NULL) {
        if ((events & EVENTS_TO_READ) != 0) /* its end, or bytes that nobody asked for */
            close_idle(c);
        return;
    }
    if (!c->connected && ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) == 0 || !finish_connect(c)))
        return;
    const char *why = (events & EPOLLOUT) != 0 && !is_sent(c) ? send_request(c) : NULL;
    if (why != NULL) {
        end_on(c, EXCHANGE_LOST, why);
        return;
    }
    if ((events & EVENTS_TO_READ) != 0)
        receive(c, events);
}

/* ---- finding a connection ---- */

static mono_ns_t earlier(mono_ns_t a, mono_ns_t b)
{
    return a < b ? a : b;
}

static int open_socket(const struct instance *instance, bool *ret_connected)
{
    int on = 1;
    int fd = socket(instance->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    *ret_connected = connect(fd, (const struct sockaddr *)&instance->address, instance->address_len) == 0;
    if (*ret_connected || errno == EINPROGRESS)
        return fd;
    int reason = errno;
    close(fd);
    errno = reason;
    return -1;
}

static void connect_for(struct pool *pool, struct exchange *x)
{
    struct loop *loop = pool->pools->loop;
    bool connected = false;
    struct fault fault;
    int fd = open_socket(pool->instance, &connected);
    if (fd < 0) {
        end_soon(x, EXCHANGE_REFUSED, strerrordesc_np(errno));
        return;
    }
    struct connection *c = mem_alloc(sizeof(*c));
    c->watch = (struct loop_watch){.ready = on_ready, .fd = fd};
    c->pool = pool;
    c->connected = connected;
    if (loop_watch_add(loop, &c->watch, EVENTS, &fault) != ERR_OK) {
        close(fd);
        mem_free(c);
        end_soon(x, EXCHANGE_REFUSED, "the connection can't be watched");
        return;
    }
    pool->open++;
    atomic_fetch_add_explicit(&pool->upstream->connections, 1, memory_order_relaxed);
    give(c, x);
    if (connected)
        begin(c, x);
    else
        loop_timer_set(loop, &x->timer, earlier(x->deadline, clock_mono_ns() + UPSTREAM_CONNECT_MS * NS_PER_MS));
}

static void wait_for_connection(struct pool *pool, struct exchange *x)
{
    if (pool->waiting_count >= pool->pools->upstreams->connections_max * UPSTREAM_QUEUE_FACTOR) {
        end_soon(x, EXCHANGE_BUSY, "too many requests wait for a connection");
        return;
    }
    x->is_waiting = true;
    TAILQ_INSERT_TAIL(&pool->waiting, x, link);
    pool->waiting_count++;
    loop_timer_set(pool->pools->loop, &x->timer, earlier(x->deadline, clock_mono_ns() + UPSTREAM_QUEUE_MS * NS_PER_MS));
}

static void stop_waiting(struct exchange *x)
{
    x->is_waiting = false;
    TAILQ_REMOVE(&x->pool->waiting, x, link);
    x->pool->waiting_count--;
}

/* The connection used last is the likeliest to be alive, and lets the others grow old and go. */
static void assign(struct pool *pool, struct exchange *x)
{
    struct connection *c = TAILQ_FIRST(&pool->idle);
    if (c != NULL && !x->fresh) {
        TAILQ_REMOVE(&pool->idle, c, link);
        give(c, x);
        begin(c, x);
        return;
    }
    bool full = pool->open >= pool->pools->upstreams->connections_max;
    if (full && c != NULL)
        close_idle(TAILQ_LAST(&pool->idle, connection_list)); /* a fresh one is wanted, in an old one's place */
    if (full && c == NULL)
        wait_for_connection(pool, x);
    else
        connect_for(pool, x);
}

static bool has_room(const struct pool *pool)
{
    return !TAILQ_EMPTY(&pool->idle) || pool->open < pool->pools->upstreams->connections_max;
}

static void serve_waiting(struct pool *pool)
{
    while (!TAILQ_EMPTY(&pool->waiting) && has_room(pool)) {
        struct exchange *x = TAILQ_FIRST(&pool->waiting);
        stop_waiting(x);
        assign(pool, x);
    }
}

/* ---- time ---- */

static void on_ending(struct exchange *x)
{
    TAILQ_REMOVE(&x->pool->pools->ending, x, link);
    tell(x);
}

static bool is_writable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    return poll(&p, 1, 0) == 1;
}

/* When very many events wait, the loop comes to its timers before it comes to all of them: then the service was in time. */
static void on_connect_timer(struct connection *c, bool late)
{
    if (!late && is_writable(c->watch.fd))
        on_ready(&c->watch, EPOLLOUT);
    else
        end_on(c, late ? EXCHANGE_LATE : EXCHANGE_REFUSED, "no connection was made in time");
}

static void on_exchange_timer(struct loop_timer *t)
{
    struct exchange *x = OWNER_OF(t, struct exchange, timer);
    bool late = t->at >= x->deadline;
    if (t->at == 0) {
        on_ending(x);
    } else if (x->is_waiting) {
        stop_waiting(x);
        end_exchange(x, late ? EXCHANGE_LATE : EXCHANGE_BUSY, "no connection became free in time");
    } else if (!x->connection->connected) {
        on_connect_timer(x->connection, late);
    } else {
        end_on(x->connection, EXCHANGE_LATE, "no answer came in time");
    }
}

static void sweep_pool(struct pool *pool, mono_ns_t oldest)
{
    struct connection *c;
    while ((c = TAILQ_LAST(&pool->idle, connection_list)) != NULL && c->idle_since <= oldest)
        close_idle(c);
}

static void on_sweep(struct loop_timer *t)
{
    struct upstream_pools *p = OWNER_OF(t, struct upstream_pools, sweep);
    mono_ns_t now = clock_mono_ns();
    bool some_idle = false;
    for (size_t u = 0; u < p->upstreams->count; u++) {
        for (size_t i = 0; i < p->upstreams->items[u].instance_count; i++) {
            sweep_pool(&p->by_upstream[u][i], now - UPSTREAM_IDLE_S * NS_PER_S);
            some_idle = some_idle || !TAILQ_EMPTY(&p->by_upstream[u][i].idle);
        }
    }
    if (some_idle)
        loop_timer_set(p->loop, t, now + SWEEP_MS * NS_PER_MS);
}

/* ---- the door ---- */

/* In turn. */
static struct pool *pick(struct upstream_pools *p, size_t upstream)
{
    size_t count = p->upstreams->items[upstream].instance_count;
    p->turn[upstream] = p->turn[upstream] + 1 < count ? p->turn[upstream] + 1 : 0;
    return &p->by_upstream[upstream][p->turn[upstream]];
}

void exchange_start(struct upstream_pools *p, struct exchange *x)
{
    assert(x->upstream < p->upstreams->count);
    x->pool = pick(p, x->upstream);
    x->instance = x->pool->instance;
    x->connection = NULL;
    x->is_waiting = x->reused = x->wrote = x->heard = false;
    x->timer = (struct loop_timer){.fire = on_exchange_timer};
    assign(x->pool, x);
}

static struct pool *pools_of(struct upstream_pools *p, struct upstream *u)
{
    struct pool *pools = mem_alloc(u->instance_count * sizeof(*pools));
    for (size_t i = 0; i < u->instance_count; i++) {
        pools[i].pools = p;
        pools[i].upstream = u;
        pools[i].instance = &u->instances[i];
        TAILQ_INIT(&pools[i].idle);
        TAILQ_INIT(&pools[i].busy);
        TAILQ_INIT(&pools[i].waiting);
    }
    return pools;
}

struct upstream_pools *upstream_pools_open(struct upstreams *us, struct loop *loop)
{
    struct upstream_pools *p = mem_alloc(sizeof(*p));
    p->upstreams = us;
    p->loop = loop;
    p->sweep.fire = on_sweep;
    TAILQ_INIT(&p->ending);
    for (size_t u = 0; u < us->count; u++)
        p->by_upstream[u] = pools_of(p, &us->items[u]);
    return p;
}

static void close_pool(struct pool *pool)
{
    static const char WHY[] = "the gateway is stopping";
    struct exchange *x;
    struct connection *c;
    while ((x = TAILQ_FIRST(&pool->waiting)) != NULL) {
        stop_waiting(x);
        end_exchange(x, EXCHANGE_CUT, WHY);
    }
    while ((c = TAILQ_FIRST(&pool->busy)) != NULL)
        end_on(c, EXCHANGE_CUT, WHY);
    while ((c = TAILQ_FIRST(&pool->idle)) != NULL)
        close_idle(c);
}

void upstream_pools_close(struct upstream_pools *p)
{
    struct exchange *x;
    while ((x = TAILQ_FIRST(&p->ending)) != NULL) {
        TAILQ_REMOVE(&p->ending, x, link);
        end_exchange(x, EXCHANGE_CUT, x->why);
    }
    for (size_t u = 0; u < p->upstreams->count; u++) {
        for (size_t i = 0; i < p->upstreams->items[u].instance_count; i++)
            close_pool(&p->by_upstream[u][i]);
        mem_free(p->by_upstream[u]);
    }
    loop_timer_clear(p->loop, &p->sweep);
    mem_free(p);
}
