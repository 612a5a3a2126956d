#include "base/decimal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/id.h"
#include "unit.h"

static void texts_that_are_no_decimal_are_refused(void **state)
{
    (void)state;
    static const struct {
        struct str text;
        int places;
        enum decimal_error error;
        const char *why;
    } ROWS[] = {
        {STR_INIT(""), 6, DECIMAL_NOT_A_NUMBER, "empty"},
        {STR_INIT("-"), 6, DECIMAL_NOT_A_NUMBER, "a sign alone"},
        {STR_INIT("."), 6, DECIMAL_NOT_A_NUMBER, "a point alone"},
        {STR_INIT("-."), 6, DECIMAL_NOT_A_NUMBER, "a sign and a point"},
        {STR_INIT(".5"), 6, DECIMAL_NOT_A_NUMBER, "nothing before the point"},
        {STR_INIT("-.5"), 6, DECIMAL_NOT_A_NUMBER, "nothing between sign and point"},
        {STR_INIT("5."), 6, DECIMAL_NOT_A_NUMBER, "nothing behind the point"},
        {STR_INIT("1.2.3"), 6, DECIMAL_NOT_A_NUMBER, "two points"},
        {STR_INIT("1..2"), 6, DECIMAL_NOT_A_NUMBER, "two points together"},
        {STR_INIT("+1"), 6, DECIMAL_NOT_A_NUMBER, "plus sign"},
        {STR_INIT("--1"), 6, DECIMAL_NOT_A_NUMBER, "two signs"},
        {STR_INIT("1-"), 6, DECIMAL_NOT_A_NUMBER, "a sign behind"},
        {STR_INIT("1.-5"), 6, DECIMAL_NOT_A_NUMBER, "a sign behind the point"},
        {STR_INIT("1e3"), 6, DECIMAL_NOT_A_NUMBER, "exponent"},
        {STR_INIT("1E400"), 6, DECIMAL_NOT_A_NUMBER, "a large exponent"},
        {STR_INIT("1.5e-1"), 6, DECIMAL_NOT_A_NUMBER, "exponent behind places"},
        {STR_INIT("0x10"), 6, DECIMAL_NOT_A_NUMBER, "hexadecimal"},
        {STR_INIT("NaN"), 6, DECIMAL_NOT_A_NUMBER, "NaN"},
        {STR_INIT("Infinity"), 6, DECIMAL_NOT_A_NUMBER, "Infinity"},
        {STR_INIT("abc"), 6, DECIMAL_NOT_A_NUMBER, "letters"},
        {STR_INIT("1,5"), 6, DECIMAL_NOT_A_NUMBER, "a Turkish comma"},
        {STR_INIT("1 000"), 6, DECIMAL_NOT_A_NUMBER, "a space inside"},
        {STR_INIT("1_000"), 6, DECIMAL_NOT_A_NUMBER, "an underscore"},
        {STR_INIT(" 1"), 6, DECIMAL_NOT_A_NUMBER, "a space before"},
        {STR_INIT("1 "), 6, DECIMAL_NOT_A_NUMBER, "a space behind"},
        {STR_INIT("1\n"), 6, DECIMAL_NOT_A_NUMBER, "a newline behind"},
        {STR_INIT("1\0"), 6, DECIMAL_NOT_A_NUMBER, "NUL behind"},
        {STR_INIT("\xd9\xa3"), 6, DECIMAL_NOT_A_NUMBER, "an Arabic three"},
        {STR_INIT("\xef\xbc\x91"), 6, DECIMAL_NOT_A_NUMBER, "a full-width one"},
        {STR_INIT("99999999999999999999999999999999999999999999x"), 6, DECIMAL_NOT_A_NUMBER,
         "form is judged before size"},
        {STR_INIT("0.0000001x"), 6, DECIMAL_NOT_A_NUMBER, "form is judged before places"},
        {STR_INIT("0.0000001"), 6, DECIMAL_TOO_PRECISE, "seven places"},
        {STR_INIT("-0.00000001"), 6, DECIMAL_TOO_PRECISE, "eight places"},
        {STR_INIT("187.255"), 2, DECIMAL_TOO_PRECISE, "a price of three places"},
        {STR_INIT("187.2501"), 2, DECIMAL_TOO_PRECISE, "a price of four places"},
        {STR_INIT("1.00001"), 4, DECIMAL_TOO_PRECISE, "a size of five places"},
        {STR_INIT("1.5"), 0, DECIMAL_TOO_PRECISE, "places where none may be"},
        {STR_INIT("0.00000000000000000000000000000000000000001"), 6, DECIMAL_TOO_PRECISE, "many places"},
        {STR_INIT("9223372036854.775808"), 6, DECIMAL_TOO_LARGE, "a millionth too many"},
        {STR_INIT("-9223372036854.775809"), 6, DECIMAL_TOO_LARGE, "a millionth too few"},
        {STR_INIT("9223372036855"), 6, DECIMAL_TOO_LARGE, "one too many"},
        {STR_INIT("9223372036854775807"), 6, DECIMAL_TOO_LARGE, "int64 itself, but not in millionths"},
        {STR_INIT("18446744073709.551617"), 6, DECIMAL_TOO_LARGE, "wraps to one millionth"},
        {STR_INIT("999999999999999999999999999999999999999"), 6, DECIMAL_TOO_LARGE, "39 digits"},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        decimal_t value = 77;
        ROW_CHECK(decimal_parse(ROWS[i].text, ROWS[i].places, &value) == ROWS[i].error, ROWS[i].why);
        ROW_CHECK(value == 77, ROWS[i].why);
    }
}

static void decimals_are_read_and_written_in_the_shortest_form(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int places;
        decimal_t value;
        const char *shortest;
    } ROWS[] = {
        {"0", 0, 0, "0"},
        {"-0", 0, 0, "0"},
        {"-0.00", 2, 0, "0"},
        {"0.000000", 0, 0, "0"},
        {"1", 0, 1000000, "1"},
        {"187.25", 2, 187250000, "187.25"},
        {"187.250000000000", 2, 187250000, "187.25"},
        {"100.000", 0, 100000000, "100"},
        {"100000", 2, 100000000000, "100000"},
        {"007.5", 2, 7500000, "7.5"},
        {"0.000001", 6, 1, "0.000001"},
        {"-0.000001", 6, -1, "-0.000001"},
        {"0.1", 6, 100000, "0.1"},
        {"0.0001", 4, 100, "0.0001"},
        {"10.000010", 6, 10000010, "10.00001"},
        {"9223372036854.775807", 6, INT64_MAX, "9223372036854.775807"},
        {"-9223372036854.775808", 6, INT64_MIN, "-9223372036854.775808"},
        {"00000000000000000000000000000000000000000000000001", 6, 1000000, "1"},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        decimal_t value;
        ROW_CHECK(decimal_parse(str_of(ROWS[i].text), ROWS[i].places, &value) == DECIMAL_OK, ROWS[i].text);
        ROW_CHECK(value == ROWS[i].value, ROWS[i].text);
        char text[DECIMAL_TEXT_MAX];
        ROW_CHECK(decimal_format(value, text) == (int)strlen(ROWS[i].shortest), ROWS[i].text);
        assert_string_equal(text, ROWS[i].shortest);
    }
}

static void append_adds_the_shortest_form(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    decimal_append(&b, 187250000);
    buf_char(&b, ',');
    decimal_append(&b, -1);
    assert_string_equal(buf_cstr(&b), "187.25,-0.000001");
    buf_done(&b);
}

static void overflow_is_an_answer_and_writes_nothing(void **state)
{
    (void)state;
    decimal_t value = 77;
    assert_false(decimal_add(INT64_MAX, 1, &value));
    assert_false(decimal_add(INT64_MIN, -1, &value));
    assert_false(decimal_sub(INT64_MIN, 1, &value));
    assert_false(decimal_sub(0, INT64_MIN, &value));
    assert_false(decimal_mul(INT64_MAX, 2 * DECIMAL_ONE, &value));
    assert_false(decimal_mul(INT64_MIN, -DECIMAL_ONE, &value));
    assert_false(decimal_mul(INT64_MIN, INT64_MIN, &value));
    assert_int_equal(value, 77);
}

static void a_product_that_is_no_whole_millionth_is_refused(void **state)
{
    (void)state;
    decimal_t value = 77;
    assert_false(decimal_mul(1, 1, &value));
    assert_false(decimal_mul(100, 1000, &value));
    assert_false(decimal_mul(-999999, 999999, &value));
    assert_int_equal(value, 77);
}

static void the_smallest_order_costs_a_millionth(void **state)
{
    (void)state;
    decimal_t price, size, cost;
    assert_int_equal(decimal_parse(STR("0.01"), DECIMAL_PRICE_PLACES, &price), DECIMAL_OK);
    assert_int_equal(decimal_parse(STR("0.0001"), DECIMAL_SIZE_PLACES, &size), DECIMAL_OK);
    assert_true(decimal_mul(price, size, &cost));
    assert_int_equal(cost, 1);
}

/* The oracle: numbers of any length as the pupil writes them, a digit a place, the last one first. It knows neither int64
 * nor two's complement, so that it can't share a mistake with what it judges. */
enum { BIG_MAX = 64 };

struct big {
    bool negative;
    int len; /* without leading zeros; 0 for zero */
    int digits[BIG_MAX];
};

static void big_trim(struct big *b)
{
    while (b->len > 0 && b->digits[b->len - 1] == 0)
        b->len--;
    if (b->len == 0)
        b->negative = false;
}

static struct big big_of_text(const char *text)
{
    struct big b = {.negative = text[0] == '-'};
    if (b.negative)
        text++;
    b.len = (int)strlen(text);
    for (int i = 0; i < b.len; i++)
        b.digits[i] = text[b.len - 1 - i] - '0';
    big_trim(&b);
    return b;
}

static struct big big_of_int(int64_t value)
{
    char text[32];
    snprintf(text, sizeof(text), "%lld", (long long)value);
    return big_of_text(text);
}

static int big_compare_sizes(const struct big *a, const struct big *b)
{
    if (a->len != b->len)
        return a->len < b->len ? -1 : 1;
    for (int i = a->len - 1; i >= 0; i--) {
        if (a->digits[i] != b->digits[i])
            return a->digits[i] < b->digits[i] ? -1 : 1;
    }
    return 0;
}

static bool big_equal(const struct big *a, const struct big *b)
{
    return a->negative == b->negative && big_compare_sizes(a, b) == 0;
}

static bool big_fits_int64(const struct big *b)
{
    struct big limit = big_of_text(b->negative ? "9223372036854775808" : "9223372036854775807");
    return big_compare_sizes(b, &limit) <= 0;
}

static struct big big_add(const struct big *a, const struct big *b)
{
    const struct big *larger = big_compare_sizes(a, b) >= 0 ? a : b;
    const struct big *smaller = larger == a ? b : a;
    int sign = a->negative == b->negative ? 1 : -1;
    struct big sum = {.negative = larger->negative, .len = larger->len + 1};
    int carry = 0;
    for (int i = 0; i < sum.len; i++) {
        int digit = (i < larger->len ? larger->digits[i] : 0) + sign * (i < smaller->len ? smaller->digits[i] : 0) +
                    carry;
        carry = digit > 9 ? 1 : digit < 0 ? -1 : 0;
        sum.digits[i] = digit - 10 * carry;
    }
    big_trim(&sum);
    return sum;
}

static struct big big_mul(const struct big *a, const struct big *b)
{
    struct big product = {.negative = a->negative != b->negative, .len = a->len + b->len};
    for (int i = 0; i < a->len; i++) {
        for (int j = 0; j < b->len; j++)
            product.digits[i + j] += a->digits[i] * b->digits[j];
    }
    for (int i = 0; i + 1 < product.len; i++) {
        product.digits[i + 1] += product.digits[i] / 10;
        product.digits[i] %= 10;
    }
    big_trim(&product);
    return product;
}

/* Takes the last six digits off; false: they are not all zero. */
static bool big_drop_six(struct big *b)
{
    for (int i = 0; i < DECIMAL_SCALE && i < b->len; i++) {
        if (b->digits[i] != 0)
            return false;
    }
    int keep = b->len > DECIMAL_SCALE ? b->len - DECIMAL_SCALE : 0;
    memmove(b->digits, b->digits + DECIMAL_SCALE, (size_t)keep * sizeof(b->digits[0]));
    b->len = keep;
    big_trim(b);
    return true;
}

/* xorshift64*: seeded, so that a failure can be run again with DECIMAL_SEED. */
static uint64_t random_next(uint64_t *seed)
{
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    return *seed * UINT64_C(0x2545f4914f6cdd1d);
}

static uint64_t seed_of_run(const char *what)
{
    uint64_t seed = 0;
    const char *given = getenv("DECIMAL_SEED");
    if (given != NULL)
        seed = strtoull(given, NULL, 10);
    else
        id_random_bytes(&seed, sizeof(seed));
    seed |= 1; /* xorshift stays at zero */
    print_message("%s: DECIMAL_SEED=%llu\n", what, (unsigned long long)seed);
    return seed;
}

/* Numbers of every length, near powers of ten, and near the edges of int64. */
static decimal_t random_decimal(uint64_t *seed)
{
    uint64_t kind = random_next(seed) % 8;
    int64_t value = (int64_t)(random_next(seed) >> (random_next(seed) % 63 + 1));
    if (kind == 0)
        value = INT64_MAX - value % 1000;
    else if (kind == 1)
        value -= value % DECIMAL_ONE;
    else if (kind == 2)
        value -= value % 10000;
    else if (kind == 3)
        value = value % 1000;
    if (random_next(seed) % 2 == 0)
        value = kind == 0 ? -value - 1 : -value;
    return value;
}

enum { RANDOM_CASES = 100000 };

static void check_sum(decimal_t a, decimal_t b, bool minus)
{
    struct big x = big_of_int(a), y = big_of_int(b);
    if (minus && y.len > 0)
        y.negative = !y.negative;
    struct big expected = big_add(&x, &y);
    decimal_t got = 77;
    bool ok = minus ? decimal_sub(a, b, &got) : decimal_add(a, b, &got);
    struct big is = big_of_int(got);
    if (ok != big_fits_int64(&expected) || (ok && !big_equal(&is, &expected)))
        fail_msg("%lld %c %lld gave %lld", (long long)a, minus ? '-' : '+', (long long)b, (long long)got);
}

static bool check_product(decimal_t a, decimal_t b)
{
    struct big x = big_of_int(a), y = big_of_int(b);
    struct big expected = big_mul(&x, &y);
    bool exists = big_drop_six(&expected) && big_fits_int64(&expected);
    decimal_t got = 77;
    bool ok = decimal_mul(a, b, &got);
    struct big is = big_of_int(got);
    if (ok != exists || (ok && !big_equal(&is, &expected)))
        fail_msg("%lld x %lld gave %lld", (long long)a, (long long)b, (long long)got);
    return ok;
}

static void sums_and_products_are_those_of_the_oracle(void **state)
{
    (void)state;
    uint64_t seed = seed_of_run("sums and products");
    int products = 0;
    for (int i = 0; i < RANDOM_CASES; i++) {
        decimal_t a = random_decimal(&seed), b = random_decimal(&seed);
        check_sum(a, b, false);
        check_sum(a, b, true);
        products += check_product(a, b) ? 1 : 0;
    }
    assert_in_range(products, RANDOM_CASES / 20, RANDOM_CASES - RANDOM_CASES / 20); /* both answers were met */
}

static void price_times_size_is_always_exact(void **state)
{
    (void)state;
    uint64_t seed = seed_of_run("prices and sizes");
    for (int i = 0; i < RANDOM_CASES; i++) {
        decimal_t price = (decimal_t)(random_next(&seed) % 100000000) * 10000; /* kuruş */
        decimal_t size = (decimal_t)(random_next(&seed) % 10000000) * 100;
        if (!check_product(price, size))
            fail_msg("%lld x %lld has no product", (long long)price, (long long)size);
    }
}

/* A random text of the grammar, and what the oracle makes of it: zeros around it, a point anywhere. */
static size_t random_text(uint64_t *seed, char *ret, int *ret_places)
{
    size_t len = 0;
    if (random_next(seed) % 3 == 0)
        ret[len++] = '-';
    for (uint64_t n = random_next(seed) % 3; n > 0; n--)
        ret[len++] = '0';
    for (uint64_t n = random_next(seed) % 15 + 1; n > 0; n--)
        ret[len++] = (char)('0' + random_next(seed) % 10);
    int places = (int)(random_next(seed) % 9);
    if (places > 0)
        ret[len++] = '.';
    for (int i = 0; i < places; i++)
        ret[len++] = random_next(seed) % 2 == 0 ? '0' : (char)('0' + random_next(seed) % 10);
    ret[len] = '\0';
    *ret_places = places;
    return len;
}

static void parsing_is_what_the_oracle_reads(void **state)
{
    (void)state;
    uint64_t seed = seed_of_run("texts");
    int counts[4] = {0};
    for (int i = 0; i < RANDOM_CASES; i++) {
        char text[64], millionths[80];
        int places;
        size_t len = random_text(&seed, text, &places);

        /* The oracle: cut trailing zeros, take the point out, fill up to six places. */
        size_t out = 0, kept = len;
        int kept_places = places;
        while (kept_places > 0 && text[kept - 1] == '0') {
            kept--;
            kept_places--;
        }
        for (size_t at = 0; at < kept; at++) {
            if (text[at] != '.')
                millionths[out++] = text[at];
        }
        for (int at = kept_places; at < DECIMAL_SCALE; at++)
            millionths[out++] = '0';
        millionths[out] = '\0';

        int asked = (int)(random_next(&seed) % (DECIMAL_SCALE + 1));
        struct big expected = big_of_text(millionths);
        enum decimal_error error = kept_places > asked          ? DECIMAL_TOO_PRECISE
                                   : !big_fits_int64(&expected) ? DECIMAL_TOO_LARGE
                                                                : DECIMAL_OK;
        decimal_t value = 77;
        if (decimal_parse((struct str){text, len}, asked, &value) != error)
            fail_msg("%s with %d places", text, asked);
        counts[error]++;
        struct big is = big_of_int(value);
        if (error == DECIMAL_OK && !big_equal(&is, &expected))
            fail_msg("%s was read as %lld", text, (long long)value);
    }
    assert_true(counts[DECIMAL_OK] > 1000 && counts[DECIMAL_TOO_PRECISE] > 1000 && counts[DECIMAL_TOO_LARGE] > 1000);
}

static void what_is_written_is_shortest_and_reads_back(void **state)
{
    (void)state;
    uint64_t seed = seed_of_run("round trips");
    for (int i = 0; i < RANDOM_CASES; i++) {
        decimal_t value = random_decimal(&seed), back;
        char text[DECIMAL_TEXT_MAX];
        int len = decimal_format(value, text);
        bool shortest = strchr(text, '.') == NULL || text[len - 1] != '0';
        shortest = shortest && (text[value < 0] != '0' || text[(value < 0) + 1] == '.' || len == 1);
        if (len != (int)strlen(text) || !shortest ||
            decimal_parse((struct str){text, (size_t)len}, DECIMAL_SCALE, &back) != DECIMAL_OK || back != value)
            fail_msg("%lld was written as %s", (long long)value, text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_that_are_no_decimal_are_refused),
        cmocka_unit_test(decimals_are_read_and_written_in_the_shortest_form),
        cmocka_unit_test(append_adds_the_shortest_form),
        cmocka_unit_test(overflow_is_an_answer_and_writes_nothing),
        cmocka_unit_test(a_product_that_is_no_whole_millionth_is_refused),
        cmocka_unit_test(the_smallest_order_costs_a_millionth),
        cmocka_unit_test(sums_and_products_are_those_of_the_oracle),
        cmocka_unit_test(price_times_size_is_always_exact),
        cmocka_unit_test(parsing_is_what_the_oracle_reads),
        cmocka_unit_test(what_is_written_is_shortest_and_reads_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
