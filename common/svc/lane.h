/* lane.h — the one way by which state changes: commands and events, gathered, decided in C, committed together.
 *
 * For     a service's commands.c and store.c. One thread takes what waits (1..LANE_BATCH_MAX items), loads every row the
 *         batch names in one round trip, decides each item in turn on the loaded state, saves rows, outbox, positions
 *         and idempotency keys in a second round trip that ends in COMMIT, and only then answers. While one commit is
 *         under way the next batch gathers; nothing waits for a timer.
 *         A lane is a number held by an advisory lock on the very connection that writes: lose the connection, lose the
 *         lane, and nothing can be committed any more.
 * Owns    an item is the lane's from lane_submit until it was answered; a command's item lives in its call's arena, an
 *         event's in its own. batch->arena and everything in it end with the batch (and with each retry of it).
 * Threads lane_submit: any. load, decide, save, committed, answer: the lane's thread.
 * Fails   lane_submit says ERR_BUSY when the inbox is full or the lane is not held. Inside a batch: architecture.md
 *         section 5, "Errors in a batch". A batch may be run again from load: decide must change only batch state, the
 *         item's err, fault, result; never the call.
 */
#ifndef SVC_LANE_H
#define SVC_LANE_H

#include "base/queue.h"
#include "io/db.h"
#include "io/http.h"
#include "svc/event.h"

enum {
    LANE_BATCH_MAX = 500,
    LANE_INBOX_MAX = 10000,
    LANE_MAX = 64,
    LANE_RETRIES_MAX = 20,
    LANE_SYNC_TIMEOUT_MS = 10000,
    LANE_PATIENCE_MS = 20
};

struct lane;
struct batch;
struct lane_item;

/* What one kind of command or event does. */
struct lane_verb {
    const char *name; /* "place" or "asset.reserved": metrics and logs */
    /* Names the rows it needs, by adding keys to the batch state's sets. NULL: none. */
    void (*want)(struct batch *b, struct lane_item *it);
    /* Decides on loaded state. Refusal: set it->err (and it->fault) and change nothing; an event that is refused is
     * parked. Not called for replays of an idempotency key. */
    void (*decide)(struct batch *b, struct lane_item *it);
    /* Commands only, after COMMIT: answer the call (waiters_… or call_finish). it->err != ERR_OK is answered by the lane
     * itself with call_finish(call, it->err); `refuse` (may be NULL) runs just before to add problem members. */
    void (*answer)(struct lane_item *it);
    void (*refuse)(struct lane_item *it);
    unsigned needs; /* LANE_NEEDS_… */
};
enum {
    LANE_NEEDS_MARKS = 1,     /* decide calls batch_marks */
    LANE_NEEDS_SEQUENCES = 2, /* decide calls batch_applied */
};

struct lane_item {
    struct queue_link link; /* first */
    const struct lane_verb *verb;
    void *args;   /* the command, or the event's decoded data */
    void *result; /* decide's, in the batch arena: used by answer/committed only */
    enum err err;
    struct fault fault;

    struct call *call; /* a command's; NULL for events and internal commands */
    /* Idempotency: key NULL means none. scope customer and route make it unique; meaning is the canonical command. */
    const char *key, *route, *meaning;
    int64_t customer_id;     /* whose key, and whose record */
    struct uuid resource_id; /* what the command makes; replayed: what the first request made */
    bool replayed;
    /* A command refused with ERR_NOT_FOUND before then is decided again every LANE_PATIENCE_MS: the customer whom an admin
     * names may still be on his way here. 0: at once. */
    mono_ns_t patient_until;

    struct event *event;    /* NULL for commands */
    struct trace trace;     /* the lane's: this run's span; set only while spans are told */
    struct arena own_arena; /* an event item's */
    unsigned generation;    /* the subscriber's, of the partition's assignment */
    const char
        *unreadable;  /* an event that can't be decoded: why; it will be parked. Has no envelope if event->lane is 0 */
    bool passed_over; /* the lane's: a stale, doubled or dropped event: no effect, no decide */
};

struct batch {
    struct lane *lane;
    void *app; /* the service's, lane_conf.app */
    struct db *db;
    struct arena *arena; /* ends with this run of the batch */
    struct lane_item **items;
    size_t count;
    int lane_number;
    time_us_t now; /* one time for the whole batch; strictly later than the batch before */
    void *state;   /* lane_ops.state_size bytes, zeroed at each run */
};

struct lane_ops {
    size_t state_size;
    void (*load)(struct batch *b);      /* after every `want`: db_enqueue the loads */
    void (*save)(struct batch *b);      /* after every `decide`: db_enqueue the saves */
    void (*committed)(struct batch *b); /* after COMMIT, before answers: wake waiters. May be NULL */
    /* Every LANE_MEASURE_MS on the lane's connection, outside a transaction: cheap counts for metrics. May be NULL */
    void (*measure)(void *app, struct db *db);
};
enum { LANE_TEND_MS = 1000, LANE_MEASURE_MS = 5000 };

/* Publishes with the batch. key_customer picks the partition; subject is the resource's id; data is a JSON object's text
 * in the batch arena. The traceparent of the item being decided goes with it. */
void batch_emit(struct batch *b, const char *type, int64_t key_customer, const char *subject, struct str data);
/* Gives back the idempotency key that made `resource_id` (a REJECTED order gives its key back). */
void batch_forget_key(struct batch *b, struct uuid resource_id);
/* All (lane, partition, part_seq) of this service's topic as they will be at this batch's COMMIT: the barrier's answer. */
struct lane_mark {
    int lane, partition;
    int64_t part_seq;
};
size_t batch_marks(struct batch *b, struct lane_mark **ret_marks);
/* How far this service has applied a source's lane in a partition of `topic`; 0: nothing seen. */
int64_t batch_applied(struct batch *b, const char *topic, int partition, const char *source, int lane);

struct lane_conf {
    const char *service;          /* "order-svc": the events' source */
    const char *schema;           /* "orders": lock keys */
    const char *topic;            /* "order-events" */
    const char *const *consumes;  /* topics, NULL-ended */
    const char *const *unawaited; /* types of events that end a story: relay.h; NULL-ended, or NULL */
    int partitions;               /* when a topic is first named */
    struct db_conf db;            /* DB_PLAN_KEYS */
    const struct lane_ops *ops;
    void *app;
    struct log *log;
    struct metrics *metrics;
    struct spans *spans;   /* NULL: nobody is told */
    int64_t outbox_keep_s; /* published rows younger than this stay for rewinding */
};

struct relay;
struct subscriber;
MUST_CHECK enum err lane_open(const struct lane_conf *conf, struct lane **ret, struct fault *fault);
/* Starts the thread. relay and subscriber may be NULL in tests. */
void lane_start(struct lane *lane, struct relay *relay, struct subscriber *subscriber);
/* No more commands are taken; what is in the inbox is finished; the thread ends; the lane row's lock is given back. */
void lane_stop(struct lane *lane);
void lane_close(struct lane *lane);
MUST_CHECK enum err lane_submit(struct lane *lane, struct lane_item *item);
/* For the subscriber: waits for room; false when the lane is stopping. Event items come from lane_item_new(true). */
bool lane_submit_event(struct lane *lane, struct lane_item *item);
/* An item without a call: an event (with_event) or an internal command. Its arena is item->own_arena; the lane frees it. */
struct lane_item *lane_item_new(bool with_event);
void lane_item_free(struct lane_item *item);
/* First key of the advisory locks that lanes of a schema hold; the second is the lane's number. */
int32_t lane_lock_key(const char *schema);
bool lane_is_held(const struct lane *lane); /* for /readyz */
int lane_number(const struct lane *lane);
/* The relay tells how far it has published (a lower bound kept in the lane row), and that it was fenced. */
void lane_published(struct lane *lane, int lane_number, int64_t seq);

#endif
