/* lane.h on a real PostgreSQL, with a service of one table. Its tests are the promises of architecture.md sections 4 and 5: one
 * commit for many, no neighbour harmed, every event once and in its place, and an answer that is true whatever happens to
 * the connection. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "support/cutter.h"
#include "support/need_env.h"
#include "support/stand.h"
#include "svc/customers.h"
#include "svc/lane_private.h"
#include "unit/unit.h"

/* ================ the service ================ */

enum { TOO_LARGE = 1000, ROWS_MAX = LANE_BATCH_MAX, CUSTOMER = 7 };

struct put {
    int64_t id, n;
};
struct puts_batch {
    struct put items[ROWS_MAX];
    size_t count;
};

static const struct db_stmt INSERT = {"thing_insert",
                                      "INSERT INTO thing (id, n) SELECT * FROM unnest($1::bigint[], $2::bigint[])"};

static void save(struct batch *b)
{
    const struct puts_batch *s = b->state;
    struct db_array id, n;
    db_array_init(&id);
    db_array_init(&n);
    for (size_t i = 0; i < s->count; i++) {
        db_array_i64(&id, s->items[i].id);
        db_array_i64(&n, s->items[i].n);
    }
    struct db_args args = db_args(b->arena);
    db_arg_array(&args, &id);
    db_arg_array(&args, &n);
    db_array_done(&id);
    db_array_done(&n);
    if (s->count > 0)
        db_enqueue(b->db, &INSERT, &args, NULL, NULL);
}

static void decide_put(struct batch *b, struct lane_item *it)
{
    const struct put *put = it->args;
    struct puts_batch *s = b->state;
    if (put->n < 0) {
        it->err = fault_set(&it->fault, ERR_CONFLICT, "less than nothing");
        return;
    }
    s->items[s->count++] = *put;
    const char *id = arena_printf(b->arena, "%" PRId64, put->id);
    batch_emit(b, "thing.put", CUSTOMER, id, str_of(arena_printf(b->arena, "{\"id\":%s}", id)));
}

static void answer(struct lane_item *it)
{
    if (it->replayed)
        call_reply_header(it->call, "Idempotency-Replayed", "true");
    struct json_out o = json_out(&it->call->out);
    json_open(&o, NULL, '{');
    json_put_uuid(&o, "id", it->resource_id);
    json_close(&o, '}');
    call_reply(it->call, 200);
    call_finish(it->call, ERR_OK);
}

static void decide_forget(struct batch *b, struct lane_item *it)
{
    batch_forget_key(b, uuid_of_int(((const struct put *)it->args)->id));
}

static void want_customer(struct batch *b, struct lane_item *it)
{
    customers_want(b, ((const struct put *)it->args)->id);
}

static void decide_for_customer(struct batch *b, struct lane_item *it)
{
    if (!customers_known(b, ((const struct put *)it->args)->id))
        it->err = fault_set(&it->fault, ERR_NOT_FOUND, "nobody has that number");
}

static enum err decode_put(const struct event *e, struct arena *arena, void **ret_args, int64_t *ret_customer_id,
                           struct fault *fault)
{
    struct put *put = ARENA_NEW(arena, struct put);
    *ret_args = put;
    *ret_customer_id = CUSTOMER;
    if (json_get_int(e->data, "id", &put->id) && json_get_int(e->data, "n", &put->n))
        return ERR_OK;
    return fault_set(fault, ERR_INVALID, "\"id\" or \"n\" is missing");
}

static const struct lane_ops OPS = {.state_size = sizeof(struct puts_batch), .save = save};
static const struct lane_verb PUT = {.name = "put", .decide = decide_put, .answer = answer};
static const struct lane_verb FORGET = {.name = "forget", .decide = decide_forget, .answer = answer};
static const struct lane_verb PATIENT = {
    .name = "patient", .want = want_customer, .decide = decide_for_customer, .answer = answer};

static enum err command(struct call *call, const struct lane_verb *verb, int patience_ms)
{
    struct put *put = ARENA_NEW(&call->arena, struct put);
    if (!str_to_i64(call->params[0], &put->id) ||
        (call->params[1].len > 0 && call->params[1].data[0] != '-' && !str_to_i64(call->params[1], &put->n)))
        return fault_set(&call->fault, ERR_NOT_FOUND, "no number");
    if (call->params[1].len > 0 && call->params[1].data[0] == '-')
        put->n = -1;
    struct lane_item *item = service_command(call, verb, put, CUSTOMER, uuid_of_int(put->id),
                                             arena_printf(&call->arena, "n=%" PRId64, put->n));
    if (patience_ms > 0)
        item->patient_until = clock_mono_ns() + patience_ms * NS_PER_MS;
    return service_submit(call, item, NULL);
}

static enum err on_put(struct call *call)
{
    return command(call, &PUT, 0);
}

static enum err on_forget(struct call *call)
{
    return command(call, &FORGET, 0);
}

static enum err on_patient(struct call *call)
{
    return command(call, &PATIENT, CUSTOMERS_PATIENCE_MS);
}

static const char *const CONSUMES[] = {"other-events", "auth-events", NULL};
static const struct event_kind KINDS[] = {
    {"other.put", decode_put, &PUT},
    {"user.registered", customers_decode, &CUSTOMERS_REGISTERED},
    {.type = NULL},
};
static const struct http_route ROUTES[] = {
    {HTTP_POST, "/things/{id}/{n}", WHO_ANYONE, on_put, ROUTE_IDEMPOTENT | ROUTE_OPTIONAL_BODY},
    {HTTP_POST, "/forget/{id}", WHO_ANYONE, on_forget, ROUTE_OPTIONAL_BODY},
    {HTTP_POST, "/patient/{id}", WHO_ANYONE, on_patient, ROUTE_OPTIONAL_BODY},
    {HTTP_GET, NULL, WHO_ANYONE, NULL, 0},
};
static const struct migration MIGRATIONS[] = {
    {1, "thing", "CREATE TABLE thing (id bigint PRIMARY KEY, n bigint NOT NULL CHECK (n < 1000))"},
    {0},
};
static const struct service_spec SPEC = {
    .name = "lane-svc",
    .schema = "lanes",
    .topic = "lane-events",
    .consumes = CONSUMES,
    .kinds = KINDS,
    .ops = &OPS,
    .routes = ROUTES,
    .migrations = MIGRATIONS,
};

/* ================ its tests ================ */

static int set_up(void **state)
{
    struct stand *st = mem_alloc(sizeof *st);
    stand_open(st, &SPEC, "lane", NULL);
    *state = st;
    return 0;
}

static int tear_down(void **state)
{
    stand_close(*state);
    mem_free(*state);
    return 0;
}

static int send_put(struct stand *st, int64_t id, int64_t n, const char *key)
{
    char path[64];
    snprintf(path, sizeof path, "/things/%" PRId64 "/%" PRId64, id, n);
    return stand_send(st, &(struct ask){.method = "POST", .path = path, .key = key});
}

static struct answer put(struct stand *st, int64_t id, int64_t n, const char *key)
{
    return stand_hear(st, send_put(st, id, n, key));
}

static void feed_put(struct stand *st, int64_t id, int64_t n)
{
    char data[64];
    snprintf(data, sizeof data, "{\"id\":%" PRId64 ",\"n\":%" PRId64 "}", id, n);
    stand_feed(st, &(struct feed){.topic = "other-events", .type = "other.put", .customer_id = CUSTOMER, .data = data});
}

static int64_t things(struct stand *st)
{
    return stand_number(st, "SELECT count(*) FROM thing");
}

static double metric(struct stand *st, const char *series)
{
    return scratch_metric(st->s.metrics, series);
}

/* Dense, without a double, in each lane and in each (lane, topic, partition); and the lane rows know how far. */
static void assert_outbox_is_dense(struct stand *st)
{
    assert_int_equal(
        stand_number(st, "SELECT count(*) FROM (SELECT seq, row_number() OVER (PARTITION BY lane ORDER BY seq) r "
                         "FROM outbox) x WHERE seq <> r"),
        0);
    assert_int_equal(stand_number(st, "SELECT count(*) FROM (SELECT part_seq, row_number() OVER (PARTITION BY lane, "
                                      "aggregatetype, partition ORDER BY seq) r FROM outbox) x WHERE part_seq <> r"),
                     0);
    assert_int_equal(stand_number(st,
                                  "SELECT count(*) FROM lane l WHERE last_seq <> (SELECT count(*) FROM outbox o WHERE "
                                  "o.lane = l.lane)"),
                     0);
    assert_int_equal(
        stand_number(st, "SELECT count(*) FROM lane_counter c WHERE part_seq <> (SELECT count(*) FROM outbox o "
                         "WHERE o.lane = c.lane AND o.aggregatetype = c.topic AND o.partition = c.partition)"),
        0);
    assert_int_equal(
        stand_number(st, "SELECT count(*) FROM thing t FULL JOIN (SELECT (payload::json->>'subject')::bigint id "
                         "FROM outbox WHERE type = 'thing.put') o USING (id) WHERE t.id IS NULL OR o.id IS NULL"),
        0);
    assert_int_equal(stand_number(st, "SELECT count(*) FROM outbox WHERE type = 'thing.put'"), things(st));
}

/* ---- batches ---- */

static void a_refused_command_changes_nothing_and_its_neighbours_go_on(void **state)
{
    struct stand *st = *state;
    stand_hold(st);
    int before = send_put(st, 1, 1, NULL), refused = send_put(st, 2, -1, "key-refused"),
        after = send_put(st, 3, 3, NULL);
    stand_await_inbox(st, 3);
    stand_release(st);

    assert_int_equal(stand_hear(st, before).status, 200);
    struct answer no = stand_hear(st, refused);
    assert_int_equal(no.status, 409);
    assert_string_equal(stand_member(st, no.body, "detail"), "less than nothing");
    assert_int_equal(stand_hear(st, after).status, 200);
    assert_int_equal(things(st), 2);
    assert_int_equal(stand_number(st, "SELECT count(*) FROM idempotency"), 0);
    assert_outbox_is_dense(st);
}

static void refused_commands_alone_cost_no_commit(void **state)
{
    struct stand *st = *state;
    const char *batch = stand_text(st, "SELECT batch_id FROM lane");
    for (int i = 0; i < 5; i++)
        assert_int_equal(put(st, i, -1, NULL).status, 409);
    assert_string_equal(stand_text(st, "SELECT batch_id FROM lane"), batch);
}

static void the_command_that_breaks_a_check_is_found_and_the_rest_commits(void **state)
{
    enum { COUNT = 10, CULPRIT = 4 };
    struct stand *st = *state;
    int sockets[COUNT];
    stand_hold(st);
    for (int i = 0; i < COUNT; i++)
        sockets[i] = send_put(st, i, i == CULPRIT ? TOO_LARGE : i, NULL);
    feed_put(st, 100, 1);
    stand_await_inbox(st, COUNT + 1);
    stand_release(st);

    for (int i = 0; i < COUNT; i++) {
        struct answer a = stand_hear(st, sockets[i]);
        assert_int_equal(a.status, i == CULPRIT ? 500 : 200);
        if (i == CULPRIT)
            assert_null(strstr(a.body, "violates")); /* nothing of the database is shown */
    }
    stand_settle(st);
    assert_int_equal(things(st), COUNT);
    assert_int_equal(stand_number(st, "SELECT count(*) FROM thing WHERE id = %d", CULPRIT), 0);
    assert_int_equal(stand_number(st, "SELECT count(*) FROM parked_event"), 0);
    assert_int_equal(stand_number(st, "SELECT sum(next_offset) FROM consumer_position"), 1);
    assert_outbox_is_dense(st);
}

static void an_event_that_breaks_a_check_is_parked_and_those_around_it_are_applied(void **state)
{
    struct stand *st = *state;
    stand_hold(st);
    for (int i = 0; i < 5; i++)
        feed_put(st, i, i == 2 ? TOO_LARGE : i);
    stand_await_inbox(st, 5);
    stand_release(st);
    stand_settle(st);

    assert_int_equal(things(st), 4);
    assert_string_equal(stand_text(st, "SELECT type || ' ' || record_offset || ' ' || record_key FROM parked_event"),
                        "other.put 2 7");
    assert_non_null(strstr(stand_text(st, "SELECT reason FROM parked_event"), "thing"));
    assert_string_equal(stand_text(st, "SELECT aggregatetype || ' ' || type FROM outbox WHERE type <> 'thing.put'"),
                        "other-events.dlq event.parked");
    assert_int_equal(stand_number(st, "SELECT max(next_offset) FROM consumer_position"), 5);
    assert_int_equal(stand_number(st, "SELECT part_seq FROM consumer_sequence"), 5);
    assert_int_equal((int)metric(st, "lane_parked_total"), 1);
    assert_outbox_is_dense(st);
}

static void events_that_can_not_be_read_or_are_refused_are_parked_with_their_reason(void **state)
{
    struct stand *st = *state;
    stand_hold(st);
    feed_put(st, 1, 1);
    feed_put(st, 2, -1);
    stand_feed(st, &(struct feed){
                       .topic = "other-events", .type = "other.put", .customer_id = CUSTOMER, .data = "{\"id\":3}"});
    stand_feed(st, &(struct feed){.topic = "other-events", .customer_id = CUSTOMER, .raw = "no JSON \xff\x01"});
    feed_put(st, 5, 5);
    stand_await_inbox(st, 5);
    stand_release(st);
    stand_settle(st);

    assert_int_equal(things(st), 2);
    assert_string_equal(stand_text(st, "SELECT string_agg(reason, '; ' ORDER BY record_offset) FROM parked_event "
                                       "WHERE record_offset < 3"),
                        "less than nothing; \"id\" or \"n\" is missing");
    assert_int_equal(stand_number(st, "SELECT count(*) FROM parked_event WHERE record_offset = 3 AND type = ''"), 1);
    assert_int_equal(stand_number(st, "SELECT count(*) FROM outbox WHERE aggregatetype = 'other-events.dlq'"), 3);
    assert_int_equal(stand_number(st, "SELECT max(next_offset) FROM consumer_position"), 5);
    assert_int_equal(stand_number(st, "SELECT part_seq FROM consumer_sequence"), 4);
    assert_outbox_is_dense(st);
}

static void what_waits_together_is_committed_together(void **state)
{
    enum { COUNT = 100 };
    struct stand *st = *state;
    int sockets[COUNT];
    stand_hold(st);
    for (int i = 0; i < COUNT; i++)
        sockets[i] = send_put(st, i, i, NULL);
    stand_await_inbox(st, COUNT);
    stand_release(st);

    for (int i = 0; i < COUNT; i++)
        assert_int_equal(stand_hear(st, sockets[i]).status, 200);
    assert_int_equal(things(st), COUNT);
    assert_int_equal(stand_number(st, "SELECT count(DISTINCT xmin::text) FROM thing"), 1);
    assert_outbox_is_dense(st);
}

static void a_lane_that_is_stopped_finishes_what_it_has(void **state)
{
    enum { COUNT = 20 };
    struct stand *st = *state;
    int sockets[COUNT];
    for (int i = 0; i < COUNT; i++)
        sockets[i] = send_put(st, i, i, NULL);
    assert_int_equal(stand_hear(st, sockets[0]).status, 200);
    lane_stop(st->service.lane);
    int done = 1;
    for (int i = 1; i < COUNT; i++) {
        int status = stand_hear(st, sockets[i]).status;
        assert_true(status == 200 || status == 503);
        done += status == 200;
    }
    assert_int_equal(things(st), done);
    assert_outbox_is_dense(st);
}

static void a_customer_who_is_on_his_way_is_waited_for_and_one_who_never_comes_is_not_found(void **state)
{
    struct stand *st = *state;
    const struct ask for_5 = {.method = "POST", .path = "/patient/5"}, for_6 = {.method = "POST", .path = "/patient/6"};
    int comes = stand_send(st, &for_5), never = stand_send(st, &for_6);
    stand_settle(st);
    stand_feed(st, &(struct feed){
                       .topic = "auth-events",
                       .type = "user.registered",
                       .customer_id = 5,
                       .data = "{\"customerId\":5,\"username\":\"five\",\"fullName\":\"Five\",\"role\":\"CUSTOMER\"}"});
    assert_int_equal(stand_hear(st, comes).status, 200);
    mono_ns_t start = clock_mono_ns();
    assert_int_equal(stand_hear(st, never).status, 404);
    assert_true(clock_mono_ns() - start < 2 * CUSTOMERS_PATIENCE_MS * NS_PER_MS);
    assert_int_equal(stand_number(st, "SELECT count(*) FROM parked_event"), 0);
}

/* ---- idempotency ---- */

static void a_key_stands_for_one_effect_whether_it_is_repeated_at_once_or_later(void **state)
{
    struct stand *st = *state;
    stand_hold(st);
    int first = send_put(st, 1, 1, "key-00001");
    stand_await_inbox(st, 1); /* so that they come in this order */
    int again = send_put(st, 2, 1, "key-00001");
    stand_await_inbox(st, 2);
    int other = send_put(st, 3, 3, "key-00001");
    stand_await_inbox(st, 3);
    stand_release(st);

    struct answer a[] = {stand_hear(st, first), stand_hear(st, again), stand_hear(st, other),
                         put(st, 4, 1, "key-00001"), put(st, 5, 5, "key-00001")};
    static const struct {
        int status;
        bool replayed;
        const char *why;
    } ROWS[] = {
        {200, false, "the first"},
        {200, true, "the same in the same batch"},
        {422, false, "another meaning in the same batch"},
        {200, true, "the same in a later batch"},
        {422, false, "another meaning in a later batch"},
    };
    const char *made = stand_member(st, a[0].body, "id");
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        ROW_CHECK(a[i].status == ROWS[i].status, ROWS[i].why);
        ROW_CHECK(a[i].replayed == ROWS[i].replayed, ROWS[i].why);
        ROW_CHECK(!a[i].replayed || strcmp(stand_member(st, a[i].body, "id"), made) == 0, ROWS[i].why);
    }
    assert_int_equal(things(st), 1);
    assert_outbox_is_dense(st);
}

static void a_refused_command_leaves_its_key_free(void **state)
{
    struct stand *st = *state;
    assert_int_equal(put(st, 1, -1, "key-00002").status, 409);
    struct answer a = put(st, 1, 1, "key-00002");
    assert_int_equal(a.status, 200);
    assert_false(a.replayed);
}

static void a_key_that_is_forgotten_can_be_used_again(void **state)
{
    struct stand *st = *state;
    assert_int_equal(put(st, 1, 1, "key-00003").status, 200);
    assert_int_equal(stand_ask(st, &(struct ask){.method = "POST", .path = "/forget/1"}).status, 200);
    struct answer a = put(st, 2, 2, "key-00003");
    assert_int_equal(a.status, 200);
    assert_false(a.replayed);
    assert_int_equal(things(st), 2);
}

/* ---- the numbers of events ---- */

static void an_event_that_was_applied_is_passed_over_when_it_comes_again(void **state)
{
    struct stand *st = *state;
    feed_put(st, 1, 1);
    feed_put(st, 2, 2);
    stand_settle(st);
    static const int64_t OLD[] = {1, 2, 2, 1};
    for (size_t i = 0; i < LENGTH_OF(OLD); i++)
        stand_feed(st, &(struct feed){.topic = "other-events",
                                      .type = "other.put",
                                      .customer_id = CUSTOMER,
                                      .data = "{\"id\":9,\"n\":9}",
                                      .part_seq = OLD[i]});
    feed_put(st, 3, 3);
    stand_settle(st);
    assert_int_equal(things(st), 3);
    assert_int_equal(stand_number(st, "SELECT max(next_offset) FROM consumer_position"), 7);
    assert_int_equal(stand_number(st, "SELECT part_seq FROM consumer_sequence"), 3);
    assert_int_equal((int)metric(st, "lane_partition_stops_total"), 0);
}

/* Stopped partitions are let go and taken anew within a second, to be read again from where they were. */
static void assert_partition_stops(struct stand *st, const struct feed *wrong)
{
    stand_hold(st);
    stand_feed(st, wrong);
    feed_put(st, 11, 1);
    int neighbour = send_put(st, 12, 12, NULL);
    stand_await_inbox(st, 3);
    stand_release(st);
    assert_int_equal(stand_hear(st, neighbour).status, 200);

    assert_int_equal(things(st), 2);
    assert_int_equal(stand_number(st, "SELECT max(next_offset) FROM consumer_position"), 1);
    assert_int_equal(stand_number(st, "SELECT part_seq FROM consumer_sequence"), 1);
    assert_int_equal((int)metric(st, "lane_partition_stops_total"), 1);
    assert_outbox_is_dense(st);
}

static bool is_taken_anew(void *arg)
{
    struct stand *st = arg;
    unsigned before = stand_place(st, "other-events", CUSTOMER)->generation;
    stand_settle(st);
    return stand_place(st, "other-events", CUSTOMER)->generation > before;
}

static void a_gap_stops_its_partition_and_nobody_else(void **state)
{
    struct stand *st = *state;
    feed_put(st, 1, 1);
    stand_settle(st);
    assert_partition_stops(st, &(struct feed){.topic = "other-events",
                                              .type = "other.put",
                                              .customer_id = CUSTOMER,
                                              .data = "{\"id\":10,\"n\":1}",
                                              .part_seq = 3});
    assert_true(scratch_await(is_taken_anew, st, 3000));
    feed_put(st, 2, 2); /* what was missing has come */
    feed_put(st, 3, 3);
    stand_settle(st);
    assert_int_equal(things(st), 4);
    assert_int_equal(stand_number(st, "SELECT part_seq FROM consumer_sequence"), 3);
}

static void an_unknown_epoch_stops_its_partition(void **state)
{
    struct stand *st = *state;
    feed_put(st, 1, 1);
    stand_settle(st);
    assert_partition_stops(st, &(struct feed){.topic = "other-events",
                                              .type = "other.put",
                                              .customer_id = CUSTOMER,
                                              .data = "{\"id\":10,\"n\":1}",
                                              .epoch = uuid_random()});
}

static void events_of_kinds_that_are_not_ours_keep_their_place_and_cost_no_commit(void **state)
{
    struct stand *st = *state;
    const struct feed none = {.topic = "other-events", .type = "other.thing", .customer_id = CUSTOMER, .data = "{}"};
    stand_hold(st);
    stand_feed(st, &none);
    stand_feed(st, &none);
    stand_release(st);
    feed_put(st, 1, 1);
    stand_settle(st);
    stand_hold(st);
    stand_feed(st, &none);
    feed_put(st, 2, TOO_LARGE); /* a rollback in between */
    stand_feed(st, &none);
    feed_put(st, 3, 3);
    stand_await_inbox(st, 4);
    stand_release(st);
    stand_settle(st);
    assert_int_equal(things(st), 2);
    assert_int_equal(stand_number(st, "SELECT part_seq FROM consumer_sequence"), 7);
    assert_int_equal((int)metric(st, "lane_partition_stops_total"), 0);
}

/* ---- somebody else moved our rows ---- */

static void a_position_that_somebody_moved_drops_its_partition_and_the_rest_commits(void **state)
{
    struct stand *st = *state;
    feed_put(st, 1, 1);
    stand_settle(st);
    stand_hold(st);
    feed_put(st, 2, 2);
    int command = send_put(st, 3, 3, NULL);
    stand_await_inbox(st, 2);
    stand_run(st, "UPDATE consumer_position SET next_offset = 41 WHERE topic = 'other-events' AND partition = %d",
              stand_partition(CUSTOMER));
    stand_release(st);

    assert_int_equal(stand_hear(st, command).status, 200);
    stand_settle(st);
    assert_int_equal(stand_number(st, "SELECT count(*) FROM thing WHERE id = 2"), 0);
    assert_int_equal(things(st), 2);
    assert_int_equal(stand_place(st, "other-events", CUSTOMER)->next_offset, 41);
    feed_put(st, 2, 2);
    stand_settle(st);
    assert_int_equal(stand_number(st, "SELECT max(next_offset) FROM consumer_position"), 42);
    assert_int_equal(things(st), 3);
    assert_outbox_is_dense(st);
}

static void a_lane_row_that_somebody_moved_commits_nothing_more_of_ours(void **state)
{
    struct stand *st = *state;
    assert_int_equal(put(st, 1, 1, NULL).status, 200);
    stand_hold(st);
    int a = send_put(st, 2, 2, NULL), b = send_put(st, 3, 3, NULL);
    stand_await_inbox(st, 2);
    stand_run(st, "UPDATE lane SET batch_id = gen_random_uuid()");
    stand_release(st);

    assert_int_equal(stand_hear(st, a).status, 503);
    assert_int_equal(stand_hear(st, b).status, 503);
    assert_int_equal(things(st), 1);
    stand_settle(st);
    assert_int_equal(put(st, 2, 2, NULL).status, 200);
    assert_outbox_is_dense(st);
}

/* ---- the unknown commit ---- */

struct cut_stand {
    struct stand st; /* first: what the helpers take */
    struct cutter *cutter;
};

static int set_up_cut(void **state)
{
    struct cut_stand *x = mem_alloc(sizeof *x);
    const char *url = need_env("TEST_DB_URL"), *at = strrchr(url, '@'), *path = strrchr(url, '/');
    char server[64];
    assert_true(at != NULL && path > at);
    snprintf(server, sizeof server, "%.*s", (int)(path - at - 1), at + 1);
    x->cutter = cutter_new(server);
    stand_open_by(&x->st, &SPEC, "lane", NULL, cutter_address(x->cutter));
    *state = x;
    return 0;
}

static int tear_down_cut(void **state)
{
    struct cut_stand *x = *state;
    stand_close(&x->st);
    cutter_free(x->cutter);
    mem_free(x);
    return 0;
}

struct sent {
    int64_t id;
    int socket, status;
};

static int64_t count_there(struct stand *st, const struct sent *sent, size_t count, int status, int64_t *ret_answered)
{
    struct buf ids;
    buf_init(&ids);
    *ret_answered = 0;
    for (size_t i = 0; i < count; i++) {
        if (sent[i].status != status)
            continue;
        buf_printf(&ids, ",%" PRId64, sent[i].id);
        ++*ret_answered;
    }
    int64_t there = stand_number(st, "SELECT count(*) FROM thing WHERE id IN (-1%s)", buf_cstr(&ids));
    buf_done(&ids);
    return there;
}

/* 200: it is there; 503: it is not; 504: either. */
static void hear_true_answers(struct stand *st, struct sent *sent, size_t count)
{
    int64_t done, not_done, there;
    for (size_t i = 0; i < count; i++) {
        struct answer answer = stand_hear(st, sent[i].socket);
        sent[i].status = answer.status;
        assert_false(answer.replayed); /* it was asked for once, so it was done once */
        assert_true(sent[i].status == 200 || sent[i].status == 503 || sent[i].status == 504);
    }
    there = count_there(st, sent, count, 200, &done);
    assert_int_equal(there, done);
    there = count_there(st, sent, count, 503, &not_done);
    assert_int_equal(there, 0);
}

static const struct {
    enum cut cut;
    int status;
    const char *why;
} CUTS[] = {
    {CUT_BEFORE, 200, "the lane row says that it is out: it is decided again"},
    {CUT_AFTER, 200, "the lane row says that it is in"},
    {CUT_BLIND, 200, "nobody knows, and the lane row tells"},
    {CUT_BEFORE_HUNG, 200,
     "the server ends the old session when it has been idle in its transaction for three seconds"},
    {CUT_AFTER_HUNG, 504, "the old session keeps the lane's lock for longer than anybody waits"},
};

static void a_connection_that_is_cut_at_the_commit_gives_one_true_answer(void **state)
{
    enum { COUNT = 3 };
    struct cut_stand *x = *state;
    struct stand *st = &x->st;
    int64_t id = 0;
    for (size_t i = 0; i < LENGTH_OF(CUTS); i++) {
        struct sent sent[COUNT];
        stand_settle(st);
        stand_hold(st);
        for (int k = 0; k < COUNT; k++, id++)
            sent[k] = (struct sent){id, send_put(st, id, k, NULL), 0};
        feed_put(st, 1000 + id, 1);
        stand_await_inbox(st, COUNT + 1);
        cutter_arm(x->cutter, CUTS[i].cut);
        stand_release(st);
        hear_true_answers(st, sent, COUNT);
        for (int k = 0; k < COUNT; k++)
            ROW_CHECK(sent[k].status == CUTS[i].status, CUTS[i].why);
        assert_int_equal(cutter_cuts(x->cutter), (int)i + 1);
        assert_outbox_is_dense(st);
    }
}

/* Batches keep coming while their connection is cut, at every COMMIT; a batch that is in was never run twice. */
static void commits_that_are_cut_one_after_the_other_lose_and_double_nothing(void **state)
{
    enum { ROUNDS = 12, COUNT = 8 };
    static const enum cut KINDS_OF_CUT[] = {CUT_BEFORE, CUT_AFTER, CUT_BLIND};
    struct cut_stand *x = *state;
    struct stand *st = &x->st;
    for (int round = 0; round < ROUNDS; round++) {
        struct sent sent[COUNT];
        char keys[COUNT][32];
        stand_settle(st);
        cutter_arm(x->cutter, KINDS_OF_CUT[round % 3]);
        for (int k = 0; k < COUNT; k++) {
            snprintf(keys[k], sizeof keys[k], "key-%04d-%d", round, k);
            sent[k] = (struct sent){round * COUNT + k, send_put(st, round * COUNT + k, k, keys[k]), 0};
        }
        hear_true_answers(st, sent, COUNT);
        stand_settle(st);
        for (int k = 0; k < COUNT; k++) {
            /* Who came while the lane was away was turned away, and left no key behind. */
            struct answer again = put(st, sent[k].id, k, keys[k]);
            assert_int_equal(again.status, 200);
            assert_int_equal(again.replayed, sent[k].status == 200);
        }
    }
    assert_int_equal(things(st), ROUNDS * COUNT);
    assert_int_equal(cutter_cuts(x->cutter), ROUNDS);
    assert_outbox_is_dense(st);
}

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

static void kill_lane_sessions(struct stand *st)
{
    stand_run(st, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND "
                  "application_name = 'lane-svc' AND pid <> pg_backend_pid()");
}

/* TEST_SEED= repeats a run. */
static uint32_t seed_of_run(void)
{
    const char *given = getenv("TEST_SEED");
    uint32_t seed = given != NULL ? (uint32_t)strtoul(given, NULL, 10) : (uint32_t)clock_now_us();
    print_message("TEST_SEED=%u\n", seed);
    return seed;
}

static void sessions_that_are_killed_at_any_moment_give_every_command_one_true_answer(void **state)
{
    enum { ROUNDS = 40, COUNT = 24, MOMENT_MAX_US = 6000 };
    struct stand *st = *state;
    uint32_t seed = seed_of_run();
    int counts[3] = {0};
    int64_t fed = 0;
    for (int round = 0; round < ROUNDS; round++) {
        struct sent sent[COUNT];
        stand_settle(st);
        for (int k = 0; k < COUNT; k++)
            sent[k] = (struct sent){round * COUNT + k, send_put(st, round * COUNT + k, k, NULL), 0};
        /* Read again from where the database says, as the subscriber would. */
        int64_t next = stand_place(st, "other-events", CUSTOMER)->part_seq[1];
        assert_true(next <= fed);
        for (fed = next; fed < 5 * (round + 1); fed++)
            feed_put(st, 100000 + fed, 1);
        nanosleep(&(struct timespec){.tv_nsec = next_random(&seed) % MOMENT_MAX_US * 1000}, NULL);
        kill_lane_sessions(st);
        hear_true_answers(st, sent, COUNT);
        for (int k = 0; k < COUNT; k++)
            counts[sent[k].status == 200 ? 0 : sent[k].status == 503 ? 1 : 2]++;
    }
    print_message("done %d, not done %d, unknown %d\n", counts[0], counts[1], counts[2]);
    assert_true(counts[0] > 0);
    stand_settle(st);
    int64_t applied = stand_place(st, "other-events", CUSTOMER)->part_seq[1];
    assert_int_equal(stand_number(st, "SELECT count(*) FROM thing WHERE id >= 100000"), applied);
    assert_int_equal(stand_number(st, "SELECT count(*) FROM parked_event"), 0);
    assert_outbox_is_dense(st);
}

/* ---- two processes ---- */

static size_t count_held(const struct stand *st)
{
    size_t held = 0;
    for (size_t t = 0; CONSUMES[t] != NULL; t++)
        for (size_t p = 0; p < STAND_PARTITIONS; p++)
            held += st->places[t][p].held;
    return held;
}

static bool is_shared(void *arg)
{
    struct stand *const *both = arg;
    stand_settle(both[0]);
    stand_settle(both[1]);
    return count_held(both[0]) == STAND_PARTITIONS && count_held(both[1]) == STAND_PARTITIONS;
}

static bool holds_all(void *arg)
{
    struct stand *st = arg;
    stand_settle(st);
    return count_held(st) == 2 * STAND_PARTITIONS;
}

static void two_processes_hold_two_lanes_and_share_the_partitions(void **state)
{
    struct stand *st = *state;
    struct stand *second = mem_alloc(sizeof *second);
    stand_join(second, st);
    assert_int_equal(lane_number(st->service.lane), 1);
    assert_int_equal(lane_number(second->service.lane), 2);
    struct stand *both[] = {st, second};
    assert_true(scratch_await(is_shared, both, 5000));

    int sockets[40];
    for (int i = 0; i < 40; i++)
        sockets[i] = send_put(both[i % 2], i, i, NULL);
    for (int i = 0; i < 40; i++)
        assert_int_equal(stand_hear(both[i % 2], sockets[i]).status, 200);
    assert_int_equal(stand_number(st, "SELECT count(DISTINCT lane) FROM outbox"), 2);
    assert_outbox_is_dense(st);

    stand_close(second);
    mem_free(second);
    assert_true(scratch_await(holds_all, st, 5000));
    feed_put(st, 100, 1);
    stand_settle(st);
    assert_int_equal(things(st), 41);
}

int main(void)
{
#define STORY(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
#define CUT_STORY(test) cmocka_unit_test_setup_teardown(test, set_up_cut, tear_down_cut)
    const struct CMUnitTest tests[] = {
        STORY(a_refused_command_changes_nothing_and_its_neighbours_go_on),
        STORY(refused_commands_alone_cost_no_commit),
        STORY(the_command_that_breaks_a_check_is_found_and_the_rest_commits),
        STORY(an_event_that_breaks_a_check_is_parked_and_those_around_it_are_applied),
        STORY(events_that_can_not_be_read_or_are_refused_are_parked_with_their_reason),
        STORY(what_waits_together_is_committed_together),
        STORY(a_lane_that_is_stopped_finishes_what_it_has),
        STORY(a_customer_who_is_on_his_way_is_waited_for_and_one_who_never_comes_is_not_found),
        STORY(a_key_stands_for_one_effect_whether_it_is_repeated_at_once_or_later),
        STORY(a_refused_command_leaves_its_key_free),
        STORY(a_key_that_is_forgotten_can_be_used_again),
        STORY(an_event_that_was_applied_is_passed_over_when_it_comes_again),
        STORY(a_gap_stops_its_partition_and_nobody_else),
        STORY(an_unknown_epoch_stops_its_partition),
        STORY(events_of_kinds_that_are_not_ours_keep_their_place_and_cost_no_commit),
        STORY(a_position_that_somebody_moved_drops_its_partition_and_the_rest_commits),
        STORY(a_lane_row_that_somebody_moved_commits_nothing_more_of_ours),
        CUT_STORY(a_connection_that_is_cut_at_the_commit_gives_one_true_answer),
        CUT_STORY(commits_that_are_cut_one_after_the_other_lose_and_double_nothing),
        STORY(sessions_that_are_killed_at_any_moment_give_every_command_one_true_answer),
        STORY(two_processes_hold_two_lanes_and_share_the_partitions),
    };
    cmocka_set_test_filter(getenv("TEST_ONLY"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
