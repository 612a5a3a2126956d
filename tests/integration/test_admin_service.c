/* admin-svc on a real PostgreSQL, in the rights of its own role: matches by HTTP; what order-svc and asset-svc say is made here, in any order,
 * and over two lanes of order-svc. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin-svc/api.h"
#include "admin-svc/checks.h"
#include "admin-svc/commands.h"
#include "admin-svc/events.h"
#include "admin-svc/migrations.h"
#include "events/asset_event.h"
#include "support/audit.h"
#include "support/schema.h"
#include "support/stand.h"
#include "unit/unit.h"

static const struct service_spec SPEC = {
    .name = "admin-svc",
    .schema = "admin",
    .topic = "admin-events",
    .consumes = ADMIN_SVC_CONSUMES,
    .kinds = ADMIN_SVC_KINDS,
    .ops = &ADMIN_SVC_OPS,
    .routes = ADMIN_SVC_ROUTES,
    .migrations = ADMIN_SVC_MIGRATIONS,
    .checks = ADMIN_SVC_CHECKS,
    .reread = api_reread,
    .open = api_open,
    .close = api_close,
};
enum { ADMIN = 1, CUSTOMER = 100, SIZE = 10 };
#define MATCHES "/api/v1/admin/matches"

struct world {
    struct stand st; /* first */
    int story;
    char asset[8]; /* this story's */
};

static int open_world(void **state)
{
    struct world *w = mem_alloc(sizeof *w);
    stand_open(&w->st, &SPEC, "admin", "admin");
    *state = w;
    return 0;
}

static int close_world(void **state)
{
    struct world *w = *state;
    stand_close(&w->st);
    mem_free(w);
    return 0;
}

static int next_asset(void **state)
{
    struct world *w = *state;
    snprintf(w->asset, sizeof w->asset, "S%d", ++w->story);
    return 0;
}

static int assert_matches_are_sound(void **state)
{
    struct world *w = *state;
    assert_int_equal(stand_number(&w->st,
                                  "SELECT count(*) FROM match m WHERE legs <> (SELECT count(*) FROM match_leg l WHERE "
                                  "l.match_id = m.match_id) OR legs_open <> (SELECT count(*) FROM match_leg l WHERE "
                                  "l.match_id = m.match_id AND l.state <> 'DONE')"),
                     0);
    assert_int_equal(stand_number(&w->st,
                                  "SELECT count(*) FROM (SELECT seq, row_number() OVER (ORDER BY seq) r FROM outbox) x "
                                  "WHERE seq <> r"),
                     0);
    return 0;
}

/* ---- what comes in ---- */

static struct order_event order(const struct world *w)
{
    time_us_t now = clock_now_us();
    return (struct order_event){.order = {.id = uuid_v7(),
                                          .customer_id = CUSTOMER,
                                          .asset = w->asset,
                                          .side = ORDER_BUY,
                                          .size = SIZE * DECIMAL_ONE,
                                          .price = 5 * DECIMAL_ONE,
                                          .status = ORDER_PENDING,
                                          .version = 2,
                                          .create_date = now,
                                          .update_date = now,
                                          .actor = "CUSTOMER:100"}};
}

static struct order_event filled(struct order_event e, struct uuid match_id, decimal_t size)
{
    e.order.house.size += size;
    e.order.house.value += size * 5;
    e.order.status = e.order.house.size == e.order.size ? ORDER_MATCHED : ORDER_PENDING;
    e.order.version++;
    e.match_id = match_id;
    e.fill = (struct order_fill){size, size * 5};
    return e;
}

static struct order_event canceled(struct order_event e)
{
    e.order.status = ORDER_CANCELED;
    e.order.version++;
    return e;
}

static void feed(struct world *w, int lane, const char *topic, const char *type, struct buf *data)
{
    stand_feed(
        &w->st,
        &(struct feed){.topic = topic, .type = type, .customer_id = CUSTOMER, .lane = lane, .data = buf_cstr(data)});
    buf_done(data);
}

static void feed_order(struct world *w, const char *type, const struct order_event *e)
{
    struct buf data;
    buf_init(&data);
    order_event_encode(&data, e);
    feed(w, 1, "order-events", type, &data);
}

static void feed_refused(struct world *w, struct uuid match_id, struct uuid order_id, const char *code,
                         const struct order_state *o)
{
    struct match_refused refused = {.match_id = match_id, .order_id = order_id, .code = code, .has_order = o != NULL};
    if (o != NULL)
        refused.order = *o;
    struct buf data;
    buf_init(&data);
    match_refused_encode(&data, &refused);
    feed(w, 1, "order-events", "match.refused", &data);
}

static void feed_settled(struct world *w, struct uuid match_id, struct uuid order_id)
{
    struct buf data;
    buf_init(&data);
    asset_outcome_encode(
        &data, &(struct asset_outcome){
                   .order_id = order_id, .customer_id = CUSTOMER, .version = 3, .match_id = match_id, .asset = "TRY"});
    feed(w, 1, "asset-events", "asset.settled", &data);
}

static void feed_barrier(struct world *w, struct uuid id, struct barrier_mark *marks, size_t count)
{
    struct buf data;
    buf_init(&data);
    barrier_reached_encode(&data, &(struct barrier_reached){.barrier_id = id, .marks = marks, .count = count});
    feed(w, 1, "order-events", "barrier.reached", &data);
}

/* ---- requests ---- */

static int send_match(struct world *w, const char *body)
{
    return stand_send(
        &w->st, &(struct ask){.method = "POST", .path = MATCHES, .body = body, .customer_id = ADMIN, .admin = true});
}

static int send_match_of(struct world *w, const struct uuid *ids, size_t count)
{
    struct buf body;
    buf_init(&body);
    buf_str(&body, "{\"orderIds\":[");
    for (size_t i = 0; i < count; i++) {
        char id[UUID_TEXT_MAX];
        uuid_format(ids[i], id);
        buf_printf(&body, "%s\"%s\"", i > 0 ? "," : "", id);
    }
    buf_str(&body, "]}");
    int socket = send_match(w, buf_cstr(&body));
    buf_done(&body);
    return socket;
}

static bool is_open(void *arg)
{
    return stand_number(&((struct world *)arg)->st, "SELECT count(*) FROM match WHERE state <> 'DONE'") == 1;
}

/* The only match under way, once it is there. */
static struct uuid open_match(struct world *w)
{
    struct uuid id;
    assert_true(scratch_await(is_open, w, 5000));
    assert_true(uuid_parse(str_of(stand_text(&w->st, "SELECT match_id FROM match WHERE state <> 'DONE'")), &id));
    return id;
}

static int64_t requests_for(struct world *w, struct uuid match_id)
{
    char id[UUID_TEXT_MAX];
    uuid_format(match_id, id);
    return stand_number(
        &w->st,
        "SELECT count(*) FROM outbox WHERE type = 'match.requested' AND payload::json->'data'->>'matchId' = "
        "'%s'",
        id);
}

static const char *outcomes_of(struct world *w, struct uuid match_id)
{
    char id[UUID_TEXT_MAX];
    uuid_format(match_id, id);
    return stand_text(
        &w->st,
        "SELECT string_agg(concat_ws(' ', coalesce(outcome, state), code, trim_scale(size)), ', ' ORDER BY "
        "position) FROM match_leg WHERE match_id = '%s'",
        id);
}

/* ---- stories ---- */

static void every_statement_can_be_run_and_the_migrations_add_up(void **state)
{
    assert_statements_are_sound(*state, "admin-svc", NULL);
    assert_migrations_add_up(*state);
}

static void each_order_has_its_own_outcome_and_the_match_ends_with_the_last(void **state)
{
    enum { OK, CANCELED, UNKNOWN, PART, DONE_BEFORE, COUNT };
    struct world *w = *state;
    struct order_event e[COUNT];
    struct uuid ids[COUNT];
    for (int i = 0; i < COUNT; i++) {
        e[i] = order(w);
        ids[i] = e[i].order.id;
        if (i != UNKNOWN)
            feed_order(w, "order.opened", &e[i]);
    }
    int waiting = send_match_of(w, ids, COUNT);
    struct uuid match = open_match(w);
    assert_int_equal(requests_for(w, match), COUNT);

    struct order_event ok = filled(e[OK], match, SIZE * DECIMAL_ONE), part = filled(e[PART], match, 4 * DECIMAL_ONE),
                       gone = canceled(e[CANCELED]), before = filled(e[DONE_BEFORE], uuid_v7(), SIZE * DECIMAL_ONE);
    feed_order(w, "order.filled", &ok);
    feed_refused(w, match, ids[CANCELED], "order_not_matchable", &gone.order);
    feed_refused(w, match, ids[UNKNOWN], "order_not_found", NULL);
    feed_order(w, "order.filled", &part);
    feed_refused(w, match, ids[DONE_BEFORE], "already_matched", &before.order);
    feed_settled(w, match, ids[OK]);
    stand_settle(&w->st);
    assert_int_equal(stand_number(&w->st, "SELECT legs_open FROM match WHERE state <> 'DONE'"), 1);
    feed_settled(w, match, ids[PART]);
    struct answer a = stand_hear(&w->st, waiting);
    assert_int_equal(a.status, 200);
    assert_string_equal(outcomes_of(w, match),
                        "MATCHED 10, REJECTED order_not_matchable 0, REJECTED order_not_found 0, "
                        "PARTIALLY_MATCHED 4, ALREADY_MATCHED 10");
    assert_non_null(strstr(a.body, "\"outcome\":\"PARTIALLY_MATCHED\",\"size\":\"4\""));
}

static void the_books_may_answer_before_order_svc_and_everybody_twice(void **state)
{
    struct world *w = *state;
    for (int one_batch = 0; one_batch < 2; one_batch++) {
        struct order_event e = order(w);
        feed_order(w, "order.opened", &e);
        int waiting = send_match_of(w, &e.order.id, 1);
        struct uuid match = open_match(w);
        struct order_event done = filled(e, match, SIZE * DECIMAL_ONE);
        if (one_batch)
            stand_hold(&w->st);
        feed_settled(w, match, e.order.id);
        feed_settled(w, match, e.order.id);
        if (!one_batch) {
            stand_settle(&w->st);
            assert_int_equal(stand_number(&w->st, "SELECT legs_open FROM match WHERE state <> 'DONE'"), 1);
        }
        feed_order(w, "order.filled", &done);
        feed_order(w, "order.filled", &done);
        feed_refused(w, match, e.order.id, "already_matched", &done.order);
        if (one_batch)
            feed_settled(w, match, e.order.id);
        stand_release(&w->st);
        assert_int_equal(stand_hear(&w->st, waiting).status, 200);
        stand_settle(&w->st);
        assert_string_equal(outcomes_of(w, match), "MATCHED 10");
    }
}

static void an_order_named_twice_is_asked_for_once(void **state)
{
    struct world *w = *state;
    struct uuid id = uuid_v7(), ids[] = {id, id};
    int waiting = send_match_of(w, ids, 2);
    struct uuid match = open_match(w);
    assert_int_equal(requests_for(w, match), 1);
    feed_refused(w, match, id, "order_not_found", NULL);
    assert_int_equal(stand_hear(&w->st, waiting).status, 200);
}

static int send_match_asset(struct world *w)
{
    char body[64];
    snprintf(body, sizeof body, "{\"assetName\":\"%s\"}", w->asset);
    return send_match(w, body);
}

static struct barrier_mark here(struct world *w, int lane, int64_t ahead)
{
    const struct stand_place *place = stand_place(&w->st, "order-events", CUSTOMER);
    return (struct barrier_mark){lane, stand_partition(CUSTOMER), place->part_seq[lane] + ahead};
}

static void all_pending_orders_wait_until_the_book_has_been_read_up_to_the_barrier(void **state)
{
    struct world *w = *state;
    struct order_event before = order(w), behind = order(w);
    feed_order(w, "order.opened", &before);
    int waiting = send_match_asset(w);
    struct uuid match = open_match(w);
    char id[UUID_TEXT_MAX];
    uuid_format(match, id);
    assert_int_equal(stand_number(&w->st,
                                  "SELECT count(*) FROM outbox WHERE type = 'barrier.requested' AND "
                                  "payload::json->>'subject' = '%s'",
                                  id),
                     1);
    assert_int_equal(requests_for(w, match), 0);

    /* order-svc's second lane has published one more event than was read. */
    stand_settle(&w->st);
    struct barrier_mark marks[] = {here(w, 1, 0), here(w, 2, 1)};
    feed_barrier(w, match, marks, 2);
    feed_barrier(w, match, marks, 2);
    stand_settle(&w->st);
    stand_settle(&w->st);
    assert_int_equal(requests_for(w, match), 0);
    struct buf data;
    buf_init(&data);
    order_event_encode(&data, &behind);
    feed(w, 2, "order-events", "order.opened", &data);
    stand_settle(&w->st);
    stand_settle(&w->st);
    assert_int_equal(requests_for(w, match), 2);

    for (int i = 0; i < 2; i++) {
        struct order_event done = filled(i == 0 ? before : behind, match, SIZE * DECIMAL_ONE);
        feed_order(w, "order.filled", &done);
        feed_settled(w, match, done.order.id);
    }
    assert_int_equal(stand_hear(&w->st, waiting).status, 200);
    assert_string_equal(outcomes_of(w, match), "MATCHED 10, MATCHED 10");
}

static void all_pending_of_an_asset_that_has_none_is_an_empty_match(void **state)
{
    struct world *w = *state;
    struct order_event gone = order(w), late = gone;
    gone = canceled(gone);
    feed_order(w, "order.canceled", &gone);
    feed_order(w, "order.opened", &late); /* overtaken: the book knows better */
    int waiting = send_match_asset(w);
    struct uuid match = open_match(w);
    struct barrier_mark mark = here(w, 1, 0);
    feed_barrier(w, match, &mark, 1);
    struct answer a = stand_hear(&w->st, waiting);
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.body, "\"results\":[]"));
}

static void one_order_is_matched_or_told_why_not(void **state)
{
    struct world *w = *state;
    struct order_event e = order(w), gone = canceled(e);
    char id[UUID_TEXT_MAX], path[96];
    uuid_format(e.order.id, id);
    snprintf(path, sizeof path, "/api/v1/admin/orders/%s/match", id);
    const struct ask ask = {.method = "POST", .path = path, .customer_id = ADMIN, .admin = true};
    int waiting = stand_send(&w->st, &ask);
    feed_refused(w, open_match(w), e.order.id, "order_not_found", NULL);
    assert_int_equal(stand_hear(&w->st, waiting).status, 404);
    waiting = stand_send(&w->st, &ask);
    feed_refused(w, open_match(w), e.order.id, "order_not_matchable", &gone.order);
    assert_int_equal(stand_hear(&w->st, waiting).status, 409);

    struct ask by_customer = ask;
    by_customer.admin = false;
    assert_int_equal(stand_ask(&w->st, &by_customer).status, 403);
}

static void a_dry_run_tells_what_would_be_and_asks_for_nothing(void **state)
{
    struct world *w = *state;
    struct order_event e = order(w), part = filled(order(w), uuid_v7(), 4 * DECIMAL_ONE);
    feed_order(w, "order.opened", &e);
    feed_order(w, "order.filled", &part);
    stand_settle(&w->st);
    int64_t published = stand_number(&w->st, "SELECT count(*) FROM outbox");
    char body[96];
    snprintf(body, sizeof body, "{\"assetName\":\"%s\",\"dryRun\":true}", w->asset);
    struct answer a = stand_hear(&w->st, send_match(w, body));
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.body, "\"size\":\"10\""));
    assert_non_null(strstr(a.body, "\"size\":\"6\""));
    assert_int_equal(stand_number(&w->st, "SELECT count(*) FROM outbox"), published);
}

/* ---- what it answers for ---- */

static const struct planted PLANTED[] = {
    {"admin_matches_are_their_legs",
     "INSERT INTO match (match_id, mode, state, reached, legs, legs_open, actor, create_date, complete_date) VALUES "
     "('01890000-0000-7000-8000-000000000001', 'HOUSE', 'REQUESTED', false, 2, 1, 'x', now(), NULL); INSERT INTO "
     "match_leg (match_id, order_id, position, state, settled, outcome) VALUES "
     "('01890000-0000-7000-8000-000000000001', '01890000-0000-7000-8000-000000000001', 0, 'REQUESTED', false, NULL)",
     "01890000-0000-7000-8000-000000000001 REQUESTED 2 1 1 1"},
    {"admin_matches_are_their_legs",
     "INSERT INTO match (match_id, mode, state, reached, legs, legs_open, actor, create_date, complete_date) VALUES "
     "('01890000-0000-7000-8000-000000000002', 'HOUSE', 'DONE', false, 1, 0, 'x', now(), now()); INSERT INTO match_leg "
     "(match_id, order_id, position, state, settled, outcome) VALUES ('01890000-0000-7000-8000-000000000002', "
     "'01890000-0000-7000-8000-000000000001', 0, 'REQUESTED', false, NULL)",
     "01890000-0000-7000-8000-000000000002 DONE 1 0 1 1"},
    {"admin_matches_are_their_legs",
     "INSERT INTO match (match_id, mode, state, reached, legs, legs_open, actor, create_date, complete_date) VALUES "
     "('01890000-0000-7000-8000-000000000003', 'HOUSE', 'REQUESTED', false, 1, 1, 'x', now(), NULL); INSERT INTO "
     "match_leg (match_id, order_id, position, state, settled, outcome) VALUES "
     "('01890000-0000-7000-8000-000000000003', '01890000-0000-7000-8000-000000000001', 0, 'DONE', false, 'MATCHED')",
     "01890000-0000-7000-8000-000000000003 REQUESTED 1 1 1 0"},
    {"admin_matches_are_answered",
     "INSERT INTO match (match_id, mode, state, reached, legs, legs_open, actor, create_date, complete_date) VALUES "
     "('01890000-0000-7000-8000-000000000001', 'HOUSE', 'REQUESTED', false, 1, 1, 'x', now() - interval '31 s', NULL)",
     "01890000-0000-7000-8000-000000000001 REQUESTED"},
    {"admin_keys_name_what_was_made",
     "INSERT INTO idempotency VALUES (7, 'r', 'key-12345', 'm', '01890000-0000-7000-8000-000000000009', now())",
     "7 r 01890000-0000-7000-8000-000000000009"},
    /* too little set aside */
    {"admin_orders_agree_with_books",
     "INSERT INTO book_order VALUES ('01890000-0000-7000-8000-000000000001', 7, 'ASELS', 'BUY', 10, 5, 0, 'PENDING', "
     "2, now(), 0, now()); INSERT INTO posted_order VALUES ('01890000-0000-7000-8000-000000000001', 7, 1, 49, 0, 0, 0, "
     "0, 0, now())",
     "01890000-0000-7000-8000-000000000001 7 PENDING 2 1 50 49.000000"},
    /* a seller sets aside what he sells */
    {"admin_orders_agree_with_books",
     "INSERT INTO book_order VALUES ('01890000-0000-7000-8000-000000000002', 7, 'ASELS', 'SELL', 10, 5, 0, 'PENDING', "
     "2, now(), 0, now()); INSERT INTO posted_order VALUES ('01890000-0000-7000-8000-000000000002', 7, 1, 50, 0, 0, 0, "
     "0, 0, now())",
     "01890000-0000-7000-8000-000000000002 7 PENDING 2 1 5 50.000000"},
    /* canceled, and not given back */
    {"admin_orders_agree_with_books",
     "INSERT INTO book_order VALUES ('01890000-0000-7000-8000-000000000003', 7, 'ASELS', 'BUY', 10, 5, 0, 'CANCELED', "
     "3, now(), 0, now()); INSERT INTO posted_order VALUES ('01890000-0000-7000-8000-000000000003', 7, 3, 50, 0, 0, 0, "
     "0, 0, now())",
     "01890000-0000-7000-8000-000000000003 7 CANCELED 3 3 0 50.000000"},
    /* posted twice */
    {"admin_orders_agree_with_books",
     "INSERT INTO book_order VALUES ('01890000-0000-7000-8000-000000000004', 7, 'ASELS', 'BUY', 10, 5, 2, 'PENDING', "
     "3, now(), 20, now()); INSERT INTO posted_order VALUES ('01890000-0000-7000-8000-000000000004', 7, 3, 30, 4, 40, "
     "0, 0, 0, now())",
     "01890000-0000-7000-8000-000000000004 7 PENDING 3 3 30 30.000000 2.000000 4.000000 20.000000 40.000000"},
    /* of another value */
    {"admin_orders_agree_with_books",
     "INSERT INTO book_order VALUES ('01890000-0000-7000-8000-000000000005', 7, 'ASELS', 'BUY', 10, 5, 5, 'MATCHED', "
     "3, now(), 50, now()); INSERT INTO posted_order VALUES ('01890000-0000-7000-8000-000000000005', 7, 3, 0, 5, 49, "
     "0, 0, 0, now())",
     "50.000000 49.000000"},
    /* rejected, though it was set aside */
    {"admin_orders_agree_with_books",
     "INSERT INTO book_order VALUES ('01890000-0000-7000-8000-000000000006', 7, 'ASELS', 'BUY', 10, 5, 0, 'REJECTED', "
     "2, now(), 0, now()); INSERT INTO posted_order VALUES ('01890000-0000-7000-8000-000000000006', 7, 1, 50, 0, 0, 0, "
     "0, 0, now())",
     "01890000-0000-7000-8000-000000000006 7 REJECTED 2 1 0 50.000000"},
    /* of somebody else */
    {"admin_orders_agree_with_books",
     "INSERT INTO book_order VALUES ('01890000-0000-7000-8000-000000000007', 7, 'ASELS', 'BUY', 10, 5, 0, 'PENDING', "
     "2, now(), 0, now()); INSERT INTO posted_order VALUES ('01890000-0000-7000-8000-000000000007', 8, 1, 50, 0, 0, 0, "
     "0, 0, now())",
     "01890000-0000-7000-8000-000000000007 7 PENDING"},
    /* never reserved */
    {"admin_books_have_followed_orders",
     "INSERT INTO book_order VALUES ('01890000-0000-7000-8000-000000000001', 7, 'ASELS', 'BUY', 10, 5, 0, 'PENDING', "
     "2, now(), 0, now() - interval '31 s')",
     "01890000-0000-7000-8000-000000000001 7 PENDING 2 null"},
    /* a cancel that was not answered */
    {"admin_books_have_followed_orders",
     "INSERT INTO book_order VALUES ('01890000-0000-7000-8000-000000000002', 7, 'ASELS', 'BUY', 10, 5, 0, 'CANCELED', "
     "3, now(), 0, now() - interval '31 s'); INSERT INTO posted_order VALUES ('01890000-0000-7000-8000-000000000002', "
     "7, 1, 50, 0, 0, 0, 0, 0, now())",
     "01890000-0000-7000-8000-000000000002 7 CANCELED 3 1"},
    /* a fill that was not settled */
    {"admin_books_have_followed_orders",
     "INSERT INTO book_order VALUES ('01890000-0000-7000-8000-000000000003', 7, 'ASELS', 'BUY', 10, 5, 2, 'PENDING', "
     "3, now(), 20, now() - interval '31 s'); INSERT INTO posted_order VALUES ('01890000-0000-7000-8000-000000000003', "
     "7, 1, 50, 0, 0, 0, 0, 0, now())",
     "01890000-0000-7000-8000-000000000003 7 PENDING 3 1"},
    /* for long */
    {"admin_books_are_never_ahead_of_orders",
     "INSERT INTO book_order VALUES ('01890000-0000-7000-8000-000000000001', 7, 'ASELS', 'BUY', 10, 5, 0, 'PENDING', "
     "2, now(), 0, now()); INSERT INTO posted_order VALUES ('01890000-0000-7000-8000-000000000001', 7, 3, 0, 5, 50, 0, "
     "0, 0, now() - interval '31 s')",
     "01890000-0000-7000-8000-000000000001 7 3 2 PENDING"},
    /* an order that nobody told of */
    {"admin_books_are_never_ahead_of_orders",
     "INSERT INTO posted_order VALUES ('01890000-0000-7000-8000-000000000002', 7, 1, 50, 0, 0, 0, 0, 0, now() - "
     "interval '31 s')",
     "01890000-0000-7000-8000-000000000002 7 1 null"},
    /* what it answers was read: at once */
    {"admin_books_are_never_ahead_of_orders",
     "INSERT INTO book_order VALUES ('01890000-0000-7000-8000-000000000003', 7, 'ASELS', 'BUY', 10, 5, 0, 'PENDING', "
     "2, now(), 0, now()); INSERT INTO posted_order VALUES ('01890000-0000-7000-8000-000000000003', 7, 3, 0, 5, 50, 1, "
     "63, 9, now()); INSERT INTO consumer_sequence VALUES ('order-events', 63, 'order-svc', 1, gen_random_uuid(), 9)",
     "01890000-0000-7000-8000-000000000003 7 3 2 PENDING"},
    /* asked for twice */
    {"admin_transfers_and_accounts_are_answered_once",
     "INSERT INTO exchange VALUES ('TRANSFER', '01890000-0000-7000-8000-000000000001', 7, 2, 1, 0, 5, 5, now(), now())",
     "TRANSFER 01890000-0000-7000-8000-000000000001 7 2 1 0"},
    /* booked twice */
    {"admin_transfers_and_accounts_are_answered_once",
     "INSERT INTO exchange VALUES ('TRANSFER', '01890000-0000-7000-8000-000000000002', 7, 1, 2, 0, 5, 5, now(), now())",
     "TRANSFER 01890000-0000-7000-8000-000000000002 7 1 2 0"},
    /* booked and refused */
    {"admin_transfers_and_accounts_are_answered_once",
     "INSERT INTO exchange VALUES ('TRANSFER', '01890000-0000-7000-8000-000000000003', 7, 1, 1, 1, 5, 5, now(), now())",
     "TRANSFER 01890000-0000-7000-8000-000000000003 7 1 1 1"},
    /* another amount */
    {"admin_transfers_and_accounts_are_answered_once",
     "INSERT INTO exchange VALUES ('TRANSFER', '01890000-0000-7000-8000-000000000004', 7, 1, 1, 0, 5, 6, now(), now())",
     "TRANSFER 01890000-0000-7000-8000-000000000004 7 1 1 0 5.000000 6.000000"},
    /* not answered */
    {"admin_transfers_and_accounts_are_answered_once",
     "INSERT INTO exchange VALUES ('TRANSFER', '01890000-0000-7000-8000-000000000005', 7, 1, 0, 0, 5, NULL, now() - "
     "interval '31 s', NULL)",
     "TRANSFER 01890000-0000-7000-8000-000000000005 7 1 0 0"},
    /* nobody asked */
    {"admin_transfers_and_accounts_are_answered_once",
     "INSERT INTO exchange VALUES ('TRANSFER', '01890000-0000-7000-8000-000000000006', 7, 0, 1, 0, NULL, 5, NULL, "
     "now() - interval '31 s')",
     "TRANSFER 01890000-0000-7000-8000-000000000006 7 0 1 0"},
    /* an account that was not opened */
    {"admin_transfers_and_accounts_are_answered_once",
     "INSERT INTO exchange VALUES ('ACCOUNT', '01890000-0000-7000-8000-000000000007', 7, 1, 0, 0, NULL, NULL, now() - "
     "interval '31 s', NULL)",
     "ACCOUNT 01890000-0000-7000-8000-000000000007 7 1 0 0"},
    {NULL, NULL, NULL},
};

static void each_check_finds_what_it_is_for(void **state)
{
    assert_checks_find(*state, PLANTED);
}

int main(void)
{
#define STORY(test) cmocka_unit_test_setup_teardown(test, next_asset, assert_matches_are_sound)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_statement_can_be_run_and_the_migrations_add_up),
        cmocka_unit_test(each_check_finds_what_it_is_for),
        STORY(one_order_is_matched_or_told_why_not),
        STORY(each_order_has_its_own_outcome_and_the_match_ends_with_the_last),
        STORY(the_books_may_answer_before_order_svc_and_everybody_twice),
        STORY(an_order_named_twice_is_asked_for_once),
        STORY(all_pending_of_an_asset_that_has_none_is_an_empty_match),
        STORY(all_pending_orders_wait_until_the_book_has_been_read_up_to_the_barrier),
        STORY(a_dry_run_tells_what_would_be_and_asks_for_nothing),
    };
    cmocka_set_test_filter(getenv("TEST_ONLY"));
    return cmocka_run_group_tests(tests, open_world, close_world);
}
