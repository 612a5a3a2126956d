/* The transactional producer.
 *
 * librdkafka 2.0.2 has two ways to take its caller along. send_offsets_to_transaction waits for ever, whatever its timeout
 * says, when the group's coordinator isn't to be had for some milliseconds (a broker that just started); and destroying
 * a producer inside a transaction may trip an assertion of its own. So a producer has a thread that makes the calls that
 * can block, and the caller waits for it no longer than it wants to; and that thread ends an open transaction before
 * it destroys the handle.
 */
#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "io/kafka_handle.h"

enum {
    TOPICS_MAX = 32,     /* that one producer publishes to */
    STEP_WAIT_MS = 5000, /* for records to be delivered, for the position to be taken */
    COMMIT_WAIT_MS =
        8000,             /* for the whole of it: usually milliseconds. Giving up early costs a new producer, no more */
    OPEN_SLACK_MS = 1000, /* librdkafka may be late by some of its own steps */
    ABORT_WAIT_MS = 5000,
    QUEUE_FULL_WAIT_MS = 100,
    RECORD_PARTS = 8,   /* of a record, as produceva counts them */
    METADATA_MAX = 256, /* a position's */
};

static const struct kafka_setting PRODUCER[] = {
    {"acks", "all"},
    {"linger.ms", "0"},
    {"compression.type", "none"},        /* lz4 costs 4 us an event here, and the broker and the readers theirs */
    {"transaction.timeout.ms", "15000"}, /* how long one that died may hold up readers */
    {"message.timeout.ms", "15000"},
    {"retry.backoff.ms", "1"}, /* the next transaction often meets the last one's end: try again at once */
    {"queue.buffering.max.messages", "20000"},
    {"queue.buffering.max.kbytes", "16384"},
    {0},
};

struct producer_topic {
    const char *name; /* librdkafka's */
    rd_kafka_topic_t *rkt;
    int partitions;
};

struct position {
    char group[KAFKA_NAME_MAX], topic[KAFKA_NAME_MAX], metadata[METADATA_MAX];
    int64_t offset;
};

struct kafka_producer;
typedef enum err job_run(struct kafka_producer *p, struct fault *fault);

/* Before its thread starts, while it is idle and after a job is done the caller has everything; while a job runs its thread
 * does. Who gave up waiting must drop it. */
struct kafka_producer {
    struct kafka_handle handle; /* first */
    struct producer_topic topics[TOPICS_MAX];
    size_t topic_count;
    bool in_transaction;             /* begun, and its commit not yet asked for */
    rd_kafka_resp_err_t undelivered; /* the first record that failed: then the transaction must */
    struct position position;        /* of the commit that is asked for */
    mono_ns_t open_deadline;

    pthread_mutex_t mutex; /* over what follows */
    pthread_cond_t changed;
    job_run *job; /* NULL: idle */
    enum err result;
    struct fault fault;
    bool stuck;  /* a job was given up */
    bool leaves; /* dropped: the thread frees it all */
};

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
    (void)rk;
    struct kafka_producer *p = opaque;
    if (p->undelivered == RD_KAFKA_RESP_ERR_NO_ERROR)
        p->undelivered = m->err;
}

/* ---- the thread ---- */

static void producer_end(struct kafka_producer *p)
{
    if (p->in_transaction) {
        rd_kafka_error_t *error = rd_kafka_abort_transaction(p->handle.rk, ABORT_WAIT_MS);
        if (error != NULL)
            rd_kafka_error_destroy(error);
    }
    rd_kafka_purge(p->handle.rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT | RD_KAFKA_PURGE_F_NON_BLOCKING);
    for (size_t i = 0; i < p->topic_count; i++)
        rd_kafka_topic_destroy(p->topics[i].rkt);
    pthread_mutex_destroy(&p->mutex);
    pthread_cond_destroy(&p->changed);
    kafka_handle_destroy(&p->handle);
}

static void *producer_thread(void *arg)
{
    struct kafka_producer *p = arg;
    pthread_mutex_lock(&p->mutex);
    while (!p->leaves) {
        if (p->job == NULL) {
            pthread_cond_wait(&p->changed, &p->mutex);
            continue;
        }
        job_run *job = p->job;
        struct fault fault = {0};
        pthread_mutex_unlock(&p->mutex);
        enum err e = job(p, &fault);
        pthread_mutex_lock(&p->mutex);
        p->result = e;
        p->fault = fault;
        p->job = NULL;
        pthread_cond_signal(&p->changed);
    }
    pthread_mutex_unlock(&p->mutex);
    producer_end(p);
    return NULL;
}

static bool job_wait(struct kafka_producer *p, int timeout_ms)
{
    mono_ns_t until = kafka_deadline(timeout_ms);
    struct timespec at = {.tv_sec = until / NS_PER_S, .tv_nsec = until % NS_PER_S};
    while (p->job != NULL)
        if (pthread_cond_timedwait(&p->changed, &p->mutex, &at) != 0 && p->job != NULL)
            return false;
    return true;
}

static enum err job_do(struct kafka_producer *p, job_run *job, const char *what, int timeout_ms, struct fault *fault)
{
    pthread_mutex_lock(&p->mutex);
    if (!p->stuck) {
        p->job = job;
        pthread_cond_signal(&p->changed);
        p->stuck = !job_wait(p, timeout_ms);
    }
    bool stuck = p->stuck;
    enum err e = stuck ? ERR_KAFKA : p->result;
    if (!stuck && e != ERR_OK && fault != NULL)
        *fault = p->fault;
    pthread_mutex_unlock(&p->mutex);
    return stuck ? fault_set(fault, ERR_KAFKA, "%s: librdkafka does not come back", what) : e;
}

static bool thread_start(struct kafka_producer *p)
{
    pthread_condattr_t clock;
    pthread_t thread;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&p->changed, &clock);
    pthread_condattr_destroy(&clock);
    pthread_mutex_init(&p->mutex, NULL);
    if (pthread_create(&thread, NULL, producer_thread, p) != 0)
        return false;
    pthread_detach(thread);
    return true;
}

/* ---- open and drop ---- */

/* Metadata at hand, the first record is not held back for a second. */
static enum err topic_warm(struct kafka_producer *p, struct producer_topic *t, struct fault *fault)
{
    const rd_kafka_metadata_t *md;
    rd_kafka_resp_err_t code = rd_kafka_metadata(p->handle.rk, 0, t->rkt, &md, kafka_left_ms(p->open_deadline));
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return kafka_handle_fail(&p->handle, code, t->name, fault);
    t->partitions = md->topic_cnt == 1 ? md->topics[0].partition_cnt : 0;
    rd_kafka_metadata_destroy(md);
    if (t->partitions == 0)
        return fault_set(fault, ERR_KAFKA, "there is no topic \"%s\"", t->name);
    return ERR_OK;
}

static enum err transactions_init(struct kafka_producer *p, struct fault *fault)
{
    for (;;) {
        rd_kafka_error_t *error = rd_kafka_init_transactions(p->handle.rk, kafka_left_ms(p->open_deadline));
        bool again = error != NULL && rd_kafka_error_is_retriable(error) && kafka_left_ms(p->open_deadline) > 0;
        if (!again)
            return kafka_handle_check(&p->handle, error, "init_transactions", fault);
        rd_kafka_error_destroy(error);
        rd_kafka_poll(p->handle.rk, KAFKA_PAUSE_MS);
    }
}

static enum err producer_start(struct kafka_producer *p, struct fault *fault)
{
    enum err e = transactions_init(p, fault);
    for (size_t i = 0; i < p->topic_count && e == ERR_OK; i++)
        e = topic_warm(p, &p->topics[i], fault);
    return e;
}

static void topic_name(struct kafka_producer *p, const char *name)
{
    struct producer_topic *t = &p->topics[p->topic_count++];
    t->rkt = rd_kafka_topic_new(p->handle.rk, name, NULL);
    assert(t->rkt != NULL); /* names are constants of the program */
    t->name = rd_kafka_topic_name(t->rkt);
}

enum err kafka_producer_open(const struct kafka_conf *conf, const char *transactional_id, const char *const *topics,
                             size_t topic_count, int timeout_ms, struct kafka_producer **ret, struct fault *fault)
{
    assert(topic_count <= TOPICS_MAX);
    const struct kafka_setting own[] = {{"transactional.id", transactional_id}, {0}};
    struct kafka_producer *p = mem_alloc(sizeof *p);
    enum err e = kafka_handle_open(&p->handle, RD_KAFKA_PRODUCER, conf, PRODUCER, own, on_delivery, fault);
    if (e == ERR_OK && !thread_start(p))
        e = fault_set(fault, ERR_KAFKA, "no thread for a producer");
    if (e != ERR_OK) {
        kafka_handle_destroy(&p->handle);
        return e;
    }

    for (size_t i = 0; i < topic_count; i++)
        topic_name(p, topics[i]);
    p->open_deadline = kafka_deadline(timeout_ms);
    e = job_do(p, producer_start, "open a producer", timeout_ms + OPEN_SLACK_MS, fault);
    if (e == ERR_OK)
        *ret = p;
    else
        kafka_producer_drop(p);
    return e;
}

void kafka_producer_drop(struct kafka_producer *p)
{
    if (p == NULL)
        return;
    pthread_mutex_lock(&p->mutex);
    p->leaves = true;
    pthread_cond_signal(&p->changed);
    pthread_mutex_unlock(&p->mutex);
}

/* ---- a transaction ---- */

/* librdkafka now and then lets a producer begin again whose commit was just refused: what failed once is done with. */
static enum err transaction_begin(struct kafka_producer *p, struct fault *fault)
{
    if (p->handle.code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return fault_set(fault, ERR_KAFKA, "begin a transaction: the producer has failed before (%s)",
                         rd_kafka_err2name(p->handle.code));
    enum err e = kafka_handle_check(&p->handle, rd_kafka_begin_transaction(p->handle.rk), "begin a transaction", fault);
    p->in_transaction = e == ERR_OK;
    return e;
}

enum err kafka_txn_begin(struct kafka_producer *p, struct fault *fault)
{
    return job_do(p, transaction_begin, "begin a transaction", COMMIT_WAIT_MS, fault);
}

static const struct producer_topic *topic_of(const struct kafka_producer *p, const char *name)
{
    for (size_t i = 0; i < p->topic_count; i++)
        if (strcmp(p->topics[i].name, name) == 0)
            return &p->topics[i];
    return NULL;
}

static void header_add(rd_kafka_vu_t parts[RECORD_PARTS], size_t *count, const char *name, const char *value)
{
    if (value == NULL)
        return;
    parts[*count].vtype = RD_KAFKA_VTYPE_HEADER;
    parts[*count].u.header.name = name;
    parts[*count].u.header.val = value;
    parts[*count].u.header.size = -1; /* NUL-terminated */
    ++*count;
}

enum err kafka_txn_produce(struct kafka_producer *p, const struct kafka_record *r, struct fault *fault)
{
    if (p->stuck)
        return fault_set(fault, ERR_KAFKA, "produce: the producer is stuck");
    const struct producer_topic *t = topic_of(p, r->topic);
    if (t == NULL || r->partition < 0 || r->partition >= t->partitions)
        return fault_set(fault, ERR_BUG, "produce to \"%s\"/%d, which was not opened", r->topic, r->partition);

    /* librdkafka copies the value (F_COPY) and, always, key and headers. */
    rd_kafka_vu_t parts[RECORD_PARTS] = {
        {.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = t->rkt},
        {.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = r->partition},
        {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
        {.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {(void *)(uintptr_t)r->key.data, r->key.len}},
        {.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {(void *)(uintptr_t)r->value.data, r->value.len}},
    };
    size_t count = 5;
    header_add(parts, &count, "id", r->id);
    header_add(parts, &count, "ce_type", r->type);
    header_add(parts, &count, "traceparent", r->traceparent);

    mono_ns_t deadline = kafka_deadline(STEP_WAIT_MS);
    for (;;) {
        rd_kafka_error_t *error = rd_kafka_produceva(p->handle.rk, parts, count);
        bool full = error != NULL && rd_kafka_error_code(error) == RD_KAFKA_RESP_ERR__QUEUE_FULL;
        if (!full || kafka_left_ms(deadline) == 0)
            return kafka_handle_check(&p->handle, error, "produce", fault);
        rd_kafka_error_destroy(error);
        rd_kafka_poll(p->handle.rk, QUEUE_FULL_WAIT_MS);
    }
}

/* Waits until every record is in the log. Only then may the position follow: an EndTxn of an earlier transaction that was
 * held up on its way can end this one at any moment, and what it ends must never be a position ahead of its records. */
static enum err records_deliver(struct kafka_producer *p, struct fault *fault)
{
    rd_kafka_resp_err_t code = rd_kafka_flush(p->handle.rk, STEP_WAIT_MS);
    if (p->undelivered != RD_KAFKA_RESP_ERR_NO_ERROR)
        code = p->undelivered;
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        return ERR_OK;
    return kafka_handle_fail(&p->handle, code, "deliver the records", fault);
}

/* Asks again after a retriable error, with the same arguments. */
static enum err offsets_send(struct kafka_producer *p, const rd_kafka_topic_partition_list_t *list,
                             const rd_kafka_consumer_group_metadata_t *group, struct fault *fault)
{
    mono_ns_t deadline = kafka_deadline(STEP_WAIT_MS);
    for (;;) {
        rd_kafka_error_t *error = rd_kafka_send_offsets_to_transaction(p->handle.rk, list, group,
                                                                       kafka_left_ms(deadline));
        if (error == NULL || !rd_kafka_error_is_retriable(error) || kafka_left_ms(deadline) == 0)
            return kafka_handle_check(&p->handle, error, "send the position", fault);
        rd_kafka_error_destroy(error);
        rd_kafka_poll(p->handle.rk, KAFKA_PAUSE_MS);
    }
}

static enum err position_send(struct kafka_producer *p, struct fault *fault)
{
    const struct position *position = &p->position;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_t *at = rd_kafka_topic_partition_list_add(list, position->topic, 0);
    at->offset = position->offset;
    at->metadata = mem_strdup(position->metadata); /* freed with the list */
    at->metadata_size = strlen(position->metadata);
    rd_kafka_consumer_group_metadata_t *group = rd_kafka_consumer_group_metadata_new(position->group);
    enum err e = offsets_send(p, list, group, fault);
    rd_kafka_consumer_group_metadata_destroy(group);
    rd_kafka_topic_partition_list_destroy(list);
    return e;
}

static enum err transaction_commit(struct kafka_producer *p, struct fault *fault)
{
    enum err e = records_deliver(p, fault);
    if (e == ERR_OK)
        e = position_send(p, fault);
    if (e != ERR_OK)
        return e;
    p->in_transaction = false;
    /* -1: what is left of transaction.timeout.ms, and nothing else is safe */
    return kafka_handle_check(&p->handle, rd_kafka_commit_transaction(p->handle.rk, -1), "commit the transaction",
                              fault);
}

static bool is_fence(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR__FENCED || code == RD_KAFKA_RESP_ERR_PRODUCER_FENCED ||
           code == RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH;
}

/* A fatal error hides behind others: what the calls return then may only say that the state is wrong. */
static bool is_fenced(const struct kafka_producer *p)
{
    char why[KAFKA_WHY_MAX];
    return is_fence(p->handle.code) || is_fence(p->undelivered) ||
           is_fence(rd_kafka_fatal_error(p->handle.rk, why, sizeof why));
}

enum err kafka_txn_commit(struct kafka_producer *p, const char *group, const char *position_topic, int64_t position,
                          const char *metadata, bool *ret_fenced, struct fault *fault)
{
    assert(position >= 0); /* librdkafka passes over a negative one in silence */
    *ret_fenced = false;
    if (!p->stuck) {
        bool fits = str_copy(p->position.group, sizeof p->position.group, str_of(group)) &&
                    str_copy(p->position.topic, sizeof p->position.topic, str_of(position_topic)) &&
                    str_copy(p->position.metadata, sizeof p->position.metadata, str_of(metadata));
        assert(fits);
        p->position.offset = position;
    }
    enum err e = job_do(p, transaction_commit, "commit the transaction", COMMIT_WAIT_MS, fault);
    if (e != ERR_OK && !p->stuck)
        *ret_fenced = is_fenced(p);
    return e;
}
