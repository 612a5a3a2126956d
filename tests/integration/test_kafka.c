/* kafka.h against a real Kafka. Every run has topics, groups and transactional ids of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/id.h"
#include "io/kafka.h"
#include "support/kafka_end.h"
#include "support/need_env.h"

enum { OPEN_MS = 20000, POLL_MS = 20000, NAME_MAX_LEN = 64, BATCH = 100 };

struct world {
    struct kafka_conf conf;
    char topic[NAME_MAX_LEN], positions[NAME_MAX_LEN], group[NAME_MAX_LEN], id[NAME_MAX_LEN];
};

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    char run[UUID_TEXT_MAX];
    uuid_format(uuid_v7(), run);
    w->conf = (struct kafka_conf){.brokers = need_env("TEST_KAFKA_BROKERS"), .client_id = "test_kafka"};
    snprintf(w->topic, sizeof w->topic, "test-events.%s", run);
    snprintf(w->positions, sizeof w->positions, "_relay.test.%s", run);
    snprintf(w->group, sizeof w->group, "relay.test.%s", run);
    snprintf(w->id, sizeof w->id, "test.%s.0", run);
    const struct kafka_topic_spec topics[] = {{w->topic, 3, false}, {w->positions, 1, true}};
    struct fault fault = {0};
    if (kafka_topics_ensure(&w->conf, topics, 2, OPEN_MS, &fault) != ERR_OK)
        fail_msg("%s", fault.why);
    /* As a relay does; on a new cluster this makes the groups' coordinator. */
    char metadata[8];
    int64_t position;
    if (kafka_position_read(&w->conf, w->group, w->positions, OPEN_MS, &position, metadata, sizeof metadata, &fault) !=
        ERR_OK)
        fail_msg("%s", fault.why);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    free(*state);
    return 0;
}

static struct kafka_producer *producer(const struct world *w)
{
    const char *const topics[] = {w->topic};
    struct fault fault = {0};
    struct kafka_producer *p = NULL;
    if (kafka_producer_open(&w->conf, w->id, topics, 1, OPEN_MS, &p, &fault) != ERR_OK)
        fail_msg("%s", fault.why);
    return p;
}

static void begin(struct kafka_producer *p)
{
    struct fault fault = {0};
    if (kafka_txn_begin(p, &fault) != ERR_OK)
        fail_msg("%s", fault.why);
}

static void produce(struct kafka_producer *p, const struct world *w, int partition, const char *value)
{
    struct kafka_record r = {.topic = w->topic,
                             .partition = partition,
                             .key = STR("42"),
                             .value = str_of(value),
                             .id = "an-id",
                             .type = "order.placed",
                             .traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"};
    struct fault fault = {0};
    if (kafka_txn_produce(p, &r, &fault) != ERR_OK)
        fail_msg("%s", fault.why);
}

static void commit(struct kafka_producer *p, const struct world *w, int64_t position, const char *metadata)
{
    struct fault fault = {0};
    bool fenced = true;
    if (kafka_txn_commit(p, w->group, w->positions, position, metadata, &fenced, &fault) != ERR_OK)
        fail_msg("%s", fault.why);
    assert_false(fenced);
}

static void assert_position(const struct world *w, int64_t position, const char *metadata)
{
    struct fault fault = {0};
    char text[64];
    int64_t at = -2;
    if (kafka_position_read(&w->conf, w->group, w->positions, OPEN_MS, &at, text, sizeof text, &fault) != ERR_OK)
        fail_msg("%s", fault.why);
    assert_int_equal(at, position);
    assert_string_equal(text, metadata);
}

static struct kafka_consumer *consumer(const struct world *w, int partition, int64_t offset)
{
    struct kafka_assignment list[] = {{w->topic, partition, offset}};
    struct fault fault = {0};
    struct kafka_consumer *c = NULL;
    if (kafka_consumer_open(&w->conf, w->group, &c, &fault) != ERR_OK || kafka_assign(c, list, 1, &fault) != ERR_OK)
        fail_msg("%s", fault.why);
    return c;
}

/* The next thing that is not nothing. */
static enum kafka_poll next(struct kafka_consumer *c, struct kafka_message *m, struct fault *fault)
{
    for (mono_ns_t end = clock_mono_ns() + POLL_MS * NS_PER_MS; clock_mono_ns() < end;) {
        enum kafka_poll what = kafka_poll(c, 100, m, fault);
        if (what != KAFKA_NOTHING)
            return what;
    }
    return KAFKA_NOTHING;
}

/* Reads to the end of the partition; "a b c ". Returns the last offset + 1. */
static int64_t assert_reads(struct kafka_consumer *c, const char *wanted)
{
    struct kafka_message m;
    struct fault fault = {0};
    struct buf read;
    int64_t position = -1;
    buf_init(&read);
    enum kafka_poll what;
    while ((what = next(c, &m, &fault)) == KAFKA_MESSAGE) {
        buf_append(&read, m.value.data, m.value.len);
        buf_char(&read, ' ');
        position = m.offset + 1;
        kafka_message_done(&m);
    }
    assert_int_equal(what, KAFKA_CAUGHT_UP);
    assert_string_equal(buf_cstr(&read), wanted);
    buf_done(&read);
    return position;
}

/* ---- failures ---- */

static void a_broker_that_is_not_there_is_told_in_time(void **state)
{
    (void)state;
    const struct kafka_conf away = {.brokers = "127.0.0.1:1", .client_id = "test_kafka"};
    const struct kafka_topic_spec topics[] = {{"x", 1, false}};
    const char *const names[] = {"x"};
    struct fault faults[4] = {0};
    struct kafka_producer *p = NULL;
    char metadata[8];
    int64_t position = 7;
    int count = 7;
    mono_ns_t start = clock_mono_ns();
    assert_int_equal(kafka_topics_ensure(&away, topics, 1, 300, &faults[0]), ERR_KAFKA);
    assert_int_equal(kafka_partition_count(&away, "x", 300, &count, &faults[1]), ERR_KAFKA);
    assert_int_equal(kafka_producer_open(&away, "t", names, 1, 300, &p, &faults[2]), ERR_KAFKA);
    assert_int_equal(kafka_position_read(&away, "g", "x", 300, &position, metadata, sizeof metadata, &faults[3]),
                     ERR_KAFKA);
    assert_true(clock_mono_ns() - start < 6 * NS_PER_S);
    assert_null(p);
    assert_int_equal(position, 7);
    assert_int_equal(count, 7);
    for (int i = 0; i < 4; i++)
        assert_non_null(strstr(faults[i].why, "refused"));
}

static void a_consumer_without_a_broker_says_so_and_keeps_polling(void **state)
{
    (void)state;
    const struct kafka_conf away = {.brokers = "127.0.0.1:1", .client_id = "test_kafka"};
    const struct kafka_assignment list[] = {{"x", 0, 0}};
    struct kafka_consumer *c = NULL;
    struct kafka_message m;
    struct fault fault = {0};
    assert_int_equal(kafka_consumer_open(&away, "g", &c, &fault), ERR_OK);
    assert_int_equal(kafka_assign(c, list, 1, &fault), ERR_OK);
    assert_int_equal(next(c, &m, &fault), KAFKA_TROUBLE);
    assert_non_null(strstr(fault.why, "refused"));
    assert_int_equal(kafka_end_offset(c, "x", 0), -1);
    kafka_consumer_close(c);
}

static void a_topic_that_is_not_there_is_named(void **state)
{
    struct world *w = *state;
    const char *const absent[] = {"no-such-topic"};
    struct kafka_producer *p = NULL;
    struct fault fault = {0};
    int count;
    assert_int_equal(kafka_producer_open(&w->conf, w->id, absent, 1, OPEN_MS, &p, &fault), ERR_KAFKA);
    assert_non_null(strstr(fault.why, "no-such-topic"));
    assert_null(p);
    assert_int_equal(kafka_partition_count(&w->conf, "no-such-topic", OPEN_MS, &count, &fault), ERR_KAFKA);
    assert_non_null(strstr(fault.why, "no-such-topic"));
}

static void a_record_for_a_topic_or_partition_that_was_not_opened_is_a_bug(void **state)
{
    struct world *w = *state;
    struct kafka_producer *p = producer(w);
    struct kafka_record other = {.topic = "other", .partition = 0, .key = STR("1"), .value = STR("x"), .id = "i"};
    struct kafka_record beyond = {.topic = w->topic, .partition = 3, .key = STR("1"), .value = STR("x"), .id = "i"};
    begin(p);
    assert_int_equal(kafka_txn_produce(p, &other, NULL), ERR_BUG);
    assert_int_equal(kafka_txn_produce(p, &beyond, NULL), ERR_BUG);
    kafka_producer_drop(p);
}

static void a_record_that_is_too_large_is_refused_and_the_next_producer_works(void **state)
{
    enum { TOO_LARGE = 2000000 };
    struct world *w = *state;
    struct kafka_producer *p = producer(w);
    char *value = calloc(1, TOO_LARGE);
    struct kafka_record r = {.topic = w->topic, .key = STR("1"), .value = {value, TOO_LARGE}, .id = "i"};
    struct fault fault = {0};
    begin(p);
    assert_int_equal(kafka_txn_produce(p, &r, &fault), ERR_KAFKA);
    assert_non_null(strstr(fault.why, "too large"));
    kafka_producer_drop(p);
    free(value);

    p = producer(w);
    begin(p);
    produce(p, w, 0, "after");
    commit(p, w, 1, "");
    kafka_producer_drop(p);
    struct kafka_consumer *c = consumer(w, 0, 0);
    assert_reads(c, "after ");
    kafka_consumer_close(c);
}

static void a_holder_that_was_replaced_is_fenced_and_leaves_nothing(void **state)
{
    static const struct {
        bool delivered; /* its record was in the log before the other came */
        const char *why;
    } CASES[] = {{false, "stopped before it sent"}, {true, "stopped before it committed"}};
    struct world *w = *state;
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        struct kafka_producer *zombie = producer(w);
        begin(zombie);
        if (CASES[i].delivered)
            produce(zombie, w, 0, "zombie");
        struct kafka_producer *p = producer(w);
        if (!CASES[i].delivered)
            produce(zombie, w, 0, "zombie");

        struct fault fault = {0};
        bool fenced = false;
        assert_int_equal(kafka_txn_commit(zombie, w->group, w->positions, 99, "zombie", &fenced, &fault), ERR_KAFKA);
        assert_true(fenced);
        assert_int_equal(kafka_txn_begin(zombie, &fault), ERR_KAFKA);
        kafka_producer_drop(zombie);

        begin(p);
        produce(p, w, 0, "heir");
        commit(p, w, (int64_t)i + 1, "heir");
        kafka_producer_drop(p);
        assert_position(w, (int64_t)i + 1, "heir");
    }
    struct kafka_consumer *c = consumer(w, 0, 0);
    assert_reads(c, "heir heir ");
    kafka_consumer_close(c);
}

static void what_was_dropped_before_its_commit_is_never_seen(void **state)
{
    struct world *w = *state;
    struct kafka_producer *p = producer(w);
    begin(p);
    produce(p, w, 0, "kept");
    commit(p, w, 1, "one");
    begin(p);
    for (int i = 0; i < BATCH; i++)
        produce(p, w, i % 3, "lost");
    kafka_producer_drop(p);

    p = producer(w); /* ends what the other began */
    assert_position(w, 1, "one");
    begin(p);
    produce(p, w, 0, "next");
    commit(p, w, 2, "two");
    kafka_producer_drop(p);
    assert_position(w, 2, "two");

    struct kafka_consumer *c = consumer(w, 0, 0);
    assert_reads(c, "kept next ");
    kafka_consumer_close(c);
    c = consumer(w, 1, 0);
    assert_reads(c, "");
    kafka_consumer_close(c);
}

static void a_dropped_transaction_does_not_hold_up_readers(void **state)
{
    struct world *w = *state;
    struct kafka_producer *p = producer(w);
    begin(p);
    produce(p, w, 0, "lost");
    kafka_producer_drop(p);

    /* Another's record behind it: to be read, the dropped transaction must have ended, well before its timeout of 15 s. */
    struct kafka_producer *other = NULL;
    const char *const topics[] = {w->topic};
    char id[NAME_MAX_LEN + 8];
    snprintf(id, sizeof id, "%s.other", w->id);
    assert_int_equal(kafka_producer_open(&w->conf, id, topics, 1, OPEN_MS, &other, NULL), ERR_OK);
    begin(other);
    produce(other, w, 0, "kept");
    commit(other, w, 1, "");
    kafka_producer_drop(other);

    struct kafka_consumer *c = consumer(w, 0, 0);
    struct kafka_message m;
    struct fault fault = {0};
    mono_ns_t start = clock_mono_ns();
    enum kafka_poll what;
    while ((what = next(c, &m, &fault)) == KAFKA_CAUGHT_UP)
        ;
    assert_int_equal(what, KAFKA_MESSAGE);
    assert_true(str_eq(m.value, "kept"));
    assert_true(clock_mono_ns() - start < 10 * NS_PER_S);
    kafka_message_done(&m);
    kafka_consumer_close(c);
}

static void an_offset_that_is_not_there_stops_its_partition_and_only_it(void **state)
{
    struct world *w = *state;
    struct kafka_producer *p = producer(w);
    begin(p);
    produce(p, w, 0, "a");
    produce(p, w, 1, "b");
    commit(p, w, 2, "");
    kafka_producer_drop(p);

    struct kafka_consumer *c = consumer(w, 0, 0);
    const struct kafka_assignment list[] = {{w->topic, 0, 1000}, {w->topic, 1, 0}};
    struct kafka_message m;
    struct fault fault = {0};
    bool stopped = false, read = false;
    assert_int_equal(kafka_assign(c, list, 2, &fault), ERR_OK);
    for (enum kafka_poll what; !(stopped && read) && (what = next(c, &m, &fault)) != KAFKA_NOTHING;) {
        if (what == KAFKA_PARTITION_STOPPED) {
            assert_string_equal(m.topic, w->topic);
            assert_int_equal(m.partition, 0);
            stopped = true;
        } else if (what == KAFKA_MESSAGE) {
            assert_int_equal(m.partition, 1);
            read = true;
            kafka_message_done(&m);
        }
    }
    assert_true(stopped && read);
    kafka_consumer_close(c);
}

/* ---- what works ---- */

static void topics_are_made_once_and_left_as_they_are(void **state)
{
    struct world *w = *state;
    const struct kafka_topic_spec more[] = {{w->topic, 9, false}, {w->positions, 9, true}};
    struct fault fault = {0};
    int count = 0;
    assert_int_equal(kafka_topics_ensure(&w->conf, more, 2, OPEN_MS, &fault), ERR_OK);
    assert_int_equal(kafka_partition_count(&w->conf, w->topic, OPEN_MS, &count, &fault), ERR_OK);
    assert_int_equal(count, 3);
    assert_int_equal(kafka_partition_count(&w->conf, w->positions, OPEN_MS, &count, &fault), ERR_OK);
    assert_int_equal(count, 1);
}

/* Asked to make one twice in one call, the broker makes neither (and librdkafka was seen to crash on that answer). */
static void a_topic_that_is_named_twice_is_made_once(void **state)
{
    struct world *w = *state;
    char name[NAME_MAX_LEN + sizeof ".twice"];
    snprintf(name, sizeof name, "%s.twice", w->topic);
    const struct kafka_topic_spec twice[] = {{name, 2, false}, {w->topic, 9, false}, {name, 2, false}};
    struct fault fault = {0};
    int count = 0;
    assert_int_equal(kafka_topics_ensure(&w->conf, twice, 3, OPEN_MS, &fault), ERR_OK);
    assert_int_equal(kafka_partition_count(&w->conf, name, OPEN_MS, &count, &fault), ERR_OK);
    assert_int_equal(count, 2);
}

static void the_position_goes_with_the_records(void **state)
{
    struct world *w = *state;
    assert_position(w, -1, "");
    struct kafka_producer *p = producer(w);
    assert_position(w, -1, "");
    begin(p);
    produce(p, w, 0, "a");
    produce(p, w, 0, "b");
    commit(p, w, 2, "0198-epoch/row");
    assert_position(w, 2, "0198-epoch/row");
    begin(p);
    commit(p, w, 2, "a heartbeat carries no records");
    assert_position(w, 2, "a heartbeat carries no records");
    kafka_producer_drop(p);

    char cut[5];
    int64_t position;
    assert_int_equal(kafka_position_read(&w->conf, w->group, w->positions, OPEN_MS, &position, cut, sizeof cut, NULL),
                     ERR_OK);
    assert_string_equal(cut, "a he");
}

static void a_record_arrives_with_its_key_and_trace(void **state)
{
    struct world *w = *state;
    struct kafka_producer *p = producer(w);
    begin(p);
    produce(p, w, 2, "{\"a\":1}");
    struct kafka_record bare = {.topic = w->topic, .partition = 2, .key = STR(""), .value = STR(""), .id = "i"};
    assert_int_equal(kafka_txn_produce(p, &bare, NULL), ERR_OK);
    commit(p, w, 1, "");
    kafka_producer_drop(p);

    struct kafka_consumer *c = consumer(w, 2, 0);
    struct kafka_message m;
    assert_int_equal(next(c, &m, NULL), KAFKA_MESSAGE);
    assert_string_equal(m.topic, w->topic);
    assert_int_equal(m.partition, 2);
    assert_int_equal(m.offset, 0);
    assert_true(str_eq(m.key, "42"));
    assert_true(str_eq(m.value, "{\"a\":1}"));
    assert_string_equal(m.traceparent, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    kafka_message_done(&m);
    assert_int_equal(next(c, &m, NULL), KAFKA_MESSAGE);
    assert_int_equal(m.key.len, 0);
    assert_int_equal(m.value.len, 0);
    assert_string_equal(m.traceparent, "");
    kafka_message_done(&m);
    assert_int_equal(next(c, &m, NULL), KAFKA_CAUGHT_UP);
    assert_string_equal(m.topic, w->topic);
    kafka_message_done(&m);                                /* harmless: it holds nothing */
    assert_int_equal(kafka_end_offset(c, w->topic, 2), 3); /* two records and the commit's mark */
    kafka_consumer_close(c);
}

static void reading_goes_on_where_it_was_told_to(void **state)
{
    struct world *w = *state;
    struct kafka_producer *p = producer(w);
    begin(p);
    produce(p, w, 0, "a");
    produce(p, w, 0, "b");
    commit(p, w, 2, "");

    struct kafka_consumer *c = consumer(w, 0, 1);
    int64_t position = assert_reads(c, "b ");
    begin(p);
    produce(p, w, 0, "c");
    commit(p, w, 3, "");
    assert_reads(c, "c "); /* the assignment lives on */
    kafka_consumer_close(c);

    c = consumer(w, 0, position); /* the commit's mark lies in between */
    assert_reads(c, "c ");
    const struct kafka_assignment back[] = {{w->topic, 0, 0}};
    assert_int_equal(kafka_assign(c, back, 1, NULL), ERR_OK);
    assert_reads(c, "a b c ");
    assert_int_equal(kafka_assign(c, NULL, 0, NULL), ERR_OK);
    struct kafka_message m;
    assert_int_equal(kafka_poll(c, 50, &m, NULL), KAFKA_NOTHING);
    kafka_consumer_close(c);
    kafka_producer_drop(p);
}

int main(void)
{
#define STORY(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_broker_that_is_not_there_is_told_in_time),
        cmocka_unit_test(a_consumer_without_a_broker_says_so_and_keeps_polling),
        STORY(a_topic_that_is_not_there_is_named),
        STORY(a_record_for_a_topic_or_partition_that_was_not_opened_is_a_bug),
        STORY(a_record_that_is_too_large_is_refused_and_the_next_producer_works),
        STORY(a_holder_that_was_replaced_is_fenced_and_leaves_nothing),
        STORY(what_was_dropped_before_its_commit_is_never_seen),
        STORY(a_dropped_transaction_does_not_hold_up_readers),
        STORY(an_offset_that_is_not_there_stops_its_partition_and_only_it),
        STORY(topics_are_made_once_and_left_as_they_are),
        STORY(a_topic_that_is_named_twice_is_made_once),
        STORY(the_position_goes_with_the_records),
        STORY(a_record_arrives_with_its_key_and_trace),
        STORY(reading_goes_on_where_it_was_told_to),
    };
    return cmocka_run_group_tests_name("kafka", tests, NULL, await_kafka_handles);
}
