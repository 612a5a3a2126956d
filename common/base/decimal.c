#include "base/decimal.h"

#include <assert.h>

__extension__ typedef __int128 int128_t;

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static size_t count_digits(const char *p, size_t len)
{
    size_t n = 0;
    while (n < len && is_digit(p[n]))
        n++;
    return n;
}

/* `-?digits[.digits]` taken apart; the pieces point into the text. */
struct digits {
    bool negative;
    struct str whole, places;
};

static bool take_apart(struct str text, struct digits *ret)
{
    struct digits d = {0};
    if (text.len > 0 && text.data[0] == '-') {
        d.negative = true;
        text = (struct str){text.data + 1, text.len - 1};
    }
    d.whole = (struct str){text.data, count_digits(text.data, text.len)};
    if (d.whole.len == 0)
        return false;
    if (d.whole.len < text.len) {
        if (text.data[d.whole.len] != '.')
            return false;
        d.places = (struct str){text.data + d.whole.len + 1, text.len - d.whole.len - 1};
        if (d.places.len == 0 || count_digits(d.places.data, d.places.len) != d.places.len)
            return false;
    }
    while (d.places.len > 0 && d.places.data[d.places.len - 1] == '0')
        d.places.len--;
    *ret = d;
    return true;
}

enum decimal_error decimal_parse(struct str text, int places, decimal_t *ret_value)
{
    assert(places >= 0 && places <= DECIMAL_SCALE);
    struct digits d;
    if (!take_apart(text, &d))
        return DECIMAL_NOT_A_NUMBER;
    if (d.places.len > (size_t)places)
        return DECIMAL_TOO_PRECISE;

    /* Downwards, because the least int64 has no positive twin. */
    int64_t value = 0;
    for (size_t i = 0; i < d.whole.len + DECIMAL_SCALE; i++) {
        int digit = 0;
        if (i < d.whole.len)
            digit = d.whole.data[i] - '0';
        else if (i - d.whole.len < d.places.len)
            digit = d.places.data[i - d.whole.len] - '0';
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_sub_overflow(value, digit, &value))
            return DECIMAL_TOO_LARGE;
    }
    if (!d.negative && __builtin_sub_overflow(0, value, &value))
        return DECIMAL_TOO_LARGE;

    *ret_value = value;
    return DECIMAL_OK;
}

int decimal_format(decimal_t value, char ret_text[DECIMAL_TEXT_MAX])
{
    uint64_t rest = value < 0 ? -(uint64_t)value : (uint64_t)value;
    uint64_t whole = rest / DECIMAL_ONE;
    uint64_t places = rest % DECIMAL_ONE;

    char digits[DECIMAL_TEXT_MAX]; /* the whole part, last digit first */
    int count = 0;
    do {
        digits[count++] = (char)('0' + whole % 10);
        whole /= 10;
    } while (whole > 0);

    int len = 0;
    if (value < 0)
        ret_text[len++] = '-';
    while (count > 0)
        ret_text[len++] = digits[--count];
    if (places > 0)
        ret_text[len++] = '.';
    for (uint64_t unit = DECIMAL_ONE / 10; places > 0; unit /= 10) {
        ret_text[len++] = (char)('0' + places / unit);
        places %= unit;
    }
    ret_text[len] = '\0';
    return len;
}

void decimal_append(struct buf *b, decimal_t value)
{
    char text[DECIMAL_TEXT_MAX];
    int len = decimal_format(value, text);
    buf_append(b, text, (size_t)len);
}

bool decimal_mul(decimal_t a, decimal_t b, decimal_t *ret_product)
{
    int128_t product = (int128_t)a * b; /* of two int64: always fits */
    if (product % DECIMAL_ONE != 0)
        return false;
    product /= DECIMAL_ONE;
    if (product < INT64_MIN || product > INT64_MAX)
        return false;

    *ret_product = (decimal_t)product;
    return true;
}

bool decimal_add(decimal_t a, decimal_t b, decimal_t *ret_sum)
{
    decimal_t sum;
    if (__builtin_add_overflow(a, b, &sum))
        return false;
    *ret_sum = sum;
    return true;
}

bool decimal_sub(decimal_t a, decimal_t b, decimal_t *ret_difference)
{
    decimal_t difference;
    if (__builtin_sub_overflow(a, b, &difference))
        return false;
    *ret_difference = difference;
    return true;
}
