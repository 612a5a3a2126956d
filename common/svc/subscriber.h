/* subscriber.h — reads the partitions that the lane holds, decodes, and hands events to the lane.
 *
 * For     the lane, which keeps positions in its own schema and tells which partitions to read from where.
 * Owns    its thread and consumer.
 * Threads subscriber_assign: the lane's thread. The rest: main.
 * Fails   never to its callers: it retries, and shows its state.
 */
#ifndef SVC_SUBSCRIBER_H
#define SVC_SUBSCRIBER_H

#include "io/kafka.h"
#include "svc/lane.h"

/* One kind of event that this service acts on. Kinds not listed are passed over (their position still advances). */
struct event_kind {
    const char *type; /* "asset.reserved" */
    /* Decodes event->data into a struct in the arena. ERR_INVALID (reason in fault): the event is parked. */
    enum err (*decode)(const struct event *e, struct arena *arena, void **ret_args, int64_t *ret_customer_id,
                       struct fault *fault);
    const struct lane_verb *verb;
};

struct subscriber;
struct subscriber_conf {
    const char *service;
    struct kafka_conf kafka;
    const char *const *consumes;    /* topics, NULL-ended */
    const struct event_kind *kinds; /* ends with a NULL type */
    struct log *log;
    struct metrics *metrics;
};
struct partition_start {
    int topic; /* index in consumes */
    int partition;
    int64_t next_offset;
    unsigned generation;
};
MUST_CHECK enum err subscriber_open(const struct subscriber_conf *conf, struct lane *lane, struct subscriber **ret,
                                    struct fault *fault);
void subscriber_start(struct subscriber *s);
void subscriber_stop(struct subscriber *s); /* no more events go to the lane */
void subscriber_close(struct subscriber *s);
/* The whole set to read from now on; items of older generations are dropped by the lane. */
void subscriber_assign(struct subscriber *s, const struct partition_start *list, size_t count);
void subscriber_state(struct subscriber *s, char *ret, size_t cap);

#endif
