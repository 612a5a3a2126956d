/* kafka_end.h — a group's teardown for tests that drop Kafka handles: exit() while a thread of librdkafka's destroys one
 * makes LeakSanitizer see what that thread holds half-freed, and libraries' exit handlers run under its feet. */
#ifndef TESTS_KAFKA_END_H
#define TESTS_KAFKA_END_H

#include "io/kafka.h"

static inline int await_kafka_handles(void **state)
{
    enum { HANDLES_END_MS = 20000 }; /* a handle whose broker is away takes seconds */
    (void)state;
    return kafka_await_destroyed(HANDLES_END_MS) ? 0 : -1;
}

#endif
