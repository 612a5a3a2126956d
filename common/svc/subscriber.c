/* One thread: takes over what the lane assigns, polls, decodes, hands over. It keeps no positions but to know where it is. */
#include "svc/subscriber.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

enum {
    SOURCES_MAX = 512, /* topic partitions that are read at once (kafka.h's own bound) */
    TOPICS_MAX = 15,   /* that one service consumes */
    POLL_MS = 100,
    TEND_EVERY_MS = 1000,
    STOPPED_RETRY_MS = 5000,
    TROUBLE_FADES_MS = 60000, /* librdkafka repeats what still troubles it every 30 s, and is silent when it is over */
};

/* A partition that is read. */
struct source {
    int topic, partition;
    int64_t next_offset; /* of what is handed over next */
    unsigned generation;
    bool stopped; /* its offset is not in the log; left out until the next try */
    bool told;    /* of that, in the log */
};

struct subscriber {
    struct subscriber_conf conf;
    struct lane *lane;
    pthread_t thread;
    bool started;
    atomic_bool stopping;

    pthread_mutex_t mutex;
    struct source wanted[SOURCES_MAX]; /* what the lane said last */
    size_t wanted_count;
    bool assigned; /* and it is to be taken over */
    char state[FAULT_WHY_MAX];

    /* the thread's own */
    struct kafka_consumer *consumer;
    struct source sources[SOURCES_MAX];
    size_t source_count;
    mono_ns_t next_tend, retry_at; /* retry_at 0: nothing is stopped */
    mono_ns_t trouble_at;          /* 0: none */
    char trouble[FAULT_WHY_MAX];
    struct gauge *lag[TOPICS_MAX], *stopped[TOPICS_MAX];
    struct counter *messages, *unreadable;
};

/* None of these calls fails but for a bug of ours. */
static void must(int rc)
{
    assert(rc == 0);
}

static void lock(struct subscriber *s)
{
    must(pthread_mutex_lock(&s->mutex));
}

static void unlock(struct subscriber *s)
{
    must(pthread_mutex_unlock(&s->mutex));
}

/* ---- open and close ---- */

static void metrics_open(struct subscriber *s)
{
    struct metrics *m = s->conf.metrics;
    for (size_t t = 0; s->conf.consumes[t] != NULL; t++) {
        struct buf labels;
        buf_init(&labels);
        buf_printf(&labels, "topic=\"%s\"", s->conf.consumes[t]);
        s->lag[t] = metrics_gauge(m, "consumer_lag", "Records not yet handed to the lane.", buf_cstr(&labels));
        s->stopped[t] = metrics_gauge(m, "consumer_stopped",
                                      "Partitions whose stored offset is not in the log any more.", buf_cstr(&labels));
        buf_done(&labels);
    }
    s->messages = metrics_counter(m, "consumer_messages_total", "Records read.", "");
    s->unreadable = metrics_counter(m, "consumer_unreadable_total", "Records that could not be decoded.", "");
}

enum err subscriber_open(const struct subscriber_conf *conf, struct lane *lane, struct subscriber **ret,
                         struct fault *fault)
{
    size_t topics = 0;
    while (conf->consumes[topics] != NULL)
        topics++;
    assert(topics <= TOPICS_MAX);

    struct subscriber *s = mem_alloc(sizeof *s);
    s->conf = *conf;
    s->lane = lane;
    /* The group is a name only: partitions are assigned, and positions kept in our own database. */
    enum err e = kafka_consumer_open(&s->conf.kafka, conf->service, &s->consumer, fault);
    if (e != ERR_OK) {
        mem_free(s);
        return e;
    }
    must(pthread_mutex_init(&s->mutex, NULL));
    metrics_open(s);
    (void)!str_copy(s->state, sizeof s->state, STR("not started"));
    *ret = s;
    return ERR_OK;
}

static void *subscriber_main(void *arg);

void subscriber_start(struct subscriber *s)
{
    s->started = pthread_create(&s->thread, NULL, subscriber_main, s) == 0;
    if (!s->started)
        log_error(s->conf.log, "the subscriber's thread could not be started");
}

void subscriber_stop(struct subscriber *s)
{
    if (!s->started)
        return;
    atomic_store(&s->stopping, true);
    must(pthread_join(s->thread, NULL)); /* it waits for nothing longer than POLL_MS, but for the lane */
    s->started = false;
}

void subscriber_close(struct subscriber *s)
{
    if (s == NULL)
        return;
    subscriber_stop(s);
    kafka_consumer_close(s->consumer);
    must(pthread_mutex_destroy(&s->mutex));
    mem_free(s);
}

/* ---- what the lane and main ask ---- */

void subscriber_assign(struct subscriber *s, const struct partition_start *list, size_t count)
{
    assert(count <= SOURCES_MAX);
    lock(s);
    for (size_t i = 0; i < count; i++)
        s->wanted[i] = (struct source){.topic = list[i].topic,
                                       .partition = list[i].partition,
                                       .next_offset = list[i].next_offset,
                                       .generation = list[i].generation};
    s->wanted_count = count;
    s->assigned = true;
    unlock(s);
}

void subscriber_state(struct subscriber *s, char *ret, size_t cap)
{
    lock(s);
    bool fits = str_copy(ret, cap, str_of(s->state));
    (void)fits;
    unlock(s);
}

/* ---- the assignment ---- */

static struct source *source_find(struct subscriber *s, const char *topic, int partition)
{
    for (size_t i = 0; i < s->source_count; i++)
        if (s->sources[i].partition == partition && strcmp(s->conf.consumes[s->sources[i].topic], topic) == 0)
            return &s->sources[i];
    return NULL;
}

static void trouble_note(struct subscriber *s, const char *why)
{
    if (s->trouble_at == 0)
        log_warn(s->conf.log, "reading: %s", why);
    s->trouble_at = clock_mono_ns();
    bool fits = str_copy(s->trouble, sizeof s->trouble, str_of(why));
    assert(fits);
}

/* Everything in sources but what is stopped, each from where it is. false: to be tried again. */
static bool sources_apply(struct subscriber *s)
{
    struct kafka_assignment list[SOURCES_MAX];
    size_t count = 0;
    for (size_t i = 0; i < s->source_count; i++) {
        const struct source *from = &s->sources[i];
        if (!from->stopped)
            list[count++] = (struct kafka_assignment){s->conf.consumes[from->topic], from->partition,
                                                      from->next_offset};
    }
    struct fault fault;
    if (kafka_assign(s->consumer, list, count, &fault) == ERR_OK)
        return true;
    trouble_note(s, fault.why);
    return false;
}

/* A partition that stays in the same holding goes on from where we are: what was handed over is under way. */
static struct source carry_over(struct subscriber *s, struct source wanted)
{
    const struct source *now = source_find(s, s->conf.consumes[wanted.topic], wanted.partition);
    return now != NULL && now->generation == wanted.generation ? *now : wanted;
}

static void assignment_take(struct subscriber *s)
{
    lock(s);
    bool assigned = s->assigned;
    size_t count = s->wanted_count;
    struct source next[SOURCES_MAX];
    for (size_t i = 0; assigned && i < count; i++)
        next[i] = carry_over(s, s->wanted[i]);
    s->assigned = false;
    unlock(s);
    if (!assigned)
        return;

    memcpy(s->sources, next, count * sizeof *next);
    s->source_count = count;
    s->next_tend = 0; /* what is shown follows at once */
    if (sources_apply(s))
        return;
    lock(s);
    s->assigned = true;
    unlock(s);
}

/* ---- a record ---- */

static const struct event_kind *kind_find(const struct subscriber *s, const char *type)
{
    for (const struct event_kind *k = s->conf.kinds; k->type != NULL; k++)
        if (strcmp(k->type, type) == 0)
            return k;
    return NULL;
}

/* Key and trace come with no promise and go into text columns: what is not plain text is as if it were absent. */
static void plain_keep(char *ret, size_t cap, struct str text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] < 0x21 || text.data[i] > 0x7e)
            return;
    if (text.len < cap)
        (void)!str_copy(ret, cap, text);
}

/* The reason may quote the event, and be cut in the midst of a letter. */
static const char *reason_keep(struct arena *arena, const char *why)
{
    size_t len = strlen(why);
    size_t at;
    if (!str_is_utf8((struct str){why, len}, &at))
        len = at;
    return arena_strndup(arena, why, len);
}

static void unreadable_mark(struct subscriber *s, struct lane_item *item, const char *why)
{
    counter_add(s->unreadable, 1);
    item->unreadable = reason_keep(&item->own_arena, why);
    item->verb = NULL;
}

static void item_decode(struct subscriber *s, struct lane_item *item)
{
    struct fault fault = {.err = ERR_OK};
    if (event_decode(item->event, &fault) != ERR_OK) {
        unreadable_mark(s, item, fault.why);
        return;
    }
    const struct event_kind *kind = kind_find(s, item->event->type);
    if (kind == NULL)
        return;
    item->verb = kind->verb;
    if (kind->decode(item->event, &item->own_arena, &item->args, &item->customer_id, &fault) != ERR_OK)
        unreadable_mark(s, item, fault.why);
}

/* The record's bytes are Kafka's until we are done with it. They are kept, once, where the event may yet be parked; an event
 * that nobody here acts on only moves the position. */
static void bytes_keep(struct lane_item *item, struct str value)
{
    struct event *e = item->event;
    bool may_be_parked = item->verb != NULL || item->unreadable != NULL;
    if (!may_be_parked) {
        e->raw = (struct str){NULL, 0};
        event_done(e);
        return;
    }
    e->raw = (struct str){arena_strndup(&item->own_arena, value.data, value.len), value.len};
}

static void message_hand_over(struct subscriber *s, const struct kafka_message *m)
{
    struct source *from = source_find(s, m->topic, m->partition);
    if (from == NULL || m->offset < from->next_offset)
        return; /* of an assignment before this one */

    struct lane_item *item = lane_item_new(true);
    struct event *e = item->event;
    item->generation = from->generation;
    e->topic = s->conf.consumes[from->topic];
    e->partition = m->partition;
    e->offset = m->offset;
    e->raw = m->value;
    plain_keep(e->key, sizeof e->key, m->key);
    plain_keep(e->traceparent, sizeof e->traceparent, str_of(m->traceparent));
    item_decode(s, item);
    bytes_keep(item, m->value);
    counter_add(s->messages, 1);

    from->next_offset = m->offset + 1;
    from->told = false;
    if (!lane_submit_event(s->lane, item)) /* waits for room: that is how a slow database slows the reading */
        lane_item_free(item);
}

/* ---- trouble ---- */

/* Nothing but a person can tell what was in the gap: it is never jumped over. */
static void partition_stop(struct subscriber *s, const struct kafka_message *m, const char *why)
{
    struct source *at = source_find(s, m->topic, m->partition);
    if (at == NULL)
        return;
    at->stopped = true;
    if (!at->told)
        log_error(s->conf.log, "%s/%d stopped: offset %lld is not in the log any more (%s)", m->topic, m->partition,
                  (long long)at->next_offset, why);
    at->told = true;
    s->retry_at = clock_mono_ns() + STOPPED_RETRY_MS * NS_PER_MS;
    (void)sources_apply(s);
}

static void stopped_retry(struct subscriber *s, mono_ns_t now)
{
    if (s->retry_at == 0 || now < s->retry_at)
        return;
    s->retry_at = 0;
    for (size_t i = 0; i < s->source_count; i++)
        s->sources[i].stopped = false;
    if (!sources_apply(s))
        s->retry_at = now + STOPPED_RETRY_MS * NS_PER_MS;
}

/* ---- what is shown ---- */

static const struct source *first_stopped(const struct subscriber *s)
{
    for (size_t i = 0; i < s->source_count; i++)
        if (s->sources[i].stopped)
            return &s->sources[i];
    return NULL;
}

static void state_show(struct subscriber *s)
{
    const struct source *stopped = first_stopped(s);
    struct fault text; /* a bounded sentence */
    if (stopped != NULL)
        fault_set(&text, ERR_OK, "stopped: %s/%d at offset %lld", s->conf.consumes[stopped->topic], stopped->partition,
                  (long long)stopped->next_offset);
    else if (s->trouble_at != 0)
        fault_set(&text, ERR_OK, "away: %.300s", s->trouble);
    else
        fault_set(&text, ERR_OK, "reading %zu partitions", s->source_count);
    lock(s);
    bool fits = str_copy(s->state, sizeof s->state, str_of(text.why));
    assert(fits);
    unlock(s);
}

static void gauges_show(struct subscriber *s)
{
    int64_t lag[TOPICS_MAX] = {0};
    int stopped[TOPICS_MAX] = {0};
    for (size_t i = 0; i < s->source_count; i++) {
        const struct source *at = &s->sources[i];
        int64_t end = kafka_end_offset(s->consumer, s->conf.consumes[at->topic], at->partition);
        lag[at->topic] += end > at->next_offset ? end - at->next_offset : 0;
        stopped[at->topic] += at->stopped;
    }
    for (size_t t = 0; s->conf.consumes[t] != NULL; t++) {
        gauge_set(s->lag[t], (double)lag[t]);
        gauge_set(s->stopped[t], stopped[t]);
    }
}

static void tend(struct subscriber *s)
{
    mono_ns_t now = clock_mono_ns();
    if (now < s->next_tend)
        return;
    s->next_tend = now + TEND_EVERY_MS * NS_PER_MS;
    if (s->trouble_at != 0 && now - s->trouble_at > TROUBLE_FADES_MS * NS_PER_MS)
        s->trouble_at = 0;
    stopped_retry(s, now);
    gauges_show(s);
    state_show(s);
}

/* ---- the thread ---- */

static void trouble_over(struct subscriber *s)
{
    if (s->trouble_at == 0)
        return;
    s->trouble_at = 0;
    log_info(s->conf.log, "reading again");
}

/* The end of a partition: what stands before it are marks of transactions, not records. */
static void caught_up(struct subscriber *s, const struct kafka_message *m)
{
    struct source *at = source_find(s, m->topic, m->partition);
    if (at != NULL && at->next_offset < m->offset)
        at->next_offset = m->offset;
}

static void poll_once(struct subscriber *s)
{
    struct kafka_message m;
    struct fault fault = {.err = ERR_OK};
    switch (kafka_poll(s->consumer, POLL_MS, &m, &fault)) {
    case KAFKA_MESSAGE:
        message_hand_over(s, &m);
        kafka_message_done(&m);
        trouble_over(s);
        break;
    case KAFKA_CAUGHT_UP:
        caught_up(s, &m);
        trouble_over(s);
        break;
    case KAFKA_PARTITION_STOPPED:
        partition_stop(s, &m, fault.why);
        break;
    case KAFKA_TROUBLE:
        trouble_note(s, fault.why);
        break;
    case KAFKA_NOTHING:
        break;
    }
}

static void *subscriber_main(void *arg)
{
    struct subscriber *s = arg;
    while (!atomic_load(&s->stopping)) {
        assignment_take(s);
        poll_once(s);
        tend(s);
    }
    return NULL;
}
