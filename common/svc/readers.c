#include "svc/readers.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/queue.h"

enum {
    CONNECT_TIMEOUT_MS = 1000,
    BACKOFF_FIRST_MS = 50,
    BACKOFF_MAX_MS = 1000,
    TEND_MS = 1000, /* how soon an idle reader notices that its connection is gone */
};

struct reader {
    struct readers *pool;
    pthread_t thread;
    struct db *db; /* NULL: away */
};

struct readers {
    struct db_conf conf;
    struct log *log;
    struct queue queue;
    atomic_int up;
    atomic_bool told_away; /* the log was */
    pthread_mutex_t mutex; /* of stopping */
    pthread_cond_t stop;
    bool stopping;
    struct counter *queries, *lost, *expired;
    struct histogram *seconds;
    struct reader all[READERS_MAX];
    int count;
};

struct read {
    struct queue_link link; /* first */
    struct call *call;
    reader_query *query;
    http_handler *then; /* NULL: the query answers */
    bool committed;     /* what the call asked for is done: only its telling can fail */
};

bool readers_are_up(struct readers *r)
{
    return atomic_load(&r->up) > 0;
}

static enum err away(struct call *call)
{
    return fault_set(&call->fault, ERR_DB, "no connection for reading: the database is away");
}

/* `read` lies in the call's arena: it is gone afterwards. */
static void end(struct read *read, enum err e)
{
    bool untold = read->committed && err_is_breakage(e);
    call_finish(read->call, untold ? ERR_OUTCOME_UNKNOWN : e);
}

/* Nobody is there to serve what waits. */
static void turn_away(struct readers *r)
{
    struct queue_link *list;
    queue_take(&r->queue, READERS_QUEUE_MAX, 0, &list);
    while (list != NULL) {
        struct read *read = (struct read *)list;
        list = list->next;
        end(read, away(read->call));
    }
}

static void put(struct readers *r, const struct read *template)
{
    struct call *call = template->call;
    struct read *read = ARENA_NEW(&call->arena, struct read);
    *read = *template;
    if (!queue_put(&r->queue, &read->link))
        end(read, fault_set(&call->fault, ERR_BUSY, "%d reads wait already", READERS_QUEUE_MAX));
    /* The last reader may have gone, and have turned away what waited, just before this was put. */
    if (!readers_are_up(r))
        turn_away(r);
}

enum err readers_submit_then(struct readers *r, struct call *call, reader_query *query, http_handler *then)
{
    if (!readers_are_up(r))
        return away(call);

    call_defer(call);
    put(r, &(struct read){.call = call, .query = query, .then = then});
    return ERR_OK;
}

enum err readers_submit(struct readers *r, struct call *call, reader_query *query)
{
    return readers_submit_then(r, call, query, NULL);
}

void readers_pass(struct readers *r, struct call *call, reader_query *query)
{
    put(r, &(struct read){.call = call, .query = query, .committed = true});
}

/* ---- one call ---- */

/* Forgets what a run that met a dead connection has written. */
static void reset_answer(struct call *call)
{
    call->errors.count = 0;
    call->status = 0;
    call->reply_header_count = 0;
    buf_reset(&call->out);
    buf_reset(&call->problem_members);
}

static bool reopen(struct reader *x)
{
    db_close(x->db);
    x->db = NULL;
    counter_add(x->pool->lost, 1);
    return db_open(&x->pool->conf, CONNECT_TIMEOUT_MS, &x->db, NULL) == ERR_OK;
}

static enum err run(struct reader *x, struct call *call, reader_query *query)
{
    enum err e = query(call, x->db);
    if (db_is_open(x->db) || e == ERR_OK)
        return e;
    reset_answer(call);
    return reopen(x) ? query(call, x->db)
                     : e; /* a read can be run again; the connection may have died long ago, idle */
}

static void serve(struct reader *x, struct read *read)
{
    struct readers *r = x->pool;
    struct call *call = read->call;
    mono_ns_t started = clock_mono_ns();
    if (started > call->deadline) {
        counter_add(r->expired, 1);
        end(read, fault_set(&call->fault, ERR_UPSTREAM_TIMEOUT, "the time was up before the query's turn"));
        return;
    }

    enum err e = run(x, call, read->query);
    counter_add(r->queries, 1);
    histogram_observe(r->seconds, (double)(clock_mono_ns() - started) / (double)NS_PER_S);
    if (e == ERR_OK && read->then != NULL) {
        e = read->then(call);
        if (e == ERR_OK)
            return; /* somebody else has the call, and `read` in it */
    }
    end(read, e);
}

/* ---- one thread ---- */

/* Waits; false: it is time to stop. */
static bool back_off(struct readers *r, int ms)
{
    mono_ns_t t = clock_mono_ns() + ms * NS_PER_MS;
    struct timespec at = {.tv_sec = t / NS_PER_S, .tv_nsec = t % NS_PER_S};
    pthread_mutex_lock(&r->mutex);
    while (!r->stopping && clock_mono_ns() < t)
        pthread_cond_timedwait(&r->stop, &r->mutex, &at);
    bool stopping = r->stopping;
    pthread_mutex_unlock(&r->mutex);
    return !stopping;
}

static void note_up(struct readers *r)
{
    if (atomic_fetch_add(&r->up, 1) == 0 && atomic_exchange(&r->told_away, false))
        log_info(r->log, "readers: the database is back");
}

static void note_away(struct readers *r, const char *why)
{
    if (!readers_are_up(r) && !atomic_exchange(&r->told_away, true))
        log_warn(r->log, "readers: the database is away: %s", why);
}

/* false: it is time to stop. */
static bool connect(struct reader *x)
{
    struct readers *r = x->pool;
    struct fault fault;
    for (int pause_ms = BACKOFF_FIRST_MS; db_open(&r->conf, CONNECT_TIMEOUT_MS, &x->db, &fault) != ERR_OK;) {
        note_away(r, fault.why);
        if (!back_off(r, pause_ms))
            return false;
        pause_ms = pause_ms * 2 < BACKOFF_MAX_MS ? pause_ms * 2 : BACKOFF_MAX_MS;
    }
    note_up(r);
    return true;
}

/* Until the connection is lost (true) or the queue is closed and empty. */
static bool serve_all(struct reader *x)
{
    struct readers *r = x->pool;
    while (x->db != NULL && db_is_open(x->db)) {
        struct queue_link *item;
        if (queue_take(&r->queue, 1, TEND_MS, &item) > 0)
            serve(x, (struct read *)item);
        else if (queue_is_closed(&r->queue))
            return false;
        else
            (void)!db_wait_notify(x->db, 0); /* nothing is notified here; but a dead connection shows */
    }
    return true;
}

static void *reader_main(void *arg)
{
    struct reader *x = arg;
    struct readers *r = x->pool;
    for (bool goes_on = true; goes_on && connect(x);) {
        goes_on = serve_all(x);
        db_close(x->db);
        x->db = NULL;
        if (atomic_fetch_sub(&r->up, 1) == 1)
            turn_away(r);
    }
    return NULL;
}

/* ---- opening and closing ---- */

static double waiting(void *arg)
{
    return (double)queue_count(&((struct readers *)arg)->queue);
}

static double connections(void *arg)
{
    return (double)atomic_load(&((struct readers *)arg)->up);
}

static void open_metrics(struct readers *r, struct metrics *m)
{
    r->queries = metrics_counter(m, "readers_queries_total", "Calls answered from a read connection.", "");
    r->lost = metrics_counter(m, "readers_lost_connections_total", "Read connections that died under a query.", "");
    r->expired = metrics_counter(m, "readers_expired_total", "Calls whose time was up before their turn.", "");
    r->seconds = metrics_histogram(m, "readers_seconds", "A query's time, without its wait.", "", HISTOGRAM_SECONDS,
                                   sizeof HISTOGRAM_SECONDS / sizeof HISTOGRAM_SECONDS[0]);
    metrics_gauge_fn(m, "readers_waiting", "Calls that wait for a reader.", "", waiting, r);
    metrics_gauge_fn(m, "readers_connections", "Read connections that are open.", "", connections, r);
}

enum err readers_open(const struct db_conf *db, int threads, struct log *log, struct metrics *metrics, void *app,
                      struct readers **ret, struct fault *fault)
{
    (void)app; /* queries find the service by their call */
    if (threads < 1 || threads > READERS_MAX)
        return fault_set(fault, ERR_CONF, "%d reader threads: must be 1 to %d", threads, READERS_MAX);

    struct readers *r = mem_alloc(sizeof *r);
    r->conf = *db;
    r->log = log;
    queue_init(&r->queue, READERS_QUEUE_MAX);
    pthread_condattr_t monotonic;
    pthread_mutex_init(&r->mutex, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&r->stop, &monotonic);
    pthread_condattr_destroy(&monotonic);
    open_metrics(r, metrics);
    for (; r->count < threads; r->count++) {
        struct reader *x = &r->all[r->count];
        x->pool = r;
        if (pthread_create(&x->thread, NULL, reader_main, x) != 0) {
            readers_close(r);
            return fault_set(fault, ERR_BUG, "a reader's thread could not be started");
        }
    }
    *ret = r;
    return ERR_OK;
}

void readers_close(struct readers *r)
{
    if (r == NULL)
        return;
    queue_close(&r->queue);
    pthread_mutex_lock(&r->mutex);
    r->stopping = true;
    pthread_cond_broadcast(&r->stop);
    pthread_mutex_unlock(&r->mutex);
    for (int i = 0; i < r->count; i++)
        pthread_join(r->all[i].thread, NULL);
    turn_away(r);
    queue_done(&r->queue);
    pthread_cond_destroy(&r->stop);
    pthread_mutex_destroy(&r->mutex);
    mem_free(r);
}
