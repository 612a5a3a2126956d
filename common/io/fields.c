#include "io/fields.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/decimal.h"
#include "base/id.h"

/* A FIELD_TEXT without a max of its own, and each text of a FIELD_TEXTS. */
enum { TEXT_MAX_DEFAULT = 255, FIELDS_MAX = 64, NUMBER_TEXT_MAX = 40 };

enum err field_error_add(struct field_errors *errors, const char *pointer, const char *fmt, ...)
{
    if (errors->count == FIELD_ERRORS_MAX)
        return ERR_INVALID;

    struct field_error *e = &errors->items[errors->count++];
    str_copy(e->pointer, sizeof(e->pointer), str_of(pointer));
    va_list args;
    va_start(args, fmt);
    vsnprintf(e->detail, sizeof(e->detail), fmt, args);
    va_end(args);
    return ERR_INVALID;
}

/* One reading of one body or query. */
struct reader {
    const struct field *table;
    struct arena *arena;
    char *ret; /* the struct to fill */
    struct field_errors *errors;
    bool in_query;
    bool seen[FIELDS_MAX]; /* by place in the table */
};

/* "/size", or "?size" for a query; '~' and '/' as RFC 6901 wants them. */
static const char *pointer_to(struct reader *r, const char *name)
{
    struct buf pointer;
    buf_init(&pointer);
    buf_char(&pointer, r->in_query ? '?' : '/');
    for (const char *c = name; *c != '\0'; c++) {
        if (!r->in_query && (*c == '~' || *c == '/'))
            buf_str(&pointer, *c == '~' ? "~0" : "~1");
        else
            buf_char(&pointer, *c);
    }
    const char *text = arena_strdup(r->arena, pointer.data);
    buf_done(&pointer);
    return text;
}

/* ---- what each kind takes: its text into the struct. NULL: done; else the complaint. ---- */

typedef const char *set_value(struct reader *r, const struct field *f, struct str text);

#define TARGET(r, f, type) ((type *)(void *)((r)->ret + (f)->offset))

static bool has_control(struct str text)
{
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.data[i] < 0x20 || text.data[i] == 0x7F)
            return true;
    return false;
}

/* What doesn't fit is shown to the check as empty text, for its complaint says best what is expected. */
static const char *set_text(struct reader *r, const struct field *f, struct str text)
{
    int64_t max = f->max > 0 ? f->max : TEXT_MAX_DEFAULT;
    bool fits = (int64_t)text.len >= f->min && (int64_t)text.len <= max && !has_control(text);
    const char *copy = fits ? arena_strndup(r->arena, text.data, text.len) : "";
    const char *complaint = f->check != NULL ? f->check(r->arena, copy, &copy) : NULL;
    if (!fits && complaint == NULL)
        complaint = arena_printf(r->arena, "must be a text of %lld to %lld bytes without control characters",
                                 (long long)f->min, (long long)max);
    if (complaint == NULL)
        *TARGET(r, f, const char *) = copy;
    return complaint;
}

static const char *set_decimal(struct reader *r, const struct field *f, struct str text)
{
    bool positive = (f->flags & FIELD_POSITIVE) != 0;
    decimal_t value;
    enum decimal_error e = decimal_parse(text, f->places, &value);
    if (e == DECIMAL_TOO_LARGE)
        return "is too large";
    if (e == DECIMAL_OK && (value > 0 || !positive)) {
        *TARGET(r, f, decimal_t) = value;
        return NULL;
    }
    return arena_printf(r->arena, "must be a number%s with at most %d decimals", positive ? " greater than 0" : "",
                        f->places);
}

static const char *set_id(struct reader *r, const struct field *f, struct str text)
{
    int64_t value;
    if (!str_to_i64(text, &value) || value <= 0)
        return "must be an integer greater than 0";
    *TARGET(r, f, int64_t) = value;
    return NULL;
}

static const char *set_int(struct reader *r, const struct field *f, struct str text)
{
    int64_t value;
    if (!str_to_i64(text, &value) || value < f->min || value > f->max)
        return arena_printf(r->arena, "must be an integer from %lld to %lld", (long long)f->min, (long long)f->max);
    *TARGET(r, f, int64_t) = value;
    return NULL;
}

static const char *set_bool(struct reader *r, const struct field *f, struct str text)
{
    bool yes = str_eq(text, "true");
    if (!yes && !str_eq(text, "false"))
        return "must be true or false";
    *TARGET(r, f, bool) = yes;
    return NULL;
}

static int choice_of(const struct field *f, struct str text)
{
    for (int i = 0; f->choices[i] != NULL; i++)
        if (str_eq(text, f->choices[i]))
            return i;
    return -1;
}

/* "must be BUY or SELL", "must be one of NEW, PENDING or MATCHED" */
static const char *choice_complaint(struct reader *r, const struct field *f)
{
    struct buf text;
    buf_init(&text);
    for (int i = 0; f->choices[i] != NULL; i++) {
        if (i > 0)
            buf_str(&text, f->choices[i + 1] == NULL ? " or " : ", ");
        buf_str(&text, f->choices[i]);
    }
    const char *complaint = arena_printf(r->arena, "must be %s", buf_cstr(&text));
    buf_done(&text);
    return complaint;
}

static const char *set_choice(struct reader *r, const struct field *f, struct str text)
{
    int choice = choice_of(f, text);
    if (choice < 0)
        return choice_complaint(r, f);
    *TARGET(r, f, int) = choice;
    return NULL;
}

static const char *add_choice(struct reader *r, const struct field *f, struct str text)
{
    int choice = choice_of(f, text);
    if (choice < 0)
        return choice_complaint(r, f);
    *TARGET(r, f, unsigned) |= 1U << choice;
    return NULL;
}

static const char *set_time(struct reader *r, const struct field *f, struct str text)
{
    if (!clock_parse(text, TARGET(r, f, time_us_t)))
        return "must be a date and time of RFC 3339 like 2026-11-24T18:58:08Z";
    return NULL;
}

static const char *set_uuid(struct reader *r, const struct field *f, struct str text)
{
    return uuid_parse(text, TARGET(r, f, struct uuid)) ? NULL : "must be a UUID";
}

/* What a kind is in JSON, and how its text becomes a value. FIELD_TEXTS, the one list, has its own reader below. */
static const struct kind {
    unsigned json_types; /* bits of enum json_type */
    set_value *set;
} KINDS[] = {
    [FIELD_TEXT] = {1U << JSON_STRING, set_text},
    [FIELD_DECIMAL] = {1U << JSON_INTEGER | 1U << JSON_REAL | 1U << JSON_STRING, set_decimal},
    [FIELD_ID] = {1U << JSON_INTEGER, set_id},
    [FIELD_INT] = {1U << JSON_INTEGER, set_int},
    [FIELD_BOOL] = {1U << JSON_TRUE | 1U << JSON_FALSE, set_bool},
    [FIELD_CHOICE] = {1U << JSON_STRING, set_choice},
    [FIELD_CHOICES] = {0, add_choice},
    [FIELD_TIME] = {1U << JSON_STRING, set_time},
    [FIELD_UUID] = {1U << JSON_STRING, set_uuid},
    [FIELD_TEXTS] = {0, NULL},
};

/* ---- what both readers share ---- */

static void set_absent(struct reader *r, const struct field *f)
{
    switch (f->kind) {
    case FIELD_TEXT:
        *TARGET(r, f, const char *) = NULL;
        return;
    case FIELD_DECIMAL:
    case FIELD_ID:
    case FIELD_TIME:
        *TARGET(r, f, int64_t) = 0;
        return;
    case FIELD_INT: /* the caller's default stands */
        return;
    case FIELD_BOOL:
        *TARGET(r, f, bool) = false;
        return;
    case FIELD_CHOICE:
        *TARGET(r, f, int) = -1;
        return;
    case FIELD_CHOICES:
        *TARGET(r, f, unsigned) = 0;
        return;
    case FIELD_UUID:
        *TARGET(r, f, struct uuid) = (struct uuid){0};
        return;
    case FIELD_TEXTS:
        *TARGET(r, f, struct field_texts) = (struct field_texts){0};
        return;
    }
}

static void begin(struct reader *r)
{
    for (const struct field *f = r->table; f->name != NULL; f++) {
        assert(f - r->table < FIELDS_MAX);
        set_absent(r, f);
    }
}

static enum err end(struct reader *r)
{
    for (const struct field *f = r->table; f->name != NULL; f++)
        if ((f->flags & FIELD_REQUIRED) != 0 && !r->seen[f - r->table])
            (void)field_error_add(r->errors, pointer_to(r, f->name), "is required");
    return r->errors->count == 0 ? ERR_OK : ERR_INVALID;
}

static const struct field *find(const struct reader *r, const char *name)
{
    for (const struct field *f = r->table; f->name != NULL; f++)
        if (strcmp(f->name, name) == 0)
            return f;
    return NULL;
}

static void set(struct reader *r, const struct field *f, struct str text)
{
    const char *complaint = KINDS[f->kind].set(r, f, text);
    if (complaint != NULL)
        (void)field_error_add(r->errors, pointer_to(r, f->name), "%s", complaint);
}

/* ---- a body ---- */

static const char *texts_item(const struct json *item)
{
    struct str text = json_text(item);
    return json_type(item) == JSON_STRING && text.len <= TEXT_MAX_DEFAULT && !has_control(text) ? text.data : NULL;
}

static void set_texts(struct reader *r, const struct field *f, const struct json *v)
{
    size_t count = json_count(v);
    if (json_type(v) != JSON_ARRAY || count < 1 || count > FIELD_LIST_MAX) {
        (void)field_error_add(r->errors, pointer_to(r, f->name), "must be a list of 1 to %d texts", FIELD_LIST_MAX);
        return;
    }

    struct field_texts texts = {.items = ARENA_ARRAY(r->arena, const char *, count), .count = count, .present = true};
    for (size_t i = 0; i < count; i++) {
        const char *text = texts_item(json_at(v, i));
        if (text != NULL)
            texts.items[i] = arena_strdup(r->arena, text);
        else
            (void)field_error_add(r->errors, arena_printf(r->arena, "%s/%zu", pointer_to(r, f->name), i),
                                  "must be a text of at most %d bytes without control characters", TEXT_MAX_DEFAULT);
    }
    *TARGET(r, f, struct field_texts) = texts;
}

static struct str text_of(const struct json *v, char number[NUMBER_TEXT_MAX])
{
    if (json_type(v) == JSON_TRUE || json_type(v) == JSON_FALSE)
        return json_bool(v) ? STR("true") : STR("false");
    return json_number_text(v, number);
}

/* What a value of a wrong type looks like to its kind's reader: none takes a control character, and its complaint names what
 * is expected. */
static const char NOT_THIS_TYPE[] = "\x01";

static void on_member(void *arg, const char *name, const struct json *v)
{
    struct reader *r = arg;
    const struct field *f = find(r, name);
    if (f == NULL) {
        (void)field_error_add(r->errors, pointer_to(r, name), "is not known here");
        return;
    }

    r->seen[f - r->table] = true;
    if (f->kind == FIELD_TEXTS) {
        set_texts(r, f, v);
        return;
    }
    char number[NUMBER_TEXT_MAX];
    bool right_type = (KINDS[f->kind].json_types >> json_type(v) & 1U) != 0;
    set(r, f, right_type ? text_of(v, number) : str_of(NOT_THIS_TYPE));
}

enum err fields_of_json(const struct field *table, const struct json *root, struct arena *arena, void *ret,
                        struct field_errors *errors)
{
    struct reader r = {.table = table, .arena = arena, .ret = ret, .errors = errors};
    begin(&r);
    if (json_type(root) != JSON_OBJECT)
        return field_error_add(errors, "", "must be an object");

    json_each(root, on_member, &r);
    return end(&r);
}

/* ---- a query ---- */

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

/* Percent-decoded (RFC 3986). '+' stays '+': the offset of "2026-11-24T18:58:08+03:00" comes bare more often than a form's
 * space comes as '+'. Returns a complaint, or NULL. */
static const char *decode(struct arena *arena, struct str raw, struct str *ret)
{
    char *text = arena_alloc(arena, raw.len + 1);
    size_t len = 0;
    for (size_t i = 0; i < raw.len; i++) {
        if (raw.data[i] != '%') {
            text[len++] = raw.data[i];
            continue;
        }
        int high = i + 2 < raw.len ? hex_value(raw.data[i + 1]) : -1;
        int low = i + 2 < raw.len ? hex_value(raw.data[i + 2]) : -1;
        if (high < 0 || low < 0)
            return "has a '%' that two hex digits don't follow";
        text[len++] = (char)(high * 16 + low);
        i += 2;
    }

    size_t wrong;
    *ret = (struct str){text, len};
    return str_is_utf8(*ret, &wrong) ? NULL : "is not UTF-8";
}

/* The text up to the next `mark`; *rest begins behind it. */
static struct str cut(struct str *rest, char mark)
{
    const char *end_of_part = rest->len > 0 ? memchr(rest->data, mark, rest->len) : NULL;
    struct str part = {rest->data, end_of_part != NULL ? (size_t)(end_of_part - rest->data) : rest->len};
    size_t used = end_of_part != NULL ? part.len + 1 : part.len;
    *rest = (struct str){rest->data + used, rest->len - used};
    return part;
}

static void on_pair(struct reader *r, struct str pair)
{
    struct str raw = pair;
    struct str key;
    const char *complaint = decode(r->arena, cut(&raw, '='), &key);
    if (complaint != NULL || has_control(key)) {
        (void)field_error_add(r->errors, "?", "has a key that can't be read");
        return;
    }
    const struct field *f = find(r, key.data);
    if (f == NULL) {
        (void)field_error_add(r->errors, pointer_to(r, key.data), "is not known here");
        return;
    }
    if (r->seen[f - r->table] && f->kind != FIELD_CHOICES) {
        (void)field_error_add(r->errors, pointer_to(r, f->name), "may stand only once");
        return;
    }

    r->seen[f - r->table] = true;
    struct str value;
    complaint = decode(r->arena, raw, &value);
    if (complaint != NULL)
        (void)field_error_add(r->errors, pointer_to(r, f->name), "%s", complaint);
    else
        set(r, f, value);
}

enum err fields_of_query(const struct field *table, struct str query, struct arena *arena, void *ret,
                         struct field_errors *errors)
{
    struct reader r = {.table = table, .arena = arena, .ret = ret, .errors = errors, .in_query = true};
    begin(&r);
    while (query.len > 0 && errors->count < FIELD_ERRORS_MAX)
        on_pair(&r, cut(&query, '&'));
    return end(&r);
}

/* ---- checks ---- */

static char to_upper(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

static bool is_upper(char c)
{
    return c >= 'A' && c <= 'Z';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

const char *field_check_asset(struct arena *arena, const char *text, const char **ret_text)
{
    enum { ASSET_MAX = 12 };
    size_t len = strlen(text);
    bool good = len >= 1 && len <= ASSET_MAX;
    char *asset = arena_strdup(arena, good ? text : "");
    for (char *c = asset; *c != '\0'; c++) {
        *c = to_upper(*c);
        good = good && (is_upper(*c) || is_digit(*c) || *c == '.');
    }
    if (!good)
        return "must be 1 to 12 letters (A to Z), digits or points";
    *ret_text = asset;
    return NULL;
}

const char *field_check_client_order_id(struct arena *arena, const char *text, const char **ret_text)
{
    enum { CLIENT_ORDER_ID_MAX = 64 };
    (void)arena;
    size_t len = strlen(text);
    bool good = len >= 1 && len <= CLIENT_ORDER_ID_MAX;
    for (const char *c = text; good && *c != '\0'; c++)
        good = is_upper(to_upper(*c)) || is_digit(*c) || strchr("._-", *c) != NULL;
    if (!good)
        return "must be 1 to 64 letters (A to Z, a to z), digits, points, underscores or hyphens";
    *ret_text = text;
    return NULL;
}

/* ISO 13616: the length of each country's IBAN, from SWIFT's IBAN registry. */
static const struct {
    char country[3];
    unsigned char length;
} IBAN_LENGTHS[] = {
    {"AD", 24}, {"AE", 23}, {"AL", 28}, {"AT", 20}, {"AZ", 28}, {"BA", 20}, {"BE", 16}, {"BG", 22}, {"BH", 22},
    {"BI", 27}, {"BR", 29}, {"BY", 28}, {"CH", 21}, {"CR", 22}, {"CY", 28}, {"CZ", 24}, {"DE", 22}, {"DJ", 27},
    {"DK", 18}, {"DO", 28}, {"EE", 20}, {"EG", 29}, {"ES", 24}, {"FI", 18}, {"FK", 18}, {"FO", 18}, {"FR", 27},
    {"GB", 22}, {"GE", 22}, {"GI", 23}, {"GL", 18}, {"GR", 27}, {"GT", 28}, {"HN", 28}, {"HR", 21}, {"HU", 28},
    {"IE", 22}, {"IL", 23}, {"IQ", 23}, {"IS", 26}, {"IT", 27}, {"JO", 30}, {"KW", 30}, {"KZ", 20}, {"LB", 28},
    {"LC", 32}, {"LI", 21}, {"LT", 20}, {"LU", 20}, {"LV", 21}, {"LY", 25}, {"MC", 27}, {"MD", 24}, {"ME", 22},
    {"MK", 19}, {"MN", 20}, {"MR", 27}, {"MT", 31}, {"MU", 30}, {"NI", 28}, {"NL", 18}, {"NO", 15}, {"OM", 23},
    {"PK", 24}, {"PL", 28}, {"PS", 29}, {"PT", 25}, {"QA", 29}, {"RO", 24}, {"RS", 22}, {"RU", 33}, {"SA", 24},
    {"SC", 31}, {"SD", 18}, {"SE", 24}, {"SI", 19}, {"SK", 24}, {"SM", 27}, {"SO", 23}, {"ST", 25}, {"SV", 28},
    {"TL", 23}, {"TN", 24}, {"TR", 26}, {"UA", 29}, {"VA", 22}, {"VG", 24}, {"XK", 20}, {"YE", 30},
};
enum { IBAN_COUNTRIES = sizeof(IBAN_LENGTHS) / sizeof(IBAN_LENGTHS[0]), IBAN_MAX = 34 };

static size_t iban_length(const char *iban)
{
    for (size_t i = 0; i < IBAN_COUNTRIES; i++)
        if (strncmp(iban, IBAN_LENGTHS[i].country, 2) == 0)
            return IBAN_LENGTHS[i].length;
    return 0;
}

/* ISO 7064 MOD 97-10: the first four characters go to the end, letters count 10 to 35; the remainder must be 1. */
static bool iban_sum_is_right(const char *iban, size_t len)
{
    unsigned sum = 0;
    for (size_t i = 0; i < len; i++) {
        char c = iban[(i + 4) % len];
        unsigned value = is_digit(c) ? (unsigned)(c - '0') : (unsigned)(c - 'A') + 10;
        sum = (sum * (value > 9 ? 100 : 10) + value) % 97;
    }
    return sum == 1;
}

/* Check digits are 02 to 98: 00, 01 and 99 would pass the sum too, but no bank makes them. */
static bool iban_check_digits(const char *iban)
{
    if (!is_digit(iban[2]) || !is_digit(iban[3]))
        return false;
    int value = (iban[2] - '0') * 10 + iban[3] - '0';
    return value >= 2 && value <= 98;
}

const char *field_check_iban(struct arena *arena, const char *text, const char **ret_text)
{
    static const char COMPLAINT[] = "must be an IBAN (ISO 13616) with its country's length and right check digits";
    char iban[IBAN_MAX + 1] = "";
    size_t len = 0;
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == ' ')
            continue;
        char upper = to_upper(*c);
        if (len == IBAN_MAX || (!is_upper(upper) && !is_digit(upper)))
            return COMPLAINT;
        iban[len++] = upper;
    }
    if (len == 0 || len != iban_length(iban) || !iban_check_digits(iban) || !iban_sum_is_right(iban, len))
        return COMPLAINT;
    *ret_text = arena_strdup(arena, iban);
    return NULL;
}
