#include "gateway/balance.h"

#include <string.h>

#include "unit.h"

enum { COUNT = 4, ROUNDS = 4000 };

static uint64_t seed = 42;
static int chosen[COUNT];

static struct balance_choice here(int64_t in_flight)
{
    return (struct balance_choice){.possible = true, .in_flight = in_flight, .share = BALANCE_WHOLE};
}

static void choose_often(const struct balance_choice *choices, size_t count)
{
    memset(chosen, 0, sizeof(chosen));
    for (int i = 0; i < ROUNDS; i++) {
        size_t at = balance_choose(choices, count, &seed);
        assert_true(at < count);
        chosen[at]++;
    }
}

static void none_is_chosen_where_none_may_be(void **state)
{
    (void)state;
    const struct balance_choice full[COUNT] = {{.possible = false}};
    assert_int_equal(balance_choose(full, COUNT, &seed), BALANCE_NONE);
    assert_int_equal(balance_choose(NULL, 0, &seed), BALANCE_NONE);
}

static void what_may_not_be_is_never_chosen(void **state)
{
    (void)state;
    struct balance_choice choices[COUNT] = {here(0), here(9), here(9), here(9)};
    choices[0].possible = false;
    choose_often(choices, COUNT);
    assert_int_equal(chosen[0], 0);
    for (int i = 1; i < COUNT; i++)
        assert_in_range(chosen[i], ROUNDS / 3 - 200, ROUNDS / 3 + 200);
}

static void the_last_resort_is_only_that(void **state)
{
    (void)state;
    struct balance_choice choices[2] = {here(50), here(0)};
    choices[1].last_resort = true;
    choose_often(choices, 2);
    assert_int_equal(chosen[1], 0);
    choices[0].possible = false;
    choose_often(choices, 2);
    assert_int_equal(chosen[1], ROUNDS);
}

static void of_two_the_one_with_less_in_flight_is_chosen(void **state)
{
    (void)state;
    const struct balance_choice choices[2] = {here(3), here(2)};
    choose_often(choices, 2);
    assert_int_equal(chosen[1], ROUNDS);
}

/* Of four, the busiest is taken only against itself, which can't be: two different ones are picked. */
static void of_many_the_busiest_is_never_chosen_and_the_idlest_half_the_time(void **state)
{
    (void)state;
    const struct balance_choice choices[COUNT] = {here(9), here(1), here(5), here(7)};
    choose_often(choices, COUNT);
    assert_int_equal(chosen[0], 0);
    assert_in_range(chosen[1], ROUNDS / 2 - 200, ROUNDS / 2 + 200);
    assert_true(chosen[1] > chosen[2] && chosen[2] > chosen[3]);
}

static void one_that_has_just_come_starts_slowly(void **state)
{
    (void)state;
    struct balance_choice choices[2] = {here(0), here(0)};
    const mono_ns_t since = 1000 * NS_PER_S;
    static const struct {
        int64_t after_ms;
        int share;
    } ROWS[] = {{-1, BALANCE_LEAST}, {0, BALANCE_LEAST}, {2500, 550}, {5000, BALANCE_WHOLE}, {9000, BALANCE_WHOLE}};
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++)
        assert_int_equal(balance_share(since, since + ROWS[i].after_ms * NS_PER_MS), ROWS[i].share);
    assert_int_equal(balance_share(0, since), BALANCE_WHOLE);

    choices[1].share = BALANCE_LEAST;
    choose_often(choices, 2); /* picked second half the time, and then up only in a tenth */
    assert_in_range(chosen[1], ROUNDS / 40, ROUNDS / 8);
}

int main(void)
{
    static const struct CMUnitTest TESTS[] = {
        cmocka_unit_test(none_is_chosen_where_none_may_be),
        cmocka_unit_test(what_may_not_be_is_never_chosen),
        cmocka_unit_test(the_last_resort_is_only_that),
        cmocka_unit_test(of_two_the_one_with_less_in_flight_is_chosen),
        cmocka_unit_test(of_many_the_busiest_is_never_chosen_and_the_idlest_half_the_time),
        cmocka_unit_test(one_that_has_just_come_starts_slowly),
    };
    return cmocka_run_group_tests(TESTS, NULL, NULL);
}
