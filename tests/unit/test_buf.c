#include "base/buf.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "unit.h"

static void an_empty_buf_is_an_empty_text(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    assert_string_equal(buf_cstr(&b), "");
    buf_reset(&b);
    buf_append(&b, NULL, 0);
    assert_string_equal(buf_cstr(&b), "");
    assert_int_equal(b.len, 0);
    buf_done(&b);
    buf_done(&b);
}

static void take_gives_a_text_even_of_an_empty_buf(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    char *text = buf_take(&b);
    assert_string_equal(text, "");
    mem_free(text);
}

static void take_leaves_the_buf_empty(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    buf_str(&b, "given away");
    char *text = buf_take(&b);
    assert_string_equal(text, "given away");
    assert_null(b.data);
    assert_int_equal(b.len, 0);
    buf_str(&b, "again");
    assert_string_equal(buf_cstr(&b), "again");
    mem_free(text);
    buf_done(&b);
}

static void appends_of_every_kind_line_up_and_stay_terminated(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    buf_char(&b, '{');
    buf_str(&b, "\"n\":");
    buf_i64(&b, -42);
    buf_printf(&b, ",\"s\":\"%s\"", "x");
    buf_append(&b, "}ignored", 1);
    assert_string_equal(buf_cstr(&b), "{\"n\":-42,\"s\":\"x\"}");
    assert_int_equal(b.len, strlen(b.data));
    buf_done(&b);
}

static void integers_print_as_libc_prints_them(void **state)
{
    (void)state;
    static const int64_t VALUES[] = {0, 1, -1, 9, 10, -10, 1000000007, INT64_MAX, INT64_MIN, INT64_MIN + 1};
    for (size_t i = 0; i < LENGTH_OF(VALUES); i++) {
        char expected[32];
        snprintf(expected, sizeof(expected), "%lld", (long long)VALUES[i]);
        struct buf b;
        buf_init(&b);
        buf_i64(&b, VALUES[i]);
        assert_string_equal(buf_cstr(&b), expected);
        buf_done(&b);
    }
}

static void printf_fits_texts_around_the_edge_of_its_room(void **state)
{
    (void)state;
    char expected[600] = "";
    for (size_t len = 0; len < 500; len++) {
        struct buf b;
        buf_init(&b);
        buf_printf(&b, "%s", expected);
        buf_printf(&b, "|%s", expected);
        assert_int_equal(b.len, 2 * len + 1);
        assert_memory_equal(b.data, expected, len);
        assert_string_equal(b.data + len + 1, expected);
        buf_done(&b);
        expected[len] = (char)('a' + (int)(len % 26));
        expected[len + 1] = '\0';
    }
}

static void bytes_may_hold_nul_and_grow_to_a_megabyte(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    for (int i = 0; i < 1 << 20; i++)
        buf_char(&b, (char)(i % 256));
    assert_int_equal(b.len, 1 << 20);
    for (int i = 0; i < 1 << 20; i++) {
        if (b.data[i] != (char)(i % 256))
            fail_msg("byte %d", i);
    }
    buf_done(&b);
}

static void reset_keeps_the_memory(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    buf_str(&b, "a text of some length that will be forgotten");
    const char *before = b.data;
    buf_reset(&b);
    assert_string_equal(buf_cstr(&b), "");
    buf_str(&b, "new");
    assert_ptr_equal(b.data, before);
    assert_string_equal(buf_cstr(&b), "new");
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_buf_is_an_empty_text),
        cmocka_unit_test(take_gives_a_text_even_of_an_empty_buf),
        cmocka_unit_test(take_leaves_the_buf_empty),
        cmocka_unit_test(appends_of_every_kind_line_up_and_stay_terminated),
        cmocka_unit_test(integers_print_as_libc_prints_them),
        cmocka_unit_test(printf_fits_texts_around_the_edge_of_its_room),
        cmocka_unit_test(bytes_may_hold_nul_and_grow_to_a_megabyte),
        cmocka_unit_test(reset_keeps_the_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
