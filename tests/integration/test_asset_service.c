/* asset-svc on a real PostgreSQL, in the rights of its own role: what the events of orders and transfers do to the books, once, doubled,
 * late and in any order. Every story ends with books that balance. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "asset-svc/api.h"
#include "asset-svc/checks.h"
#include "asset-svc/commands.h"
#include "asset-svc/events.h"
#include "asset-svc/migrations.h"
#include "events/transfer_event.h"
#include "support/audit.h"
#include "support/schema.h"
#include "support/stand.h"
#include "unit/unit.h"

/* The auditor is left out: these tests look for themselves, at the end of each. */
static const struct service_spec SPEC = {
    .name = "asset-svc",
    .schema = "assets",
    .topic = "asset-events",
    .consumes = ASSET_SVC_CONSUMES,
    .kinds = ASSET_SVC_KINDS,
    .ops = &ASSET_SVC_OPS,
    .routes = ASSET_SVC_ROUTES,
    .migrations = ASSET_SVC_MIGRATIONS,
    .checks = ASSET_SVC_CHECKS,
};
enum { ADMIN = 1, EACH = DECIMAL_ONE };

struct world {
    struct stand st;  /* first */
    int64_t customer; /* of this story: a new one each time */
};

static int open_world(void **state)
{
    struct world *w = mem_alloc(sizeof *w);
    stand_open(&w->st, &SPEC, "assets", "assets");
    w->customer = 100;
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

static int next_customer(void **state)
{
    ((struct world *)*state)->customer++;
    return 0;
}

/* architecture.md section 7, and the log of what was published. */
static int assert_books_balance(void **state)
{
    static const struct {
        const char *wrong, *what;
    } CHECKS[] = {
        {"SELECT count(*) FROM account WHERE owner > 0 AND NOT (0 <= usable AND usable <= size)",
         "0 <= usable <= size"},
        {"SELECT count(*) FROM account a WHERE owner > 0 AND size - usable <> (SELECT coalesce(sum(reserved), 0) FROM "
         "reservation r WHERE r.customer_id = a.owner AND r.asset = a.asset AND state = 'OPEN')",
         "what is set aside is the sum of open reservations"},
        {"SELECT count(*) FROM (SELECT FROM account GROUP BY asset HAVING sum(size) <> 0) x",
         "all accounts sum to zero"},
        {"SELECT count(*) FROM (SELECT FROM journal GROUP BY entry_id, asset HAVING sum(amount) <> 0) x",
         "an entry sums to zero"},
        {"SELECT count(*) FROM account a LEFT JOIN (SELECT owner, asset, sum(amount) s, sum(usable_amount) u, count(*) "
         "n FROM "
         "journal GROUP BY 1, 2) j USING (owner, asset) WHERE (size, usable, version) IS DISTINCT FROM (coalesce(s, "
         "0), "
         "coalesce(u, 0), coalesce(n, 0))",
         "a balance is the sum of its journal"},
        {"SELECT count(*) FROM (SELECT size_before, usable_before, version, lag(size, 1, 0::numeric) OVER w ps, "
         "lag(usable, 1, 0::numeric) OVER w pu, lag(version, 1, 0::bigint) OVER w pv FROM journal "
         "WINDOW w AS (PARTITION BY owner, asset ORDER BY version)) x "
         "WHERE size_before <> ps OR usable_before <> pu OR version <> pv + 1",
         "each line goes on where the one before it ended"},
        {"SELECT count(*) FROM (SELECT seq, row_number() OVER (PARTITION BY lane ORDER BY seq) r FROM outbox) x WHERE "
         "seq <> r",
         "the outbox is dense"},
    };
    struct world *w = *state;
    for (size_t i = 0; i < LENGTH_OF(CHECKS); i++)
        ROW_CHECK(stand_number(&w->st, "%s", CHECKS[i].wrong) == 0, CHECKS[i].what);
    return 0;
}

/* ---- what comes in ---- */

static decimal_t decimal(const char *text)
{
    decimal_t value;
    assert_int_equal(decimal_parse(str_of(text), DECIMAL_SCALE, &value), DECIMAL_OK);
    return value;
}

static struct order_event order(struct world *w, enum order_side side, const char *asset, const char *size,
                                const char *price)
{
    return (struct order_event){.order = {.id = uuid_v7(),
                                          .customer_id = w->customer,
                                          .asset = asset,
                                          .side = side,
                                          .size = decimal(size),
                                          .price = decimal(price),
                                          .status = ORDER_NEW,
                                          .version = 1,
                                          .create_date = clock_now_us(),
                                          .update_date = clock_now_us(),
                                          .actor = "CUSTOMER:1"}};
}

static void feed(struct world *w, const char *topic, const char *type, int64_t customer_id, const struct buf *data)
{
    stand_feed(&w->st,
               &(struct feed){.topic = topic, .type = type, .customer_id = customer_id, .data = buf_cstr(data)});
}

static void feed_order(struct world *w, const char *type, const struct order_event *e)
{
    struct buf data;
    buf_init(&data);
    order_event_encode(&data, e);
    feed(w, "order-events", type, e->order.customer_id, &data);
    buf_done(&data);
}

/* The order as it is after a move. */
static struct order_event canceled(struct order_event e)
{
    e.order.status = ORDER_CANCELED;
    e.order.version++;
    e.match_id = uuid_of_int(0);
    e.fill = (struct order_fill){0, 0};
    return e;
}

static struct order_event opened(struct order_event e)
{
    e.order.status = ORDER_PENDING;
    e.order.version++;
    return e;
}

static struct order_event filled(struct order_event e, decimal_t size)
{
    decimal_t value;
    assert_true(decimal_mul(size, e.order.price, &value));
    e.order.house.size += size;
    e.order.house.value += value;
    e.order.status = e.order.house.size == e.order.size ? ORDER_MATCHED : ORDER_PENDING;
    e.order.version++;
    e.match_id = uuid_v7();
    e.fill = (struct order_fill){size, value};
    return e;
}

static void feed_transfer(struct world *w, struct uuid id, enum transfer_type type, const char *amount)
{
    struct buf data;
    buf_init(&data);
    transfer_requested_encode(&data,
                              &(struct transfer_requested){id, w->customer, type, decimal(amount), "CUSTOMER:1"});
    feed(w, "txn-events", "transfer.requested", w->customer, &data);
    buf_done(&data);
}

static void deposit(struct world *w, const char *amount)
{
    feed_transfer(w, uuid_v7(), TRANSFER_DEPOSIT, amount);
    stand_settle(&w->st);
}

static void feed_registered(struct world *w)
{
    char data[160];
    snprintf(data, sizeof data,
             "{\"customerId\":%" PRId64 ",\"username\":\"u%" PRId64 "\",\"fullName\":\"U\",\"role\":\"CUSTOMER\"}",
             w->customer, w->customer);
    stand_feed(
        &w->st,
        &(struct feed){.topic = "auth-events", .type = "user.registered", .customer_id = w->customer, .data = data});
}

static int send_bring_in(struct stand *st, int64_t customer_id, const char *asset, const char *size, const char *key)
{
    char body[160];
    snprintf(body, sizeof body, "{\"customerId\":%" PRId64 ",\"assetName\":\"%s\",\"size\":\"%s\"}", customer_id, asset,
             size);
    return stand_send(
        st,
        &(struct ask){
            .method = "POST", .path = "/api/v1/assets", .customer_id = ADMIN, .admin = true, .body = body, .key = key});
}

static struct answer bring_in(struct world *w, int64_t customer_id, const char *asset, const char *size,
                              const char *key)
{
    return stand_hear(&w->st, send_bring_in(&w->st, customer_id, asset, size, key));
}

static void bring_shares(struct world *w, const char *size)
{
    feed_registered(w);
    stand_settle(&w->st);
    assert_int_equal(bring_in(w, w->customer, "ASELS", size, NULL).status, 201);
}

/* ---- what is seen of it ---- */

static void assert_holding(struct world *w, const char *asset, const char *size_usable)
{
    const char *is = stand_text(
        &w->st,
        "SELECT trim_scale(size) || '/' || trim_scale(usable) FROM account WHERE owner = %" PRId64 " AND asset = '%s'",
        w->customer, asset);
    assert_string_equal(*is != '\0' ? is : "0/0", size_usable);
}

/* What was answered about an order, in order: "asset.reserved 1, asset.released 2". */
static void assert_answers(struct world *w, const struct order_event *e, const char *answers)
{
    char id[UUID_TEXT_MAX];
    uuid_format(e->order.id, id);
    assert_string_equal(
        stand_text(&w->st,
                   "SELECT string_agg(type || ' ' || (payload::json->'data'->>'version'), ', ' ORDER BY seq) "
                   "FROM outbox WHERE payload::json->>'subject' = '%s'",
                   id),
        answers);
}

static int64_t journal_lines(struct world *w)
{
    return stand_number(&w->st, "SELECT count(*) FROM journal");
}

/* ---- orders ---- */

static void an_order_that_needs_more_than_is_usable_is_refused_and_changes_nothing(void **state)
{
    static const struct {
        enum order_side side;
        const char *asset, *size, *price, *required, *usable, *why;
    } ROWS[] = {
        {ORDER_BUY, "THYAO", "1000", "100.01", "100010", "70000", "more than is owned"},
        {ORDER_BUY, "THYAO", "1", "70000.01", "70000.01", "70000", "more than is usable, less than is owned"},
        {ORDER_SELL, "ASELS", "501", "1", "501", "500", "one share too many"},
        {ORDER_SELL, "KCHOL", "0.0001", "1", "0.0001", "0", "a share never held"},
    };
    struct world *w = *state;
    bring_shares(w, "500");
    deposit(w, "100000");
    struct order_event reserve = order(w, ORDER_BUY, "THYAO", "100", "300");
    feed_order(w, "order.placed", &reserve);
    stand_settle(&w->st);
    int64_t lines = journal_lines(w);
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        struct order_event e = order(w, ROWS[i].side, ROWS[i].asset, ROWS[i].size, ROWS[i].price);
        feed_order(w, "order.placed", &e);
        struct order_event late = canceled(e);
        feed_order(w, "order.canceled", &late);
        stand_settle(&w->st);
        assert_answers(w, &e, "asset.refused 1, asset.released 2");
        char id[UUID_TEXT_MAX];
        uuid_format(e.order.id, id);
        const char *data = stand_text(&w->st,
                                      "SELECT payload FROM outbox WHERE type = 'asset.refused' AND "
                                      "payload::json->>'subject' = '%s'",
                                      id);
        ROW_CHECK(strcmp(stand_member(&w->st, data, "required"), ROWS[i].required) == 0, ROWS[i].why);
        ROW_CHECK(strcmp(stand_member(&w->st, data, "usable"), ROWS[i].usable) == 0, ROWS[i].why);
    }
    assert_int_equal(journal_lines(w), lines);
    assert_holding(w, "TRY", "100000/70000");
    assert_holding(w, "ASELS", "500/500");
}

static void an_order_sets_aside_exactly_what_it_needs(void **state)
{
    static const struct {
        enum order_side side;
        const char *size, *price, *try_after, *asels_after;
        int times;
    } ROWS[] = {
        {ORDER_BUY, "3", "0.10", "100000/99997", "500/500", 10},
        {ORDER_BUY, "1", "0.99", "100000/99996.01", "500/500", 1},
        {ORDER_BUY, "0.0001", "0.01", "100000/99996.009999", "500/500", 1},
        {ORDER_SELL, "50", "200", "100000/99996.009999", "500/450", 1},
        {ORDER_SELL, "0.0001", "0.01", "100000/99996.009999", "500/449.9999", 1},
    };
    struct world *w = *state;
    bring_shares(w, "500");
    deposit(w, "100000");
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        for (int k = 0; k < ROWS[i].times; k++) {
            struct order_event e = order(w, ROWS[i].side, "ASELS", ROWS[i].size, ROWS[i].price);
            feed_order(w, "order.placed", &e);
        }
        stand_settle(&w->st);
        assert_holding(w, "TRY", ROWS[i].try_after);
        assert_holding(w, "ASELS", ROWS[i].asels_after);
    }
}

static void an_order_for_all_that_is_usable_can_be_canceled_and_another_matched(void **state)
{
    struct world *w = *state;
    deposit(w, "100000");
    struct order_event first = order(w, ORDER_BUY, "THYAO", "1000", "100"), gone = canceled(first);
    feed_order(w, "order.placed", &first);
    stand_settle(&w->st);
    assert_holding(w, "TRY", "100000/0");
    feed_order(w, "order.canceled", &gone);
    stand_settle(&w->st);
    assert_holding(w, "TRY", "100000/100000");

    struct order_event second = order(w, ORDER_BUY, "THYAO", "1000", "100");
    struct order_event done = filled(opened(second), second.order.size);
    feed_order(w, "order.placed", &second);
    feed_order(w, "order.filled", &done);
    stand_settle(&w->st);
    assert_holding(w, "TRY", "0/0");
    assert_holding(w, "THYAO", "1000/1000");
}

static void of_twenty_orders_exactly_seven_can_be_paid(void **state)
{
    struct world *w = *state;
    for (int batches = 0; batches < 2; batches++) {
        w->customer++;
        deposit(w, "75000");
        if (batches == 0)
            stand_hold(&w->st);
        for (int i = 0; i < 20; i++) {
            struct order_event e = order(w, ORDER_BUY, "THYAO", "100", "100");
            feed_order(w, "order.placed", &e);
            if (batches != 0)
                stand_settle(&w->st);
        }
        stand_release(&w->st);
        stand_settle(&w->st);
        assert_holding(w, "TRY", "75000/5000");
        assert_int_equal(
            stand_number(&w->st, "SELECT count(*) FROM reservation WHERE customer_id = %" PRId64 " AND state = 'OPEN'",
                         w->customer),
            7);
        assert_int_equal(
            stand_number(&w->st, "SELECT count(*) FROM reservation WHERE customer_id = %" PRId64, w->customer), 20);
    }
}

static void an_event_that_comes_three_times_has_its_effect_once_and_is_answered_each_time(void **state)
{
    struct world *w = *state;
    deposit(w, "1000");
    struct order_event placed = order(w, ORDER_BUY, "THYAO", "10", "10");
    struct order_event part = filled(opened(placed), 4 * EACH), gone = canceled(part);
    for (int batches = 0; batches < 2; batches++) {
        if (batches == 0)
            stand_hold(&w->st);
        for (int i = 0; i < 3; i++)
            feed_order(w, "order.placed", &placed);
        stand_release(&w->st);
        stand_settle(&w->st);
    }
    assert_holding(w, "TRY", "1000/900");
    for (int i = 0; i < 3; i++)
        feed_order(w, "order.filled", &part);
    stand_settle(&w->st);
    assert_holding(w, "TRY", "960/900");
    assert_holding(w, "THYAO", "4/4");
    for (int i = 0; i < 3; i++)
        feed_order(w, "order.canceled", &gone);
    stand_settle(&w->st);
    assert_holding(w, "TRY", "960/960");
    assert_answers(
        w, &placed,
        "asset.reserved 1, asset.reserved 1, asset.reserved 1, asset.reserved 1, asset.reserved 1, asset.reserved 1, "
        "asset.settled 3, asset.settled 3, asset.settled 3, "
        "asset.released 4, asset.released 4, asset.released 4");
}

static void events_that_were_overtaken_are_answered_by_what_the_books_hold(void **state)
{
    struct world *w = *state;
    deposit(w, "1000");
    struct order_event a = order(w, ORDER_BUY, "THYAO", "10", "10"), a2 = canceled(a);
    feed_order(w, "order.canceled", &a2);
    feed_order(w, "order.placed", &a);
    struct order_event b = order(w, ORDER_BUY, "THYAO", "10", "10"), b3 = filled(opened(b), 10 * EACH);
    feed_order(w, "order.filled", &b3);
    feed_order(w, "order.placed", &b);
    struct order_event c = order(w, ORDER_BUY, "THYAO", "10", "10"), c3 = filled(opened(c), 3 * EACH),
                       c4 = canceled(c3);
    feed_order(w, "order.placed", &c);
    feed_order(w, "order.canceled", &c4);
    feed_order(w, "order.filled", &c3);
    stand_settle(&w->st);
    assert_answers(w, &a, "asset.released 2, asset.released 2");
    assert_answers(w, &b, "asset.settled 3, asset.reserved 3");
    assert_answers(w, &c, "asset.reserved 1, asset.released 4, asset.settled 4");
    assert_holding(w, "TRY", "870/870");
    assert_holding(w, "THYAO", "13/13");
    char match[UUID_TEXT_MAX];
    uuid_format(c3.match_id, match);
    assert_int_equal(stand_number(&w->st,
                                  "SELECT count(*) FROM outbox WHERE type = 'asset.settled' AND "
                                  "payload::json->'data'->>'matchId' = '%s'",
                                  match),
                     1);
}

static void events_of_one_order_may_come_from_two_lanes_of_their_source(void **state)
{
    struct world *w = *state;
    deposit(w, "1000");
    struct order_event e = order(w, ORDER_BUY, "THYAO", "10", "10"), gone = canceled(e);
    struct buf data;
    buf_init(&data);
    order_event_encode(&data, &gone);
    stand_feed(&w->st, &(struct feed){.topic = "order-events",
                                      .type = "order.canceled",
                                      .customer_id = w->customer,
                                      .lane = 2,
                                      .data = buf_cstr(&data)});
    buf_done(&data);
    feed_order(w, "order.placed", &e);
    stand_settle(&w->st);
    assert_answers(w, &e, "asset.released 2, asset.released 2");
    assert_holding(w, "TRY", "1000/1000");
}

static void a_state_that_can_not_be_is_parked_and_the_books_stay(void **state)
{
    struct world *w = *state;
    deposit(w, "1000");
    struct order_event e = order(w, ORDER_BUY, "THYAO", "10", "10"), part = filled(opened(e), 5 * EACH);
    feed_order(w, "order.placed", &e);
    feed_order(w, "order.filled", &part);
    struct order_event shrunk = part;
    shrunk.order.house = (struct order_fill){4 * EACH, 40 * EACH};
    shrunk.order.version++;
    struct order_event grown = part;
    grown.order.house = (struct order_fill){11 * EACH, 110 * EACH};
    grown.order.version++;
    int64_t parked = stand_number(&w->st, "SELECT count(*) FROM parked_event");
    stand_settle(&w->st);
    int64_t lines = journal_lines(w);
    stand_hold(&w->st);
    feed_order(w, "order.filled", &shrunk);
    feed_order(w, "order.filled", &grown);
    stand_release(&w->st);
    stand_settle(&w->st);
    assert_int_equal(stand_number(&w->st, "SELECT count(*) FROM parked_event"), parked + 2);
    assert_int_equal(journal_lines(w), lines);
    assert_holding(w, "TRY", "950/900");
    struct order_event gone = canceled(part);
    feed_order(w, "order.canceled", &gone);
    stand_settle(&w->st);
    assert_holding(w, "TRY", "950/950");
}

/* ---- transfers ---- */

static void a_transfer_is_booked_once_and_answered_alike_however_often_it_is_asked_for(void **state)
{
    struct world *w = *state;
    struct uuid in = uuid_v7(), too_much = uuid_v7(), out = uuid_v7();
    stand_hold(&w->st);
    feed_transfer(w, in, TRANSFER_DEPOSIT, "500.25");
    feed_transfer(w, in, TRANSFER_DEPOSIT, "500.25");
    feed_transfer(w, too_much, TRANSFER_WITHDRAWAL, "500.26");
    stand_release(&w->st);
    stand_settle(&w->st);
    assert_holding(w, "TRY", "500.25/500.25");
    deposit(w, "1000");
    feed_transfer(w, in, TRANSFER_DEPOSIT, "500.25");
    feed_transfer(w, too_much, TRANSFER_WITHDRAWAL, "500.26"); /* refused once is refused for good */
    feed_transfer(w, out, TRANSFER_WITHDRAWAL, "500.25");
    stand_settle(&w->st);
    assert_holding(w, "TRY", "1000/1000");

    static const char ANSWERS[] =
        "SELECT string_agg(type, ' ' ORDER BY seq) FROM outbox WHERE payload::json->>'subject' = '%s'";
    char id[UUID_TEXT_MAX];
    uuid_format(in, id);
    assert_string_equal(stand_text(&w->st, ANSWERS, id), "transfer.booked transfer.booked transfer.booked");
    uuid_format(too_much, id);
    assert_string_equal(stand_text(&w->st, ANSWERS, id), "transfer.refused transfer.refused");
    assert_int_equal(stand_number(&w->st, "SELECT count(*) FROM journal WHERE owner = %" PRId64, w->customer), 3);
}

static void what_is_set_aside_can_not_be_withdrawn(void **state)
{
    struct world *w = *state;
    deposit(w, "1000");
    struct order_event e = order(w, ORDER_BUY, "THYAO", "7", "100"), gone = canceled(e);
    feed_order(w, "order.placed", &e);
    stand_settle(&w->st);
    feed_transfer(w, uuid_v7(), TRANSFER_WITHDRAWAL, "301");
    stand_settle(&w->st);
    assert_holding(w, "TRY", "1000/300");
    feed_transfer(w, uuid_v7(), TRANSFER_WITHDRAWAL, "300");
    stand_settle(&w->st);
    assert_holding(w, "TRY", "700/0");
    feed_order(w, "order.canceled", &gone);
    stand_settle(&w->st);
    assert_holding(w, "TRY", "700/700");
}

/* ---- shares brought in ---- */

static void shares_are_brought_in_once_for_a_key_and_never_for_nobody(void **state)
{
    struct world *w = *state;
    feed_registered(w);
    stand_settle(&w->st);
    struct answer first = bring_in(w, w->customer, "ASELS", "10", "key-shares-1");
    struct answer again = bring_in(w, w->customer, "asels", "10.000", "key-shares-1");
    assert_int_equal(first.status, 201);
    assert_int_equal(again.status, 201);
    assert_true(again.replayed);
    assert_string_equal(again.body, first.body);
    assert_int_equal(bring_in(w, w->customer, "ASELS", "11", "key-shares-1").status, 422);
    assert_int_equal(bring_in(w, 999999, "ASELS", "10", NULL).status, 404);
    assert_holding(w, "ASELS", "10/10");
    assert_int_equal(stand_number(&w->st, "SELECT count(*) FROM account WHERE owner = 999999"), 0);
}

static void a_refusal_leaves_no_row_beside_a_neighbour(void **state)
{
    struct world *w = *state;
    stand_hold(&w->st);
    int nobody = send_bring_in(&w->st, 999998, "ASELS", "10", NULL);
    stand_await_inbox(&w->st, 1);
    feed_transfer(w, uuid_v7(), TRANSFER_DEPOSIT, "1");
    stand_release(&w->st);
    assert_int_equal(stand_hear(&w->st, nobody).status, 404);
    assert_int_equal(stand_number(&w->st, "SELECT count(*) FROM account WHERE owner = 999998"), 0);
}

static void shares_can_be_brought_in_for_one_who_is_announced_in_the_same_batch(void **state)
{
    struct world *w = *state;
    stand_hold(&w->st);
    feed_registered(w);
    stand_await_inbox(&w->st, 1);
    int waiting = send_bring_in(&w->st, w->customer, "ASELS", "10", NULL);
    stand_await_inbox(&w->st, 2);
    stand_release(&w->st);
    assert_int_equal(stand_hear(&w->st, waiting).status, 201);
    assert_holding(w, "ASELS", "10/10");
}

static void the_service_may_not_rewrite_its_journal(void **state)
{
    static const char *const FORBIDDEN[] = {"UPDATE journal SET amount = 0", "DELETE FROM journal",
                                            "DROP TABLE journal", "TRUNCATE journal", "CREATE TABLE x ()"};
    struct world *w = *state;
    const struct db_conf conf = {
        .url = w->st.app_url, .password = w->st.app_password, .plan = DB_PLAN_OWNER, .application_name = "test"};
    struct fault fault = {.err = ERR_OK};
    struct db *db = NULL;
    assert_int_equal(db_open(&conf, 5000, &db, &fault), ERR_OK);
    for (size_t i = 0; i < LENGTH_OF(FORBIDDEN); i++) {
        assert_int_not_equal(db_run(db, FORBIDDEN[i], &fault), ERR_OK);
        assert_string_equal(db_sqlstate(db), "42501");
    }
    db_close(db);
}

/* ---- two processes ---- */

/* Both move the same rows, and are given each key at the same moment. */
static void two_processes_move_one_account_and_take_one_key_once(void **state)
{
    enum { ROUNDS = 10, EACH_ROUND = 8 };
    struct world *w = *state;
    struct stand *second = mem_alloc(sizeof *second);
    feed_registered(w);
    stand_settle(&w->st);
    stand_join(second, &w->st);
    struct stand *both[] = {&w->st, second};
    for (int round = 0; round < ROUNDS; round++) {
        int sockets[EACH_ROUND];
        int replayed = 0;
        for (int i = 0; i < EACH_ROUND; i++) {
            char key[48];
            snprintf(key, sizeof key, "key-both-%d-%d", round, i / 2);
            sockets[i] = send_bring_in(both[i % 2], w->customer, i % 4 < 2 ? "ASELS" : "THYAO", "1", key);
        }
        for (int i = 0; i < EACH_ROUND; i++) {
            struct answer a = stand_hear(both[i % 2], sockets[i]);
            assert_int_equal(a.status, 201);
            replayed += a.replayed;
        }
        assert_int_equal(replayed, EACH_ROUND / 2);
    }
    assert_holding(w, "ASELS", "20/20");
    assert_holding(w, "THYAO", "20/20");
    stand_close(second);
    mem_free(second);
    w->st.shares = false;
    stand_settle(&w->st); /* all partitions are back */
}

/* ---- whatever the order ---- */

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

enum { ORDERS_A_RUN = 3, EVENTS_A_RUN = 64 };

struct history {
    struct order_event events[EVENTS_A_RUN];
    const char *types[EVENTS_A_RUN];
    size_t count;
    decimal_t money, usable_money, shares, usable_shares; /* what the books must hold in the end */
};

static void add(struct history *h, const char *type, struct order_event e)
{
    h->types[h->count] = type;
    h->events[h->count++] = e;
}

/* A life that order-svc could give an order. */
static void live(struct world *w, struct history *h, uint32_t *seed)
{
    enum order_side side = next_random(seed) % 2 != 0 ? ORDER_BUY : ORDER_SELL;
    struct order_event e = order(w, side, "ASELS", "1", "1");
    e.order.size = (decimal_t)(1 + next_random(seed) % 100) * (EACH / 10000);
    e.order.price = (decimal_t)(1 + next_random(seed) % 1000) * (EACH / 100);
    add(h, "order.placed", e);
    if (next_random(seed) % 6 != 0)
        e = opened(e);
    while (e.order.status == ORDER_PENDING && next_random(seed) % 3 != 0) {
        decimal_t left = e.order.size - e.order.house.size, step = EACH / 10000;
        decimal_t size = (decimal_t)(1 + next_random(seed) % (uint32_t)(left / step)) * step;
        e = filled(e, size);
        add(h, "order.filled", e);
        if (h->count > EVENTS_A_RUN / 4)
            break;
    }
    if (e.order.status != ORDER_MATCHED && next_random(seed) % 2 != 0) {
        e = canceled(e);
        add(h, "order.canceled", e);
    }

    decimal_t sign = side == ORDER_BUY ? 1 : -1, left = 0, reserved;
    if (e.order.status == ORDER_NEW || e.order.status == ORDER_PENDING)
        left = e.order.size - e.order.house.size;
    assert_true(decimal_mul(left, e.order.price, &reserved));
    h->money -= sign * e.order.house.value;
    h->shares += sign * e.order.house.size;
    h->usable_money -= sign * e.order.house.value + (side == ORDER_BUY ? reserved : 0);
    h->usable_shares += sign * e.order.house.size - (side == ORDER_BUY ? 0 : left);
}

/* Some come twice, and all in any order. */
static void shuffle(struct history *h, uint32_t *seed)
{
    size_t once = h->count;
    for (size_t i = 0; i < once && h->count < EVENTS_A_RUN; i++)
        if (next_random(seed) % 2 != 0)
            add(h, h->types[i], h->events[i]);
    for (size_t i = h->count - 1; i > 0; i--) {
        size_t k = next_random(seed) % (i + 1);
        struct order_event e = h->events[i];
        const char *type = h->types[i];
        h->events[i] = h->events[k];
        h->types[i] = h->types[k];
        h->events[k] = e;
        h->types[k] = type;
    }
}

static void expect(struct world *w, const struct history *h)
{
    char text[4][DECIMAL_TEXT_MAX];
    decimal_format(h->money, text[0]);
    decimal_format(h->usable_money, text[1]);
    decimal_format(h->shares, text[2]);
    decimal_format(h->usable_shares, text[3]);
    stand_run(&w->st, "INSERT INTO public.expected VALUES (%" PRId64 ", 'TRY', %s, %s), (%" PRId64 ", 'ASELS', %s, %s)",
              w->customer, text[0], text[1], w->customer, text[2], text[3]);
}

static void whatever_order_events_come_in_the_books_end_alike(void **state)
{
    enum { RUNS = 300 };
    struct world *w = *state;
    const char *given = getenv("TEST_SEED");
    uint32_t seed = given != NULL ? (uint32_t)strtoul(given, NULL, 10) : (uint32_t)clock_now_us();
    print_message("TEST_SEED=%u\n", seed);
    stand_run(&w->st, "CREATE TABLE public.expected (owner bigint, asset text, size numeric, usable numeric)");
    for (int run = 0; run < RUNS; run++) {
        static struct history h;
        h = (struct history){.money = 1000 * EACH, .usable_money = 1000 * EACH, .shares = 0};
        w->customer++;
        /* Shares come by a first order, so that there is something to sell. */
        struct order_event first = order(w, ORDER_BUY, "ASELS", "1", "0.01");
        struct order_event first_done = filled(opened(first), EACH);
        h.money -= EACH / 100;
        h.usable_money -= EACH / 100;
        h.shares = h.usable_shares = EACH;
        for (int i = 0; i < ORDERS_A_RUN; i++)
            live(w, &h, &seed);
        shuffle(&h, &seed);

        bool one_batch = run % 2 == 0;
        if (one_batch)
            stand_hold(&w->st);
        feed_transfer(w, uuid_v7(), TRANSFER_DEPOSIT, "1000");
        feed_order(w, "order.placed", &first);
        feed_order(w, "order.filled", &first_done);
        for (size_t i = 0; i < h.count; i++)
            feed_order(w, h.types[i], &h.events[i]);
        stand_release(&w->st);
        expect(w, &h);
    }
    stand_settle(&w->st);
    assert_int_equal(stand_number(&w->st, "SELECT count(*) FROM public.expected"), 2 * RUNS);
    assert_string_equal(
        stand_text(&w->st, "SELECT e.owner || ' ' || e.asset || ': ' || e.size || '/' || e.usable || ', not ' || "
                           "a.size || '/' || a.usable FROM public.expected e LEFT JOIN account a "
                           "USING (owner, asset) WHERE (a.size, a.usable) IS DISTINCT FROM (e.size, e.usable) "
                           "ORDER BY 1 LIMIT 1"),
        "");
}

static void every_statement_can_be_run_and_the_migrations_add_up(void **state)
{
    assert_statements_are_sound(*state, "asset-svc", NULL);
    assert_migrations_add_up(*state);
}

/* ---- what it answers for ---- */

/* What a CHECK would prevent. */
#define WITHOUT_CHECKS \
    "DO $$ DECLARE c record; BEGIN FOR c IN SELECT conrelid::regclass AS t, conname FROM pg_constraint WHERE contype " \
    "= 'c' AND connamespace = current_schema::regnamespace LOOP EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', " \
    "c.t, c.conname); END LOOP; END $$; "
static const struct planted PLANTED[] = {
    {"assets_entries_balance",
     "INSERT INTO journal VALUES (7, 'TRY', 1, '01890000-0000-7000-8000-00000000e001', now(), 'DEPOSIT', 5, 5, 0, 0, "
     "0::numeric + 5, 0::numeric + 5, 'TRANSFER', '01890000-0000-7000-8000-00000000e001', 'x'); INSERT INTO journal "
     "VALUES (-13, 'TRY', 1, '01890000-0000-7000-8000-00000000e001', now(), 'DEPOSIT', -4, -4, 0, 0, 0::numeric + -4, "
     "0::numeric + -4, 'TRANSFER', '01890000-0000-7000-8000-00000000e001', 'x')",
     "01890000-0000-7000-8000-00000000e001 TRY 1.000000"},
    {"assets_sum_to_zero", "INSERT INTO account VALUES (7, 'ASELS', 5, 5, 1)", "ASELS 5.000000"},
    {"assets_clearing_is_empty",
     "INSERT INTO account VALUES (-12, 'ASELS', 5, 5, 1); INSERT INTO account VALUES (-22, 'ASELS', -3, -3, 1)",
     "ASELS 2.000000"},
    {"assets_usable_within_size", WITHOUT_CHECKS "INSERT INTO account VALUES (7, 'ASELS', 5, 6, 1)",
     "7 ASELS 5.000000 6.000000"},
    {"assets_usable_within_size", WITHOUT_CHECKS "INSERT INTO account VALUES (8, 'ASELS', 5, -1, 1)", "8 ASELS"},
    {"assets_reserved_is_open_reservations",
     "INSERT INTO account VALUES (7, 'TRY', 5, 4, 1); INSERT INTO journal VALUES (7, 'TRY', 1, "
     "'01890000-0000-7000-8000-00000000e001', now(), 'DEPOSIT', 5, 4, 0, 0, 0::numeric + 5, 0::numeric + 4, "
     "'TRANSFER', '01890000-0000-7000-8000-00000000e001', 'x')",
     "7 TRY 1.000000 null"},
    {"assets_reserved_is_open_reservations",
     "INSERT INTO account VALUES (7, 'TRY', 5, 4, 1); INSERT INTO journal VALUES (7, 'TRY', 1, "
     "'01890000-0000-7000-8000-00000000e001', now(), 'DEPOSIT', 5, 4, 0, 0, 0::numeric + 5, 0::numeric + 4, "
     "'TRANSFER', '01890000-0000-7000-8000-00000000e001', 'x'); INSERT INTO reservation VALUES "
     "((lpad(to_hex(floor(extract(epoch FROM now()) * 1000)::bigint), 12, '0') || '70008000000000000001')::uuid, 7, "
     "'TRY', 'OPEN', 2, 0, 0, 0, 0, 3)",
     "7 TRY 1.000000 2.000000"},
    {"assets_journal_is_a_chain",
     "INSERT INTO journal VALUES (7, 'TRY', 1, '01890000-0000-7000-8000-00000000e001', now(), 'DEPOSIT', 5, 5, 0, 0, "
     "0::numeric + 5, 0::numeric + 5, 'TRANSFER', '01890000-0000-7000-8000-00000000e001', 'x'); INSERT INTO journal "
     "VALUES (7, 'TRY', 3, '01890000-0000-7000-8000-00000000e001', now(), 'DEPOSIT', 5, 5, 5, 5, 5::numeric + 5, "
     "5::numeric + 5, 'TRANSFER', '01890000-0000-7000-8000-00000000e001', 'x')",
     "7 TRY 3"},
    {"assets_journal_is_a_chain",
     "INSERT INTO journal VALUES (7, 'TRY', 1, '01890000-0000-7000-8000-00000000e001', now(), 'DEPOSIT', 5, 5, 0, 0, "
     "0::numeric + 5, 0::numeric + 5, 'TRANSFER', '01890000-0000-7000-8000-00000000e001', 'x'); INSERT INTO journal "
     "VALUES (7, 'TRY', 2, '01890000-0000-7000-8000-00000000e001', now(), 'DEPOSIT', 5, 5, 6, 5, 6::numeric + 5, "
     "5::numeric + 5, 'TRANSFER', '01890000-0000-7000-8000-00000000e001', 'x')",
     "7 TRY 2 6.000000 5.000000 5.000000"},
    {"assets_journal_is_a_chain",
     "INSERT INTO journal VALUES (7, 'TRY', 1, '01890000-0000-7000-8000-00000000e001', now(), 'DEPOSIT', 5, 5, 1, 0, "
     "1::numeric + 5, 0::numeric + 5, 'TRANSFER', '01890000-0000-7000-8000-00000000e001', 'x')",
     "7 TRY 1 1.000000"},
    {"assets_balances_are_their_last_lines",
     "INSERT INTO account VALUES (7, 'TRY', 6, 5, 1); INSERT INTO journal VALUES (7, 'TRY', 1, "
     "'01890000-0000-7000-8000-00000000e001', now(), 'DEPOSIT', 5, 5, 0, 0, 0::numeric + 5, 0::numeric + 5, "
     "'TRANSFER', '01890000-0000-7000-8000-00000000e001', 'x')",
     "7 TRY 1 6.000000 5.000000 1 5.000000"},
    {"assets_balances_are_their_last_lines",
     "INSERT INTO account VALUES (7, 'TRY', 5, 5, 1); INSERT INTO journal VALUES (7, 'TRY', 1, "
     "'01890000-0000-7000-8000-00000000e001', now(), 'DEPOSIT', 5, 5, 0, 0, 0::numeric + 5, 0::numeric + 5, "
     "'TRANSFER', '01890000-0000-7000-8000-00000000e001', 'x'); INSERT INTO journal VALUES (7, 'TRY', 2, "
     "'01890000-0000-7000-8000-00000000e001', now(), 'RELEASE', 0, 0, 5, 5, 5::numeric + 0, 5::numeric + 0, 'ORDER', "
     "'01890000-0000-7000-8000-00000000e001', 'x')",
     "7 TRY 1 5.000000 5.000000 2"},
    {"assets_balances_are_their_last_lines",
     "INSERT INTO journal VALUES (8, 'TRY', 1, '01890000-0000-7000-8000-00000000e001', now(), 'DEPOSIT', 5, 5, 0, 0, "
     "0::numeric + 5, 0::numeric + 5, 'TRANSFER', '01890000-0000-7000-8000-00000000e001', 'x')",
     "8 TRY null"},
    {"assets_fills_are_posted_once",
     "INSERT INTO reservation VALUES ((lpad(to_hex(floor(extract(epoch FROM now()) * 1000)::bigint), 12, '0') || "
     "'70008000000000000001')::uuid, 7, 'TRY', 'CAPTURED', 0, 5, 50, 0, 0, 3)",
     "5.000000 50.000000 null null"},
    {"assets_fills_are_posted_once",
     "INSERT INTO reservation VALUES ((lpad(to_hex(floor(extract(epoch FROM now()) * 1000)::bigint), 12, '0') || "
     "'70008000000000000001')::uuid, 7, 'TRY', 'CAPTURED', 0, 5, 50, 0, 0, 3); INSERT INTO journal VALUES (7, 'TRY', "
     "1, '01890000-0000-7000-8000-00000000e001', now(), 'TRADE', -50, 0, 100, 0, 100::numeric + -50, 0::numeric + 0, "
     "'ORDER', (lpad(to_hex(floor(extract(epoch FROM now()) * 1000)::bigint), 12, '0') || "
     "'70008000000000000001')::uuid, 'x'); INSERT INTO journal VALUES (7, 'ASELS', 1, "
     "'01890000-0000-7000-8000-00000000e001', now(), 'TRADE', 5, 5, 0, 0, 0::numeric + 5, 0::numeric + 5, 'ORDER', "
     "(lpad(to_hex(floor(extract(epoch FROM now()) * 1000)::bigint), 12, '0') || '70008000000000000001')::uuid, 'x'); "
     "INSERT INTO journal VALUES (7, 'TRY', 2, '01890000-0000-7000-8000-00000000e001', now(), 'TRADE', -50, 0, 100, 0, "
     "100::numeric + -50, 0::numeric + 0, 'ORDER', (lpad(to_hex(floor(extract(epoch FROM now()) * 1000)::bigint), 12, "
     "'0') || '70008000000000000001')::uuid, 'x'); INSERT INTO journal VALUES (7, 'ASELS', 2, "
     "'01890000-0000-7000-8000-00000000e001', now(), 'TRADE', 5, 5, 0, 0, 0::numeric + 5, 0::numeric + 5, 'ORDER', "
     "(lpad(to_hex(floor(extract(epoch FROM now()) * 1000)::bigint), 12, '0') || '70008000000000000001')::uuid, 'x')",
     "5.000000 50.000000 -100.000000 10.000000"},
    {"assets_fills_are_posted_once",
     "INSERT INTO reservation VALUES ((lpad(to_hex(floor(extract(epoch FROM now()) * 1000)::bigint), 12, '0') || "
     "'70008000000000000001')::uuid, 7, 'TRY', 'CAPTURED', 0, 5, 50, 0, 0, 3); INSERT INTO journal VALUES (7, 'TRY', "
     "1, '01890000-0000-7000-8000-00000000e001', now(), 'TRADE', 50, 0, 100, 0, 100::numeric + 50, 0::numeric + 0, "
     "'ORDER', (lpad(to_hex(floor(extract(epoch FROM now()) * 1000)::bigint), 12, '0') || "
     "'70008000000000000001')::uuid, 'x'); INSERT INTO journal VALUES (7, 'ASELS', 1, "
     "'01890000-0000-7000-8000-00000000e001', now(), 'TRADE', -5, -5, 5, 5, 5::numeric + -5, 5::numeric + -5, 'ORDER', "
     "(lpad(to_hex(floor(extract(epoch FROM now()) * 1000)::bigint), 12, '0') || '70008000000000000001')::uuid, 'x')",
     "5.000000 50.000000 50.000000 -5.000000"},
    {"assets_transfers_are_posted_once",
     "INSERT INTO booked_transfer VALUES ((lpad(to_hex(floor(extract(epoch FROM now()) * 1000)::bigint), 12, '0') || "
     "'70008000000000000001')::uuid, true, 5, 0)",
     "t 5.000000 null"},
    {"assets_transfers_are_posted_once",
     "INSERT INTO booked_transfer VALUES ((lpad(to_hex(floor(extract(epoch FROM now()) * 1000)::bigint), 12, '0') || "
     "'70008000000000000001')::uuid, true, 5, 0); INSERT INTO journal VALUES (7, 'TRY', 1, "
     "'01890000-0000-7000-8000-00000000e001', now(), 'DEPOSIT', 5, 5, 0, 0, 0::numeric + 5, 0::numeric + 5, "
     "'TRANSFER', (lpad(to_hex(floor(extract(epoch FROM now()) * 1000)::bigint), 12, '0') || "
     "'70008000000000000001')::uuid, 'x'); INSERT INTO journal VALUES (7, 'TRY', 2, "
     "'01890000-0000-7000-8000-00000000e001', now(), 'DEPOSIT', 5, 5, 5, 5, 5::numeric + 5, 5::numeric + 5, "
     "'TRANSFER', (lpad(to_hex(floor(extract(epoch FROM now()) * 1000)::bigint), 12, '0') || "
     "'70008000000000000001')::uuid, 'x')",
     "t 5.000000 2 10.000000"},
    {"assets_transfers_are_posted_once",
     "INSERT INTO booked_transfer VALUES ((lpad(to_hex(floor(extract(epoch FROM now()) * 1000)::bigint), 12, '0') || "
     "'70008000000000000001')::uuid, true, 5, 0); INSERT INTO journal VALUES (7, 'TRY', 1, "
     "'01890000-0000-7000-8000-00000000e001', now(), 'DEPOSIT', 6, 6, 0, 0, 0::numeric + 6, 0::numeric + 6, "
     "'TRANSFER', (lpad(to_hex(floor(extract(epoch FROM now()) * 1000)::bigint), 12, '0') || "
     "'70008000000000000001')::uuid, 'x')",
     "t 5.000000 1 6.000000"},
    {"assets_transfers_are_posted_once",
     "INSERT INTO booked_transfer VALUES ((lpad(to_hex(floor(extract(epoch FROM now()) * 1000)::bigint), 12, '0') || "
     "'70008000000000000001')::uuid, false, 5, 0); INSERT INTO journal VALUES (7, 'TRY', 1, "
     "'01890000-0000-7000-8000-00000000e001', now(), 'WITHDRAWAL', -5, -5, 9, 9, 9::numeric + -5, 9::numeric + -5, "
     "'TRANSFER', (lpad(to_hex(floor(extract(epoch FROM now()) * 1000)::bigint), 12, '0') || "
     "'70008000000000000001')::uuid, 'x')",
     "f 5.000000 1"},
    {NULL, NULL, NULL},
};

static void each_check_finds_what_it_is_for(void **state)
{
    assert_checks_find(*state, PLANTED);
}

int main(void)
{
#define STORY(test) cmocka_unit_test_setup_teardown(test, next_customer, assert_books_balance)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_statement_can_be_run_and_the_migrations_add_up),
        cmocka_unit_test(each_check_finds_what_it_is_for),
        STORY(an_order_that_needs_more_than_is_usable_is_refused_and_changes_nothing),
        STORY(a_state_that_can_not_be_is_parked_and_the_books_stay),
        STORY(what_is_set_aside_can_not_be_withdrawn),
        STORY(shares_are_brought_in_once_for_a_key_and_never_for_nobody),
        STORY(a_refusal_leaves_no_row_beside_a_neighbour),
        STORY(shares_can_be_brought_in_for_one_who_is_announced_in_the_same_batch),
        STORY(the_service_may_not_rewrite_its_journal),
        STORY(an_order_sets_aside_exactly_what_it_needs),
        STORY(an_order_for_all_that_is_usable_can_be_canceled_and_another_matched),
        STORY(of_twenty_orders_exactly_seven_can_be_paid),
        STORY(an_event_that_comes_three_times_has_its_effect_once_and_is_answered_each_time),
        STORY(events_that_were_overtaken_are_answered_by_what_the_books_hold),
        STORY(events_of_one_order_may_come_from_two_lanes_of_their_source),
        STORY(a_transfer_is_booked_once_and_answered_alike_however_often_it_is_asked_for),
        STORY(two_processes_move_one_account_and_take_one_key_once),
        STORY(whatever_order_events_come_in_the_books_end_alike),
    };
    cmocka_set_test_filter(getenv("TEST_ONLY"));
    return cmocka_run_group_tests(tests, open_world, close_world);
}
