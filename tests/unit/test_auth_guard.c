#include "auth-svc/guard.h"

#include "unit.h"

#define NOW (INT64_C(1800000000) * US_PER_S)
static const struct guard_policy *const ACCOUNT = &GUARD_POLICIES[GUARD_ACCOUNT];

/* Fails as soon as it may, `count` times; returns when it may again. */
static time_us_t fail_times(struct bucket *b, const struct guard_policy *p, time_us_t now, int count)
{
    for (int i = 0; i < count; i++) {
        if (!bucket_is_open(b, now))
            now += bucket_wait_s(b, now) * US_PER_S;
        assert_true(bucket_is_open(b, now)); /* waiting as long as it says is enough */
        (void)bucket_count(b, p, now);
    }
    return bucket_is_open(b, now) ? now : b->open_date;
}

static void ten_failures_are_free_and_the_eleventh_attempt_waits(void **state)
{
    (void)state;
    struct bucket b = {.empty_date = 0};
    for (int i = 0; i < 9; i++) {
        assert_false(bucket_count(&b, ACCOUNT, NOW + i));
        assert_true(bucket_is_open(&b, NOW + i));
    }
    assert_true(bucket_count(&b, ACCOUNT, NOW));
    assert_false(bucket_is_open(&b, NOW + US_PER_S));
    assert_int_equal(bucket_wait_s(&b, NOW), 4);
}

static void each_failure_more_waits_twice_as_long_up_to_a_quarter_of_an_hour(void **state)
{
    (void)state;
    static const int WAITS[] = {4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900};
    struct bucket b = {.empty_date = 0};
    time_us_t now = fail_times(&b, ACCOUNT, NOW, 9);
    for (size_t i = 0; i < LENGTH_OF(WAITS); i++) {
        (void)bucket_count(&b, ACCOUNT, now);
        int wait = bucket_wait_s(&b, now);
        assert_in_range(wait, WAITS[i] / 2, WAITS[i]); /* one may have been forgotten meanwhile */
        now = b.open_date;
    }
}

static void nobody_is_locked_out_for_longer_than_the_longest_wait(void **state)
{
    (void)state;
    for (int kind = 0; kind < GUARD_KINDS; kind++) {
        const struct guard_policy *p = &GUARD_POLICIES[kind];
        struct bucket b = {.empty_date = 0};
        time_us_t now = fail_times(&b, p, NOW, 3000);
        assert_true(b.open_date - now <= p->wait_max_s * US_PER_S);
        assert_true(bucket_is_open(&b, now + p->wait_max_s * US_PER_S));
    }
}

static void a_day_s_guessing_at_one_account_is_about_a_hundred(void **state)
{
    (void)state;
    struct bucket b = {.empty_date = 0};
    int guesses = 0;
    for (time_us_t now = NOW; now < NOW + 24 * 3600 * US_PER_S; guesses++)
        now = fail_times(&b, ACCOUNT, now, 1);
    assert_in_range(guesses, 90, 130);
}

static void who_is_turned_away_waits_no_longer_for_it(void **state)
{
    (void)state;
    struct bucket b = {.empty_date = 0};
    (void)fail_times(&b, ACCOUNT, NOW, 10);
    time_us_t open = b.open_date;
    for (int i = 0; i < 1000; i++)
        assert_false(bucket_is_open(&b, NOW + i)); /* asking changes nothing */
    assert_true(b.open_date == open);
}

static void failures_are_forgotten_one_by_one(void **state)
{
    (void)state;
    struct bucket b = {.empty_date = 0};
    time_us_t quarter = 900 * US_PER_S;
    (void)fail_times(&b, ACCOUNT, NOW, 10);
    assert_true(bucket_count(&b, ACCOUNT, NOW + quarter)); /* nine were left, and this is the tenth */
    b = (struct bucket){.empty_date = 0};
    (void)fail_times(&b, ACCOUNT, NOW, 10);
    assert_false(bucket_count(&b, ACCOUNT, NOW + 2 * quarter));
    assert_true(b.empty_date > NOW + 10 * quarter && b.empty_date <= NOW + 11 * quarter);
}

static void a_right_password_empties_the_account_and_takes_its_own_count_back(void **state)
{
    (void)state;
    struct bucket b = {.empty_date = 0};
    (void)fail_times(&b, ACCOUNT, NOW, 12);
    bucket_empty(&b);
    assert_true(bucket_is_open(&b, NOW) && b.empty_date == 0);

    const struct guard_policy *address = &GUARD_POLICIES[GUARD_ADDRESS];
    b = (struct bucket){.empty_date = 0};
    for (int i = 0; i < 10000; i++) { /* an office that logs in all day, rightly */
        assert_false(bucket_count(&b, address, NOW + i));
        bucket_uncount(&b, address, NOW + i);
    }
    assert_true(b.empty_date == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ten_failures_are_free_and_the_eleventh_attempt_waits),
        cmocka_unit_test(each_failure_more_waits_twice_as_long_up_to_a_quarter_of_an_hour),
        cmocka_unit_test(nobody_is_locked_out_for_longer_than_the_longest_wait),
        cmocka_unit_test(a_day_s_guessing_at_one_account_is_about_a_hundred),
        cmocka_unit_test(who_is_turned_away_waits_no_longer_for_it),
        cmocka_unit_test(failures_are_forgotten_one_by_one),
        cmocka_unit_test(a_right_password_empties_the_account_and_takes_its_own_count_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
