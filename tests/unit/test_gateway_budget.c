#include "gateway/budget.h"

#include "unit.h"

enum { START_S = 1000 };

static struct budget budget;

static int setup(void **state)
{
    (void)state;
    budget_init(&budget);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    budget_done(&budget);
    return 0;
}

static mono_ns_t at(int seconds)
{
    return (START_S + seconds) * NS_PER_S;
}

static void enter_many(int count, mono_ns_t now)
{
    for (int i = 0; i < count; i++)
        budget_enter(&budget, now);
}

static int retries_allowed(int asked, mono_ns_t now)
{
    int allowed = 0;
    for (int i = 0; i < asked; i++)
        allowed += budget_retry(&budget, now);
    return allowed;
}

static void three_at_a_time_are_always_allowed(void **state)
{
    (void)state;
    enter_many(1, at(0));
    assert_int_equal(retries_allowed(10, at(0)), BUDGET_ACTIVE_MIN);
    assert_int_equal(budget_denied(&budget), 7);
    budget_retried(&budget);
    assert_int_equal(retries_allowed(10, at(0)), 1);
}

static void of_many_under_way_a_fifth_is_sent_again_at_a_time(void **state)
{
    (void)state;
    enter_many(1000, at(0));
    for (int i = 0; i < 950; i++)
        budget_leave(&budget); /* 50 are left, and a window of 1,000 */
    assert_int_equal(retries_allowed(100, at(0)), 10);
}

static void over_ten_seconds_a_tenth_is_sent_again(void **state)
{
    (void)state;
    int allowed = 0;
    for (int i = 0; i < 1000; i++) {
        budget_enter(&budget, at(i / 200));
        if (!budget_retry(&budget, at(i / 200)))
            continue;
        allowed++;
        budget_retried(&budget);
    }
    assert_in_range(allowed, 99, 101);
}

static void a_quiet_service_has_ten_in_ten_seconds(void **state)
{
    (void)state;
    int allowed = 0;
    for (int i = 0; i < 30; i++) {
        allowed += budget_retry(&budget, at(0));
        if (budget.retrying > 0)
            budget_retried(&budget);
    }
    assert_int_equal(allowed, BUDGET_WINDOW_MIN);
    assert_int_equal(retries_allowed(5, at(9)), 0);
    assert_int_equal(retries_allowed(2, at(10)), 2); /* the second in which they were is over */
}

static void what_is_older_than_the_window_is_forgotten_at_once(void **state)
{
    (void)state;
    enter_many(1000, at(0));
    assert_int_equal(retries_allowed(BUDGET_ACTIVE_MIN, at(3600)), BUDGET_ACTIVE_MIN);
    for (int i = 0; i < BUDGET_WINDOW_S; i++)
        assert_int_equal(budget.buckets[i].requests, 0);
}

#define STORY(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    static const struct CMUnitTest TESTS[] = {
        STORY(three_at_a_time_are_always_allowed),
        STORY(of_many_under_way_a_fifth_is_sent_again_at_a_time),
        STORY(over_ten_seconds_a_tenth_is_sent_again),
        STORY(a_quiet_service_has_ten_in_ten_seconds),
        STORY(what_is_older_than_the_window_is_forgotten_at_once),
    };
    return cmocka_run_group_tests(TESTS, NULL, NULL);
}
