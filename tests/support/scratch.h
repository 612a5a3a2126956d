/* scratch.h — a database of a test's own, and what the tests of the pipeline share.
 *
 * For     integration tests. Needs TEST_DB_URL, TEST_DB_PASSWORD (of one who may make databases), TEST_KAFKA_BROKERS.
 * Owns    a scratch owns its connection, log and metrics; the database stays, for looking into, until the next run.
 * Threads the test's.
 * Fails   ends the test with a message.
 */
#ifndef TESTS_SCRATCH_H
#define TESTS_SCRATCH_H

#include "io/db.h"
#include "io/kafka.h"
#include "io/log.h"
#include "io/metrics.h"

struct scratch {
    char url[256];
    char run[16];  /* unique: for names of topics and services */
    struct db *db; /* DB_PLAN_OWNER */
    struct kafka_conf kafka;
    struct log *log;
    struct metrics *metrics;
};
/* A fresh database test_<name> with the tables of common/svc in its schema public. */
void scratch_open(struct scratch *s, const char *name);
/* Without a database. */
void scratch_open_kafka(struct scratch *s);
void scratch_close(struct scratch *s);
struct db_conf scratch_conf(const struct scratch *s, enum db_plan plan, const char *application_name);

void scratch_run(struct scratch *s, const char *sql);
int64_t scratch_number(struct scratch *s, const char *sql); /* of one row and column */
/* A series' value as /metrics shows it; `series` with its labels. -1: there is none. */
double scratch_metric(struct metrics *m, const char *series);
void scratch_topic(const struct scratch *s, const char *name, int partitions);

/* Looks every 10 ms until it is so, for at most timeout_ms. */
bool scratch_await(bool (*is_so)(void *arg), void *arg, int timeout_ms);

/* ---- a door to Kafka's first address that can be shut: a broker that is away ---- */

struct door;
/* Listens on a port of its own only while it is open; born shut. */
struct door *door_new(const char *brokers);
const char *door_address(const struct door *d); /* "127.0.0.1:54321" */
void door_open(struct door *d);
void door_free(struct door *d);

#endif
