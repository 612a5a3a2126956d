#include "events/members.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static bool is_absent(const struct json *object, const char *name)
{
    const struct json *v = json_get(object, name);
    return v == NULL || json_type(v) == JSON_NULL;
}

/* ---- one pair a kind ---- */

static void put_uuid(struct json_out *o, const struct member *m, const void *at)
{
    const struct uuid *id = at;
    assert(!uuid_is_nil(*id));
    json_put_uuid(o, m->name, *id);
}

static bool get_uuid(const struct json *object, const struct member *m, struct arena *arena, void *at)
{
    (void)arena;
    struct uuid *id = at;
    return json_get_uuid(object, m->name, id) && !uuid_is_nil(*id);
}

static void put_uuid_or_null(struct json_out *o, const struct member *m, const void *at)
{
    const struct uuid *id = at;
    if (uuid_is_nil(*id))
        json_put_null(o, m->name);
    else
        json_put_uuid(o, m->name, *id);
}

static bool get_uuid_or_null(const struct json *object, const struct member *m, struct arena *arena, void *at)
{
    struct uuid *id = at;
    *id = (struct uuid){{0}};
    return is_absent(object, m->name) || get_uuid(object, m, arena, at);
}

static void put_i64(struct json_out *o, const struct member *m, const void *at)
{
    const int64_t *value = at;
    json_put_int(o, m->name, *value);
}

static bool get_id(const struct json *object, const struct member *m, struct arena *arena, void *at)
{
    (void)arena;
    int64_t *value = at;
    return json_get_int(object, m->name, value) && *value > 0;
}

static bool get_sequence(const struct json *object, const struct member *m, struct arena *arena, void *at)
{
    (void)arena;
    int64_t *value = at;
    return json_get_int(object, m->name, value) && *value >= 0;
}

static void put_sequence_or_null(struct json_out *o, const struct member *m, const void *at)
{
    const int64_t *value = at;
    if (*value == 0)
        json_put_null(o, m->name);
    else
        json_put_int(o, m->name, *value);
}

static bool get_sequence_or_null(const struct json *object, const struct member *m, struct arena *arena, void *at)
{
    *(int64_t *)at = 0;
    return is_absent(object, m->name) || get_sequence(object, m, arena, at);
}

static void put_int(struct json_out *o, const struct member *m, const void *at)
{
    const int *value = at;
    json_put_int(o, m->name, *value);
}

static bool get_int(const struct json *object, const struct member *m, struct arena *arena, void *at)
{
    int64_t value;
    if (!get_sequence(object, m, arena, &value) || value > INT32_MAX)
        return false;
    *(int *)at = (int)value;
    return true;
}

static void put_decimal(struct json_out *o, const struct member *m, const void *at)
{
    const decimal_t *value = at;
    json_put_decimal(o, m->name, *value);
}

static bool get_decimal(const struct json *object, const struct member *m, struct arena *arena, void *at)
{
    (void)arena;
    decimal_t *value = at;
    return json_get_decimal(object, m->name, value) && *value >= 0;
}

static void put_decimal_or_null(struct json_out *o, const struct member *m, const void *at)
{
    const decimal_t *value = at;
    if (*value < 0)
        json_put_null(o, m->name);
    else
        json_put_decimal(o, m->name, *value);
}

static bool get_decimal_or_null(const struct json *object, const struct member *m, struct arena *arena, void *at)
{
    *(decimal_t *)at = -1;
    return is_absent(object, m->name) || get_decimal(object, m, arena, at);
}

static bool get_amount(const struct json *object, const struct member *m, struct arena *arena, void *at)
{
    const decimal_t *value = at;
    return get_decimal(object, m, arena, at) && *value > 0;
}

static void put_text_or_null(struct json_out *o, const struct member *m, const void *at)
{
    const char *const *text = at;
    json_put_text(o, m->name, *text);
}

static void put_text(struct json_out *o, const struct member *m, const void *at)
{
    const char *const *text = at;
    assert(*text != NULL);
    json_put_text(o, m->name, *text);
}

static bool get_text(const struct json *object, const struct member *m, struct arena *arena, void *at)
{
    struct str text;
    if (!json_get_text(object, m->name, &text) || text.len == 0 || text.len > MEMBER_TEXT_MAX)
        return false;
    *(const char **)at = arena_strndup(arena, text.data, text.len);
    return true;
}

static bool get_text_or_null(const struct json *object, const struct member *m, struct arena *arena, void *at)
{
    *(const char **)at = NULL;
    return is_absent(object, m->name) || get_text(object, m, arena, at);
}

/* An enum has the size of an int, but need not be one: hence the copies. */
static void put_choice(struct json_out *o, const struct member *m, const void *at)
{
    int choice;
    memcpy(&choice, at, sizeof choice);
    json_put_text(o, m->name, m->choices[choice]);
}

static bool get_choice(const struct json *object, const struct member *m, struct arena *arena, void *at)
{
    (void)arena;
    struct str text;
    if (!json_get_text(object, m->name, &text))
        return false;
    for (int i = 0; m->choices[i] != NULL; i++) {
        if (!str_eq(text, m->choices[i]))
            continue;
        memcpy(at, &i, sizeof i);
        return true;
    }
    return false;
}

static void put_time(struct json_out *o, const struct member *m, const void *at)
{
    const time_us_t *t = at;
    json_put_time(o, m->name, *t);
}

static bool get_time(const struct json *object, const struct member *m, struct arena *arena, void *at)
{
    (void)arena;
    return json_get_time(object, m->name, at);
}

static void put_object(struct json_out *o, const struct member *m, const void *at)
{
    json_open(o, m->name, '{');
    members_put(o, m->members, at);
    json_close(o, '}');
}

/* What is inside is read by members_get, which names it. */
static bool get_object(const struct json *object, const struct member *m, struct arena *arena, void *at)
{
    (void)arena;
    (void)at;
    return !is_absent(object, m->name) && json_type(json_get(object, m->name)) == JSON_OBJECT;
}

static const struct {
    void (*put)(struct json_out *o, const struct member *m, const void *at);
    bool (*get)(const struct json *object, const struct member *m, struct arena *arena, void *at);
    const char *expected;
} KINDS[] = {
    [MEMBER_UUID] = {put_uuid, get_uuid, "a UUID"},
    [MEMBER_UUID_OR_NULL] = {put_uuid_or_null, get_uuid_or_null, "a UUID or null"},
    [MEMBER_ID] = {put_i64, get_id, "a whole number above 0"},
    [MEMBER_SEQUENCE] = {put_i64, get_sequence, "a whole number, 0 or more"},
    [MEMBER_SEQUENCE_OR_NULL] = {put_sequence_or_null, get_sequence_or_null, "a whole number, 0 or more, or null"},
    [MEMBER_INT] = {put_int, get_int, "a whole number, 0 or more"},
    [MEMBER_DECIMAL] = {put_decimal, get_decimal, "a decimal as a string, 0 or more"},
    [MEMBER_DECIMAL_OR_NULL] = {put_decimal_or_null, get_decimal_or_null, "a decimal as a string, 0 or more, or null"},
    [MEMBER_AMOUNT] = {put_decimal, get_amount, "a decimal as a string, above 0"},
    [MEMBER_TEXT] = {put_text, get_text, "text"},
    [MEMBER_TEXT_OR_NULL] = {put_text_or_null, get_text_or_null, "text or null"},
    [MEMBER_CHOICE] = {put_choice, get_choice, "one of the known words"},
    [MEMBER_TIME] = {put_time, get_time, "a time of RFC 3339"},
    [MEMBER_OBJECT] = {put_object, get_object, "an object"},
};

void members_put(struct json_out *o, const struct member *table, const void *from)
{
    for (const struct member *m = table; m->name != NULL; m++)
        KINDS[m->kind].put(o, m, (const char *)from + m->offset);
}

static enum err get_inside(const struct json *object, const char *path, const struct member *m, struct arena *arena,
                           void *at, struct fault *fault)
{
    char inner_path[MEMBER_PATH_MAX];
    snprintf(inner_path, sizeof inner_path, "%s%s.", path, m->name);
    return members_get(json_get(object, m->name), inner_path, m->members, arena, at, fault);
}

enum err members_get(const struct json *object, const char *path, const struct member *table, struct arena *arena,
                     void *ret, struct fault *fault)
{
    for (const struct member *m = table; m->name != NULL; m++) {
        void *at = (char *)ret + m->offset;
        if (!KINDS[m->kind].get(object, m, arena, at))
            return fault_set(fault, ERR_INVALID, "%s%s: must be %s", path, m->name, KINDS[m->kind].expected);
        if (m->kind != MEMBER_OBJECT)
            continue;
        enum err e = get_inside(object, path, m, arena, at, fault);
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

void members_encode(struct buf *out, const struct member *table, const void *from)
{
    struct json_out o = json_out(out);
    json_open(&o, NULL, '{');
    members_put(&o, table, from);
    json_close(&o, '}');
}
