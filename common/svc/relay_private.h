/* relay_private.h — what relay.c and relay_publisher.c share: the slots that the lane fills, and the publishers that work
 * on them.
 *
 * A publisher is a thread that publishes one number. It may be in a call to Kafka for seconds, so nobody joins it: who has
 * lost patience takes it off its slot and goes on, and when the call returns it finds that it speaks for nobody, and ends
 * without a word. That is safe because whoever publishes the number next fences it first.
 *
 * Owns    the relay is the caller's until relay_close; then the last thread to end frees it.
 * Threads everything in struct relay under its mutex, but for conf, topics and position_topic, which don't change.
 */
#ifndef SVC_RELAY_PRIVATE_H
#define SVC_RELAY_PRIVATE_H

#include <pthread.h>

#include "svc/lane.h"
#include "svc/relay.h"

enum {
    RELAY_TOPICS_MAX = 15, /* that one service may consume: each has a .dlq, and kafka.h takes 32 at once */
    RELAY_NAME_MAX = 80,
};

enum relay_status { RELAY_STARTING, RELAY_PUBLISHING, RELAY_AWAY, RELAY_REFUSED };

struct publisher;
/* A number: what the lane wants of it, and how far that is. */
struct relay_slot {
    bool held;
    struct uuid epoch;
    int64_t target;              /* committed up to here, as far as we know */
    int64_t awaited;             /* somebody waits for what is committed up to here */
    mono_ns_t linger_until;      /* when the rest goes too */
    int64_t position;            /* published up to here; -1: Kafka was not asked yet */
    int64_t floor;               /* published at least up to here, as the lane row says */
    struct publisher *publisher; /* who may speak for this slot; NULL: nobody yet */
    enum relay_status status;
    char why[FAULT_WHY_MAX];
};
struct relay_metrics {
    struct counter *transactions, *published, *restarts;
    struct histogram *seconds;
    struct gauge *lag, *refused;
};
struct relay {
    pthread_mutex_t mutex;
    pthread_cond_t work; /* for publishers: a target moved, or a slot is no longer theirs */
    pthread_cond_t news; /* for the others: a publisher ended, or somebody who drains may look again */
    struct arena arena;  /* of conf's text and the names */
    struct relay_conf conf;
    const char *topics[RELAY_TOPICS_MAX + 1]; /* that are published to */
    size_t topic_count;
    const char *position_topic;
    struct lane *lane;
    struct relay_metrics metrics;
    struct relay_slot slots[LANE_MAX + 1];
    int threads;  /* that have not ended */
    int draining; /* callers in relay_drain */
    bool closing; /* lane, log and metrics are not ours to touch any more */
    bool left;    /* by relay_close: the last thread frees the relay */
};

/* ---- relay_publisher.c ---- */

struct publisher {
    struct relay *relay;
    int number;
    struct uuid epoch;
    /* the thread's own */
    char group[RELAY_NAME_MAX];  /* whose offset is the position */
    char ids[2][RELAY_NAME_MAX]; /* the transactional.id of each of the two that take turns */
    struct kafka_producer *producers[2];
    int turn;
    struct db *db;
    bool topics_ready, looked; /* the table was looked at since the start */
    int64_t position;
    struct uuid last_id; /* of the row at position; nil when that is 0 */
    mono_ns_t refresh_at;
    int backoff_ms, gaps;
};
/* The mutex is held. NULL: no thread could be started. */
struct publisher *publisher_start(struct relay *r, int number, struct uuid epoch);

/* ---- what a publisher asks of its slot and says to it: nothing happens once the slot is not its own ---- */

/* false: it is to end. */
bool relay_wants(const struct publisher *p);
/* Until rows beyond `position` are to be published, at most timeout_ms. *ret_target: those are committed. */
bool relay_wait(const struct publisher *p, int64_t position, int timeout_ms, int64_t *ret_target);
/* Waits all of timeout_ms, but for the end. */
void relay_rest(const struct publisher *p, int timeout_ms);
void relay_tell_floor(const struct publisher *p, int64_t published_upto);
/* Nothing waits beyond position. */
void relay_tell_idle(const struct publisher *p, int64_t position);
void relay_tell_published(const struct publisher *p, int64_t position, int count, double seconds);
void relay_tell_trouble(const struct publisher *p, enum relay_status status, const char *why);
/* The last thing that a publisher does with the relay. */
void relay_leave(const struct publisher *p);

#endif
