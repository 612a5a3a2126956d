/* One thread: asks now and then whether Kafka is there and how many partitions the topic has, polls, tells the verifier. */
#include "svc/revocations.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "events/session_event.h"
#include "svc/event.h"

#define TYPE "session.revoked"

enum {
    PARTITIONS_MAX = 64, /* of the topic */
    POLL_MS = 100,
    SURVEY_EVERY_MS = 5000,
    SURVEY_AGAIN_MS = 500, /* while Kafka or the topic is away */
    ASK_MS = 1000,
    /* As long as a token is good after its session's end; and a minute, for clocks that differ. */
    DENIED_S = TOKEN_LIFE_S + TOKEN_LEEWAY_S,
    LOOK_BACK_S = DENIED_S + 60,
};

struct revocations {
    struct revocations_conf conf;
    struct kafka_consumer *consumer;
    pthread_t thread;
    atomic_bool stopping;
    struct counter *sessions, *unreadable;
    struct gauge *behind_gauge;
    struct histogram *delay;

    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool current;
    char why[FAULT_WHY_MAX]; /* while it is not */

    /* the thread's own */
    int partitions;              /* that are read; 0: none */
    bool at_end[PARTITIONS_MAX]; /* since reading began */
    mono_ns_t next_survey;
};

/* ---- what others see ---- */

static void say_behind(struct revocations *r, const char *why)
{
    pthread_mutex_lock(&r->mutex);
    bool news = r->current;
    r->current = false;
    (void)!str_copy(r->why, sizeof r->why, str_of(why));
    pthread_mutex_unlock(&r->mutex);
    gauge_set(r->behind_gauge, 1);
    if (news)
        log_warn(r->conf.log, "revocations: behind: %s", why);
}

static void say_current(struct revocations *r)
{
    pthread_mutex_lock(&r->mutex);
    bool news = !r->current;
    r->current = true;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->mutex);
    gauge_set(r->behind_gauge, 0);
    if (news)
        log_info(r->conf.log, "revocations: current");
}

bool revocations_state(void *arg, char *ret_state, size_t cap)
{
    struct revocations *r = arg;
    pthread_mutex_lock(&r->mutex);
    bool current = r->current;
    if (current)
        snprintf(ret_state, cap, "current");
    else
        snprintf(ret_state, cap, "behind: %.120s", r->why);
    pthread_mutex_unlock(&r->mutex);
    return current;
}

bool revocations_await(struct revocations *r, int timeout_ms)
{
    mono_ns_t end = clock_mono_ns() + timeout_ms * NS_PER_MS;
    const struct timespec at = {.tv_sec = end / NS_PER_S, .tv_nsec = end % NS_PER_S};
    int rc = 0;
    pthread_mutex_lock(&r->mutex);
    while (!r->current && rc == 0)
        rc = pthread_cond_timedwait(&r->changed, &r->mutex, &at);
    bool current = r->current;
    pthread_mutex_unlock(&r->mutex);
    return current;
}

/* ---- an event ---- */

/* A time far ahead would keep its place for ever; tokens that old clocks would call not valid yet are not taken anyway. */
static int64_t end_of(const struct session_revoked *e, time_us_t now)
{
    time_us_t latest = now + TOKEN_LEEWAY_S * US_PER_S;
    return (e->at < latest ? e->at : latest) / US_PER_S + 1 + DENIED_S;
}

static void deny(struct revocations *r, const struct session_revoked *e)
{
    time_us_t now = clock_now_us();
    for (size_t i = 0; i < e->sid_count; i++)
        token_session_revoke(r->conf.verifier, e->sids[i], end_of(e, now));
    counter_add(r->sessions, e->sid_count);
    if (r->current) /* what is read to catch up says nothing of how fast it goes */
        histogram_observe(r->delay, now > e->at ? (double)(now - e->at) / 1e6 : 0);
}

static enum err apply(struct revocations *r, struct event *event, struct arena *arena, struct fault *fault)
{
    struct session_revoked revoked;
    enum err e = event_decode(event, fault);
    if (e != ERR_OK || strcmp(event->type, TYPE) != 0)
        return e;
    e = session_revoked_decode(event->data, arena, &revoked, fault);
    if (e == ERR_OK)
        deny(r, &revoked);
    return e;
}

static void take(struct revocations *r, const struct kafka_message *m)
{
    struct event event = {.topic = r->conf.topic, .partition = m->partition, .offset = m->offset, .raw = m->value};
    struct arena arena;
    struct fault fault = {.err = ERR_OK};
    arena_init(&arena);
    if (apply(r, &event, &arena, &fault) != ERR_OK) {
        counter_add(r->unreadable, 1);
        log_error(r->conf.log, "revocations: passed over %s/%d at offset %lld: %s", r->conf.topic, m->partition,
                  (long long)m->offset, fault.why);
    }
    event_done(&event);
    arena_done(&arena);
}

/* ---- reading ---- */

static void survey_soon(struct revocations *r, int ms)
{
    r->next_survey = clock_mono_ns() + ms * NS_PER_MS;
}

/* What is read again does no harm, so after any doubt all of it is. */
static void lose(struct revocations *r, const char *why)
{
    r->partitions = 0;
    say_behind(r, why);
    survey_soon(r, SURVEY_AGAIN_MS);
}

static enum err begin(struct revocations *r, int partitions, struct fault *fault)
{
    struct kafka_assignment list[PARTITIONS_MAX];
    time_us_t since = clock_now_us() - LOOK_BACK_S * US_PER_S;
    if (partitions > PARTITIONS_MAX)
        return fault_set(fault, ERR_CONF, "\"%s\" has more than %d partitions", r->conf.topic, PARTITIONS_MAX);
    enum err e = kafka_consumer_since(r->consumer, r->conf.topic, since, partitions, ASK_MS, list, fault);
    if (e == ERR_OK)
        e = kafka_assign(r->consumer, list, (size_t)partitions, fault);
    if (e != ERR_OK)
        return e;
    r->partitions = partitions;
    memset(r->at_end, 0, sizeof r->at_end);
    return ERR_OK;
}

/* Without a topic nobody has ever been logged out. */
static void survey(struct revocations *r)
{
    struct fault fault = {.err = ERR_OK};
    int partitions = 0;
    enum err e = kafka_consumer_partitions(r->consumer, r->conf.topic, ASK_MS, &partitions, &fault);
    if (e == ERR_OK && partitions == 0) {
        r->partitions = 0;
        say_current(r);
        survey_soon(r, SURVEY_AGAIN_MS);
        return;
    }
    if (e == ERR_OK && partitions != r->partitions)
        e = begin(r, partitions, &fault);
    if (e == ERR_OK)
        survey_soon(r, SURVEY_EVERY_MS);
    else
        lose(r, fault.why);
}

static void reach_end(struct revocations *r, int partition)
{
    if (partition < 0 || partition >= r->partitions)
        return;
    r->at_end[partition] = true;
    for (int p = 0; p < r->partitions; p++)
        if (!r->at_end[p])
            return;
    say_current(r);
}

static void poll_once(struct revocations *r)
{
    struct kafka_message m;
    struct fault fault = {.err = ERR_OK};
    switch (kafka_poll(r->consumer, POLL_MS, &m, &fault)) {
    case KAFKA_MESSAGE:
        take(r, &m);
        kafka_message_done(&m);
        break;
    case KAFKA_CAUGHT_UP:
        reach_end(r, m.partition);
        break;
    case KAFKA_PARTITION_STOPPED:
        lose(r, fault.why);
        break;
    case KAFKA_TROUBLE: /* it may be a connection that was idle: the survey tells */
        r->next_survey = 0;
        break;
    case KAFKA_NOTHING:
        break;
    }
}

static void *revocations_main(void *arg)
{
    struct revocations *r = arg;
    while (!atomic_load(&r->stopping)) {
        if (clock_mono_ns() >= r->next_survey)
            survey(r);
        poll_once(r);
    }
    return NULL;
}

/* ---- open and close ---- */

static double floor_of(void *arg)
{
    const struct revocations *r = arg;
    return (double)token_floor_s(r->conf.verifier);
}

static double keys_age(void *arg)
{
    const struct revocations *r = arg;
    return (double)token_keys_age_s(r->conf.verifier);
}

static void metrics_open(struct revocations *r)
{
    struct metrics *m = r->conf.metrics;
    r->sessions = metrics_counter(m, "revocations_total", "Sessions that were heard to have ended.", "");
    r->unreadable = metrics_counter(m, "revocations_unreadable_total", "Records that could not be read.", "");
    r->behind_gauge = metrics_gauge(m, "revocations_behind",
                                    "1: ended sessions may not be known here until their tokens expire.", "");
    r->delay = metrics_histogram(m, "revocation_delay_seconds", "From a session's end until it is refused here.", "",
                                 HISTOGRAM_SECONDS, sizeof HISTOGRAM_SECONDS / sizeof HISTOGRAM_SECONDS[0]);
    metrics_gauge_fn(m, "token_floor_seconds",
                     "Tokens issued up to then are refused: more sessions ended than can be told apart.", "", floor_of,
                     r);
    metrics_gauge_fn(m, "jwks_age_seconds", "Since the public keys' file was last looked at and found good.", "",
                     keys_age, r);
    gauge_set(r->behind_gauge, 1);
}

enum err revocations_open(const struct revocations_conf *conf, struct revocations **ret, struct fault *fault)
{
    struct revocations *r = mem_alloc(sizeof *r);
    r->conf = *conf;
    (void)!str_copy(r->why, sizeof r->why, STR("reading"));
    /* The group is a name only: partitions are assigned, and no positions are kept. */
    enum err e = kafka_consumer_open(&r->conf.kafka, conf->kafka.client_id, &r->consumer, fault);
    if (e != ERR_OK) {
        mem_free(r);
        return e;
    }
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&r->mutex, NULL);
    pthread_cond_init(&r->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    metrics_open(r);
    int rc = pthread_create(&r->thread, NULL, revocations_main, r);
    assert(rc == 0); /* at start, with nothing running yet */
    *ret = r;
    return ERR_OK;
}

void revocations_close(struct revocations *r)
{
    if (r == NULL)
        return;
    atomic_store(&r->stopping, true);
    pthread_join(r->thread, NULL); /* it waits for nothing longer than ASK_MS */
    kafka_consumer_close(r->consumer);
    pthread_cond_destroy(&r->changed);
    pthread_mutex_destroy(&r->mutex);
    mem_free(r);
}
