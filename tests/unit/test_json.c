#include "io/json.h"

#include <string.h>

#include "unit.h"

#define DEPTH_16 "[[[[[[[[[[[[[[[["
#define CLOSE_16 "]]]]]]]]]]]]]]]]"

static void bad_texts_are_refused_with_reason_and_offset(void **state)
{
    (void)state;
    static const struct {
        struct str text;
        const char *reason; /* begins like this; NULL: any */
        const char *why;
    } ROWS[] = {
        {STR_INIT(""), "the text ends too early at byte 0", "empty"},
        {STR_INIT("  "), "the text ends too early", "blank"},
        {STR_INIT("{"), "the text ends too early at byte 1", "open object"},
        {STR_INIT("{\"a\":1"), "the text ends too early", "open object"},
        {STR_INIT("\"abc"), "the text ends too early", "open string"},
        {STR_INIT("\"abc\\"), NULL, "ends inside an escape"},
        {STR_INIT("{\"a\":1}x"), "something follows the value at byte", "trailing garbage"},
        {STR_INIT("{} {}"), "something follows the value", "two values"},
        {STR_INIT("1\0"), "a NUL byte at byte 1", "a NUL behind"},
        {STR_INIT("\"a\0b\""), "a NUL byte at byte 2", "a NUL inside"},
        {STR_INIT("\"a\\u0000b\""), "\\u0000 is not allowed at byte 2", "an escaped NUL"},
        {STR_INIT("{\"a\\u0000\":1}"), "\\u0000 is not allowed at byte 3", "an escaped NUL in a name"},
        {STR_INIT("\"\\ud800\""), "half a surrogate pair at byte 1", "a high half alone"},
        {STR_INIT("\"\\udc00\""), "half a surrogate pair at byte 1", "a low half alone"},
        {STR_INIT("\"\\ud800\\ud800\""), "half a surrogate pair at byte 1", "two high halves"},
        {STR_INIT("\"\\uD83Dx\""), "half a surrogate pair at byte 1", "a high half and a letter"},
        {STR_INIT("\"\\u12g4\""), NULL, "no hex"},
        {STR_INIT("\"\\x\""), NULL, "no such escape"},
        {STR_INIT("\"a\nb\""), NULL, "a bare newline in a string"},
        {STR_INIT("\"\xff\""), "not UTF-8 at byte 1", "no UTF-8"},
        {STR_INIT("\"\xc0\xaf\""), "not UTF-8 at byte 1", "overlong"},
        {STR_INIT("\"\xed\xa0\x80\""), "not UTF-8 at byte 1", "a surrogate in UTF-8"},
        {STR_INIT("\xef\xbb\xbf{}"), NULL, "a byte order mark"},
        {STR_INIT("{\"a\":1,\"a\":2}"), "a member that is there twice", "duplicate"},
        {STR_INIT("{\"a\":1,\"\\u0061\":2}"), "a member that is there twice", "duplicate, one of them escaped"},
        {STR_INIT("{\"b\":{\"a\":1,\"a\":1}}"), "a member that is there twice", "duplicate below"},
        {STR_INIT("1e2"), "a number with an exponent at byte 0", "exponent"},
        {STR_INIT("{\"size\":1E400}"), "a number with an exponent at byte 8", "large exponent"},
        {STR_INIT("[-1.5e-3]"), "a number with an exponent at byte 1", "exponent behind places"},
        {STR_INIT("1234567890123456"), "a number of more than 15 digits", "16 digits"},
        {STR_INIT("[0.1234567890123456]"), "a number of more than 15 digits", "16 places"},
        {STR_INIT("[0.0000000000000001]"), "a number of more than 15 digits", "zeros count as well"},
        {STR_INIT("-12345678.12345678"), "a number of more than 15 digits", "8 and 8"},
        {STR_INIT("100000000000000000000000000000000000000"), "a number of more than 15 digits", "39 digits"},
        {STR_INIT("NaN"), NULL, "NaN"},
        {STR_INIT("Infinity"), NULL, "Infinity"},
        {STR_INIT("-"), NULL, "a sign alone"},
        {STR_INIT("+1"), NULL, "plus"},
        {STR_INIT("01"), NULL, "leading zero"},
        {STR_INIT(".5"), NULL, "nothing before the point"},
        {STR_INIT("5."), NULL, "nothing behind the point"},
        {STR_INIT("1.2.3"), NULL, "two points"},
        {STR_INIT("0x10"), NULL, "hexadecimal"},
        {STR_INIT("{'a':1}"), NULL, "single quotes"},
        {STR_INIT("{a:1}"), NULL, "no quotes"},
        {STR_INIT("[1,]"), NULL, "trailing comma"},
        {STR_INIT("{\"a\":1,}"), NULL, "trailing comma"},
        {STR_INIT("[1 2]"), NULL, "no comma"},
        {STR_INIT("]"), NULL, "closed before opened"},
        {STR_INIT("[}"), NULL, "closed otherwise"},
        {STR_INIT("// no\n1"), NULL, "comment"},
        {STR_INIT("True"), NULL, "upper case"},
        {STR_INIT(DEPTH_16 "[" CLOSE_16 "]"), "nested deeper than 16 at byte 16", "depth 17"},
        {STR_INIT("{\"a\":" DEPTH_16 CLOSE_16 "}"), "nested deeper than 16", "depth 17, an object outside"},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        struct json *root = NULL;
        struct fault fault = {0};
        ROW_CHECK(json_parse(ROWS[i].text, &root, &fault) == ERR_MALFORMED_JSON, ROWS[i].why);
        ROW_CHECK(root == NULL && fault.err == ERR_MALFORMED_JSON, ROWS[i].why);
        ROW_CHECK(strstr(fault.why, " at byte ") != NULL, ROWS[i].why);
        if (ROWS[i].reason != NULL && !str_starts(fault.why, ROWS[i].reason))
            fail_msg("%s: %s", ROWS[i].why, fault.why);
    }
}

static void a_depth_bomb_is_refused_at_its_seventeenth_bracket(void **state)
{
    (void)state;
    struct buf bomb;
    buf_init(&bomb);
    for (int i = 0; i < 100000; i++)
        buf_char(&bomb, '[');
    struct json *root = NULL;
    struct fault fault = {0};
    assert_int_equal(json_parse((struct str){bomb.data, bomb.len}, &root, &fault), ERR_MALFORMED_JSON);
    assert_string_equal(fault.why, "nested deeper than 16 at byte 16");
    buf_done(&bomb);
}

static void a_reason_never_quotes_the_text(void **state)
{
    (void)state;
    struct json *root = NULL;
    struct fault fault = {0};
    assert_int_equal(json_parse(STR("{\"password\":\"hunter2\" \"x\"}"), &root, &fault), ERR_MALFORMED_JSON);
    assert_null(strstr(fault.why, "hunter2"));
}

static struct json *parsed(const char *text)
{
    struct json *root = NULL;
    struct fault fault = {0};
    if (json_parse(str_of(text), &root, &fault) != ERR_OK)
        fail_msg("%s: %s", text, fault.why);
    return root;
}

static void good_texts_come_back_the_same_when_dumped(void **state)
{
    (void)state;
    static const struct {
        const char *text, *dumped;
    } ROWS[] = {
        {" null ", "null"},
        {"true", "true"},
        {"false", "false"},
        {"0", "0"},
        {"-0", "0"},
        {"-0.0", "0"},
        {"123456789012345", "123456789012345"},
        {"-999999999999999", "-999999999999999"},
        {"187.25", "187.25"},
        {"0.1", "0.1"},
        {"0.000001", "0.000001"},
        {"0.000000000000001", "0.000000000000001"},
        {"123456.789012345", "123456.789012345"},
        {"\"\"", "\"\""},
        {"\"\\u0131\\/\\b\"", "\"\xc4\xb1/\\u0008\""},
        {"\"\\ud83d\\ude00\"", "\"\xf0\x9f\x98\x80\""},
        {"\"\\\\u0000\"", "\"\\\\u0000\""},
        {"{\"b\" : [1, {}, []], \"a\":null}", "{\"b\":[1,{},[]],\"a\":null}"},
        {DEPTH_16 CLOSE_16, DEPTH_16 CLOSE_16},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        struct json *root = parsed(ROWS[i].text);
        struct buf out;
        buf_init(&out);
        json_dump(root, &out);
        ROW_CHECK(strcmp(buf_cstr(&out), ROWS[i].dumped) == 0, ROWS[i].text);
        json_free(root);
        json_free(parsed(buf_cstr(&out)));
        buf_done(&out);
    }
}

static void each_value_tells_its_type(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum json_type type;
    } ROWS[] = {
        {"null", JSON_NULL}, {"false", JSON_FALSE}, {"true", JSON_TRUE}, {"1", JSON_INTEGER},
        {"1.0", JSON_REAL},  {"\"\"", JSON_STRING}, {"[]", JSON_ARRAY},  {"{}", JSON_OBJECT},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        struct json *root = parsed(ROWS[i].text);
        ROW_CHECK(json_type(root) == ROWS[i].type, ROWS[i].text);
        json_free(root);
    }
}

static void what_is_absent_or_of_another_type_gives_nothing(void **state)
{
    (void)state;
    struct json *root = parsed("{\"n\":1.5,\"s\":\"x\",\"l\":[1],\"z\":null}");
    struct str text = STR("kept");
    int64_t n = 7;
    decimal_t d = 7;
    struct uuid id;
    time_us_t t = 7;
    assert_null(json_get(root, "no"));
    assert_null(json_get(json_get(root, "s"), "x"));
    assert_null(json_at(root, 0));
    assert_null(json_at(json_get(root, "l"), 1));
    assert_int_equal(json_count(json_get(root, "s")), 0);
    assert_int_equal(json_int(json_get(root, "n")), 0);
    assert_int_equal(json_text(json_get(root, "n")).len, 0);
    assert_false(json_get_text(root, "n", &text));
    assert_false(json_get_text(root, "z", &text));
    assert_false(json_get_text(root, "no", &text));
    assert_false(json_get_int(root, "n", &n));
    assert_false(json_get_int(root, "s", &n));
    assert_false(json_get_decimal(root, "n", &d));
    assert_false(json_get_decimal(root, "s", &d));
    assert_false(json_get_uuid(root, "s", &id));
    assert_false(json_get_time(root, "s", &t));
    assert_string_equal(text.data, "kept");
    assert_int_equal(n, 7);
    json_free(root);
    json_free(NULL);
}

static void numbers_become_decimal_text_exactly(void **state)
{
    (void)state;
    static const struct {
        const char *json, *text;
    } ROWS[] = {
        {"100", "100"},
        {"-5", "-5"},
        {"0.10", "0.1"},
        {"300.00", "300"},
        {"0.0001", "0.0001"},
        {"0.00001", "0.00001"},
        {"99999999999.9999", "99999999999.9999"},
        {"\"1e3\"", "1e3"},
        {"\"\"", ""},
        {"null", ""},
        {"[1]", ""},
        {"true", ""},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        struct json *root = parsed(ROWS[i].json);
        char number[40];
        struct str text = json_number_text(root, number);
        ROW_CHECK(str_eq(text, ROWS[i].text), ROWS[i].json);
        json_free(root);
    }
}

/* Every 15-digit decimal survives its way through a double. */
static void numbers_of_fifteen_digits_come_back_for_every_place_of_the_point(void **state)
{
    (void)state;
    static const char *const DIGITS[] = {"123456789012345", "999999999999999", "100000000000001", "314159265358979"};
    for (size_t i = 0; i < LENGTH_OF(DIGITS); i++) {
        for (int point = 0; point < 15; point++) {
            char number[24], back[40];
            if (point == 0)
                strcpy(number, "0");
            else
                strcpy(stpncpy(number, DIGITS[i], (size_t)point), "");
            strcat(strcat(number, "."), DIGITS[i] + point);
            struct json *root = parsed(number);
            assert_true(str_eq(json_number_text(root, back), number));
            json_free(root);
        }
    }
}

static void remember_name(void *arg, const char *name, const struct json *v)
{
    buf_printf(arg, "%s=%lld ", name, (long long)json_int(v));
}

static void members_come_in_their_order(void **state)
{
    (void)state;
    struct json *root = parsed("{\"z\":1,\"a\":2,\"m\":3}");
    struct buf names;
    buf_init(&names);
    json_each(root, remember_name, &names);
    json_each(json_get(root, "z"), remember_name, &names);
    assert_string_equal(buf_cstr(&names), "z=1 a=2 m=3 ");
    buf_done(&names);
    json_free(root);
}

static void writing_puts_commas_where_they_belong(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out);
    struct json_out o = json_out(&out);
    json_open(&o, NULL, '{');
    json_put_text(&o, "name", "A\"\n");
    json_put_text(&o, "none", NULL);
    json_put_int(&o, "n", INT64_MIN);
    json_put_bool(&o, "yes", true);
    json_put_decimal(&o, "price", 187250000);
    json_put_uuid(&o, "id", (struct uuid){.bytes = {1}});
    json_put_time(&o, "at", 0);
    json_open(&o, "items", '[');
    json_open(&o, NULL, '{');
    json_close(&o, '}');
    json_put_int(&o, NULL, 1);
    json_put_raw(&o, NULL, STR("[2]"));
    json_close(&o, ']');
    json_put_null(&o, "last");
    json_close(&o, '}');
    assert_string_equal(
        buf_cstr(&out),
        "{\"name\":\"A\\\"\\n\",\"none\":null,\"n\":-9223372036854775808,\"yes\":true,\"price\":\"187.25\","
        "\"id\":\"01000000-0000-0000-0000-000000000000\",\"at\":\"1970-01-01T00:00:00.000000Z\","
        "\"items\":[{},1,[2]],\"last\":null}");
    json_free(parsed("{}"));
    buf_done(&out);
}

static void texts_are_escaped_so_that_any_bytes_make_a_valid_string(void **state)
{
    (void)state;
    static const struct {
        struct str text;
        const char *escaped;
    } ROWS[] = {
        {STR_INIT(""), "\"\""},
        {STR_INIT("plain"), "\"plain\""},
        {STR_INIT("\"\\/"), "\"\\\"\\\\/\""},
        {STR_INIT("\r\n\t"), "\"\\r\\n\\t\""},
        {STR_INIT("\0\x1b\x7f"), "\"\\u0000\\u001b\\u007f\""},
        {STR_INIT("\xc4\x9f\xf0\x9f\x98\x80"), "\"\xc4\x9f\xf0\x9f\x98\x80\""},
        {STR_INIT("a\xff"
                  "b\xc3"),
         "\"a\xef\xbf\xbd"
         "b\xef\xbf\xbd\""},
        {STR_INIT("\xed\xa0\x80"), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        struct buf out;
        buf_init(&out);
        json_escape(&out, ROWS[i].text);
        assert_string_equal(buf_cstr(&out), ROWS[i].escaped);
        buf_done(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_texts_are_refused_with_reason_and_offset),
        cmocka_unit_test(a_depth_bomb_is_refused_at_its_seventeenth_bracket),
        cmocka_unit_test(a_reason_never_quotes_the_text),
        cmocka_unit_test(good_texts_come_back_the_same_when_dumped),
        cmocka_unit_test(each_value_tells_its_type),
        cmocka_unit_test(what_is_absent_or_of_another_type_gives_nothing),
        cmocka_unit_test(numbers_become_decimal_text_exactly),
        cmocka_unit_test(numbers_of_fifteen_digits_come_back_for_every_place_of_the_point),
        cmocka_unit_test(members_come_in_their_order),
        cmocka_unit_test(writing_puts_commas_where_they_belong),
        cmocka_unit_test(texts_are_escaped_so_that_any_bytes_make_a_valid_string),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
