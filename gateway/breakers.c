#include "gateway/breakers.h"

#include <stdio.h>

#include "gateway/routes.h"

enum { EXTRA_MAX = 160 };

static void write_breaker(struct json_out *o, struct upstream *u)
{
    struct breaker_view v;
    breaker_look(&u->breaker, clock_mono_ns(), &v);
    json_open(o, NULL, '{');
    json_put_text(o, "name", u->name);
    json_put_text(o, "state", breaker_state_name(v.state));
    json_put_int(o, "inStateMs", v.in_state_ms);
    json_put_int(o, "retryAfterMs", v.retry_after_ms);
    json_put_int(o, "calls", v.window.calls);
    json_put_int(o, "failed", v.window.failed);
    json_put_int(o, "slow", v.window.slow);
    json_put_int(o, "notPermittedTotal", (int64_t)v.not_permitted_total);
    json_close(o, '}');
}

enum err breakers_list(struct call *call)
{
    const struct routes *routes = call->app;
    struct json_out o = json_out(&call->out);
    json_open(&o, NULL, '{');
    json_open(&o, "items", '[');
    for (size_t i = 0; i < atomic_load(&routes->upstreams->count); i++)
        write_breaker(&o, routes->upstreams->items[i]);
    json_close(&o, ']');
    json_close(&o, '}');
    call_reply(call, 200);
    return ERR_OK;
}

static struct upstream *named(const struct call *call)
{
    const struct routes *routes = call->app;
    for (size_t i = 0; i < atomic_load(&routes->upstreams->count); i++)
        if (str_eq(call->params[0], routes->upstreams->items[i]->name))
            return routes->upstreams->items[i];
    return NULL;
}

static enum err answer(struct call *call, struct upstream *u)
{
    struct json_out o = json_out(&call->out);
    write_breaker(&o, u);
    call_reply(call, 200);
    return ERR_OK;
}

enum err breakers_get(struct call *call)
{
    struct upstream *u = named(call);
    return u == NULL ? ERR_NOT_FOUND : answer(call, u);
}

static const enum breaker_state FORCED[] = {BREAKER_FORCED_OPEN, BREAKER_DISABLED, BREAKER_CLOSED};
static const char *const FORCED_NAMES[] = {"FORCED_OPEN", "DISABLED", "CLOSED", NULL};

struct force_body {
    int state;
};
static const struct field FORCE[] = {
    {.name = "state",
     .kind = FIELD_CHOICE,
     .offset = offsetof(struct force_body, state),
     .flags = FIELD_REQUIRED,
     .choices = FORCED_NAMES},
    FIELD_END,
};

enum err breakers_force(struct call *call)
{
    struct force_body body = {.state = -1};
    char extra[EXTRA_MAX];
    struct upstream *u = named(call);
    if (u == NULL)
        return ERR_NOT_FOUND;
    enum err e = call_body(call, FORCE, &body);
    if (e != ERR_OK)
        return e;
    breaker_force(&u->breaker, FORCED[body.state], clock_mono_ns());
    snprintf(extra, sizeof(extra), "\"customer_id\":%lld,\"request_id\":\"%s\"", (long long)call->claims.customer_id,
             call->request_id);
    if (u->of->settings.log != NULL)
        log_msg(u->of->settings.log, LOG_WARN, extra, "an admin sets the breaker of %s to %s", u->name,
                FORCED_NAMES[body.state]);
    return answer(call, u);
}
