/* The gateway: the one door to the services. Reads its settings and routes, opens, serves until SIGTERM, drains, ends. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gateway/admission.h"
#include "gateway/conf.h"
#include "gateway/own.h"
#include "gateway/proxy.h"
#include "gateway/reload.h"
#include "gateway/resolver.h"
#include "svc/process.h"
#include "svc/revocations.h"

/* From SIGTERM on: requests; what hangs then (a name that is being looked up); and for Kafka, of main's end. */
enum { DRAIN_MS = 8500, END_MS = 9500, KAFKA_END_MS = 500 };
enum {
    TOKENS_REMEMBERED = 4096,
    CLIENTS_MAX = 4096,
    CLIENT_REQUESTS_MAX = 1000,
    PER_ADDRESS_MAX = 256,
    INSTANCES_AT_ONCE = 16
};

struct gateway {
    struct arena arena;
    const char *config_file;
    struct gateway_conf conf;
    struct routes routes;
    struct upstreams *upstreams;
    struct resolver *resolver;
    struct limiter *limiter;
    struct reload reload;
    struct log *log;
    struct metrics *metrics;
    struct spans *spans; /* NULL: off */
    struct token_verifier *verifier;
    struct revocations *revocations;
    struct http_server *server;
    struct process *process;
    bool keys_fail; /* the last reading of JWKS_FILE did */
};

static bool ask_keys(void *arg, char *ret_state, size_t cap)
{
    const struct gateway *g = arg;
    size_t count = token_key_count(g->verifier);
    snprintf(ret_state, cap, "%zu keys", count);
    return count > 0;
}

static bool ask_revocations(void *arg, char *ret_state, size_t cap)
{
    const struct gateway *g = arg;
    return revocations_state(g->revocations, ret_state, cap);
}

static bool ask_services(void *arg, char *ret_state, size_t cap)
{
    const struct gateway *g = arg;
    struct instance_view views[UPSTREAM_INSTANCES_MAX];
    size_t len = 0;
    for (size_t i = 0; i < atomic_load(&g->upstreams->count) && len < cap; i++) {
        struct upstream *u = g->upstreams->items[i];
        size_t count = upstream_look(u, views), up = 0;
        for (size_t k = 0; k < count; k++)
            up += views[k].state == BREAKER_CLOSED;
        len += (size_t)snprintf(ret_state + len, cap - len, "%s%s %zu/%zu %s", i == 0 ? "" : ", ", u->name, up, count,
                                breaker_state_name(breaker_peek(&u->breaker)));
    }
    return true;
}

/* Every second, and at SIGHUP; a file that stays wrong is told once. */
static void refresh_keys(void *arg)
{
    struct gateway *g = arg;
    struct fault fault;
    bool fails = token_keys_refresh(g->verifier, &fault) != ERR_OK;
    if (fails && !g->keys_fail)
        log_warn(g->log, "the keys stay as they are: %s", fault.why);
    g->keys_fail = fails;
}

static void on_hangup(void *arg)
{
    struct gateway *g = arg;
    struct fault fault;
    refresh_keys(g);
    if (g->server == NULL)
        return;
    reload_routes(&g->reload);
    if (g->conf.tls_cert_file == NULL)
        return;
    if (http_server_reload_tls(g->server, &fault) == ERR_OK)
        log_info(g->log, "the TLS certificate was read again");
    else
        log_error(g->log, "the TLS certificate stays as it is: %s", fault.why);
}

static const struct route_handlers HANDLERS = {
    .forward = proxy_request,
    .aggregate = aggregate_request,
    .own = OWN_HANDLERS,
};

/* Every wrong setting and route at once. */
static enum err read_settings(struct gateway *g, int argc, char **argv)
{
    struct buf complaints;
    buf_init(&complaints);
    enum err of_settings = gateway_conf_read(argc, argv, &g->arena, &g->conf, &complaints);
    g->config_file = conf_file_of(argc, argv);
    enum err of_routes = routes_read(&g->arena, g->config_file, &HANDLERS, &g->routes, &complaints);
    if (complaints.len > 0)
        fprintf(stderr, "gateway: wrong settings:\n%s", complaints.data);
    buf_done(&complaints);
    return of_settings != ERR_OK ? of_settings : of_routes;
}

static void every_second(void *arg)
{
    struct gateway *g = arg;
    refresh_keys(g);
    upstreams_tick(g->upstreams, clock_mono_ns());
}

static enum err open_upstreams(struct gateway *g, struct fault *fault)
{
    const struct upstreams_settings settings = {
        .in_flight_max = (int)g->conf.in_flight_max,
        .log = g->log,
        .metrics = g->metrics,
        .spans = g->spans,
    };
    g->upstreams = upstreams_new(&settings);
    enum err e = routes_adopt(&g->routes, g->upstreams, fault);
    return e == ERR_OK ? resolver_open(g->upstreams, (int)g->conf.resolve_s, &g->resolver, fault) : e;
}

static enum err open_server(struct gateway *g, struct fault *fault)
{
    if (!revocations_await(g->revocations, REVOCATIONS_AWAIT_MS))
        log_warn(g->log, "serving though sessions that ended may not be known yet: see revocations in /readyz?verbose");
    const struct http_server_conf server = {
        .listen = g->conf.listen,
        .tls_cert_file = g->conf.tls_cert_file,
        .tls_key_file = g->conf.tls_key_file,
        .threads = (int)g->conf.threads,
        .routes = g->routes.http,
        .verifier = g->verifier,
        .log = g->log,
        .metrics = g->metrics,
        .spans = g->spans,
        .app = &g->routes,
        .access_log = g->conf.log_level <= LOG_INFO,
        .trusted_proxies = &g->conf.trusted_proxies,
        .connections_max = CLIENTS_MAX,
        .requests_max = CLIENT_REQUESTS_MAX,
        .admit = g->conf.limits ? admission_ask : NULL,
        .per_ip_max = g->conf.limits ? PER_ADDRESS_MAX : 0,
        .thread_start = proxy_thread_start,
        .thread_stop = proxy_thread_stop,
    };
    g->limiter = g->routes.limiter = limiter_new();
    if (g->conf.limits)
        policies_measure(&g->routes.policies, g->metrics);
    enum err e = http_server_open(&server, &g->server, fault);
    if (e != ERR_OK)
        return e;
    g->reload = (struct reload){
        .path = g->config_file,
        .handlers = &HANDLERS,
        .upstreams = g->upstreams,
        .resolver = g->resolver,
        .limiter = g->limiter,
        .server = g->server,
        .log = g->log,
        .metrics = g->metrics,
        .limits = g->conf.limits,
        .current = &g->routes,
    };
    reload_begin(&g->reload);
    return ERR_OK;
}

static enum err open_spans(struct gateway *g, struct fault *fault)
{
    const struct spans_conf spans = {.endpoint = g->conf.otlp_endpoint, .service = "gateway", .metrics = g->metrics};
    return g->conf.otlp_endpoint == NULL ? ERR_OK : spans_open(&spans, &g->spans, fault);
}

static enum err open_revocations(struct gateway *g, struct fault *fault)
{
    const struct revocations_conf revocations = {
        .kafka = {.brokers = g->conf.kafka_brokers, .client_id = "gateway"},
        .topic = REVOCATIONS_TOPIC,
        .verifier = g->verifier,
        .log = g->log,
        .metrics = g->metrics,
    };
    return revocations_open(&revocations, &g->revocations, fault);
}

static void serve(struct gateway *g)
{
    log_info(g->log, "listening on %s%s, %zu routes%s", g->conf.listen,
             g->conf.tls_cert_file == NULL ? "" : " with TLS", g->routes.count,
             g->conf.limits ? "" : "; LIMITS=off: no quotas and no cap an address, for load tests only");
    process_started(g->process);
    process_wait(g->process, every_second, g);
    process_end_within(g->process, END_MS);
    http_server_lame(g->server);
    if (!process_pause(g->process, (int)g->conf.drain_min_ms))
        log_info(g->log, "asked twice to end: the door is shut at once");
    int cut_off = http_server_drain(g->server, DRAIN_MS - (int)g->conf.drain_min_ms);
    log_info(g->log, "drained, %d requests cut off", cut_off);
}

static enum err run(struct gateway *g, struct fault *fault)
{
    const struct process_check checks[] = {
        {.name = "keys", .needed = true, .ask = ask_keys, .arg = g},
        {.name = "revocations", .needed = false, .ask = ask_revocations, .arg = g},
        {.name = "services", .needed = false, .ask = ask_services, .arg = g},
        {.name = NULL},
    };
    const struct process_conf process = {
        .name = "gateway",
        .operator_listen = g->conf.operator_listen,
        .checks = checks,
        .log = g->log,
        .metrics = g->metrics,
        .on_hangup = on_hangup,
        .arg = g,
    };
    enum err e = process_reserve_files(CLIENTS_MAX + INSTANCES_AT_ONCE * (int)g->conf.in_flight_max, fault);
    if (e == ERR_OK)
        e = token_verifier_open(g->conf.jwks_file, TOKENS_REMEMBERED, &g->verifier, fault);
    if (e == ERR_OK)
        e = open_spans(g, fault);
    if (e == ERR_OK)
        e = open_revocations(g, fault);
    if (e == ERR_OK)
        e = process_open(&process, &g->process, fault);
    if (e == ERR_OK)
        e = open_upstreams(g, fault);
    if (e == ERR_OK)
        e = open_server(g, fault);
    if (e == ERR_OK)
        serve(g);
    http_server_close(g->server);
    limiter_free(g->limiter);
    process_close(g->process);
    revocations_close(g->revocations);
    resolver_close(g->resolver);
    upstreams_free(g->upstreams);
    token_verifier_close(g->verifier);
    spans_close(g->spans);
    return e;
}

/* --routes: what the config file makes of them; no other setting is looked at. */
static enum err print_routes(struct gateway *g, int argc, char **argv)
{
    struct buf complaints;
    buf_init(&complaints);
    enum err e = routes_read(&g->arena, conf_file_of(argc, argv), &HANDLERS, &g->routes, &complaints);
    if (e == ERR_OK)
        http_routes_print(g->routes.http);
    else
        fprintf(stderr, "gateway: wrong settings:\n%s", complaints.data);
    buf_done(&complaints);
    return e;
}

int main(int argc, char **argv)
{
    struct gateway g = {0};
    struct fault fault = {.err = ERR_OK};
    arena_init(&g.arena);
    if (conf_has_argument(argc, argv, "--routes"))
        return print_routes(&g, argc, argv) == ERR_OK ? EXIT_SUCCESS : EXIT_FAILURE;
    process_signals_block();
    enum err e = read_settings(&g, argc, argv);
    if (e == ERR_OK) {
        g.log = log_open("gateway", g.conf.log_level, STDOUT_FILENO);
        g.metrics = metrics_new();
        e = run(&g, &fault);
        if (e != ERR_OK)
            log_error(g.log, "%s", fault.why);
        metrics_free(g.metrics);
        log_close(g.log);
    }
    arena_done(&g.arena);
    int status = e == ERR_OK ? EXIT_SUCCESS : EXIT_FAILURE;
    if (!kafka_await_destroyed(KAFKA_END_MS))
        _exit(status); /* librdkafka still takes its handle down: exit's handlers would run under its feet */
    return status;
}
