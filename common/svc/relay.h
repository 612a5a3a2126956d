/* relay.h — publishes a lane's outbox rows in order, in Kafka transactions that also carry the lane's position.
 *
 * For     the lane, which starts it on taking a number, wakes it after each COMMIT and stops it on losing the number.
 *         Two transactional ids take turns; both are fenced before the position is read; offsets go last; any error that
 *         is not plainly retriable throws both producers away and starts anew from the position.
 * Owns    for each held number a publisher: a thread with a database connection of its own (reads only) and two producers.
 *         Nobody waits for its end longer than a moment: what is left behind is fenced by the next.
 * Threads relay_hold/wake/release: the lane's thread. The rest: main.
 * Fails   never to its callers: it retries with back-off and shows its state in metrics and relay_state().
 */
#ifndef SVC_RELAY_H
#define SVC_RELAY_H

#include "io/db.h"
#include "io/kafka.h"
#include "io/log.h"
#include "io/metrics.h"

struct relay;
struct lane;

struct relay_conf {
    const char *service;         /* "order-svc" */
    const char *environment;     /* "dev": first part of the transactional id */
    const char *topic;           /* "order-events" */
    const char *const *consumes; /* their .dlq topics may be published to; NULL-ended */
    struct db_conf db;           /* DB_PLAN_KEYS */
    struct kafka_conf kafka;
    int partitions;
    struct log *log;
    struct metrics *metrics;
};
MUST_CHECK enum err relay_open(const struct relay_conf *conf, struct lane *lane, struct relay **ret,
                               struct fault *fault);
/* At most 2 s; what is not published stays in the outbox. Nothing of conf, lane, log or metrics is touched afterwards. */
void relay_close(struct relay *r);
/* The lane holds `lane_number` (its own or an adopted one): start publishing it anew. Several numbers may be held. */
void relay_hold(struct relay *r, int lane_number, struct uuid epoch, int64_t last_seq);
/* Rows up to last_seq are committed; the last of them that somebody waits for is awaited_seq (0: none, or long published).
 * Rows after that go with the next transaction, RELAY_LINGER_MS later at most: one that carried only them would cost as much
 * as any, and those that are waited for would queue behind it. */
enum { RELAY_LINGER_MS = 10 };
void relay_wake(struct relay *r, int lane_number, int64_t last_seq, int64_t awaited_seq);
/* The number is not held any more: stop publishing it. Waits a moment for a transaction under way; one that takes longer
 * ends by itself, or is fenced by whoever publishes the number next. */
void relay_release(struct relay *r, int lane_number);
/* The number is held and all of its rows up to its last_seq are published. */
bool relay_is_drained(struct relay *r, int lane_number);
/* Waits until all that is held is drained, up to timeout_ms (shutdown); not for what is refused. */
bool relay_drain(struct relay *r, int timeout_ms);
/* "publishing", "starting", "away: <reason>", "refused: <reason>", "no lane held": of several the worst. For /readyz?verbose. */
void relay_state(struct relay *r, char *ret, size_t cap);

#endif
