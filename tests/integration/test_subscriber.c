/* subscriber.h against a real Kafka. The lane is never started: what is handed to it is looked at in its inbox. */
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
#include "svc/lane_private.h"
#include "svc/subscriber.h"

enum { PARTITIONS = 2, OPEN_MS = 20000, WAIT_MS = 20000, QUIET_MS = 500 };

static const char TRACE[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
static const char EPOCH[] = "6f1c2b9e-8d0e-4b7e-9a51-0b9f4f0f6a11";

struct world {
    struct scratch s;
    char topics[2][32];
    const char *consumes[3];
    struct lane *lane;
    struct subscriber *subscriber;
    struct kafka_producer *producer;
};

/* ---- what the service would bring ---- */

struct counted {
    int64_t n;
};

static enum err counted_decode(const struct event *e, struct arena *arena, void **ret_args, int64_t *ret_customer_id,
                               struct fault *fault)
{
    struct counted *c = ARENA_NEW(arena, struct counted);
    if (!json_get_int(e->data, "n", &c->n))
        return fault_set(fault, ERR_INVALID, "\"n\" is missing, and here is a long e: %0300d\xc3\xa9\xc3\xa9\xc3\xa9",
                         0);
    *ret_args = c;
    *ret_customer_id = 42;
    return ERR_OK;
}

static const struct lane_verb COUNTED = {.name = "test.counted"};
static const struct event_kind KINDS[] = {{"test.counted", counted_decode, &COUNTED}, {.type = NULL}};

/* ---- the world ---- */

static void subscriber_make(struct world *w, const char *brokers)
{
    const struct subscriber_conf conf = {.service = "test-svc",
                                         .kafka = {.brokers = brokers, .client_id = "test_subscriber"},
                                         .consumes = w->consumes,
                                         .kinds = KINDS,
                                         .log = w->s.log,
                                         .metrics = w->s.metrics};
    struct fault fault = {.err = ERR_OK};
    if (subscriber_open(&conf, w->lane, &w->subscriber, &fault) != ERR_OK)
        fail_msg("%s", fault.why);
    subscriber_start(w->subscriber);
}

static void topics_make(struct world *w)
{
    char id[32];
    const char *const topics[] = {w->topics[0], w->topics[1]};
    struct fault fault = {.err = ERR_OK};
    scratch_topic(&w->s, w->topics[0], PARTITIONS);
    scratch_topic(&w->s, w->topics[1], PARTITIONS);
    snprintf(id, sizeof id, "test.%s", w->s.run);
    if (kafka_producer_open(&w->s.kafka, id, topics, 2, OPEN_MS, &w->producer, &fault) != ERR_OK)
        fail_msg("%s", fault.why);
}

static int set_up_bare(void **state)
{
    static const struct lane_ops NO_OPS = {.state_size = 0};
    struct world *w = mem_alloc(sizeof *w);
    scratch_open_kafka(&w->s);
    for (int i = 0; i < 2; i++) {
        snprintf(w->topics[i], sizeof w->topics[i], "%s-%c", w->s.run, 'a' + i);
        w->consumes[i] = w->topics[i];
    }
    const struct lane_conf conf = {.service = "test-svc",
                                   .schema = "public",
                                   .topic = "test-events",
                                   .consumes = w->consumes,
                                   .partitions = PARTITIONS,
                                   .ops = &NO_OPS,
                                   .log = w->s.log,
                                   .metrics = w->s.metrics};
    assert_int_equal(lane_open(&conf, &w->lane, NULL), ERR_OK);
    *state = w;
    return 0;
}

static int set_up(void **state)
{
    set_up_bare(state);
    struct world *w = *state;
    topics_make(w);
    subscriber_make(w, w->s.kafka.brokers);
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    subscriber_stop(w->subscriber);
    struct queue_link *list;
    queue_take(&w->lane->inbox, LANE_INBOX_MAX, 0, &list);
    while (list != NULL) {
        struct lane_item *item = (struct lane_item *)list;
        list = list->next;
        lane_item_free(item);
    }
    subscriber_close(w->subscriber);
    kafka_producer_drop(w->producer);
    lane_close(w->lane);
    scratch_close(&w->s);
    mem_free(w);
    return 0;
}

static void commit(struct world *w)
{
    bool fenced;
    struct fault fault = {.err = ERR_OK};
    if (kafka_txn_commit(w->producer, w->s.run, w->topics[0], 0, "", &fenced, &fault) != ERR_OK)
        fail_msg("%s", fault.why);
}

static void begin(struct world *w)
{
    assert_int_equal(kafka_txn_begin(w->producer, NULL), ERR_OK);
}

static void put(struct world *w, int topic, int partition, struct str key, struct str value, const char *trace)
{
    const struct kafka_record r = {
        .topic = w->topics[topic], .partition = partition, .key = key, .value = value, .traceparent = trace, .id = "i"};
    struct fault fault = {.err = ERR_OK};
    if (kafka_txn_produce(w->producer, &r, &fault) != ERR_OK)
        fail_msg("%s", fault.why);
}

static void put_event(struct world *w, int topic, int partition, const char *type, int64_t n)
{
    struct event e = {.id = uuid_v7(),
                      .source = "other-svc",
                      .subject = STR("a-subject"),
                      .time = 1,
                      .lane = 3,
                      .partition = partition,
                      .part_seq = n};
    char data[32];
    struct buf text;
    assert_true(uuid_parse(str_of(EPOCH), &e.epoch) && str_copy(e.type, sizeof e.type, str_of(type)));
    snprintf(data, sizeof data, "{\"n\":%lld}", (long long)n);
    buf_init(&text);
    event_encode(&text, &e, str_of(data));
    put(w, topic, partition, STR("42"), (struct str){text.data, text.len}, TRACE);
    buf_done(&text);
}

static void publish(struct world *w, int topic, int partition, int64_t from, int64_t to)
{
    begin(w);
    for (int64_t n = from; n <= to; n++)
        put_event(w, topic, partition, "test.counted", n);
    commit(w);
}

static void assign(struct world *w, int topic, int partition, int64_t offset, unsigned generation)
{
    const struct partition_start list[] = {{topic, partition, offset, generation}};
    subscriber_assign(w->subscriber, list, 1);
}

/* The next item, whose end is the caller's; NULL: none within timeout_ms. */
static struct lane_item *take(struct world *w, int timeout_ms)
{
    struct queue_link *item;
    return queue_take(&w->lane->inbox, 1, timeout_ms, &item) == 1 ? (struct lane_item *)item : NULL;
}

static struct lane_item *need(struct world *w)
{
    struct lane_item *item = take(w, WAIT_MS);
    assert_non_null(item);
    return item;
}

static void assert_counts(struct world *w, int64_t from, int64_t to, unsigned generation)
{
    for (int64_t n = from; n <= to; n++) {
        struct lane_item *item = need(w);
        assert_null(item->unreadable);
        assert_ptr_equal(item->verb, &COUNTED);
        assert_int_equal(((struct counted *)item->args)->n, n);
        assert_int_equal(item->generation, generation);
        lane_item_free(item);
    }
}

static void assert_nothing_more(struct world *w)
{
    struct lane_item *item = take(w, QUIET_MS);
    if (item != NULL)
        fail_msg("one too many: %s/%d at %lld", item->event->topic, item->event->partition,
                 (long long)item->event->offset);
}

struct awaited_state {
    struct subscriber *subscriber;
    const char *part;
    char text[400];
};

static bool is_in_state(void *arg)
{
    struct awaited_state *a = arg;
    subscriber_state(a->subscriber, a->text, sizeof a->text);
    return strstr(a->text, a->part) != NULL;
}

static void assert_state(struct world *w, const char *part)
{
    struct awaited_state a = {.subscriber = w->subscriber, .part = part};
    if (!scratch_await(is_in_state, &a, WAIT_MS))
        fail_msg("\"%s\" and not \"%s\"", a.text, part);
}

static double metric(struct world *w, const char *name, int topic)
{
    char series[96];
    snprintf(series, sizeof series, "%s{topic=\"%s\"}", name, w->topics[topic]);
    return scratch_metric(w->s.metrics, series);
}

/* ---- failures ---- */

#define ENVELOPE \
    "{\"specversion\":\"1.0\",\"id\":\"0198f3a0-0000-7000-8000-000000000001\",\"source\":\"other-svc\",\"type\":" \
    "\"test.counted\"," \
    "\"time\":\"2026-11-24T18:58:08Z\",\"lane\":3,\"partition\":0,\"partseq\":1," \
    "\"epoch\":\"6f1c2b9e-8d0e-4b7e-9a51-0b9f4f0f6a11\",\"data\":"

static void what_can_not_be_decoded_is_handed_over_with_its_reason_and_its_bytes(void **state)
{
    static const struct {
        const char *value, *says;
        int lane;
        const char *why;
    } ROWS[] = {
        {"", "not JSON", 0, "no bytes"},
        {"\xff\xfe", "not JSON", 0, "not text"},
        {"[]", "specversion", 0, "no envelope"},
        {ENVELOPE "[]}", "data", 3, "an envelope with a number, and data that are none"},
        {ENVELOPE "{}}", "\"n\" is missing", 3, "data that its kind refuses"},
    };
    enum { COUNT = sizeof ROWS / sizeof ROWS[0] };
    struct world *w = *state;
    begin(w);
    for (size_t i = 0; i < COUNT; i++)
        put(w, 0, 0, STR("42"), str_of(ROWS[i].value), NULL);
    commit(w);
    assign(w, 0, 0, 0, 1);
    for (size_t i = 0; i < COUNT; i++) {
        struct lane_item *item = need(w);
        size_t at;
        if (item->unreadable == NULL || strstr(item->unreadable, ROWS[i].says) == NULL)
            fail_msg("%s: %s", ROWS[i].why, item->unreadable);
        assert_true(str_is_utf8(str_of(item->unreadable), &at));
        assert_null(item->verb);
        assert_int_equal(item->event->lane, ROWS[i].lane);
        assert_int_equal(item->event->raw.len, strlen(ROWS[i].value));
        assert_memory_equal(item->event->raw.data, ROWS[i].value, item->event->raw.len);
        assert_string_equal(item->event->key, "42");
        lane_item_free(item);
    }
    assert_true(scratch_metric(w->s.metrics, "consumer_unreadable_total") == COUNT);
}

static void a_key_or_trace_that_is_no_plain_text_is_as_if_it_were_absent(void **state)
{
    static const struct {
        struct str key;
        const char *trace, *why;
    } ROWS[] = {
        {STR_INIT("\0\1"), "\xff", "bytes"},
        {STR_INIT("4 2"), "a b", "a space"},
        {STR_INIT("123456789012345678901234"), "", "24 bytes: one too many"},
        {STR_INIT(""), NULL, "none"},
    };
    enum { COUNT = sizeof ROWS / sizeof ROWS[0] };
    struct world *w = *state;
    begin(w);
    for (size_t i = 0; i < COUNT; i++)
        put(w, 0, 0, ROWS[i].key, STR(ENVELOPE "{\"n\":7}}"), ROWS[i].trace);
    commit(w);
    assign(w, 0, 0, 0, 1);
    for (size_t i = 0; i < COUNT; i++) {
        struct lane_item *item = need(w);
        assert_null(item->unreadable);
        assert_string_equal(item->event->key, "");
        assert_string_equal(item->event->traceparent, "");
        lane_item_free(item);
    }
}

static void an_offset_that_is_gone_stops_its_partition_and_only_it(void **state)
{
    struct world *w = *state;
    publish(w, 0, 0, 1, 3);
    publish(w, 0, 1, 1, 3);
    const struct partition_start list[] = {{0, 0, 1000, 1}, {0, 1, 0, 1}};
    subscriber_assign(w->subscriber, list, 2);
    assert_counts(w, 1, 3, 1);
    assert_state(w, "stopped: ");
    assert_true(metric(w, "consumer_stopped", 0) == 1);
    publish(w, 0, 1, 4, 6);
    assert_counts(w, 4, 6, 1);
    assert_nothing_more(w);

    const struct partition_start mended[] = {{0, 0, 1, 2}, {0, 1, 0, 1}};
    subscriber_assign(w->subscriber, mended, 2);
    assert_counts(w, 2, 3, 2);
    assert_state(w, "reading 2 partitions");
    assert_true(metric(w, "consumer_stopped", 0) == 0);
    assert_nothing_more(w);
}

static void a_broker_that_is_away_is_waited_for(void **state)
{
    struct world *w = *state;
    topics_make(w);
    publish(w, 0, 0, 1, 5);
    struct door *door = door_new(w->s.kafka.brokers);
    subscriber_make(w, door_address(door));
    assign(w, 0, 0, 0, 1);
    assert_state(w, "away: ");
    door_open(door);
    assert_counts(w, 1, 5, 1);
    assert_state(w, "reading 1 partitions");
    subscriber_stop(w->subscriber);
    door_free(door);
}

static void topics_that_come_later_are_read_when_they_are_there(void **state)
{
    struct world *w = *state;
    subscriber_make(w, w->s.kafka.brokers);
    const struct partition_start list[] = {{0, 0, 0, 1}, {1, 1, 0, 1}};
    subscriber_assign(w->subscriber, list, 2);
    assert_nothing_more(w);
    topics_make(w);
    publish(w, 1, 1, 1, 4);
    assert_counts(w, 1, 4, 1);
}

static bool is_full(void *arg)
{
    struct world *w = arg;
    return queue_count(&w->lane->inbox) == LANE_INBOX_MAX;
}

static void a_full_inbox_holds_the_reading_back_and_loses_nothing(void **state)
{
    enum { COUNT = LANE_INBOX_MAX + 700 };
    struct world *w = *state;
    publish(w, 0, 0, 1, COUNT);
    assign(w, 0, 0, 0, 1);
    assert_true(scratch_await(is_full, w, WAIT_MS));
    assert_counts(w, 1, COUNT, 1);
    assert_nothing_more(w);
}

/* ---- what works ---- */

static void an_event_is_handed_over_decoded_with_its_place(void **state)
{
    struct world *w = *state;
    begin(w);
    put_event(w, 1, 1, "test.counted", 17);
    commit(w);
    assign(w, 1, 1, 0, 9);

    struct lane_item *item = need(w);
    const struct event *e = item->event;
    assert_ptr_equal(e->topic, w->consumes[1]);
    assert_int_equal(e->partition, 1);
    assert_int_equal(e->offset, 0);
    assert_string_equal(e->key, "42");
    assert_string_equal(e->traceparent, TRACE);
    assert_string_equal(e->source, "other-svc");
    assert_string_equal(e->type, "test.counted");
    assert_true(str_eq(e->subject, "a-subject"));
    assert_int_equal(e->lane, 3);
    assert_int_equal(e->part_seq, 17);
    assert_ptr_equal(item->verb, &COUNTED);
    assert_int_equal(((struct counted *)item->args)->n, 17);
    assert_int_equal(item->customer_id, 42);
    assert_int_equal(item->generation, 9);
    assert_true(e->raw.len > 0 && e->raw.data[0] == '{');
    lane_item_free(item);
}

static void an_event_that_nobody_acts_on_only_has_its_place(void **state)
{
    struct world *w = *state;
    begin(w);
    put_event(w, 0, 0, "test.unknown", 5);
    commit(w);
    assign(w, 0, 0, 0, 1);
    struct lane_item *item = need(w);
    assert_null(item->verb);
    assert_null(item->unreadable);
    assert_int_equal(item->event->part_seq, 5);
    assert_int_equal(item->event->lane, 3);
    assert_int_equal(item->event->raw.len, 0);
    lane_item_free(item);
}

static void what_was_not_committed_is_not_read(void **state)
{
    struct world *w = *state;
    begin(w);
    put_event(w, 0, 0, "test.counted", 1);
    kafka_producer_drop(w->producer);
    topics_make(w); /* the same transactional id: ends what the other began */
    publish(w, 0, 0, 2, 3);
    assign(w, 0, 0, 0, 1);
    assert_counts(w, 2, 3, 1);
    assert_nothing_more(w);
}

static void an_assignment_goes_on_where_it_is_or_begins_anew(void **state)
{
    struct world *w = *state;
    publish(w, 0, 0, 1, 10);
    publish(w, 1, 0, 1, 10);
    assign(w, 0, 0, 0, 1);
    assert_counts(w, 1, 10, 1);

    assign(w, 0, 0, 4, 1); /* committed up to there; the rest is under way */
    assert_nothing_more(w);
    publish(w, 0, 0, 11, 12);
    assert_counts(w, 11, 12, 1);

    assign(w, 0, 0, 4, 2); /* taken again: what was under way is void */
    assert_counts(w, 5, 10, 2);
    assert_counts(w, 11, 12, 2);

    subscriber_assign(w->subscriber, NULL, 0);
    assert_state(w, "reading 0 partitions");
    publish(w, 0, 0, 13, 14);
    assert_nothing_more(w);
}

static bool is_caught_up(void *arg)
{
    return metric(arg, "consumer_lag", 0) == 0;
}

static void lag_is_nothing_when_all_is_handed_over(void **state)
{
    struct world *w = *state;
    publish(w, 0, 0, 1, 20);
    assign(w, 0, 0, 0, 1);
    assert_counts(w, 1, 20, 1);
    assert_true(scratch_await(is_caught_up, w, WAIT_MS));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define TEST_BARE(name) cmocka_unit_test_setup_teardown(name, set_up_bare, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_can_not_be_decoded_is_handed_over_with_its_reason_and_its_bytes),
        TEST(a_key_or_trace_that_is_no_plain_text_is_as_if_it_were_absent),
        TEST(an_offset_that_is_gone_stops_its_partition_and_only_it),
        TEST_BARE(a_broker_that_is_away_is_waited_for),
        TEST_BARE(topics_that_come_later_are_read_when_they_are_there),
        TEST(a_full_inbox_holds_the_reading_back_and_loses_nothing),
        TEST(an_event_is_handed_over_decoded_with_its_place),
        TEST(an_event_that_nobody_acts_on_only_has_its_place),
        TEST(what_was_not_committed_is_not_read),
        TEST(an_assignment_goes_on_where_it_is_or_begins_anew),
        TEST(lag_is_nothing_when_all_is_handed_over),
    };
    return cmocka_run_group_tests(tests, NULL, await_kafka_handles);
}
