#include "auth-svc/user.h"

#include <string.h>

#include "unit.h"

static void names_that_nobody_may_have_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
    } ROWS[] = {
        {"", "empty"},
        {"ab", "two characters"},
        {"abcdefghijklmnopqrstuvwxyz0123456", "thirty-three"},
        {"mary smith", "a space"},
        {" mary", "a space before"},
        {"mary\n", "a line's end"},
        {"mary@example.com", "an at sign"},
        {"m\xC3\xA4ry", "a letter beyond ASCII"},
        {"m\xD0\xB0ry", "a letter that only looks like a"},
        {"mary'; DROP TABLE app_user; --", "SQL"},
        {"../mary", "a slash"},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        char name[USER_NAME_MAX + 1];
        ROW_CHECK(!user_name_normalise(ROWS[i].text, name), ROWS[i].why);
    }
}

static void names_are_lower_case_however_they_are_written(void **state)
{
    (void)state;
    static const struct {
        const char *text, *name, *why;
    } ROWS[] = {
        {"mary", "mary", "as it is"},
        {"MaRy.Smith-1_", "mary.smith-1_", "capitals"},
        {"I.IS", "i.is", "ASCII's i, in every country"},
        {"abc", "abc", "three characters"},
        {"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345", "abcdefghijklmnopqrstuvwxyz012345", "thirty-two"},
        {"007", "007", "digits alone"},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        char name[USER_NAME_MAX + 1];
        ROW_CHECK(user_name_normalise(ROWS[i].text, name), ROWS[i].why);
        ROW_CHECK(strcmp(name, ROWS[i].name) == 0, ROWS[i].why);
    }
}

static void a_disabled_user_may_not_log_in(void **state)
{
    (void)state;
    struct user u = {.status = USER_DISABLED};
    assert_false(user_may_log_in(&u));
    u.status = USER_ACTIVE;
    assert_true(user_may_log_in(&u));
}

static void an_account_is_opened_once(void **state)
{
    (void)state;
    struct user u = {.opened = false};
    assert_true(user_open(&u));
    assert_true(u.opened);
    assert_false(user_open(&u));
    assert_true(u.opened);
}

static void who_changes_can_go_on_only_as_who_he_was(void **state)
{
    (void)state;
    static const struct {
        struct user is, becomes;
        const char *reason, *why;
    } ROWS[] = {
        {{.role = ROLE_ADMIN}, {.role = ROLE_ADMIN}, NULL, "nothing changes"},
        {{.role = ROLE_ADMIN}, {.role = ROLE_CUSTOMER}, "role", "demoted"},
        {{.role = ROLE_CUSTOMER}, {.role = ROLE_ADMIN}, "role", "promoted: his tokens say less than he is"},
        {{.status = USER_ACTIVE}, {.status = USER_DISABLED}, "disabled", "disabled"},
        {{.status = USER_DISABLED}, {.status = USER_ACTIVE}, NULL, "he has no sessions to end"},
        {{.role = ROLE_ADMIN}, {.role = ROLE_CUSTOMER, .status = USER_DISABLED}, "disabled", "both: the graver"},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        const char *reason = user_change_ends_sessions(&ROWS[i].is, &ROWS[i].becomes);
        ROW_CHECK((reason == NULL) == (ROWS[i].reason == NULL), ROWS[i].why);
        ROW_CHECK(reason == NULL || strcmp(reason, ROWS[i].reason) == 0, ROWS[i].why);
    }
}

static void a_user_whose_password_is_not_his_own_is_a_newcomer_whatever_his_role(void **state)
{
    (void)state;
    assert_int_equal(user_token_role(&(struct user){.role = ROLE_ADMIN}), ROLE_ADMIN);
    assert_int_equal(user_token_role(&(struct user){.role = ROLE_CUSTOMER}), ROLE_CUSTOMER);
    assert_int_equal(user_token_role(&(struct user){.role = ROLE_ADMIN, .must_change_password = true}), ROLE_NEWCOMER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_that_nobody_may_have_are_refused),
        cmocka_unit_test(names_are_lower_case_however_they_are_written),
        cmocka_unit_test(a_disabled_user_may_not_log_in),
        cmocka_unit_test(an_account_is_opened_once),
        cmocka_unit_test(who_changes_can_go_on_only_as_who_he_was),
        cmocka_unit_test(a_user_whose_password_is_not_his_own_is_a_newcomer_whatever_his_role),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
