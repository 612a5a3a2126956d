/* Handles and topics. */
#include "io/kafka.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "io/kafka_handle.h"

enum { TOPICS_MAX = 32 /* of one kafka_topics_ensure */ };

/* ---- handles ---- */

static const struct kafka_setting EVERY_HANDLE[] = {
    {"socket.nagle.disable", "true"},
    {"socket.keepalive.enable", "true"},
    {"socket.timeout.ms", "5000"},
    {"socket.connection.setup.timeout.ms", "5000"},
    {"reconnect.backoff.ms", "20"},
    {"reconnect.backoff.max.ms", "1000"},
    {0},
};

static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    (void)rk;
    (void)level;
    (void)facility;
    (void)text;
}

static void on_error(rd_kafka_t *rk, int code, const char *reason, void *opaque)
{
    (void)rk;
    struct kafka_handle *h = opaque;
    h->alarmed = true;
    /* "1/1 brokers are down" comes after the reason for it. */
    if (code != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN || h->why[0] == '\0')
        snprintf(h->why, sizeof h->why, "%s", reason);
}

static enum err settings_apply(rd_kafka_conf_t *rc, const struct kafka_setting *list, struct fault *fault)
{
    char why[KAFKA_WHY_MAX];
    for (; list->key != NULL; list++)
        if (rd_kafka_conf_set(rc, list->key, list->value, why, sizeof why) != RD_KAFKA_CONF_OK)
            return fault_set(fault, ERR_CONF, "kafka: %s", why);
    return ERR_OK;
}

enum err kafka_handle_open(struct kafka_handle *h, rd_kafka_type_t type, const struct kafka_conf *conf,
                           const struct kafka_setting *settings, const struct kafka_setting *own,
                           void (*on_delivery)(rd_kafka_t *, const rd_kafka_message_t *, void *), struct fault *fault)
{
    const struct kafka_setting whose[] = {
        {"bootstrap.servers", conf->brokers},
        {"client.id", conf->client_id},
        {0},
    };
    rd_kafka_conf_t *rc = rd_kafka_conf_new();
    const struct kafka_setting *const lists[] = {whose, EVERY_HANDLE, settings, own};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        if (settings_apply(rc, lists[i], fault) != ERR_OK) {
            rd_kafka_conf_destroy(rc);
            return ERR_CONF;
        }
    }
    rd_kafka_conf_set_opaque(rc, h);
    rd_kafka_conf_set_log_cb(rc, on_log);
    rd_kafka_conf_set_error_cb(rc, on_error);
    if (on_delivery != NULL)
        rd_kafka_conf_set_dr_msg_cb(rc, on_delivery);

    char why[KAFKA_WHY_MAX];
    h->rk = rd_kafka_new(type, rc, why, sizeof why);
    if (h->rk != NULL)
        return ERR_OK;
    rd_kafka_conf_destroy(rc);
    return fault_set(fault, ERR_CONF, "kafka: %s", why);
}

void kafka_handle_destroy(struct kafka_handle *h)
{
    /* Our consumers are in no group: closing one would only wait for a coordinator. */
    if (h->rk != NULL)
        rd_kafka_destroy_flags(h->rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    mem_free(h);
}

static void *destroy_later(void *arg)
{
    kafka_handle_destroy(arg);
    return NULL;
}

void kafka_handle_drop(struct kafka_handle *h)
{
    pthread_t thread;
    /* Without a thread the handle is left alone: a leak is better than a stall. */
    if (pthread_create(&thread, NULL, destroy_later, h) == 0)
        pthread_detach(thread);
}

bool kafka_await_destroyed(int timeout_ms)
{
    return rd_kafka_wait_destroyed(timeout_ms) == 0;
}

enum err kafka_handle_fail(struct kafka_handle *h, rd_kafka_resp_err_t code, const char *what, struct fault *fault)
{
    if (h->code == RD_KAFKA_RESP_ERR_NO_ERROR)
        h->code = code;
    if (rd_kafka_type(h->rk) == RD_KAFKA_PRODUCER)
        rd_kafka_poll(h->rk, 0); /* lets error_cb speak; a consumer's speaks in kafka_poll */
    return fault_set(fault, ERR_KAFKA, "%s: %s%s%s", what, rd_kafka_err2str(code), h->why[0] != '\0' ? ": " : "",
                     h->why);
}

enum err kafka_handle_check(struct kafka_handle *h, rd_kafka_error_t *error, const char *what, struct fault *fault)
{
    if (error == NULL)
        return ERR_OK;
    if (h->code == RD_KAFKA_RESP_ERR_NO_ERROR)
        h->code = rd_kafka_error_code(error);
    rd_kafka_poll(h->rk, 0);
    enum err e = fault_set(fault, ERR_KAFKA, "%s: %s%s%s", what, rd_kafka_error_string(error),
                           h->why[0] != '\0' ? ": " : "", h->why);
    rd_kafka_error_destroy(error);
    return e;
}

/* ---- topics ---- */

static const struct kafka_setting PLAIN[] = {{0}};

static struct kafka_handle *plain_open(const struct kafka_conf *conf, struct fault *fault)
{
    struct kafka_handle *h = mem_alloc(sizeof *h);
    if (kafka_handle_open(h, RD_KAFKA_PRODUCER, conf, PLAIN, PLAIN, NULL, fault) == ERR_OK)
        return h;
    mem_free(h);
    return NULL;
}

/* All topics' metadata: asking for one by name could make the broker create it, its way. Tries until the deadline. */
static enum err metadata_get(struct kafka_handle *h, mono_ns_t deadline, const rd_kafka_metadata_t **ret,
                             struct fault *fault)
{
    for (;;) {
        rd_kafka_resp_err_t code = rd_kafka_metadata(h->rk, 1, NULL, ret, kafka_left_ms(deadline));
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
            return ERR_OK;
        if (kafka_left_ms(deadline) == 0)
            return kafka_handle_fail(h, code, "ask kafka for its topics", fault);
        rd_kafka_poll(h->rk, KAFKA_PAUSE_MS);
    }
}

static const rd_kafka_metadata_topic_t *topic_find(const rd_kafka_metadata_t *md, const char *name)
{
    for (int i = 0; i < md->topic_cnt; i++)
        if (strcmp(md->topics[i].topic, name) == 0)
            return &md->topics[i];
    return NULL;
}

enum err kafka_handle_partitions(struct kafka_handle *h, const char *topic, int timeout_ms, int *ret_count,
                                 struct fault *fault)
{
    const rd_kafka_metadata_t *md;
    rd_kafka_resp_err_t code = rd_kafka_metadata(h->rk, 1, NULL, &md, timeout_ms);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return kafka_handle_fail(h, code, "ask kafka for its topics", fault);
    const rd_kafka_metadata_topic_t *t = topic_find(md, topic);
    *ret_count = t != NULL ? t->partition_cnt : 0;
    rd_kafka_metadata_destroy(md);
    return ERR_OK;
}

static bool topic_is_ready(const rd_kafka_metadata_topic_t *t)
{
    for (int i = 0; i < t->partition_cnt; i++)
        if (t->partitions[i].leader < 0)
            return false;
    return t->err == RD_KAFKA_RESP_ERR_NO_ERROR && t->partition_cnt > 0;
}

struct survey {
    const struct kafka_topic_spec *absent[TOPICS_MAX];
    size_t absent_count;
    const char *unready; /* one that is there, but not yet whole */
};

/* A name that was given twice is one topic: the broker makes neither of two in one call. */
static bool is_absent(const struct survey *s, const char *name)
{
    for (size_t i = 0; i < s->absent_count; i++)
        if (strcmp(s->absent[i]->name, name) == 0)
            return true;
    return false;
}

static enum err topics_survey(struct kafka_handle *h, const struct kafka_topic_spec *topics, size_t count,
                              mono_ns_t deadline, struct survey *ret, struct fault *fault)
{
    const rd_kafka_metadata_t *md;
    enum err e = metadata_get(h, deadline, &md, fault);
    if (e != ERR_OK)
        return e;

    *ret = (struct survey){0};
    for (size_t i = 0; i < count; i++) {
        const rd_kafka_metadata_topic_t *t = topic_find(md, topics[i].name);
        if (t == NULL && !is_absent(ret, topics[i].name))
            ret->absent[ret->absent_count++] = &topics[i];
        else if (t != NULL && !topic_is_ready(t))
            ret->unready = topics[i].name;
    }
    rd_kafka_metadata_destroy(md);
    return ERR_OK;
}

static rd_kafka_NewTopic_t *new_topic(const struct kafka_topic_spec *spec)
{
    char why[KAFKA_WHY_MAX];
    rd_kafka_NewTopic_t *t = rd_kafka_NewTopic_new(spec->name, spec->partitions, -1, why, sizeof why);
    assert(t != NULL); /* names and counts are constants of the program */
    if (spec->compacted)
        rd_kafka_NewTopic_set_config(t, "cleanup.policy", "compact");
    else
        rd_kafka_NewTopic_set_config(t, "retention.ms", "-1");
    return t;
}

/* Keeps what the broker refused: the next survey tells whether it matters. That another made the topic first is no refusal. */
static void refusals_note(char refused[KAFKA_WHY_MAX], rd_kafka_event_t *event)
{
    size_t count = 0;
    const rd_kafka_CreateTopics_result_t *result = event != NULL ? rd_kafka_event_CreateTopics_result(event) : NULL;
    const rd_kafka_topic_result_t **topics = result != NULL ? rd_kafka_CreateTopics_result_topics(result, &count)
                                                            : NULL;
    for (size_t i = 0; i < count; i++) {
        const char *why = rd_kafka_topic_result_error_string(topics[i]);
        if (why != NULL && rd_kafka_topic_result_error(topics[i]) != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
            snprintf(refused, KAFKA_WHY_MAX, "%s", why);
    }
}

static void topics_create(struct kafka_handle *h, const struct survey *s, mono_ns_t deadline,
                          char refused[KAFKA_WHY_MAX])
{
    rd_kafka_NewTopic_t *list[TOPICS_MAX];
    char why[KAFKA_WHY_MAX];
    for (size_t i = 0; i < s->absent_count; i++)
        list[i] = new_topic(s->absent[i]);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(h->rk);
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(h->rk, RD_KAFKA_ADMIN_OP_CREATETOPICS);
    int left_ms = kafka_left_ms(deadline) + 1;
    rd_kafka_AdminOptions_set_request_timeout(options, left_ms, why, sizeof why);
    rd_kafka_AdminOptions_set_operation_timeout(options, left_ms, why, sizeof why);

    rd_kafka_CreateTopics(h->rk, list, s->absent_count, options, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, left_ms);
    refusals_note(refused, event);

    rd_kafka_event_destroy(event);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(queue);
    rd_kafka_NewTopic_destroy_array(list, s->absent_count);
}

/* A broker that just started refuses for a while (no replica to be had), so every refusal is tried again until the end. */
static enum err topics_make(struct kafka_handle *h, const struct kafka_topic_spec *topics, size_t count,
                            mono_ns_t deadline, struct fault *fault)
{
    struct survey s;
    char refused[KAFKA_WHY_MAX] = "";
    for (;;) {
        enum err e = topics_survey(h, topics, count, deadline, &s, fault);
        if (e != ERR_OK || (s.absent_count == 0 && s.unready == NULL))
            return e;
        if (kafka_left_ms(deadline) == 0)
            break;
        if (s.absent_count > 0)
            topics_create(h, &s, deadline, refused);
        rd_kafka_poll(h->rk, KAFKA_PAUSE_MS);
    }
    const char *name = s.absent_count > 0 ? s.absent[0]->name : s.unready;
    return fault_set(fault, ERR_KAFKA, "topic \"%s\" is not ready%s%s", name, refused[0] != '\0' ? ": " : "", refused);
}

enum err kafka_topics_ensure(const struct kafka_conf *conf, const struct kafka_topic_spec *topics, size_t count,
                             int timeout_ms, struct fault *fault)
{
    assert(count <= TOPICS_MAX);
    struct kafka_handle *h = plain_open(conf, fault);
    if (h == NULL)
        return ERR_CONF;
    enum err e = topics_make(h, topics, count, kafka_deadline(timeout_ms), fault);
    kafka_handle_drop(h);
    return e;
}

enum err kafka_partition_count(const struct kafka_conf *conf, const char *topic, int timeout_ms, int *ret_count,
                               struct fault *fault)
{
    struct kafka_handle *h = plain_open(conf, fault);
    if (h == NULL)
        return ERR_CONF;

    const rd_kafka_metadata_t *md;
    enum err e = metadata_get(h, kafka_deadline(timeout_ms), &md, fault);
    if (e == ERR_OK) {
        const rd_kafka_metadata_topic_t *t = topic_find(md, topic);
        if (t != NULL && t->partition_cnt > 0)
            *ret_count = t->partition_cnt;
        else
            e = fault_set(fault, ERR_KAFKA, "there is no topic \"%s\"", topic);
        rd_kafka_metadata_destroy(md);
    }
    kafka_handle_drop(h);
    return e;
}
