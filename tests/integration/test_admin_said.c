/* admin-svc keeps what the services say, and its answer to GET /admin/audit tells where they don't agree: events in, answer out. */
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
#include "events/transfer_event.h"
#include "support/audit.h"
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
enum { CUSTOMER = 100, SIZE = 10, PRICE = 5 };
#define ORDERS_AGREE "admin_orders_agree_with_books"
#define ANSWERED_ONCE "admin_transfers_and_accounts_are_answered_once"
#define NEVER_AHEAD "admin_books_are_never_ahead_of_orders"

static int open_world(void **state)
{
    struct stand *st = mem_alloc(sizeof *st);
    stand_open(st, &SPEC, "admin_said", "admin");
    *state = st;
    return 0;
}

static int close_world(void **state)
{
    stand_close(*state);
    mem_free(*state);
    return 0;
}

static int forget(void **state)
{
    stand_run(*state, "TRUNCATE book_order, posted_order, exchange, match CASCADE");
    return 0;
}

/* ---- what comes in ---- */

static void feed(struct stand *st, const char *topic, const char *type, struct buf *data)
{
    stand_feed(st, &(struct feed){.topic = topic, .type = type, .customer_id = CUSTOMER, .data = buf_cstr(data)});
    buf_done(data);
}

static struct order_event opened(void)
{
    time_us_t now = clock_now_us();
    return (struct order_event){.order = {.id = uuid_v7(),
                                          .customer_id = CUSTOMER,
                                          .asset = "ASELS",
                                          .side = ORDER_BUY,
                                          .size = SIZE * DECIMAL_ONE,
                                          .price = PRICE * DECIMAL_ONE,
                                          .status = ORDER_PENDING,
                                          .version = 2,
                                          .create_date = now,
                                          .update_date = now,
                                          .actor = "CUSTOMER:100"}};
}

static struct order_event filled(struct order_event e, int shares)
{
    e.order.house.size += shares * DECIMAL_ONE;
    e.order.house.value += shares * PRICE * DECIMAL_ONE;
    e.order.status = e.order.house.size == e.order.size ? ORDER_MATCHED : ORDER_PENDING;
    e.order.version++;
    e.match_id = uuid_v7();
    e.fill = (struct order_fill){shares * DECIMAL_ONE, shares * PRICE * DECIMAL_ONE};
    return e;
}

static struct order_event canceled(struct order_event e)
{
    e.order.status = ORDER_CANCELED;
    e.order.version++;
    return e;
}

static void order_svc_says(struct stand *st, const char *type, const struct order_event *e)
{
    struct buf data;
    buf_init(&data);
    order_event_encode(&data, e);
    feed(st, "order-events", type, &data);
}

/* What the books hold of it, and which order event they answer: its number in order-events. */
static void books_say(struct stand *st, const char *type, const struct order_event *e, int64_t version, int reserved,
                      int matched, int64_t asked)
{
    struct buf data;
    buf_init(&data);
    asset_outcome_encode(&data, &(struct asset_outcome){.order_id = e->order.id,
                                                        .customer_id = CUSTOMER,
                                                        .version = version,
                                                        .match_id = e->match_id,
                                                        .asset = "TRY",
                                                        .reserved = reserved * DECIMAL_ONE,
                                                        .matched_size = matched * DECIMAL_ONE,
                                                        .matched_value = matched * PRICE * DECIMAL_ONE,
                                                        .asked_lane = 1,
                                                        .asked_partition = stand_partition(CUSTOMER),
                                                        .asked_part_seq = asked});
    feed(st, "asset-events", type, &data);
}

static void transfer_is_asked(struct stand *st, struct uuid id, int amount)
{
    struct buf data;
    buf_init(&data);
    transfer_requested_encode(
        &data, &(struct transfer_requested){id, CUSTOMER, TRANSFER_DEPOSIT, amount * DECIMAL_ONE, "CUSTOMER:100"});
    feed(st, "txn-events", "transfer.requested", &data);
}

static void transfer_is(struct stand *st, const char *type, struct uuid id, int amount)
{
    struct buf data;
    buf_init(&data);
    transfer_outcome_encode(&data, &(struct transfer_outcome){id, CUSTOMER, amount * DECIMAL_ONE, 0});
    feed(st, "asset-events", type, &data);
}

static void user_is(struct stand *st, const char *topic, const char *type, const char *data)
{
    stand_feed(st, &(struct feed){.topic = topic, .type = type, .customer_id = CUSTOMER, .data = data});
}
static const char REGISTERED[] = "{\"customerId\":100,\"username\":\"ayse\",\"fullName\":\"A\",\"role\":\"CUSTOMER\"}";
static const char OPENED[] = "{\"customerId\":100,\"assetName\":\"TRY\",\"size\":\"0\"}";

static void assert_clean(struct stand *st)
{
    stand_settle(st);
    assert_audit_answers(st, NULL, NULL);
}

static void assert_told(struct stand *st, const char *check, struct uuid id)
{
    char text[UUID_TEXT_MAX];
    uuid_format(id, text);
    stand_settle(st);
    assert_audit_answers(st, check, text);
}

/* ---- stories ---- */

static void the_life_of_an_order_agrees_at_each_of_its_steps(void **state)
{
    struct stand *st = *state;
    struct order_event e = opened(), part = filled(e, 4), rest = filled(part, 6);
    books_say(st, "asset.reserved", &e, 1, 50, 0, 1);
    assert_clean(st); /* the books' word is heard first */
    order_svc_says(st, "order.opened", &e);
    assert_clean(st);
    order_svc_says(st, "order.filled", &part);
    assert_clean(st); /* in flight */
    books_say(st, "asset.settled", &part, 3, 30, 4, 1);
    assert_clean(st);
    order_svc_says(st, "order.filled", &rest);
    books_say(st, "asset.settled", &rest, 4, 0, 10, 1);
    books_say(st, "asset.settled", &part, 4, 0, 10, 1); /* asked again about what is past */
    assert_clean(st);

    struct order_event gone = opened(), end = canceled(gone);
    stand_hold(st); /* all in one batch */
    order_svc_says(st, "order.opened", &gone);
    books_say(st, "asset.reserved", &gone, 1, 50, 0, 1);
    books_say(st, "asset.released", &end, 3, 0, 0, 1);
    order_svc_says(st, "order.canceled", &end);
    stand_release(st);
    assert_clean(st);
    assert_int_equal(stand_number(st, "SELECT count(*) FROM posted_order WHERE version > 2 AND reserved = 0"), 2);
}

static void books_that_hold_another_state_are_named_until_they_agree(void **state)
{
    static const struct {
        int reserved, matched;
        const char *why;
    } ROWS[] = {
        {30, 3, "less was posted"},          {30, 5, "more was posted"},
        {29, 4, "less is set aside"},        {50, 4, "nothing was taken off what is set aside"},
        {50, 0, "the fill was passed over"},
    };
    struct stand *st = *state;
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        struct order_event e = opened(), part = filled(e, 4);
        order_svc_says(st, "order.opened", &e);
        order_svc_says(st, "order.filled", &part);
        books_say(st, "asset.settled", &part, 3, ROWS[i].reserved, ROWS[i].matched, 1);
        print_message("%s\n", ROWS[i].why);
        assert_told(st, ORDERS_AGREE, e.order.id);
        books_say(st, "asset.settled", &part, 3, 30, 4, 1);
        assert_clean(st);
    }
}

/* Whether the event that the books answer was read tells a lag of ours from an alarm. */
static void books_ahead_are_an_alarm_as_soon_as_what_they_answer_was_read(void **state)
{
    struct stand *st = *state;
    struct order_event e = opened(), part = filled(e, 4);
    order_svc_says(st, "order.opened", &e);
    books_say(st, "asset.reserved", &e, 1, 50, 0, 1);
    stand_settle(st);
    int64_t read = stand_number(st, "SELECT max(part_seq) FROM consumer_sequence WHERE topic = 'order-events'");
    books_say(st, "asset.settled", &part, 3, 30, 4, read + 1);
    assert_clean(st); /* that event is still to come */
    order_svc_says(st, "order.filled", &part);
    assert_clean(st);

    books_say(st, "asset.settled", &part, 4, 0, 10, read + 1);
    assert_told(st, NEVER_AHEAD, e.order.id);
}

static void what_is_not_answered_is_told_after_half_a_minute(void **state)
{
    struct stand *st = *state;
    struct order_event e = opened();
    struct uuid transfer = uuid_v7();
    order_svc_says(st, "order.opened", &e);
    transfer_is_asked(st, transfer, 7);
    user_is(st, "auth-events", "user.registered", REGISTERED);
    assert_clean(st);
    stand_run(st, "UPDATE book_order SET told_at = told_at - interval '30 s'");
    assert_told(st, "admin_books_have_followed_orders", e.order.id);
    stand_run(st, "UPDATE exchange SET asked_at = asked_at - interval '30 s' WHERE kind = 'TRANSFER'");
    assert_told(st, ANSWERED_ONCE, transfer);
    stand_run(st, "UPDATE exchange SET asked_at = asked_at - interval '30 s' WHERE kind = 'ACCOUNT'");
    assert_told(st, ANSWERED_ONCE, uuid_of_int(CUSTOMER));

    books_say(st, "asset.reserved", &e, 1, 50, 0, 1);
    transfer_is(st, "transfer.booked", transfer, 7);
    user_is(st, "asset-events", "account.opened", OPENED);
    assert_clean(st);
}

static void transfers_and_accounts_are_answered_in_any_order_and_once(void **state)
{
    struct stand *st = *state;
    struct uuid first = uuid_v7(), refused = uuid_v7(), twice = uuid_v7(), other = uuid_v7();
    transfer_is(st, "transfer.booked", first, 7);
    user_is(st, "asset-events", "account.opened", OPENED);
    assert_clean(st); /* what was asked comes by another topic */
    transfer_is_asked(st, first, 7);
    user_is(st, "auth-events", "user.registered", REGISTERED);
    stand_hold(st);
    transfer_is_asked(st, refused, 8);
    transfer_is(st, "transfer.refused", refused, 8);
    stand_release(st);
    assert_clean(st);
    assert_int_equal(stand_number(st, "SELECT count(*) FROM exchange WHERE asked = 1 AND done + refused = 1"), 3);

    transfer_is_asked(st, twice, 9);
    transfer_is(st, "transfer.booked", twice, 9);
    transfer_is(st, "transfer.booked", twice, 9);
    assert_told(st, ANSWERED_ONCE, twice);
    stand_run(st, "DELETE FROM exchange WHERE done = 2");
    transfer_is_asked(st, other, 9);
    transfer_is(st, "transfer.booked", other, 90);
    assert_told(st, ANSWERED_ONCE, other);
}

/* Read again after a restart, or sent twice: the position says that it was seen. */
static void an_event_that_was_seen_counts_once(void **state)
{
    struct stand *st = *state;
    struct uuid id = uuid_v7();
    transfer_is_asked(st, id, 7);
    stand_settle(st);
    struct stand_place *place = stand_place(st, "txn-events", CUSTOMER);
    place->part_seq[1]--;
    transfer_is_asked(st, id, 7);
    transfer_is(st, "transfer.booked", id, 7);
    assert_clean(st);
    assert_int_equal(stand_number(st, "SELECT asked FROM exchange"), 1);
}

/* It does not say what was posted, nor what it answers: what it does say is compared. */
static void the_word_of_an_older_asset_svc_is_compared_as_far_as_it_goes(void **state)
{
    struct stand *st = *state;
    struct order_event e = opened(), part = filled(e, 4);
    char id[UUID_TEXT_MAX], data[256];
    uuid_format(e.order.id, id);
    snprintf(data, sizeof data,
             "{\"orderId\":\"%s\",\"customerId\":100,\"version\":3,\"matchId\":null,\"assetName\":\"TRY\","
             "\"reserved\":\"30\",\"required\":\"0\",\"usable\":\"0\"}",
             id);
    order_svc_says(st, "order.filled", &part);
    user_is(st, "asset-events", "asset.settled", data);
    assert_clean(st);
    *strstr(data, "30\"") = '4';
    user_is(st, "asset-events", "asset.settled", data);
    assert_told(st, ORDERS_AGREE, e.order.id);
}

int main(void)
{
#define STORY(test) cmocka_unit_test_setup(test, forget)
    const struct CMUnitTest tests[] = {
        STORY(the_life_of_an_order_agrees_at_each_of_its_steps),
        STORY(books_that_hold_another_state_are_named_until_they_agree),
        STORY(books_ahead_are_an_alarm_as_soon_as_what_they_answer_was_read),
        STORY(what_is_not_answered_is_told_after_half_a_minute),
        STORY(transfers_and_accounts_are_answered_in_any_order_and_once),
        STORY(an_event_that_was_seen_counts_once),
        STORY(the_word_of_an_older_asset_svc_is_compared_as_far_as_it_goes),
    };
    cmocka_set_test_filter(getenv("TEST_ONLY"));
    return cmocka_run_group_tests(tests, open_world, close_world);
}
