#include "svc/audit.h"

#include <assert.h>
#include <string.h>

#include "svc/checks.h"

enum { ANSWER_RESERVE_MS = 300 }; /* of the call's time, for writing and sending the answer */

static const char SNAPSHOT[] = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
static const char CANCELED_SQLSTATE[] = "57014"; /* statement_timeout */
static const struct db_stmt LIMIT_TIME = {"audit_limit_time", "SELECT set_config('statement_timeout', $1, true)"};
static const struct db_stmt READ_SCOPE = {
    "audit_read_scope",
    "SELECT CASE WHEN (SELECT coalesce(sum(last_seq), 0) FROM lane) <= $2::bigint THEN to_timestamp(0) "
    "ELSE (SELECT greatest(now() - make_interval(secs => $1::bigint), max(o.created_at)) "
    "FROM lane l LEFT JOIN outbox o ON o.lane = l.lane AND o.seq = l.last_seq - $2::bigint) END",
};

/* ---- one check ---- */

static bool takes_since(const struct audit_check *check)
{
    return strchr(check->stmt.sql, '$') != NULL;
}

static int64_t left_ms(const struct audit_scope *scope)
{
    int64_t left = (scope->until - clock_mono_ns()) / NS_PER_MS;
    return left < AUDIT_CHECK_MS ? left : AUDIT_CHECK_MS;
}

static void write_row(struct buf *out, const struct db_rows *rows, int r)
{
    for (int c = 0; c < db_columns(rows); c++)
        buf_printf(out, "%s%s=%s", c > 0 ? " " : "", db_column(rows, c),
                   db_null(rows, r, c) ? "null" : db_text(rows, r, c));
}

static const char *tell_rows(struct arena *arena, const struct audit_check *check, const struct db_rows *rows)
{
    struct buf text;
    buf_init(&text);
    buf_printf(&text, "not so: %s; ", check->what);
    for (int r = 0; r < db_count(rows); r++) {
        size_t before = text.len;
        buf_str(&text, r > 0 ? "; " : "");
        write_row(&text, rows, r);
        if (text.len <= AUDIT_DETAIL_MAX)
            continue;
        text.len = before;
        buf_printf(&text, "; and %d more", db_count(rows) - r);
        break;
    }
    const char *detail = arena_strndup(arena, text.data, text.len);
    buf_done(&text);
    return detail;
}

static const char *tell_ok(struct arena *arena, const struct audit_check *check, const struct audit_scope *scope)
{
    if (scope->since == 0 || !takes_since(check))
        return check->what;
    char since[CLOCK_TEXT_MAX];
    clock_format(scope->since, since);
    return arena_printf(arena, "%s (looked at what changed since %s)", check->what, since);
}

static enum err ask(struct db *db, const struct audit_check *check, const struct audit_scope *scope,
                    struct arena *arena, struct db_rows **ret_rows, struct fault *fault)
{
    struct db_args limit = db_args(arena);
    db_arg_text(&limit, arena_printf(arena, "%lld", (long long)left_ms(scope)));
    struct db_args args = db_args(arena);
    if (takes_since(check))
        db_arg_time(&args, scope->since);
    enum err e = db_run(db, "SAVEPOINT one_check", fault);
    if (e == ERR_OK)
        e = db_query(db, &LIMIT_TIME, &limit, NULL, fault);
    if (e == ERR_OK)
        e = db_query(db, &check->stmt, &args, ret_rows, fault);
    return e;
}

/* ERR_DB: the connection is lost. */
static enum err run_one(struct db *db, const struct audit_check *check, const struct audit_scope *scope,
                        struct arena *arena, struct audit_finding *ret, struct fault *fault)
{
    *ret = (struct audit_finding){.check = check};
    if (left_ms(scope) <= 0) {
        ret->detail = arena_printf(arena, "not looked at, the time was up: %s", check->what);
        return ERR_OK;
    }
    CLEANUP_ROWS struct db_rows *rows = NULL;
    enum err e = ask(db, check, scope, arena, &rows, fault);
    if (e == ERR_OK) {
        ret->asked = true;
        ret->ok = db_count(rows) == 0;
        ret->detail = ret->ok ? tell_ok(arena, check, scope) : tell_rows(arena, check, rows);
    } else if (!db_is_open(db)) {
        return e;
    } else if (strcmp(db_sqlstate(db), CANCELED_SQLSTATE) == 0) {
        ret->detail = arena_printf(arena, "not looked at to its end, it takes too long: %s", check->what);
    } else {
        ret->detail = arena_printf(arena, "could not be looked at (SQLSTATE %s): %s", db_sqlstate(db), check->what);
    }
    return db_run(db, "ROLLBACK TO SAVEPOINT one_check", fault);
}

/* ---- all of them ---- */

static enum err run_table(struct db *db, const struct audit_check *table, const struct audit_scope *scope,
                          struct arena *arena, struct audit_report *report, struct fault *fault)
{
    enum err e = ERR_OK;
    for (const struct audit_check *check = table; e == ERR_OK && check != NULL && check->name != NULL; check++) {
        if (scope->changed_only && !takes_since(check))
            continue;
        assert(report->count < AUDIT_CHECKS_MAX);
        struct audit_finding *finding = &report->findings[report->count++];
        e = run_one(db, check, scope, arena, finding, fault);
        report->wrong += !finding->ok;
    }
    return e;
}

static enum err run_all(struct db *db, const struct audit_check *own, const struct audit_check *common,
                        const struct audit_scope *scope, struct arena *arena, struct audit_report *ret,
                        struct fault *fault)
{
    ret->count = ret->wrong = 0;
    enum err e = run_table(db, own, scope, arena, ret, fault);
    if (e == ERR_OK)
        e = run_table(db, common, scope, arena, ret, fault);
    return e;
}

/* The transaction is ended however it went: the connection is used again. */
static enum err end_snapshot(struct db *db, enum err e, struct fault *fault)
{
    struct fault ignored;
    if (db_is_open(db) && db_run(db, "ROLLBACK", e == ERR_OK ? fault : &ignored) != ERR_OK && e == ERR_OK)
        return fault->err;
    return e;
}

enum err audit_run(struct db *db, const struct audit_check *own, const struct audit_check *common,
                   const struct audit_scope *scope, struct arena *arena, struct audit_report *ret, struct fault *fault)
{
    enum err e = db_run(db, SNAPSHOT, fault);
    if (e != ERR_OK)
        return e;
    e = run_all(db, own, common, scope, arena, ret, fault);
    return end_snapshot(db, e, fault);
}

/* ---- GET /admin/audit ---- */

static enum err read_scope(struct call *call, struct db *db, struct audit_scope *ret)
{
    struct db_args args = db_args(&call->arena);
    db_arg_i64(&args, AUDIT_WINDOW_S);
    db_arg_i64(&args, AUDIT_EVENTS_MAX);
    CLEANUP_ROWS struct db_rows *rows = NULL;
    enum err e = db_query(db, &READ_SCOPE, &args, &rows, &call->fault);
    if (e != ERR_OK)
        return e;
    *ret = (struct audit_scope){.since = db_time(rows, 0, 0), .until = call->deadline - ANSWER_RESERVE_MS * NS_PER_MS};
    return ERR_OK;
}

/* Checks of common/svc/checks have one name in five services: the schema's stands before it. */
static const char *name_of(struct call *call, const struct audit_finding *finding, const struct audit_check *own)
{
    for (const struct audit_check *check = own; check != NULL && check->name != NULL; check++)
        if (check == finding->check)
            return check->name;
    return arena_printf(&call->arena, "%s_%s", call_service(call)->spec->schema, finding->check->name);
}

static void write_report(struct call *call, const struct audit_report *report)
{
    struct json_out o = json_out(&call->out);
    json_open(&o, NULL, '{');
    json_put_bool(&o, "clean", report->wrong == 0);
    json_put_time(&o, "checkedAt", clock_now_us());
    json_open(&o, "checks", '[');
    for (size_t i = 0; i < report->count; i++) {
        const struct audit_finding *finding = &report->findings[i];
        json_open(&o, NULL, '{');
        json_put_text(&o, "name", name_of(call, finding, call_service(call)->spec->checks));
        json_put_bool(&o, "ok", finding->ok);
        json_put_text(&o, "detail", finding->detail);
        json_close(&o, '}');
    }
    json_close(&o, ']');
    json_close(&o, '}');
    call_reply(call, 200);
}

static enum err answer_audit(struct call *call, struct db *db)
{
    struct audit_scope scope;
    struct audit_report *report = ARENA_NEW(&call->arena, struct audit_report);
    enum err e = read_scope(call, db, &scope);
    if (e == ERR_OK)
        e = audit_run(db, call_service(call)->spec->checks, SVC_CHECKS, &scope, &call->arena, report, &call->fault);
    if (e == ERR_OK)
        write_report(call, report);
    return e;
}

/* It may take seconds of a reader: who asks beside another waits for him, and that is not here. */
static enum err query_audit(struct call *call, struct db *db)
{
    struct service *service = call_service(call);
    if (atomic_exchange(&service->auditing, true))
        return fault_set(&call->fault, ERR_BUSY, "another audit is under way");
    enum err e = answer_audit(call, db);
    atomic_store(&service->auditing, false);
    return e;
}

enum err audit_on_get(struct call *call)
{
    static const struct field NO_FIELDS[] = {FIELD_END};
    enum err e = call_query(call, NO_FIELDS, NULL);
    if (e != ERR_OK)
        return e;
    return readers_submit(call_service(call)->readers, call, query_audit);
}
