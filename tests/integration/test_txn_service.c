/* txn-svc on a real PostgreSQL, in the rights of its own role: deposits and withdrawals by HTTP; the books' answers are made here. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "events/asset_event.h"
#include "support/audit.h"
#include "support/schema.h"
#include "support/stand.h"
#include "txn-svc/api.h"
#include "txn-svc/checks.h"
#include "txn-svc/commands.h"
#include "txn-svc/events.h"
#include "txn-svc/migrations.h"
#include "unit/unit.h"

static const struct service_spec SPEC = {
    .name = "txn-svc",
    .schema = "txns",
    .topic = "txn-events",
    .consumes = TXN_SVC_CONSUMES,
    .kinds = TXN_SVC_KINDS,
    .ops = &TXN_SVC_OPS,
    .routes = TXN_SVC_ROUTES,
    .migrations = TXN_SVC_MIGRATIONS,
    .checks = TXN_SVC_CHECKS,
    .reread = api_reread,
    .open = api_open,
    .close = api_close,
};
#define PATH "/api/v1/transactions"
#define IBAN "TR330006100519786457841326"

struct world {
    struct stand st; /* first */
    int64_t customer;
};

static int open_world(void **state)
{
    struct world *w = mem_alloc(sizeof *w);
    stand_open(&w->st, &SPEC, "txns", "txns");
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

/* Each transfer was asked for once, and no IBAN stands in an event. */
static int assert_transfers_are_sound(void **state)
{
    struct world *w = *state;
    assert_int_equal(stand_number(&w->st,
                                  "SELECT count(*) FROM transfer t FULL JOIN (SELECT payload::json->>'subject' id, "
                                  "count(*) n FROM outbox WHERE type = 'transfer.requested' GROUP BY 1) o "
                                  "ON o.id = t.id::text WHERE n IS DISTINCT FROM 1 OR t.id IS NULL"),
                     0);
    assert_int_equal(stand_number(&w->st, "SELECT count(*) FROM outbox WHERE payload LIKE '%%" IBAN "%%'"), 0);
    return 0;
}

static int send_withdrawal(struct world *w, const char *amount, const char *key)
{
    char body[128];
    snprintf(body, sizeof body, "{\"amount\":\"%s\",\"iban\":\"" IBAN "\"}", amount);
    return stand_send(
        &w->st,
        &(struct ask){
            .method = "POST", .path = PATH "/withdrawals", .body = body, .key = key, .customer_id = w->customer});
}

static int send_deposit(struct world *w, const char *amount, const char *key)
{
    char body[128];
    snprintf(body, sizeof body, "{\"amount\":\"%s\"}", amount);
    return stand_send(
        &w->st, &(struct ask){
                    .method = "POST", .path = PATH "/deposits", .body = body, .key = key, .customer_id = w->customer});
}

static bool is_pending(void *arg)
{
    struct world *w = arg;
    return stand_number(&w->st, "SELECT count(*) FROM transfer WHERE status = 'PENDING' AND customer_id = %" PRId64,
                        w->customer) == 1;
}

/* The only one of this customer that is PENDING, once it is there. */
static struct uuid pending(struct world *w)
{
    struct uuid id;
    assert_true(scratch_await(is_pending, w, 5000));
    assert_true(uuid_parse(
        str_of(stand_text(&w->st, "SELECT id FROM transfer WHERE status = 'PENDING' AND customer_id = %" PRId64,
                          w->customer)),
        &id));
    return id;
}

static void books_say(struct world *w, const char *type, struct uuid id)
{
    struct buf data;
    buf_init(&data);
    transfer_outcome_encode(&data, &(struct transfer_outcome){.transfer_id = id,
                                                              .customer_id = w->customer,
                                                              .required = 301 * DECIMAL_ONE,
                                                              .usable = 300 * DECIMAL_ONE});
    stand_feed(&w->st, &(struct feed){
                           .topic = "asset-events", .type = type, .customer_id = w->customer, .data = buf_cstr(&data)});
    buf_done(&data);
}

static void every_statement_can_be_run_and_the_migrations_add_up(void **state)
{
    assert_statements_are_sound(*state, "txn-svc", NULL);
    assert_migrations_add_up(*state);
}

static void a_refused_withdrawal_is_rejected_and_gives_its_key_back(void **state)
{
    struct world *w = *state;
    int first = send_withdrawal(w, "301", "key-withdraw-1");
    struct uuid id = pending(w);
    books_say(w, "transfer.refused", id);
    struct answer a = stand_hear(&w->st, first);
    assert_int_equal(a.status, 422);
    assert_string_equal(stand_member(&w->st, a.body, "code"), "insufficient_usable_size");
    assert_string_equal(stand_member(&w->st, a.body, "required"), "301");
    assert_string_equal(stand_member(&w->st, a.body, "usable"), "300");

    int again = send_withdrawal(w, "301", "key-withdraw-1");
    struct uuid second = pending(w);
    assert_false(uuid_eq(id, second));
    books_say(w, "transfer.booked", second);
    struct answer b = stand_hear(&w->st, again);
    assert_int_equal(b.status, 201);
    assert_false(b.replayed);
    assert_string_equal(stand_member(&w->st, b.body, "iban"), "TR** **** 1326");
}

static void a_transfer_is_asked_for_once_for_a_key(void **state)
{
    struct world *w = *state;
    int first = send_deposit(w, "500.25", "key-deposit-1");
    struct uuid id = pending(w);
    int same = send_deposit(w, "500.250", "key-deposit-1");
    assert_int_equal(stand_hear(&w->st, send_deposit(w, "500.26", "key-deposit-1")).status, 422);
    books_say(w, "transfer.booked", id);
    struct answer a = stand_hear(&w->st, first), b = stand_hear(&w->st, same),
                  c = stand_hear(&w->st, send_deposit(w, "500.25", "key-deposit-1"));
    assert_int_equal(a.status, 201);
    assert_string_equal(b.body, a.body);
    assert_string_equal(c.body, a.body);
    assert_true(!a.replayed && b.replayed && c.replayed);

    int withdrawal = send_withdrawal(w, "1", "key-deposit-1"); /* another route's key is another */
    books_say(w, "transfer.booked", pending(w));
    assert_int_equal(stand_hear(&w->st, withdrawal).status, 201);
}

static void the_first_word_of_the_books_stands(void **state)
{
    static const struct {
        const char *first, *then, *status;
    } ROWS[] = {
        {"transfer.booked", "transfer.refused", "COMPLETED"},
        {"transfer.refused", "transfer.booked", "REJECTED"},
        {"transfer.booked", "transfer.booked", "COMPLETED"},
    };
    struct world *w = *state;
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        char key[32], text[UUID_TEXT_MAX];
        snprintf(key, sizeof key, "key-first-%zu", i);
        int waiting = send_withdrawal(w, "10", key);
        struct uuid id = pending(w);
        uuid_format(id, text);
        stand_hold(&w->st);
        books_say(w, ROWS[i].first, id);
        books_say(w, ROWS[i].then, id);
        stand_release(&w->st);
        stand_hear(&w->st, waiting);
        books_say(w, ROWS[i].then, id);
        stand_settle(&w->st);
        assert_string_equal(stand_text(&w->st, "SELECT status FROM transfer WHERE id = '%s'", text), ROWS[i].status);
        bool holds_key = stand_number(&w->st, "SELECT count(*) FROM idempotency WHERE key = '%s'", key) == 1;
        assert_int_equal(holds_key, strcmp(ROWS[i].status, "COMPLETED") == 0);
    }
    books_say(w, "transfer.booked", uuid_v7());
    stand_settle(&w->st);
    assert_int_equal(stand_number(&w->st, "SELECT count(*) FROM parked_event"), 1);
}

static void wrong_amounts_and_accounts_ask_for_nothing(void **state)
{
    static const struct {
        const char *path, *body;
        int status;
    } ROWS[] = {
        {PATH "/deposits", "{\"amount\":\"0\"}", 400},
        {PATH "/deposits", "{\"amount\":\"-1\"}", 400},
        {PATH "/deposits", "{\"amount\":null}", 400},
        {PATH "/deposits", "{\"amount\":\"0.001\"}", 400},
        {PATH "/withdrawals", "{\"amount\":\"1\"}", 400},
        {PATH "/withdrawals", "{\"amount\":\"1\",\"iban\":\"TR330006100519786457841327\"}", 400},
        {PATH "/deposits", "{\"amount\":\"1\",\"customerId\":1}", 404},
    };
    struct world *w = *state;
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++)
        ROW_CHECK(
            stand_ask(
                &w->st,
                &(struct ask){.method = "POST", .path = ROWS[i].path, .body = ROWS[i].body, .customer_id = w->customer})
                    .status == ROWS[i].status,
            ROWS[i].body);
    assert_int_equal(stand_number(&w->st, "SELECT count(*) FROM transfer WHERE customer_id = %" PRId64, w->customer),
                     0);
}

/* ---- what it answers for ---- */

static const struct planted PLANTED[] = {
    {"txns_are_answered_by_the_books",
     "INSERT INTO transfer (id, customer_id, type, amount, status, status_reason, required, create_date, update_date, "
     "actor) VALUES ('01890000-0000-7000-8000-000000000001', 7, 'DEPOSIT', 5, 'PENDING', NULL, 0, now() - interval '31 "
     "s', now(), 'x')",
     "01890000-0000-7000-8000-000000000001 7 DEPOSIT"},
    {"txns_say_why_they_were_refused",
     "INSERT INTO transfer (id, customer_id, type, amount, status, status_reason, required, create_date, update_date, "
     "actor) VALUES ('01890000-0000-7000-8000-000000000001', 7, 'DEPOSIT', 5, 'REJECTED', NULL, 5, now(), now(), 'x')",
     "01890000-0000-7000-8000-000000000001 REJECTED"},
    {"txns_say_why_they_were_refused",
     "INSERT INTO transfer (id, customer_id, type, amount, status, status_reason, required, create_date, update_date, "
     "actor) VALUES ('01890000-0000-7000-8000-000000000002', 7, 'DEPOSIT', 5, 'COMPLETED', 'r', 0, now(), now(), 'x')",
     "01890000-0000-7000-8000-000000000002 COMPLETED"},
    {"txns_say_why_they_were_refused",
     "INSERT INTO transfer (id, customer_id, type, amount, status, status_reason, required, create_date, update_date, "
     "actor) VALUES ('01890000-0000-7000-8000-000000000003', 7, 'DEPOSIT', 5, 'REJECTED', 'r', 4, now(), now(), 'x')",
     "01890000-0000-7000-8000-000000000003 REJECTED r 4.000000"},
    {"txns_keys_name_what_was_made",
     "INSERT INTO idempotency VALUES (7, 'r', 'key-12345', 'm', '01890000-0000-7000-8000-000000000009', now())",
     "7 r 01890000-0000-7000-8000-000000000009"},
    {"txns_keys_name_what_was_made",
     "INSERT INTO transfer (id, customer_id, type, amount, status, status_reason, required, create_date, update_date, "
     "actor) VALUES ('01890000-0000-7000-8000-000000000001', 7, 'DEPOSIT', 5, 'REJECTED', 'r', 5, now(), now(), 'x'); "
     "INSERT INTO idempotency VALUES (8, 'r', 'key-12345', 'm', '01890000-0000-7000-8000-000000000001', now())",
     "8 r 01890000-0000-7000-8000-000000000001"},
    {NULL, NULL, NULL},
};

static void each_check_finds_what_it_is_for(void **state)
{
    assert_checks_find(*state, PLANTED);
}

int main(void)
{
#define STORY(test) cmocka_unit_test_setup_teardown(test, next_customer, assert_transfers_are_sound)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_statement_can_be_run_and_the_migrations_add_up),
        cmocka_unit_test(each_check_finds_what_it_is_for),
        STORY(wrong_amounts_and_accounts_ask_for_nothing),
        STORY(a_refused_withdrawal_is_rejected_and_gives_its_key_back),
        STORY(the_first_word_of_the_books_stands),
        STORY(a_transfer_is_asked_for_once_for_a_key),
    };
    cmocka_set_test_filter(getenv("TEST_ONLY"));
    return cmocka_run_group_tests(tests, open_world, close_world);
}
