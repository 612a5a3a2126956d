/* Values in and out: PostgreSQL's text formats. */
#include <assert.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <string.h>

#include "io/db.h"

enum { I64_TEXT_MAX = 21 };

/* ---- arguments ---- */

static void arg_add(struct db_args *a, const char *value)
{
    assert(a->count < DB_ARGS_MAX);
    a->values[a->count++] = value;
}

void db_arg_null(struct db_args *a)
{
    arg_add(a, NULL);
}

void db_arg_i64(struct db_args *a, int64_t v)
{
    char *text = arena_alloc(a->arena, I64_TEXT_MAX);
    snprintf(text, I64_TEXT_MAX, "%lld", (long long)v);
    arg_add(a, text);
}

void db_arg_bool(struct db_args *a, bool v)
{
    arg_add(a, v ? "t" : "f");
}

void db_arg_text(struct db_args *a, const char *v)
{
    arg_add(a, v);
}

void db_arg_uuid(struct db_args *a, struct uuid v)
{
    char *text = arena_alloc(a->arena, UUID_TEXT_MAX);
    uuid_format(v, text);
    arg_add(a, text);
}

void db_arg_decimal(struct db_args *a, decimal_t v)
{
    char *text = arena_alloc(a->arena, DECIMAL_TEXT_MAX);
    decimal_format(v, text);
    arg_add(a, text);
}

void db_arg_time(struct db_args *a, time_us_t v)
{
    char *text = arena_alloc(a->arena, CLOCK_TEXT_MAX);
    clock_format(v, text);
    arg_add(a, text);
}

void db_arg_time_or_null(struct db_args *a, time_us_t v)
{
    if (v != 0)
        db_arg_time(a, v);
    else
        db_arg_null(a);
}

/* ---- arrays ---- */

void db_array_init(struct db_array *x)
{
    buf_init(&x->text);
    x->count = 0;
}

void db_array_done(struct db_array *x)
{
    buf_done(&x->text);
}

static void array_next(struct db_array *x)
{
    buf_char(&x->text, x->count++ == 0 ? '{' : ',');
}

void db_array_null(struct db_array *x)
{
    array_next(x);
    buf_append(&x->text, "NULL", 4);
}

void db_array_i64(struct db_array *x, int64_t v)
{
    array_next(x);
    buf_i64(&x->text, v);
}

void db_array_bool(struct db_array *x, bool v)
{
    array_next(x);
    buf_char(&x->text, v ? 't' : 'f');
}

/* Always quoted: an empty text, one that reads NULL, and ones with commas, braces or spaces need it. */
void db_array_text(struct db_array *x, const char *v)
{
    if (v == NULL) {
        db_array_null(x);
        return;
    }
    array_next(x);
    buf_char(&x->text, '"');
    for (;;) {
        size_t plain = strcspn(v, "\"\\");
        buf_append(&x->text, v, plain);
        v += plain;
        if (*v == '\0')
            break;
        buf_char(&x->text, '\\');
        buf_char(&x->text, *v++);
    }
    buf_char(&x->text, '"');
}

void db_array_uuid(struct db_array *x, struct uuid v)
{
    char text[UUID_TEXT_MAX];
    uuid_format(v, text);
    array_next(x);
    buf_append(&x->text, text, UUID_TEXT_MAX - 1);
}

void db_array_decimal(struct db_array *x, decimal_t v)
{
    array_next(x);
    decimal_append(&x->text, v);
}

void db_array_time(struct db_array *x, time_us_t v)
{
    array_next(x);
    clock_append(&x->text, v);
}

void db_array_time_or_null(struct db_array *x, time_us_t v)
{
    if (v != 0)
        db_array_time(x, v);
    else
        db_array_null(x);
}

void db_arg_array(struct db_args *a, struct db_array *x)
{
    if (x->count == 0) {
        arg_add(a, "{}");
        return;
    }
    buf_char(&x->text, '}');
    arg_add(a, arena_strndup(a->arena, x->text.data, x->text.len));
    buf_reset(&x->text);
    x->count = 0;
}

void db_arrays_init(struct db_array *const *columns, size_t count)
{
    for (size_t i = 0; i < count; i++)
        db_array_init(columns[i]);
}

void db_enqueue_arrays(struct db *db, const struct db_stmt *stmt, struct db_args *first,
                       struct db_array *const *columns, size_t count)
{
    bool any = columns[0]->count > 0;
    for (size_t i = 0; i < count; i++) {
        if (any)
            db_arg_array(first, columns[i]);
        db_array_done(columns[i]);
    }
    if (any)
        db_enqueue(db, stmt, first, NULL, NULL);
}

/* ---- results: struct db_rows is libpq's PGresult under our name ---- */

static const PGresult *result(const struct db_rows *r)
{
    return (const PGresult *)r;
}

static struct str cell(const struct db_rows *r, int row, int col)
{
    assert(row < PQntuples(result(r)) && col < PQnfields(result(r)));
    return (struct str){PQgetvalue(result(r), row, col), (size_t)PQgetlength(result(r), row, col)};
}

int db_count(const struct db_rows *r)
{
    return PQntuples(result(r));
}

bool db_null(const struct db_rows *r, int row, int col)
{
    return PQgetisnull(result(r), row, col);
}

const char *db_text(const struct db_rows *r, int row, int col)
{
    return cell(r, row, col).data;
}

const char *db_text_copy(const struct db_rows *r, int row, int col, struct arena *arena)
{
    return db_null(r, row, col) ? NULL : arena_strdup(arena, db_text(r, row, col));
}

int db_choice(const struct db_rows *r, int row, int col, const char *const *choices)
{
    int i = 0;
    while (choices[i] != NULL && strcmp(choices[i], db_text(r, row, col)) != 0)
        i++;
    return i;
}

int64_t db_i64(const struct db_rows *r, int row, int col)
{
    int64_t v = 0;
    bool is_one = str_to_i64(cell(r, row, col), &v);
    assert(is_one);
    return v;
}

bool db_bool(const struct db_rows *r, int row, int col)
{
    struct str text = cell(r, row, col);
    assert(str_eq(text, "t") || str_eq(text, "f"));
    return text.data[0] == 't';
}

struct uuid db_uuid(const struct db_rows *r, int row, int col)
{
    struct uuid v = {{0}};
    bool is_one = db_null(r, row, col) || uuid_parse(cell(r, row, col), &v);
    assert(is_one);
    return v;
}

decimal_t db_decimal(const struct db_rows *r, int row, int col)
{
    decimal_t v = 0;
    enum decimal_error e = decimal_parse(cell(r, row, col), DECIMAL_SCALE, &v);
    assert(e == DECIMAL_OK);
    return v;
}

time_us_t db_time(const struct db_rows *r, int row, int col)
{
    time_us_t v = 0;
    bool is_one = clock_parse(cell(r, row, col), &v);
    assert(is_one);
    return v;
}

int db_columns(const struct db_rows *r)
{
    return PQnfields(result(r));
}

const char *db_column(const struct db_rows *r, int col)
{
    assert(col < PQnfields(result(r)));
    return PQfname(result(r), col);
}

int64_t db_affected(const struct db_rows *r)
{
    int64_t v = 0;
    struct str text = str_of(PQcmdTuples((PGresult *)(uintptr_t)r)); /* libpq forgot the const */
    return str_to_i64(text, &v) ? v : 0;
}

void db_rows_free(struct db_rows *r)
{
    PQclear((PGresult *)r);
}
