#include "svc/event.h"

#include <string.h>

#include "unit.h"

#define ID "0198f3a0-0000-7000-8000-000000000001"
#define EPOCH "6f1c2b9e-8d0e-4b7e-9a51-0b9f4f0f6a11"
#define NIL "00000000-0000-0000-0000-000000000000"
#define SUBJECT "\"subject\":\"0198f3a0-0000-7000-8000-0000000000aa\""
#define HEAD "\"specversion\":\"1.0\",\"id\":\"" ID "\""
#define NAMES "\"source\":\"order-svc\",\"type\":\"order.placed\""
#define TIME "\"time\":\"2026-11-24T18:58:08.123456Z\""
#define NUMBERS "\"lane\":2,\"partition\":3,\"partseq\":17,\"epoch\":\"" EPOCH "\""
#define DATA "\"data\":{\"size\":\"1\"}"
#define TEXT_OF_40 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

enum { PARTITION = 3 };

static enum err decode(struct event *e, const char *text, struct fault *fault)
{
    *e = (struct event){.partition = PARTITION, .raw = str_of(text)};
    return event_decode(e, fault);
}

/* ---- failures ---- */

static void an_envelope_that_is_not_right_is_refused_and_keeps_its_number_if_that_can_be_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool numbered;
        const char *names, *why;
    } ROWS[] = {
        {"", false, "not JSON", "no bytes"},
        {"{", false, "not JSON", "cut off"},
        {"{" HEAD "," NAMES "," TIME "," NUMBERS "," DATA "}x", false, "not JSON", "something behind it"},
        {"{" HEAD "," HEAD "," NAMES "," TIME "," NUMBERS "," DATA "}", false, "not JSON", "members twice"},
        {"{\"a\":\"\xff\"}", false, "not JSON", "not UTF-8"},
        {"[]", false, "specversion", "an array"},
        {"null", false, "specversion", "null"},
        {"{}", false, "specversion", "an empty object"},

        {"{\"id\":\"" ID "\"," NAMES "," TIME "," NUMBERS "," DATA "}", true, "specversion", "none"},
        {"{\"specversion\":\"0.3\",\"id\":\"" ID "\"," NAMES "," TIME "," NUMBERS "," DATA "}", true, "specversion",
         "an older one"},
        {"{\"specversion\":1.0,\"id\":\"" ID "\"," NAMES "," TIME "," NUMBERS "," DATA "}", true, "specversion",
         "a number"},
        {"{\"specversion\":\"1.0\"," NAMES "," TIME "," NUMBERS "," DATA "}", true, "id", "none"},
        {"{\"specversion\":\"1.0\",\"id\":\"17\"," NAMES "," TIME "," NUMBERS "," DATA "}", true, "id", "no UUID"},
        {"{\"specversion\":\"1.0\",\"id\":\"" NIL "\"," NAMES "," TIME "," NUMBERS "," DATA "}", true, "id", "nil"},

        {"{" HEAD ",\"type\":\"a.b\"," TIME "," NUMBERS "," DATA "}", false, "source", "none"},
        {"{" HEAD ",\"source\":\"\",\"type\":\"a.b\"," TIME "," NUMBERS "," DATA "}", false, "source", "empty"},
        {"{" HEAD ",\"source\":\"Order\",\"type\":\"a.b\"," TIME "," NUMBERS "," DATA "}", false, "source",
         "upper case"},
        {"{" HEAD ",\"source\":\"9-svc\",\"type\":\"a.b\"," TIME "," NUMBERS "," DATA "}", false, "source",
         "digit first"},
        {"{" HEAD ",\"source\":\"/orders\",\"type\":\"a.b\"," TIME "," NUMBERS "," DATA "}", false, "source", "a path"},
        {"{" HEAD ",\"source\":\"a'--\",\"type\":\"a.b\"," TIME "," NUMBERS "," DATA "}", false, "source", "a quote"},
        {"{" HEAD ",\"source\":\"aaaaaaaaaaaaaaaaaaaaaaaa\",\"type\":\"a.b\"," TIME "," NUMBERS "," DATA "}", false,
         "source", "24 bytes: one too many"},
        {"{" HEAD ",\"source\":7,\"type\":\"a.b\"," TIME "," NUMBERS "," DATA "}", false, "source", "a number"},
        {"{" HEAD ",\"source\":\"a\"," TIME "," NUMBERS "," DATA "}", true, "type", "none"},
        {"{" HEAD ",\"source\":\"a\",\"type\":\"" TEXT_OF_40 "\"," TIME "," NUMBERS "," DATA "}", true, "type",
         "40 bytes: one too many"},
        {"{" HEAD ",\"source\":\"a\",\"type\":\"a b\"," TIME "," NUMBERS "," DATA "}", true, "type", "a space"},
        {"{" HEAD ",\"source\":\"a\",\"type\":\"a\\n\"," TIME "," NUMBERS "," DATA "}", true, "type", "a line feed"},

        {"{" HEAD "," NAMES ",\"subject\":\"\"," TIME "," NUMBERS "," DATA "}", true, "subject", "empty"},
        {"{" HEAD "," NAMES ",\"subject\":null," TIME "," NUMBERS "," DATA "}", true, "subject", "null"},
        {"{" HEAD "," NAMES ",\"subject\":\"" TEXT_OF_40 TEXT_OF_40 TEXT_OF_40 "123456789\"," TIME "," NUMBERS "," DATA
         "}",
         true, "subject", "129 bytes: one too many"},
        {"{" HEAD "," NAMES "," NUMBERS "," DATA "}", true, "time", "none"},
        {"{" HEAD "," NAMES ",\"time\":\"2026-02-30T00:00:00Z\"," NUMBERS "," DATA "}", true, "time", "no such day"},
        {"{" HEAD "," NAMES ",\"time\":1764010688," NUMBERS "," DATA "}", true, "time", "a number"},

        {"{" HEAD "," NAMES "," TIME ",\"partition\":3,\"partseq\":17,\"epoch\":\"" EPOCH "\"," DATA "}", false, "lane",
         "none"},
        {"{" HEAD "," NAMES "," TIME ",\"lane\":0,\"partition\":3,\"partseq\":17,\"epoch\":\"" EPOCH "\"," DATA "}",
         false, "lane", "0"},
        {"{" HEAD "," NAMES "," TIME ",\"lane\":65,\"partition\":3,\"partseq\":17,\"epoch\":\"" EPOCH "\"," DATA "}",
         false, "lane", "more than LANE_MAX"},
        {"{" HEAD "," NAMES "," TIME ",\"lane\":\"2\",\"partition\":3,\"partseq\":17,\"epoch\":\"" EPOCH "\"," DATA "}",
         false, "lane", "text"},
        {"{" HEAD "," NAMES "," TIME ",\"lane\":2.0,\"partition\":3,\"partseq\":17,\"epoch\":\"" EPOCH "\"," DATA "}",
         false, "lane", "not an integer"},
        {"{" HEAD "," NAMES "," TIME ",\"lane\":4294967298,\"partition\":3,\"partseq\":17,\"epoch\":\"" EPOCH "\"," DATA
         "}",
         false, "lane", "2 if it were cut to 32 bits"},
        {"{" HEAD "," NAMES "," TIME ",\"lane\":2,\"partition\":4,\"partseq\":17,\"epoch\":\"" EPOCH "\"," DATA "}",
         false, "partition", "not the record's"},
        {"{" HEAD "," NAMES "," TIME ",\"lane\":2,\"partition\":3,\"partseq\":0,\"epoch\":\"" EPOCH "\"," DATA "}",
         false, "partseq", "numbers begin at 1"},
        {"{" HEAD "," NAMES "," TIME ",\"lane\":2,\"partition\":3,\"partseq\":-1,\"epoch\":\"" EPOCH "\"," DATA "}",
         false, "partseq", "negative"},
        {"{" HEAD "," NAMES "," TIME ",\"lane\":2,\"partition\":3,\"partseq\":1,\"epoch\":\"" NIL "\"," DATA "}", false,
         "epoch", "nil"},
        {"{" HEAD "," NAMES "," TIME ",\"lane\":2,\"partition\":3,\"partseq\":1," DATA "}", false, "epoch", "none"},

        {"{" HEAD "," NAMES "," TIME "," NUMBERS "}", true, "data", "none"},
        {"{" HEAD "," NAMES "," TIME "," NUMBERS ",\"data\":null}", true, "data", "null"},
        {"{" HEAD "," NAMES "," TIME "," NUMBERS ",\"data\":[1]}", true, "data", "an array"},
        {"{" HEAD "," NAMES "," TIME "," NUMBERS ",\"data\":\"{}\"}", true, "data", "an object as text"},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        struct event e;
        struct fault fault = {0};
        ROW_CHECK(decode(&e, ROWS[i].text, &fault) == ERR_INVALID, ROWS[i].why);
        ROW_CHECK(strstr(fault.why, ROWS[i].names) != NULL, ROWS[i].why);
        ROW_CHECK((e.lane == 2) == ROWS[i].numbered, ROWS[i].why);
        ROW_CHECK(ROWS[i].numbered || e.lane == 0, ROWS[i].why);
        ROW_CHECK(!ROWS[i].numbered || e.part_seq == 17, ROWS[i].why);
        event_done(&e);
    }
}

static void an_unreadable_event_still_tells_its_type(void **state)
{
    (void)state;
    struct event e;
    assert_int_equal(decode(&e, "{" NAMES "}", NULL), ERR_INVALID);
    assert_string_equal(e.type, "order.placed");
    assert_int_equal(e.lane, 0);
    event_done(&e);
}

/* ---- what works ---- */

static void what_is_encoded_is_decoded_the_same(void **state)
{
    (void)state;
    struct event e = {.id = uuid_v7(),
                      .source = "asset-svc",
                      .type = "asset.reserved",
                      .subject = STR("a \"subject\" \xc3\xbc"),
                      .time = INT64_C(1764010688123456),
                      .lane = 64,
                      .partition = PARTITION,
                      .part_seq = INT64_C(999999999999999),
                      .epoch = uuid_random()};
    struct buf text;
    buf_init(&text);
    event_encode(&text, &e, STR("{\"amount\":\"0.01\",\"n\":1}"));

    struct event back;
    struct fault fault = {0};
    assert_int_equal(decode(&back, buf_cstr(&text), &fault), ERR_OK);
    buf_done(&text); /* nothing read points into it */
    assert_true(uuid_eq(back.id, e.id));
    assert_true(uuid_eq(back.epoch, e.epoch));
    assert_string_equal(back.source, e.source);
    assert_string_equal(back.type, e.type);
    assert_true(str_eq(back.subject, e.subject.data));
    assert_int_equal(back.time, e.time);
    assert_int_equal(back.lane, e.lane);
    assert_int_equal(back.part_seq, e.part_seq);
    decimal_t amount;
    assert_true(json_get_decimal(back.data, "amount", &amount));
    assert_int_equal(amount, 10000);
    event_done(&back);
    event_done(&back); /* twice does no harm */
}

static void the_text_is_as_the_contract_says(void **state)
{
    (void)state;
    struct event e = {.source = "order-svc",
                      .type = "order.placed",
                      .subject = STR("0198f3a0-0000-7000-8000-0000000000aa"),
                      .time = INT64_C(1795546688123456),
                      .lane = 2,
                      .partition = PARTITION,
                      .part_seq = 17};
    assert_true(uuid_parse(STR(ID), &e.id) && uuid_parse(STR(EPOCH), &e.epoch));
    struct buf text;
    buf_init(&text);
    event_encode(&text, &e, STR("{\"size\":\"1\"}"));
    assert_string_equal(buf_cstr(&text), "{" HEAD "," NAMES "," SUBJECT "," TIME "," NUMBERS "," DATA "}");
    buf_done(&text);
}

static void what_others_may_add_is_passed_over(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
    } ROWS[] = {
        {"{" HEAD "," NAMES "," TIME "," NUMBERS "," DATA "}", "no subject"},
        {"{" HEAD "," NAMES "," TIME "," NUMBERS "," DATA ",\"datacontenttype\":\"application/json\"}",
         "CloudEvents' own"},
        {"{" DATA ",\"more\":{\"x\":[1]}," NUMBERS "," TIME "," NAMES "," HEAD "}", "an extension, and another order"},
        {"{" HEAD "," NAMES ",\"time\":\"2026-11-24T18:58:08+03:00\"," NUMBERS "," DATA "}", "another zone"},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        struct event e;
        ROW_CHECK(decode(&e, ROWS[i].text, NULL) == ERR_OK, ROWS[i].why);
        ROW_CHECK(e.subject.len == 0, ROWS[i].why);
        event_done(&e);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_envelope_that_is_not_right_is_refused_and_keeps_its_number_if_that_can_be_read),
        cmocka_unit_test(an_unreadable_event_still_tells_its_type),
        cmocka_unit_test(what_is_encoded_is_decoded_the_same),
        cmocka_unit_test(the_text_is_as_the_contract_says),
        cmocka_unit_test(what_others_may_add_is_passed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
