/* The relay's slots: what the lane says of each number and what its publisher says. */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "svc/relay_private.h"

enum {
    RELEASE_WAIT_MS = 100,
    CLOSE_WAIT_MS = 2000,
    ENVIRONMENT_MAX = 32,
};

/* None of these calls fails but for a bug of ours. */
static void must(int rc)
{
    assert(rc == 0);
}

static void lock(struct relay *r)
{
    must(pthread_mutex_lock(&r->mutex));
}

static void unlock(struct relay *r)
{
    must(pthread_mutex_unlock(&r->mutex));
}

/* false: the deadline is over. */
static bool wait_until(struct relay *r, pthread_cond_t *cond, mono_ns_t deadline)
{
    struct timespec at = {.tv_sec = deadline / NS_PER_S, .tv_nsec = deadline % NS_PER_S};
    int rc = pthread_cond_timedwait(cond, &r->mutex, &at);
    assert(rc == 0 || rc == ETIMEDOUT);
    return rc == 0;
}

static mono_ns_t deadline_in(int timeout_ms)
{
    return clock_mono_ns() + timeout_ms * NS_PER_MS;
}

static void cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    must(pthread_condattr_init(&attr));
    must(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC));
    must(pthread_cond_init(cond, &attr));
    must(pthread_condattr_destroy(&attr));
}

/* ---- open and close ---- */

/* A publisher that was left behind may still read these when their owners are gone: so they are copied. */
static void conf_copy(struct relay *r, const struct relay_conf *conf)
{
    struct arena *a = &r->arena;
    r->conf = *conf;
    r->conf.service = arena_strdup(a, conf->service);
    r->conf.environment = arena_strdup(a, conf->environment);
    r->conf.topic = arena_strdup(a, conf->topic);
    r->conf.db.url = arena_strdup(a, conf->db.url);
    r->conf.db.password = conf->db.password != NULL ? arena_strdup(a, conf->db.password) : NULL;
    r->conf.db.application_name = conf->db.application_name != NULL ? arena_strdup(a, conf->db.application_name) : NULL;
    r->conf.kafka.brokers = arena_strdup(a, conf->kafka.brokers);
    r->conf.kafka.client_id = arena_strdup(a, conf->kafka.client_id);

    const char **consumes = ARENA_ARRAY(a, const char *, RELAY_TOPICS_MAX + 1);
    r->topics[r->topic_count++] = r->conf.topic;
    for (size_t i = 0; conf->consumes[i] != NULL; i++) {
        consumes[i] = arena_strdup(a, conf->consumes[i]);
        r->topics[r->topic_count++] = arena_printf(a, "%s.dlq", conf->consumes[i]);
    }
    r->conf.consumes = consumes;
    r->position_topic = arena_printf(a, "_relay.%s", conf->service);
}

static void metrics_open(struct relay_metrics *x, struct metrics *m)
{
    x->transactions = metrics_counter(m, "relay_transactions_total", "Kafka transactions committed.", "");
    x->published = metrics_counter(m, "relay_published_total", "Events published.", "");
    x->restarts = metrics_counter(m, "relay_restarts_total", "Times that both producers were thrown away.", "");
    x->seconds = metrics_histogram(m, "relay_transaction_seconds", "From begin to the commit's answer.", "",
                                   HISTOGRAM_SECONDS, sizeof HISTOGRAM_SECONDS / sizeof HISTOGRAM_SECONDS[0]);
    x->lag = metrics_gauge(m, "outbox_lag", "Events committed and not yet published.", "");
    x->refused = metrics_gauge(m, "relay_refused", "Lanes that can't be published: the log says why.", "");
}

static void relay_free(struct relay *r)
{
    must(pthread_cond_destroy(&r->work));
    must(pthread_cond_destroy(&r->news));
    must(pthread_mutex_destroy(&r->mutex));
    arena_done(&r->arena);
    mem_free(r);
}

static enum err conf_check(const struct relay_conf *conf, struct fault *fault)
{
    size_t len = strlen(conf->environment);
    if (len < 1 || len > ENVIRONMENT_MAX)
        return fault_set(fault, ERR_CONF, "the environment's name \"%s\" must have 1 to %d bytes", conf->environment,
                         ENVIRONMENT_MAX);
    size_t topics = 0;
    while (conf->consumes[topics] != NULL)
        topics++;
    assert(topics <= RELAY_TOPICS_MAX && strlen(conf->service) < EVENT_SOURCE_MAX);
    return ERR_OK;
}

enum err relay_open(const struct relay_conf *conf, struct lane *lane, struct relay **ret, struct fault *fault)
{
    enum err e = conf_check(conf, fault);
    if (e != ERR_OK)
        return e;

    struct relay *r = mem_alloc(sizeof *r);
    must(pthread_mutex_init(&r->mutex, NULL));
    cond_init(&r->work);
    cond_init(&r->news);
    arena_init(&r->arena);
    r->lane = lane;
    conf_copy(r, conf);
    metrics_open(&r->metrics, conf->metrics);
    *ret = r;
    return ERR_OK;
}

void relay_close(struct relay *r)
{
    if (r == NULL)
        return;
    lock(r);
    r->closing = true;
    must(pthread_cond_broadcast(&r->work));
    must(pthread_cond_broadcast(&r->news));
    mono_ns_t deadline = deadline_in(CLOSE_WAIT_MS);
    while (r->threads > 0 && wait_until(r, &r->news, deadline))
        ;
    r->left = r->threads > 0;
    bool ours = !r->left;
    unlock(r);
    if (ours)
        relay_free(r);
}

/* ---- slots ---- */

static bool is_drained(const struct relay_slot *s)
{
    return s->position >= 0 && s->position >= s->target;
}

/* The mutex is held, and the relay not closing. */
static void gauges_set(struct relay *r)
{
    int64_t lag = 0;
    int refused = 0;
    for (int n = 1; n <= LANE_MAX; n++) {
        const struct relay_slot *s = &r->slots[n];
        int64_t position = s->position > s->floor ? s->position : s->floor;
        if (!s->held)
            continue;
        lag += s->target > position ? s->target - position : 0;
        refused += s->status == RELAY_REFUSED;
    }
    gauge_set(r->metrics.lag, (double)lag);
    gauge_set(r->metrics.refused, refused);
}

/* The mutex is held. */
static void publisher_see_to(struct relay *r, int number)
{
    struct relay_slot *s = &r->slots[number];
    if (s->publisher != NULL)
        return;
    s->publisher = publisher_start(r, number, s->epoch);
    if (s->publisher != NULL) {
        r->threads++;
        return;
    }
    s->status = RELAY_AWAY; /* tried again at the next waking */
    (void)!str_copy(s->why, sizeof s->why, STR("no thread could be started"));
    log_error(r->conf.log, "lane %d is not published: %s", number, s->why);
}

void relay_hold(struct relay *r, int number, struct uuid epoch, int64_t last_seq)
{
    assert(number >= 1 && number <= LANE_MAX);
    lock(r);
    r->slots[number] = (struct relay_slot){.held = true,
                                           .epoch = epoch,
                                           .target = last_seq,
                                           .awaited = last_seq,
                                           .position = -1,
                                           .status = RELAY_STARTING};
    gauges_set(r);
    must(pthread_cond_broadcast(&r->work)); /* a publisher of an earlier holding goes */
    publisher_see_to(r, number);
    unlock(r);
}

void relay_wake(struct relay *r, int number, int64_t last_seq, int64_t awaited_seq)
{
    assert(awaited_seq <= last_seq);
    lock(r);
    struct relay_slot *s = &r->slots[number];
    if (s->held && s->target < last_seq) {
        if (s->target <= s->position)
            s->linger_until = deadline_in(RELAY_LINGER_MS);
        s->target = last_seq;
        s->awaited = awaited_seq > s->awaited ? awaited_seq : s->awaited;
        gauges_set(r);
        publisher_see_to(r, number);
        must(pthread_cond_broadcast(&r->work));
    }
    unlock(r);
}

void relay_release(struct relay *r, int number)
{
    lock(r);
    struct relay_slot *s = &r->slots[number];
    s->held = false;
    must(pthread_cond_broadcast(&r->work));
    mono_ns_t deadline = deadline_in(RELEASE_WAIT_MS);
    while (s->publisher != NULL && wait_until(r, &r->news, deadline))
        ;
    s->publisher = NULL;
    gauges_set(r);
    unlock(r);
}

bool relay_is_drained(struct relay *r, int number)
{
    lock(r);
    bool drained = r->slots[number].held && is_drained(&r->slots[number]);
    unlock(r);
    return drained;
}

/* What is refused will not be drained by waiting. */
static bool is_any_behind(const struct relay *r)
{
    for (int n = 1; n <= LANE_MAX; n++) {
        const struct relay_slot *s = &r->slots[n];
        if (s->held && s->status != RELAY_REFUSED && !is_drained(s))
            return true;
    }
    return false;
}

bool relay_drain(struct relay *r, int timeout_ms)
{
    lock(r);
    r->draining++;
    must(pthread_cond_broadcast(&r->work)); /* what lingers goes now */
    mono_ns_t deadline = deadline_in(timeout_ms);
    while (is_any_behind(r) && wait_until(r, &r->news, deadline))
        ;
    r->draining--;
    bool drained = !is_any_behind(r);
    unlock(r);
    return drained;
}

void relay_state(struct relay *r, char *ret, size_t cap)
{
    static const char *const NAMES[] = {[RELAY_STARTING] = "starting",
                                        [RELAY_PUBLISHING] = "publishing",
                                        [RELAY_AWAY] = "away",
                                        [RELAY_REFUSED] = "refused"};
    lock(r);
    const struct relay_slot *worst = NULL;
    for (int n = 1; n <= LANE_MAX; n++)
        if (r->slots[n].held && (worst == NULL || r->slots[n].status > worst->status))
            worst = &r->slots[n];

    struct buf text;
    buf_init(&text);
    buf_str(&text, worst != NULL ? NAMES[worst->status] : "no lane held");
    if (worst != NULL && worst->why[0] != '\0')
        buf_printf(&text, ": %s", worst->why);
    unlock(r);
    bool fits = str_copy(ret, cap, (struct str){text.data, text.len});
    (void)fits;
    buf_done(&text);
}

/* ---- what publishers ask and say ---- */

/* The mutex is held. */
static bool is_wanted(const struct publisher *p)
{
    const struct relay_slot *s = &p->relay->slots[p->number];
    return !p->relay->closing && s->held && s->publisher == p;
}

/* Takes the mutex. NULL: the slot is another's now, or the relay is closing. */
static struct relay_slot *slot_enter(const struct publisher *p)
{
    struct relay_slot *s = &p->relay->slots[p->number];
    lock(p->relay);
    return is_wanted(p) ? s : NULL;
}

bool relay_wants(const struct publisher *p)
{
    bool wants = slot_enter(p) != NULL;
    unlock(p->relay);
    return wants;
}

/* When rows beyond `position` are to be published, at the latest. */
static mono_ns_t due_at(const struct relay *r, const struct relay_slot *s, int64_t position, mono_ns_t deadline)
{
    if (s->awaited > position || (s->target > position && r->draining > 0))
        return 0;
    return s->target > position ? s->linger_until : deadline;
}

bool relay_wait(const struct publisher *p, int64_t position, int timeout_ms, int64_t *ret_target)
{
    struct relay *r = p->relay;
    const struct relay_slot *s = slot_enter(p);
    mono_ns_t deadline = deadline_in(timeout_ms);
    while (s != NULL && is_wanted(p) && clock_mono_ns() < due_at(r, s, position, deadline))
        (void)wait_until(r, &r->work, due_at(r, s, position, deadline));
    bool wanted = is_wanted(p);
    if (wanted)
        *ret_target = s->target;
    unlock(r);
    return wanted;
}

void relay_rest(const struct publisher *p, int timeout_ms)
{
    struct relay *r = p->relay;
    mono_ns_t deadline = deadline_in(timeout_ms);
    lock(r);
    while (is_wanted(p) && wait_until(r, &r->work, deadline))
        ;
    unlock(r);
}

void relay_tell_floor(const struct publisher *p, int64_t published_upto)
{
    struct relay_slot *s = slot_enter(p);
    if (s != NULL) {
        s->floor = published_upto;
        gauges_set(p->relay);
    }
    unlock(p->relay);
}

/* The mutex is held, and the slot the publisher's. */
static void slot_changed(struct relay *r)
{
    gauges_set(r);
    if (r->draining > 0)
        must(pthread_cond_broadcast(&r->news));
}

static void slot_move(const struct publisher *p, struct relay_slot *s, int64_t position)
{
    if (s->status != RELAY_PUBLISHING)
        log_info(p->relay->conf.log, "lane %d is published up to event %lld", p->number, (long long)position);
    s->position = position;
    if (s->target < position) /* rows that nobody told us of */
        s->target = position;
    s->status = RELAY_PUBLISHING;
    s->why[0] = '\0';
    lane_published(p->relay->lane, p->number, position);
    slot_changed(p->relay);
}

void relay_tell_idle(const struct publisher *p, int64_t position)
{
    struct relay_slot *s = slot_enter(p);
    if (s != NULL)
        slot_move(p, s, position);
    unlock(p->relay);
}

void relay_tell_published(const struct publisher *p, int64_t position, int count, double seconds)
{
    const struct relay_metrics *m = &p->relay->metrics;
    struct relay_slot *s = slot_enter(p);
    if (s != NULL) {
        counter_add(m->transactions, 1);
        counter_add(m->published, (uint64_t)count);
        histogram_observe(m->seconds, seconds);
        slot_move(p, s, position);
    }
    unlock(p->relay);
}

/* Logged when it begins, and when a refusal gets another reason; not at each try. */
static void trouble_log(const struct publisher *p, const struct relay_slot *s, enum relay_status status,
                        const char *why)
{
    bool refused = status == RELAY_REFUSED;
    if (s->status == status && (!refused || strcmp(s->why, why) == 0))
        return;
    log_msg(p->relay->conf.log, refused ? LOG_ERROR : LOG_WARN, NULL, "lane %d is not published: %s", p->number, why);
}

void relay_tell_trouble(const struct publisher *p, enum relay_status status, const char *why)
{
    struct relay_slot *s = slot_enter(p);
    if (s != NULL) {
        trouble_log(p, s, status, why);
        s->status = status;
        bool fits = str_copy(s->why, sizeof s->why, str_of(why));
        assert(fits);
        counter_add(p->relay->metrics.restarts, 1);
        slot_changed(p->relay);
    }
    unlock(p->relay);
}

void relay_leave(const struct publisher *p)
{
    struct relay *r = p->relay;
    lock(r);
    if (r->slots[p->number].publisher == p)
        r->slots[p->number].publisher = NULL;
    r->threads--;
    must(pthread_cond_broadcast(&r->news));
    bool last = r->left && r->threads == 0;
    unlock(r);
    if (last)
        relay_free(r);
}
