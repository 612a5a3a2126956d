#include "io/migrate.h"

#include <assert.h>
#include <stdio.h>

static const struct db_stmt LOCK = {"migrate_lock",
                                    "SELECT pg_advisory_lock(hashtextextended('schema_migration ' || $1, 0))"};
static const struct db_stmt UNLOCK = {"migrate_unlock",
                                      "SELECT pg_advisory_unlock(hashtextextended('schema_migration ' || $1, 0))"};
static const struct db_stmt ENTER = {"migrate_enter", "SELECT set_config('search_path', quote_ident($1), false)"
                                                      " WHERE to_regnamespace(quote_ident($1)) IS NOT NULL"};
static const struct db_stmt APPLIED = {"migrate_applied",
                                       "SELECT version, name FROM schema_migration WHERE series = $1 ORDER BY version"};
static const struct db_stmt RECORD = {"migrate_record",
                                      "INSERT INTO schema_migration (series, version, name) VALUES ($1, $2, $3)"};
static const char TABLE[] = "CREATE TABLE IF NOT EXISTS schema_migration ("
                            " series text NOT NULL, version integer NOT NULL, name text NOT NULL,"
                            " applied_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (series, version))";

struct job {
    struct db *db;
    const char *schema;
    struct arena arena;
    struct fault *fault;
};

static enum err run_named(struct job *job, const struct db_stmt *stmt, const char *name, struct db_rows **ret_rows)
{
    struct db_args args = db_args(&job->arena);
    db_arg_text(&args, name);
    return db_query(job->db, stmt, &args, ret_rows, job->fault);
}

static enum err enter_schema(struct job *job)
{
    CLEANUP_ROWS struct db_rows *rows = NULL;
    enum err e = run_named(job, &ENTER, job->schema, &rows);
    if (e != ERR_OK)
        return e;
    if (db_count(rows) == 0)
        return fault_set(job->fault, ERR_CONF, "the database has no schema \"%s\"", job->schema);
    return db_run(job->db, TABLE, job->fault);
}

/* The first of `list` that is not applied yet. A row of the database that we don't know is fine if it is newer than all we
 * know: an old binary beside a newer one, while a new release rolls out. */
static enum err find_next(struct job *job, const char *series, const struct migration *list,
                          const struct migration **ret_next)
{
    CLEANUP_ROWS struct db_rows *rows = NULL;
    enum err e = run_named(job, &APPLIED, series, &rows);
    if (e != ERR_OK)
        return e;

    const struct migration *next = list;
    for (int i = 0; i < db_count(rows) && next->sql != NULL; i++, next++) {
        int64_t version = db_i64(rows, i, 0);
        const char *name = db_text(rows, i, 1);
        if (version != next->version || !str_eq(str_of(name), next->name))
            return fault_set(
                job->fault, ERR_CONF,
                "schema \"%s\", series \"%s\": the database has migration %lld \"%s\" where this program has %d \"%s\"",
                job->schema, series, (long long)version, name, next->version, next->name);
    }
    *ret_next = next;
    return ERR_OK;
}

static enum err apply_in_transaction(struct job *job, const char *series, const struct migration *m)
{
    struct db_args args = db_args(&job->arena);
    db_arg_text(&args, series);
    db_arg_i64(&args, m->version);
    db_arg_text(&args, m->name);

    enum err e = db_run(job->db, "BEGIN", job->fault);
    if (e == ERR_OK)
        e = db_run(job->db, m->sql, job->fault);
    if (e == ERR_OK)
        e = db_query(job->db, &RECORD, &args, NULL, job->fault);
    if (e == ERR_OK)
        e = db_run(job->db, "COMMIT", job->fault);
    return e;
}

static enum err apply_one(struct job *job, const char *series, const struct migration *m)
{
    enum err e = apply_in_transaction(job, series, m);
    if (e == ERR_OK)
        return ERR_OK;

    char why[FAULT_WHY_MAX];
    snprintf(why, sizeof why, "%s", db_error_detail(job->db));
    fault_set(job->fault, e, "schema \"%s\", migration %s/%04d_%s: %s", job->schema, series, m->version, m->name, why);
    if (db_is_open(job->db))
        (void)!db_run(job->db, "ROLLBACK", NULL);
    return e;
}

static enum err apply_series(struct job *job, const char *series, const struct migration *list)
{
    const struct migration *m = NULL;
    enum err e = find_next(job, series, list, &m);
    assert(e != ERR_OK || m != NULL);
    while (e == ERR_OK && m->sql != NULL)
        e = apply_one(job, series, m++);
    return e;
}

static enum err apply_locked(struct job *job, const struct migration *common, const struct migration *own)
{
    enum err e = enter_schema(job);
    if (e == ERR_OK)
        e = apply_series(job, "common", common);
    if (e == ERR_OK)
        e = apply_series(job, job->schema, own);
    return e;
}

static void unlock(struct job *job)
{
    struct db_args args = db_args(&job->arena);
    db_arg_text(&args, job->schema);
    (void)!db_query(job->db, &UNLOCK, &args, NULL, NULL); /* what failed before is told already */
}

enum err migrate_apply(struct db *owner, const char *schema, const struct migration *common,
                       const struct migration *own, struct fault *fault)
{
    struct job job = {.db = owner, .schema = schema, .fault = fault};
    arena_init(&job.arena);
    /* Replicas that start together wait here for the first; a lost connection lets go of the lock by itself. */
    enum err e = run_named(&job, &LOCK, schema, NULL);
    if (e == ERR_OK) {
        e = apply_locked(&job, common, own);
        unlock(&job);
    }
    arena_done(&job.arena);
    return e;
}
