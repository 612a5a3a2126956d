#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "unit.h"

static void times_that_are_none_are_refused(void **state)
{
    (void)state;
    static const struct {
        struct str text;
        const char *why;
    } ROWS[] = {
        {STR_INIT(""), "empty"},
        {STR_INIT("2026-11-24"), "a date alone"},
        {STR_INIT("2026-11-24T18:58:08"), "no offset"},
        {STR_INIT("2026-11-24T18:58Z"), "no seconds"},
        {STR_INIT("2026-11-24t18:58:08Z"), "small t"},
        {STR_INIT("2026-11-24T18:58:08z"), "small z"},
        {STR_INIT("2026-11-24  18:58:08Z"), "two spaces"},
        {STR_INIT("2026-11-24_18:58:08Z"), "another separator"},
        {STR_INIT("26-11-24T18:58:08Z"), "two digits of year"},
        {STR_INIT("12026-11-24T18:58:08Z"), "five digits of year"},
        {STR_INIT("2026-1-24T18:58:08Z"), "one digit of month"},
        {STR_INIT("2026/11/24T18:58:08Z"), "slashes"},
        {STR_INIT("20261124T185808Z"), "ISO 8601's basic form"},
        {STR_INIT("2026-00-24T18:58:08Z"), "month 0"},
        {STR_INIT("2026-13-24T18:58:08Z"), "month 13"},
        {STR_INIT("2026-11-00T18:58:08Z"), "day 0"},
        {STR_INIT("2026-11-31T18:58:08Z"), "November has 30 days"},
        {STR_INIT("2026-02-29T00:00:00Z"), "not a leap year"},
        {STR_INIT("2100-02-29T00:00:00Z"), "centuries are no leap years"},
        {STR_INIT("2024-02-30T00:00:00Z"), "February never has 30 days"},
        {STR_INIT("2026-11-24T24:00:00Z"), "hour 24"},
        {STR_INIT("2026-11-24T18:60:00Z"), "minute 60"},
        {STR_INIT("2016-12-31T23:59:60Z"), "a leap second that was"},
        {STR_INIT("2026-11-24T18:58:08.Z"), "a point with nothing behind it"},
        {STR_INIT("2026-11-24T18:58:08,5Z"), "a comma"},
        {STR_INIT("2026-11-24T18:58:08.1234567Z"), "seven fractional digits"},
        {STR_INIT("2026-11-24T18:58:08.12x456Z"), "a letter in the fraction"},
        {STR_INIT("2026-11-24T18:58:08ZZ"), "something behind the offset"},
        {STR_INIT("2026-11-24T18:58:08Z "), "a space behind"},
        {STR_INIT("2026-11-24T18:58:08Z\0"), "NUL behind"},
        {STR_INIT(" 2026-11-24T18:58:08Z"), "a space before"},
        {STR_INIT("2026-11-24T18:58:08+3"), "one digit of offset"},
        {STR_INIT("2026-11-24T18:58:08+0300"), "no colon in the offset"},
        {STR_INIT("2026-11-24T18:58:08+03:"), "a colon with nothing behind it"},
        {STR_INIT("2026-11-24T18:58:08+03:0"), "one digit of offset minutes"},
        {STR_INIT("2026-11-24T18:58:08+24:00"), "offset of a day"},
        {STR_INIT("2026-11-24T18:58:08+03:60"), "offset minute 60"},
        {STR_INIT("2026-11-24T18:58:08+03:00:00"), "offset with seconds"},
        {STR_INIT("2026-11-24T18:58:08\xe2\x88\x92"
                  "03:00"),
         "a typographic minus"},
        {STR_INIT("-026-11-24T18:58:08Z"), "a sign"},
        {STR_INIT("2026-11-24T-1:58:08Z"), "a negative hour"},
        {STR_INIT("1969-12-31T23:59:59Z"), "before 1970"},
        {STR_INIT("1970-01-01T00:00:00+01:00"), "before 1970 by its offset"},
        {STR_INIT("9999-12-31T23:59:59-00:01"), "after 9999 by its offset"},
        {STR_INIT("0000-01-01T00:00:00Z"), "year 0"},
        {STR_INIT("infinity"), "PostgreSQL's infinity"},
        {STR_INIT("now"), "a word"},
        {STR_INIT("1764010688"), "a number"},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        time_us_t t = 77;
        ROW_CHECK(!clock_parse(ROWS[i].text, &t), ROWS[i].why);
        ROW_CHECK(t == 77, ROWS[i].why);
    }
}

static void times_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *utc;
        const char *why;
    } ROWS[] = {
        {"1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000000Z", "the beginning"},
        {"9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z", "the end"},
        {"2026-11-24T18:58:08.123456Z", "2026-11-24T18:58:08.123456Z", "six digits"},
        {"2026-11-24T18:58:08.1Z", "2026-11-24T18:58:08.100000Z", "one digit"},
        {"2026-11-24T18:58:08.000001Z", "2026-11-24T18:58:08.000001Z", "a microsecond"},
        {"2026-11-24 18:58:08.12+00", "2026-11-24T18:58:08.120000Z", "as PostgreSQL prints it"},
        {"2026-11-24 21:58:08+03", "2026-11-24T18:58:08.000000Z", "PostgreSQL in Istanbul"},
        {"2026-11-24T21:58:08+03:00", "2026-11-24T18:58:08.000000Z", "Istanbul"},
        {"2026-11-24T00:28:08-05:30", "2026-11-24T05:58:08.000000Z", "west, with minutes"},
        {"2026-11-24T23:30:00-23:59", "2026-11-25T23:29:00.000000Z", "over midnight and a day"},
        {"2024-02-29T00:00:00Z", "2024-02-29T00:00:00.000000Z", "a leap day"},
        {"2000-02-29T23:59:59Z", "2000-02-29T23:59:59.000000Z", "every fourth century is a leap year"},
        {"2024-03-01T00:30:00+01:00", "2024-02-29T23:30:00.000000Z", "back onto a leap day"},
        {"2027-01-01T01:00:00+03:00", "2026-12-31T22:00:00.000000Z", "back over the year"},
        {"2026-11-24T18:58:08-00:00", "2026-11-24T18:58:08.000000Z", "minus zero is zero"},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        time_us_t t;
        char text[CLOCK_TEXT_MAX];
        ROW_CHECK(clock_parse(str_of(ROWS[i].text), &t), ROWS[i].why);
        clock_format(t, text);
        ROW_CHECK(strcmp(text, ROWS[i].utc) == 0, ROWS[i].why);
    }
}

/* libc's calendar is the oracle: every day from 1970 to 9999, at an odd time of day. */
static void every_day_is_what_libc_says_and_comes_back(void **state)
{
    (void)state;
    for (int64_t day = 0; day < 2932897; day++) {
        time_t seconds = day * 86400 + day * 7919 % 86400;
        struct tm tm;
        assert_non_null(gmtime_r(&seconds, &tm));
        char expected[64];
        strftime(expected, sizeof(expected), "%Y-%m-%dT%H:%M:%S.000042Z", &tm);

        time_us_t t = (time_us_t)seconds * US_PER_S + 42;
        char text[CLOCK_TEXT_MAX];
        clock_format(t, text);
        time_us_t back;
        if (strcmp(text, expected) != 0 || !clock_parse(str_of(text), &back) || back != t)
            fail_msg("day %lld: %s, libc %s", (long long)day, text, expected);
    }
}

static void any_int64_can_be_formatted(void **state)
{
    (void)state;
    static const struct {
        time_us_t t;
        const char *text;
    } ROWS[] = {
        {-1, "1969-12-31T23:59:59.999999Z"},
        {INT64_MAX, "294247-01-10T04:00:54.775807Z"},
        {INT64_MIN, "-290308-12-21T19:59:05.224192Z"},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        char text[CLOCK_TEXT_MAX];
        clock_format(ROWS[i].t, text);
        assert_string_equal(text, ROWS[i].text);
    }
}

static void append_adds_the_same_text(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    buf_char(&b, '"');
    clock_append(&b, 0);
    assert_string_equal(buf_cstr(&b), "\"1970-01-01T00:00:00.000000Z");
    buf_done(&b);
}

static void the_wall_clock_is_libcs_and_the_other_never_goes_back(void **state)
{
    (void)state;
    time_t before = time(NULL);
    time_us_t now = clock_now_us();
    assert_true(now >= before * US_PER_S && now <= (before + 10) * US_PER_S);

    mono_ns_t last = clock_mono_ns();
    for (int i = 0; i < 100000; i++) {
        mono_ns_t next = clock_mono_ns();
        assert_true(next >= last);
        last = next;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_that_are_none_are_refused),
        cmocka_unit_test(times_are_read),
        cmocka_unit_test(every_day_is_what_libc_says_and_comes_back),
        cmocka_unit_test(any_int64_can_be_formatted),
        cmocka_unit_test(append_adds_the_same_text),
        cmocka_unit_test(the_wall_clock_is_libcs_and_the_other_never_goes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
