#include "io/http_route.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A path of the table, with all the methods it has. */
struct path {
    const char *template;
    struct str segments[HTTP_SEGMENTS_MAX];
    bool is_param[HTTP_SEGMENTS_MAX];
    size_t segment_count, param_count;
    const struct http_route *by_method[HTTP_OTHER + 1];
    char allow[HTTP_ALLOW_MAX];
};

struct route_table {
    struct path *paths; /* literals before parameters */
    size_t count;
};

/* Splits "/a/b" into its segments; "/" has one, the empty one. SIZE_MAX: more than the maximum. */
static size_t split(const char *path, struct str segments[HTTP_SEGMENTS_MAX])
{
    size_t n = 0;
    for (const char *s = path; s != NULL && *s == '/'; s = strchr(s + 1, '/')) {
        if (n == HTTP_SEGMENTS_MAX)
            return SIZE_MAX;
        segments[n++] = (struct str){s + 1, strcspn(s + 1, "/")};
    }
    return n;
}

static bool path_init(struct path *p, const char *template)
{
    p->template = template;
    p->segment_count = split(template, p->segments);
    if (p->segment_count == 0 || p->segment_count == SIZE_MAX)
        return false;
    for (size_t i = 0; i < p->segment_count; i++) {
        struct str s = p->segments[i];
        bool opens = s.len > 0 && s.data[0] == '{', closes = s.len > 0 && s.data[s.len - 1] == '}';
        if (opens != closes || (opens && s.len <= 2) || (s.len == 0 && p->segment_count > 1))
            return false;
        p->is_param[i] = opens;
        p->param_count += opens;
    }
    return p->param_count <= HTTP_PATH_PARAMS_MAX;
}

static void allow_write(struct path *p)
{
    size_t len = 0;
    p->allow[0] = '\0';
    for (enum http_method m = HTTP_GET; m < HTTP_OTHER; m++) {
        if (p->by_method[m] == NULL)
            continue;
        const char *comma = len > 0 ? ", " : "";
        len += (size_t)snprintf(p->allow + len, sizeof p->allow - len, "%s%s", comma, http_method_name(m));
        assert(len < sizeof p->allow); /* it holds the names of all methods */
    }
}

/* Where two paths differ first, the literal comes first; so the first that fits a request is the closest. */
static int path_cmp(const void *a, const void *b)
{
    const struct path *pa = a, *pb = b;
    for (size_t i = 0; i < pa->segment_count && i < pb->segment_count; i++)
        if (pa->is_param[i] != pb->is_param[i])
            return pa->is_param[i] ? 1 : -1;
    return pa->segment_count < pb->segment_count ? -1 : pa->segment_count > pb->segment_count;
}

static struct path *path_of(struct route_table *t, const char *template)
{
    for (size_t i = 0; i < t->count; i++)
        if (strcmp(t->paths[i].template, template) == 0)
            return &t->paths[i];
    struct path *p = &t->paths[t->count];
    return path_init(p, template) ? &t->paths[t->count++] : NULL;
}

static enum err add_route(struct route_table *t, const struct http_route *r, struct fault *fault)
{
    struct path *p = path_of(t, r->path);
    if (p == NULL)
        return fault_set(fault, ERR_BUG, "route \"%s\" is no path with at most %d segments and %d parameters", r->path,
                         HTTP_SEGMENTS_MAX, HTTP_PATH_PARAMS_MAX);
    if (p->by_method[r->method] != NULL || r->method == HTTP_OTHER)
        return fault_set(fault, ERR_BUG, "route \"%s %s\" stands there twice, or has no method",
                         http_method_name(r->method), r->path);
    p->by_method[r->method] = r;
    return ERR_OK;
}

enum err route_table_new(const struct http_route *routes, struct route_table **ret, struct fault *fault)
{
    size_t count = 0;
    while (routes[count].path != NULL)
        count++;

    struct route_table *t = mem_alloc(sizeof *t);
    t->paths = mem_alloc((count + 1) * sizeof *t->paths);
    for (size_t i = 0; i < count; i++) {
        enum err e = add_route(t, &routes[i], fault);
        if (e != ERR_OK) {
            route_table_free(t);
            return e;
        }
    }
    for (size_t i = 0; i < t->count; i++) {
        struct path *p = &t->paths[i];
        if (p->by_method[HTTP_HEAD] == NULL)
            p->by_method[HTTP_HEAD] = p->by_method[HTTP_GET];
        allow_write(p);
    }
    qsort(t->paths, t->count, sizeof *t->paths, path_cmp);
    *ret = t;
    return ERR_OK;
}

void route_table_free(struct route_table *t)
{
    if (t == NULL)
        return;
    mem_free(t->paths);
    mem_free(t);
}

void http_routes_print(const struct http_route *routes)
{
    static const char *const WHO[] = {
        [WHO_ANYONE] = "anyone", [WHO_USER] = "user", [WHO_ADMIN] = "admin", [WHO_SIGNED_IN] = "signed-in"};
    for (const struct http_route *r = routes; r->path != NULL; r++)
        printf("%s %s %s\n", http_method_name(r->method), r->path, WHO[r->who]);
}

static bool fits(const struct path *p, const struct str *segments, size_t count)
{
    if (p->segment_count != count)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (p->is_param[i] ? segments[i].len == 0 : segments[i].len != p->segments[i].len)
            return false;
        if (!p->is_param[i] && memcmp(segments[i].data, p->segments[i].data, segments[i].len) != 0)
            return false;
    }
    return true;
}

enum err route_find(const struct route_table *t, enum http_method method, const char *path, struct route_match *ret)
{
    struct str segments[HTTP_SEGMENTS_MAX];
    size_t count = split(path, segments), i = 0;
    *ret = (struct route_match){0};
    while (i < t->count && !fits(&t->paths[i], segments, count))
        i++;
    if (i == t->count)
        return ERR_NOT_FOUND;

    const struct path *p = &t->paths[i];
    ret->route = p->by_method[method];
    ret->allow = p->allow;
    if (ret->route == NULL)
        return ERR_METHOD_NOT_ALLOWED;
    for (size_t s = 0; s < count; s++)
        if (p->is_param[s])
            ret->params[ret->param_count++] = segments[s];
    return ERR_OK;
}
