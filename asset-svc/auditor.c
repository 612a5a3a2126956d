#include "auditor.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

#include "asset-svc/checks.h"
#include "svc/audit.h"

enum { OPEN_TIMEOUT_MS = 2000 };

struct auditor {
    struct log *log;
    struct db_conf db_conf;
    struct db *db;
    struct gauge *violations, *checked_at;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t stopped;
    bool stopping;
    time_us_t from; /* where the next look begins */
    mono_ns_t next_whole;
};

/* How many are broken. */
static int report(struct auditor *a, const struct audit_report *found)
{
    int broken = 0;
    for (size_t i = 0; i < found->count; i++) {
        const struct audit_finding *finding = &found->findings[i];
        if (!finding->asked) {
            log_warn(a->log, "the auditor: %s: %s", finding->check->name, finding->detail);
        } else if (!finding->ok) {
            log_error(a->log, "the books are wrong: %s: %s", finding->check->name, finding->detail);
            broken++;
        }
    }
    return broken;
}

/* -1: it could not be asked. */
static int check(struct auditor *a, const struct audit_scope *scope, struct arena *arena)
{
    struct audit_report *found = ARENA_NEW(arena, struct audit_report);
    struct fault fault;
    if (audit_run(a->db, ASSET_SVC_CHECKS, NULL, scope, arena, found, &fault) == ERR_OK)
        return report(a, found);
    log_warn(a->log, "the auditor could not look: %s", fault.why);
    return -1;
}

static bool connected(struct auditor *a)
{
    if (a->db != NULL && db_is_open(a->db))
        return true;
    db_close(a->db);
    a->db = NULL;
    struct fault fault;
    return db_open(&a->db_conf, OPEN_TIMEOUT_MS, &a->db, &fault) == ERR_OK; /* the lane says so when it is away */
}

static void look(struct auditor *a)
{
    if (!connected(a))
        return;
    struct arena arena;
    arena_init(&arena);
    time_us_t now = clock_now_us();
    bool whole = clock_mono_ns() >= a->next_whole;
    struct audit_scope scope = AUDIT_WHOLE;
    if (!whole) {
        scope.since = a->from;
        scope.changed_only = true;
    }
    int found = check(a, &scope, &arena);
    if (found >= 0)
        a->from = now - AUDITOR_OVERLAP_S * US_PER_S;
    if (found >= 0 && whole)
        a->next_whole = clock_mono_ns() + AUDITOR_WHOLE_EVERY_S * NS_PER_S;
    if (found >= 0) {
        gauge_set(a->violations, found);
        gauge_set(a->checked_at, (double)now / 1e6);
    }
    arena_done(&arena);
}

/* false: it is time to stop. */
static bool wait_for_next(struct auditor *a)
{
    mono_ns_t at = clock_mono_ns() + AUDITOR_EVERY_MS * NS_PER_MS;
    struct timespec until = {.tv_sec = at / NS_PER_S, .tv_nsec = at % NS_PER_S};
    pthread_mutex_lock(&a->mutex);
    int e = 0;
    while (!a->stopping && e != ETIMEDOUT)
        e = pthread_cond_timedwait(&a->stopped, &a->mutex, &until);
    bool go_on = !a->stopping;
    pthread_mutex_unlock(&a->mutex);
    return go_on;
}

static void *auditor_main(void *arg)
{
    struct auditor *a = arg;
    while (wait_for_next(a))
        look(a);
    db_close(a->db);
    return NULL;
}

enum err auditor_open(struct service *s, struct auditor **ret, struct fault *fault)
{
    struct auditor *a = mem_alloc(sizeof *a);
    a->log = s->log;
    a->db_conf = (struct db_conf){.url = s->settings->db_url,
                                  .password = s->settings->db_password,
                                  .plan = DB_PLAN_READS,
                                  .application_name = "asset-svc auditor"};
    a->violations = metrics_gauge(s->metrics, "books_violations", "Broken invariants at the last look; must be 0.", "");
    a->checked_at = metrics_gauge(s->metrics, "books_checked_seconds", "When the books were last looked at.", "");

    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&a->stopped, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&a->mutex, NULL);
    if (pthread_create(&a->thread, NULL, auditor_main, a) != 0) {
        mem_free(a);
        return fault_set(fault, ERR_BUG, "the auditor's thread could not be started");
    }
    *ret = a;
    return ERR_OK;
}

void auditor_close(struct auditor *a)
{
    if (a == NULL)
        return;
    pthread_mutex_lock(&a->mutex);
    a->stopping = true;
    pthread_cond_signal(&a->stopped);
    pthread_mutex_unlock(&a->mutex);
    pthread_join(a->thread, NULL);
    pthread_cond_destroy(&a->stopped);
    pthread_mutex_destroy(&a->mutex);
    mem_free(a);
}
