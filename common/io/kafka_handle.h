/* kafka_handle.h — what the kafka*.c files share: one librdkafka handle, its settings, its end.
 *
 * For     those files only.
 * Owns    a handle is the first member of a heap block (or the block itself); kafka_handle_drop takes the block.
 * Threads one at a time a handle. librdkafka's callbacks run inside our own calls on it, never elsewhere.
 * Fails   ERR_KAFKA with librdkafka's reason; ERR_CONF for settings that librdkafka refuses.
 */
#ifndef IO_KAFKA_HANDLE_H
#define IO_KAFKA_HANDLE_H

#include <librdkafka/rdkafka.h>

#include "base/clock.h"
#include "io/kafka.h"

enum {
    KAFKA_WHY_MAX = 256,
    KAFKA_NAME_MAX = 250, /* of a topic (249, says Kafka), and ours for a group */
    KAFKA_PAUSE_MS = 20,  /* between tries at a broker that is not ready */
};

struct kafka_handle {
    rd_kafka_t *rk;
    rd_kafka_resp_err_t code; /* of the first failure */
    bool alarmed;             /* error_cb came since this was last cleared */
    char why[KAFKA_WHY_MAX];  /* error_cb's last words: "connection refused" where a call only says "timed out" */
};
struct kafka_setting {
    const char *key, *value;
};

/* Fills *h, which must not move. Settings end with {0}; on_delivery may be NULL. Its opaque is h. */
MUST_CHECK enum err kafka_handle_open(struct kafka_handle *h, rd_kafka_type_t type, const struct kafka_conf *conf,
                                      const struct kafka_setting *settings, const struct kafka_setting *own,
                                      void (*on_delivery)(rd_kafka_t *, const rd_kafka_message_t *, void *),
                                      struct fault *fault);
/* Destroys the handle, which may hang, and frees the block: here, or on a thread of its own that nobody waits for. */
void kafka_handle_destroy(struct kafka_handle *h);
void kafka_handle_drop(struct kafka_handle *h);
/* Records why `what` failed. */
enum err kafka_handle_fail(struct kafka_handle *h, rd_kafka_resp_err_t code, const char *what, struct fault *fault);
/* The same from librdkafka's error object, which it destroys; ERR_OK for NULL. */
enum err kafka_handle_check(struct kafka_handle *h, rd_kafka_error_t *error, const char *what, struct fault *fault);

/* Among all topics, asked once: asking for one by name could make the broker create it, its way. 0: there is none so called. */
enum err kafka_handle_partitions(struct kafka_handle *h, const char *topic, int timeout_ms, int *ret_count,
                                 struct fault *fault);

static inline mono_ns_t kafka_deadline(int timeout_ms)
{
    return clock_mono_ns() + timeout_ms * NS_PER_MS;
}
static inline int kafka_left_ms(mono_ns_t deadline)
{
    mono_ns_t left = deadline - clock_mono_ns();
    return left > 0 ? (int)((left + NS_PER_MS - 1) / NS_PER_MS) : 0;
}

#endif
