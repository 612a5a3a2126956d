/* The books: random histories, each invariant after each step; and the moves an order makes, in whatever order it is heard. */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "asset-svc/books.h"

enum { CUSTOMERS = 4, SHARES = 3, ORDERS = 64, STEPS = 4000, HOUSE = CUSTOMERS, CLEARING, EXTERNAL, OWNERS };
static const char *const NAMES[SHARES + 1] = {"TRY", "ASELS", "THYAO", "GARAN"};

struct world {
    struct holding holdings[OWNERS][SHARES + 1];
    struct order_state orders[ORDERS];
    struct reservation reservations[ORDERS];
    size_t order_count;
    uint64_t random;
};

static uint64_t next_random(struct world *w)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return w->random;
}

static int64_t between(struct world *w, int64_t low, int64_t high)
{
    return low + (int64_t)(next_random(w) % (uint64_t)(high - low + 1));
}

static void world_init(struct world *w, uint64_t seed)
{
    *w = (struct world){.random = seed * 2654435761u + 1};
    for (int o = 0; o < OWNERS; o++)
        for (int a = 0; a <= SHARES; a++)
            w->holdings[o][a] = (struct holding){
                .owner = o < CUSTOMERS ? o + 1 : holding_firm_owner((enum firm_account)(o - CUSTOMERS + 1), 1),
                .asset = NAMES[a]};
}

static int share_of(const struct order_state *o)
{
    for (int a = 1; a <= SHARES; a++)
        if (strcmp(NAMES[a], o->asset) == 0)
            return a;
    fail();
    return 0;
}

static struct order_accounts accounts_of(struct world *w, const struct order_state *o)
{
    int a = share_of(o);
    struct holding(*h)[SHARES + 1] = w->holdings;
    int64_t c = o->customer_id - 1;
    return (struct order_accounts){&h[c][0], &h[c][a], &h[HOUSE][0], &h[HOUSE][a], &h[CLEARING][0], &h[CLEARING][a]};
}

static void check_world(const struct world *w)
{
    for (int a = 0; a <= SHARES; a++) {
        decimal_t sum = 0;
        for (int o = 0; o < OWNERS; o++)
            sum += w->holdings[o][a].size;
        assert_int_equal(sum, 0);
    }
    for (int c = 0; c < CUSTOMERS; c++)
        for (int a = 0; a <= SHARES; a++) {
            const struct holding *h = &w->holdings[c][a];
            decimal_t reserved = 0;
            for (size_t i = 0; i < w->order_count; i++)
                if (w->reservations[i].state == RESERVATION_OPEN && w->reservations[i].customer_id == c + 1 &&
                    strcmp(w->reservations[i].asset, h->asset) == 0)
                    reserved += w->reservations[i].reserved;
            assert_true(h->usable >= 0 && h->usable <= h->size);
            assert_int_equal(h->size - h->usable, reserved);
        }
}

static void check_entry(const struct entry *e)
{
    for (size_t i = 0; i < e->count; i++) {
        decimal_t sum = 0;
        for (size_t k = 0; k < e->count; k++)
            if (strcmp(e->postings[k].holding->asset, e->postings[i].holding->asset) == 0)
                sum += e->postings[k].amount;
        assert_int_equal(sum, 0);
    }
}

static void bring_in(struct world *w)
{
    int64_t c = between(w, 0, CUSTOMERS - 1), a = between(w, 0, SHARES);
    struct entry e;
    assert_int_equal(
        books_bring_in(ENTRY_DEPOSIT, &w->holdings[c][a], &w->holdings[EXTERNAL][a], between(w, 1, 900000000), &e),
        ERR_OK);
    check_entry(&e);
}

static void take_out(struct world *w)
{
    int64_t c = between(w, 0, CUSTOMERS - 1);
    struct holding *from = &w->holdings[c][0];
    struct holding before = *from;
    decimal_t amount = between(w, 1, 900000000);
    struct entry e;
    enum err err = books_take_out(from, &w->holdings[EXTERNAL][0], amount, &e);
    assert_int_equal(err, amount > before.usable ? ERR_INSUFFICIENT : ERR_OK);
    if (err)
        assert_memory_equal(from, &before, sizeof before);
}

/* An order's whole life is made first; then its states are told to the books, some skipped, some twice, some late. */
static void tell(struct world *w, size_t i)
{
    const struct order_state *o = &w->orders[i];
    struct reservation *r = &w->reservations[i];
    if (o->version <= r->version)
        return;
    r->customer_id = o->customer_id;
    r->asset = books_reserved_asset(o);
    struct order_accounts accounts = accounts_of(w, o);
    struct entry e = {.count = 0};
    enum err err = books_of_order(o, r, &accounts, &e);
    assert_true(err == ERR_OK || (err == ERR_INSUFFICIENT && o->status == ORDER_NEW));
    if (!err)
        check_entry(&e);
}

static void place(struct world *w)
{
    if (w->order_count == ORDERS)
        return;
    struct order_state *o = &w->orders[w->order_count];
    *o = (struct order_state){.customer_id = between(w, 1, CUSTOMERS),
                              .asset = NAMES[between(w, 1, SHARES)],
                              .side = (enum order_side)between(w, 0, 1),
                              .size = between(w, 1, 50000) * 100,
                              .price = between(w, 1, 30000) * 10000,
                              .status = ORDER_NEW,
                              .version = 1};
    tell(w, w->order_count++);
}

static void move_order(struct world *w)
{
    if (!w->order_count)
        return;
    size_t i = (size_t)between(w, 0, (int64_t)w->order_count - 1);
    struct order_state *o = &w->orders[i];
    if (w->reservations[i].state != RESERVATION_OPEN || o->status > ORDER_PENDING)
        return;
    o->version += between(w, 1, 3); /* versions in between were lost on the way */
    decimal_t remaining = o->size - order_matched_size(o);
    if (between(w, 0, 3) == 0) {
        o->status = ORDER_CANCELED;
    } else {
        decimal_t size = between(w, 1, remaining / 100) * 100;
        decimal_t better = o->side == ORDER_BUY ? -between(w, 0, o->price / 10000 - 1) : between(w, 0, 100);
        bool house = between(w, 0, 1);
        decimal_t value, price = house ? o->price : o->price + better * 10000;
        assert_true(decimal_mul(size, price, &value));
        struct order_fill *f = house ? &o->house : &o->clearing;
        f->size += size;
        f->value += value;
        o->status = size == remaining ? ORDER_MATCHED : ORDER_PENDING;
    }
    tell(w, i);
    tell(w, i); /* doubled: no effect */
}

static void every_step_of_a_random_history_keeps_the_invariants(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct world w;
        world_init(&w, seed);
        for (int step = 0; step < STEPS; step++) {
            static void (*const ACTS[])(struct world *) = {bring_in,   take_out,   place,
                                                           move_order, move_order, move_order};
            ACTS[between(&w, 0, 5)](&w);
            check_world(&w);
        }
    }
}

static struct order_state buy(decimal_t size, decimal_t price)
{
    return (struct order_state){.customer_id = 1,
                                .asset = "ASELS",
                                .side = ORDER_BUY,
                                .size = size,
                                .price = price,
                                .status = ORDER_NEW,
                                .version = 1};
}

static enum err tell_state(struct world *w, const struct order_state *o)
{
    w->orders[0] = *o;
    w->order_count = 1;
    struct reservation *r = &w->reservations[0];
    r->customer_id = o->customer_id;
    r->asset = books_reserved_asset(o);
    struct order_accounts accounts = accounts_of(w, o);
    struct entry e;
    return books_of_order(o, r, &accounts, &e);
}

static void give_money(struct world *w, decimal_t amount)
{
    struct entry e;
    assert_int_equal(books_bring_in(ENTRY_DEPOSIT, &w->holdings[0][0], &w->holdings[EXTERNAL][0], amount, &e), ERR_OK);
}

static void an_order_beyond_what_is_usable_is_refused_and_changes_nothing(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 1);
    give_money(&w, 100 * DECIMAL_ONE);
    struct order_state o = buy(DECIMAL_ONE, 100 * DECIMAL_ONE + 10000);
    assert_int_equal(tell_state(&w, &o), ERR_INSUFFICIENT);
    assert_int_equal(w.reservations[0].state, RESERVATION_REFUSED);
    assert_int_equal(w.reservations[0].required, 100 * DECIMAL_ONE + 10000);
    assert_int_equal(w.reservations[0].usable, 100 * DECIMAL_ONE);
    assert_int_equal(w.holdings[0][0].usable, 100 * DECIMAL_ONE);
    check_world(&w);
}

static void a_cancel_heard_before_the_order_leaves_nothing_reserved(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 1);
    give_money(&w, 100 * DECIMAL_ONE);
    struct order_state o = buy(DECIMAL_ONE, 50 * DECIMAL_ONE);
    o.status = ORDER_CANCELED;
    o.version = 2;
    assert_int_equal(tell_state(&w, &o), ERR_OK);
    assert_int_equal(w.reservations[0].state, RESERVATION_RELEASED);
    assert_int_equal(w.reservations[0].version, 2); /* order.placed, version 1, is stale from now on */
    check_world(&w);
}

static void a_fill_of_an_order_never_seen_settles_from_usable(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 1);
    give_money(&w, 100 * DECIMAL_ONE);
    struct order_state o = buy(DECIMAL_ONE, 50 * DECIMAL_ONE);
    o.status = ORDER_MATCHED;
    o.version = 3;
    o.house = (struct order_fill){DECIMAL_ONE, 50 * DECIMAL_ONE};
    assert_int_equal(tell_state(&w, &o), ERR_OK);
    assert_int_equal(w.holdings[0][0].size, 50 * DECIMAL_ONE);
    assert_int_equal(w.holdings[0][1].usable, DECIMAL_ONE);
    check_world(&w);
}

static void a_better_price_gives_the_rest_back(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 1);
    give_money(&w, 2000 * DECIMAL_ONE);
    struct order_state o = buy(10 * DECIMAL_ONE, 101 * DECIMAL_ONE);
    assert_int_equal(tell_state(&w, &o), ERR_OK);
    assert_int_equal(w.holdings[0][0].usable, 990 * DECIMAL_ONE);
    o.version = 3;
    o.status = ORDER_MATCHED;
    o.clearing = (struct order_fill){10 * DECIMAL_ONE, 1000 * DECIMAL_ONE};
    assert_int_equal(tell_state(&w, &o), ERR_OK);
    assert_int_equal(w.holdings[0][0].size, 1000 * DECIMAL_ONE);
    assert_int_equal(w.holdings[0][0].usable, 1000 * DECIMAL_ONE);
    check_world(&w);
}

static void a_state_that_can_not_be_is_refused_and_changes_nothing(void **state)
{
    (void)state;
    static const struct {
        struct order_fill house;
        enum order_status status;
        const char *why;
    } ROWS[] = {
        {{-DECIMAL_ONE, -DECIMAL_ONE}, ORDER_PENDING, "matched less than was posted"},
        {{DECIMAL_ONE, 0}, ORDER_PENDING, "shares for nothing"},
        {{0, DECIMAL_ONE}, ORDER_PENDING, "money for nothing"},
        {{3 * DECIMAL_ONE, 3 * DECIMAL_ONE}, ORDER_PENDING, "more matched than ordered"},
        {{DECIMAL_ONE, 900 * DECIMAL_ONE}, ORDER_CANCELED, "paid more than there is"},
    };
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
        struct world w;
        world_init(&w, 1);
        give_money(&w, 100 * DECIMAL_ONE);
        struct order_state o = buy(2 * DECIMAL_ONE, 10 * DECIMAL_ONE);
        assert_int_equal(tell_state(&w, &o), ERR_OK);
        struct world before = w;
        o.version = 2;
        o.status = ROWS[i].status;
        o.house = ROWS[i].house;
        if (tell_state(&w, &o) != ERR_BUG)
            fail_msg("%s", ROWS[i].why);
        assert_memory_equal(w.holdings, before.holdings, sizeof w.holdings);
    }
}

static void the_smallest_order_sets_aside_a_millionth(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 1);
    give_money(&w, 1);
    struct order_state o = buy(100, 10000); /* 0.0001 at 0.01 */
    assert_int_equal(tell_state(&w, &o), ERR_OK);
    assert_int_equal(w.reservations[0].reserved, 1);
    assert_int_equal(w.holdings[0][0].usable, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_order_beyond_what_is_usable_is_refused_and_changes_nothing),
        cmocka_unit_test(a_state_that_can_not_be_is_refused_and_changes_nothing),
        cmocka_unit_test(a_cancel_heard_before_the_order_leaves_nothing_reserved),
        cmocka_unit_test(a_fill_of_an_order_never_seen_settles_from_usable),
        cmocka_unit_test(a_better_price_gives_the_rest_back),
        cmocka_unit_test(the_smallest_order_sets_aside_a_millionth),
        cmocka_unit_test(every_step_of_a_random_history_keeps_the_invariants),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
