#include "gateway/admission.h"

#include <arpa/inet.h>
#include <string.h>

static const struct route_limits *limits_of(const struct call *call)
{
    const struct routes *routes = call->app;
    return &routes->limits[call->route - routes->http];
}

/* ---- keys ---- */

struct str admission_address_key(const char *peer, char ret[ADDRESS_KEY_MAX])
{
    struct in6_addr six;
    if (inet_pton(AF_INET, peer, ret) == 1)
        return (struct str){ret, sizeof(struct in_addr)};
    if (inet_pton(AF_INET6, peer, &six) == 1) {
        bool mapped = IN6_IS_ADDR_V4MAPPED(&six);
        memcpy(ret, &six.s6_addr[mapped ? 12 : 0], mapped ? 4 : 8);
        return (struct str){ret, mapped ? 4 : 8};
    }
    (void)str_copy(ret, ADDRESS_KEY_MAX, str_of(peer)); /* no address that we know: all the same, somebody's */
    return (struct str){ret, strlen(ret)};
}

/* As auth-svc compares names. Empty: the body names nobody, and auth-svc will say so. */
static struct str username_key(struct call *call)
{
    struct json *root = NULL;
    struct fault fault;
    struct str name = {NULL, 0};
    if (call->body.len == 0 || json_parse(call->body, &root, &fault) != ERR_OK)
        return name;
    struct str text = json_text(json_get(root, "username"));
    if (text.len > 0) {
        char *copy = arena_strndup(&call->arena, text.data, text.len);
        for (char *c = copy; *c != '\0'; c++)
            if (*c >= 'A' && *c <= 'Z')
                *c = (char)(*c - 'A' + 'a');
        name = str_of(copy);
    }
    json_free(root);
    return name;
}

static struct str key_of(const struct policy *p, struct call *call)
{
    switch (p->key) {
    case KEY_ADDRESS:
    case KEY_ANONYMOUS:
        return admission_address_key(call->client, arena_alloc(&call->arena, ADDRESS_KEY_MAX));
    case KEY_USER:
        return (struct str){(const char *)&call->claims.customer_id, sizeof(call->claims.customer_id)};
    case KEY_USERNAME:
        return username_key(call);
    case KEY_UPSTREAM:
        return str_of(limits_of(call)->upstream);
    }
    return (struct str){NULL, 0};
}

/* ---- which policies are asked at a stage ---- */

/* Where a token is asked for, the anonymous are those without a valid one: looked at before the token, and left out after it. */
static bool is_asked(const struct policy *p, const struct call *call, enum http_stage stage)
{
    bool is_strangers = p->key == KEY_ANONYMOUS && call->route->who != WHO_ANYONE;
    if (stage == HTTP_UNAUTHENTICATED)
        return policy_stage(p) == HTTP_ROUTED;
    return policy_stage(p) <= stage && !(is_strangers && stage > HTTP_UNAUTHENTICATED);
}

static size_t collect(struct call *call, enum http_stage stage, struct limit_ask asks[LIMIT_ASKS_MAX],
                      const struct policy *policies[LIMIT_ASKS_MAX])
{
    const struct route_limits *limits = limits_of(call);
    size_t n = 0;
    for (size_t i = 0; i < limits->count; i++) {
        const struct policy *p = limits->policies[i];
        if (!is_asked(p, call, stage))
            continue;
        struct str key = key_of(p, call);
        if (p->key == KEY_USERNAME && key.len == 0)
            continue;
        policies[n] = p;
        asks[n++] = (struct limit_ask){.policy = &p->limit, .key = key, .cost = limits->cost};
    }
    return n;
}

/* A refused token is the end of the request, whatever the route would have asked later. A policy of the anonymous is spent there
 * only, unless the route is for anyone. */
static bool is_spent_at(const struct call *call, enum http_stage stage)
{
    const struct route_limits *limits = limits_of(call);
    if (stage == HTTP_UNAUTHENTICATED)
        return true;
    bool all_anonymous = true;
    for (size_t i = 0; i < limits->count; i++)
        all_anonymous = all_anonymous && limits->policies[i]->key == KEY_ANONYMOUS;
    return stage == limits->last && !(all_anonymous && call->route->who != WHO_ANYONE);
}

/* ---- what is told ---- */

/* A later stage knows better. */
static void set_header(struct call *call, const char *name, const char *value)
{
    for (size_t i = 0; i < call->reply_header_count; i++) {
        if (call->reply_headers[i].name != name)
            continue;
        call->reply_headers[i].value = value;
        return;
    }
    call_reply_header(call, name, value);
}

static struct limit_fields tell(struct call *call, const struct limit_ask *asks, size_t count)
{
    static const char POLICY[] = "RateLimit-Policy", LIMIT[] = "RateLimit";
    struct limit_fields f = limit_fields_of(asks, count, &call->arena);
    set_header(call, POLICY, f.policy);
    set_header(call, LIMIT, f.limit);
    return f;
}

static void count_decisions(const struct policy *const *policies, const struct limit_ask *asks, size_t count, bool all)
{
    for (size_t i = 0; i < count; i++) {
        struct counter *c = all ? policies[i]->allowed : asks[i].allowed ? NULL : policies[i]->denied;
        if (c != NULL)
            counter_add(c, 1);
    }
}

static enum err refuse(struct call *call, const struct limit_ask *asks, size_t count, int64_t retry_after_s)
{
    const struct limit_policy *first = NULL;
    struct json_out o = call_problem(call);
    json_open(&o, "violated-policies", '[');
    for (size_t i = 0; i < count; i++) {
        if (asks[i].allowed)
            continue;
        json_put_text(&o, NULL, asks[i].policy->name);
        first = first == NULL ? asks[i].policy : first;
    }
    json_close(&o, ']');
    call->retry_after_s = (int)retry_after_s;
    buf_str(&call->log_members, ",\"limit\":\"denied\",\"policy\":\"");
    buf_str(&call->log_members, first->name);
    buf_str(&call->log_members, "\"");
    return fault_set(&call->fault, ERR_RATE_LIMITED, "%s allows %lld requests in %lld s: try again in %lld s",
                     first->name, (long long)first->limit, (long long)first->period_s, (long long)retry_after_s);
}

enum err admission_ask(struct call *call, enum http_stage stage)
{
    const struct routes *routes = call->app;
    const struct policy *policies[LIMIT_ASKS_MAX];
    struct limit_ask asks[LIMIT_ASKS_MAX];
    if (stage != HTTP_UNAUTHENTICATED && stage > limits_of(call)->last)
        return ERR_OK;
    size_t count = collect(call, stage, asks, policies);
    if (count == 0)
        return ERR_OK;
    bool spend = is_spent_at(call, stage), all = limiter_ask(routes->limiter, asks, count, spend, clock_mono_ns());
    struct limit_fields f = tell(call, asks, count);
    if (!all || spend)
        count_decisions(policies, asks, count, all);
    if (!all)
        return refuse(call, asks, count, f.retry_after_s);
    if (spend && stage != HTTP_UNAUTHENTICATED)
        buf_str(&call->log_members, ",\"limit\":\"allowed\"");
    return ERR_OK;
}
