/* revocations.h — session.revoked, from auth-svc's topic to this process's verifier.
 *
 * For     every process that takes tokens, the gateway too: a session that has ended is refused everywhere within a second.
 *         Reads all partitions, in no group and with no positions: at start, and after Kafka was away, from as far back as a
 *         token can live, then on.
 * Owns    a thread and a consumer.
 * Threads revocations_state, revocations_await: any.
 * Fails   never the process. While it is *behind* (Kafka is away, or the reading is not at the end yet) tokens of sessions that
 *         ended meanwhile are still taken, each until it expires: ten minutes at most. /readyz?verbose and the metric
 *         revocations_behind say so; readiness does not depend on it.
 */
#ifndef SVC_REVOCATIONS_H
#define SVC_REVOCATIONS_H

#include "io/kafka.h"
#include "io/log.h"
#include "io/metrics.h"
#include "io/token.h"

#define REVOCATIONS_TOPIC "auth-events"
/* How long a start waits for the first reading: well over what it takes when Kafka is there. */
enum { REVOCATIONS_AWAIT_MS = 2000 };

struct revocations_conf {
    struct kafka_conf kafka;
    const char *topic; /* REVOCATIONS_TOPIC, but in tests */
    struct token_verifier *verifier;
    struct log *log;
    struct metrics *metrics;
};
struct revocations;
/* Makes its series and begins to read. ERR_CONF: settings that librdkafka refuses. */
MUST_CHECK enum err revocations_open(const struct revocations_conf *conf, struct revocations **ret,
                                     struct fault *fault);
void revocations_close(struct revocations *r); /* NULL is fine */
/* Waits until it is not behind any more; false: the time is over. */
bool revocations_await(struct revocations *r, int timeout_ms);
/* false: behind. Writes "current", or "behind: …" with the reason. Fits struct process_check. */
bool revocations_state(void *r, char *ret_state, size_t cap);

#endif
