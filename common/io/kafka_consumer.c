/* The consumer: told what to read and from where; it keeps no positions. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "io/kafka_handle.h"

enum { PARTITIONS_MAX = 512 /* of one assignment */ };

/* The buffers are small on purpose: what waits here is read again from Kafka's page cache as fast. */
static const struct kafka_setting CONSUMER[] = {
    {"isolation.level", "read_committed"},
    {"enable.auto.commit", "false"},
    {"enable.auto.offset.store", "false"},
    {"auto.offset.reset", "error"},
    {"enable.partition.eof", "true"},
    {"check.crcs", "true"},
    {"fetch.wait.max.ms", "100"},
    {"fetch.error.backoff.ms", "50"},
    {"fetch.max.bytes", "4194304"},
    {"max.partition.fetch.bytes", "1048576"},
    {"queued.max.messages.kbytes", "4096"},
    {"queued.min.messages", "2000"},
    {0},
};

struct part {
    char *topic;
    int partition;
};

struct kafka_consumer {
    struct kafka_handle handle; /* first */
    struct part *parts;         /* the assignment */
    size_t part_count;
};

enum err kafka_consumer_open(const struct kafka_conf *conf, const char *group, struct kafka_consumer **ret,
                             struct fault *fault)
{
    const struct kafka_setting own[] = {{"group.id", group}, {0}};
    struct kafka_consumer *c = mem_alloc(sizeof *c);
    enum err e = kafka_handle_open(&c->handle, RD_KAFKA_CONSUMER, conf, CONSUMER, own, NULL, fault);
    if (e != ERR_OK) {
        mem_free(c);
        return e;
    }
    rd_kafka_poll_set_consumer(c->handle.rk);
    *ret = c;
    return ERR_OK;
}

static void parts_free(struct kafka_consumer *c)
{
    for (size_t i = 0; i < c->part_count; i++)
        mem_free(c->parts[i].topic);
    mem_free(c->parts);
    c->parts = NULL;
    c->part_count = 0;
}

void kafka_consumer_close(struct kafka_consumer *c)
{
    if (c == NULL)
        return;
    parts_free(c);
    kafka_handle_drop(&c->handle);
}

enum err kafka_assign(struct kafka_consumer *c, const struct kafka_assignment *list, size_t count, struct fault *fault)
{
    assert(count <= PARTITIONS_MAX);
    rd_kafka_topic_partition_list_t *wanted = rd_kafka_topic_partition_list_new((int)count);
    parts_free(c);
    c->parts = mem_alloc(count * sizeof *c->parts);
    for (size_t i = 0; i < count; i++) {
        assert(list[i].next_offset >= 0);
        rd_kafka_topic_partition_list_add(wanted, list[i].topic, list[i].partition)->offset = list[i].next_offset;
        c->parts[c->part_count++] = (struct part){mem_strdup(list[i].topic), list[i].partition};
    }
    rd_kafka_resp_err_t code = rd_kafka_assign(c->handle.rk, wanted);
    rd_kafka_topic_partition_list_destroy(wanted);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        return ERR_OK;
    return kafka_handle_fail(&c->handle, code, "assign partitions", fault);
}

enum err kafka_consumer_partitions(struct kafka_consumer *c, const char *topic, int timeout_ms, int *ret_count,
                                   struct fault *fault)
{
    return kafka_handle_partitions(&c->handle, topic, timeout_ms, ret_count, fault);
}

static enum err end_ask(struct kafka_consumer *c, const char *topic, int partition, mono_ns_t deadline,
                        int64_t *ret_end, struct fault *fault)
{
    int64_t low;
    rd_kafka_resp_err_t code = rd_kafka_query_watermark_offsets(c->handle.rk, topic, partition, &low, ret_end,
                                                                kafka_left_ms(deadline));
    return code == RD_KAFKA_RESP_ERR_NO_ERROR ? ERR_OK
                                              : kafka_handle_fail(&c->handle, code, "ask for a topic's end", fault);
}

static enum err times_ask(struct kafka_consumer *c, rd_kafka_topic_partition_list_t *list, mono_ns_t deadline,
                          struct fault *fault)
{
    rd_kafka_resp_err_t code = rd_kafka_offsets_for_times(c->handle.rk, list, kafka_left_ms(deadline));
    for (int i = 0; i < list->cnt && code == RD_KAFKA_RESP_ERR_NO_ERROR; i++)
        code = list->elems[i].err;
    return code == RD_KAFKA_RESP_ERR_NO_ERROR ? ERR_OK
                                              : kafka_handle_fail(&c->handle, code, "ask for offsets of a time", fault);
}

/* The ends are asked for first: where no record is that young yet, reading from an end asked for afterwards would miss what
 * came in between. */
enum err kafka_consumer_since(struct kafka_consumer *c, const char *topic, time_us_t since, int count, int timeout_ms,
                              struct kafka_assignment *ret_list, struct fault *fault)
{
    mono_ns_t deadline = kafka_deadline(timeout_ms);
    rd_kafka_topic_partition_list_t *times = rd_kafka_topic_partition_list_new(count);
    enum err e = ERR_OK;
    for (int p = 0; p < count && e == ERR_OK; p++) {
        ret_list[p] = (struct kafka_assignment){topic, p, 0};
        e = end_ask(c, topic, p, deadline, &ret_list[p].next_offset, fault);
        rd_kafka_topic_partition_list_add(times, topic, p)->offset = since / 1000;
    }
    if (e == ERR_OK)
        e = times_ask(c, times, deadline, fault);
    for (int p = 0; p < count && e == ERR_OK; p++)
        if (times->elems[p].offset >= 0)
            ret_list[p].next_offset = times->elems[p].offset;
    rd_kafka_topic_partition_list_destroy(times);
    return e;
}

static const struct part *part_find(const struct kafka_consumer *c, const rd_kafka_message_t *m)
{
    const char *topic = m->rkt != NULL ? rd_kafka_topic_name(m->rkt) : "";
    for (size_t i = 0; i < c->part_count; i++)
        if (c->parts[i].partition == m->partition && strcmp(c->parts[i].topic, topic) == 0)
            return &c->parts[i];
    return NULL;
}

static void header_copy(const rd_kafka_message_t *m, const char *name, char *ret, size_t cap)
{
    rd_kafka_headers_t *headers;
    const void *value;
    size_t size;
    ret[0] = '\0';
    if (rd_kafka_message_headers(m, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR &&
        rd_kafka_header_get_last(headers, name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR && value != NULL)
        (void)str_copy(ret, cap, (struct str){value, size});
}

static struct str bytes(const void *data, size_t len)
{
    return data != NULL ? (struct str){data, len} : STR("");
}

static enum kafka_poll message_give(rd_kafka_message_t *m, struct kafka_message *ret)
{
    *ret = (struct kafka_message){
        .topic = rd_kafka_topic_name(m->rkt),
        .partition = m->partition,
        .offset = m->offset,
        .key = bytes(m->key, m->key_len),
        .value = bytes(m->payload, m->len),
        .handle = m,
    };
    header_copy(m, "traceparent", ret->traceparent, sizeof ret->traceparent);
    return KAFKA_MESSAGE;
}

/* What is no record: the end of a partition, or an error. The names in *ret are the assignment's, so nothing is to be freed. */
static enum kafka_poll event_give(const struct kafka_consumer *c, const rd_kafka_message_t *m,
                                  struct kafka_message *ret, struct fault *fault)
{
    const struct part *part = part_find(c, m);
    *ret = (struct kafka_message){
        .topic = part != NULL ? part->topic : "", .partition = m->partition, .offset = m->offset};
    if (part != NULL && m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
        return KAFKA_CAUGHT_UP;
    if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
        return KAFKA_NOTHING; /* of an assignment before this one */

    fault_set(fault, ERR_KAFKA, "read \"%s\"/%d: %s", ret->topic, ret->partition, rd_kafka_message_errstr(m));
    return part != NULL && m->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET ? KAFKA_PARTITION_STOPPED : KAFKA_TROUBLE;
}

enum kafka_poll kafka_poll(struct kafka_consumer *c, int timeout_ms, struct kafka_message *ret, struct fault *fault)
{
    rd_kafka_message_t *m = rd_kafka_consumer_poll(c->handle.rk, timeout_ms);
    if (m != NULL && m->err == RD_KAFKA_RESP_ERR_NO_ERROR)
        return message_give(m, ret);
    if (m != NULL) {
        enum kafka_poll what = event_give(c, m, ret, fault);
        rd_kafka_message_destroy(m);
        return what;
    }
    if (!c->handle.alarmed)
        return KAFKA_NOTHING;
    c->handle.alarmed = false;
    fault_set(fault, ERR_KAFKA, "consumer: %s", c->handle.why);
    return KAFKA_TROUBLE;
}

void kafka_message_done(struct kafka_message *m)
{
    rd_kafka_message_t *handle = m->handle;
    m->handle = NULL;
    if (handle != NULL)
        rd_kafka_message_destroy(handle);
}

int64_t kafka_end_offset(struct kafka_consumer *c, const char *topic, int partition)
{
    int64_t low, high;
    if (rd_kafka_get_watermark_offsets(c->handle.rk, topic, partition, &low, &high) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return -1;
    return high >= 0 ? high : -1;
}
