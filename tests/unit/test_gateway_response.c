#include "gateway/response.h"

#include <stdlib.h>
#include <string.h>

#include "unit.h"

#define OK_LINE "HTTP/1.1 200 OK\r\n"

/* ---- a whole answer, fed in pieces of `step` bytes, each in memory of its own so that ASan sees a byte read too far ---- */

struct outcome {
    enum response_state state;
    int status;
    bool keep_alive;
    size_t used;
    struct buf body;
};

static enum response_state head_of_prefix(struct str all, size_t len, struct response *ret, size_t *ret_used)
{
    const char *why = NULL;
    char *copy = malloc(len == 0 ? 1 : len);
    assert_non_null(copy);
    memcpy(copy, all.data, len);
    enum response_state state = response_head((struct str){copy, len}, ret, ret_used, &why);
    assert_true((state == RESPONSE_WRONG) == (why != NULL));
    free(copy);
    return state;
}

static void feed_body(struct response_body *b, struct str rest, size_t step, struct outcome *ret)
{
    ret->state = RESPONSE_MORE;
    for (size_t at = 0; ret->state == RESPONSE_MORE; at += step) {
        size_t n = rest.len - at < step ? rest.len - at : step;
        size_t used = 0;
        const char *why = NULL;
        ret->state = response_body_feed(b, (struct str){rest.data + at, n}, &ret->body, &used, &why);
        assert_true((ret->state == RESPONSE_WRONG) == (why != NULL));
        if (ret->state != RESPONSE_WRONG)
            ret->used += used;
        if (at + n == rest.len)
            break;
    }
    if (ret->state == RESPONSE_MORE && response_body_ends_by_close(b))
        ret->state = RESPONSE_WHOLE;
}

static struct outcome read_answer(struct str all, size_t step)
{
    struct outcome o = {.state = RESPONSE_MORE};
    static struct response r;
    size_t len = 0;
    while (o.state == RESPONSE_MORE && len < all.len) {
        len = all.len - len < step ? all.len : len + step;
        o.state = head_of_prefix(all, len, &r, &o.used);
    }
    if (o.state != RESPONSE_WHOLE)
        return o;

    o.status = r.status;
    o.keep_alive = r.keep_alive;
    struct response_body b;
    response_body_init(&b, &r);
    feed_body(&b, (struct str){all.data + o.used, all.len - o.used}, step, &o);
    return o;
}

/* The same at once and in pieces of 1 and 7 bytes. */
static struct outcome read_every_way(struct str all, const char *why)
{
    struct outcome whole = read_answer(all, all.len + 1);
    static const size_t STEPS[] = {1, 7};
    for (size_t i = 0; i < LENGTH_OF(STEPS); i++) {
        struct outcome pieces = read_answer(all, STEPS[i]);
        ROW_CHECK(pieces.state == whole.state, why);
        if (whole.state != RESPONSE_WRONG) {
            ROW_CHECK(pieces.used == whole.used && pieces.status == whole.status, why);
            ROW_CHECK(strcmp(buf_cstr(&pieces.body), buf_cstr(&whole.body)) == 0, why);
        }
        buf_done(&pieces.body);
    }
    return whole;
}

/* ---- failures first ---- */

static void answers_that_two_readers_could_read_differently_are_refused(void **state)
{
    (void)state;
    static const struct {
        struct str bytes;
        const char *why;
    } ROWS[] = {
        {STR_INIT("\r\n"), "an empty line before the status line"},
        {STR_INIT("HTTP/1.1 200\r\n\r\n"), "no blank behind the status"},
        {STR_INIT("HTTP/1.1  200 OK\r\n\r\n"), "two blanks"},
        {STR_INIT("HTTP/1.1 20 OK\r\n\r\n"), "a status of two digits"},
        {STR_INIT("HTTP/1.1 2000 OK\r\n\r\n"), "of four"},
        {STR_INIT("HTTP/1.1 +20 OK\r\n\r\n"), "a sign"},
        {STR_INIT("HTTP/1.1 099 Low\r\n\r\n"), "below 100"},
        {STR_INIT("HTTP/1.1 600 High\r\n\r\n"), "above 599"},
        {STR_INIT("HTTP/2 200 OK\r\n\r\n"), "another version"},
        {STR_INIT("HTTP/1.2 200 OK\r\n\r\n"), "a minor version that nobody speaks"},
        {STR_INIT("http/1.1 200 OK\r\n\r\n"), "lower case"},
        {STR_INIT("ICY 200 OK\r\n\r\n"), "another protocol"},
        {STR_INIT("HTTP/1.1 200 O\x01K\r\n\r\n"), "a control byte in the reason"},
        {STR_INIT("HTTP/1.1 200 OK\n\n"), "bare LF"},
        {STR_INIT(OK_LINE "A: b\n\r\n"), "bare LF behind a header"},
        {STR_INIT(OK_LINE "A: b\rC: d\r\n\r\n"), "bare CR in a value"},
        {STR_INIT(OK_LINE "A: b\0c\r\n\r\n"), "NUL in a value"},
        {STR_INIT(OK_LINE "A: b\x7f\r\n\r\n"), "DEL in a value"},
        {STR_INIT(OK_LINE "A: b\r\n folded\r\n\r\n"), "a folded header"},
        {STR_INIT(OK_LINE "A: b\r\n\tfolded: x\r\n\r\n"), "folded by a tab"},
        {STR_INIT(OK_LINE "A : b\r\n\r\n"), "a blank before the colon"},
        {STR_INIT(OK_LINE ": b\r\n\r\n"), "no name"},
        {STR_INIT(OK_LINE "A\r\n\r\n"), "no colon"},
        {STR_INIT(OK_LINE "\xc3\xa4: b\r\n\r\n"), "a name that is not ASCII"},
        {STR_INIT(OK_LINE "A(b: c\r\n\r\n"), "a name that is no token"},
        {STR_INIT(OK_LINE "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), "both framings"},
        {STR_INIT(OK_LINE "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n"), "both, the other way"},
        {STR_INIT(OK_LINE "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"), "two lengths"},
        {STR_INIT(OK_LINE "Content-Length: 1\r\ncontent-length: 1\r\n\r\na"), "the same length twice"},
        {STR_INIT(OK_LINE "Content-Length: 1, 1\r\n\r\na"), "a list of lengths"},
        {STR_INIT(OK_LINE "Content-Length: -1\r\n\r\n"), "a negative length"},
        {STR_INIT(OK_LINE "Content-Length: +1\r\n\r\na"), "a signed length"},
        {STR_INIT(OK_LINE "Content-Length: 01\r\n\r\na"), "a leading zero"},
        {STR_INIT(OK_LINE "Content-Length: 0x1\r\n\r\na"), "hexadecimal"},
        {STR_INIT(OK_LINE "Content-Length: 1 1\r\n\r\na"), "a blank inside"},
        {STR_INIT(OK_LINE "Content-Length:\r\n\r\n"), "no length"},
        {STR_INIT(OK_LINE "Content-Length: 18446744073709551617\r\n\r\na"), "a length that wraps"},
        {STR_INIT(OK_LINE "Content-Length: 8388609\r\n\r\na"), "a byte more than a body may have"},
        {STR_INIT(OK_LINE "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), "two codings"},
        {STR_INIT(OK_LINE "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"), "an unknown coding"},
        {STR_INIT(OK_LINE "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), "coded twice"},
        {STR_INIT("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), "chunked before HTTP/1.1"},
        {STR_INIT("HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\nabc"), "a body where none can be"},
        {STR_INIT("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
         "a coding where none can be"},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        struct outcome o = read_every_way(ROWS[i].bytes, ROWS[i].why);
        ROW_CHECK(o.state == RESPONSE_WRONG, ROWS[i].why);
        buf_done(&o.body);
    }
}

#define CHUNKED OK_LINE "Transfer-Encoding: chunked\r\n\r\n"

static void broken_chunks_are_refused(void **state)
{
    (void)state;
    static const struct {
        struct str bytes;
        const char *why;
    } ROWS[] = {
        {STR_INIT(CHUNKED "\r\n"), "no size"},
        {STR_INIT(CHUNKED ";a=b\r\n"), "an extension of no size"},
        {STR_INIT(CHUNKED "-1\r\n"), "a negative size"},
        {STR_INIT(CHUNKED "0x1\r\na\r\n"), "a size with a prefix"},
        {STR_INIT(CHUNKED "g\r\n"), "no hexadecimal digit"},
        {STR_INIT(CHUNKED "1 \r\na\r\n"), "a blank behind the size"},
        {STR_INIT(CHUNKED "1\na\r\n"), "bare LF behind the size"},
        {STR_INIT(CHUNKED "1\ra\r\n"), "bare CR behind the size"},
        {STR_INIT(CHUNKED "1;a\n\r\na\r\n"), "LF in an extension"},
        {STR_INIT(CHUNKED "1\r\nab\r\n"), "more data than said"},
        {STR_INIT(CHUNKED "1\r\na\n"), "bare LF behind the data"},
        {STR_INIT(CHUNKED "800001\r\na"), "a byte more than a body may have"},
        {STR_INIT(CHUNKED "FFFFFFFFFFFFFFFFF\r\na"), "a size that wraps"},
        {STR_INIT(CHUNKED "0\r\n a: b\r\n\r\n"), "a folded trailer"},
        {STR_INIT(CHUNKED "0\r\na: \x01\r\n\r\n"), "a control byte in a trailer"},
        {STR_INIT(CHUNKED "0\r\n\n"), "bare LF at the end"},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        struct outcome o = read_every_way(ROWS[i].bytes, ROWS[i].why);
        ROW_CHECK(o.state == RESPONSE_WRONG, ROWS[i].why);
        buf_done(&o.body);
    }
}

static void an_answer_cut_off_is_not_whole_at_any_byte(void **state)
{
    (void)state;
    static const struct str ANSWERS[] = {
        STR_INIT(OK_LINE "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"),
        STR_INIT(CHUNKED "1;x=y\r\n{\r\n1\r\n}\r\n0\r\nTrailer: a\r\n\r\n"),
    };
    for (size_t i = 0; i < LENGTH_OF(ANSWERS); i++) {
        for (size_t len = 0; len < ANSWERS[i].len; len++) {
            struct outcome o = read_answer((struct str){ANSWERS[i].data, len}, ANSWERS[i].len);
            assert_int_equal(o.state, RESPONSE_MORE);
            buf_done(&o.body);
        }
        struct outcome o = read_every_way(ANSWERS[i], "whole");
        assert_int_equal(o.state, RESPONSE_WHOLE);
        assert_int_equal(o.used, ANSWERS[i].len);
        assert_string_equal(buf_cstr(&o.body), "{}");
        buf_done(&o.body);
    }
}

/* ---- limits ---- */

static void fill(struct buf *b, const char *begin, const char *piece, size_t times)
{
    buf_init(b);
    buf_str(b, begin);
    for (size_t i = 0; i < times; i++)
        buf_str(b, piece);
}

static void a_head_has_its_limits(void **state)
{
    (void)state;
    static const struct {
        const char *piece;
        size_t times;
        enum response_state expected;
        const char *why;
    } ROWS[] = {
        {"A: b\r\n", RESPONSE_HEADERS_MAX, RESPONSE_WHOLE, "as many headers as may be"},
        {"A: b\r\n", RESPONSE_HEADERS_MAX + 1, RESPONSE_WRONG, "one more"},
        {"x", RESPONSE_HEAD_MAX, RESPONSE_WRONG, "a name without an end"},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        static struct response r;
        struct buf b;
        size_t used;
        const char *why;
        fill(&b, OK_LINE, ROWS[i].piece, ROWS[i].times);
        buf_str(&b, "\r\n");
        ROW_CHECK(response_head((struct str){b.data, b.len}, &r, &used, &why) == ROWS[i].expected, ROWS[i].why);
        buf_done(&b);
    }
}

static void what_stands_between_chunks_has_a_limit(void **state)
{
    (void)state;
    struct buf b;
    fill(&b, CHUNKED "0\r\n", "Trailer: abcdefgh\r\n", RESPONSE_BETWEEN_MAX / 10);
    struct outcome o = read_answer((struct str){b.data, b.len}, b.len + 1);
    assert_int_equal(o.state, RESPONSE_WRONG);
    buf_done(&o.body);
    buf_done(&b);
}

static void a_body_until_close_has_a_limit(void **state)
{
    (void)state;
    static const char PIECE[64 * 1024];
    static struct response r = {.framing = FRAMING_CLOSE};
    struct response_body body;
    struct buf out;
    size_t used, fed = 0;
    const char *why;
    buf_init(&out);
    response_body_init(&body, &r);
    while (response_body_feed(&body, (struct str){PIECE, sizeof(PIECE)}, &out, &used, &why) == RESPONSE_MORE)
        fed += sizeof(PIECE);
    assert_int_equal(fed, RESPONSE_BODY_MAX);
    buf_done(&out);
}

/* ---- what is right ---- */

static void answers_are_read(void **state)
{
    (void)state;
    static const struct {
        struct str bytes;
        int status;
        const char *body;
        bool keep_alive;
        size_t left_over;
        const char *why;
    } ROWS[] = {
        {STR_INIT(OK_LINE "Content-Length: 5\r\n\r\nhello"), 200, "hello", true, 0, "by length"},
        {STR_INIT(OK_LINE "CONTENT-LENGTH:5\r\n\r\nhello"), 200, "hello", true, 0, "names in any case, no blank"},
        {STR_INIT(OK_LINE "Content-Length: \t5 \r\n\r\nhello"), 200, "hello", true, 0, "blanks around a value"},
        {STR_INIT("HTTP/1.1 404 \r\nContent-Length: 0\r\n\r\n"), 404, "", true, 0, "no reason"},
        {STR_INIT("HTTP/1.1 200 Tout va bi\xc3\xa8n\r\nContent-Length: 0\r\n\r\n"), 200, "", true, 0,
         "a reason beyond ASCII"},
        {STR_INIT(OK_LINE "Content-Length: 5\r\nConnection: close\r\n\r\nhello"), 200, "hello", false, 0, "closing"},
        {STR_INIT(OK_LINE "Content-Length: 0\r\nConnection: foo, CLOSE\r\n\r\n"), 200, "", false, 0, "close in a list"},
        {STR_INIT(OK_LINE "Content-Length: 0\r\nConnection: closed\r\n\r\n"), 200, "", true, 0,
         "a word that begins alike"},
        {STR_INIT("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello"), 200, "hello", false, 0, "HTTP/1.0 closes"},
        {STR_INIT(OK_LINE "\r\nhello"), 200, "hello", false, 0, "until close"},
        {STR_INIT("HTTP/1.1 204 No Content\r\n\r\n"), 204, "", true, 0, "no body"},
        {STR_INIT("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"), 204, "", true, 0, "no body, said twice"},
        {STR_INIT("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"), 304, "", true, 0,
         "the length it would have"},
        {STR_INIT("HTTP/1.1 100 Continue\r\n\r\n" OK_LINE), 100, "", true, sizeof(OK_LINE) - 1, "an interim answer"},
        {STR_INIT(CHUNKED "5\r\nhello\r\n0\r\n\r\n"), 200, "hello", true, 0, "chunked"},
        {STR_INIT(CHUNKED "2;a=\"b\"\r\nhe\r\n0003\r\nllo\r\n00\r\nX: y\r\nZ:\r\n\r\n"), 200, "hello", true, 0,
         "with all its frills"},
        {STR_INIT(CHUNKED "A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n"), 200, "01234567890123456789", true, 0,
         "hex"},
        {STR_INIT(OK_LINE "Content-Length: 5\r\n\r\nhelloHTTP/1.1"), 200, "hello", true, 8, "another answer behind it"},
        {STR_INIT(CHUNKED "0\r\n\r\nHTTP/1.1"), 200, "", true, 8, "another answer behind chunks"},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        struct outcome o = read_every_way(ROWS[i].bytes, ROWS[i].why);
        ROW_CHECK(o.state == RESPONSE_WHOLE, ROWS[i].why);
        ROW_CHECK(o.status == ROWS[i].status, ROWS[i].why);
        ROW_CHECK(o.keep_alive == ROWS[i].keep_alive, ROWS[i].why);
        ROW_CHECK(strcmp(buf_cstr(&o.body), ROWS[i].body) == 0, ROWS[i].why);
        ROW_CHECK(ROWS[i].bytes.len - o.used == ROWS[i].left_over, ROWS[i].why);
        buf_done(&o.body);
    }
}

static void headers_are_told_as_they_came(void **state)
{
    (void)state;
    static struct response r;
    struct str head = STR(OK_LINE "Location:  /a b \r\nX-Empty:\r\nlocation: \xc3\xa9\r\nContent-Length: 0\r\n\r\n");
    size_t used;
    const char *why;
    assert_int_equal(response_head(head, &r, &used, &why), RESPONSE_WHOLE);
    assert_int_equal(r.header_count, 4);
    assert_true(str_eq(r.headers[0].name, "Location") && str_eq(r.headers[0].value, "/a b"));
    assert_true(str_eq(r.headers[1].name, "X-Empty") && str_eq(r.headers[1].value, ""));
    assert_true(str_eq(r.headers[2].name, "location") && str_eq(r.headers[2].value, "\xc3\xa9"));
}

int main(void)
{
    static const struct CMUnitTest TESTS[] = {
        cmocka_unit_test(answers_that_two_readers_could_read_differently_are_refused),
        cmocka_unit_test(broken_chunks_are_refused),
        cmocka_unit_test(an_answer_cut_off_is_not_whole_at_any_byte),
        cmocka_unit_test(a_head_has_its_limits),
        cmocka_unit_test(what_stands_between_chunks_has_a_limit),
        cmocka_unit_test(a_body_until_close_has_a_limit),
        cmocka_unit_test(answers_are_read),
        cmocka_unit_test(headers_are_told_as_they_came),
    };
    return cmocka_run_group_tests(TESTS, NULL, NULL);
}
