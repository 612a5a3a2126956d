#include "gateway/policies.h"

#include <stdio.h>
#include <string.h>

enum { LABELS_MAX = 96, PERIOD_MAX_MS = 86400000, NUMBER_MAX = 1000000 };

static const char *const KEYS[] = {[KEY_ADDRESS] = "address",   [KEY_ANONYMOUS] = "anonymous", [KEY_USER] = "user",
                                   [KEY_USERNAME] = "username", [KEY_UPSTREAM] = "upstream",   NULL};

struct policy_text {
    int key;
    int64_t limit, period_ms, burst;
};
/* clang-format off */
#define POLICY_AT(member) offsetof(struct policy_text, member)
static const struct field POLICY[] = {
    {.name = "key", .kind = FIELD_CHOICE, .offset = POLICY_AT(key), .flags = FIELD_REQUIRED, .choices = KEYS},
    {.name = "limit", .kind = FIELD_INT, .offset = POLICY_AT(limit), .flags = FIELD_REQUIRED, .min = 1, .max = NUMBER_MAX},
    {.name = "periodMs", .kind = FIELD_INT, .offset = POLICY_AT(period_ms), .flags = FIELD_REQUIRED, .min = 1000, .max = PERIOD_MAX_MS},
    {.name = "burst", .kind = FIELD_INT, .offset = POLICY_AT(burst), .flags = FIELD_REQUIRED, .min = 1, .max = NUMBER_MAX},
    FIELD_END,
};
/* clang-format on */

struct reader {
    struct arena *arena;
    struct policies *ret;
    struct buf *complaints;
};

enum http_stage policy_stage(const struct policy *p)
{
    switch (p->key) {
    case KEY_ADDRESS:
    case KEY_ANONYMOUS:
    case KEY_UPSTREAM:
        break;
    case KEY_USER:
        return HTTP_ADMITTED;
    case KEY_USERNAME:
        return HTTP_WHOLE;
    }
    return HTTP_ROUTED;
}

static bool is_name(const char *name)
{
    size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-");
    return len > 0 && len <= LIMIT_NAME_MAX && name[len] == '\0';
}

/* A period is told to clients in whole seconds. */
static void add_policy(struct reader *r, const char *name, const struct policy_text *t)
{
    struct policies *ps = r->ret;
    struct policy *p = &ps->items[ps->count];
    p->key = (enum limit_key)t->key;
    if (t->period_ms % 1000 != 0)
        buf_printf(r->complaints, "policies/%s/periodMs: must be whole seconds\n", name);
    else if (!limit_policy_init(&p->limit, arena_strdup(r->arena, name), t->limit, t->period_ms / 1000, t->burst))
        buf_printf(r->complaints, "policies/%s: such a burst takes more than a year to earn\n", name);
    else
        ps->count++;
}

static void read_policy(void *arg, const char *name, const struct json *v)
{
    struct reader *r = arg;
    struct policy_text t;
    struct field_errors errors = {.count = 0};
    if (!is_name(name)) {
        buf_printf(r->complaints, "policies/%s: a name has 1 to %d of a-z, 0-9 and -\n", name, LIMIT_NAME_MAX);
    } else if (r->ret->count == POLICIES_MAX) {
        buf_printf(r->complaints, "policies/%s: there are more than %d\n", name, POLICIES_MAX);
    } else if (fields_of_json(POLICY, v, r->arena, &t, &errors) == ERR_OK) {
        add_policy(r, name, &t);
    }
    for (size_t i = 0; i < errors.count; i++)
        buf_printf(r->complaints, "policies/%s%s: %s\n", name, errors.items[i].pointer, errors.items[i].detail);
}

void policies_read(struct arena *arena, const struct json *table, struct policies *ret, struct buf *ret_complaints)
{
    struct reader r = {arena, ret, ret_complaints};
    ret->count = 0;
    if (table == NULL)
        return;
    if (json_type(table) != JSON_OBJECT)
        buf_str(ret_complaints, "policies: must be an object\n");
    else
        json_each(table, read_policy, &r);
}

void policies_measure(struct policies *ps, struct metrics *m)
{
    static const char NAME[] = "gateway_ratelimit_decisions_total", HELP[] = "Requests that a policy has judged";
    char labels[LABELS_MAX];
    for (size_t i = 0; i < ps->count; i++) {
        struct policy *p = &ps->items[i];
        snprintf(labels, sizeof(labels), "policy=\"%s\",decision=\"allowed\"", p->limit.name);
        p->allowed = metrics_counter(m, NAME, HELP, labels);
        snprintf(labels, sizeof(labels), "policy=\"%s\",decision=\"denied\"", p->limit.name);
        p->denied = metrics_counter(m, NAME, HELP, labels);
    }
}

const struct policy *policy_find(const struct policies *ps, const char *name)
{
    for (size_t i = 0; i < ps->count; i++)
        if (strcmp(ps->items[i].limit.name, name) == 0)
            return &ps->items[i];
    return NULL;
}

static const char *complaint_of(const struct policy *p, const struct route_limits_text *t)
{
    if (p == NULL)
        return "is none of \"policies\"";
    if (t->cost > p->limit.burst)
        return "has a burst below the route's cost: it would never be allowed";
    if (p->key == KEY_USER && t->who == WHO_ANYONE)
        return "goes by the user, and this route knows none";
    if (p->key == KEY_UPSTREAM && t->upstream == NULL)
        return "goes by the service, and this route has none";
    return NULL;
}

void route_limits_read(const struct policies *ps, const struct route_limits_text *t, const char *where,
                       struct route_limits *ret, struct buf *ret_complaints)
{
    *ret = (struct route_limits){.cost = t->cost, .upstream = t->upstream, .last = HTTP_ROUTED};
    if (t->names->count > LIMIT_ASKS_MAX)
        buf_printf(ret_complaints, "%s/limits: there are more than %d\n", where, LIMIT_ASKS_MAX);
    for (size_t i = 0; i < t->names->count && i < LIMIT_ASKS_MAX; i++) {
        const struct policy *p = policy_find(ps, t->names->items[i]);
        const char *complaint = complaint_of(p, t);
        if (complaint != NULL) {
            buf_printf(ret_complaints, "%s/limits: \"%s\" %s\n", where, t->names->items[i], complaint);
            continue;
        }
        ret->policies[ret->count++] = p;
        if (policy_stage(p) > ret->last)
            ret->last = policy_stage(p);
    }
}
