/* The table of aggregates, from the config file. */
#include <string.h>

#include "gateway/aggregate.h"

enum { PATH_MAX_LEN = 128 };

static const char *const SHAPES[] = {[AGGREGATE_LISTS] = "lists", [AGGREGATE_CHECKS] = "checks", NULL};

/* A member of "parts" as it stands there. */
struct part_text {
    const char *name, *upstream, *path, *query;
};
/* clang-format off */
#define PART_AT(member) offsetof(struct part_text, member)
static const struct field PART[] = {
    {.name = "name", .kind = FIELD_TEXT, .offset = PART_AT(name), .flags = FIELD_REQUIRED, .max = AGGREGATE_NAME_LEN_MAX},
    {.name = "upstream", .kind = FIELD_TEXT, .offset = PART_AT(upstream), .flags = FIELD_REQUIRED, .max = UPSTREAM_NAME_LEN_MAX},
    {.name = "path", .kind = FIELD_TEXT, .offset = PART_AT(path), .flags = FIELD_REQUIRED, .max = PATH_MAX_LEN},
    {.name = "query", .kind = FIELD_TEXT, .offset = PART_AT(query), .max = PATH_MAX_LEN},
    FIELD_END,
};
/* clang-format on */

struct reader {
    struct arena *arena;
    const struct upstreams_conf *upstreams;
    struct aggregates *ret;
    struct buf *complaints;
};

static bool find_upstream(const struct upstreams_conf *us, const char *name, size_t *ret)
{
    for (size_t i = 0; i < us->count; i++) {
        if (strcmp(us->items[i].name, name) != 0)
            continue;
        *ret = i;
        return true;
    }
    return false;
}

static bool has_part(const struct aggregate *a, const char *name)
{
    for (size_t i = 0; i < a->part_count; i++)
        if (strcmp(a->parts[i].name, name) == 0)
            return true;
    return false;
}

/* It is written into a request line and into an answer as it stands here. */
static bool is_plain(const char *text)
{
    return text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/=&")] == '\0';
}

static void add_part(struct reader *r, struct aggregate *a, const struct part_text *t)
{
    size_t upstream = 0;
    if (!is_plain(t->name) || !is_plain(t->path) || t->path[0] != '/' || (t->query != NULL && !is_plain(t->query)))
        buf_printf(r->complaints, "aggregates/%s/%s: name, path and query have letters, digits and ._-/=&\n", a->name,
                   t->name);
    else if (has_part(a, t->name))
        buf_printf(r->complaints, "aggregates/%s/%s: stands there twice\n", a->name, t->name);
    else if (!find_upstream(r->upstreams, t->upstream, &upstream))
        buf_printf(r->complaints, "aggregates/%s/%s: \"%s\" is none of \"upstreams\"\n", a->name, t->name, t->upstream);
    else
        a->parts[a->part_count++] = (struct aggregate_part){
            .name = t->name,
            .path = t->path,
            .query = t->query == NULL ? "" : t->query,
            .upstream = upstream,
        };
}

static void read_part(struct reader *r, struct aggregate *a, size_t i, const struct json *v)
{
    struct part_text t = {.name = NULL};
    struct field_errors errors = {.count = 0};
    if (fields_of_json(PART, v, r->arena, &t, &errors) == ERR_OK) {
        add_part(r, a, &t);
        return;
    }
    for (size_t k = 0; k < errors.count; k++)
        buf_printf(r->complaints, "aggregates/%s/parts/%zu%s: %s\n", a->name, i, errors.items[k].pointer,
                   errors.items[k].detail);
}

static bool read_shape(const struct json *v, enum aggregate_shape *ret)
{
    struct str text = json_text(json_get(v, "shape"));
    for (int i = 0; SHAPES[i] != NULL; i++) {
        if (!str_eq(text, SHAPES[i]))
            continue;
        *ret = (enum aggregate_shape)i;
        return true;
    }
    return false;
}

static void read_aggregate(void *arg, const char *name, const struct json *v)
{
    struct reader *r = arg;
    const struct json *parts = json_get(v, "parts");
    if (r->ret->count == AGGREGATES_MAX || strlen(name) > AGGREGATE_NAME_LEN_MAX) {
        buf_printf(r->complaints, "aggregates/%.32s: at most %d, with names of at most %d characters\n", name,
                   AGGREGATES_MAX, AGGREGATE_NAME_LEN_MAX);
        return;
    }
    struct aggregate *a = &r->ret->items[r->ret->count++];
    a->name = arena_strdup(r->arena, name);
    if (json_count(v) != 2 || !read_shape(v, &a->shape) || parts == NULL || json_type(parts) != JSON_ARRAY ||
        json_count(parts) == 0 || json_count(parts) > AGGREGATE_PARTS_MAX) {
        buf_printf(r->complaints, "aggregates/%s: must have a \"shape\", lists or checks, and 1 to %d \"parts\"\n",
                   name, AGGREGATE_PARTS_MAX);
        return;
    }
    for (size_t i = 0; i < json_count(parts); i++)
        read_part(r, a, i, json_at(parts, i));
}

void aggregates_read(struct arena *arena, const struct json *table, const struct upstreams_conf *us,
                     struct aggregates *ret, struct buf *ret_complaints)
{
    struct reader r = {.arena = arena, .upstreams = us, .ret = ret, .complaints = ret_complaints};
    ret->count = 0;
    if (table == NULL)
        return;
    if (json_type(table) == JSON_OBJECT)
        json_each(table, read_aggregate, &r);
    else
        buf_str(ret_complaints, "aggregates: must be an object\n");
}

const struct aggregate *aggregate_find(const struct aggregates *as, const char *name)
{
    for (size_t i = 0; i < as->count; i++)
        if (strcmp(as->items[i].name, name) == 0)
            return &as->items[i];
    return NULL;
}

void aggregates_adopt(struct aggregates *as, const size_t *index)
{
    for (size_t i = 0; i < as->count; i++)
        for (size_t k = 0; k < as->items[i].part_count; k++)
            as->items[i].parts[k].upstream = index[as->items[i].parts[k].upstream];
}
