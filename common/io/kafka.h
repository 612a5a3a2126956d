/* kafka.h — Apache Kafka by librdkafka: transactional producers, assigned consumers, topics.
 *
 * For     relay and subscriber. Facts and traps: a producer that met any error that is not plainly retriable is thrown
 *         away, never aborted and used again; offsets go last in a transaction; metadata is warmed for every topic
 *         right after init (the first produce waits a second otherwise); offsets are read with read_committed only.
 * Owns    handles own their librdkafka handle and threads.
 * Threads one thread a handle.
 * Fails   ERR_KAFKA with librdkafka's reason in the fault.
 */
#ifndef IO_KAFKA_H
#define IO_KAFKA_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"

/* Connection settings, shared by every handle of the process; lives as long as they. */
struct kafka_conf {
    const char *brokers;   /* "127.0.0.1:8091" */
    const char *client_id; /* "order-svc" */
};

/* Waits until every handle of this process that was dropped or closed is destroyed; false when the time is over first. For
 * who is about to call exit(): its handlers take libraries' globals away, also from under threads that destroy handles. */
bool kafka_await_destroyed(int timeout_ms);

/* ---- topics ---- */

struct kafka_topic_spec {
    const char *name;
    int partitions;
    bool compacted; /* _relay.<service>: cleanup.policy=compact; others: retention.ms=-1 */
};
/* Creates those that are missing (replication: the broker's default). Existing ones stay as they are. */
MUST_CHECK enum err kafka_topics_ensure(const struct kafka_conf *conf, const struct kafka_topic_spec *topics,
                                        size_t count, int timeout_ms, struct fault *fault);
MUST_CHECK enum err kafka_partition_count(const struct kafka_conf *conf, const char *topic, int timeout_ms,
                                          int *ret_count, struct fault *fault);

/* ---- transactional producer ---- */

struct kafka_producer;
/* Opens, runs init_transactions (fences older holders of the id, ends their transaction), warms metadata for `topics`. */
MUST_CHECK enum err kafka_producer_open(const struct kafka_conf *conf, const char *transactional_id,
                                        const char *const *topics, size_t topic_count, int timeout_ms,
                                        struct kafka_producer **ret, struct fault *fault);
/* Throws the handle away and returns at once; the handle's own thread ends the open transaction, if it can, and destroys
 * it (which may hang). After any failure the only call left. NULL is fine. */
void kafka_producer_drop(struct kafka_producer *p);
MUST_CHECK enum err kafka_txn_begin(struct kafka_producer *p, struct fault *fault);
struct kafka_record {
    const char *topic;
    int partition;
    struct str key, value;
    const char *traceparent; /* header, may be NULL */
    const char *type;        /* header "ce_type", may be NULL */
    const char *id;          /* header "id" */
};
MUST_CHECK enum err kafka_txn_produce(struct kafka_producer *p, const struct kafka_record *r, struct fault *fault);
/* Waits until the records are in the log, sends the position (offset, from 0, and metadata, at most 255 bytes, of partition
 * 0 of `position_topic` in group `group`) last, then commits. Gives up after 8 s at most. *ret_fenced, always written:
 * another process holds the id now, or the transaction took longer than its timeout, which looks the same. Read the
 * group's position before the first commit: a new cluster has no coordinator for groups until somebody asks. */
MUST_CHECK enum err kafka_txn_commit(struct kafka_producer *p, const char *group, const char *position_topic,
                                     int64_t position, const char *metadata, bool *ret_fenced, struct fault *fault);

/* Reads a group's committed position of partition 0 of `topic` with read_committed. *ret_position is -1 when there is
 * none; metadata (NUL-terminated, "" when none) is cut at cap. Retries inside until timeout_ms. */
MUST_CHECK enum err kafka_position_read(const struct kafka_conf *conf, const char *group, const char *topic,
                                        int timeout_ms, int64_t *ret_position, char *ret_metadata, size_t cap,
                                        struct fault *fault);

/* ---- consumer ---- */

struct kafka_consumer;
MUST_CHECK enum err kafka_consumer_open(const struct kafka_conf *conf, const char *group, struct kafka_consumer **ret,
                                        struct fault *fault);
void kafka_consumer_close(struct kafka_consumer *c);
struct kafka_assignment {
    const char *topic;
    int partition;
    int64_t next_offset;
};
/* Replaces the whole assignment; reading starts at next_offset of each. */
MUST_CHECK enum err kafka_assign(struct kafka_consumer *c, const struct kafka_assignment *list, size_t count,
                                 struct fault *fault);

/* How many partitions the topic has now; 0: there is no such topic. One question, answered within timeout_ms or failed: also a
 * way to learn whether Kafka is there. */
MUST_CHECK enum err kafka_consumer_partitions(struct kafka_consumer *c, const char *topic, int timeout_ms,
                                              int *ret_count, struct fault *fault);
/* Where to read partitions 0 to count - 1 of the topic, so that no committed record written at `since` or later is missed (by
 * the time that its producer gave it). For kafka_assign; the list is the caller's, of `count`. */
MUST_CHECK enum err kafka_consumer_since(struct kafka_consumer *c, const char *topic, time_us_t since, int count,
                                         int timeout_ms, struct kafka_assignment *ret_list, struct fault *fault);

enum kafka_poll { KAFKA_MESSAGE, KAFKA_NOTHING, KAFKA_CAUGHT_UP, KAFKA_PARTITION_STOPPED, KAFKA_TROUBLE };
struct kafka_message {
    const char *topic; /* borrowed until kafka_message_done */
    int partition;
    int64_t offset; /* position to store is offset + 1 */
    struct str key, value;
    char traceparent[64]; /* "" when there is none */
    void *handle;
};
/* One message or event. KAFKA_PARTITION_STOPPED: the stored offset is not there any more (topic, partition set).
 * KAFKA_TROUBLE: reason in fault; keep polling. */
enum kafka_poll kafka_poll(struct kafka_consumer *c, int timeout_ms, struct kafka_message *ret, struct fault *fault);
void kafka_message_done(struct kafka_message *m);
/* High watermark of an assigned partition as last seen, -1 unknown. For lag; the marks that end transactions count too, so
 * it stands one or more above the position when all is read: KAFKA_CAUGHT_UP says that. */
int64_t kafka_end_offset(struct kafka_consumer *c, const char *topic, int partition);

#endif
