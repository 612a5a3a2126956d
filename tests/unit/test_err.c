#include "base/err.h"

#include <stdio.h>
#include <string.h>

#include "unit.h"

static void every_error_has_a_status_a_code_and_a_title(void **state)
{
    (void)state;
    for (int e = ERR_OK + 1; e < ERR_COUNT; e++) {
        assert_in_range(err_status((enum err)e), 400, 599);
        assert_true(strlen(err_code((enum err)e)) > 0);
        assert_true(strlen(err_title((enum err)e)) > 0);
    }
}

static void codes_are_lower_case_words_so_that_hyphens_make_a_url(void **state)
{
    (void)state;
    for (int e = ERR_OK + 1; e < ERR_COUNT; e++) {
        const char *code = err_code((enum err)e);
        assert_int_equal(strspn(code, "abcdefghijklmnopqrstuvwxyz_"), strlen(code));
    }
}

static void answers_are_4xx_and_breakage_is_5xx(void **state)
{
    (void)state;
    assert_false(err_is_breakage(ERR_OK));
    for (int e = ERR_OK + 1; e < ERR_COUNT; e++)
        assert_int_equal(err_is_breakage((enum err)e), err_status((enum err)e) >= 500);
}

static void known_errors_are_as_the_contract_says(void **state)
{
    (void)state;
    assert_int_equal(err_status(ERR_OK), 200);
    assert_int_equal(err_status(ERR_INSUFFICIENT), 422);
    assert_string_equal(err_code(ERR_INSUFFICIENT), "insufficient_usable_size");
    assert_string_equal(err_title(ERR_ORDER_NOT_FOUND), "There is no such order");
    assert_int_equal(err_status(ERR_OUTCOME_UNKNOWN), 504);
}

static void a_fault_keeps_the_reason_and_gives_the_error_back(void **state)
{
    (void)state;
    struct fault f;
    assert_int_equal(fault_set(&f, ERR_DB, "insert order: %s", "connection lost"), ERR_DB);
    assert_int_equal(f.err, ERR_DB);
    assert_string_equal(f.why, "insert order: connection lost");
}

static void a_fault_may_be_left_out(void **state)
{
    (void)state;
    assert_int_equal(fault_set(NULL, ERR_BUG, "never %s", "read"), ERR_BUG);
}

static void a_reason_can_be_wrapped_in_itself(void **state)
{
    (void)state;
    struct fault f;
    assert_int_equal(fault_set(&f, ERR_DB, "connection lost"), ERR_DB);
    assert_int_equal(fault_set(&f, ERR_BUSY, "load orders: %s", f.why), ERR_BUSY);
    assert_string_equal(f.why, "load orders: connection lost");
}

static void a_long_reason_is_cut_between_characters(void **state)
{
    (void)state;
    /* Every length of a prefix moves the cut over the bytes of the character there. */
    static const struct {
        const char *character, *why;
    } ROWS[] = {
        {"x", "one byte"},
        {"\xc3\xbc", "two bytes"},
        {"\xe2\x82\xba", "three bytes: the lira sign"},
        {"\xf0\x9f\x98\x80", "four bytes"},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        for (int prefix = 0; prefix < 4; prefix++) {
            size_t width = strlen(ROWS[i].character);
            char text[3 * FAULT_WHY_MAX] = "";
            memset(text, 'a', (size_t)prefix);
            for (size_t len = (size_t)prefix; len < 2 * (size_t)FAULT_WHY_MAX; len += width)
                memcpy(text + len, ROWS[i].character, width);

            struct fault f;
            assert_int_equal(fault_set(&f, ERR_BUG, "%s", text), ERR_BUG);
            ROW_CHECK(strlen(f.why) < FAULT_WHY_MAX, ROWS[i].why);
            ROW_CHECK(strlen(f.why) + width >= FAULT_WHY_MAX, ROWS[i].why);
            ROW_CHECK((strlen(f.why) - (size_t)prefix) % width == 0, ROWS[i].why);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_error_has_a_status_a_code_and_a_title),
        cmocka_unit_test(codes_are_lower_case_words_so_that_hyphens_make_a_url),
        cmocka_unit_test(answers_are_4xx_and_breakage_is_5xx),
        cmocka_unit_test(known_errors_are_as_the_contract_says),
        cmocka_unit_test(a_fault_keeps_the_reason_and_gives_the_error_back),
        cmocka_unit_test(a_fault_may_be_left_out),
        cmocka_unit_test(a_reason_can_be_wrapped_in_itself),
        cmocka_unit_test(a_long_reason_is_cut_between_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
