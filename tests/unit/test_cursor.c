#include <string.h>

#include "svc/readers.h"
#include "unit.h"

static struct cursor a_cursor(void)
{
    struct cursor c = {.at = INT64_C(1795460288123456), .present = true};
    assert_true(uuid_parse(STR("0197a000-0000-7000-8000-0000000000ff"), &c.id));
    return c;
}

static void what_is_no_cursor_is_refused_by_name(void **state)
{
    (void)state;
    char good[CURSOR_TEXT_MAX], longer[CURSOR_TEXT_MAX + 8], padded[CURSOR_TEXT_MAX + 8];
    const struct cursor c = a_cursor();
    cursor_encode(&c, good);
    strcpy(longer, good);
    strcat(longer, "AAAA");
    strcpy(padded, good);
    strcat(padded, "==");
    const struct {
        const char *text, *why;
    } ROWS[] = {
        {"", "empty"},
        {"1", "one character"},
        {"2026-11-24T18:58:08Z", "a time"},
        {"0197a000-0000-7000-8000-0000000000ff", "an id"},
        {"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "the right length, all zero"},
        {"______________________________________", "the right length, all ones"},
        {"+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/", "the other base64"},
        {longer, "more behind it"},
        {padded, "padding"},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        struct field_errors errors = {.count = 0};
        struct cursor ret = {.at = 7};
        ROW_CHECK(cursor_decode(ROWS[i].text, &ret, &errors) == ERR_INVALID, ROWS[i].why);
        ROW_CHECK(ret.at == 7, ROWS[i].why);
        assert_int_equal(errors.count, 1);
        assert_string_equal(errors.items[0].pointer, "?cursor");
    }
}

static void any_changed_character_is_noticed(void **state)
{
    (void)state;
    static const char ALPHABET[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    char good[CURSOR_TEXT_MAX];
    const struct cursor c = a_cursor();
    cursor_encode(&c, good);
    for (size_t at = 0; at < strlen(good); at++)
        for (const char *with = ALPHABET; *with != '\0'; with++) {
            char text[CURSOR_TEXT_MAX];
            struct field_errors errors = {.count = 0};
            struct cursor ret;
            strcpy(text, good);
            text[at] = *with;
            if (*with != good[at])
                assert_int_equal(cursor_decode(text, &ret, &errors), ERR_INVALID);
        }
}

static void a_cut_cursor_is_refused_at_every_length(void **state)
{
    (void)state;
    char text[CURSOR_TEXT_MAX];
    const struct cursor c = a_cursor();
    cursor_encode(&c, text);
    for (size_t len = strlen(text); len-- > 0;) {
        struct field_errors errors = {.count = 0};
        struct cursor ret;
        text[len] = '\0';
        assert_int_equal(cursor_decode(text, &ret, &errors), ERR_INVALID);
    }
}

static void no_cursor_is_the_first_page(void **state)
{
    (void)state;
    struct field_errors errors = {.count = 0};
    struct cursor ret = a_cursor();
    assert_int_equal(cursor_decode(NULL, &ret, &errors), ERR_OK);
    assert_false(ret.present);
    assert_int_equal(errors.count, 0);
}

static void what_was_encoded_is_decoded(void **state)
{
    (void)state;
    static const time_us_t TIMES[] = {0, 1, INT64_C(1795460288123456), INT64_MAX};
    for (size_t i = 0; i < LENGTH_OF(TIMES); i++) {
        struct cursor c = {.at = TIMES[i], .id = uuid_v7()}, ret;
        struct field_errors errors = {.count = 0};
        char text[CURSOR_TEXT_MAX];
        cursor_encode(&c, text);
        assert_int_equal(strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"),
                         strlen(text)); /* needs no escaping in a URL */
        assert_int_equal(cursor_decode(text, &ret, &errors), ERR_OK);
        assert_true(ret.present);
        assert_int_equal(ret.at, c.at);
        assert_true(uuid_eq(ret.id, c.id));
    }
}

/* Clients hold cursors while services are replaced. */
static void the_text_stays_the_same_from_version_to_version(void **state)
{
    (void)state;
    char text[CURSOR_TEXT_MAX];
    const struct cursor c = a_cursor();
    cursor_encode(&c, text);
    assert_string_equal(text, "AAZg9iyukkABl6AAAABwAIAAAAAAAAD_NYkNUA");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_no_cursor_is_refused_by_name),
        cmocka_unit_test(any_changed_character_is_noticed),
        cmocka_unit_test(a_cut_cursor_is_refused_at_every_length),
        cmocka_unit_test(no_cursor_is_the_first_page),
        cmocka_unit_test(what_was_encoded_is_decoded),
        cmocka_unit_test(the_text_stays_the_same_from_version_to_version),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
