/* The library's json_type and its enumerators are called as ours are, with other values: there they get other names. Its
 * macros json_is_… would compare with ours, so they are not used. */
#define json_type library_type
#define JSON_OBJECT LIBRARY_OBJECT
#define JSON_ARRAY LIBRARY_ARRAY
#define JSON_STRING LIBRARY_STRING
#define JSON_INTEGER LIBRARY_INTEGER
#define JSON_REAL LIBRARY_REAL
#define JSON_TRUE LIBRARY_TRUE
#define JSON_FALSE LIBRARY_FALSE
#define JSON_NULL LIBRARY_NULL
#include <jansson.h>
#undef json_type
#undef JSON_OBJECT
#undef JSON_ARRAY
#undef JSON_STRING
#undef JSON_INTEGER
#undef JSON_REAL
#undef JSON_TRUE
#undef JSON_FALSE
#undef JSON_NULL

#include "io/json.h"

#include <stdio.h>
#include <string.h>

/* A struct json is the library's json_t under another name: nobody else sees the library. */
static const json_t *inner(const struct json *v)
{
    return (const json_t *)v;
}

static const struct json *outer(const json_t *v)
{
    return (const struct json *)v;
}

enum { NUMBER_TEXT_MAX = 40 };

/* ---- the scan: what the library would let through ---- */

struct scan {
    const char *data;
    size_t len, at;
    int depth;
    struct fault *fault;
};

static enum err wrong_at(struct fault *fault, size_t at, const char *reason)
{
    return fault_set(fault, ERR_MALFORMED_JSON, "%s at byte %zu", reason, at);
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* The 16 bits of a \uXXXX that starts at `at`; -1: there is none. */
static int escaped_unit(const struct scan *s, size_t at)
{
    if (at + 6 > s->len || s->data[at] != '\\' || s->data[at + 1] != 'u')
        return -1;
    int unit = 0;
    for (size_t i = at + 2; i < at + 6; i++) {
        int digit = hex_value(s->data[i]);
        if (digit < 0)
            return -1;
        unit = unit * 16 + digit;
    }
    return unit;
}

/* RFC 8259 section 8.2 warns of half pairs and leaves them to the reader; we refuse them, and NUL, which would cut C strings. */
static enum err scan_escape(struct scan *s)
{
    size_t start = s->at;
    int unit = escaped_unit(s, start);
    if (unit < 0) {
        s->at += 2; /* \n, \" … or nonsense, which the parser refuses */
        return ERR_OK;
    }

    s->at += 6;
    if (unit == 0)
        return wrong_at(s->fault, start, "\\u0000 is not allowed");
    if (unit >= 0xDC00 && unit <= 0xDFFF)
        return wrong_at(s->fault, start, "half a surrogate pair");
    if (unit < 0xD800 || unit > 0xDBFF)
        return ERR_OK;

    int low = escaped_unit(s, s->at);
    if (low < 0xDC00 || low > 0xDFFF)
        return wrong_at(s->fault, start, "half a surrogate pair");
    s->at += 6;
    return ERR_OK;
}

static enum err scan_string(struct scan *s)
{
    s->at++;
    while (s->at < s->len && s->data[s->at] != '"') {
        if (s->data[s->at] != '\\') {
            s->at++;
            continue;
        }
        enum err e = scan_escape(s);
        if (e != ERR_OK)
            return e;
    }
    s->at++;
    return ERR_OK;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Digits are counted as written, zeros too, but for the lone 0 before a point: so at most 15 decimals stand behind it, and a
 * double gives every such number back exactly (json_number_text relies on it). */
static enum err scan_number(struct scan *s)
{
    size_t start = s->at;
    size_t first = s->data[start] == '-' ? start + 1 : start;
    bool lone_zero = first + 1 < s->len && s->data[first] == '0' && s->data[first + 1] == '.';
    int digits = lone_zero ? -1 : 0;
    for (s->at = first; s->at < s->len; s->at++) {
        char c = s->data[s->at];
        if (c == 'e' || c == 'E')
            return wrong_at(s->fault, start, "a number with an exponent");
        if (!is_digit(c) && c != '.')
            return ERR_OK;
        digits += is_digit(c) ? 1 : 0;
        if (digits > JSON_DIGITS_MAX)
            return wrong_at(s->fault, start, "a number of more than 15 digits (write it as a string)");
    }
    return ERR_OK;
}

static enum err scan_next(struct scan *s)
{
    char c = s->data[s->at];
    if (c == '"')
        return scan_string(s);
    if (c == '-' || is_digit(c))
        return scan_number(s);

    if (c == '{' || c == '[')
        s->depth++;
    if (c == '}' || c == ']')
        s->depth--;
    if (s->depth > JSON_DEPTH_MAX)
        return wrong_at(s->fault, s->at, "nested deeper than 16");
    s->at++;
    return ERR_OK;
}

static enum err scan(struct str text, struct fault *fault)
{
    size_t at;
    if (!str_is_utf8(text, &at))
        return wrong_at(fault, at, "not UTF-8");
    const char *nul = text.len > 0 ? memchr(text.data, '\0', text.len) : NULL;
    if (nul != NULL) /* the library takes one behind the value for the text's end */
        return wrong_at(fault, (size_t)(nul - text.data), "a NUL byte");

    struct scan s = {.data = text.data, .len = text.len, .fault = fault};
    while (s.at < s.len) {
        enum err e = scan_next(&s);
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

/* The library's own words quote the text, which may hold a password. */
static const char *parse_reason(enum json_error_code code)
{
    switch (code) {
    case json_error_duplicate_key:
        return "a member that is there twice";
    case json_error_premature_end_of_input:
        return "the text ends too early";
    case json_error_end_of_input_expected:
        return "something follows the value";
    default:
        return "not JSON";
    }
}

enum err json_parse(struct str text, struct json **ret_root, struct fault *fault)
{
    enum err e = scan(text, fault);
    if (e != ERR_OK)
        return e;

    json_error_t error;
    json_t *root = json_loadb(text.len == 0 ? "" : text.data, text.len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY,
                              &error);
    if (root == NULL)
        return wrong_at(fault, (size_t)error.position, parse_reason(json_error_code(&error)));
    *ret_root = (struct json *)root;
    return ERR_OK;
}

void json_free(struct json *root)
{
    json_decref((json_t *)root);
}

/* ---- reading ---- */

enum json_type json_type(const struct json *v)
{
    static const enum json_type TYPES[] = {
        [LIBRARY_OBJECT] = JSON_OBJECT,   [LIBRARY_ARRAY] = JSON_ARRAY, [LIBRARY_STRING] = JSON_STRING,
        [LIBRARY_INTEGER] = JSON_INTEGER, [LIBRARY_REAL] = JSON_REAL,   [LIBRARY_TRUE] = JSON_TRUE,
        [LIBRARY_FALSE] = JSON_FALSE,     [LIBRARY_NULL] = JSON_NULL,
    };
    return TYPES[json_typeof(inner(v))];
}

static bool is(const struct json *v, enum json_type type)
{
    return v != NULL && json_type(v) == type;
}

size_t json_count(const struct json *v)
{
    if (is(v, JSON_ARRAY))
        return json_array_size(inner(v));
    return is(v, JSON_OBJECT) ? json_object_size(inner(v)) : 0;
}

const struct json *json_at(const struct json *array, size_t i)
{
    return is(array, JSON_ARRAY) ? outer(json_array_get(inner(array), i)) : NULL;
}

const struct json *json_get(const struct json *object, const char *name)
{
    return is(object, JSON_OBJECT) ? outer(json_object_get(inner(object), name)) : NULL;
}

struct str json_text(const struct json *v)
{
    if (!is(v, JSON_STRING))
        return STR("");
    return (struct str){json_string_value(inner(v)), json_string_length(inner(v))};
}

int64_t json_int(const struct json *v)
{
    return is(v, JSON_INTEGER) ? (int64_t)json_integer_value(inner(v)) : 0;
}

bool json_bool(const struct json *v)
{
    return is(v, JSON_TRUE);
}

/* At most 15 digits were read (scan_number): 15 significant ones give the same number back, and where %g would take an
 * exponent, below 0.0001, none stands behind the fifteenth place. */
static struct str real_text(double value, char ret[NUMBER_TEXT_MAX])
{
    if (value == 0) /* -0.0 too */
        return STR("0");
    int len = snprintf(ret, NUMBER_TEXT_MAX, "%.15g", value);
    if (strchr(ret, 'e') == NULL)
        return (struct str){ret, (size_t)len};

    len = snprintf(ret, NUMBER_TEXT_MAX, "%.15f", value);
    if (len >= NUMBER_TEXT_MAX)
        return STR(""); /* can't be for what was scanned */
    while (ret[len - 1] == '0')
        len--;
    ret[len] = '\0';
    return (struct str){ret, (size_t)len};
}

struct str json_number_text(const struct json *v, char ret[40])
{
    if (is(v, JSON_STRING))
        return json_text(v);
    if (is(v, JSON_REAL))
        return real_text(json_real_value(inner(v)), ret);
    if (!is(v, JSON_INTEGER))
        return STR("");
    int len = snprintf(ret, NUMBER_TEXT_MAX, "%lld", (long long)json_int(v));
    return (struct str){ret, (size_t)len};
}

void json_each(const struct json *object, void (*member)(void *arg, const char *name, const struct json *v), void *arg)
{
    if (!is(object, JSON_OBJECT))
        return;
    json_t *o = (json_t *)object; /* the library's iterators take no const, but change nothing */
    for (void *i = json_object_iter(o); i != NULL; i = json_object_iter_next(o, i))
        member(arg, json_object_iter_key(i), outer(json_object_iter_value(i)));
}

static void dump(struct json_out *o, const char *name, const struct json *v);

static void dump_member(void *arg, const char *name, const struct json *v)
{
    dump(arg, name, v);
}

/* Our own, because the library writes numbers (1e-05) that json_parse refuses. Not deeper than JSON_DEPTH_MAX. */
static void dump(struct json_out *o, const char *name, const struct json *v)
{
    char number[NUMBER_TEXT_MAX];
    switch (json_type(v)) {
    case JSON_NULL:
        json_put_null(o, name);
        return;
    case JSON_FALSE:
    case JSON_TRUE:
        json_put_bool(o, name, json_bool(v));
        return;
    case JSON_INTEGER:
    case JSON_REAL:
        json_put_raw(o, name, json_number_text(v, number));
        return;
    case JSON_STRING:
        json_put_str(o, name, json_text(v));
        return;
    case JSON_ARRAY:
        json_open(o, name, '[');
        for (size_t i = 0; i < json_count(v); i++)
            dump(o, NULL, json_at(v, i));
        json_close(o, ']');
        return;
    case JSON_OBJECT:
        json_open(o, name, '{');
        json_each(v, dump_member, o);
        json_close(o, '}');
        return;
    }
}

void json_dump(const struct json *v, struct buf *out)
{
    struct json_out o = json_out(out);
    dump(&o, NULL, v);
}

bool json_get_text(const struct json *object, const char *name, struct str *ret)
{
    const struct json *v = json_get(object, name);
    if (!is(v, JSON_STRING))
        return false;
    *ret = json_text(v);
    return true;
}

bool json_get_int(const struct json *object, const char *name, int64_t *ret)
{
    const struct json *v = json_get(object, name);
    if (!is(v, JSON_INTEGER))
        return false;
    *ret = json_int(v);
    return true;
}

bool json_get_decimal(const struct json *object, const char *name, decimal_t *ret)
{
    struct str text;
    return json_get_text(object, name, &text) && decimal_parse(text, DECIMAL_SCALE, ret) == DECIMAL_OK;
}

bool json_get_uuid(const struct json *object, const char *name, struct uuid *ret)
{
    struct str text;
    return json_get_text(object, name, &text) && uuid_parse(text, ret);
}

bool json_get_time(const struct json *object, const char *name, time_us_t *ret)
{
    struct str text;
    return json_get_text(object, name, &text) && clock_parse(text, ret);
}

/* ---- writing ---- */

static void begin_value(struct json_out *o, const char *name)
{
    if (o->comma)
        buf_char(o->out, ',');
    o->comma = true;
    if (name == NULL)
        return;
    json_escape(o->out, str_of(name));
    buf_char(o->out, ':');
}

void json_open(struct json_out *o, const char *name, char bracket)
{
    begin_value(o, name);
    buf_char(o->out, bracket);
    o->comma = false;
}

void json_close(struct json_out *o, char bracket)
{
    buf_char(o->out, bracket);
    o->comma = true;
}

void json_put_text(struct json_out *o, const char *name, const char *text)
{
    if (text == NULL)
        json_put_null(o, name);
    else
        json_put_str(o, name, str_of(text));
}

void json_put_str(struct json_out *o, const char *name, struct str text)
{
    begin_value(o, name);
    json_escape(o->out, text);
}

void json_put_int(struct json_out *o, const char *name, int64_t v)
{
    begin_value(o, name);
    buf_i64(o->out, v);
}

void json_put_bool(struct json_out *o, const char *name, bool v)
{
    begin_value(o, name);
    buf_str(o->out, v ? "true" : "false");
}

void json_put_null(struct json_out *o, const char *name)
{
    begin_value(o, name);
    buf_str(o->out, "null");
}

void json_put_raw(struct json_out *o, const char *name, struct str json)
{
    begin_value(o, name);
    buf_append(o->out, json.data, json.len);
}

/* Text that has nothing to escape. */
static void put_plain(struct json_out *o, const char *name, const char *text)
{
    begin_value(o, name);
    buf_char(o->out, '"');
    buf_str(o->out, text);
    buf_char(o->out, '"');
}

void json_put_decimal(struct json_out *o, const char *name, decimal_t v)
{
    char text[DECIMAL_TEXT_MAX];
    decimal_format(v, text);
    put_plain(o, name, text);
}

void json_put_uuid(struct json_out *o, const char *name, struct uuid id)
{
    char text[UUID_TEXT_MAX];
    uuid_format(id, text);
    put_plain(o, name, text);
}

void json_put_time(struct json_out *o, const char *name, time_us_t t)
{
    char text[CLOCK_TEXT_MAX];
    clock_format(t, text);
    put_plain(o, name, text);
}

static bool is_plain(char c)
{
    unsigned char u = (unsigned char)c;
    return u >= 0x20 && u != '"' && u != '\\' && u != 0x7F;
}

static void escape_char(struct buf *out, char c)
{
    switch (c) {
    case '"':
        buf_str(out, "\\\"");
        return;
    case '\\':
        buf_str(out, "\\\\");
        return;
    case '\n':
        buf_str(out, "\\n");
        return;
    case '\r':
        buf_str(out, "\\r");
        return;
    case '\t':
        buf_str(out, "\\t");
        return;
    default:
        buf_printf(out, "\\u%04x", (unsigned char)c);
        return;
    }
}

/* `text` is UTF-8. */
static void escape_utf8(struct buf *out, struct str text)
{
    size_t at = 0;
    while (at < text.len) {
        size_t start = at;
        while (at < text.len && is_plain(text.data[at]))
            at++;
        buf_append(out, text.data + start, at - start);
        if (at < text.len)
            escape_char(out, text.data[at++]);
    }
}

void json_escape(struct buf *out, struct str text)
{
    size_t wrong;
    buf_char(out, '"');
    while (!str_is_utf8(text, &wrong)) {
        escape_utf8(out, (struct str){text.data, wrong});
        buf_str(out, "\xEF\xBF\xBD");
        text = (struct str){text.data + wrong + 1, text.len - wrong - 1};
    }
    escape_utf8(out, text);
    buf_char(out, '"');
}
