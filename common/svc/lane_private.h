/* lane_private.h — what the lane's own files share: the thread's state, and the three ledgers a batch carries along
 * (outbox, positions, idempotency keys).
 *
 * Each ledger holds what is committed and what the running batch has made of it; ledger_begin copies the first to the
 * second, ledger_keep the other way after COMMIT. After any rollback the committed side is read again.
 * Threads the lane's own, but for what is atomic.
 */
#ifndef SVC_LANE_PRIVATE_H
#define SVC_LANE_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "svc/lane.h"

/* ---- outbox: numbering and rows (outbox.c) ---- */

enum { OUTBOX_COUNTERS_MAX = 512 };

struct outbox_counter {
    const char *topic; /* constant */
    int partition;
    int64_t part_seq;      /* committed */
    int64_t next_part_seq; /* of the running batch */
};
struct outbox_row;
struct outbox {
    const char *service, *topic;
    const char **dlq_topics; /* beside lane_conf.consumes, same order */
    const char *const *consumes;
    int partitions;
    struct outbox_counter counters[OUTBOX_COUNTERS_MAX];
    size_t counter_count;
    const char *const *unawaited;
    int64_t last_seq, next_last_seq;
    int64_t awaited_seq;                 /* of the running batch's last row that somebody waits for; 0: none */
    struct outbox_row *rows, **rows_end; /* the running batch's, in the batch arena */
    size_t row_count;
};
void outbox_init(struct outbox *o, const struct lane_conf *conf);
void outbox_done(struct outbox *o);
void outbox_begin(struct outbox *o);
void outbox_keep(struct outbox *o);
MUST_CHECK enum err outbox_reload(struct outbox *o, struct db *db, int lane, int64_t last_seq, struct fault *fault);
/* topic: a constant of this outbox; key: the record's key. */
void outbox_emit(struct batch *b, const char *topic, const char *type, const char *key, const char *subject,
                 struct str data, const char *traceparent);
void outbox_save(struct batch *b);

/* ---- positions: what was consumed (positions.c) ---- */

/* Three states of one place: what the running batch made of it (new_), what we stand at (next_), what the database has
 * (saved_). Events that are none of ours move only the first two, at no cost; the database learns of them with the next
 * batch that commits, or at the next tending. After a crash they are read again, and passed over again. */
enum { POSITION_SOURCES_MAX = 64 };
struct position_sequence {
    char source[EVENT_SOURCE_MAX];
    int lane;
    struct uuid epoch;
    int64_t part_seq, new_part_seq, saved_part_seq;
};
struct position {
    int topic; /* index in consumes */
    int partition;
    bool locked;  /* our session has its advisory lock */
    bool held;    /* locked, its offset known, and given to the subscriber */
    bool stopped; /* gap, or an unknown epoch: nothing is applied until it is taken again */
    unsigned generation;
    int64_t next_offset, new_next_offset, saved_offset; /* saved -1: not read yet */
    struct position_sequence sequences[POSITION_SOURCES_MAX];
    size_t sequence_count;
};
struct positions {
    const char *const *topics; /* conf->consumes */
    int topic_count, partitions;
    struct position *all; /* topic-major */
    size_t count;
};
enum position_verdict { POSITION_APPLY, POSITION_SKIP, POSITION_DROP };
void positions_init(struct positions *p, const struct lane_conf *conf);
void positions_done(struct positions *p);
void positions_begin(struct positions *p);
/* What the batch made is what we stand at; saved: and what the database has. */
void positions_keep(struct positions *p, bool saved);
/* The database lags behind what we stand at. */
bool positions_are_unsaved(const struct positions *p);
struct position *positions_find(struct positions *p, const char *topic, int partition);
/* Forgets what was known of a partition: it is being taken anew. */
void positions_forget(struct position *at);
/* Looks at an event on its way in: moves the running batch's position for APPLY and SKIP; why a partition stops is in fault. */
enum position_verdict positions_check(struct positions *p, const struct lane_item *it, struct fault *ret_stopped);
/* Reads offset and sequences of partitions newly held. Others whose offset in the database is not what we saved were moved
 * by somebody else: they are counted in *ret_moved and no longer held. */
MUST_CHECK enum err positions_reload(struct positions *p, struct db *db, size_t *ret_moved, struct fault *fault);
void positions_save(struct batch *b);
size_t positions_held(const struct positions *p);

/* ---- idempotency keys (idempotency.c) ---- */

struct idempotency_row;
struct idempotency {
    struct idempotency_row *known; /* loaded and made by this batch; a uthash in the batch arena */
    struct idempotency_row *made;  /* to be inserted, in order */
    struct uuid *forgotten;
    size_t forgotten_count;
};
void idempotency_load(struct batch *b);
/* false: the item is a replay (it->replayed, it->resource_id set) or was refused (it->err): do not decide. */
bool idempotency_admits(struct batch *b, struct lane_item *it);
/* The item was decided and not refused: its key is taken. */
void idempotency_claim(struct batch *b, struct lane_item *it);
void idempotency_save(struct batch *b);

/* ---- customers (customers.c) ---- */

struct customer_id {
    struct customer_id *next;
    int64_t id;
};
struct customer_ids {
    struct customer_id *first;
};
struct customers {
    struct customer_ids wanted, known, added; /* of the running batch, in its arena */
};
void customers_load(struct batch *b);
void customers_save(struct batch *b);

/* ---- the lane ---- */

struct lane_metrics {
    struct histogram *batch_size, *batch_seconds;
    struct counter *commands, *events, *refused, *retries, *parked, *stopped, *unknown;
};
struct parked {
    struct parked *next;
    const struct lane_item *item;
    const char *reason;
};
/* What batch_marks and batch_applied look at. */
struct lane_loaded_mark {
    struct lane_loaded_mark *next;
    const char *topic, *source; /* arena; source NULL for marks of our own lanes */
    struct lane_mark mark;
};

struct lane {
    struct lane_conf conf;
    struct queue inbox;
    pthread_t thread;
    bool started;
    struct relay *relay;
    struct subscriber *subscriber;

    struct db *db;
    bool told_away;    /* that there is no database: once, until there is */
    atomic_int number; /* 0: none held */
    atomic_bool stopping;
    struct uuid epoch, batch_id, next_batch_id;
    bool commit_sent; /* by the running batch: from then on its outcome may be unknown */
    time_us_t last_time;
    struct outbox outbox;
    struct positions positions;
    struct idempotency keys;
    struct customers customers;
    struct queue_link *later; /* refused for now: lane_item.patient_until */
    struct parked *parked, **parked_end;
    struct lane_loaded_mark *marks;
    struct arena arena;
    struct lane_item *current; /* being decided: batch_emit takes its traceparent */

    atomic_llong published[LANE_MAX + 1];
    int64_t published_saved;
    bool adopted[LANE_MAX + 1];
    bool assignment_changed; /* the subscriber is told at the next tending */
    int live_lanes;
    mono_ns_t next_tend, next_measure, next_prune;
    struct lane_metrics metrics;
};

/* lane_batch.c: runs the items to their end: committed, refused, parked, or forgotten. Loses the lane at need. */
void lane_run(struct lane *lane, struct lane_item **items, size_t count);
/* lane_hold.c */
enum lane_fate { LANE_BATCH_IN, LANE_BATCH_OUT, LANE_BATCH_UNKNOWN };
/* Takes a number; when `number` is not 0 only that one. false: not now. */
bool lane_take(struct lane *lane, int number);
void lane_lose(struct lane *lane);
/* After a lost connection: takes the same number again within timeout_ms and looks which batch was the last. */
enum lane_fate lane_resolve(struct lane *lane, int timeout_ms);
void lane_tend(struct lane *lane);
/* Reads counters and positions again (after a rollback). false: the connection is lost. */
bool lane_reload(struct lane *lane);

#endif
