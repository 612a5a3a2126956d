#include "gateway/members.h"

#include <string.h>

#include "unit.h"

static bool take(const char *text, struct member *wanted, size_t count)
{
    const char *why = NULL;
    bool fine = members_take(str_of(text), wanted, count, &why);
    assert_true(fine == (why == NULL));
    return fine;
}

static void what_is_no_object_of_rfc_8259_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
    } ROWS[] = {
        {"", "nothing"},
        {"[]", "a list"},
        {"{", "without its end"},
        {"{}x", "something behind it"},
        {"{}{}", "two of them"},
        {"{\"a\"}", "no value"},
        {"{\"a\":}", "an empty value"},
        {"{\"a\":1,}", "a comma too many"},
        {"{,\"a\":1}", "a comma in front"},
        {"{\"a\" 1}", "no colon"},
        {"{a:1}", "a name without quotes"},
        {"{\"a\":1 \"b\":2}", "no comma"},
        {"{\"a\":01}", "a number that begins with 0"},
        {"{\"a\":1.}", "a point without decimals"},
        {"{\"a\":.5}", "a point first"},
        {"{\"a\":+1}", "a plus"},
        {"{\"a\":1e}", "an exponent without digits"},
        {"{\"a\":-}", "a minus alone"},
        {"{\"a\":NaN}", "no number"},
        {"{\"a\":tru}", "half a word"},
        {"{\"a\":[1,]}", "a comma too many, inside"},
        {"{\"a\":[1}", "the wrong bracket"},
        {"{\"a\":\"b}", "a text without its end"},
        {"{\"a\":\"\\x\"}", "an unknown escape"},
        {"{\"a\":\"\\u12g4\"}", "an escape that is no number"},
        {"{\"a\":\"\n\"}", "a line end in a text"},
        {"{\"a\":\"\xff\"}", "not UTF-8"},
        {"{\"items\":[],\"items\":[]}", "twice what is wanted"},
        {"{\"it\\u0065ms\":[]}", "a name that could be another"},
        {"{\"a\":[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]}", "too deep"},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        struct member wanted[] = {{.name = "items"}};
        ROW_CHECK(!take(ROWS[i].text, wanted, 1), ROWS[i].why);
    }
}

static void members_come_as_the_bytes_that_they_are(void **state)
{
    (void)state;
    struct member wanted[] = {{.name = "items"}, {.name = "nextCursor"}, {.name = "absent"}};
    assert_true(
        take(" { \"x\" : {\"items\":[9]} , \"items\" : [ {\"a\" : \"\\u00e7\\\"]\"}, 1.50 ] ,\"nextCursor\":null, "
             "\"y\":[[],{},-0.1e+7,true,false] } ",
             wanted, 3));
    assert_true(str_eq(wanted[0].value, "[ {\"a\" : \"\\u00e7\\\"]\"}, 1.50 ]"));
    assert_true(member_is_array(wanted[0].value));
    assert_true(str_eq(member_inside(wanted[0].value), "{\"a\" : \"\\u00e7\\\"]\"}, 1.50"));
    assert_true(str_eq(wanted[1].value, "null"));
    assert_false(member_is_array(wanted[1].value));
    assert_null(wanted[2].value.data);
}

static void an_empty_list_has_nothing_inside(void **state)
{
    (void)state;
    struct member wanted[] = {{.name = "items"}};
    assert_true(take("{\"items\":[ \t]}", wanted, 1));
    assert_int_equal(member_inside(wanted[0].value).len, 0);
    assert_true(take("{}", wanted, 1));
    assert_null(wanted[0].value.data); /* nothing stays from before */
}

int main(void)
{
    static const struct CMUnitTest TESTS[] = {
        cmocka_unit_test(what_is_no_object_of_rfc_8259_is_refused),
        cmocka_unit_test(members_come_as_the_bytes_that_they_are),
        cmocka_unit_test(an_empty_list_has_nothing_inside),
    };
    return cmocka_run_group_tests(TESTS, NULL, NULL);
}
