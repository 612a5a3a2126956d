#include "base/str.h"

#include <string.h>

struct str str_of(const char *s)
{
    return (struct str){s != NULL ? s : "", s != NULL ? strlen(s) : 0};
}

bool str_eq(struct str a, const char *b)
{
    size_t len = strlen(b);
    return a.len == len && (len == 0 || memcmp(a.data, b, len) == 0); /* the empty piece may have no data */
}

/* ASCII only and free of the locale: names on the wire are ASCII, and a Turkish locale has its own idea of 'I'. */
static char to_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool str_eq_nocase(struct str a, const char *b)
{
    if (a.len != strlen(b))
        return false;
    for (size_t i = 0; i < a.len; i++) {
        if (to_lower(a.data[i]) != to_lower(b[i]))
            return false;
    }
    return true;
}

bool str_starts(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

struct str str_trim(struct str s)
{
    while (s.len > 0 && is_blank(s.data[0])) {
        s.data++;
        s.len--;
    }
    while (s.len > 0 && is_blank(s.data[s.len - 1]))
        s.len--;
    return s;
}

bool str_to_i64(struct str s, int64_t *ret_value)
{
    bool negative = s.len > 0 && s.data[0] == '-';
    size_t first = negative ? 1 : 0;
    if (s.len == first)
        return false;
    if (s.data[first] == '0' && s.len > 1)
        return false; /* "007", and "-0" too: each number has one text */

    /* Downwards, because INT64_MIN has no positive twin. */
    int64_t value = 0;
    for (size_t i = first; i < s.len; i++) {
        char c = s.data[i];
        if (c < '0' || c > '9')
            return false;
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_sub_overflow(value, c - '0', &value))
            return false;
    }
    if (!negative && __builtin_sub_overflow(0, value, &value))
        return false;

    *ret_value = value;
    return true;
}

/* Well-formed sequences by their first byte: Unicode 15, table 3-7. The bounds of the second byte keep out overlong forms,
 * surrogates and what is beyond U+10FFFF; every later byte is 80..BF. */
struct utf8_lead {
    unsigned char first, last; /* of the lead byte */
    unsigned char len;
    unsigned char second_min, second_max;
};

static const struct utf8_lead UTF8_LEADS[] = {
    {0x00, 0x7f, 1, 0x00, 0x00}, {0xc2, 0xdf, 2, 0x80, 0xbf}, {0xe0, 0xe0, 3, 0xa0, 0xbf},
    {0xe1, 0xec, 3, 0x80, 0xbf}, {0xed, 0xed, 3, 0x80, 0x9f}, {0xee, 0xef, 3, 0x80, 0xbf},
    {0xf0, 0xf0, 4, 0x90, 0xbf}, {0xf1, 0xf3, 4, 0x80, 0xbf}, {0xf4, 0xf4, 4, 0x80, 0x8f},
};

/* The length of the well-formed sequence at `p`, 0 if there is none. */
static size_t utf8_sequence(const unsigned char *p, size_t left)
{
    const struct utf8_lead *lead = NULL;
    for (size_t i = 0; i < sizeof(UTF8_LEADS) / sizeof(UTF8_LEADS[0]); i++) {
        if (p[0] >= UTF8_LEADS[i].first && p[0] <= UTF8_LEADS[i].last)
            lead = &UTF8_LEADS[i];
    }
    if (lead == NULL || lead->len > left)
        return 0;
    if (lead->len > 1 && (p[1] < lead->second_min || p[1] > lead->second_max))
        return 0;
    for (size_t i = 2; i < lead->len; i++) {
        if (p[i] < 0x80 || p[i] > 0xbf)
            return 0;
    }
    return lead->len;
}

bool str_is_utf8(struct str s, size_t *ret_at)
{
    const unsigned char *p = (const unsigned char *)s.data;
    size_t at = 0;
    while (at < s.len) {
        if (p[at] < 0x80) { /* nearly always */
            at++;
            continue;
        }
        size_t len = utf8_sequence(p + at, s.len - at);
        if (len == 0) {
            *ret_at = at;
            return false;
        }
        at += len;
    }
    return true;
}

bool str_eq_secret(struct str a, struct str b)
{
    if (a.len != b.len)
        return false;
    volatile unsigned char different = 0; /* volatile: the compiler must not leave the loop early */
    for (size_t i = 0; i < a.len; i++)
        different = (unsigned char)(different | ((unsigned char)a.data[i] ^ (unsigned char)b.data[i]));
    return different == 0;
}

static const char BASE64URL[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static int base64url_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '-')
        return 62;
    return c == '_' ? 63 : -1;
}

bool str_base64url_decode(struct str s, unsigned char *ret, size_t ret_cap, size_t *ret_len)
{
    /* A last character alone carries six bits: no whole byte. */
    if (s.len % 4 == 1)
        return false;
    size_t len = s.len / 4 * 3 + s.len % 4 * 3 / 4;
    if (len > ret_cap)
        return false;

    uint32_t bits = 0;
    int count = 0;
    size_t out = 0;
    for (size_t i = 0; i < s.len; i++) {
        int value = base64url_value(s.data[i]);
        if (value < 0)
            return false;
        bits = bits << 6 | (uint32_t)value;
        count += 6;
        if (count >= 8) {
            count -= 8;
            ret[out++] = (unsigned char)(bits >> count);
            bits &= (UINT32_C(1) << count) - 1;
        }
    }
    /* Left-over bits must be zero, or several texts would mean the same bytes. */
    if (bits != 0)
        return false;

    *ret_len = out;
    return true;
}

void str_base64url_encode(const void *data, size_t len, char *ret)
{
    const unsigned char *p = data;
    uint32_t bits = 0;
    int count = 0;
    for (size_t i = 0; i < len; i++) {
        bits = (bits << 8 | p[i]) & 0xffff;
        count += 8;
        while (count >= 6) {
            count -= 6;
            *ret++ = BASE64URL[bits >> count & 63];
        }
    }
    if (count > 0)
        *ret++ = BASE64URL[bits << (6 - count) & 63];
    *ret = '\0';
}

bool str_copy(char *ret, size_t cap, struct str s)
{
    if (cap == 0)
        return false;
    size_t len = s.len < cap ? s.len : cap - 1;
    if (len > 0)
        memcpy(ret, s.data, len);
    ret[len] = '\0';
    return len == s.len;
}
