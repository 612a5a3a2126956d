#include "gateway/breakers.h"

#include <stdio.h>

#include "gateway/delivery.h"
#include "gateway/routes.h"

enum { EXTRA_MAX = 160 };
enum { RECORDED = 204 };
#define TRAIL_SERVICE "auth"
#define TRAIL_PATH "/api/v1/admin/audit-log"

#define OWNER_OF(p, type, member) ((type *)(void *)((char *)(p)-offsetof(type, member)))

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

/* ---- a forced state, and the trail ---- */

struct forcing {
    struct delivery delivery;
    struct call *call;
    struct upstream *service;
    struct str record;
    struct buf reply; /* auth-svc's; nobody reads it */
};

static void say(const struct forcing *f, const char *what)
{
    char extra[EXTRA_MAX];
    const struct call *call = f->call;
    snprintf(extra, sizeof(extra), "\"customer_id\":%lld,\"request_id\":\"%s\"", (long long)call->claims.customer_id,
             call->request_id);
    if (f->service->of->settings.log != NULL)
        log_msg(f->service->of->settings.log, LOG_WARN, extra, "%s", what);
}

static void say_untold(struct forcing *f, const char *why)
{
    say(f, arena_printf(&f->call->arena, "the audit trail doesn't have that the breaker of %s was set: %s",
                        f->service->name, why));
}

static void on_head(struct delivery *d, const struct response *r)
{
    (void)d;
    (void)r;
}

static void on_told(struct delivery *d)
{
    struct forcing *f = OWNER_OF(d, struct forcing, delivery);
    if (d->err != ERR_OK)
        say_untold(f, d->why);
    else if (d->status != RECORDED)
        say_untold(f, arena_printf(&f->call->arena, "auth-svc answers %d", d->status));
    buf_done(&f->reply);
    call_finish(f->call, answer(f->call, f->service));
}

/* False: there is nobody to tell, and the call has not been deferred. */
static bool tell(struct forcing *f, const char *state)
{
    struct call *call = f->call;
    const struct routes *routes = call->app;
    size_t auth;
    if (!upstreams_find(routes->upstreams, TRAIL_SERVICE, &auth)) {
        say_untold(f, "there is no service \"" TRAIL_SERVICE "\"");
        return false;
    }
    const struct request_line line = {.method = "POST", .path = TRAIL_PATH, .body = &f->record};
    mono_ns_t ours = clock_mono_ns() + TELL_MAX_MS * NS_PER_MS;
    /* Names of services and states need no escapes. */
    f->record = str_of(
        arena_printf(&call->arena, "{\"type\":\"breaker.forced\",\"detail\":\"%s: %s\"}", f->service->name, state));
    buf_init(&f->reply);
    f->delivery = (struct delivery){
        .pools = call_local(call),
        .upstream = auth,
        .head = request_head_begin(call, &line, routes->upstreams->items[auth]),
        .body = f->record,
        .deadline = ours < call->deadline ? ours : call->deadline,
        .deadline_is_ours = ours <= call->deadline,
        .try_ms = TELL_MAX_MS,
        .out = &f->reply,
        .on_head = on_head,
        .done = on_told,
    };
    call->state = f;
    call_defer(call);
    delivery_start(&f->delivery);
    return true;
}

enum err breakers_force(struct call *call)
{
    struct force_body body = {.state = -1};
    struct upstream *u = named(call);
    if (u == NULL)
        return ERR_NOT_FOUND;
    enum err e = call_body(call, FORCE, &body);
    if (e != ERR_OK)
        return e;
    struct forcing *f = ARENA_NEW(&call->arena, struct forcing);
    f->call = call;
    f->service = u;
    const char *state = FORCED_NAMES[body.state];
    say(f, arena_printf(&call->arena, "an admin sets the breaker of %s to %s", u->name, state));

    /* auth-svc's own breaker: it is told before nothing gets through to it any more, or after something does again. */
    bool shuts = FORCED[body.state] == BREAKER_FORCED_OPEN;
    if (!shuts)
        breaker_force(&u->breaker, FORCED[body.state], clock_mono_ns());
    bool is_deferred = tell(f, state);
    if (shuts)
        breaker_force(&u->breaker, FORCED[body.state], clock_mono_ns());
    return is_deferred ? ERR_OK : answer(call, u);
}
