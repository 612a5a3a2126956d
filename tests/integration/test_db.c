/* db.h against a real PostgreSQL. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <arpa/inet.h>
#include <cmocka.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/db.h"
#include "support/need_env.h"

enum { OPEN_MS = 5000, SYNC_MS = 5000 };

static struct db_conf conf(enum db_plan plan)
{
    return (struct db_conf){.url = need_env("TEST_DB_URL"),
                            .password = getenv("TEST_DB_PASSWORD"),
                            .plan = plan,
                            .application_name = "test_db"};
}

static struct db *open_db(enum db_plan plan)
{
    struct db_conf c = conf(plan);
    struct fault fault = {0};
    struct db *db = NULL;
    if (db_open(&c, OPEN_MS, &db, &fault) != ERR_OK)
        fail_msg("%s", fault.why);
    return db;
}

static void run(struct db *db, const char *sql)
{
    struct fault fault = {0};
    if (db_run(db, sql, &fault) != ERR_OK)
        fail_msg("%s: %s", sql, fault.why);
}

static void query(struct db *db, const struct db_stmt *stmt, const struct db_args *args, struct db_rows **ret)
{
    struct fault fault = {0};
    if (db_query(db, stmt, args, ret, &fault) != ERR_OK)
        fail_msg("%s", fault.why);
}

static int64_t number(struct db *db, const struct db_stmt *stmt, const struct db_args *args)
{
    CLEANUP_ROWS struct db_rows *rows = NULL;
    query(db, stmt, args, &rows);
    return db_i64(rows, 0, 0);
}

static int set_up(void **state)
{
    struct db *db = open_db(DB_PLAN_OWNER);
    run(db,
        "DROP TABLE IF EXISTS db_thing; CREATE TABLE db_thing"
        "(id int PRIMARY KEY, size numeric(20,6) CHECK (size >= 0), ref int REFERENCES db_thing DEFERRABLE INITIALLY "
        "DEFERRED)");
    *state = db;
    return 0;
}

static int tear_down(void **state)
{
    struct db *db = *state;
    if (!db_is_open(db)) {
        db_close(db);
        db = open_db(DB_PLAN_OWNER);
    }
    run(db, "ROLLBACK; DROP TABLE IF EXISTS db_thing");
    db_close(db);
    return 0;
}

static const struct db_stmt BEGIN = {"test_begin", "BEGIN"};
static const struct db_stmt COMMIT = {"test_commit", "COMMIT"};
static const struct db_stmt ONE = {"test_one", "SELECT 1"};
static const struct db_stmt COUNT = {"test_count", "SELECT count(*) FROM db_thing"};
static const struct db_stmt ADD = {"test_add", "INSERT INTO db_thing (id, size, ref) VALUES ($1, $2, $3)"};
static const struct db_stmt SLEEP = {"test_sleep", "SELECT pg_sleep($1)"};
static const struct db_stmt KILL_ME = {"test_kill_me", "SELECT pg_terminate_backend(pg_backend_pid())"};
static const struct db_stmt KILL = {"test_kill", "SELECT pg_terminate_backend($1, 5000)::int"};

static void add(struct db *db, struct arena *arena, int64_t id, decimal_t size)
{
    struct db_args a = db_args(arena);
    db_arg_i64(&a, id);
    db_arg_decimal(&a, size);
    db_arg_null(&a);
    db_enqueue(db, &ADD, &a, NULL, NULL);
}

/* ---- opening ---- */

static void open_says_why_it_could_not(void **state)
{
    (void)state;
    static const struct {
        const char *url, *why, *says;
    } CASES[] = {
        {"postgresql://nobody@127.0.0.1:1/x", "nothing listens there", "connection to server"},
        {"postgresql://u:secretword@/%zz", "not a URL", "connect to the database"},
        {"nonsense", "neither a URL nor settings", "connect to the database"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        struct db_conf c = {.url = CASES[i].url, .plan = DB_PLAN_READS, .application_name = "t", .password = "hush"};
        struct fault fault = {0};
        struct db *db = NULL;
        assert_int_equal(db_open(&c, 1000, &db, &fault), ERR_DB);
        assert_null(db);
        assert_non_null(strstr(fault.why, CASES[i].says));
        assert_null(strstr(fault.why, "hush"));
        assert_null(strchr(fault.why, '\n'));
    }
}

static void open_gives_up_at_its_time_on_a_server_that_says_nothing(void **state)
{
    (void)state;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);

    char url[64];
    snprintf(url, sizeof url, "postgresql://u@127.0.0.1:%d/x", ntohs(at.sin_port));
    struct db_conf c = {.url = url, .plan = DB_PLAN_READS, .application_name = "t"};
    struct fault fault = {0};
    struct db *db = NULL;
    mono_ns_t start = clock_mono_ns();
    assert_int_equal(db_open(&c, 200, &db, &fault), ERR_DB);
    assert_in_range(clock_mono_ns() - start, 190 * NS_PER_MS, 1500 * NS_PER_MS);
    assert_non_null(strstr(fault.why, "no answer in time"));
    close(fd);
}

static const struct db_stmt SETTING = {"test_setting", "SELECT current_setting($1)"};

static void each_plan_has_its_settings(void **state)
{
    (void)state;
    static const struct {
        enum db_plan plan;
        const char *name, *value;
    } CASES[] = {
        {DB_PLAN_KEYS, "plan_cache_mode", "force_generic_plan"},
        {DB_PLAN_KEYS, "enable_seqscan", "off"},
        {DB_PLAN_KEYS, "idle_session_timeout", "10s"},
        {DB_PLAN_KEYS, "idle_in_transaction_session_timeout", "3s"},
        {DB_PLAN_KEYS, "transaction_read_only", "off"},
        {DB_PLAN_READS, "plan_cache_mode", "force_custom_plan"},
        {DB_PLAN_READS, "transaction_read_only", "on"},
        {DB_PLAN_READS, "statement_timeout", "3s"},
        {DB_PLAN_READS, "idle_session_timeout", "0"},
        {DB_PLAN_OWNER, "statement_timeout", "0"},
        {DB_PLAN_OWNER, "jit", "off"},
        {DB_PLAN_OWNER, "TimeZone", "UTC"},
        {DB_PLAN_OWNER, "client_encoding", "UTF8"},
        {DB_PLAN_OWNER, "application_name", "test_db"},
    };
    struct arena arena;
    arena_init(&arena);
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        struct db *db = open_db(CASES[i].plan);
        CLEANUP_ROWS struct db_rows *rows = NULL;
        struct db_args a = db_args(&arena);
        db_arg_text(&a, CASES[i].name);
        query(db, &SETTING, &a, &rows);
        assert_string_equal(db_text(rows, 0, 0), CASES[i].value);
        db_close(db);
    }
    arena_done(&arena);
}

/* ---- failures ---- */

static void an_error_is_classed_by_its_sqlstate(void **state)
{
    struct db *db = *state;
    static const struct {
        const char *sqlstate;
        enum db_trouble trouble;
        enum err err;
    } CASES[] = {
        {"23505", DB_AGAIN, ERR_DB},      {"40001", DB_AGAIN, ERR_DB},   {"40P01", DB_AGAIN, ERR_DB},
        {"55P03", DB_AGAIN, ERR_DB},      {"08006", DB_AWAY, ERR_DB},    {"53300", DB_AWAY, ERR_DB},
        {"57014", DB_AWAY, ERR_DB},       {"58030", DB_AWAY, ERR_DB},    {"22003", DB_CULPRIT, ERR_DB},
        {"23514", DB_CULPRIT, ERR_DB},    {"23503", DB_BROKEN, ERR_BUG}, {"42601", DB_BROKEN, ERR_BUG},
        {"BK001", DB_LANE_MOVED, ERR_DB}, {"P0001", DB_BROKEN, ERR_BUG}, {"BK002", DB_POSITION_MOVED, ERR_DB},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        char sql[128];
        struct fault fault = {0};
        snprintf(sql, sizeof sql, "DO $$ BEGIN RAISE EXCEPTION 'orders/%zu' USING ERRCODE = '%s'; END $$", i,
                 CASES[i].sqlstate);
        assert_int_equal(db_run(db, sql, &fault), CASES[i].err);
        assert_int_equal(db_trouble(db), CASES[i].trouble);
        assert_string_equal(db_sqlstate(db), CASES[i].sqlstate);
        assert_true(str_starts(db_error_detail(db), "orders/"));
        assert_non_null(strstr(fault.why, CASES[i].sqlstate));
        assert_false(db_lost_in_flight(db));
        assert_true(db_is_open(db));
    }
}

static void a_statement_that_is_no_sql_is_a_bug_and_the_connection_goes_on(void **state)
{
    struct db *db = *state;
    static const struct db_stmt WRONG = {"test_wrong", "SELECT FROM WHERE"};
    for (int i = 0; i < 3; i++) {
        struct fault fault = {0};
        assert_int_equal(db_query(db, &WRONG, NULL, NULL, &fault), ERR_BUG);
        assert_int_equal(db_trouble(db), DB_BROKEN);
        assert_non_null(strstr(fault.why, "test_wrong"));
        assert_int_equal(number(db, &ONE, NULL), 1);
        assert_int_equal(db_trouble(db), DB_FINE);
    }
}

static void an_argument_of_another_type_is_a_culprit(void **state)
{
    struct db *db = *state;
    struct arena arena;
    arena_init(&arena);
    struct db_args a = db_args(&arena);
    db_arg_text(&a, "twelve");
    db_arg_text(&a, "1");
    db_arg_null(&a);
    assert_int_equal(db_query(db, &ADD, &a, NULL, NULL), ERR_DB);
    assert_int_equal(db_trouble(db), DB_CULPRIT);
    arena_done(&arena);
}

static void count_handler(void *arg, const struct db_rows *rows)
{
    (void)rows;
    ++*(int *)arg;
}

static void after_an_error_the_rest_of_a_batch_is_skipped_and_rollback_heals(void **state)
{
    struct db *db = *state;
    struct arena arena;
    arena_init(&arena);
    int before = 0, after = 0;
    struct fault fault = {0};

    db_enqueue(db, &BEGIN, NULL, count_handler, &before);
    add(db, &arena, 1, DECIMAL_ONE);
    add(db, &arena, 2, -DECIMAL_ONE); /* breaks the CHECK */
    db_enqueue(db, &ONE, NULL, count_handler, &after);
    db_enqueue(db, &COMMIT, NULL, count_handler, &after);
    assert_int_equal(db_sync(db, SYNC_MS, &fault), ERR_DB);
    assert_int_equal(db_trouble(db), DB_CULPRIT);
    assert_int_equal(before, 1);
    assert_int_equal(after, 0);
    assert_false(db_lost_in_flight(db));
    assert_non_null(strstr(fault.why, "test_add"));

    run(db, "ROLLBACK");
    assert_int_equal(number(db, &COUNT, NULL), 0);

    /* COMMIT and ONE were skipped before they were prepared: they are prepared now. */
    db_enqueue(db, &BEGIN, NULL, NULL, NULL);
    add(db, &arena, 1, DECIMAL_ONE);
    db_enqueue(db, &ONE, NULL, count_handler, &after);
    db_enqueue(db, &COMMIT, NULL, count_handler, &after);
    assert_int_equal(db_sync(db, SYNC_MS, &fault), ERR_OK);
    assert_int_equal(after, 2);
    assert_int_equal(number(db, &COUNT, NULL), 1);
    arena_done(&arena);
}

static void statements_without_begin_are_one_transaction_and_may_fail_at_its_end(void **state)
{
    struct db *db = *state;
    struct arena arena;
    arena_init(&arena);
    add(db, &arena, 1, 0);
    struct db_args a = db_args(&arena);
    db_arg_i64(&a, 2);
    db_arg_i64(&a, 0);
    db_arg_i64(&a, 99); /* refers to nothing: found at commit */
    db_enqueue(db, &ADD, &a, NULL, NULL);
    assert_int_equal(db_sync(db, SYNC_MS, NULL), ERR_BUG);
    assert_string_equal(db_sqlstate(db), "23503");
    assert_false(db_lost_in_flight(db));

    a = db_args(&arena);
    db_arg_i64(&a, 3);
    db_arg_i64(&a, 0);
    db_arg_i64(&a, 99);
    struct db_rows *rows = NULL;
    assert_int_equal(db_query(db, &ADD, &a, &rows, NULL), ERR_BUG);
    assert_null(rows);
    assert_int_equal(number(db, &COUNT, NULL), 0);
    arena_done(&arena);
}

static void a_timeout_loses_the_connection_and_the_outcome_is_unknown(void **state)
{
    struct db *db = *state;
    struct arena arena;
    arena_init(&arena);
    struct db_args a = db_args(&arena);
    db_arg_i64(&a, 5);
    struct fault fault = {0};
    db_enqueue(db, &SLEEP, &a, NULL, NULL);
    mono_ns_t start = clock_mono_ns();
    assert_int_equal(db_sync(db, 200, &fault), ERR_DB);
    assert_in_range(clock_mono_ns() - start, 190 * NS_PER_MS, 1500 * NS_PER_MS);
    assert_int_equal(db_trouble(db), DB_AWAY);
    assert_true(db_lost_in_flight(db));
    assert_false(db_is_open(db));
    assert_int_equal(db_fd(db), -1);

    /* Nothing is done on a lost connection, and nothing was in flight then. */
    db_enqueue(db, &ONE, NULL, NULL, NULL);
    assert_int_equal(db_sync(db, 200, &fault), ERR_DB);
    assert_int_equal(db_trouble(db), DB_AWAY);
    assert_false(db_lost_in_flight(db));
    assert_int_equal(db_query(db, &ONE, NULL, NULL, &fault), ERR_DB);
    assert_int_equal(db_run(db, "ROLLBACK", &fault), ERR_DB);
    assert_int_equal(db_wait_notify(db, 10), -1);
    arena_done(&arena);
}

static void a_backend_that_is_terminated_is_a_loss_with_its_reason(void **state)
{
    struct db *db = *state;
    struct fault fault = {0};
    db_enqueue(db, &BEGIN, NULL, NULL, NULL);
    db_enqueue(db, &KILL_ME, NULL, NULL, NULL);
    db_enqueue(db, &COMMIT, NULL, NULL, NULL);
    assert_int_equal(db_sync(db, SYNC_MS, &fault), ERR_DB);
    assert_int_equal(db_trouble(db), DB_AWAY);
    assert_string_equal(db_sqlstate(db), "57P01");
    assert_true(db_lost_in_flight(db));
    assert_false(db_is_open(db));
}

static void a_connection_killed_while_idle_is_found_at_its_next_use(void **state)
{
    struct db *victim = open_db(DB_PLAN_READS);
    struct arena arena;
    arena_init(&arena);
    assert_int_equal(number(victim, &ONE, NULL), 1);
    struct db_args a = db_args(&arena);
    db_arg_i64(&a, db_backend_pid(victim));
    assert_int_equal(number(*state, &KILL, &a), 1);

    struct fault fault = {0};
    assert_int_equal(db_query(victim, &ONE, NULL, NULL, &fault), ERR_DB);
    assert_int_equal(db_trouble(victim), DB_AWAY);
    assert_string_equal(db_sqlstate(victim), "57P01");
    assert_false(db_is_open(victim));
    db_close(victim);
    arena_done(&arena);
}

static void a_lane_that_stops_inside_a_transaction_is_thrown_out(void **state)
{
    struct db *db = open_db(DB_PLAN_KEYS);
    run(db, "SET idle_in_transaction_session_timeout = 100");
    run(db, "BEGIN; LOCK TABLE db_thing");
    /* Waits until the server has let go of the lock: the stopped holder is gone by then. */
    run(*state, "BEGIN; LOCK TABLE db_thing; ROLLBACK");
    assert_int_equal(db_run(db, "COMMIT", NULL), ERR_DB);
    assert_int_equal(db_trouble(db), DB_AWAY);
    assert_string_equal(db_sqlstate(db), "25P03");
    db_close(db);
}

static void a_reader_can_not_write(void **state)
{
    (void)state;
    struct db *db = open_db(DB_PLAN_READS);
    assert_int_equal(db_run(db, "INSERT INTO db_thing VALUES (1, 1)", NULL), ERR_BUG);
    assert_string_equal(db_sqlstate(db), "25006");
    db_close(db);
}

static void copy_is_refused_instead_of_waited_for(void **state)
{
    assert_int_equal(db_run(*state, "COPY db_thing FROM STDIN", NULL), ERR_DB);
    assert_false(db_is_open(*state));
}

/* ---- values ---- */

static const struct db_stmt VALUES = {
    "test_values", "SELECT $1::bigint, $2::boolean, $3::text, $4::uuid, $5::numeric(20,6), $6::timestamptz, $7::text"};

static void values_go_out_and_come_back_the_same(void **state)
{
    struct db *db = *state;
    static const struct {
        int64_t i;
        bool b;
        const char *text;
        decimal_t d;
        time_us_t t;
    } CASES[] = {
        {0, false, "", 0, 0},
        {INT64_MAX, true, "O'Hara \"q\" \\ {a,b} NULL", INT64_MAX, 1795546688123456},
        {INT64_MIN, true, "çğıöşü – ₺", INT64_MIN + 1, 1795546688100000},
        {-1, false, "NULL", -1, 1795546688000000},
        {7, true, "two\nlines\ttab", 187250000, 253402300799999999},
    };
    struct arena arena;
    arena_init(&arena);
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        struct uuid id = uuid_v7();
        struct db_args a = db_args(&arena);
        db_arg_i64(&a, CASES[i].i);
        db_arg_bool(&a, CASES[i].b);
        db_arg_text(&a, CASES[i].text);
        db_arg_uuid(&a, id);
        db_arg_decimal(&a, CASES[i].d);
        db_arg_time(&a, CASES[i].t);
        db_arg_null(&a);
        CLEANUP_ROWS struct db_rows *rows = NULL;
        query(db, &VALUES, &a, &rows);
        assert_int_equal(db_count(rows), 1);
        assert_true(db_i64(rows, 0, 0) == CASES[i].i);
        assert_int_equal(db_bool(rows, 0, 1), CASES[i].b);
        assert_string_equal(db_text(rows, 0, 2), CASES[i].text);
        assert_true(uuid_eq(db_uuid(rows, 0, 3), id));
        assert_true(db_decimal(rows, 0, 4) == CASES[i].d);
        assert_true(db_time(rows, 0, 5) == CASES[i].t);
        assert_true(db_null(rows, 0, 6));
        assert_string_equal(db_text(rows, 0, 6), "");
        assert_true(uuid_is_nil(db_uuid(rows, 0, 6)));
    }
    arena_done(&arena);
}

static const struct db_stmt TEXTS = {"test_texts",
                                     "SELECT x FROM unnest($1::text[]) WITH ORDINALITY AS u(x, n) ORDER BY n"};

static void texts_of_an_array_come_back_the_same(void **state)
{
    static const char *const CASES[] = {
        "",     " ",    "NULL",          "null",  "a,b",    "{}",   "}",    "\"", "\\",
        "\\\"", "\"\"", "back\\slash\\", " lead", "trail ", "\n\t", "çğı₺", NULL, "end",
    };
    enum { COUNT_OF = sizeof CASES / sizeof CASES[0] };
    struct arena arena;
    struct db_array x;
    arena_init(&arena);
    db_array_init(&x);
    for (int i = 0; i < COUNT_OF; i++)
        db_array_text(&x, CASES[i]);
    struct db_args a = db_args(&arena);
    db_arg_array(&a, &x);
    CLEANUP_ROWS struct db_rows *rows = NULL;
    query(*state, &TEXTS, &a, &rows);
    assert_int_equal(db_count(rows), COUNT_OF);
    for (int i = 0; i < COUNT_OF; i++) {
        assert_int_equal(db_null(rows, i, 0), CASES[i] == NULL);
        assert_string_equal(db_text(rows, i, 0), CASES[i] != NULL ? CASES[i] : "");
    }

    /* Emptied by its use: the next argument made of it is the empty array, the one after starts anew. */
    a = db_args(&arena);
    db_arg_array(&a, &x);
    CLEANUP_ROWS struct db_rows *none = NULL;
    query(*state, &TEXTS, &a, &none);
    assert_int_equal(db_count(none), 0);
    db_array_text(&x, "again");
    a = db_args(&arena);
    db_arg_array(&a, &x);
    CLEANUP_ROWS struct db_rows *again = NULL;
    query(*state, &TEXTS, &a, &again);
    assert_string_equal(db_text(again, 0, 0), "again");
    db_array_done(&x);
    arena_done(&arena);
}

static const struct db_stmt COLUMNS = {
    "test_columns",
    "SELECT i, b, u, d, t FROM unnest($1::bigint[], $2::boolean[], $3::uuid[], $4::numeric[], $5::timestamptz[])"
    " AS x(i, b, u, d, t)"};

static void arrays_of_every_type_line_up(void **state)
{
    enum { ROWS = 500, TYPES = 5 };
    struct arena arena;
    struct db_array x[TYPES];
    struct uuid ids[ROWS];
    arena_init(&arena);
    for (int c = 0; c < TYPES; c++)
        db_array_init(&x[c]);
    for (int i = 0; i < ROWS; i++) {
        ids[i] = uuid_v7();
        db_array_i64(&x[0], i);
        db_array_bool(&x[1], i % 2 == 0);
        db_array_uuid(&x[2], ids[i]);
        db_array_decimal(&x[3], -i);
        if (i % 3 == 0)
            db_array_null(&x[4]);
        else
            db_array_time(&x[4], i);
    }
    struct db_args a = db_args(&arena);
    for (int c = 0; c < TYPES; c++)
        db_arg_array(&a, &x[c]);
    CLEANUP_ROWS struct db_rows *rows = NULL;
    query(*state, &COLUMNS, &a, &rows);
    assert_int_equal(db_count(rows), ROWS);
    for (int i = 0; i < ROWS; i++) {
        assert_int_equal(db_i64(rows, i, 0), i);
        assert_int_equal(db_bool(rows, i, 1), i % 2 == 0);
        assert_true(uuid_eq(db_uuid(rows, i, 2), ids[i]));
        assert_int_equal(db_decimal(rows, i, 3), -i);
        assert_int_equal(db_null(rows, i, 4), i % 3 == 0);
        if (i % 3 != 0)
            assert_int_equal(db_time(rows, i, 4), i);
    }
    for (int c = 0; c < TYPES; c++)
        db_array_done(&x[c]);
    arena_done(&arena);
}

/* ---- pipeline ---- */

static void log_row(void *arg, const struct db_rows *rows)
{
    struct buf *b = arg;
    buf_printf(b, "%lld/%lld ", (long long)(db_count(rows) > 0 ? db_i64(rows, 0, 0) : -1),
               (long long)db_affected(rows));
}

static void handlers_get_their_results_in_order(void **state)
{
    struct db *db = *state;
    struct arena arena;
    struct buf b;
    arena_init(&arena);
    buf_init(&b);
    db_enqueue(db, &BEGIN, NULL, log_row, &b);
    for (int i = 0; i < 3; i++) {
        struct db_args a = db_args(&arena);
        db_arg_i64(&a, i);
        db_arg_decimal(&a, i);
        db_arg_null(&a);
        db_enqueue(db, &ADD, &a, log_row, &b);
        db_enqueue(db, &COUNT, NULL, log_row, &b);
    }
    db_enqueue(db, &COMMIT, NULL, log_row, &b);
    assert_int_equal(db_sync(db, SYNC_MS, NULL), ERR_OK);
    assert_string_equal(buf_cstr(&b), "-1/0 -1/1 1/1 -1/1 2/1 -1/1 3/1 -1/0 ");
    buf_done(&b);
    arena_done(&arena);
}

static void what_is_discarded_was_never_sent(void **state)
{
    struct db *db = *state;
    struct arena arena;
    arena_init(&arena);
    add(db, &arena, 1, 0);
    db_discard(db);
    assert_int_equal(number(db, &COUNT, NULL), 0);
    assert_int_equal(db_sync(db, SYNC_MS, NULL), ERR_OK); /* an empty pipeline is fine */
    arena_done(&arena);
}

static const struct db_stmt ECHO = {"test_echo", "SELECT $1::text"};

static void length_handler(void *arg, const struct db_rows *rows)
{
    *(size_t *)arg += strlen(db_text(rows, 0, 0));
}

static void more_than_the_socket_holds_goes_both_ways(void **state)
{
    enum { SIZE = 1 << 20, TIMES = 16 };
    struct db *db = *state;
    struct arena arena;
    arena_init(&arena);
    char *text = arena_alloc(&arena, SIZE + 1);
    memset(text, 'x', SIZE);
    size_t total = 0;
    for (int i = 0; i < TIMES; i++) {
        struct db_args a = db_args(&arena);
        db_arg_text(&a, text);
        db_enqueue(db, &ECHO, &a, length_handler, &total);
    }
    assert_int_equal(db_sync(db, SYNC_MS, NULL), ERR_OK);
    assert_int_equal(total, (size_t)SIZE * TIMES);
    arena_done(&arena);
}

static const struct db_stmt PREPARED = {
    "test_prepared", "SELECT count(*) FROM pg_prepared_statements WHERE name IN ('test_one', 'test_prepared')"};

static void a_statement_is_prepared_once_a_connection(void **state)
{
    struct db *db = *state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(number(db, &ONE, NULL), 1);
        assert_int_equal(number(db, &PREPARED, NULL), 2);
    }
}

/* ---- notifications ---- */

static void *notify_later(void *arg)
{
    run(arg, "NOTIFY test_db");
    return NULL;
}

static void a_notification_wakes_the_listener(void **state)
{
    struct db *listener = open_db(DB_PLAN_READS);
    run(listener, "LISTEN test_db");
    assert_int_equal(db_wait_notify(listener, 20), 0);

    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, notify_later, *state), 0);
    assert_int_equal(db_wait_notify(listener, 5000), 1);
    pthread_join(thread, NULL);
    assert_int_equal(db_wait_notify(listener, 0), 0);

    /* One that came in with a query's result is not lost. */
    run(*state, "NOTIFY test_db");
    assert_int_equal(number(listener, &ONE, NULL), 1);
    assert_int_equal(db_wait_notify(listener, 1000), 1);

    struct arena arena;
    arena_init(&arena);
    struct db_args a = db_args(&arena);
    db_arg_i64(&a, db_backend_pid(listener));
    assert_int_equal(number(*state, &KILL, &a), 1);
    assert_int_equal(db_wait_notify(listener, 5000), -1);
    assert_false(db_is_open(listener));
    db_close(listener);
    arena_done(&arena);
}

int main(void)
{
#define STORY(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(open_says_why_it_could_not),
        cmocka_unit_test(open_gives_up_at_its_time_on_a_server_that_says_nothing),
        cmocka_unit_test(each_plan_has_its_settings),
        STORY(an_error_is_classed_by_its_sqlstate),
        STORY(a_statement_that_is_no_sql_is_a_bug_and_the_connection_goes_on),
        STORY(an_argument_of_another_type_is_a_culprit),
        STORY(after_an_error_the_rest_of_a_batch_is_skipped_and_rollback_heals),
        STORY(statements_without_begin_are_one_transaction_and_may_fail_at_its_end),
        STORY(a_timeout_loses_the_connection_and_the_outcome_is_unknown),
        STORY(a_backend_that_is_terminated_is_a_loss_with_its_reason),
        STORY(a_connection_killed_while_idle_is_found_at_its_next_use),
        STORY(a_lane_that_stops_inside_a_transaction_is_thrown_out),
        STORY(a_reader_can_not_write),
        STORY(copy_is_refused_instead_of_waited_for),
        STORY(values_go_out_and_come_back_the_same),
        STORY(texts_of_an_array_come_back_the_same),
        STORY(arrays_of_every_type_line_up),
        STORY(handlers_get_their_results_in_order),
        STORY(what_is_discarded_was_never_sent),
        STORY(more_than_the_socket_holds_goes_both_ways),
        STORY(a_statement_is_prepared_once_a_connection),
        STORY(a_notification_wakes_the_listener),
    };
    return cmocka_run_group_tests_name("db", tests, NULL, NULL);
}
