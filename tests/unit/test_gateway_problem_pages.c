#include "gateway/problem_pages.h"

#include <string.h>

#include "unit.h"

static void every_code_has_its_page(void **state)
{
    (void)state;
    for (int e = ERR_OK + 1; e < ERR_COUNT; e++)
        ROW_CHECK(problem_page_find(err_code((enum err)e)) != NULL, err_code((enum err)e));
    assert_null(problem_page_find("no_such_code"));
}

static void every_page_is_a_codes_and_stands_there_once(void **state)
{
    (void)state;
    for (const struct problem_page *p = PROBLEM_PAGES; p->code != NULL; p++) {
        ROW_CHECK(strcmp(err_code(problem_page_err(p)), p->code) == 0, p->code);
        ROW_CHECK(problem_page_find(p->code) == p, p->code);
    }
}

/* Three sentences, not one three times, and none of them empty talk. */
static void every_page_says_what_why_and_what_to_do(void **state)
{
    (void)state;
    for (const struct problem_page *p = PROBLEM_PAGES; p->code != NULL; p++) {
        const char *const texts[] = {p->what, p->why, p->todo};
        for (size_t i = 0; i < LENGTH_OF(texts); i++) {
            ROW_CHECK(strlen(texts[i]) > 8 && texts[i][strlen(texts[i]) - 1] == '.', p->code);
            ROW_CHECK(texts[i][0] >= 'A' && texts[i][0] <= 'Z', p->code);
        }
        ROW_CHECK(strcmp(p->what, p->why) != 0 && strcmp(p->why, p->todo) != 0, p->code);
    }
}

int main(void)
{
    static const struct CMUnitTest TESTS[] = {
        cmocka_unit_test(every_code_has_its_page),
        cmocka_unit_test(every_page_is_a_codes_and_stands_there_once),
        cmocka_unit_test(every_page_says_what_why_and_what_to_do),
    };
    return cmocka_run_group_tests(TESTS, NULL, NULL);
}
