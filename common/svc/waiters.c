#include "svc/waiters.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/hash.h"

enum {
    BUCKETS = 4096, /* also how finely stamps tell resources apart: a neighbour's offer costs one read too many */
    CONNECT_TIMEOUT_MS = 2000,
    BACKOFF_FIRST_MS = 100,
    BACKOFF_MAX_MS = 2000,
    LISTEN_SQL_MAX = 128,
};

TAILQ_HEAD(waiter_list, waiter);
struct bucket {
    struct waiter *first;
    uint32_t stamp; /* moves with every offer to this bucket */
};

/* Two threads, because a database that hangs must not make answers late: `watcher` reads, `clock` runs what is late. */
struct waiters {
    struct waiters_conf conf;
    char listen_sql[LISTEN_SQL_MAX];
    pthread_t clock, watcher;
    int wake_fd; /* the watcher's: something is to be read now, or it shall end */

    pthread_mutex_t mutex; /* all below; held while callbacks run */
    pthread_cond_t sooner; /* the clock's: the first deadline has moved, or it shall end */
    bool stopping;
    struct bucket buckets[BUCKETS];
    struct waiter_list by_deadline, by_look; /* the first comes next */
    size_t count;

    struct db *db; /* the watcher's own, from here on */
    bool told;     /* others have committed: everything is to be read */
    mono_ns_t next_told;
    bool away; /* and it was logged */

    struct counter *settled, *late, *reads;
};

static struct bucket *bucket_of(struct waiters *ws, struct uuid id)
{
    return &ws->buckets[hash_fnv1a(id.bytes, sizeof id.bytes) % BUCKETS];
}

static mono_ns_t after_ms(mono_ns_t t, int ms)
{
    return t + ms * NS_PER_MS;
}

/* ---- the three ways by which a waiter is found ---- */

/* Nearly all wait equally long, so the place is nearly always at the end. */
static void insert_by_deadline(struct waiters *ws, struct waiter *w)
{
    struct waiter *before = TAILQ_LAST(&ws->by_deadline, waiter_list);
    while (before != NULL && before->deadline > w->deadline)
        before = TAILQ_PREV(before, waiter_list, by_deadline);
    if (before == NULL)
        TAILQ_INSERT_HEAD(&ws->by_deadline, w, by_deadline);
    else
        TAILQ_INSERT_AFTER(&ws->by_deadline, before, w, by_deadline);
}

static void insert_by_look(struct waiters *ws, struct waiter *w, mono_ns_t look_at)
{
    struct waiter *before = TAILQ_LAST(&ws->by_look, waiter_list);
    w->look_at = look_at;
    while (before != NULL && before->look_at > look_at)
        before = TAILQ_PREV(before, waiter_list, by_look);
    if (before == NULL)
        TAILQ_INSERT_HEAD(&ws->by_look, w, by_look);
    else
        TAILQ_INSERT_AFTER(&ws->by_look, before, w, by_look);
}

static mono_ns_t next_look(const struct waiter *w, mono_ns_t now)
{
    mono_ns_t usual = after_ms(now, WAITERS_REREAD_MS), last = after_ms(w->deadline, -WAITERS_LAST_LOOK_MS);
    return last > now && last < usual ? last : usual;
}

static void insert(struct waiters *ws, struct waiter *w, mono_ns_t look_at)
{
    struct bucket *b = bucket_of(ws, w->id);
    w->next_in_bucket = b->first;
    b->first = w;
    insert_by_deadline(ws, w);
    insert_by_look(ws, w, look_at);
    ws->count++;
}

static void take_out(struct waiters *ws, struct waiter *w)
{
    struct waiter **at = &bucket_of(ws, w->id)->first;
    while (*at != w)
        at = &(*at)->next_in_bucket;
    *at = w->next_in_bucket;
    TAILQ_REMOVE(&ws->by_deadline, w, by_deadline);
    TAILQ_REMOVE(&ws->by_look, w, by_look);
    ws->count--;
}

/* Who is answered is gone at once: his loop sends the answer and drops the call. So he is taken out before he is asked, and
 * put back between the same neighbours if it was not yet what he waits for. True: answered. */
static bool ask(struct waiters *ws, struct waiter **at, const void *resource)
{
    struct waiter *w = *at, *later = TAILQ_NEXT(w, by_deadline), *looked_later = TAILQ_NEXT(w, by_look);
    *at = w->next_in_bucket;
    TAILQ_REMOVE(&ws->by_deadline, w, by_deadline);
    TAILQ_REMOVE(&ws->by_look, w, by_look);
    if (w->settled(w, resource)) {
        ws->count--;
        counter_add(ws->settled, 1);
        return true;
    }

    *at = w;
    if (later != NULL)
        TAILQ_INSERT_BEFORE(later, w, by_deadline);
    else
        TAILQ_INSERT_TAIL(&ws->by_deadline, w, by_deadline);
    if (looked_later != NULL)
        TAILQ_INSERT_BEFORE(looked_later, w, by_look);
    else
        TAILQ_INSERT_TAIL(&ws->by_look, w, by_look);
    return false;
}

/* ---- what services call ---- */

enum err waiters_add(struct waiters *ws, struct waiter *w)
{
    pthread_mutex_lock(&ws->mutex);
    bool full = ws->count >= WAITERS_MAX;
    w->stamp = bucket_of(ws, w->id)->stamp;
    pthread_mutex_unlock(&ws->mutex);

    w->deadline = after_ms(clock_mono_ns(), w->call->wait_ms);
    return full ? fault_set(&w->call->fault, ERR_BUSY, "%d calls wait already", WAITERS_MAX) : ERR_OK;
}

static void wake_watcher(struct waiters *ws)
{
    uint64_t one = 1;
    ssize_t written = write(ws->wake_fd, &one, sizeof one);
    (void)written; /* it fails only when the counter is full, and then the watcher wakes anyway */
}

static void run_late(struct waiters *ws, struct waiter *w)
{
    counter_add(ws->late, 1);
    w->late(w);
}

static void arm(struct waiters *ws, struct waiter *w, bool look_now)
{
    mono_ns_t now = clock_mono_ns();
    if (w->deadline <= now || ws->stopping) {
        run_late(ws, w);
        return;
    }
    insert(ws, w, look_now ? now : next_look(w, now));
    if (TAILQ_FIRST(&ws->by_look) == w) /* sooner than what the watcher sleeps for */
        wake_watcher(ws);
    if (TAILQ_FIRST(&ws->by_deadline) == w)
        pthread_cond_signal(&ws->sooner);
}

void waiters_arm(struct waiters *ws, struct waiter *w)
{
    pthread_mutex_lock(&ws->mutex);
    arm(ws, w, w->stamp != bucket_of(ws, w->id)->stamp);
    pthread_mutex_unlock(&ws->mutex);
}

void waiters_move(struct waiters *ws, struct waiter *w, struct uuid id)
{
    pthread_mutex_lock(&ws->mutex);
    w->id = id;
    arm(ws, w, true);
    pthread_mutex_unlock(&ws->mutex);
}

void waiters_offer(struct waiters *ws, struct uuid id, const void *resource)
{
    pthread_mutex_lock(&ws->mutex);
    struct bucket *b = bucket_of(ws, id);
    b->stamp++;
    for (struct waiter **at = &b->first; *at != NULL;)
        if (!uuid_eq((*at)->id, id) || !ask(ws, at, resource))
            at = &(*at)->next_in_bucket;
    pthread_mutex_unlock(&ws->mutex);
}

size_t waiters_count(struct waiters *ws)
{
    pthread_mutex_lock(&ws->mutex);
    size_t count = ws->count;
    pthread_mutex_unlock(&ws->mutex);
    return count;
}

/* ---- the clock ---- */

static void wait_until(struct waiters *ws, mono_ns_t t)
{
    struct timespec at = {.tv_sec = t / NS_PER_S, .tv_nsec = t % NS_PER_S};
    pthread_cond_timedwait(&ws->sooner, &ws->mutex, &at);
}

static void *clock_main(void *arg)
{
    struct waiters *ws = arg;
    pthread_mutex_lock(&ws->mutex);
    while (!ws->stopping) {
        struct waiter *w = TAILQ_FIRST(&ws->by_deadline);
        if (w == NULL) {
            pthread_cond_wait(&ws->sooner, &ws->mutex);
        } else if (w->deadline > clock_mono_ns()) {
            wait_until(ws, w->deadline);
        } else {
            take_out(ws, w);
            run_late(ws, w);
        }
    }
    pthread_mutex_unlock(&ws->mutex);
    return NULL;
}

/* ---- the watcher ---- */

static bool is_stopping(struct waiters *ws)
{
    pthread_mutex_lock(&ws->mutex);
    bool stopping = ws->stopping;
    pthread_mutex_unlock(&ws->mutex);
    return stopping;
}

/* Takes at most WAITERS_REREAD_MAX ids that are due. */
static size_t take_due(struct waiters *ws, struct uuid ids[WAITERS_REREAD_MAX])
{
    size_t count = 0;
    mono_ns_t now = clock_mono_ns();
    pthread_mutex_lock(&ws->mutex);
    while (count < WAITERS_REREAD_MAX) {
        struct waiter *w = TAILQ_FIRST(&ws->by_look);
        if (w == NULL || w->look_at > now)
            break;
        ids[count++] = w->id;
        TAILQ_REMOVE(&ws->by_look, w, by_look);
        insert_by_look(ws, w, next_look(w, now));
    }
    pthread_mutex_unlock(&ws->mutex);
    return count;
}

static void make_all_due(struct waiters *ws)
{
    struct waiter *w;
    mono_ns_t now = clock_mono_ns();
    pthread_mutex_lock(&ws->mutex);
    TAILQ_FOREACH(w, &ws->by_look, by_look)
    w->look_at = w->look_at < now ? w->look_at : now;
    pthread_mutex_unlock(&ws->mutex);
}

static void lose(struct waiters *ws, const char *why)
{
    if (!ws->away)
        log_warn(ws->conf.log, "waiters: the database is away: %s", why);
    ws->away = true;
    db_close(ws->db);
    ws->db = NULL;
}

static bool connect_and_listen(struct waiters *ws)
{
    struct fault fault;
    enum err e = db_open(&ws->conf.db, CONNECT_TIMEOUT_MS, &ws->db, &fault);
    if (e == ERR_OK)
        e = db_run(ws->db, ws->listen_sql, &fault);
    if (e != ERR_OK) {
        lose(ws, fault.why);
        return false;
    }
    if (ws->away)
        log_info(ws->conf.log, "waiters: the database is back");
    ws->away = false;
    ws->told = true; /* what was notified meanwhile was missed */
    return true;
}

/* Reads what is due. An error with the connection intact is tried again at the next look. */
static void look(struct waiters *ws)
{
    struct uuid ids[WAITERS_REREAD_MAX];
    struct fault fault;
    mono_ns_t now = clock_mono_ns();
    if (ws->told && now >= ws->next_told) {
        make_all_due(ws);
        ws->told = false;
        ws->next_told = after_ms(now, WAITERS_NOTIFY_GAP_MS);
    }

    for (size_t count; !is_stopping(ws) && (count = take_due(ws, ids)) > 0;) {
        counter_add(ws->reads, 1);
        enum err e = ws->conf.reread(ws->conf.app, ws->db, ids, count, &fault);
        if (e == ERR_OK)
            continue;
        if (!db_is_open(ws->db)) {
            lose(ws, fault.why);
            return;
        }
        log_warn(ws->conf.log, "waiters: read again: %s", fault.why);
        return;
    }
}

/* How long nothing is due, in ms, rounded up; -1: for ever. */
static int idle_ms(struct waiters *ws)
{
    mono_ns_t next = ws->told ? ws->next_told : INT64_MAX, now = clock_mono_ns();
    pthread_mutex_lock(&ws->mutex);
    const struct waiter *w = TAILQ_FIRST(&ws->by_look);
    if (w != NULL && w->look_at < next)
        next = w->look_at;
    pthread_mutex_unlock(&ws->mutex);
    if (next == INT64_MAX)
        return -1;
    return next <= now ? 0 : (int)((next - now + NS_PER_MS - 1) / NS_PER_MS);
}

/* Until woken, or notified (or the connection is lost), or for timeout_ms. */
static void wait_awake(struct waiters *ws, int timeout_ms)
{
    struct pollfd fds[] = {
        {.fd = ws->wake_fd, .events = POLLIN},
        {.fd = ws->db != NULL ? db_fd(ws->db) : -1, .events = POLLIN},
    };
    uint64_t pokes;
    if (poll(fds, 2, timeout_ms) > 0 && (fds[0].revents & POLLIN) != 0)
        (void)!read(ws->wake_fd, &pokes, sizeof pokes);
}

/* Notifications that came with the answer to a query show on no descriptor, so they are asked for before waiting. */
static bool hear(struct waiters *ws)
{
    int heard;
    while ((heard = db_wait_notify(ws->db, 0)) > 0)
        ws->told = true;
    if (heard < 0)
        lose(ws, "the connection was lost");
    return heard >= 0;
}

static void watch(struct waiters *ws)
{
    while (!is_stopping(ws) && ws->db != NULL) {
        look(ws);
        if (ws->db != NULL && hear(ws))
            wait_awake(ws, idle_ms(ws));
    }
}

static void back_off(struct waiters *ws, int ms)
{
    mono_ns_t until = after_ms(clock_mono_ns(), ms);
    while (!is_stopping(ws)) {
        mono_ns_t left = until - clock_mono_ns();
        if (left <= 0)
            return;
        wait_awake(ws, (int)(left / NS_PER_MS) + 1);
    }
}

static void *watcher_main(void *arg)
{
    struct waiters *ws = arg;
    int pause_ms = BACKOFF_FIRST_MS;
    while (!is_stopping(ws)) {
        if (connect_and_listen(ws)) {
            watch(ws);
            pause_ms = BACKOFF_FIRST_MS;
            continue;
        }
        back_off(ws, pause_ms);
        pause_ms = pause_ms * 2 < BACKOFF_MAX_MS ? pause_ms * 2 : BACKOFF_MAX_MS;
    }
    db_close(ws->db);
    return NULL;
}

/* ---- opening and closing ---- */

static double count_now(void *arg)
{
    return (double)waiters_count(arg);
}

static void open_metrics(struct waiters *ws)
{
    struct metrics *m = ws->conf.metrics;
    ws->settled = metrics_counter(m, "waiters_settled_total", "Calls answered at their saga's end.", "");
    ws->late = metrics_counter(m, "waiters_late_total", "Calls answered before their saga's end.", "");
    ws->reads = metrics_counter(m, "waiters_reads_total", "Queries for awaited resources.", "");
    metrics_gauge_fn(m, "waiters", "Calls that wait for their saga's end.", "", count_now, ws);
}

static void init(struct waiters *ws, const struct waiters_conf *conf)
{
    pthread_condattr_t monotonic;
    ws->conf = *conf;
    snprintf(ws->listen_sql, sizeof ws->listen_sql, "LISTEN \"%s\"", conf->channel);
    pthread_mutex_init(&ws->mutex, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&ws->sooner, &monotonic);
    pthread_condattr_destroy(&monotonic);
    TAILQ_INIT(&ws->by_deadline);
    TAILQ_INIT(&ws->by_look);
    open_metrics(ws);
}

static void done(struct waiters *ws)
{
    close(ws->wake_fd);
    pthread_cond_destroy(&ws->sooner);
    pthread_mutex_destroy(&ws->mutex);
    mem_free(ws);
}

static void stop_threads(struct waiters *ws, bool clock, bool watcher)
{
    pthread_mutex_lock(&ws->mutex);
    ws->stopping = true;
    pthread_cond_signal(&ws->sooner);
    pthread_mutex_unlock(&ws->mutex);
    wake_watcher(ws);
    if (clock)
        pthread_join(ws->clock, NULL);
    if (watcher)
        pthread_join(ws->watcher, NULL);
}

enum err waiters_open(const struct waiters_conf *conf, struct waiters **ret, struct fault *fault)
{
    struct waiters *ws = mem_alloc(sizeof *ws);
    init(ws, conf);
    ws->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    bool clock = ws->wake_fd >= 0 && pthread_create(&ws->clock, NULL, clock_main, ws) == 0;
    bool watcher = clock && pthread_create(&ws->watcher, NULL, watcher_main, ws) == 0;
    if (!watcher) {
        stop_threads(ws, clock, watcher);
        done(ws);
        return fault_set(fault, ERR_BUG, "the waiters' threads could not be started");
    }
    *ret = ws;
    return ERR_OK;
}

void waiters_close(struct waiters *ws)
{
    if (ws == NULL)
        return;
    stop_threads(ws, true, true);
    for (struct waiter *w; (w = TAILQ_FIRST(&ws->by_deadline)) != NULL;) {
        take_out(ws, w);
        run_late(ws, w);
    }
    done(ws);
}
