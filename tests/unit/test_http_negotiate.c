#include "io/http_negotiate.h"

#include <string.h>

#include "unit.h"

static void accept_headers_choose_json_csv_or_neither(void **state)
{
    (void)state;
    enum { NEITHER, JSON, CSV };
    static const struct {
        const char *accept;
        int plain, with_csv; /* without and with CSV on offer */
    } ROWS[] = {
        {NULL, JSON, JSON},
        {"", JSON, JSON},
        {"*/*", JSON, JSON},
        {"application/*", JSON, JSON},
        {"Application/JSON", JSON, JSON},
        {"application/json;charset=utf-8", JSON, JSON},
        {"application/problem+json", JSON, JSON},
        {"text/html, application/xhtml+xml, */*;q=0.8", JSON, JSON},
        {"text/html", NEITHER, NEITHER},
        {"text/csv", NEITHER, CSV},
        {"text/*", NEITHER, CSV},
        {"text/csv, application/json", JSON, JSON},
        {"text/csv, application/json;q=0.9", JSON, CSV},
        {"text/csv;q=0.5, */*;q=0.9", JSON, JSON},
        {"text/csv, */*;q=0.1", JSON, CSV},
        {"text/csv;q=0, */*", JSON, JSON},
        {"*/*;q=0", NEITHER, NEITHER},
        {"application/json;q=0", NEITHER, NEITHER},
        {"application/json;q=0, */*", NEITHER, CSV},
        {"application/json;q=0.000", NEITHER, NEITHER},
        {"application/json ; q=0.001", JSON, JSON},
        {"application/*;q=0, application/json", JSON, JSON},
        {"image/png;a=\"x, application/json\"", NEITHER, NEITHER},
        {"application/jsonp", NEITHER, NEITHER},
        {", ,,", NEITHER, NEITHER},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        const char *why = ROWS[i].accept == NULL ? "absent" : ROWS[i].accept;
        bool csv;
        ROW_CHECK(negotiate_accept(str_of(ROWS[i].accept), false, &csv) == (ROWS[i].plain != NEITHER) && !csv, why);
        ROW_CHECK(negotiate_accept(str_of(ROWS[i].accept), true, &csv) == (ROWS[i].with_csv != NEITHER), why);
        ROW_CHECK(csv == (ROWS[i].with_csv == CSV), why);
    }
}

static void only_json_in_utf8_is_json(void **state)
{
    (void)state;
    static const struct {
        const char *type;
        bool fine;
    } ROWS[] = {
        {"application/json", true},
        {"APPLICATION/JSON", true},
        {"application/json;charset=utf-8", true},
        {"application/json ; charset=\"UTF-8\"", true},
        {"application/json;", true},
        {NULL, false},
        {"", false},
        {"text/json", false},
        {"application/json-patch+json", false},
        {"application/json; charset=latin1", false},
        {"application/json; boundary=x", false},
        {"application/json, text/plain", false},
        {"application/x-www-form-urlencoded", false},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++)
        ROW_CHECK(negotiate_is_json(str_of(ROWS[i].type)) == ROWS[i].fine,
                  ROWS[i].type == NULL ? "absent" : ROWS[i].type);
}

static void prefer_bounds_the_wait(void **state)
{
    (void)state;
    static const struct {
        const char *prefer;
        bool async;
        int wait_s;
    } ROWS[] = {
        {NULL, false, 3},
        {"respond-async", true, 3},
        {"Respond-Async, wait=1", true, 1},
        {"wait=2", false, 2},
        {"wait = \"2\"", false, 2},
        {"wait=0", false, 0},
        {"wait=100", false, 3},
        {"wait=99999999999999999999", false, 3},
        {"wait=-1", false, 3},
        {"wait=x, handling=lenient", false, 3},
        {"wait=1, wait=2", false, 1},
        {"return=minimal; foo=\"respond-async, wait=0\"", false, 3},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        bool async;
        int wait_s;
        negotiate_prefer(str_of(ROWS[i].prefer), &async, &wait_s);
        ROW_CHECK(async == ROWS[i].async && wait_s == ROWS[i].wait_s,
                  ROWS[i].prefer == NULL ? "absent" : ROWS[i].prefer);
    }
}

static void idempotency_keys_are_visible_ascii_of_8_to_255(void **state)
{
    (void)state;
    static char longest[256], too_long[257];
    memset(longest, 'k', 255);
    memset(too_long, 'k', 256);
    const struct {
        const char *value, *key, *why;
    } ROWS[] = {
        {"", NULL, "empty"},
        {"1234567", NULL, "seven"},
        {"\"1234567\"", NULL, "seven in quotes"},
        {"12345678", "12345678", "eight"},
        {"\"12345678\"", "12345678", "quoted is the same key"},
        {"\"1234\\\"5678\"", "1234\"5678", "an escaped quote"},
        {"\"1234\"5678\"", NULL, "a quote inside"},
        {"\"12345678\\\"", NULL, "the last quote is escaped"},
        {"1234 5678", NULL, "a blank"},
        {"12345678\xc3\xa9", NULL, "not ASCII"},
        {"\"", NULL, "half a pair"},
        {longest, longest, "255"},
        {too_long, NULL, "256"},
    };
    struct arena arena;
    arena_init(&arena);
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        const char *key = negotiate_idempotency_key(str_of(ROWS[i].value), &arena);
        ROW_CHECK((key == NULL) == (ROWS[i].key == NULL), ROWS[i].why);
        ROW_CHECK(key == NULL || strcmp(key, ROWS[i].key) == 0, ROWS[i].why);
    }
    arena_done(&arena);
}

static void request_ids_are_8_to_64_of_a_small_alphabet(void **state)
{
    (void)state;
    assert_true(negotiate_is_request_id(str_of("abcDEF_-09")));
    assert_true(negotiate_is_request_id(str_of("1234567812345678123456781234567812345678123456781234567812345678")));
    static const char *const WRONG[] = {
        NULL,        "",           "1234567",   "12345678123456781234567812345678123456781234567812345678123456781",
        "1234 5678", "12345678\"", "1234567\n",
    };
    for (size_t i = 0; i < LENGTH_OF(WRONG); i++)
        ROW_CHECK(!negotiate_is_request_id(str_of(WRONG[i])), WRONG[i] == NULL ? "absent" : WRONG[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accept_headers_choose_json_csv_or_neither),
        cmocka_unit_test(only_json_in_utf8_is_json),
        cmocka_unit_test(prefer_bounds_the_wait),
        cmocka_unit_test(idempotency_keys_are_visible_ascii_of_8_to_255),
        cmocka_unit_test(request_ids_are_8_to_64_of_a_small_alphabet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
