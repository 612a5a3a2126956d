#include "svc/process.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { TICK_MS = 1000, STATE_TEXT_MAX = 160, OPERATOR_CONNECTIONS_MAX = 64, FILES_OF_OTHERS = 512 };

enum stage { STAGE_STARTING, STAGE_RUNNING, STAGE_STOPPING };

struct process {
    struct process_conf conf;
    struct http_server *server;
    atomic_int stage;
    sigset_t signals;
};

static void signals_of(sigset_t *ret)
{
    sigemptyset(ret);
    sigaddset(ret, SIGTERM);
    sigaddset(ret, SIGINT);
    sigaddset(ret, SIGHUP);
}

void process_signals_block(void)
{
    sigset_t set;
    signals_of(&set);
    sigaddset(&set, SIGPIPE); /* a peer that went away is an error of the write, not our end */
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

/* Accepting without a descriptor left would spin: better not to start. */
enum err process_reserve_files(int count, struct fault *fault)
{
    struct rlimit limit;
    rlim_t needed = (rlim_t)count + FILES_OF_OTHERS;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur >= needed)
        return ERR_OK;
    limit.rlim_cur = needed;
    if (limit.rlim_max < needed || setrlimit(RLIMIT_NOFILE, &limit) != 0)
        return fault_set(fault, ERR_CONF,
                         "%llu files must be open at once, and the limit is %llu: raise it (ulimit -Hn)",
                         (unsigned long long)needed, (unsigned long long)limit.rlim_max);
    return ERR_OK;
}

/* ---- the operator port ---- */

static enum err reply_text(struct call *call, int status)
{
    call->content_type = "text/plain; charset=utf-8";
    call_reply(call, status);
    return ERR_OK;
}

static enum err on_livez(struct call *call)
{
    buf_str(&call->out, "ok\n");
    return reply_text(call, 200);
}

/* Asks every check, so that ?verbose shows them all. */
static bool ask_checks(const struct process *p, struct buf *lines)
{
    bool ready = true;
    for (const struct process_check *c = p->conf.checks; c->name != NULL; c++) {
        char state[STATE_TEXT_MAX] = "";
        bool ok = c->ask(c->arg, state, sizeof state);
        ready = ready && (ok || !c->needed);
        buf_printf(lines, "%s %s%s%s\n", c->name, ok ? "ok" : "not", state[0] != '\0' ? " " : "", state);
    }
    return ready;
}

static bool is_ready(struct process *p, struct buf *lines)
{
    switch (atomic_load(&p->stage)) {
    case STAGE_STARTING:
        buf_str(lines, "process not starting\n");
        return false;
    case STAGE_STOPPING:
        buf_str(lines, "process not stopping\n");
        return false;
    default:
        return ask_checks(p, lines);
    }
}

static enum err on_readyz(struct call *call)
{
    bool verbose = str_eq(call->query, "verbose");
    if (call->query.len > 0 && !verbose)
        return field_error_add(&call->errors, "?", "there is only ?verbose");

    struct buf lines;
    buf_init(&lines);
    bool ready = is_ready(call->app, &lines);
    if (verbose)
        buf_append(&call->out, lines.data, lines.len);
    buf_str(&call->out, ready ? "ready\n" : "not ready\n");
    buf_done(&lines);
    return reply_text(call, ready ? 200 : 503);
}

/* Before the start is over, parts are still making their series. */
static enum err on_metrics(struct call *call)
{
    struct process *p = call->app;
    if (atomic_load(&p->stage) == STAGE_STARTING)
        return fault_set(&call->fault, ERR_BUSY, "starting");
    metrics_render(p->conf.metrics, &call->out);
    call->content_type = "text/plain; version=0.0.4; charset=utf-8";
    call_reply(call, 200);
    return ERR_OK;
}

static const struct http_route ROUTES[] = {
    {HTTP_GET, "/livez", WHO_ANYONE, on_livez, ROUTE_NO_BODY},
    {HTTP_GET, "/readyz", WHO_ANYONE, on_readyz, ROUTE_NO_BODY},
    {HTTP_GET, "/metrics", WHO_ANYONE, on_metrics, ROUTE_NO_BODY},
    {HTTP_GET, NULL, WHO_ANYONE, NULL, 0},
};

enum err process_open(const struct process_conf *conf, struct process **ret, struct fault *fault)
{
    struct process *p = mem_alloc(sizeof *p);
    p->conf = *conf;
    signals_of(&p->signals);
    const struct http_server_conf server = {
        .listen = conf->operator_listen,
        .threads = 1,
        .routes = ROUTES,
        .log = conf->log,
        .app = p,
        .connections_max = OPERATOR_CONNECTIONS_MAX,
    };
    enum err e = http_server_open(&server, &p->server, fault);
    if (e != ERR_OK) {
        mem_free(p);
        return e;
    }
    *ret = p;
    return ERR_OK;
}

void process_close(struct process *p)
{
    if (p == NULL)
        return;
    http_server_close(p->server);
    mem_free(p);
}

/* ---- running ---- */

/* Until `t`; false: SIGTERM or SIGINT came. */
static bool wait_until(struct process *p, mono_ns_t t)
{
    for (mono_ns_t left; (left = t - clock_mono_ns()) > 0;) {
        struct timespec timeout = {.tv_sec = left / NS_PER_S, .tv_nsec = left % NS_PER_S};
        int sig = sigtimedwait(&p->signals, NULL, &timeout);
        if (sig == SIGTERM || sig == SIGINT)
            return false;
        if (sig == SIGHUP && p->conf.on_hangup != NULL)
            p->conf.on_hangup(p->conf.arg);
    }
    return true;
}

bool process_pause(struct process *p, int ms)
{
    return wait_until(p, clock_mono_ns() + ms * NS_PER_MS);
}

void process_started(struct process *p)
{
    atomic_store(&p->stage, STAGE_RUNNING);
}

void process_wait(struct process *p, void (*tick)(void *arg), void *arg)
{
    mono_ns_t next = clock_mono_ns() + TICK_MS * NS_PER_MS;
    while (wait_until(p, next)) {
        if (tick != NULL)
            tick(arg);
        next = clock_mono_ns() + TICK_MS * NS_PER_MS;
    }
    atomic_store(&p->stage, STAGE_STOPPING);
}

/* ---- the end that can't be held up ---- */

struct last_end {
    struct log *log;
    mono_ns_t at;
};

static void *end_main(void *arg)
{
    const struct last_end *end = arg;
    struct timespec at = {.tv_sec = end->at / NS_PER_S, .tv_nsec = end->at % NS_PER_S};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
        ;
    log_warn(end->log, "stopping took too long: ended as it is");
    _exit(0);
}

void process_end_within(struct process *p, int timeout_ms)
{
    pthread_t thread;
    struct last_end *end = mem_alloc(sizeof *end); /* the thread's, for the rest of the process's life */
    *end = (struct last_end){.log = p->conf.log, .at = clock_mono_ns() + timeout_ms * NS_PER_MS};
    if (pthread_create(&thread, NULL, end_main, end) == 0)
        pthread_detach(thread);
    else
        mem_free(end);
}
