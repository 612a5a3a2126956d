/* One order: which moves each state allows, and what they change. */
#include "unit.h"

#include <string.h>

#include "order-svc/order.h"

static struct order an_order(enum order_status status)
{
    return (struct order){.state = {.customer_id = 1,
                                    .asset = "ASELS",
                                    .side = ORDER_BUY,
                                    .size = 10 * DECIMAL_ONE,
                                    .price = 3 * DECIMAL_ONE,
                                    .status = status,
                                    .version = 5,
                                    .update_date = 100,
                                    .actor = "CUSTOMER:1"}};
}

enum move { OPEN, REJECT, CANCEL, FILL };

static bool try_move(struct order *o, enum move move)
{
    switch (move) {
    case OPEN:
        return order_open(o, 200);
    case REJECT:
        return order_reject(o, "insufficient_usable_size", 30, 20, 200);
    case CANCEL:
        return order_cancel(o, "ADMIN:2", 200) == ERR_OK && o->state.version > 5;
    case FILL:
        return order_fill_house(o, 0, "ADMIN:2", 200) == ERR_OK;
    }
    return false;
}

static void each_state_allows_its_moves_and_no_other(void **state)
{
    (void)state;
    static const bool ALLOWED[][4] = {
        /*                 open   reject cancel fill */
        [ORDER_NEW] = {true, true, true, false},         [ORDER_PENDING] = {false, false, true, true},
        [ORDER_MATCHED] = {false, false, false, false},  [ORDER_CANCELED] = {false, false, false, false},
        [ORDER_REJECTED] = {false, false, false, false},
    };
    for (int s = ORDER_NEW; s <= ORDER_REJECTED; s++)
        for (int m = OPEN; m <= FILL; m++) {
            struct order o = an_order((enum order_status)s), before = o;
            bool moved = try_move(&o, (enum move)m);
            assert_int_equal(moved, ALLOWED[s][m]);
            if (!moved)
                assert_memory_equal(&o, &before, sizeof o);
            else
                assert_int_equal(o.state.version, 6);
        }
}

static void canceling_twice_is_no_error_and_changes_nothing(void **state)
{
    (void)state;
    struct order o = an_order(ORDER_PENDING);
    assert_int_equal(order_cancel(&o, "CUSTOMER:1", 200), ERR_OK);
    struct order once = o;
    assert_int_equal(order_cancel(&o, "CUSTOMER:1", 300), ERR_OK);
    assert_memory_equal(&o, &once, sizeof o);
}

static void a_fill_may_not_exceed_what_remains(void **state)
{
    (void)state;
    struct order o = an_order(ORDER_PENDING);
    assert_int_equal(order_fill_house(&o, 11 * DECIMAL_ONE, "ADMIN:2", 200), ERR_ORDER_NOT_MATCHABLE);
    assert_int_equal(order_fill_house(&o, -1, "ADMIN:2", 200), ERR_ORDER_NOT_MATCHABLE);
    assert_int_equal(o.state.version, 5);
}

static void a_part_leaves_it_pending_and_the_rest_matches_it(void **state)
{
    (void)state;
    struct order o = an_order(ORDER_PENDING);
    assert_int_equal(order_fill_house(&o, 4 * DECIMAL_ONE, "ADMIN:2", 200), ERR_OK);
    assert_int_equal(o.state.status, ORDER_PENDING);
    assert_int_equal(order_remaining(&o), 6 * DECIMAL_ONE);
    assert_int_equal(o.state.house.value, 12 * DECIMAL_ONE);
    assert_int_equal(order_fill_house(&o, 0, "ADMIN:2", 300), ERR_OK);
    assert_int_equal(o.state.status, ORDER_MATCHED);
    assert_int_equal(order_remaining(&o), 0);
    assert_int_equal(o.state.house.value, 30 * DECIMAL_ONE);
    assert_int_equal(order_fill_house(&o, 0, "ADMIN:2", 400), ERR_CONFLICT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_state_allows_its_moves_and_no_other),
        cmocka_unit_test(a_fill_may_not_exceed_what_remains),
        cmocka_unit_test(canceling_twice_is_no_error_and_changes_nothing),
        cmocka_unit_test(a_part_leaves_it_pending_and_the_rest_matches_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
