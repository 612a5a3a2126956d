/* db.h — PostgreSQL by libpq: a connection, constant statements, typed arguments and results.
 *
 * For     store.c files and the svc layer. Statements are constants; values go only as parameters. Two ways to run:
 *         db_query (one round trip, for reads) and db_enqueue + db_sync (pipeline mode, for the lane: many statements,
 *         one round trip, one handler a result).
 * Owns    a struct db owns its connection; a struct db_rows is the caller's until db_rows_free (or _cleanup_rows_).
 * Threads one thread a connection.
 * Fails   ERR_DB (breakage) with db_trouble() telling its class; ERR_BUG for a statement that can't be right.
 */
#ifndef IO_DB_H
#define IO_DB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/decimal.h"
#include "base/id.h"
#include "base/mem.h"

enum { DB_ARGS_MAX = 24 };

struct db;

enum db_plan {
    DB_PLAN_KEYS,  /* the lane: generic plans, key look-ups only (enable_seqscan, hashjoin, mergejoin off, jit off) */
    DB_PLAN_READS, /* plan_cache_mode=force_custom_plan, default_transaction_read_only=on */
    DB_PLAN_OWNER, /* migrations: server defaults */
};
struct db_conf {
    const char *url;      /* postgresql://role@host:port/db, no password */
    const char *password; /* may be NULL */
    enum db_plan plan;
    const char *application_name;
};

/* What an error means to who must go on (architecture.md section 5, "Errors in a batch"). */
enum db_trouble {
    DB_FINE,
    DB_AGAIN,          /* 23505, 40001, 40P01, 55P03: run the batch again from load */
    DB_AWAY,           /* classes 08, 53, 57, 58, or the connection is gone: wait, reconnect, retry */
    DB_CULPRIT,        /* 22xxx, 23514: one item of the batch is to blame */
    DB_LANE_MOVED,     /* BK001: the lane row is not as we left it */
    DB_POSITION_MOVED, /* BK002: a consumer position is not as we left it; db_error_detail names topic/partition */
    DB_BROKEN,         /* anything else: a bug */
};

MUST_CHECK enum err db_open(const struct db_conf *conf, int timeout_ms, struct db **ret, struct fault *fault);
void db_close(struct db *db);         /* NULL is fine */
bool db_is_open(const struct db *db); /* false once the connection was lost */
int db_fd(const struct db *db);
int64_t db_backend_pid(const struct db *db);

/* ---- statements and arguments ---- */

struct db_stmt {
    const char *name; /* unique in the process; prepared once a connection under it */
    const char *sql;
};

/* Arguments in order; text lives in the arena. */
struct db_args {
    struct arena *arena;
    const char *values[DB_ARGS_MAX];
    int count;
};
static inline struct db_args db_args(struct arena *arena)
{
    return (struct db_args){.arena = arena};
}
void db_arg_null(struct db_args *a);
void db_arg_i64(struct db_args *a, int64_t v);
void db_arg_bool(struct db_args *a, bool v);
void db_arg_text(struct db_args *a, const char *v); /* NULL is SQL NULL; not copied */
void db_arg_uuid(struct db_args *a, struct uuid v);
void db_arg_decimal(struct db_args *a, decimal_t v);
void db_arg_time(struct db_args *a, time_us_t v);
void db_arg_time_or_null(struct db_args *a, time_us_t v); /* 0 is NULL */

/* An array for unnest: "{…}" grown value by value, then given as one argument. */
struct db_array {
    struct buf text;
    size_t count;
};
void db_array_init(struct db_array *x);
void db_array_done(struct db_array *x);
void db_array_null(struct db_array *x);
void db_array_i64(struct db_array *x, int64_t v);
void db_array_bool(struct db_array *x, bool v);
void db_array_text(struct db_array *x, const char *v); /* quoted and escaped; NULL is NULL */
void db_array_uuid(struct db_array *x, struct uuid v);
void db_array_decimal(struct db_array *x, decimal_t v);
void db_array_time(struct db_array *x, time_us_t v);
void db_array_time_or_null(struct db_array *x, time_us_t v); /* 0 is NULL */
void db_arg_array(struct db_args *a, struct db_array *x);    /* copies the text into the arena and empties x */
void db_arrays_init(struct db_array *const *columns, size_t count);

/* ---- results ---- */

struct db_rows;
int db_count(const struct db_rows *r);
bool db_null(const struct db_rows *r, int row, int col);
const char *db_text(const struct db_rows *r, int row, int col);                           /* "" for NULL; borrowed */
const char *db_text_copy(const struct db_rows *r, int row, int col, struct arena *arena); /* NULL for NULL */
/* The index of the text in `choices`, which end with NULL; past the end for NULL, and for what is none of them. */
int db_choice(const struct db_rows *r, int row, int col, const char *const *choices);
int64_t db_i64(const struct db_rows *r, int row, int col); /* asserts that it is one */
bool db_bool(const struct db_rows *r, int row, int col);
struct uuid db_uuid(const struct db_rows *r, int row, int col); /* nil for NULL */
decimal_t db_decimal(const struct db_rows *r, int row, int col);
time_us_t db_time(const struct db_rows *r, int row, int col);
int db_columns(const struct db_rows *r);
const char *db_column(const struct db_rows *r, int col); /* its name; borrowed */
int64_t db_affected(const struct db_rows *r);
void db_rows_free(struct db_rows *r);
static inline void db_rows_cleanup_(struct db_rows **r)
{
    db_rows_free(*r);
}
#define CLEANUP_ROWS __attribute__((cleanup(db_rows_cleanup_)))

/* ---- running ---- */

/* One statement, one round trip. ret_rows may be NULL. */
MUST_CHECK enum err db_query(struct db *db, const struct db_stmt *stmt, const struct db_args *args,
                             struct db_rows **ret_rows, struct fault *fault);
/* Plain text, several statements, no parameters: migrations and BEGIN/COMMIT only. */
MUST_CHECK enum err db_run(struct db *db, const char *sql, struct fault *fault);

/* Pipeline: queues a statement; `on_rows` (may be NULL) gets its result at db_sync. Nothing is sent before: what the
 * arguments point to must live until then. A COMMIT comes last, or an error behind it would hide that it is done. */
typedef void db_on_rows(void *arg, const struct db_rows *rows);
void db_enqueue(struct db *db, const struct db_stmt *stmt, const struct db_args *args, db_on_rows *on_rows, void *arg);
/* Sends all, reads all results, calls handlers in order up to the first error. After an error the rest is skipped; the
 * transaction (if one was begun) is aborted: run ROLLBACK. timeout_ms covers the whole exchange. */
MUST_CHECK enum err db_sync(struct db *db, int timeout_ms, struct fault *fault);
/* With an argument an array, behind those that are there first; nothing at all when the arrays are empty. Ends them. */
void db_enqueue_arrays(struct db *db, const struct db_stmt *stmt, struct db_args *first,
                       struct db_array *const *columns, size_t count);
void db_discard(struct db *db); /* forgets what was enqueued and not yet sent */

enum db_trouble db_trouble(const struct db *db);  /* of the last failure */
const char *db_sqlstate(const struct db *db);     /* "" when none came */
const char *db_error_detail(const struct db *db); /* the server's primary message; for the log only */
/* True if the last db_sync lost the connection after the COMMIT may have been sent: the outcome is unknown. */
bool db_lost_in_flight(const struct db *db);

/* ---- notifications (LISTEN) ---- */

/* Waits up to timeout_ms for one on a connection that ran LISTEN. 1: came, 0: not, -1: connection lost. */
int db_wait_notify(struct db *db, int timeout_ms);

#endif
