#include "auditor.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

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
    time_us_t from; /* where the next look begins; 0: at the first line */
    mono_ns_t next_whole;
};

/* Accounts with a journal line since $1: what is reserved, what the last line says, and the line before it. */
static const struct db_stmt CHECK_RECENT = {
    "auditor_recent",
    "WITH touched AS (SELECT DISTINCT owner, asset FROM journal WHERE at >= $1) "
    "SELECT 'usable is not within size' AS what, a.owner, a.asset FROM touched t JOIN account a USING (owner, asset) "
    "WHERE a.owner > 0 AND NOT (0 <= a.usable AND a.usable <= a.size) "
    "UNION ALL SELECT 'reserved is not the sum of open reservations', a.owner, a.asset "
    "FROM touched t JOIN account a USING (owner, asset) WHERE a.owner > 0 AND a.size - a.usable <> "
    "(SELECT coalesce(sum(r.reserved), 0) FROM reservation r "
    "WHERE r.customer_id = a.owner AND r.asset = a.asset AND r.state = 'OPEN') "
    "UNION ALL SELECT 'the balance is not the last line of its journal', a.owner, a.asset "
    "FROM touched t JOIN account a USING (owner, asset) "
    "LEFT JOIN journal j ON j.owner = a.owner AND j.asset = a.asset AND j.version = a.version "
    "WHERE (j.size, j.usable) IS DISTINCT FROM (a.size, a.usable) "
    "UNION ALL SELECT 'an entry does not sum to zero', min(owner), asset FROM journal WHERE at >= $1 "
    "GROUP BY entry_id, asset HAVING sum(amount) <> 0 LIMIT 20",
};
static const struct db_stmt CHECK_WHOLE = {
    "auditor_whole",
    "SELECT 'the accounts do not sum to zero' AS what, 0::bigint, asset FROM account GROUP BY asset HAVING sum(size) "
    "<> 0 "
    "UNION ALL SELECT 'the balance is not the sum of its journal', a.owner, a.asset FROM account a "
    "LEFT JOIN (SELECT owner, asset, sum(amount) AS amount, sum(usable_amount) AS usable_amount, count(*) AS lines "
    "FROM journal GROUP BY owner, asset) j USING (owner, asset) "
    "WHERE (coalesce(j.amount, 0), coalesce(j.usable_amount, 0), coalesce(j.lines, 0)) "
    "IS DISTINCT FROM (a.size, a.usable, a.version) LIMIT 20",
};

static int report(struct auditor *a, const struct db_rows *rows)
{
    for (int r = 0; r < db_count(rows); r++)
        log_error(a->log, "the books are wrong: %s: owner %lld, %s", db_text(rows, r, 0), (long long)db_i64(rows, r, 1),
                  db_text(rows, r, 2));
    return db_count(rows);
}

/* Every statement sees one snapshot. -1: it could not be asked. */
static int check(struct auditor *a, const struct db_stmt *stmt, const struct db_args *args)
{
    CLEANUP_ROWS struct db_rows *rows = NULL;
    struct fault fault;
    if (db_query(a->db, stmt, args, &rows, &fault) == ERR_OK)
        return report(a, rows);
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
    struct db_args since = db_args(&arena);
    db_arg_time(&since, a->from);
    int found = check(a, &CHECK_RECENT, &since);
    if (found >= 0)
        a->from = now - AUDITOR_OVERLAP_S * US_PER_S;

    if (found >= 0 && clock_mono_ns() >= a->next_whole) {
        int whole = check(a, &CHECK_WHOLE, &(struct db_args){.count = 0});
        found = whole < 0 ? whole : found + whole;
        a->next_whole = clock_mono_ns() + AUDITOR_WHOLE_EVERY_S * NS_PER_S;
    }
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
