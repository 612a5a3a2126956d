#include "gateway/exchange.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/id.h"
#include "gateway/balance.h"

enum { READ_MAX = 64 * 1024, SWEEP_MS = 1000 };
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
    bool peer_ends; /* the service has closed its side: what it has said stands, but no other request begins here */
    int interims;
    size_t sent;      /* of head and body */
    struct buf early; /* what came of a head that is not whole */
    struct response_body reader;
};
TAILQ_HEAD(connection_list, connection);
TAILQ_HEAD(exchange_list, exchange);

/* One instance's connections of one loop. */
struct pool {
    struct view *view;
    struct instance *instance;
    struct connection_list idle, busy; /* idle: used last comes first */
    bool leaving;                      /* the instance is no more: nothing begins here */
    TAILQ_ENTRY(pool) link;            /* in view->leaving */
};
TAILQ_HEAD(pool_list, pool);

/* What a loop knows of a service. */
struct view {
    struct upstream_pools *pools;
    struct upstream *upstream;
    bool seen;
    uint32_t generation; /* of the list of instances that it shows */
    struct pool *of_instance[UPSTREAM_INSTANCES_MAX];
    size_t count;
    struct pool_list leaving;
    struct exchange_list waiting;
};

struct upstream_pools {
    struct upstreams *upstreams;
    struct loop *loop;
    struct view views[UPSTREAMS_MAX];
    struct exchange_list delayed;
    struct exchange_list ending; /* they ended in exchange_start; told in the next round */
    struct loop_timer sweep, look;
    uint64_t random;
    struct response response; /* scratch, of the answer that is being read */
    char bytes[READ_MAX];     /* scratch: what one recv brought */
};

/* ---- the end of an exchange ---- */

/* How its end counts for the breakers. */
static enum breaker_outcome outcome_of(const struct exchange *x)
{
    switch (x->end) {
    case EXCHANGE_ANSWERED:
        return breaker_outcome_of(x->status);
    case EXCHANGE_REFUSED:
        return BREAKER_NOT_CONNECTED;
    case EXCHANGE_LOST:
        return x->status == 0 ? BREAKER_NOT_CONNECTED : BREAKER_FAILURE;
    case EXCHANGE_BAD:
        return BREAKER_FAILURE;
    case EXCHANGE_LATE:
        return x->deadline_is_ours ? BREAKER_LATE : BREAKER_CANCELED;
    case EXCHANGE_BUSY: /* ours: these give their permit back */
    case EXCHANGE_OPEN:
    case EXCHANGE_CANCELED:
    case EXCHANGE_CUT:
    case EXCHANGE_END_COUNT:
        break;
    }
    return BREAKER_CANCELED;
}

static void report(struct exchange *x, struct breaker_result result, mono_ns_t now)
{
    if (x->has_permit)
        breaker_report(&x->view->upstream->breaker, x->permit, result, now);
    if (x->has_instance_permit)
        breaker_report(&x->counted->breaker, x->instance_permit, result, now);
    x->has_permit = x->has_instance_permit = false;
}

/* Its place in the bulkhead, and its permits, are free for another. */
static void leave(struct exchange *x, mono_ns_t now)
{
    struct instance *instance = x->counted;
    bool waits = x->status == 202; /* what takes long elsewhere is no slowness of this service */
    if (instance == NULL)
        return;
    report(x, (struct breaker_result){outcome_of(x), now - x->admitted, waits ? 0 : x->slow_after}, now);
    x->counted = NULL;
    atomic_fetch_sub(&instance->in_flight, 1);
    instance_put(instance);
}

static void tell(struct exchange *x)
{
    struct upstream *u = x->view->upstream;
    mono_ns_t now = clock_mono_ns();
    x->place = EXCHANGE_NOWHERE;
    x->took = now > x->started ? now - x->started : 0;
    leave(x, now);
    if (x->end == EXCHANGE_ANSWERED && u->seconds != NULL)
        histogram_observe(u->seconds, (double)x->took / (double)NS_PER_S);
    if (u->errors[x->end] != NULL)
        counter_add(u->errors[x->end], 1);
    x->done(x);
}

/* For an exchange that no list has any more. */
static void end_exchange(struct exchange *x, enum exchange_end end, const char *why)
{
    loop_timer_clear(x->view->pools->loop, &x->timer);
    x->end = end;
    x->why = why;
    tell(x);
}

/* The same where the caller of exchange_start must not be called back yet: in this round of the loop, by the timer. */
static void end_soon(struct exchange *x, enum exchange_end end, const char *why)
{
    struct upstream_pools *p = x->view->pools;
    x->place = EXCHANGE_ENDING;
    x->end = end;
    x->why = why;
    TAILQ_INSERT_TAIL(&p->ending, x, link);
    loop_timer_set(p->loop, &x->timer, 0);
}

/* ---- connections ---- */

static void serve_waiting(struct view *v);

/* An instance that is no more, and nothing of which is under way. */
static void drop_if_over(struct pool *pool)
{
    if (!pool->leaving || !TAILQ_EMPTY(&pool->busy) || !TAILQ_EMPTY(&pool->idle))
        return;
    TAILQ_REMOVE(&pool->view->leaving, pool, link);
    instance_put(pool->instance);
    mem_free(pool);
}

static void close_connection(struct connection *c)
{
    struct pool *pool = c->pool;
    loop_watch_del(pool->view->pools->loop, &c->watch);
    close(c->watch.fd);
    buf_done(&c->early);
    mem_free(c);
    atomic_fetch_sub_explicit(&pool->view->upstream->connections, 1, memory_order_relaxed);
    drop_if_over(pool);
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
    struct upstream_pools *p = c->pool->view->pools;
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
    struct view *v = c->pool->view;
    bool again = end == EXCHANGE_ANSWERED && c->keep_alive && !c->peer_ends && !c->pool->leaving;
    x->connection = NULL;
    x->end = end;
    if (again)
        make_idle(c);
    else
        close_busy(c);
    leave(x, clock_mono_ns());
    serve_waiting(v);
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
    x->place = EXCHANGE_CONNECTED;
    x->reused = c->used;
    c->used = true;
    TAILQ_INSERT_TAIL(&c->pool->busy, c, link);
}

/* On a connection that is open. */
static void begin(struct connection *c, struct exchange *x)
{
    loop_timer_set(c->pool->view->pools->loop, &x->timer, x->deadline);
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
    struct response *r = &c->pool->view->pools->response;
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
        c->exchange->status = r->status;
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
    struct upstream_pools *p = c->pool->view->pools;
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
    loop_timer_set(c->pool->view->pools->loop, &x->timer, x->deadline);
    return true;
}

static void on_ready(struct loop_watch *w, uint32_t events)
{
    struct connection *c = OWNER_OF(w, struct connection, watch);
    c->peer_ends = c->peer_ends || (events & EVENTS_OF_END) != 0;
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
    const struct address *a = &instance->address;
    int fd = socket(a->sock.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    *ret_connected = connect(fd, (const struct sockaddr *)&a->sock, a->len) == 0;
    if (*ret_connected || errno == EINPROGRESS)
        return fd;
    int reason = errno;
    close(fd);
    errno = reason;
    return -1;
}

static void connect_for(struct pool *pool, struct exchange *x)
{
    struct loop *loop = pool->view->pools->loop;
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
    atomic_fetch_add_explicit(&pool->view->upstream->connections, 1, memory_order_relaxed);
    give(c, x);
    if (connected)
        begin(c, x);
    else
        loop_timer_set(loop, &x->timer, earlier(x->deadline, clock_mono_ns() + UPSTREAM_CONNECT_MS * NS_PER_MS));
}

/* The connection used last is the likeliest to be alive, and lets the others grow old and go. */
static void find_connection(struct pool *pool, struct exchange *x)
{
    struct connection *c = TAILQ_FIRST(&pool->idle);
    if (c == NULL || x->fresh) {
        connect_for(pool, x);
        return;
    }
    TAILQ_REMOVE(&pool->idle, c, link);
    give(c, x);
    begin(c, x);
}

/* ---- which instances there are ---- */

static struct pool *pool_new(struct view *v, struct instance *instance)
{
    struct pool *pool = mem_alloc(sizeof(*pool));
    pool->view = v;
    pool->instance = instance;
    TAILQ_INIT(&pool->idle);
    TAILQ_INIT(&pool->busy);
    return pool;
}

static void pool_leave(struct pool *pool)
{
    pool->leaving = true;
    TAILQ_INSERT_TAIL(&pool->view->leaving, pool, link);
    if (TAILQ_EMPTY(&pool->idle)) {
        drop_if_over(pool);
        return;
    }
    for (bool last = false; !last;) { /* closing the last one may drop the pool */
        struct connection *c = TAILQ_FIRST(&pool->idle);
        last = TAILQ_NEXT(c, link) == NULL;
        close_idle(c);
    }
}

static struct pool *take_pool(struct pool **pools, size_t count, const struct instance *instance)
{
    for (size_t i = 0; i < count; i++) {
        struct pool *pool = pools[i];
        if (pool == NULL || pool->instance != instance)
            continue;
        pools[i] = NULL;
        return pool;
    }
    return NULL;
}

/* The instances changed: what is under way at one that is no more may end. */
static void view_renew(struct view *v)
{
    struct instance *now[UPSTREAM_INSTANCES_MAX];
    struct pool *before[UPSTREAM_INSTANCES_MAX];
    size_t count_before = v->count;
    memcpy(before, v->of_instance, sizeof(before));
    v->count = upstream_take(v->upstream, now, &v->generation);
    for (size_t i = 0; i < v->count; i++) {
        v->of_instance[i] = take_pool(before, count_before, now[i]);
        if (v->of_instance[i] == NULL)
            v->of_instance[i] = pool_new(v, now[i]);
        else
            instance_put(now[i]); /* the pool counts on it already */
    }
    for (size_t i = 0; i < count_before; i++)
        if (before[i] != NULL)
            pool_leave(before[i]);
}

static struct view *view_of(struct upstream_pools *p, size_t upstream)
{
    struct view *v = &p->views[upstream];
    assert(upstream < atomic_load(&p->upstreams->count));
    if (!v->seen) {
        v->seen = true;
        v->upstream = p->upstreams->items[upstream];
        view_renew(v);
    } else if (v->generation != atomic_load_explicit(&v->upstream->generation, memory_order_acquire)) {
        view_renew(v);
    }
    return v;
}

/* ---- admission: bulkhead, breaker, instance ---- */

static bool has_room(const struct instance *i, const struct upstreams *us)
{
    return atomic_load_explicit(&i->in_flight, memory_order_relaxed) < us->settings.in_flight_max;
}

static bool bulkhead_has_room(const struct view *v)
{
    for (size_t i = 0; i < v->count; i++)
        if (has_room(v->of_instance[i]->instance, v->pools->upstreams))
            return true;
    return false;
}

/* One more, unless another loop was quicker. */
static bool count_on(struct exchange *x, struct instance *i)
{
    if (atomic_fetch_add(&i->in_flight, 1) >= x->view->pools->upstreams->settings.in_flight_max) {
        atomic_fetch_sub(&i->in_flight, 1);
        return false;
    }
    atomic_fetch_add(&i->refs, 1);
    x->counted = i;
    return true;
}

static void list_choices(const struct view *v, const struct exchange *x, mono_ns_t now,
                         struct balance_choice ret[UPSTREAM_INSTANCES_MAX])
{
    for (size_t i = 0; i < v->count; i++) {
        const struct instance *instance = v->of_instance[i]->instance;
        ret[i] = (struct balance_choice){
            .possible = has_room(instance, v->pools->upstreams),
            .last_resort = instance->id == x->avoid,
            .in_flight = atomic_load_explicit(&instance->in_flight, memory_order_relaxed),
            .share = balance_share(atomic_load_explicit(&instance->since, memory_order_relaxed), now),
        };
    }
}

/* One that its breaker lets us use. An only instance is never left out. */
static struct pool *choose_healthy(struct view *v, struct exchange *x, mono_ns_t now)
{
    struct balance_choice choices[UPSTREAM_INSTANCES_MAX];
    mono_ns_t ignored;
    list_choices(v, x, now, choices);
    for (;;) {
        size_t i = balance_choose(choices, v->count, &v->pools->random);
        if (i == BALANCE_NONE)
            return NULL;
        struct instance *instance = v->of_instance[i]->instance;
        choices[i].possible = false;
        if (v->count > 1 && !breaker_acquire(&instance->breaker, now, &x->instance_permit, &ignored))
            continue;
        x->has_instance_permit = v->count > 1;
        if (count_on(x, instance))
            return v->of_instance[i];
        if (x->has_instance_permit)
            breaker_report(&instance->breaker, x->instance_permit, (struct breaker_result){.outcome = BREAKER_CANCELED},
                           now);
        x->has_instance_permit = false;
    }
}

/* When all are left out, or those that are not have no room, none is. Nothing is reported then: each one's breaker goes its
 * way. */
static struct pool *choose_any(struct view *v, struct exchange *x, mono_ns_t now)
{
    struct balance_choice choices[UPSTREAM_INSTANCES_MAX];
    list_choices(v, x, now, choices);
    for (size_t i = 0; i < v->count; i++)
        if (breaker_peek(&v->of_instance[i]->instance->breaker) == BREAKER_CLOSED)
            return NULL; /* there is one, and it is full: this one waits for it */
    for (size_t i; (i = balance_choose(choices, v->count, &v->pools->random)) != BALANCE_NONE;) {
        choices[i].possible = false;
        if (count_on(x, v->of_instance[i]->instance))
            return v->of_instance[i];
    }
    return NULL;
}

static void note_instance(struct exchange *x, const struct instance *i)
{
    memcpy(x->instance, i->name, sizeof(x->instance));
    x->instance_id = i->id;
}

/* False: there is no room, and nothing has changed. */
static bool admit(struct view *v, struct exchange *x, mono_ns_t now)
{
    if (v->count == 0) {
        end_soon(x, EXCHANGE_REFUSED, "no instance is known");
        return true;
    }
    if (!bulkhead_has_room(v))
        return false;
    if (!breaker_acquire(&v->upstream->breaker, now, &x->permit, &x->wait)) {
        end_soon(x, EXCHANGE_OPEN, "the circuit is open");
        return true;
    }
    x->has_permit = true;
    struct pool *pool = choose_healthy(v, x, now);
    if (pool == NULL)
        pool = choose_any(v, x, now);
    if (pool == NULL) {
        report(x, (struct breaker_result){.outcome = BREAKER_CANCELED}, now);
        return false;
    }
    x->admitted = now;
    note_instance(x, pool->instance);
    find_connection(pool, x);
    return true;
}

/* ---- the queue before the bulkhead ---- */

static void look_soon(struct upstream_pools *p, mono_ns_t now)
{
    if (p->look.slot == 0)
        loop_timer_set(p->loop, &p->look, now + UPSTREAM_QUEUE_LOOK_MS * NS_PER_MS);
}

static void wait_for_room(struct view *v, struct exchange *x, mono_ns_t now)
{
    int64_t most = (int64_t)v->count * v->pools->upstreams->settings.in_flight_max * UPSTREAM_QUEUE_FACTOR;
    if (atomic_load(&v->upstream->waiting) >= most) {
        end_soon(x, EXCHANGE_BUSY, "too many requests wait for room");
        return;
    }
    x->place = EXCHANGE_WAITING;
    TAILQ_INSERT_TAIL(&v->waiting, x, link);
    atomic_fetch_add(&v->upstream->waiting, 1);
    loop_timer_set(v->pools->loop, &x->timer, earlier(x->deadline, now + UPSTREAM_QUEUE_MS * NS_PER_MS));
    look_soon(v->pools, now);
}

static void stop_waiting(struct exchange *x)
{
    TAILQ_REMOVE(&x->view->waiting, x, link);
    atomic_fetch_sub(&x->view->upstream->waiting, 1);
}

/* Who waits longest comes first. */
static void serve_waiting(struct view *v)
{
    struct exchange *x;
    mono_ns_t now = TAILQ_EMPTY(&v->waiting) ? 0 : clock_mono_ns();
    while ((x = TAILQ_FIRST(&v->waiting)) != NULL) {
        stop_waiting(x);
        if (admit(v, x, now))
            continue;
        TAILQ_INSERT_HEAD(&v->waiting, x, link); /* its time goes on */
        atomic_fetch_add(&v->upstream->waiting, 1);
        return;
    }
}

/* Another loop's request may have made room. */
static void on_look(struct loop_timer *t)
{
    struct upstream_pools *p = OWNER_OF(t, struct upstream_pools, look);
    bool some_wait = false;
    for (size_t i = 0; i < UPSTREAMS_MAX; i++) {
        if (!p->views[i].seen || TAILQ_EMPTY(&p->views[i].waiting))
            continue;
        serve_waiting(view_of(p, i));
        some_wait = some_wait || !TAILQ_EMPTY(&p->views[i].waiting);
    }
    if (some_wait)
        look_soon(p, clock_mono_ns());
}

/* ---- time ---- */

static void on_ending(struct exchange *x)
{
    TAILQ_REMOVE(&x->view->pools->ending, x, link);
    leave(x, clock_mono_ns());
    serve_waiting(x->view);
    tell(x);
}

static void enter(struct view *v, struct exchange *x)
{
    mono_ns_t now = clock_mono_ns();
    if (now >= x->deadline)
        end_soon(x, EXCHANGE_LATE, "the deadline was over before the request was sent");
    else if (!TAILQ_EMPTY(&v->waiting) || !admit(v, x, now))
        wait_for_room(v, x, now);
}

static void on_delay_over(struct exchange *x)
{
    struct upstream_pools *p = x->view->pools;
    TAILQ_REMOVE(&p->delayed, x, link);
    enter(view_of(p, x->upstream), x);
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
    assert(x->place != EXCHANGE_NOWHERE);
    switch (x->place) {
    case EXCHANGE_ENDING:
        on_ending(x);
        break;
    case EXCHANGE_DELAYED:
        on_delay_over(x);
        break;
    case EXCHANGE_WAITING:
        stop_waiting(x);
        end_exchange(x, late ? EXCHANGE_LATE : EXCHANGE_BUSY, "no room came in time");
        break;
    case EXCHANGE_CONNECTED:
        if (x->connection->connected)
            end_on(x->connection, EXCHANGE_LATE, "no answer came in time");
        else
            on_connect_timer(x->connection, late);
        break;
    case EXCHANGE_NOWHERE:
        break;
    }
}

/* True: some are left. */
static bool sweep_pool(struct pool *pool, mono_ns_t oldest)
{
    struct connection *c;
    while ((c = TAILQ_LAST(&pool->idle, connection_list)) != NULL && c->idle_since <= oldest)
        close_idle(c);
    return !TAILQ_EMPTY(&pool->idle);
}

static void on_sweep(struct loop_timer *t)
{
    struct upstream_pools *p = OWNER_OF(t, struct upstream_pools, sweep);
    mono_ns_t now = clock_mono_ns();
    bool some_idle = false;
    for (size_t u = 0; u < UPSTREAMS_MAX; u++)
        for (size_t i = 0; i < p->views[u].count; i++)
            some_idle = sweep_pool(p->views[u].of_instance[i], now - UPSTREAM_IDLE_S * NS_PER_S) || some_idle;
    if (some_idle)
        loop_timer_set(p->loop, t, now + SWEEP_MS * NS_PER_MS);
}

/* ---- the door ---- */

void exchange_start(struct upstream_pools *p, struct exchange *x, mono_ns_t at)
{
    struct view *v = view_of(p, x->upstream);
    x->view = v;
    x->connection = NULL;
    x->counted = NULL;
    x->instance[0] = '\0';
    x->instance_id = 0;
    x->status = 0;
    x->reused = x->wrote = x->heard = x->has_permit = x->has_instance_permit = false;
    x->timer = (struct loop_timer){.fire = on_exchange_timer};
    if (at == 0) {
        enter(v, x);
        return;
    }
    x->place = EXCHANGE_DELAYED;
    TAILQ_INSERT_TAIL(&p->delayed, x, link);
    loop_timer_set(p->loop, &x->timer, at);
}

void exchange_cancel(struct exchange *x)
{
    static const char WHY[] = "the client went away";
    switch (x->place) {
    case EXCHANGE_DELAYED:
        TAILQ_REMOVE(&x->view->pools->delayed, x, link);
        end_exchange(x, EXCHANGE_CANCELED, WHY);
        break;
    case EXCHANGE_WAITING:
        stop_waiting(x);
        end_exchange(x, EXCHANGE_CANCELED, WHY);
        break;
    case EXCHANGE_CONNECTED:
        end_on(x->connection, EXCHANGE_CANCELED, WHY);
        break;
    case EXCHANGE_ENDING: /* a moment later, as it was to */
    case EXCHANGE_NOWHERE:
        break;
    }
}

struct upstream *upstream_of(struct upstream_pools *p, size_t index)
{
    return view_of(p, index)->upstream;
}

size_t upstream_instance_count(struct upstream_pools *p, size_t index)
{
    return view_of(p, index)->count;
}

uint64_t *upstream_random(struct upstream_pools *p)
{
    return &p->random;
}

struct upstream_pools *upstream_pools_open(struct upstreams *us, struct loop *loop)
{
    struct upstream_pools *p = mem_alloc(sizeof(*p));
    p->upstreams = us;
    p->loop = loop;
    p->sweep.fire = on_sweep;
    p->look.fire = on_look;
    id_random_bytes(&p->random, sizeof(p->random));
    p->random |= 1;
    TAILQ_INIT(&p->ending);
    TAILQ_INIT(&p->delayed);
    for (size_t u = 0; u < UPSTREAMS_MAX; u++) {
        p->views[u].pools = p;
        TAILQ_INIT(&p->views[u].waiting);
        TAILQ_INIT(&p->views[u].leaving);
    }
    return p;
}

static const char STOPPING[] = "the gateway is stopping";

/* Leaving, so that it goes with its last connection. */
static void close_pool(struct pool *pool)
{
    while (TAILQ_NEXT(TAILQ_FIRST(&pool->busy), link) != NULL)
        end_on(TAILQ_FIRST(&pool->busy), EXCHANGE_CUT, STOPPING);
    end_on(TAILQ_FIRST(&pool->busy), EXCHANGE_CUT, STOPPING);
}

static void close_view(struct view *v)
{
    struct exchange *x;
    struct pool *pool;
    while ((x = TAILQ_FIRST(&v->waiting)) != NULL) {
        stop_waiting(x);
        end_exchange(x, EXCHANGE_CUT, STOPPING);
    }
    for (size_t i = 0; i < v->count; i++)
        pool_leave(v->of_instance[i]);
    v->count = 0;
    while ((pool = TAILQ_FIRST(&v->leaving)) != NULL)
        close_pool(pool);
}

static void cut_all(struct exchange_list *list)
{
    struct exchange *x;
    while ((x = TAILQ_FIRST(list)) != NULL) {
        TAILQ_REMOVE(list, x, link);
        end_exchange(x, EXCHANGE_CUT, STOPPING);
    }
}

/* Whoever is told that his exchange was cut starts no other. */
void upstream_pools_close(struct upstream_pools *p)
{
    cut_all(&p->delayed);
    for (size_t u = 0; u < UPSTREAMS_MAX; u++)
        if (p->views[u].seen)
            close_view(&p->views[u]);
    cut_all(&p->ending);
    loop_timer_clear(p->loop, &p->sweep);
    loop_timer_clear(p->loop, &p->look);
    mem_free(p);
}
