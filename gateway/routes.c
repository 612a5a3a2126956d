#include "gateway/routes.h"

#include <stdio.h>
#include <string.h>

#include "io/conf.h"
#include "io/fields.h"
#include "io/json.h"

enum { PATH_MAX_LEN = 128, OWN_NAME_LEN_MAX = 32, WHERE_MAX = 32, TRY_READ_MS = 1000, SLOW_MS = 1000 };

static const char *const WHO[] = {
    [WHO_ANYONE] = "anyone", [WHO_USER] = "user", [WHO_ADMIN] = "admin", [WHO_SIGNED_IN] = "signed-in", NULL};

/* A member of "routes" as it stands there. */
struct route_text {
    const char *path, *upstream, *aggregate, *own; /* one of the last three */
    struct field_texts methods, limits;
    int who;
    int64_t timeout_ms, cost, try_ms, slow_ms; /* the last two 0: not given */
    bool idempotent, csv;
};
/* clang-format off */
#define ROUTE_AT(member) offsetof(struct route_text, member)
static const struct field ROUTE[] = {
    {.name = "path", .kind = FIELD_TEXT, .offset = ROUTE_AT(path), .flags = FIELD_REQUIRED, .max = PATH_MAX_LEN},
    {.name = "methods", .kind = FIELD_TEXTS, .offset = ROUTE_AT(methods), .flags = FIELD_REQUIRED},
    {.name = "upstream", .kind = FIELD_TEXT, .offset = ROUTE_AT(upstream), .max = UPSTREAM_NAME_LEN_MAX},
    {.name = "aggregate", .kind = FIELD_TEXT, .offset = ROUTE_AT(aggregate), .max = AGGREGATE_NAME_LEN_MAX},
    {.name = "own", .kind = FIELD_TEXT, .offset = ROUTE_AT(own), .max = OWN_NAME_LEN_MAX},
    {.name = "who", .kind = FIELD_CHOICE, .offset = ROUTE_AT(who), .flags = FIELD_REQUIRED, .choices = WHO},
    {.name = "timeoutMs", .kind = FIELD_INT, .offset = ROUTE_AT(timeout_ms), .flags = FIELD_REQUIRED, .min = 1, .max = ROUTE_TIMEOUT_MAX_MS},
    {.name = "tryMs", .kind = FIELD_INT, .offset = ROUTE_AT(try_ms), .min = 1, .max = ROUTE_TIMEOUT_MAX_MS},
    {.name = "slowMs", .kind = FIELD_INT, .offset = ROUTE_AT(slow_ms), .min = 1, .max = ROUTE_TIMEOUT_MAX_MS},
    {.name = "limits", .kind = FIELD_TEXTS, .offset = ROUTE_AT(limits)},
    {.name = "cost", .kind = FIELD_INT, .offset = ROUTE_AT(cost), .min = 1, .max = LIMIT_COST_MAX},
    {.name = "idempotent", .kind = FIELD_BOOL, .offset = ROUTE_AT(idempotent)},
    {.name = "csv", .kind = FIELD_BOOL, .offset = ROUTE_AT(csv)},
    FIELD_END,
};
/* clang-format on */

struct reader {
    struct arena *arena;
    struct routes *ret;
    struct buf *complaints;
    const struct route_handlers *handlers;
    size_t route; /* the index of the one that is being read */
};

/* ---- upstreams ---- */

static bool is_name(const char *name)
{
    size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-");
    return len > 0 && len <= UPSTREAM_NAME_LEN_MAX && name[len] == '\0';
}

static void add_target(struct reader *r, struct upstream_conf *u, struct str target)
{
    struct fault fault;
    if (upstream_conf_add(u, arena_strndup(r->arena, target.data, target.len), &fault) != ERR_OK)
        buf_printf(r->complaints, "upstreams/%s: %s\n", u->name, fault.why);
}

/* "a:1, b:2" */
static void add_targets(struct reader *r, struct upstream_conf *u, struct str list)
{
    for (;;) {
        const char *comma = list.len == 0 ? NULL : memchr(list.data, ',', list.len);
        size_t len = comma == NULL ? list.len : (size_t)(comma - list.data);
        add_target(r, u, str_trim((struct str){list.data, len}));
        if (comma == NULL)
            return;
        list = (struct str){comma + 1, list.len - len - 1};
    }
}

static void read_targets(struct reader *r, struct upstream_conf *u, const struct json *v)
{
    if (json_type(v) == JSON_STRING)
        add_targets(r, u, json_text(v));
    else
        buf_printf(r->complaints, "upstreams/%s: an instance must be a text, \"host:port\"\n", u->name);
}

static void read_upstream(void *arg, const char *name, const struct json *v)
{
    struct reader *r = arg;
    struct upstreams_conf *us = &r->ret->services;
    if (!is_name(name)) {
        buf_printf(r->complaints, "upstreams/%s: a name has 1 to %d of a-z, 0-9 and -\n", name, UPSTREAM_NAME_LEN_MAX);
        return;
    }
    if (us->count == UPSTREAMS_MAX) {
        buf_printf(r->complaints, "upstreams/%s: there are more than %d\n", name, UPSTREAMS_MAX);
        return;
    }
    struct upstream_conf *u = &us->items[us->count++];
    u->name = arena_strdup(r->arena, name);
    if (json_type(v) == JSON_STRING)
        read_targets(r, u, v);
    else if (json_type(v) != JSON_ARRAY || json_count(v) == 0)
        buf_printf(r->complaints, "upstreams/%s: must be a list of at least one \"host:port\"\n", name);
    for (size_t i = 0; i < json_count(v) && i <= UPSTREAM_TARGETS_MAX; i++)
        read_targets(r, u, json_at(v, i));
}

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

/* ---- routes ---- */

static bool find_method(const char *name, enum http_method *ret)
{
    for (enum http_method m = HTTP_GET; m < HTTP_HEAD; m++) { /* HEAD follows GET by itself */
        if (strcmp(http_method_name(m), name) != 0)
            continue;
        *ret = m;
        return true;
    }
    return false;
}

static bool stands_already(const struct routes *rs, enum http_method method, const char *path)
{
    for (size_t i = 0; i < rs->count; i++)
        if (rs->http[i].method == method && strcmp(rs->http[i].path, path) == 0)
            return true;
    return false;
}

/* "/a/b.json/{id}" */
static bool is_path(const char *path)
{
    int params = 0;
    if (path[0] != '/')
        return false;
    for (const char *s = path; *s == '/';) {
        bool is_param = s[1] == '{';
        const char *begin = s + 1 + is_param;
        size_t len = strspn(begin, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
        if (len == 0 || (is_param && begin[len] != '}'))
            return false;
        params += is_param;
        s = begin + len + is_param;
        if (*s == '\0')
            return params <= HTTP_PATH_PARAMS_MAX;
    }
    return false;
}

/* Who answers a route. */
struct answerer {
    http_handler *handle;
    size_t upstream;
    const struct aggregate *aggregate;
    unsigned flags;
};

static struct forward forward_of(const struct route_text *t, enum http_method method, const struct answerer *who)
{
    int64_t by_default = method == HTTP_GET ? TRY_READ_MS : t->timeout_ms * 4 / 5;
    int64_t try_ms = t->try_ms > 0 ? t->try_ms : by_default < 1 ? 1 : by_default;
    return (struct forward){
        .upstream = who->upstream,
        .aggregate = who->aggregate,
        .timeout_ms = (int)t->timeout_ms,
        .try_ms = (int)(try_ms < t->timeout_ms ? try_ms : t->timeout_ms),
        .slow_ms = t->slow_ms > 0 ? (int)t->slow_ms : SLOW_MS,
    };
}

static void add_route(struct reader *r, const struct route_text *t, const char *method_name, const struct answerer *who,
                      const struct route_limits *limits)
{
    struct routes *rs = r->ret;
    enum http_method method;
    if (!find_method(method_name, &method)) {
        buf_printf(r->complaints, "routes/%zu/methods: \"%s\" is none of GET, POST, PUT, PATCH, DELETE\n", r->route,
                   method_name);
    } else if (stands_already(rs, method, t->path)) {
        buf_printf(r->complaints, "routes/%zu: \"%s %s\" stands there twice\n", r->route, method_name, t->path);
    } else if (rs->count == ROUTES_MAX) {
        buf_printf(r->complaints, "routes/%zu: there are more than %d\n", r->route, ROUTES_MAX);
    } else {
        rs->limits[rs->count] = *limits;
        rs->forward[rs->count] = forward_of(t, method, who);
        rs->http[rs->count++] = (struct http_route){
            .method = method,
            .path = t->path,
            .who = (enum http_who)t->who,
            .handle = who->handle,
            .flags = (t->idempotent ? ROUTE_IDEMPOTENT : 0U) | (t->csv ? ROUTE_CSV : 0U) | who->flags,
        };
    }
}

static void find_own(struct reader *r, const char *name, struct answerer *ret)
{
    const struct own_handler *own = r->handlers->own;
    while (own != NULL && own->name != NULL && strcmp(own->name, name) != 0)
        own++;
    if (own == NULL || own->name == NULL) {
        buf_printf(r->complaints, "routes/%zu/own: the gateway has no \"%s\"\n", r->route, name);
        return;
    }
    ret->handle = own->handle;
    ret->flags = own->flags;
}

static void find_answerer(struct reader *r, const struct route_text *t, struct answerer *ret)
{
    *ret = (struct answerer){.handle = r->handlers->forward};
    if ((t->upstream != NULL) + (t->aggregate != NULL) + (t->own != NULL) != 1) {
        buf_printf(r->complaints, "routes/%zu: must have one of \"upstream\", \"aggregate\" and \"own\"\n", r->route);
    } else if (t->own != NULL) {
        find_own(r, t->own, ret);
    } else if (t->aggregate != NULL) {
        ret->handle = r->handlers->aggregate;
        ret->aggregate = aggregate_find(&r->ret->aggregates, t->aggregate);
        if (ret->aggregate == NULL)
            buf_printf(r->complaints, "routes/%zu/aggregate: \"%s\" is none of \"aggregates\"\n", r->route,
                       t->aggregate);
    } else if (!find_upstream(&r->ret->services, t->upstream, &ret->upstream)) {
        buf_printf(r->complaints, "routes/%zu/upstream: \"%s\" is none of \"upstreams\"\n", r->route, t->upstream);
    }
}

static void read_route(struct reader *r, const struct json *v)
{
    struct route_text t = {.cost = 1}; /* a number that is not given stays as it was */
    char where[WHERE_MAX];
    struct route_limits limits;
    struct field_errors errors = {.count = 0};
    struct answerer who;
    if (fields_of_json(ROUTE, v, r->arena, &t, &errors) != ERR_OK) {
        for (size_t i = 0; i < errors.count; i++)
            buf_printf(r->complaints, "routes/%zu%s: %s\n", r->route, errors.items[i].pointer, errors.items[i].detail);
        return;
    }
    if (!is_path(t.path))
        buf_printf(r->complaints,
                   "routes/%zu/path: \"%s\" is no path like \"/orders/{id}\" with at most %d parameters\n", r->route,
                   t.path, HTTP_PATH_PARAMS_MAX);
    find_answerer(r, &t, &who);
    const struct route_limits_text limits_text = {&t.limits, t.cost, t.upstream, (enum http_who)t.who};
    snprintf(where, sizeof(where), "routes/%zu", r->route);
    route_limits_read(&r->ret->policies, &limits_text, where, &limits, r->complaints);
    for (size_t i = 0; i < t.methods.count; i++)
        add_route(r, &t, t.methods.items[i], &who, &limits);
}

/* ---- the file ---- */

/* Members that begin with a capital are settings, which conf.h reads. */
static void check_member(void *arg, const char *name, const struct json *v)
{
    struct reader *r = arg;
    (void)v;
    static const char *const MEMBERS[] = {"upstreams", "policies", "aggregates", "routes"};
    bool is_known = name[0] < 'a' || name[0] > 'z';
    for (size_t i = 0; i < sizeof(MEMBERS) / sizeof(MEMBERS[0]); i++)
        is_known = is_known || strcmp(name, MEMBERS[i]) == 0;
    if (!is_known)
        buf_printf(r->complaints, "%s: is no member of the gateway's config file\n", name);
}

static void read_root(struct reader *r, const struct json *root)
{
    const struct json *upstreams = json_get(root, "upstreams"), *routes = json_get(root, "routes");
    json_each(root, check_member, r);
    if (upstreams == NULL || json_type(upstreams) != JSON_OBJECT || json_count(upstreams) == 0)
        buf_str(r->complaints, "upstreams: must be an object of at least one\n");
    else
        json_each(upstreams, read_upstream, r);
    policies_read(r->arena, json_get(root, "policies"), &r->ret->policies, r->complaints);
    aggregates_read(r->arena, json_get(root, "aggregates"), &r->ret->services, &r->ret->aggregates, r->complaints);
    if (routes == NULL || json_type(routes) != JSON_ARRAY || json_count(routes) == 0)
        buf_str(r->complaints, "routes: must be a list of at least one\n");
    for (r->route = 0; routes != NULL && r->route < json_count(routes); r->route++)
        read_route(r, json_at(routes, r->route));
}

enum err routes_parse(struct arena *arena, struct str text, const struct route_handlers *handlers, struct routes *ret,
                      struct buf *ret_complaints)
{
    struct reader r = {.arena = arena, .ret = ret, .complaints = ret_complaints, .handlers = handlers};
    struct fault fault;
    struct json *root = NULL;
    size_t before = ret_complaints->len;
    memset(ret, 0, sizeof(*ret));
    ret->http = ARENA_ARRAY(arena, struct http_route, ROUTES_MAX + 1);
    ret->forward = ARENA_ARRAY(arena, struct forward, ROUTES_MAX);
    ret->limits = ARENA_ARRAY(arena, struct route_limits, ROUTES_MAX);
    if (json_parse(text, &root, &fault) != ERR_OK)
        buf_printf(ret_complaints, "the config file: %s\n", fault.why);
    else
        read_root(&r, root);
    json_free(root);
    return ret_complaints->len == before ? ERR_OK : ERR_CONF;
}

enum err routes_read(struct arena *arena, const char *path, const struct route_handlers *handlers, struct routes *ret,
                     struct buf *ret_complaints)
{
    struct fault fault;
    char *text = NULL;
    size_t len = 0;
    if (path == NULL) {
        buf_str(ret_complaints, "--config: must name the file with the routes\n");
        return ERR_CONF;
    }
    if (conf_read_file(arena, path, ROUTES_FILE_MAX, &text, &len, &fault) != ERR_OK) {
        buf_printf(ret_complaints, "--config: %s\n", fault.why);
        return ERR_CONF;
    }
    return routes_parse(arena, (struct str){text, len}, handlers, ret, ret_complaints);
}

enum err routes_adopt(struct routes *rs, struct upstreams *us, struct fault *fault)
{
    size_t index[UPSTREAMS_MAX];
    enum err e = upstreams_adopt(us, &rs->services, index, fault);
    if (e != ERR_OK)
        return e;
    rs->upstreams = us;
    for (size_t i = 0; i < rs->count; i++)
        rs->forward[i].upstream = index[rs->forward[i].upstream];
    aggregates_adopt(&rs->aggregates, index);
    return ERR_OK;
}
