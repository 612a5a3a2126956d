/* json.h — reading JSON by a library (jansson), writing it by hand.
 *
 * For     bodies, events, settings. Reading: the raw text is scanned first (depth <= 16, valid UTF-8; a bare number with
 *         an exponent or more than 15 digits, a lone 0 before the point not counted, is refused with its offset; so are
 *         lone surrogates and NUL), then parsed, duplicate members and trailing bytes refused. Writing: appends to a
 *         buf, which is faster than building a tree.
 * Owns    a document owns its values; json_free ends them all.
 * Threads one at a time.
 * Fails   json_parse with a reason and an offset.
 */
#ifndef IO_JSON_H
#define IO_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/decimal.h"
#include "base/id.h"
#include "base/str.h"

enum { JSON_DEPTH_MAX = 16, JSON_DIGITS_MAX = 15 };

/* ---- reading ---- */

struct json; /* a value; borrowed from its document */
enum json_type { JSON_NULL, JSON_FALSE, JSON_TRUE, JSON_INTEGER, JSON_REAL, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

/* ERR_MALFORMED_JSON with offset and reason in fault. Any value may be the root. */
MUST_CHECK enum err json_parse(struct str text, struct json **ret_root, struct fault *fault);
void json_free(struct json *root); /* NULL is fine */

enum json_type json_type(const struct json *v);
size_t json_count(const struct json *v);                                  /* array or object, else 0 */
const struct json *json_at(const struct json *array, size_t i);           /* NULL past the end */
const struct json *json_get(const struct json *object, const char *name); /* NULL: absent or no object */
struct str json_text(const struct json *v);                               /* a string's bytes; empty for others */
int64_t json_int(const struct json *v);                                   /* 0 for others */
bool json_bool(const struct json *v);
/* A number (or a string) as decimal text, exact: what decimal_parse takes. Empty: neither. */
struct str json_number_text(const struct json *v, char ret[40]);
/* Calls back for each member in order. */
void json_each(const struct json *object, void (*member)(void *arg, const char *name, const struct json *v), void *arg);
/* Compact text of a value (for storing an event's data as it came). */
void json_dump(const struct json *v, struct buf *out);

/* Shortcuts for our own events: false when absent or of another type. */
MUST_CHECK bool json_get_text(const struct json *object, const char *name, struct str *ret);
MUST_CHECK bool json_get_int(const struct json *object, const char *name, int64_t *ret);
MUST_CHECK bool json_get_decimal(const struct json *object, const char *name,
                                 decimal_t *ret); /* a string, six places */
MUST_CHECK bool json_get_uuid(const struct json *object, const char *name, struct uuid *ret);
MUST_CHECK bool json_get_time(const struct json *object, const char *name, time_us_t *ret);

/* ---- writing ---- */

/* Writes into `out`; commas are its business. Member functions take name NULL inside an array. */
struct json_out {
    struct buf *out;
    bool comma;
};
static inline struct json_out json_out(struct buf *out)
{
    return (struct json_out){.out = out};
}
void json_open(struct json_out *o, const char *name, char bracket);         /* '{' or '[' */
void json_close(struct json_out *o, char bracket);                          /* '}' or ']' */
void json_put_text(struct json_out *o, const char *name, const char *text); /* NULL writes null */
void json_put_str(struct json_out *o, const char *name, struct str text);
void json_put_int(struct json_out *o, const char *name, int64_t v);
void json_put_bool(struct json_out *o, const char *name, bool v);
void json_put_null(struct json_out *o, const char *name);
void json_put_decimal(struct json_out *o, const char *name, decimal_t v); /* a string */
void json_put_uuid(struct json_out *o, const char *name, struct uuid id);
void json_put_time(struct json_out *o, const char *name, time_us_t t);
void json_put_raw(struct json_out *o, const char *name, struct str json); /* already JSON */
/* Appends text as a JSON string with its quotes; bytes that are not UTF-8 become U+FFFD. */
void json_escape(struct buf *out, struct str text);

#endif
