/* decimal.h — money and sizes: an int64 count of millionths, exact, never rounded.
 *
 * For     every amount, price and size. Prices have at most 2 decimals and sizes at most 4, so price × size
 *         is a whole number of millionths: nothing is ever rounded (a _Static_assert holds that rule).
 * Owns    nothing.  Threads: any.
 * Fails   overflow is an answer (false), never a wrap.
 */
#ifndef BASE_DECIMAL_H
#define BASE_DECIMAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

typedef int64_t decimal_t; /* millionths */

enum {
    DECIMAL_SCALE = 6,
    DECIMAL_ONE = 1000000,
    DECIMAL_PRICE_PLACES = 2,
    DECIMAL_SIZE_PLACES = 4,
    DECIMAL_AMOUNT_PLACES = 2,
    DECIMAL_TEXT_MAX = 24, /* sign, 13 digits, point, 6 digits, NUL */
};
/* The most that one order may be worth, one transfer may move or one entry may bring in: a thousand million. The firm's accounts
 * sum over all customers; with this bound nobody can drive them out of range. */
#define DECIMAL_VALUE_MAX (INT64_C(1000000000) * DECIMAL_ONE)
_Static_assert(DECIMAL_PRICE_PLACES + DECIMAL_SIZE_PLACES <= DECIMAL_SCALE, "price x size must be exact");

enum decimal_error {
    DECIMAL_OK,
    DECIMAL_NOT_A_NUMBER, /* not `-?digits[.digits]`: exponent, sign '+', ".5", "5.", spaces, other letters */
    DECIMAL_TOO_PRECISE,  /* more places than asked for, trailing zeros not counted */
    DECIMAL_TOO_LARGE,    /* beyond int64 millionths */
};

/* Plain digits with at most one point (api.md, Rules); at most `places` (0..6) decimals; trailing zeros don't count. */
MUST_CHECK enum decimal_error decimal_parse(struct str text, int places, decimal_t *ret_value);
/* Shortest plain form ("187.25", "100000", "-0.000001"); returns the length. */
int decimal_format(decimal_t value, char ret_text[DECIMAL_TEXT_MAX]);
void decimal_append(struct buf *b, decimal_t value);
/* a × b, exact. false: overflow, or the product has more than 6 decimals (can't be for a price and a size). */
MUST_CHECK bool decimal_mul(decimal_t a, decimal_t b, decimal_t *ret_product);
MUST_CHECK bool decimal_add(decimal_t a, decimal_t b, decimal_t *ret_sum);
MUST_CHECK bool decimal_sub(decimal_t a, decimal_t b, decimal_t *ret_difference);

#endif
