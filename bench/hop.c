/* hop — one Kafka hop: from `begin` of a transaction of one event to the event in a read_committed consumer's hands.
 *
 *     hop --brokers 127.0.0.1:8091 --count 200
 *
 * Driven as the relay drives it: two producers take turns, the position goes last. Prints one JSON object; times are in ms.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "io/kafka.h"

enum { COUNT_MAX = 10000, TIMEOUT_MS = 30000, EVENT_BYTES = 400 };
#define TOPIC "bench-hop"
#define POSITION "_relay.bench-hop"

static void check(enum err e, const struct fault *fault)
{
    if (e == ERR_OK)
        return;
    fprintf(stderr, "hop: %s\n", fault->why);
    exit(1);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int64_t end_of_topic(struct kafka_consumer *consumer)
{
    struct fault fault;
    struct kafka_message m;
    int64_t next = 0;
    check(kafka_assign(consumer, &(struct kafka_assignment){TOPIC, 0, 0}, 1, &fault), &fault);
    for (mono_ns_t until = clock_mono_ns() + TIMEOUT_MS * NS_PER_MS; clock_mono_ns() < until;) {
        enum kafka_poll got = kafka_poll(consumer, 100, &m, &fault);
        if (got == KAFKA_CAUGHT_UP)
            return next;
        if (got != KAFKA_MESSAGE)
            continue;
        next = m.offset + 1;
        kafka_message_done(&m);
    }
    fprintf(stderr, "hop: the topic can't be read\n");
    exit(1);
}

static double one(struct kafka_producer *producer, struct kafka_consumer *consumer, int64_t position)
{
    char payload[EVENT_BYTES];
    memset(payload, 'x', sizeof payload);
    struct fault fault;
    bool fenced;
    mono_ns_t began = clock_mono_ns();
    check(kafka_txn_begin(producer, &fault), &fault);
    struct kafka_record record = {
        .topic = TOPIC, .partition = 0, .key = STR("17"), .value = {payload, sizeof payload}, .id = "hop"};
    check(kafka_txn_produce(producer, &record, &fault), &fault);
    check(kafka_txn_commit(producer, "bench-hop", POSITION, position, "hop", &fenced, &fault), &fault);
    for (struct kafka_message m; clock_mono_ns() - began < TIMEOUT_MS * NS_PER_MS;) {
        if (kafka_poll(consumer, 1000, &m, &fault) != KAFKA_MESSAGE)
            continue;
        double ms = (double)(clock_mono_ns() - began) / 1e6;
        kafka_message_done(&m);
        return ms;
    }
    fprintf(stderr, "hop: an event did not come\n");
    exit(1);
}

int main(int argc, char **argv)
{
    const char *brokers = NULL;
    int count = 200;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--brokers") == 0)
            brokers = argv[i + 1];
        else if (strcmp(argv[i], "--count") == 0)
            count = (int)strtol(argv[i + 1], NULL, 10);
    }
    if (brokers == NULL || count < 1 || count > COUNT_MAX) {
        fprintf(stderr, "usage: hop --brokers HOST:PORT [--count 1..%d]\n", COUNT_MAX);
        return 2;
    }

    struct kafka_conf conf = {.brokers = brokers, .client_id = "bench-hop"};
    const struct kafka_topic_spec topics[] = {{TOPIC, 1, false}, {POSITION, 1, true}};
    const char *const warm[] = {TOPIC};
    struct kafka_producer *producers[2];
    struct kafka_consumer *consumer;
    struct fault fault;
    check(kafka_topics_ensure(&conf, topics, 2, TIMEOUT_MS, &fault), &fault);
    check(kafka_producer_open(&conf, "bench.hop.0", warm, 1, TIMEOUT_MS, &producers[0], &fault), &fault);
    check(kafka_producer_open(&conf, "bench.hop.1", warm, 1, TIMEOUT_MS, &producers[1], &fault), &fault);
    check(kafka_consumer_open(&conf, "bench-hop", &consumer, &fault), &fault);
    end_of_topic(consumer);

    double *times = calloc((size_t)count, sizeof *times);
    for (int i = 0; i < count; i++)
        times[i] = one(producers[i % 2], consumer, i);
    qsort(times, (size_t)count, sizeof *times, by_value);
    printf("{\"hops\":%d,\"p50_ms\":%.3f,\"p90_ms\":%.3f,\"p99_ms\":%.3f}\n", count, times[count / 2],
           times[count * 9 / 10], times[count * 99 / 100]);
    fflush(stdout);
    _Exit(0); /* librdkafka's handles may take long to close */
}
