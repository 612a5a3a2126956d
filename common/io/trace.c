#include "io/trace.h"

#include <stdio.h>
#include <string.h>

#include "base/id.h"

/* W3C Trace Context, section 3.2: version "-" trace id "-" parent id "-" flags, all lower-case hex. */
enum { VERSION_AT = 0, TRACE_AT = 3, SPAN_AT = 36, FLAGS_AT = 53, TRACEPARENT_LEN = 55 };
enum { TRACE_HEX = 32, SPAN_HEX = 16 };

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

static bool is_hex(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (hex_digit(s[i]) < 0)
            return false;
    return true;
}

static bool is_id(const char *s, size_t len)
{
    return is_hex(s, len) && strspn(s, "0") < len;
}

static void random_hex(char *ret_text, size_t digits)
{
    static const char DIGITS[] = "0123456789abcdef";
    unsigned char bytes[TRACE_HEX / 2];
    id_random_bytes(bytes, digits / 2);
    bytes[0] |= 1; /* an id of zeros is no id */
    for (size_t i = 0; i < digits; i++)
        ret_text[i] = DIGITS[i % 2 == 0 ? bytes[i / 2] >> 4 : bytes[i / 2] & 15];
    ret_text[digits] = '\0';
}

struct trace trace_new(void)
{
    struct trace t = {.sampled = true};
    random_hex(t.trace_id, TRACE_HEX);
    random_hex(t.span_id, SPAN_HEX);
    return t;
}

static bool is_traceparent(struct str s)
{
    if (s.len < TRACEPARENT_LEN)
        return false;

    const char *t = s.data;
    bool first_version = t[VERSION_AT] == '0' && t[VERSION_AT + 1] == '0';
    if (!is_hex(t + VERSION_AT, 2) || (t[VERSION_AT] == 'f' && t[VERSION_AT + 1] == 'f'))
        return false;
    /* A later version may add parts at the end; what we know of it reads the same. */
    if (s.len > TRACEPARENT_LEN && (first_version || t[TRACEPARENT_LEN] != '-'))
        return false;
    return t[TRACE_AT - 1] == '-' && t[SPAN_AT - 1] == '-' && t[FLAGS_AT - 1] == '-' &&
           is_id(t + TRACE_AT, TRACE_HEX) && is_id(t + SPAN_AT, SPAN_HEX) && is_hex(t + FLAGS_AT, 2);
}

struct trace trace_child(struct str traceparent)
{
    if (!is_traceparent(traceparent))
        return trace_new();

    struct trace t = {.sampled = (hex_digit(traceparent.data[FLAGS_AT + 1]) & 1) != 0};
    memcpy(t.trace_id, traceparent.data + TRACE_AT, TRACE_HEX);
    memcpy(t.parent_id, traceparent.data + SPAN_AT, SPAN_HEX);
    random_hex(t.span_id, SPAN_HEX);
    return t;
}

struct trace trace_below(const struct trace *above)
{
    struct trace t = *above;
    memcpy(t.parent_id, above->span_id, sizeof t.parent_id);
    random_hex(t.span_id, SPAN_HEX);
    return t;
}

void trace_format(const struct trace *t, char ret_text[TRACE_TEXT_MAX])
{
    snprintf(ret_text, TRACE_TEXT_MAX, "00-%.32s-%.16s-0%d", t->trace_id, t->span_id, t->sampled ? 1 : 0);
}
