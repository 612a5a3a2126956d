#include "base/str.h"

#include <string.h>

#include "unit.h"

static void integers_that_are_none_are_refused(void **state)
{
    (void)state;
    static const struct {
        struct str text;
        const char *why;
    } ROWS[] = {
        {STR_INIT(""), "empty"},
        {STR_INIT("-"), "a sign alone"},
        {STR_INIT("+1"), "plus sign"},
        {STR_INIT("--1"), "two signs"},
        {STR_INIT(" 1"), "space before"},
        {STR_INIT("1 "), "space behind"},
        {STR_INIT("1\n"), "newline behind"},
        {STR_INIT("1\0"), "NUL behind"},
        {STR_INIT("01"), "leading zero"},
        {STR_INIT("-01"), "leading zero behind the sign"},
        {STR_INIT("00"), "two zeros"},
        {STR_INIT("-0"), "minus zero: 0 has one text"},
        {STR_INIT("0x10"), "hexadecimal"},
        {STR_INIT("1e3"), "exponent"},
        {STR_INIT("1.0"), "point"},
        {STR_INIT("1_000"), "separator"},
        {STR_INIT("\xd9\xa3"), "an Arabic three"},
        {STR_INIT("9223372036854775808"), "one too many"},
        {STR_INIT("-9223372036854775809"), "one too few"},
        {STR_INIT("92233720368547758070"), "a digit too many"},
        {STR_INIT("99999999999999999999999999999999999999999999"), "wraps several times"},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        int64_t value = 77;
        ROW_CHECK(!str_to_i64(ROWS[i].text, &value), ROWS[i].why);
        ROW_CHECK(value == 77, ROWS[i].why);
    }
}

static void integers_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t value;
    } ROWS[] = {
        {"0", 0},
        {"7", 7},
        {"-7", -7},
        {"1234567890123456789", 1234567890123456789},
        {"9223372036854775807", INT64_MAX},
        {"-9223372036854775808", INT64_MIN},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        int64_t value;
        ROW_CHECK(str_to_i64(str_of(ROWS[i].text), &value) && value == ROWS[i].value, ROWS[i].text);
    }
}

static void an_integer_ends_where_its_piece_ends(void **state)
{
    (void)state;
    int64_t value;
    assert_true(str_to_i64((struct str){"12345", 3}, &value));
    assert_int_equal(value, 123);
}

static void malformed_utf8_is_refused_at_its_place(void **state)
{
    (void)state;
    static const struct {
        struct str text;
        size_t at;
        const char *why;
    } ROWS[] = {
        {STR_INIT("\x80"), 0, "a continuation alone"},
        {STR_INIT("abc\xbf"), 3, "a continuation behind ASCII"},
        {STR_INIT("\xc0\x80"), 0, "overlong NUL"},
        {STR_INIT("\xc1\xbf"), 0, "overlong, two bytes"},
        {STR_INIT("\xe0\x80\x80"), 0, "overlong NUL, three bytes"},
        {STR_INIT("\xe0\x9f\xbf"), 0, "overlong, three bytes"},
        {STR_INIT("\xf0\x80\x80\x80"), 0, "overlong NUL, four bytes"},
        {STR_INIT("\xf0\x8f\xbf\xbf"), 0, "overlong, four bytes"},
        {STR_INIT("\xed\xa0\x80"), 0, "the first surrogate"},
        {STR_INIT("\xed\xbf\xbf"), 0, "the last surrogate"},
        {STR_INIT("\xf4\x90\x80\x80"), 0, "U+110000"},
        {STR_INIT("\xf5\x80\x80\x80"), 0, "a lead byte beyond Unicode"},
        {STR_INIT("\xf8\x88\x80\x80\x80"), 0, "five bytes"},
        {STR_INIT("\xfe"), 0, "FE"},
        {STR_INIT("\xff"), 0, "FF"},
        {STR_INIT("\xc3"), 0, "cut after one of two"},
        {STR_INIT("a\xe2\x82"), 1, "cut after two of three"},
        {STR_INIT("a\xe2"), 1, "cut after one of three"},
        {STR_INIT("ab\xf0\x9f\x98"), 2, "cut after three of four"},
        {STR_INIT("\xc3("), 0, "ASCII where a continuation belongs"},
        {STR_INIT("\xe2\x82("), 0, "ASCII as the third byte"},
        {STR_INIT("\xf0\x9f\x98("), 0, "ASCII as the fourth byte"},
        {STR_INIT("\xe2\x82\xba\xe2\x28\xba"), 3, "a good one, then a bad one"},
        {STR_INIT("\xf0\x9f\x98\xff"), 0, "FF as the fourth byte"},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        size_t at = 77;
        ROW_CHECK(!str_is_utf8(ROWS[i].text, &at), ROWS[i].why);
        ROW_CHECK(at == ROWS[i].at, ROWS[i].why);
    }
}

static void well_formed_utf8_is_accepted(void **state)
{
    (void)state;
    static const struct {
        struct str text;
        const char *why;
    } ROWS[] = {
        {STR_INIT(""), "empty"},
        {STR_INIT("plain"), "ASCII"},
        {STR_INIT("a\0b"), "U+0000 is a character"},
        {STR_INIT("\x7f"), "the last of one byte"},
        {STR_INIT("\xc2\x80"), "the first of two bytes"},
        {STR_INIT("\xdf\xbf"), "the last of two bytes"},
        {STR_INIT("\xe0\xa0\x80"), "the first of three bytes"},
        {STR_INIT("\xed\x9f\xbf"), "the last before the surrogates"},
        {STR_INIT("\xee\x80\x80"), "the first after the surrogates"},
        {STR_INIT("\xef\xbf\xbf"), "the last of three bytes: U+FFFF, a noncharacter, is well-formed"},
        {STR_INIT("\xf0\x90\x80\x80"), "the first of four bytes"},
        {STR_INIT("\xf4\x8f\xbf\xbf"), "U+10FFFF"},
        {STR_INIT("Hisse \xc4\xb1\xc5\x9f\xc4\x9f \xe2\x82\xba \xf0\x9f\x98\x80"), "a mixed text"},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        size_t at;
        ROW_CHECK(str_is_utf8(ROWS[i].text, &at), ROWS[i].why);
    }
}

/* All 65,536 code points of three bytes or fewer and some beyond, each written by the plain rule of RFC 3629 section 3. */
static void exactly_the_scalar_values_are_utf8(void **state)
{
    (void)state;
    for (uint32_t c = 0; c < 0x120000; c += c < 0x11000 ? 1 : 61) {
        char text[4];
        size_t len = 0;
        if (c < 0x80) {
            text[len++] = (char)c;
        } else if (c < 0x800) {
            text[len++] = (char)(0xc0 | c >> 6);
            text[len++] = (char)(0x80 | (c & 0x3f));
        } else if (c < 0x10000) {
            text[len++] = (char)(0xe0 | c >> 12);
            text[len++] = (char)(0x80 | (c >> 6 & 0x3f));
            text[len++] = (char)(0x80 | (c & 0x3f));
        } else {
            text[len++] = (char)(0xf0 | c >> 18);
            text[len++] = (char)(0x80 | (c >> 12 & 0x3f));
            text[len++] = (char)(0x80 | (c >> 6 & 0x3f));
            text[len++] = (char)(0x80 | (c & 0x3f));
        }
        bool scalar = c <= 0x10ffff && !(c >= 0xd800 && c <= 0xdfff);
        size_t at;
        if (str_is_utf8((struct str){text, len}, &at) != scalar)
            fail_msg("U+%04X", (unsigned)c);
    }
}

/* A token's signature must have one spelling: whoever accepts others lets a revoked token come back in another dress. */
static void base64url_has_one_spelling(void **state)
{
    (void)state;
    static const struct {
        struct str text;
        const char *why;
    } ROWS[] = {
        {STR_INIT("A"), "one character carries no byte"},
        {STR_INIT("AAAAA"), "five characters"},
        {STR_INIT("AB"), "left-over bits 0001"},
        {STR_INIT("AP"), "left-over bits 1111"},
        {STR_INIT("Zh"), "left-over bits of \"Zg\""},
        {STR_INIT("AAB"), "left-over bits 01"},
        {STR_INIT("Zm9"), "left-over bits of \"Zm8\""},
        {STR_INIT("Zg=="), "padding"},
        {STR_INIT("Zm8="), "padding"},
        {STR_INIT("="), "padding alone"},
        {STR_INIT("Zm+v"), "'+' is of plain base64"},
        {STR_INIT("Zm/v"), "'/' is of plain base64"},
        {STR_INIT("Zm 9v"), "space"},
        {STR_INIT(" Zm9v"), "space before"},
        {STR_INIT("Zm9v\n"), "newline behind"},
        {STR_INIT("Zm9v\r\n"), "CR LF behind"},
        {STR_INIT("Zm\0v"), "NUL"},
        {STR_INIT("Zm9."), "point"},
        {STR_INIT("Zm\xc3\xbc"), "a byte above 7F"},
        {STR_INIT("Zm\xff\xff"), "FF"},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        unsigned char out[64];
        size_t len = 77;
        ROW_CHECK(!str_base64url_decode(ROWS[i].text, out, sizeof(out), &len), ROWS[i].why);
        ROW_CHECK(len == 77, ROWS[i].why);
    }
}

/* RFC 4648 section 10, without the padding. */
static void base64url_both_ways_is_the_rfc(void **state)
{
    (void)state;
    static const struct {
        struct str bytes;
        const char *text;
    } ROWS[] = {
        {STR_INIT(""), ""},
        {STR_INIT("f"), "Zg"},
        {STR_INIT("fo"), "Zm8"},
        {STR_INIT("foo"), "Zm9v"},
        {STR_INIT("foob"), "Zm9vYg"},
        {STR_INIT("fooba"), "Zm9vYmE"},
        {STR_INIT("foobar"), "Zm9vYmFy"},
        {STR_INIT("\xff\xef\xbe"), "_---"},
        {STR_INIT("\0\0"), "AAA"},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        char text[32];
        str_base64url_encode(ROWS[i].bytes.data, ROWS[i].bytes.len, text);
        assert_string_equal(text, ROWS[i].text);
        unsigned char bytes[32];
        size_t len;
        ROW_CHECK(str_base64url_decode(str_of(text), bytes, sizeof(bytes), &len), ROWS[i].text);
        ROW_CHECK(len == ROWS[i].bytes.len && memcmp(bytes, ROWS[i].bytes.data, len) == 0, ROWS[i].text);
    }
}

/* Every text of up to three characters: what decodes, encodes to itself again. */
static void whatever_decodes_is_the_text_that_its_bytes_encode_to(void **state)
{
    (void)state;
    int decoded = 0;
    for (uint32_t n = 0; n < 1 << 24; n += n < 1 << 16 ? 1 : 257) {
        char text[3] = {(char)n, (char)(n >> 8), (char)(n >> 16)};
        for (size_t len = 2; len <= 3; len++) {
            unsigned char bytes[3];
            size_t got;
            if (!str_base64url_decode((struct str){text, len}, bytes, sizeof(bytes), &got))
                continue;
            decoded++;
            char again[8];
            str_base64url_encode(bytes, got, again);
            if (strlen(again) != len || memcmp(again, text, len) != 0)
                fail_msg("%.*s is another spelling of %s", (int)len, text, again);
        }
    }
    assert_true(decoded >= 256); /* all single bytes at least */
}

static void base64url_does_not_write_past_its_room(void **state)
{
    (void)state;
    unsigned char out[3] = {1, 2, 3};
    size_t len;
    assert_false(str_base64url_decode(STR("Zm9v"), out, 2, &len));
    assert_int_equal(out[2], 3);
    assert_true(str_base64url_decode(STR("Zm9v"), out, 3, &len));
    assert_int_equal(len, 3);
}

static void comparing_looks_at_the_whole_piece(void **state)
{
    (void)state;
    assert_true(str_eq(STR("TRY"), "TRY"));
    assert_false(str_eq(STR("TRY"), "TR"));
    assert_false(str_eq(STR("TR"), "TRY"));
    assert_false(str_eq(STR("TRY\0"), "TRY"));
    assert_false(str_eq(STR("TRY"), "try"));
    assert_true(str_eq(str_of(NULL), ""));
    assert_true(str_eq((struct str){NULL, 0}, ""));
    assert_false(str_eq((struct str){NULL, 0}, "x"));

    assert_true(str_eq_nocase(STR("Content-TYPE"), "content-type"));
    assert_false(str_eq_nocase(STR("content-typ"), "content-type"));
    assert_false(str_eq_nocase(STR("content[type"), "content{type"));
    assert_false(str_eq_nocase(STR("\xc4\xb0"), "i"));

    assert_true(str_starts("Bearer x", "Bearer "));
    assert_true(str_starts("x", ""));
    assert_false(str_starts("Bear", "Bearer "));

    assert_true(str_eq_secret(STR("s3cret\0x"), STR("s3cret\0x")));
    assert_false(str_eq_secret(STR("s3cret\0x"), STR("s3cret\0y")));
    assert_false(str_eq_secret(STR("s3cret"), STR("s3cre")));
    assert_true(str_eq_secret(STR(""), str_of(NULL)));
}

static void trimming_takes_spaces_and_tabs_only(void **state)
{
    (void)state;
    assert_true(str_eq(str_trim(STR(" \t a b\t ")), "a b"));
    assert_true(str_eq(str_trim(STR("\n a")), "\n a"));
    assert_int_equal(str_trim(STR(" \t ")).len, 0);
    assert_int_equal(str_trim(STR("")).len, 0);
}

static void a_copy_says_when_it_was_cut(void **state)
{
    (void)state;
    char out[4] = "???";
    assert_false(str_copy(out, 0, STR("abc")));
    assert_string_equal(out, "???");
    assert_false(str_copy(out, sizeof(out), STR("abcd")));
    assert_string_equal(out, "abc");
    assert_true(str_copy(out, sizeof(out), STR("abc")));
    assert_string_equal(out, "abc");
    assert_true(str_copy(out, sizeof(out), str_of(NULL)));
    assert_string_equal(out, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_that_are_none_are_refused),
        cmocka_unit_test(integers_are_read),
        cmocka_unit_test(an_integer_ends_where_its_piece_ends),
        cmocka_unit_test(malformed_utf8_is_refused_at_its_place),
        cmocka_unit_test(well_formed_utf8_is_accepted),
        cmocka_unit_test(exactly_the_scalar_values_are_utf8),
        cmocka_unit_test(base64url_has_one_spelling),
        cmocka_unit_test(base64url_both_ways_is_the_rfc),
        cmocka_unit_test(whatever_decodes_is_the_text_that_its_bytes_encode_to),
        cmocka_unit_test(base64url_does_not_write_past_its_room),
        cmocka_unit_test(comparing_looks_at_the_whole_piece),
        cmocka_unit_test(trimming_takes_spaces_and_tabs_only),
        cmocka_unit_test(a_copy_says_when_it_was_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
