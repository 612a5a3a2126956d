/* The connection, and the one way statements take: queued here, sent in libpq's pipeline mode, answered in order. */
#include "io/db.h"

#include <assert.h>
#include <errno.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

enum {
    QUEUE_MAX = 64,     /* statements of one db_sync */
    VALUES_MAX = 512,   /* their arguments, together */
    PREPARED_MAX = 128, /* statements of one connection */
    SQLSTATE_LEN = 5,
    DETAIL_MAX = 256,
    SYNC_RESULTS_MAX = 4, /* what may come before the end of a pipeline: an error at commit, and NULLs */
};

/* Settings travel in the start-up packet: no round trip of their own. A server older than 14 refuses them. */
#define EVERY_SESSION "-c TimeZone=UTC -c DateStyle=ISO -c jit=off -c client_connection_check_interval=2000 "
/* Looks up keys and nothing else: a plan must not change as tables grow. A holder that stopped loses its locks in seconds. */
#define KEYS_SESSION \
    EVERY_SESSION \
    "-c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off " \
    "-c synchronous_commit=on -c statement_timeout=5000 -c lock_timeout=2000 " \
    "-c idle_in_transaction_session_timeout=3000 -c idle_session_timeout=10000"
#define READS_SESSION \
    EVERY_SESSION "-c plan_cache_mode=force_custom_plan -c default_transaction_read_only=on -c statement_timeout=3000"

static const struct plan {
    const char *options;
    const char *session; /* libpq's target_session_attrs: who writes must not land on a standby */
    int wait_ms;         /* db_query and db_run; above statement_timeout, so that the server speaks first */
} PLANS[] = {
    [DB_PLAN_KEYS] = {KEYS_SESSION, "read-write", 6000},
    [DB_PLAN_READS] = {READS_SESSION, "any", 4000},
    [DB_PLAN_OWNER] = {EVERY_SESSION, "read-write", 600000},
};

/* The first that fits: a code stands before its class. */
static const struct {
    const char *begins;
    enum db_trouble trouble;
} TROUBLES[] = {
    {"23505", DB_AGAIN},
    {"40001", DB_AGAIN},
    {"40P01", DB_AGAIN},
    {"55P03", DB_AGAIN},
    {"23514", DB_CULPRIT},
    {"BK001", DB_LANE_MOVED},
    {"BK002", DB_POSITION_MOVED},
    {"22", DB_CULPRIT},
    {"08", DB_AWAY},
    {"53", DB_AWAY},
    {"57", DB_AWAY},
    {"58", DB_AWAY},
};

struct queued {
    const struct db_stmt *stmt;
    int first_value, value_count;
    int slot;      /* in prepared, from when it is sent */
    bool prepares; /* its Parse goes ahead of it */
    db_on_rows *on_rows;
    void *arg;
};

struct db {
    PGconn *conn; /* NULL once it was lost */
    int wait_ms;

    struct queued queue[QUEUE_MAX];
    int queued;
    const char *values[VALUES_MAX]; /* borrowed until they are sent */
    int value_count;
    const struct db_stmt *prepared[PREPARED_MAX];
    int prepared_count;

    /* The last failure. */
    enum db_trouble trouble;
    char sqlstate[SQLSTATE_LEN + 1];
    char detail[DETAIL_MAX];
    const char *failed; /* the statement's name */
    bool rejected;      /* the server itself said ERROR: nothing after it was run */
    bool lost_in_flight;
};

/* ---- failures ---- */

static void failure_clear(struct db *db)
{
    db->trouble = DB_FINE;
    db->sqlstate[0] = '\0';
    db->detail[0] = '\0';
    db->failed = "database";
    db->rejected = false;
    db->lost_in_flight = false;
}

/* libpq's own messages run over several lines and end with one; ours are one. */
static void one_line(char ret[DETAIL_MAX], const char *message)
{
    snprintf(ret, DETAIL_MAX, "%s", message);
    for (char *p = ret; (p = strpbrk(p, "\n\t")) != NULL;)
        *p = ' ';
    for (size_t len = strlen(ret); len > 0 && ret[len - 1] == ' '; len--)
        ret[len - 1] = '\0';
}

static enum db_trouble trouble_of(const char *sqlstate)
{
    for (size_t i = 0; i < sizeof TROUBLES / sizeof TROUBLES[0]; i++)
        if (str_starts(sqlstate, TROUBLES[i].begins))
            return TROUBLES[i].trouble;
    return DB_BROKEN;
}

/* Keeps the first failure of an exchange: what comes after follows from it. */
static void failure_note(struct db *db, const PGresult *res, const char *what)
{
    const char *sqlstate = PQresultErrorField(res, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
    const char *severity = PQresultErrorField(res, PG_DIAG_SEVERITY_NONLOCALIZED);
    if (db->trouble != DB_FINE || sqlstate == NULL)
        return;

    snprintf(db->sqlstate, sizeof db->sqlstate, "%s", sqlstate);
    one_line(db->detail, message != NULL ? message : "no message");
    db->failed = what;
    db->trouble = trouble_of(db->sqlstate);
    db->rejected = severity != NULL && strcmp(severity, "ERROR") == 0;
}

/* The socket is closed at once, so that the server gives back the session's locks. Always false. */
static bool lose(struct db *db, const char *why)
{
    if (db->trouble == DB_FINE)
        one_line(db->detail, why);
    db->trouble = DB_AWAY;
    db->lost_in_flight = !db->rejected;
    PQfinish(db->conn);
    db->conn = NULL;
    return false;
}

static enum err failure_tell(const struct db *db, struct fault *fault)
{
    enum err e = db->trouble == DB_BROKEN ? ERR_BUG : ERR_DB;
    if (db->sqlstate[0] == '\0')
        return fault_set(fault, e, "%s: %s", db->failed, db->detail);
    return fault_set(fault, e, "%s: %s (SQLSTATE %s)", db->failed, db->detail, db->sqlstate);
}

/* ---- waiting ---- */

static mono_ns_t deadline_in(int timeout_ms)
{
    return clock_mono_ns() + timeout_ms * NS_PER_MS;
}

static bool fd_wait(int fd, short events, mono_ns_t deadline)
{
    struct pollfd p = {.fd = fd, .events = events};
    for (;;) {
        mono_ns_t left = deadline - clock_mono_ns();
        int left_ms = left > 0 ? (int)((left + NS_PER_MS - 1) / NS_PER_MS) : 0;
        int ready = poll(&p, 1, left_ms);
        if (ready >= 0 || errno != EINTR)
            return ready > 0;
    }
}

/* The server's last words, if it had any, then the loss. */
static bool lose_with_reason(struct db *db)
{
    PGresult *last = PQgetResult(db->conn);
    failure_note(db, last, "connection");
    PQclear(last);
    return lose(db, PQerrorMessage(db->conn));
}

/* One result, or the NULL that ends a statement's. False: the connection is lost. */
static bool next_result(struct db *db, mono_ns_t deadline, PGresult **ret)
{
    while (PQisBusy(db->conn)) {
        short events = PQflush(db->conn) > 0 ? POLLIN | POLLOUT : POLLIN;
        if (!fd_wait(PQsocket(db->conn), events, deadline))
            return lose(db, "no answer in time");
        if (!PQconsumeInput(db->conn))
            return lose_with_reason(db);
    }

    PGresult *res = PQgetResult(db->conn);
    if (PQstatus(db->conn) == CONNECTION_BAD) {
        failure_note(db, res, "connection");
        PQclear(res);
        return lose(db, PQerrorMessage(db->conn));
    }
    ExecStatusType status = PQresultStatus(res);
    if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH) {
        PQclear(res);
        return lose(db, "COPY is not for db.h");
    }
    *ret = res;
    return true;
}

/* ---- open and close ---- */

static void ignore_notice(void *arg, const char *message)
{
    (void)arg;
    (void)message;
}

static bool connect_finish(PGconn *conn, mono_ns_t deadline)
{
    PostgresPollingStatusType next = PGRES_POLLING_WRITING;
    while (next == PGRES_POLLING_READING || next == PGRES_POLLING_WRITING) {
        if (!fd_wait(PQsocket(conn), next == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline))
            return false;
        next = PQconnectPoll(conn);
    }
    return next == PGRES_POLLING_OK;
}

enum err db_open(const struct db_conf *conf, int timeout_ms, struct db **ret, struct fault *fault)
{
    const struct plan *plan = &PLANS[conf->plan];
    /* What comes after dbname wins over the same setting in the URL; a NULL is as if it were not there. */
    const char *const keys[] = {"dbname",
                                "password",
                                "application_name",
                                "options",
                                "client_encoding",
                                "target_session_attrs",
                                "tcp_user_timeout",
                                "keepalives",
                                "keepalives_idle",
                                "keepalives_interval",
                                "keepalives_count",
                                "gssencmode",
                                NULL};
    const char *const values[] = {conf->url,
                                  conf->password,
                                  conf->application_name,
                                  plan->options,
                                  "UTF8",
                                  plan->session,
                                  "5000",
                                  "1",
                                  "5",
                                  "2",
                                  "3",
                                  "disable",
                                  NULL};
    _Static_assert(sizeof keys == sizeof values, "a value for every key");

    PGconn *conn = PQconnectStartParams(keys, values, 1);
    bool started = conn != NULL && PQstatus(conn) != CONNECTION_BAD;
    if (!started || !connect_finish(conn, deadline_in(timeout_ms)) || PQsetnonblocking(conn, 1) != 0) {
        char why[DETAIL_MAX];
        bool refused = conn == NULL || PQstatus(conn) == CONNECTION_BAD;
        one_line(why, refused ? PQerrorMessage(conn) : "no answer in time");
        PQfinish(conn);
        return fault_set(fault, ERR_DB, "connect to the database: %s", why);
    }

    PQsetNoticeProcessor(conn, ignore_notice, NULL);
    struct db *db = mem_alloc(sizeof *db);
    db->conn = conn;
    db->wait_ms = plan->wait_ms;
    failure_clear(db);
    *ret = db;
    return ERR_OK;
}

void db_close(struct db *db)
{
    if (db == NULL)
        return;
    PQfinish(db->conn);
    mem_free(db);
}

bool db_is_open(const struct db *db)
{
    return db->conn != NULL;
}

int db_fd(const struct db *db)
{
    return PQsocket(db->conn);
}

int64_t db_backend_pid(const struct db *db)
{
    return PQbackendPID(db->conn);
}

enum db_trouble db_trouble(const struct db *db)
{
    return db->trouble;
}

const char *db_sqlstate(const struct db *db)
{
    return db->sqlstate;
}

const char *db_error_detail(const struct db *db)
{
    return db->detail;
}

bool db_lost_in_flight(const struct db *db)
{
    return db->lost_in_flight;
}

/* ---- the queue ---- */

void db_enqueue(struct db *db, const struct db_stmt *stmt, const struct db_args *args, db_on_rows *on_rows, void *arg)
{
    int count = args != NULL ? args->count : 0;
    assert(db->queued < QUEUE_MAX);
    assert(db->value_count + count <= VALUES_MAX);

    db->queue[db->queued++] = (struct queued){
        .stmt = stmt, .first_value = db->value_count, .value_count = count, .on_rows = on_rows, .arg = arg};
    if (count > 0)
        memcpy(&db->values[db->value_count], args->values, (size_t)count * sizeof args->values[0]);
    db->value_count += count;
}

void db_discard(struct db *db)
{
    db->queued = 0;
    db->value_count = 0;
}

static int slot_of(const struct db *db, const struct db_stmt *stmt)
{
    for (int i = 0; i < db->prepared_count; i++)
        if (db->prepared[i] == stmt)
            return i;
    return -1;
}

static int slot_take(struct db *db, const struct db_stmt *stmt)
{
    int slot = slot_of(db, NULL); /* one whose Parse failed */
    if (slot < 0)
        slot = db->prepared_count++;
    assert(slot < PREPARED_MAX);
    db->prepared[slot] = stmt;
    return slot;
}

static bool send_one(struct db *db, struct queued *q)
{
    q->slot = slot_of(db, q->stmt);
    q->prepares = q->slot < 0;
    if (q->prepares) {
        q->slot = slot_take(db, q->stmt);
        if (!PQsendPrepare(db->conn, q->stmt->name, q->stmt->sql, 0, NULL))
            return false;
    }
    return PQsendQueryPrepared(db->conn, q->stmt->name, q->value_count, &db->values[q->first_value], NULL, NULL, 0);
}

static bool send_all(struct db *db)
{
    bool ok = PQenterPipelineMode(db->conn);
    for (int i = 0; ok && i < db->queued; i++)
        ok = send_one(db, &db->queue[i]);
    return (ok && PQpipelineSync(db->conn)) || lose(db, PQerrorMessage(db->conn));
}

/* A statement's one result; *ret is NULL when it failed or was skipped after a failure. False: the connection is lost. */
static bool receive_one(struct db *db, const struct queued *q, mono_ns_t deadline, PGresult **ret)
{
    PGresult *res = NULL, *end = NULL;
    if (!next_result(db, deadline, &res))
        return false;
    ExecStatusType status = PQresultStatus(res);
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
        failure_note(db, res, q->stmt->name);
        PQclear(res);
        res = NULL;
    }
    if (!next_result(db, deadline, &end)) {
        PQclear(res);
        return false;
    }
    assert(end == NULL);
    *ret = res;
    return true;
}

static bool receive_prepared(struct db *db, const struct queued *q, mono_ns_t deadline)
{
    PGresult *res;
    if (!receive_one(db, q, deadline, &res))
        return false;
    if (res == NULL)
        db->prepared[q->slot] = NULL;
    PQclear(res);
    return true;
}

/* Gives the rows to the handler, or keeps them for the caller. */
static bool receive_rows(struct db *db, const struct queued *q, mono_ns_t deadline, struct db_rows **keep)
{
    PGresult *res;
    if (!receive_one(db, q, deadline, &res))
        return false;
    if (res != NULL && keep != NULL) {
        *keep = (struct db_rows *)res;
        return true;
    }
    if (res != NULL && q->on_rows != NULL)
        q->on_rows(q->arg, (const struct db_rows *)res);
    PQclear(res);
    return true;
}

/* Statements without BEGIN commit here, so an error may still come. */
static bool receive_end(struct db *db, mono_ns_t deadline)
{
    for (int i = 0; i < SYNC_RESULTS_MAX; i++) {
        PGresult *res;
        if (!next_result(db, deadline, &res))
            return false;
        ExecStatusType status = PQresultStatus(res);
        failure_note(db, res, "commit");
        PQclear(res);
        if (status == PGRES_PIPELINE_SYNC)
            return PQexitPipelineMode(db->conn) || lose(db, PQerrorMessage(db->conn));
    }
    return lose(db, "the pipeline's end did not come");
}

static bool receive_all(struct db *db, mono_ns_t deadline, struct db_rows **keep)
{
    for (int i = 0; i < db->queued; i++) {
        const struct queued *q = &db->queue[i];
        if (q->prepares && !receive_prepared(db, q, deadline))
            return false;
        if (!receive_rows(db, q, deadline, keep))
            return false;
    }
    return receive_end(db, deadline);
}

static enum err not_open(struct db *db, struct fault *fault)
{
    db_discard(db);
    db->trouble = DB_AWAY;
    one_line(db->detail, "the connection was lost before");
    return failure_tell(db, fault);
}

static enum err exchange(struct db *db, int timeout_ms, struct db_rows **keep, struct fault *fault)
{
    failure_clear(db);
    if (db->conn == NULL)
        return not_open(db, fault);

    if (send_all(db))
        (void)receive_all(db, deadline_in(timeout_ms), keep);
    db_discard(db);
    return db->trouble == DB_FINE ? ERR_OK : failure_tell(db, fault);
}

enum err db_sync(struct db *db, int timeout_ms, struct fault *fault)
{
    return exchange(db, timeout_ms, NULL, fault);
}

enum err db_query(struct db *db, const struct db_stmt *stmt, const struct db_args *args, struct db_rows **ret_rows,
                  struct fault *fault)
{
    assert(db->queued == 0);
    struct db_rows *rows = NULL;
    db_enqueue(db, stmt, args, NULL, NULL);
    enum err e = exchange(db, db->wait_ms, &rows, fault);
    if (e == ERR_OK && ret_rows != NULL)
        *ret_rows = rows;
    else
        db_rows_free(rows);
    return e;
}

enum err db_run(struct db *db, const char *sql, struct fault *fault)
{
    assert(db->queued == 0);
    failure_clear(db);
    if (db->conn == NULL)
        return not_open(db, fault);

    mono_ns_t deadline = deadline_in(db->wait_ms);
    PGresult *res = NULL;
    bool more = PQsendQuery(db->conn, sql) || lose(db, PQerrorMessage(db->conn));
    while (more && next_result(db, deadline, &res) && res != NULL) {
        failure_note(db, res, "run");
        PQclear(res);
    }
    return db->trouble == DB_FINE ? ERR_OK : failure_tell(db, fault);
}

/* ---- notifications ---- */

static bool take_notifies(struct db *db)
{
    bool came = false;
    for (PGnotify *n; (n = PQnotifies(db->conn)) != NULL; came = true)
        PQfreemem(n);
    return came;
}

int db_wait_notify(struct db *db, int timeout_ms)
{
    mono_ns_t deadline = deadline_in(timeout_ms);
    failure_clear(db);
    while (db->conn != NULL) {
        if (take_notifies(db))
            return 1;
        if (!fd_wait(PQsocket(db->conn), POLLIN, deadline))
            return 0;
        if (!PQconsumeInput(db->conn))
            lose_with_reason(db);
    }
    return -1;
}
