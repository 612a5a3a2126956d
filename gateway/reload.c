#include "gateway/reload.h"

#include <string.h>

#include "base/hash.h"
#include "io/conf.h"

/* A double holds so many bits exactly. */
#define HASH_MASK ((UINT64_C(1) << 48) - 1)

/* One file's routes. */
struct generation {
    struct arena arena;
    struct routes routes;
};

#define GENERATION_OF(routes_) ((struct generation *)(void *)((char *)(routes_)-offsetof(struct generation, routes)))

static void release(void *app)
{
    struct generation *g = GENERATION_OF(app);
    arena_done(&g->arena);
    mem_free(g);
}

static void count_reload(struct reload *r, const char *result)
{
    counter_add(
        metrics_counter(r->metrics, "gateway_config_reloads_total", "Times the config file was read again", result), 1);
}

static void show_hash(struct reload *r, struct str text)
{
    struct gauge *g = metrics_gauge(r->metrics, "gateway_config_hash", "Of the config file that is served", "");
    gauge_set(g, (double)(hash_fnv1a(text.data, text.len) & HASH_MASK));
}

void reload_begin(struct reload *r)
{
    struct arena arena;
    struct fault fault;
    char *text;
    size_t len;
    static const char *const RESULTS[] = {"result=\"served\"", "result=\"refused\""};
    for (size_t i = 0; i < sizeof(RESULTS) / sizeof(RESULTS[0]); i++)
        (void)metrics_counter(r->metrics, "gateway_config_reloads_total", "Times the config file was read again",
                              RESULTS[i]);
    arena_init(&arena);
    if (conf_read_file(&arena, r->path, ROUTES_FILE_MAX, &text, &len, &fault) == ERR_OK)
        show_hash(r, (struct str){text, len});
    arena_done(&arena);
}

/* Requests between this and the swap are judged by the old numbers once more; that is all. */
static void rescale(struct reload *r, const struct policies *to)
{
    mono_ns_t now = clock_mono_ns();
    for (size_t i = 0; i < to->count; i++) {
        const struct policy *before = policy_find(&r->current->policies, to->items[i].limit.name);
        if (before != NULL && !limit_policy_eq(&before->limit, &to->items[i].limit))
            limiter_rescale(r->limiter, &before->limit, &to->items[i].limit, now);
    }
}

/* The first thing that can't be undone is the swap itself, and it fails only where routes_parse would have complained. */
static enum err serve(struct reload *r, struct generation *g, struct fault *fault)
{
    enum err e = routes_adopt(&g->routes, r->upstreams, fault);
    if (e != ERR_OK)
        return e;
    g->routes.limiter = r->limiter;
    if (r->limits)
        policies_measure(&g->routes.policies, r->metrics);
    rescale(r, &g->routes.policies);
    e = http_server_swap(r->server, g->routes.http, &g->routes, release, fault);
    if (e == ERR_OK)
        r->current = &g->routes;
    return e;
}

static enum err read_again(struct reload *r, struct generation *g, struct buf *complaints, size_t *ret_count)
{
    struct fault fault = {.err = ERR_OK};
    char *text = NULL;
    size_t len = 0;
    enum err e = conf_read_file(&g->arena, r->path, ROUTES_FILE_MAX, &text, &len, &fault);
    if (e == ERR_OK)
        e = routes_parse(&g->arena, (struct str){text, len}, r->handlers, &g->routes, complaints);
    if (e == ERR_OK) {
        *ret_count = g->routes.count;
        struct str file = {text, len};
        e = serve(r, g, &fault);
        if (e == ERR_OK)
            show_hash(r, file);
    }
    if (e != ERR_OK && complaints->len == 0)
        buf_str(complaints, fault.why);
    return e;
}

void reload_routes(struct reload *r)
{
    struct generation *g = mem_alloc(sizeof(*g));
    struct buf complaints;
    size_t count = 0;
    buf_init(&complaints);
    arena_init(&g->arena);
    if (read_again(r, g, &complaints, &count) == ERR_OK) {
        resolver_wake(r->resolver);
        log_info(r->log, "the config file was read again: %zu routes", count);
        count_reload(r, "result=\"served\"");
    } else {
        log_error(r->log, "the config file stays as it was: %s", buf_cstr(&complaints));
        count_reload(r, "result=\"refused\"");
        release(&g->routes);
    }
    buf_done(&complaints);
}
