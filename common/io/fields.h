/* fields.h — what a body or a query may hold, as a table; one reader for both.
 *
 * For     handlers: a table of fields in, a filled struct or *every* wrong field out (api.md: all wrong fields at once).
 *         Unknown, duplicate and missing members are complaints like any other.
 * Owns    text goes into the caller's arena.
 * Threads any; tables are const.
 * Fails   ERR_INVALID with the complaints in `errors`; nothing else is promised about the struct then.
 */
#ifndef IO_FIELDS_H
#define IO_FIELDS_H

#include "base/mem.h"
#include "io/json.h"

enum { FIELD_ERRORS_MAX = 16, FIELD_LIST_MAX = 1000 };

struct field_error {
    char pointer[72]; /* JSON Pointer "/size"; "?limit" for a query key */
    char detail[184];
};
struct field_errors {
    struct field_error items[FIELD_ERRORS_MAX];
    size_t count;
};
/* Records one; past the maximum it is dropped. Returns ERR_INVALID. */
enum err field_error_add(struct field_errors *errors, const char *pointer, const char *fmt, ...) PRINTF_LIKE(3, 4);

enum field_kind {
    FIELD_TEXT,    /* const char *; min..max (0: 255) bytes of UTF-8; control characters refused; NULL when absent */
    FIELD_DECIMAL, /* decimal_t; > 0 when FIELD_POSITIVE; at most `places` */
    FIELD_ID,      /* int64_t > 0; 0 when absent. In a body an integer, in a query digits */
    FIELD_INT,     /* int64_t within min..max; as it was when absent; body integer, query digits */
    FIELD_BOOL,    /* bool; body true/false, query "true"/"false" */
    FIELD_CHOICE,  /* int: the index into `choices` (a NULL-ended list); -1 when absent */
    FIELD_CHOICES, /* unsigned: bit set of indexes; only in a query, may be repeated; 0 when absent */
    FIELD_TIME,    /* time_us_t; 0 when absent */
    FIELD_UUID,    /* struct uuid; nil when absent */
    FIELD_TEXTS,   /* struct field_texts; only in a body: 1..FIELD_LIST_MAX strings of at most 255 bytes */
};
enum { FIELD_REQUIRED = 1, FIELD_POSITIVE = 2 };

struct field_texts {
    const char **items;
    size_t count;
    bool present;
};

/* Turns valid input into its stored form, or returns a complaint (a static sentence). NULL: fine, *ret set. Called with ""
 * for what isn't a text of the right length, so that the complaint is the check's own. */
typedef const char *field_check(struct arena *arena, const char *text, const char **ret_text);

struct field {
    const char *name;
    enum field_kind kind;
    size_t offset;
    unsigned flags;
    int places;
    int64_t min, max; /* FIELD_TEXT: bytes; FIELD_INT: value */
    const char *const *choices;
    field_check *check; /* FIELD_TEXT only */
};
#define FIELD_END \
    { \
        .name = NULL \
    }

/* JSON null counts as a wrong value, not as absent. `root` must be an object (else ERR_INVALID at pointer ""). */
MUST_CHECK enum err fields_of_json(const struct field *table, const struct json *root, struct arena *arena, void *ret,
                                   struct field_errors *errors);
/* `query` is the raw text after '?', percent-decoded here ('+' stays '+', as in +03:00); a repeated key is refused (but
 * FIELD_CHOICES), so are unknown keys, bad escapes and invalid UTF-8. */
MUST_CHECK enum err fields_of_query(const struct field *table, struct str query, struct arena *arena, void *ret,
                                    struct field_errors *errors);

/* The checks that several services share (api.md, Rules). */
field_check field_check_asset;           /* ^[A-Z0-9.]{1,12}$ after upper-casing */
field_check field_check_client_order_id; /* 1 to 64 of [A-Za-z0-9._-] */
field_check
    field_check_iban; /* ISO 13616: country's length and mod-97; spaces and lower case accepted, stored normalised */

#endif
