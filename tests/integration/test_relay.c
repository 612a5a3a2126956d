/* relay.h against a real PostgreSQL and a real Kafka. The test is the lane: it holds the lock, writes the rows, wakes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "support/kafka_end.h"
#include "support/scratch.h"
#include "svc/lane.h"
#include "svc/relay.h"

enum { PARTITIONS = 3, LANE = 1, NAME_MAX_LEN = 80, WAIT_MS = 30000, READ_MS = 20000, QUIET_MS = 300 };

static const char TRACE[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

struct world {
    struct scratch s;
    char service[24], topic[24], position_topic[NAME_MAX_LEN], group[NAME_MAX_LEN];
    struct lane *lane; /* never started: where the relay says what it published */
    struct relay *relay;
    struct uuid epoch;
    int64_t last_seq;
};

static const char *const CONSUMES[] = {"test-consumed", NULL};

/* ---- the lane's part ---- */

static void hold_lock(struct world *w)
{
    char sql[128];
    snprintf(sql, sizeof sql, "SELECT pg_advisory_lock(%d, %d)", lane_lock_key("public"), LANE);
    scratch_run(&w->s, sql);
}

static struct uuid epoch_of(struct world *w)
{
    static const struct db_stmt EPOCH = {"test_epoch", "SELECT epoch FROM lane WHERE lane = 1"};
    CLEANUP_ROWS struct db_rows *rows = NULL;
    assert_int_equal(db_query(w->s.db, &EPOCH, &(const struct db_args){.count = 0}, &rows, NULL), ERR_OK);
    return db_uuid(rows, 0, 0);
}

static int set_up(void **state)
{
    static const struct lane_ops NO_OPS = {.state_size = 0};
    struct world *w = mem_alloc(sizeof *w);
    scratch_open(&w->s, "relay");
    snprintf(w->service, sizeof w->service, "%s-svc", w->s.run);
    snprintf(w->topic, sizeof w->topic, "%s-events", w->s.run);
    snprintf(w->position_topic, sizeof w->position_topic, "_relay.%s", w->service);
    snprintf(w->group, sizeof w->group, "_relay.%s.%d", w->service, LANE);

    char sql[128];
    snprintf(sql, sizeof sql, "INSERT INTO topic VALUES ('%s', %d); INSERT INTO lane (lane) VALUES (1)", w->topic,
             PARTITIONS);
    scratch_run(&w->s, sql);
    w->epoch = epoch_of(w);
    hold_lock(w);

    const struct lane_conf conf = {.service = w->service,
                                   .schema = "public",
                                   .topic = w->topic,
                                   .consumes = CONSUMES,
                                   .partitions = PARTITIONS,
                                   .ops = &NO_OPS,
                                   .log = w->s.log,
                                   .metrics = w->s.metrics};
    assert_int_equal(lane_open(&conf, &w->lane, NULL), ERR_OK);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    relay_close(w->relay);
    lane_close(w->lane);
    scratch_close(&w->s);
    mem_free(w);
    return 0;
}

static struct relay *relay_new(struct world *w, struct metrics *metrics, const char *brokers)
{
    const struct relay_conf conf = {.service = w->service,
                                    .environment = "test",
                                    .topic = w->topic,
                                    .consumes = CONSUMES,
                                    .db = scratch_conf(&w->s, DB_PLAN_KEYS, "relay"),
                                    .kafka = {.brokers = brokers, .client_id = "test_relay"},
                                    .partitions = PARTITIONS,
                                    .log = w->s.log,
                                    .metrics = metrics};
    struct fault fault = {.err = ERR_OK};
    struct relay *r = NULL;
    if (relay_open(&conf, w->lane, &r, &fault) != ERR_OK)
        fail_msg("%s", fault.why);
    return r;
}

static void hold(struct world *w)
{
    if (w->relay == NULL)
        w->relay = relay_new(w, w->s.metrics, w->s.kafka.brokers);
    relay_hold(w->relay, LANE, w->epoch, w->last_seq);
}

/* As a process that is killed: nothing is drained, nothing is said. */
static void kill_relay(struct world *w)
{
    relay_close(w->relay);
    w->relay = NULL;
}

static void write_rows(struct world *w, int count, int payload_bytes)
{
    char sql[1024];
    snprintf(
        sql, sizeof sql,
        "BEGIN; INSERT INTO outbox (lane, seq, id, aggregatetype, aggregateid, type, payload, partition, part_seq, "
        "epoch, "
        "traceparent, created_at) "
        "SELECT l.lane, n, gen_random_uuid(), '%s', (n %% 17)::text, 'test.counted', "
        "rpad(format('{\"seq\":%%s,\"partseq\":%%s}', n, (n - 1) / %d + 1), greatest(%d, 26 + length(n::text)), ' '), "
        "(n - 1) %% %d, (n - 1) / %d + 1, l.epoch, '%s', now() "
        "FROM lane l, generate_series(%lld, %lld) n WHERE l.lane = 1; "
        "UPDATE lane SET last_seq = %lld WHERE lane = 1; COMMIT",
        w->topic, PARTITIONS, payload_bytes, PARTITIONS, PARTITIONS, TRACE, (long long)w->last_seq + 1,
        (long long)w->last_seq + count, (long long)w->last_seq + count);
    scratch_run(&w->s, sql);
    w->last_seq += count;
}

static void commit(struct world *w, int count)
{
    write_rows(w, count, 0);
    if (w->relay != NULL)
        relay_wake(w->relay, LANE, w->last_seq, w->last_seq);
}

/* ---- what is seen ---- */

static void assert_drained(struct world *w)
{
    if (relay_drain(w->relay, WAIT_MS))
        return;
    char text[400];
    relay_state(w->relay, text, sizeof text);
    fail_msg("not drained: %s", text);
}

struct awaited_state {
    struct relay *relay;
    const char *part;
    char text[400];
};

static bool is_in_state(void *arg)
{
    struct awaited_state *a = arg;
    relay_state(a->relay, a->text, sizeof a->text);
    return strstr(a->text, a->part) != NULL;
}

static void assert_state(struct relay *relay, const char *part, const char *why)
{
    struct awaited_state a = {.relay = relay, .part = part};
    if (!scratch_await(is_in_state, &a, WAIT_MS))
        fail_msg("%s: \"%s\" and not \"%s\"", why, a.text, part);
}

static struct kafka_consumer *consumer(struct world *w)
{
    struct kafka_assignment list[PARTITIONS];
    for (int i = 0; i < PARTITIONS; i++)
        list[i] = (struct kafka_assignment){w->topic, i, 0};
    struct kafka_consumer *c = NULL;
    struct fault fault = {.err = ERR_OK};
    if (kafka_consumer_open(&w->s.kafka, "test", &c, &fault) != ERR_OK ||
        kafka_assign(c, list, PARTITIONS, &fault) != ERR_OK)
        fail_msg("%s", fault.why);
    return c;
}

static void assert_record(const struct kafka_message *m, int64_t part_seq)
{
    char wanted[64], key[8];
    int64_t seq = (part_seq - 1) * PARTITIONS + m->partition + 1;
    snprintf(wanted, sizeof wanted, "{\"seq\":%lld,\"partseq\":%lld}", (long long)seq, (long long)part_seq);
    snprintf(key, sizeof key, "%d", (int)(seq % 17));
    size_t len = strlen(wanted);
    if (m->value.len < len || memcmp(m->value.data, wanted, len) != 0)
        fail_msg("partition %d: %.*s where %s should be", m->partition, (int)m->value.len, m->value.data, wanted);
    assert_true(str_eq(m->key, key));
    assert_string_equal(m->traceparent, TRACE);
}

/* Another client, read_committed, from the beginning: every committed row once and in order, and nothing else. */
static void assert_published(struct world *w, int64_t count)
{
    struct kafka_consumer *c = consumer(w);
    int64_t seen[PARTITIONS] = {0}, total = 0;
    mono_ns_t end = clock_mono_ns() + READ_MS * NS_PER_MS;
    while (clock_mono_ns() < end) {
        struct kafka_message m;
        struct fault fault = {.err = ERR_OK};
        if (kafka_poll(c, 100, &m, &fault) != KAFKA_MESSAGE)
            continue;
        assert_record(&m, ++seen[m.partition]);
        kafka_message_done(&m);
        if (++total == count)
            end = clock_mono_ns() + QUIET_MS * NS_PER_MS; /* one too many would come now */
    }
    assert_int_equal(total, count);
    kafka_consumer_close(c);
}

/* ---- failures ---- */

static void forge_position(struct world *w, int64_t position, const char *mark)
{
    char id[NAME_MAX_LEN];
    struct kafka_producer *p = NULL;
    bool fenced;
    const char *const topics[] = {w->topic};
    snprintf(id, sizeof id, "test.%s.forger", w->service);
    assert_int_equal(kafka_producer_open(&w->s.kafka, id, topics, 1, WAIT_MS, &p, NULL), ERR_OK);
    assert_int_equal(kafka_txn_begin(p, NULL), ERR_OK);
    assert_int_equal(kafka_txn_commit(p, w->group, w->position_topic, position, mark, &fenced, NULL), ERR_OK);
    kafka_producer_drop(p);
}

static void a_relay_whose_database_and_kafka_disagree_refuses_to_publish(void **state)
{
    static const struct {
        int published; /* before the mishap */
        const char *mishap, *mark;
        const char *says, *why;
    } ROWS[] = {
        {5, "UPDATE lane SET epoch = gen_random_uuid()", NULL, "another epoch",
         "another database, or kafka's data swapped"},
        {5, "UPDATE outbox SET id = gen_random_uuid() WHERE seq = 5", NULL, "another event there",
         "restored, and written to"},
        {5, "DELETE FROM outbox WHERE seq > 3; UPDATE lane SET last_seq = 3, published_upto = 0", NULL,
         "not in the outbox", "restored from a backup"},
        {0, "UPDATE lane SET last_seq = 3, published_upto = 3", NULL, "no position", "kafka's data lost"},
        {5, "UPDATE topic SET partitions = 4", NULL, "3 partitions in kafka", "the topic was made anew, and smaller"},
        {5, "SELECT 1", "somebody else's", "no mark of ours", "the group's offset set by hand"},
        {5, "SELECT 1", "", "no mark of ours", "the same, without metadata"},
        {5,
         "INSERT INTO outbox SELECT lane, 6, gen_random_uuid(), 'elsewhere', aggregateid, type, payload, partition, "
         "part_seq, "
         "epoch, traceparent, created_at FROM outbox WHERE seq = 5",
         NULL, "was not opened", "a row for a topic that is none of ours"},
    };
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
        struct world *w = *state;
        if (ROWS[i].published > 0) {
            hold(w);
            commit(w, ROWS[i].published);
            assert_drained(w);
            kill_relay(w);
        }
        scratch_run(&w->s, ROWS[i].mishap);
        if (ROWS[i].mark != NULL)
            forge_position(w, 3, ROWS[i].mark);
        w->epoch = epoch_of(w);
        w->last_seq = scratch_number(&w->s, "SELECT last_seq FROM lane");

        hold(w);
        assert_state(w->relay, "refused: ", ROWS[i].why);
        assert_state(w->relay, ROWS[i].says, ROWS[i].why);
        assert_true(scratch_metric(w->s.metrics, "relay_refused") == 1);
        assert_false(relay_is_drained(w->relay, LANE) && ROWS[i].published == 0);
        tear_down(state);
        set_up(state);
    }
}

static void a_refusal_ends_when_its_reason_is_mended(void **state)
{
    struct world *w = *state;
    hold(w);
    commit(w, 4);
    assert_drained(w);
    kill_relay(w);
    scratch_run(&w->s, "CREATE TABLE kept AS SELECT * FROM outbox WHERE seq = 4; DELETE FROM outbox WHERE seq = 4");
    hold(w);
    assert_state(w->relay, "refused: ", "the last published row is gone");
    scratch_run(&w->s, "INSERT INTO outbox SELECT * FROM kept");
    commit(w, 3);
    assert_state(w->relay, "publishing", "it is back");
    assert_drained(w);
    assert_true(scratch_metric(w->s.metrics, "relay_refused") == 0);
    assert_published(w, 7);
}

static void a_committed_row_that_is_not_there_is_looked_for_and_then_refused(void **state)
{
    struct world *w = *state;
    commit(w, 6);
    scratch_run(&w->s, "CREATE TABLE kept AS SELECT * FROM outbox WHERE seq = 4; DELETE FROM outbox WHERE seq = 4");
    hold(w);
    assert_state(w->relay, "refused: event 4 is not in the outbox", "a hole");
    assert_true(scratch_metric(w->s.metrics, "relay_restarts_total") >= 5);
    scratch_run(&w->s, "INSERT INTO outbox SELECT * FROM kept");
    assert_state(w->relay, "publishing", "it is back");
    assert_drained(w);
    assert_published(w, 6);
}

static void without_the_lanes_lock_nothing_is_published(void **state)
{
    struct world *w = *state;
    scratch_run(&w->s, "SELECT pg_advisory_unlock_all()");
    commit(w, 3);
    hold(w);
    assert_state(w->relay, "away: nobody holds the lane's lock", "another may be about to take it");
    assert_true(scratch_number(&w->s, "SELECT count(*) FROM outbox") == 3);
    hold_lock(w);
    assert_drained(w);
    assert_published(w, 3);
}

static void a_relay_closed_in_the_middle_and_started_again_loses_and_doubles_nothing(void **state)
{
    enum { KILLS = 12, BATCHES = 25 };
    struct world *w = *state;
    for (int k = 0; k < KILLS; k++) {
        hold(w);
        for (int b = 0; b < BATCHES; b++)
            commit(w, 1 + (b * 7 + k) % 60);
        kill_relay(w);
        commit(w, 5); /* the lane goes on meanwhile */
    }
    hold(w);
    assert_drained(w);
    assert_published(w, w->last_seq);
}

static void a_holding_that_is_taken_anew_in_one_process_loses_and_doubles_nothing(void **state)
{
    enum { TAKINGS = 15 };
    struct world *w = *state;
    hold(w);
    for (int i = 0; i < TAKINGS; i++) {
        commit(w, 40);
        if (i % 3 != 0)
            relay_release(w->relay, LANE);
        hold(w);
        commit(w, 3);
    }
    assert_drained(w);
    assert_published(w, w->last_seq);
}

static void two_relays_on_one_number_fence_each_other_and_double_nothing(void **state)
{
    enum { ROUNDS = 60 };
    struct world *w = *state;
    struct metrics *others = metrics_new();
    struct relay *zombie = relay_new(w, others, w->s.kafka.brokers);
    relay_hold(zombie, LANE, w->epoch, 0);
    hold(w);
    for (int i = 0; i < ROUNDS; i++) {
        commit(w, 20);
        relay_wake(zombie, LANE, w->last_seq, w->last_seq);
        bool drained = relay_drain(i % 2 == 0 ? w->relay : zombie, 100);
        (void)drained; /* a beat of time for both */
    }
    relay_close(zombie);
    assert_drained(w);
    assert_published(w, w->last_seq);
    assert_true(scratch_metric(others, "relay_restarts_total") + scratch_metric(w->s.metrics, "relay_restarts_total") >
                0);
    metrics_free(others);
}

static void a_broker_that_is_away_is_waited_for(void **state)
{
    struct world *w = *state;
    struct door *door = door_new(w->s.kafka.brokers);
    w->relay = relay_new(w, w->s.metrics, door_address(door));
    hold(w);
    commit(w, 50);
    assert_state(w->relay, "away: ", "nobody listens there");
    assert_false(relay_drain(w->relay, 100));
    assert_true(scratch_metric(w->s.metrics, "outbox_lag") == 50);
    door_open(door);
    assert_drained(w);
    assert_true(scratch_metric(w->s.metrics, "outbox_lag") == 0);
    assert_published(w, 50);
    relay_close(w->relay);
    w->relay = NULL;
    door_free(door);
}

static void closing_does_not_wait_for_a_broker_that_is_away(void **state)
{
    struct world *w = *state;
    w->relay = relay_new(w, w->s.metrics, "127.0.0.1:1");
    hold(w);
    commit(w, 5);
    mono_ns_t start = clock_mono_ns();
    assert_state(w->relay, "starting", "it has just begun");
    relay_release(w->relay, LANE);
    assert_true(clock_mono_ns() - start < NS_PER_S);
    hold(w);
    kill_relay(w);
    assert_true(clock_mono_ns() - start < 4 * NS_PER_S);
}

static void a_lost_database_connection_is_made_again(void **state)
{
    struct world *w = *state;
    hold(w);
    for (int i = 0; i < 5; i++) {
        commit(w, 30);
        scratch_run(&w->s,
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'relay' AND "
                    "datname = current_database()");
    }
    assert_drained(w);
    assert_published(w, w->last_seq);
}

/* ---- what works ---- */

static void rows_are_published_once_and_in_order(void **state)
{
    struct world *w = *state;
    commit(w, 1300); /* before anybody holds the lane: more than two transactions */
    hold(w);
    assert_drained(w);
    for (int i = 0; i < 30; i++)
        commit(w, 1 + i % 4);
    assert_drained(w);
    assert_true(relay_is_drained(w->relay, LANE));
    assert_state(w->relay, "publishing", "all is well");
    assert_true(scratch_metric(w->s.metrics, "outbox_lag") == 0);
    assert_true(scratch_metric(w->s.metrics, "relay_published_total") == (double)w->last_seq);
    assert_true(scratch_metric(w->s.metrics, "relay_restarts_total") == 0);
    assert_published(w, w->last_seq);
}

static bool is_all_seen(void *arg)
{
    struct world *w = arg;
    return scratch_metric(w->s.metrics, "relay_published_total") == (double)w->last_seq;
}

static void rows_that_nobody_woke_it_for_are_found(void **state)
{
    struct world *w = *state;
    hold(w);
    commit(w, 1);
    assert_drained(w);
    write_rows(w, 7, 0);
    assert_true(scratch_await(is_all_seen, w, 3000));
    assert_published(w, 8);
}

static void commit_unawaited(struct world *w)
{
    write_rows(w, 1, 0);
    relay_wake(w->relay, LANE, w->last_seq, 0);
}

/* Each order's last event was a transaction of its own, behind which the next order's first one waited. */
static void rows_that_nobody_waits_for_share_the_next_transaction(void **state)
{
    enum { ROUNDS = 50 };
    struct world *w = *state;
    hold(w);
    commit(w, 1);
    assert_drained(w);
    double before = scratch_metric(w->s.metrics, "relay_transactions_total");
    int most = 0;
    for (int i = 0; i < ROUNDS; i++) {
        write_rows(w, 1, 0);
        mono_ns_t began = clock_mono_ns();
        relay_wake(w->relay, LANE, w->last_seq, 0);
        commit(w, 1);
        most += clock_mono_ns() - began < RELAY_LINGER_MS * NS_PER_MS ? 1 : 2;
        assert_drained(w);
    }
    assert_true(most < 2 * ROUNDS);
    assert_true(scratch_metric(w->s.metrics, "relay_transactions_total") - before <= most);
    assert_published(w, w->last_seq);
}

static void rows_that_nobody_waits_for_go_alone_after_a_moment(void **state)
{
    struct world *w = *state;
    hold(w);
    commit(w, 1);
    assert_drained(w);
    commit_unawaited(w);
    assert_true(scratch_await(is_all_seen, w, 3000));
    commit_unawaited(w);
    assert_drained(w); /* who drains does not linger either */
    assert_published(w, w->last_seq);
}

static void large_rows_go_in_several_transactions(void **state)
{
    enum { COUNT = 14, BYTES = 900000 };
    struct world *w = *state;
    write_rows(w, COUNT, BYTES);
    hold(w);
    assert_drained(w);
    assert_true(scratch_metric(w->s.metrics, "relay_transactions_total") >= 4);
    assert_published(w, COUNT);
}

static void the_position_carries_the_epoch_and_the_last_rows_id(void **state)
{
    static const struct db_stmt MARK = {"test_mark",
                                        "SELECT l.epoch || ' ' || o.id FROM lane l, outbox o WHERE o.seq = 9"};
    struct world *w = *state;
    hold(w);
    commit(w, 9);
    assert_drained(w);

    char mark[100];
    int64_t position;
    CLEANUP_ROWS struct db_rows *rows = NULL;
    assert_int_equal(db_query(w->s.db, &MARK, &(const struct db_args){.count = 0}, &rows, NULL), ERR_OK);
    assert_int_equal(
        kafka_position_read(&w->s.kafka, w->group, w->position_topic, WAIT_MS, &position, mark, sizeof mark, NULL),
        ERR_OK);
    assert_int_equal(position, 9);
    assert_string_equal(mark, db_text(rows, 0, 0));
}

static void a_relay_makes_the_topics_itself(void **state)
{
    struct world *w = *state;
    int count = 0;
    hold(w);
    commit(w, 1);
    assert_drained(w);
    assert_int_equal(kafka_partition_count(&w->s.kafka, w->topic, WAIT_MS, &count, NULL), ERR_OK);
    assert_int_equal(count, PARTITIONS);
    assert_int_equal(kafka_partition_count(&w->s.kafka, CONSUMES[0], WAIT_MS, &count, NULL), ERR_OK);
    assert_int_equal(count, PARTITIONS);
    assert_int_equal(kafka_partition_count(&w->s.kafka, "test-consumed.dlq", WAIT_MS, &count, NULL), ERR_OK);
    assert_int_equal(count, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_relay_whose_database_and_kafka_disagree_refuses_to_publish),
        TEST(a_refusal_ends_when_its_reason_is_mended),
        TEST(a_committed_row_that_is_not_there_is_looked_for_and_then_refused),
        TEST(without_the_lanes_lock_nothing_is_published),
        TEST(a_relay_closed_in_the_middle_and_started_again_loses_and_doubles_nothing),
        TEST(a_holding_that_is_taken_anew_in_one_process_loses_and_doubles_nothing),
        TEST(two_relays_on_one_number_fence_each_other_and_double_nothing),
        TEST(a_broker_that_is_away_is_waited_for),
        TEST(closing_does_not_wait_for_a_broker_that_is_away),
        TEST(a_lost_database_connection_is_made_again),
        TEST(rows_are_published_once_and_in_order),
        TEST(rows_that_nobody_woke_it_for_are_found),
        TEST(rows_that_nobody_waits_for_share_the_next_transaction),
        TEST(rows_that_nobody_waits_for_go_alone_after_a_moment),
        TEST(large_rows_go_in_several_transactions),
        TEST(the_position_carries_the_epoch_and_the_last_rows_id),
        TEST(a_relay_makes_the_topics_itself),
    };
    return cmocka_run_group_tests(tests, NULL, await_kafka_handles);
}
