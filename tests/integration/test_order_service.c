/* order-svc on a real PostgreSQL, in the rights of its own role: requests come by HTTP as a customer's or an admin's, and asset-svc's and
 * admin-svc's events are made here, in good and in bad order. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "events/asset_event.h"
#include "events/match_event.h"
#include "order-svc/api.h"
#include "order-svc/checks.h"
#include "order-svc/commands.h"
#include "order-svc/events.h"
#include "order-svc/migrations.h"
#include "support/audit.h"
#include "support/schema.h"
#include "support/stand.h"
#include "unit/unit.h"

static const struct service_spec SPEC = {
    .name = "order-svc",
    .schema = "orders",
    .topic = "order-events",
    .consumes = ORDER_SVC_CONSUMES,
    .kinds = ORDER_SVC_KINDS,
    .ops = &ORDER_SVC_OPS,
    .routes = ORDER_SVC_ROUTES,
    .migrations = ORDER_SVC_MIGRATIONS,
    .checks = ORDER_SVC_CHECKS,
    .reread = api_reread,
    .open = api_open,
    .close = api_close,
};
enum { ADMIN = 1 };
#define ORDERS "/api/v1/orders"

struct world {
    struct stand st; /* first */
    int64_t customer;
};

static int open_world(void **state)
{
    struct world *w = mem_alloc(sizeof *w);
    stand_open(&w->st, &SPEC, "orders", "orders");
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

static int assert_orders_are_sound(void **state)
{
    static const struct {
        const char *wrong, *what;
    } CHECKS[] = {
        {"SELECT count(*) FROM orders o WHERE (SELECT count(*) FROM order_history h WHERE h.order_id = o.id AND "
         "h.version <= o.version) <> o.version",
         "a line of history for each version"},
        {"SELECT count(*) FROM orders o WHERE (SELECT count(*) FROM outbox x WHERE x.type LIKE 'order.%' AND "
         "x.payload::json->'data'->>'orderId' = o.id::text) <> o.version",
         "an event for each version"},
        {"SELECT count(*) FROM (SELECT seq, row_number() OVER (ORDER BY seq) r FROM outbox) x WHERE seq <> r",
         "the outbox is dense"},
    };
    struct world *w = *state;
    for (size_t i = 0; i < LENGTH_OF(CHECKS); i++)
        ROW_CHECK(stand_number(&w->st, "%s", CHECKS[i].wrong) == 0, CHECKS[i].what);
    return 0;
}

/* ---- requests ---- */

struct placing {
    const char *side, *size, *price, *client_order_id, *key;
};

static int send_place(struct world *w, const struct placing *p)
{
    char body[256], client[96] = "";
    if (p->client_order_id != NULL)
        snprintf(client, sizeof client, ",\"clientOrderId\":\"%s\"", p->client_order_id);
    snprintf(body, sizeof body, "{\"assetName\":\"THYAO\",\"orderSide\":\"%s\",\"size\":\"%s\",\"price\":\"%s\"%s}",
             p->side, p->size, p->price, client);
    return stand_send(
        &w->st,
        &(struct ask){.method = "POST", .path = ORDERS, .body = body, .key = p->key, .customer_id = w->customer});
}

struct awaited {
    struct world *w;
    char sql[256];
    const char *is;
};

static bool is_so(void *arg)
{
    struct awaited *a = arg;
    const char *is = stand_text(&a->w->st, "%s", a->sql);
    return a->is != NULL ? strcmp(is, a->is) == 0 : *is != '\0';
}

/* The only order of this customer that is NEW, once it is there. */
static struct uuid new_order(struct world *w)
{
    struct uuid id;
    struct awaited a = {.w = w};
    snprintf(a.sql, sizeof a.sql, "SELECT id FROM orders WHERE status = 'NEW' AND customer_id = %" PRId64, w->customer);
    assert_true(scratch_await(is_so, &a, 5000));
    assert_true(uuid_parse(str_of(stand_text(&w->st, "%s", a.sql)), &id));
    return id;
}

static void await_status(struct world *w, struct uuid id, const char *status)
{
    char text[UUID_TEXT_MAX];
    uuid_format(id, text);
    struct awaited a = {.w = w, .is = status};
    snprintf(a.sql, sizeof a.sql, "SELECT status || ' ' || version FROM orders WHERE id = '%s'", text);
    if (!scratch_await(is_so, &a, 5000))
        fail_msg("the order does not become %s", status);
}

static int send_cancel(struct world *w, struct uuid id, int64_t customer_id)
{
    char text[UUID_TEXT_MAX], path[80];
    uuid_format(id, text);
    snprintf(path, sizeof path, ORDERS "/%s", text);
    return stand_send(&w->st, &(struct ask){.method = "DELETE", .path = path, .customer_id = customer_id});
}

static const char *status_of(struct world *w, struct uuid id)
{
    char text[UUID_TEXT_MAX];
    uuid_format(id, text);
    return stand_text(&w->st, "SELECT status || ' ' || version FROM orders WHERE id = '%s'", text);
}

/* ---- what the others say ---- */

static void feed(struct world *w, const char *topic, const char *type, int64_t customer_id, struct buf *data)
{
    stand_feed(&w->st,
               &(struct feed){.topic = topic, .type = type, .customer_id = customer_id, .data = buf_cstr(data)});
    buf_done(data);
}

static void books_say(struct world *w, const char *type, struct uuid order_id, int64_t version)
{
    struct buf data;
    buf_init(&data);
    asset_outcome_encode(&data, &(struct asset_outcome){.order_id = order_id,
                                                        .customer_id = w->customer,
                                                        .version = version,
                                                        .asset = "TRY",
                                                        .required = 100 * DECIMAL_ONE,
                                                        .usable = 7 * DECIMAL_ONE});
    feed(w, "asset-events", type, w->customer, &data);
}

static void ask_match(struct world *w, struct uuid order_id, decimal_t size)
{
    struct buf data;
    buf_init(&data);
    match_requested_encode(&data, &(struct match_requested){
                                      .match_id = uuid_v7(), .order_id = order_id, .size = size, .actor = "ADMIN:1"});
    feed(w, "admin-events", "match.requested", w->customer, &data);
}

static struct uuid open_order(struct world *w)
{
    int placing = send_place(w, &(struct placing){"BUY", "10", "10", NULL, NULL});
    struct uuid id = new_order(w);
    books_say(w, "asset.reserved", id, 1);
    assert_int_equal(stand_hear(&w->st, placing).status, 201);
    return id;
}

static const char *events_of(struct world *w, struct uuid id)
{
    char text[UUID_TEXT_MAX];
    uuid_format(id, text);
    return stand_text(
        &w->st,
        "SELECT string_agg(type || coalesce(' ' || (payload::json->'data'->>'code'), ''), ', ' ORDER BY seq) "
        "FROM outbox WHERE payload::json->>'subject' = '%s'",
        text);
}

/* ---- stories ---- */

static void an_order_that_the_books_refuse_is_rejected_and_gives_its_names_back(void **state)
{
    static const struct placing ORDER = {"BUY", "10", "10", "mine-1", "key-place-1"};
    struct world *w = *state;
    int refused = send_place(w, &ORDER);
    struct uuid id = new_order(w);
    books_say(w, "asset.refused", id, 1);
    struct answer a = stand_hear(&w->st, refused);
    assert_int_equal(a.status, 422);
    assert_string_equal(stand_member(&w->st, a.body, "code"), "insufficient_usable_size");
    assert_string_equal(stand_member(&w->st, a.body, "required"), "100");
    assert_string_equal(stand_member(&w->st, a.body, "usable"), "7");
    assert_string_equal(status_of(w, id), "REJECTED 2");

    int again = send_place(w, &ORDER); /* the same key, the same clientOrderId: an order of its own */
    struct uuid second = new_order(w);
    assert_false(uuid_eq(second, id));
    books_say(w, "asset.reserved", second, 1);
    struct answer b = stand_hear(&w->st, again);
    assert_int_equal(b.status, 201);
    assert_false(b.replayed);
    int cancel = send_cancel(w, id, w->customer);
    assert_int_equal(stand_hear(&w->st, cancel).status, 409);
}

static void a_client_order_id_is_taken_once(void **state)
{
    static const struct placing ORDER = {"BUY", "10", "10", "mine-2", NULL};
    struct world *w = *state;
    stand_hold(&w->st);
    int first = send_place(w, &ORDER);
    stand_await_inbox(&w->st, 1);
    int second = send_place(w, &ORDER);
    stand_await_inbox(&w->st, 2);
    stand_release(&w->st);
    assert_int_equal(stand_hear(&w->st, second).status, 409);
    assert_int_equal(stand_hear(&w->st, send_place(w, &ORDER)).status, 409);
    struct uuid id = new_order(w);
    books_say(w, "asset.reserved", id, 1);
    assert_int_equal(stand_hear(&w->st, first).status, 201);

    w->customer++;
    int other = send_place(w, &ORDER); /* another customer's is another's */
    books_say(w, "asset.reserved", new_order(w), 1);
    assert_int_equal(stand_hear(&w->st, other).status, 201);
}

static void a_key_is_answered_with_the_order_it_made(void **state)
{
    struct world *w = *state;
    int first = send_place(w, &(struct placing){"BUY", "10", "10", NULL, "key-place-2"});
    struct uuid id = new_order(w);
    int same = send_place(w,
                          &(struct placing){"BUY", "10.0", "10.00", NULL, "key-place-2"}); /* while it is under way */
    assert_int_equal(
        stand_hear(&w->st, send_place(w, &(struct placing){"BUY", "10", "11", NULL, "key-place-2"})).status, 422);
    books_say(w, "asset.reserved", id, 1);
    struct answer a = stand_hear(&w->st, first), b = stand_hear(&w->st, same),
                  c = stand_hear(&w->st, send_place(w, &(struct placing){"BUY", "10", "10", NULL, "key-place-2"}));
    assert_int_equal(a.status, 201);
    assert_false(a.replayed);
    assert_string_equal(b.body, a.body);
    assert_string_equal(c.body, a.body);
    assert_true(b.replayed && c.replayed);
    assert_int_equal(stand_number(&w->st, "SELECT count(*) FROM orders WHERE customer_id = %" PRId64, w->customer), 1);
}

static void an_order_canceled_while_it_is_new_stays_canceled_whatever_the_books_answer(void **state)
{
    static const char *const LATE[] = {"asset.reserved", "asset.refused", "asset.released"};
    struct world *w = *state;
    for (size_t i = 0; i < LENGTH_OF(LATE); i++) {
        int placing = send_place(w, &(struct placing){"BUY", "10", "10", NULL, NULL});
        struct uuid id = new_order(w);
        int canceling = send_cancel(w, id, w->customer);
        await_status(w, id, "CANCELED 2");
        books_say(w, LATE[i], id, 1);
        stand_settle(&w->st);
        assert_string_equal(status_of(w, id), "CANCELED 2");
        books_say(w, "asset.released", id, 2);
        assert_int_equal(stand_hear(&w->st, canceling).status, 200);
        stand_hear(&w->st, placing);
        assert_string_equal(events_of(w, id), "order.placed, order.canceled");
    }
}

static void cancel_and_reserved_in_one_batch_end_canceled(void **state)
{
    struct world *w = *state;
    for (int cancel_first = 0; cancel_first < 2; cancel_first++) {
        int placing = send_place(w, &(struct placing){"BUY", "10", "10", NULL, NULL}), canceling = -1;
        struct uuid id = new_order(w);
        stand_hold(&w->st);
        if (cancel_first) {
            canceling = send_cancel(w, id, w->customer);
            stand_await_inbox(&w->st, 1);
        }
        books_say(w, "asset.reserved", id, 1);
        if (!cancel_first) {
            canceling = send_cancel(w, id, w->customer);
            stand_await_inbox(&w->st, 2);
        }
        stand_release(&w->st);
        stand_settle(&w->st);
        int64_t version = cancel_first ? 2 : 3;
        assert_string_equal(status_of(w, id), cancel_first ? "CANCELED 2" : "CANCELED 3");
        books_say(w, "asset.released", id, version);
        assert_int_equal(stand_hear(&w->st, canceling).status, 200);
        stand_hear(&w->st, placing);
        assert_string_equal(events_of(w, id), cancel_first ? "order.placed, order.canceled"
                                                           : "order.placed, order.opened, order.canceled");
    }
}

static void sixteen_cancels_of_one_order_cancel_it_once(void **state)
{
    enum { COUNT = 16 };
    struct world *w = *state;
    struct uuid id = open_order(w);
    int sockets[COUNT];
    for (int i = 0; i < COUNT; i++)
        sockets[i] = send_cancel(w, id, w->customer);
    stand_settle(&w->st);
    books_say(w, "asset.released", id, 3);
    struct answer first = stand_hear(&w->st, sockets[0]);
    assert_int_equal(first.status, 200);
    for (int i = 1; i < COUNT; i++)
        assert_string_equal(stand_hear(&w->st, sockets[i]).body, first.body);
    assert_string_equal(stand_hear(&w->st, send_cancel(w, id, w->customer)).body, first.body); /* and later */
    assert_string_equal(events_of(w, id), "order.placed, order.opened, order.canceled");
}

static void an_order_of_somebody_else_is_not_there(void **state)
{
    struct world *w = *state;
    struct uuid id = open_order(w);
    assert_int_equal(stand_hear(&w->st, send_cancel(w, id, w->customer + 1)).status, 404);
    assert_int_equal(stand_hear(&w->st, send_cancel(w, uuid_v7(), w->customer)).status, 404);
    assert_string_equal(status_of(w, id), "PENDING 2");
}

static void a_match_fills_what_is_pending_and_says_why_it_does_not(void **state)
{
    struct world *w = *state;
    struct uuid id = open_order(w), gone = open_order(w), unknown = uuid_v7();
    int placing = send_place(w, &(struct placing){"BUY", "10", "10", NULL, NULL});
    struct uuid fresh = new_order(w);
    int canceling = send_cancel(w, gone, w->customer);
    await_status(w, gone, "CANCELED 3");
    stand_hold(&w->st);
    ask_match(w, unknown, 0);
    ask_match(w, fresh, 0);
    ask_match(w, gone, 0);
    ask_match(w, id, 11 * DECIMAL_ONE);
    ask_match(w, id, 4 * DECIMAL_ONE);
    ask_match(w, id, 7 * DECIMAL_ONE);
    ask_match(w, id, 0);
    ask_match(w, id, 0);
    stand_release(&w->st);
    stand_settle(&w->st);
    assert_string_equal(events_of(w, unknown), "match.refused order_not_found");
    assert_string_equal(events_of(w, fresh), "order.placed, match.refused order_not_matchable");
    assert_string_equal(events_of(w, gone),
                        "order.placed, order.opened, order.canceled, match.refused order_not_matchable");
    assert_string_equal(events_of(w, id),
                        "order.placed, order.opened, match.refused order_not_matchable, order.filled, "
                        "match.refused order_not_matchable, order.filled, match.refused already_matched");
    assert_string_equal(status_of(w, id), "MATCHED 4");
    char text[UUID_TEXT_MAX];
    uuid_format(id, text);
    assert_string_equal(
        stand_text(&w->st,
                   "SELECT trim_scale(house_size) || ' for ' || trim_scale(house_value) FROM orders WHERE id = '%s'",
                   text),
        "10 for 100");
    assert_string_equal(
        stand_text(&w->st,
                   "SELECT string_agg(payload::json->'data'->'fill'->>'size', ' ' ORDER BY seq) FROM outbox "
                   "WHERE type = 'order.filled' AND payload::json->>'subject' = '%s'",
                   text),
        "4 6");
    assert_int_equal(stand_hear(&w->st, send_cancel(w, id, w->customer)).status, 409);
    books_say(w, "asset.reserved", fresh, 1);
    books_say(w, "asset.released", gone, 3);
    assert_int_equal(stand_hear(&w->st, placing).status, 201);
    assert_int_equal(stand_hear(&w->st, canceling).status, 200);
}

static void what_the_books_say_twice_or_late_moves_nothing(void **state)
{
    struct world *w = *state;
    struct uuid id = open_order(w);
    ask_match(w, id, 0);
    for (int i = 0; i < 3; i++) {
        books_say(w, "asset.reserved", id, 1);
        books_say(w, "asset.refused", id, 1);
        books_say(w, "asset.released", id, 3);
    }
    stand_settle(&w->st);
    assert_string_equal(status_of(w, id), "MATCHED 3");
    assert_string_equal(events_of(w, id), "order.placed, order.opened, order.filled");
    int64_t parked = stand_number(&w->st, "SELECT count(*) FROM parked_event");
    books_say(w, "asset.reserved", uuid_v7(), 1); /* of an order that nobody placed */
    stand_settle(&w->st);
    assert_int_equal(stand_number(&w->st, "SELECT count(*) FROM parked_event"), parked + 1);
}

static void cancel_all_takes_the_open_ones_of_a_side_and_answers_when_the_last_is_given_back(void **state)
{
    struct world *w = *state;
    struct uuid a = open_order(w), b = open_order(w), matched = open_order(w);
    ask_match(w, matched, 0);
    int selling = send_place(w, &(struct placing){"SELL", "1", "1", NULL, NULL});
    struct uuid sell = new_order(w);
    books_say(w, "asset.reserved", sell, 1);
    stand_hear(&w->st, selling);

    int all = stand_send(
        &w->st, &(struct ask){.method = "DELETE", .path = ORDERS "?orderSide=BUY", .customer_id = w->customer});
    stand_settle(&w->st);
    books_say(w, "asset.released", a, 3);
    books_say(w, "asset.released", b, 3);
    struct answer answer = stand_hear(&w->st, all);
    assert_int_equal(answer.status, 200);
    char first[UUID_TEXT_MAX], second[UUID_TEXT_MAX];
    uuid_format(a, first);
    uuid_format(b, second);
    const char *at = strstr(answer.body, first);
    assert_non_null(at);
    assert_non_null(strstr(at, second));
    assert_string_equal(status_of(w, a), "CANCELED 3");
    assert_string_equal(status_of(w, b), "CANCELED 3");
    assert_string_equal(status_of(w, matched), "MATCHED 3");
    assert_string_equal(status_of(w, sell), "PENDING 2");
    struct answer none = stand_ask(
        &w->st, &(struct ask){.method = "DELETE", .path = ORDERS "?orderSide=BUY", .customer_id = w->customer});
    assert_int_equal(none.status, 200);
    assert_string_equal(none.body, "{\"canceled\":[]}");
}

static void an_admin_places_for_a_customer_who_is_known(void **state)
{
    struct world *w = *state;
    char body[160], data[160];
    snprintf(body, sizeof body,
             "{\"assetName\":\"THYAO\",\"orderSide\":\"BUY\",\"size\":1,\"price\":1,\"customerId\":%" PRId64 "}",
             w->customer);
    const struct ask ask = {.method = "POST", .path = ORDERS, .body = body, .customer_id = ADMIN, .admin = true};
    assert_int_equal(stand_ask(&w->st, &ask).status, 404);
    assert_int_equal(stand_number(&w->st, "SELECT count(*) FROM orders WHERE customer_id = %" PRId64, w->customer), 0);

    int waiting = stand_send(&w->st, &ask); /* his registration is on its way */
    snprintf(data, sizeof data,
             "{\"customerId\":%" PRId64 ",\"username\":\"x\",\"fullName\":\"X\",\"role\":\"CUSTOMER\"}", w->customer);
    stand_feed(
        &w->st,
        &(struct feed){.topic = "auth-events", .type = "user.registered", .customer_id = w->customer, .data = data});
    stand_settle(&w->st);
    books_say(w, "asset.reserved", new_order(w), 1);
    assert_int_equal(stand_hear(&w->st, waiting).status, 201);
    assert_string_equal(
        stand_text(
            &w->st,
            "SELECT string_agg(h.actor, ' ' ORDER BY h.version) FROM order_history h JOIN orders ON id = order_id "
            "WHERE customer_id = %" PRId64,
            w->customer),
        "ADMIN:1 SYSTEM:asset-svc");
}

static void a_barrier_is_answered_with_all_that_was_published_before_it(void **state)
{
    struct world *w = *state;
    open_order(w);
    struct buf data;
    buf_init(&data);
    struct uuid id = uuid_v7();
    barrier_requested_encode(&data, &(struct barrier_requested){id});
    stand_hold(&w->st);
    int placing = send_place(w, &(struct placing){"BUY", "1", "1", NULL, NULL}); /* in the batch of the barrier */
    stand_await_inbox(&w->st, 1);
    feed(w, "admin-events", "barrier.requested", w->customer, &data);
    stand_release(&w->st);
    stand_settle(&w->st);
    char text[UUID_TEXT_MAX];
    uuid_format(id, text);
    /* Each mark is the last part_seq before the answer's own. */
    assert_int_equal(
        stand_number(
            &w->st,
            "WITH b AS (SELECT seq, payload::json->'data'->'marks' AS marks FROM outbox WHERE type = 'barrier.reached' "
            "AND payload::json->>'subject' = '%s'), "
            "m AS (SELECT (k->>'partition')::int p, (k->>'partSeq')::bigint n FROM b, json_array_elements(b.marks) k), "
            "t AS (SELECT o.partition p, max(o.part_seq) n FROM outbox o, b WHERE o.aggregatetype = 'order-events' AND "
            "o.seq < b.seq GROUP BY 1) "
            "SELECT count(*) FROM m FULL JOIN t USING (p) WHERE m.n IS DISTINCT FROM t.n",
            text),
        0);
    books_say(w, "asset.reserved", new_order(w), 1);
    assert_int_equal(stand_hear(&w->st, placing).status, 201);
}

static void every_statement_can_be_run_and_the_migrations_add_up(void **state)
{
    static const char *const SMALL[] = {"lane_undrained", "relay_topics", NULL};
    assert_statements_are_sound(*state, "common/svc", SMALL);
    assert_statements_are_sound(*state, "order-svc", NULL);
    assert_migrations_add_up(*state);
}

/* ---- what it answers for ---- */

/* What a CHECK would prevent. */
#define WITHOUT_CHECKS \
    "DO $$ DECLARE c record; BEGIN FOR c IN SELECT conrelid::regclass AS t, conname FROM pg_constraint WHERE contype " \
    "= 'c' AND connamespace = current_schema::regnamespace LOOP EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', " \
    "c.t, c.conname); END LOOP; END $$; "
static const struct planted PLANTED[] = {
    {"orders_are_what_was_matched",
     WITHOUT_CHECKS "INSERT INTO orders (id, customer_id, asset, side, size, price, status, house_size, house_value, "
                    "version, create_date, update_date, actor) VALUES ('01890000-0000-7000-8000-000000000001', 7, "
                    "'ASELS', 'BUY', 10, 10, 'PENDING', 11, 110, 1, now(), now(), 'x')",
     "01890000-0000-7000-8000-000000000001 PENDING"},
    {"orders_are_what_was_matched",
     WITHOUT_CHECKS "INSERT INTO orders (id, customer_id, asset, side, size, price, status, house_size, house_value, "
                    "version, create_date, update_date, actor) VALUES ('01890000-0000-7000-8000-000000000002', 7, "
                    "'ASELS', 'BUY', 10, 10, 'MATCHED', 9, 90, 1, now(), now(), 'x')",
     "01890000-0000-7000-8000-000000000002 MATCHED"},
    {"orders_are_what_was_matched",
     WITHOUT_CHECKS "INSERT INTO orders (id, customer_id, asset, side, size, price, status, house_size, house_value, "
                    "version, create_date, update_date, actor) VALUES ('01890000-0000-7000-8000-000000000003', 7, "
                    "'ASELS', 'BUY', 10, 10, 'PENDING', 10, 100, 1, now(), now(), 'x')",
     "01890000-0000-7000-8000-000000000003 PENDING"},
    {"orders_are_what_was_matched",
     WITHOUT_CHECKS "INSERT INTO orders (id, customer_id, asset, side, size, price, status, house_size, house_value, "
                    "version, create_date, update_date, actor) VALUES ('01890000-0000-7000-8000-000000000004', 7, "
                    "'ASELS', 'BUY', 10, 10, 'REJECTED', 1, 10, 1, now(), now(), 'x')",
     "01890000-0000-7000-8000-000000000004 REJECTED"},
    {"orders_are_what_was_matched",
     WITHOUT_CHECKS "INSERT INTO orders (id, customer_id, asset, side, size, price, status, house_size, house_value, "
                    "version, create_date, update_date, actor) VALUES ('01890000-0000-7000-8000-000000000005', 7, "
                    "'ASELS', 'BUY', 10, 10, 'CANCELED', 1, 0, 1, now(), now(), 'x')",
     "01890000-0000-7000-8000-000000000005 CANCELED"},
    {"orders_history_is_complete",
     "INSERT INTO orders (id, customer_id, asset, side, size, price, status, house_size, house_value, version, "
     "create_date, update_date, actor) VALUES ('01890000-0000-7000-8000-000000000001', 7, 'ASELS', 'BUY', 10, 10, "
     "'PENDING', 0, 0, 2, now(), now(), 'x'); INSERT INTO order_history VALUES "
     "('01890000-0000-7000-8000-000000000001', 2, 'PENDING', now(), NULL, 'x')",
     "01890000-0000-7000-8000-000000000001 2 PENDING 1 2"},
    {"orders_history_is_complete",
     "INSERT INTO orders (id, customer_id, asset, side, size, price, status, house_size, house_value, version, "
     "create_date, update_date, actor) VALUES ('01890000-0000-7000-8000-000000000002', 7, 'ASELS', 'BUY', 10, 10, "
     "'CANCELED', 0, 0, 1, now(), now(), 'x'); INSERT INTO order_history VALUES "
     "('01890000-0000-7000-8000-000000000002', 1, 'NEW', now(), NULL, 'x')",
     "01890000-0000-7000-8000-000000000002 1 CANCELED"},
    {"orders_history_is_complete",
     "INSERT INTO orders (id, customer_id, asset, side, size, price, status, house_size, house_value, version, "
     "create_date, update_date, actor) VALUES ('01890000-0000-7000-8000-000000000003', 7, 'ASELS', 'BUY', 10, 10, "
     "'NEW', 0, 0, 1, now(), now(), 'x'); INSERT INTO order_history VALUES ('01890000-0000-7000-8000-000000000003', 1, "
     "'NEW', now(), NULL, 'x'); INSERT INTO order_history VALUES ('01890000-0000-7000-8000-000000000003', 2, "
     "'PENDING', now(), NULL, 'x')",
     "01890000-0000-7000-8000-000000000003 1 NEW 2 2"},
    {"orders_history_is_complete",
     "INSERT INTO orders (id, customer_id, asset, side, size, price, status, house_size, house_value, version, "
     "create_date, update_date, actor) VALUES ('01890000-0000-7000-8000-000000000004', 7, 'ASELS', 'BUY', 10, 10, "
     "'NEW', 0, 0, 1, now(), now(), 'x')",
     "01890000-0000-7000-8000-000000000004 1 NEW 0 null"},
    {"orders_are_answered_by_the_books",
     "INSERT INTO orders (id, customer_id, asset, side, size, price, status, house_size, house_value, version, "
     "create_date, update_date, actor) VALUES ('01890000-0000-7000-8000-000000000001', 7, 'ASELS', 'BUY', 10, 10, "
     "'NEW', 0, 0, 1, now() - interval '31 s', now(), 'x')",
     "01890000-0000-7000-8000-000000000001 7"},
    {"orders_keys_name_what_was_made",
     "INSERT INTO idempotency VALUES (7, 'r', 'key-12345', 'm', '01890000-0000-7000-8000-000000000009', now())",
     "7 r 01890000-0000-7000-8000-000000000009"},
    {"orders_keys_name_what_was_made",
     "INSERT INTO orders (id, customer_id, asset, side, size, price, status, house_size, house_value, version, "
     "create_date, update_date, actor) VALUES ('01890000-0000-7000-8000-000000000001', 7, 'ASELS', 'BUY', 10, 10, "
     "'REJECTED', 0, 0, 1, now(), now(), 'x'); INSERT INTO idempotency VALUES (8, 'r', 'key-12345', 'm', "
     "'01890000-0000-7000-8000-000000000001', now())",
     "8 r 01890000-0000-7000-8000-000000000001"},
    {NULL, NULL, NULL},
};

static void each_check_finds_what_it_is_for(void **state)
{
    assert_checks_find(*state, PLANTED);
}

int main(void)
{
#define STORY(test) cmocka_unit_test_setup_teardown(test, next_customer, assert_orders_are_sound)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_statement_can_be_run_and_the_migrations_add_up),
        cmocka_unit_test(each_check_finds_what_it_is_for),
        STORY(an_order_that_the_books_refuse_is_rejected_and_gives_its_names_back),
        STORY(a_client_order_id_is_taken_once),
        STORY(an_order_of_somebody_else_is_not_there),
        STORY(an_order_canceled_while_it_is_new_stays_canceled_whatever_the_books_answer),
        STORY(cancel_and_reserved_in_one_batch_end_canceled),
        STORY(what_the_books_say_twice_or_late_moves_nothing),
        STORY(a_match_fills_what_is_pending_and_says_why_it_does_not),
        STORY(a_key_is_answered_with_the_order_it_made),
        STORY(sixteen_cancels_of_one_order_cancel_it_once),
        STORY(cancel_all_takes_the_open_ones_of_a_side_and_answers_when_the_last_is_given_back),
        STORY(an_admin_places_for_a_customer_who_is_known),
        STORY(a_barrier_is_answered_with_all_that_was_published_before_it),
    };
    cmocka_set_test_filter(getenv("TEST_ONLY"));
    return cmocka_run_group_tests(tests, open_world, close_world);
}
