/* readers.h against a real PostgreSQL and a real HTTP server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <arpa/inet.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "support/need_env.h"
#include "support/scratch.h"
#include "svc/readers.h"

enum { PATIENCE_MS = 5000, REPLY_MAX = 16 * 1024 };

struct fixture {
    struct scratch scratch;
    struct readers *readers;
    struct http_server *server;
    atomic_int runs; /* of queries */
};

/* ---- routes ---- */

static const struct db_stmt NUMBER = {"readers_number", "SELECT 42"};
static const struct db_stmt KILL_ME = {"readers_kill_me", "SELECT pg_terminate_backend(pg_backend_pid())"};
static const struct db_stmt SLEEP = {"readers_sleep", "SELECT pg_sleep(0.4)"};
static const struct db_stmt WRITE = {"readers_write", "INSERT INTO customer VALUES (1, now())"};

static struct fixture *fixture_of(struct call *call)
{
    return call->app;
}

static enum err answer_number(struct call *call, struct db *db)
{
    struct db_args none = db_args(&call->arena);
    CLEANUP_ROWS struct db_rows *rows = NULL;
    enum err e = db_query(db, &NUMBER, &none, &rows, &call->fault);
    if (e != ERR_OK)
        return e;
    buf_printf(&call->out, "{\"number\":%s}", db_text(rows, 0, 0));
    call_reply(call, 200);
    return ERR_OK;
}

static enum err query_number(struct call *call, struct db *db)
{
    atomic_fetch_add(&fixture_of(call)->runs, 1);
    return answer_number(call, db);
}

/* Has written half an answer when its connection dies, the first time. */
static enum err query_dying(struct call *call, struct db *db)
{
    struct db_args none = db_args(&call->arena);
    if (atomic_fetch_add(&fixture_of(call)->runs, 1) > 0)
        return answer_number(call, db);
    buf_str(&call->out, "{\"half\":");
    call_reply(call, 418);
    call_reply_header(call, "X-Half", "yes");
    return db_query(db, &KILL_ME, &none, NULL, &call->fault);
}

static enum err query_dying_always(struct call *call, struct db *db)
{
    struct db_args none = db_args(&call->arena);
    atomic_fetch_add(&fixture_of(call)->runs, 1);
    return db_query(db, &KILL_ME, &none, NULL, &call->fault);
}

static enum err query_slow(struct call *call, struct db *db)
{
    struct db_args none = db_args(&call->arena);
    atomic_fetch_add(&fixture_of(call)->runs, 1);
    enum err e = db_query(db, &SLEEP, &none, NULL, &call->fault);
    return e != ERR_OK ? e : answer_number(call, db);
}

static enum err query_write(struct call *call, struct db *db)
{
    struct db_args none = db_args(&call->arena);
    return db_query(db, &WRITE, &none, NULL, &call->fault);
}

static enum err query_nothing(struct call *call, struct db *db)
{
    (void)db;
    return fault_set(&call->fault, ERR_NOT_FOUND, "it is not there");
}

#define ON(name) \
    static enum err on_##name(struct call *call) \
    { \
        return readers_submit(fixture_of(call)->readers, call, query_##name); \
    }
ON(number)
ON(dying)
ON(dying_always)
ON(slow)
ON(write)
ON(nothing)

/* A command that was committed, and whose answer is yet to be read. */
static enum err on_committed(struct call *call)
{
    call_defer(call);
    readers_pass(fixture_of(call)->readers, call, query_number);
    return ERR_OK;
}

static const struct http_route ROUTES[] = {
    {HTTP_GET, "/number", WHO_ANYONE, on_number, 0},
    {HTTP_GET, "/dying", WHO_ANYONE, on_dying, 0},
    {HTTP_GET, "/dying-always", WHO_ANYONE, on_dying_always, 0},
    {HTTP_GET, "/slow", WHO_ANYONE, on_slow, 0},
    {HTTP_GET, "/write", WHO_ANYONE, on_write, 0},
    {HTTP_GET, "/nothing", WHO_ANYONE, on_nothing, 0},
    {HTTP_GET, "/committed", WHO_ANYONE, on_committed, 0},
    {HTTP_GET, NULL, WHO_ANYONE, NULL, 0},
};

/* ---- a client ---- */

struct answer {
    int status;
    char text[REPLY_MAX]; /* head and body */
};

static int ask(struct fixture *f, const char *path, const char *header)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)http_server_port(f->server)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct timeval patience = {.tv_sec = PATIENCE_MS / 1000};
    char request[512];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&to, sizeof to), 0);
    int len = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: t\r\nConnection: close\r\n%s\r\n", path,
                       header);
    assert_int_equal(write(fd, request, (size_t)len), len);
    return fd;
}

static struct answer answer_of(int fd)
{
    struct answer a = {.status = 0};
    size_t len = 0;
    for (ssize_t n; (n = read(fd, a.text + len, sizeof a.text - 1 - len)) > 0;)
        len += (size_t)n;
    close(fd);
    if (!str_starts(a.text, "HTTP/1.1 "))
        fail_msg("no answer: \"%s\"", a.text);
    a.status = (int)strtol(a.text + strlen("HTTP/1.1 "), NULL, 10);
    return a;
}

static struct answer get(struct fixture *f, const char *path)
{
    return answer_of(ask(f, path, ""));
}

/* ---- set-up ---- */

static bool are_up(void *arg)
{
    return readers_are_up(arg);
}

static bool are_down(void *arg)
{
    return !readers_are_up(arg);
}

static bool query_runs(void *arg)
{
    return atomic_load(&((struct fixture *)arg)->runs) > 0;
}

static bool four_in_flight(void *arg)
{
    return http_calls_in_flight(((struct fixture *)arg)->server) == 4;
}

static void open_readers(struct fixture *f, int threads)
{
    const struct db_conf conf = scratch_conf(&f->scratch, DB_PLAN_READS, "readers");
    struct fault fault;
    assert_int_equal(readers_open(&conf, threads, f->scratch.log, f->scratch.metrics, f, &f->readers, &fault), ERR_OK);
}

static void open_server(struct fixture *f)
{
    const struct http_server_conf conf = {.listen = "127.0.0.1:0", .threads = 1, .routes = ROUTES, .app = f};
    struct fault fault;
    if (http_server_open(&conf, &f->server, &fault) != ERR_OK)
        fail_msg("%s", fault.why);
}

/* One reader, so that one call can stand in another's way. */
static int set_up(void **state)
{
    struct fixture *f = mem_alloc(sizeof *f);
    scratch_open(&f->scratch, "readers");
    open_readers(f, 1);
    open_server(f);
    assert_true(scratch_await(are_up, f->readers, PATIENCE_MS));
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    readers_close(f->readers);
    http_server_close(f->server);
    scratch_close(&f->scratch);
    mem_free(f);
    return 0;
}

/* Only from another database can one say who may connect. */
static void allow_connections(bool allow)
{
    const struct db_conf conf = {.url = need_env("TEST_DB_URL"),
                                 .password = getenv("TEST_DB_PASSWORD"),
                                 .plan = DB_PLAN_OWNER,
                                 .application_name = "test"};
    struct db *db;
    struct fault fault = {.err = ERR_OK};
    assert_int_equal(db_open(&conf, PATIENCE_MS, &db, &fault), ERR_OK);
    const char *sql = allow ? "ALTER DATABASE test_readers ALLOW_CONNECTIONS true"
                            : "ALTER DATABASE test_readers ALLOW_CONNECTIONS false";
    assert_int_equal(db_run(db, sql, &fault), ERR_OK);
    db_close(db);
}

static void kill_sessions(struct fixture *f)
{
    scratch_run(&f->scratch,
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'readers'");
}

/* ---- failures first ---- */

static void while_the_database_is_away_calls_get_503_at_once(void **state)
{
    struct fixture *f = *state;
    allow_connections(false);
    kill_sessions(f);
    assert_true(scratch_await(are_down, f->readers, PATIENCE_MS)); /* noticed without any call */

    mono_ns_t began = clock_mono_ns();
    struct answer a = get(f, "/number");
    assert_int_equal(a.status, 503);
    assert_non_null(strstr(a.text, "Retry-After: "));
    assert_non_null(strstr(a.text, "\"code\":\"unavailable\""));
    assert_true(clock_mono_ns() - began < 1000 * NS_PER_MS);
    a = get(f, "/committed"); /* it is done: nobody may hear that it is not */
    assert_int_equal(a.status, 504);
    assert_non_null(strstr(a.text, "\"code\":\"outcome_unknown\""));
    assert_int_equal(atomic_load(&f->runs), 0);

    allow_connections(true);
    assert_true(scratch_await(are_up, f->readers, PATIENCE_MS));
    assert_int_equal(get(f, "/number").status, 200);
}

static void a_call_that_meets_the_end_of_the_last_connection_gets_503(void **state)
{
    struct fixture *f = *state;
    allow_connections(false);
    struct answer a = get(f, "/dying");
    assert_int_equal(a.status, 503);
    assert_null(strstr(a.text, "X-Half"));
    assert_int_equal(atomic_load(&f->runs), 1);
    allow_connections(true);
}

static void a_query_is_run_again_once_and_not_for_ever(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(get(f, "/dying-always").status, 503);
    assert_int_equal(atomic_load(&f->runs), 2);
    assert_true(scratch_await(are_up, f->readers, PATIENCE_MS));
}

static void a_call_whose_time_is_up_in_the_queue_gets_504_without_a_query(void **state)
{
    struct fixture *f = *state;
    int first = ask(f, "/slow", "");
    assert_true(scratch_await(query_runs, f, PATIENCE_MS)); /* and stands in the way */
    struct answer a = answer_of(ask(f, "/number", "X-Request-Deadline-Ms: 50\r\n"));
    assert_int_equal(a.status, 504);
    assert_int_equal(answer_of(first).status, 200);
    assert_int_equal(atomic_load(&f->runs), 1);
}

static void a_refusal_becomes_a_problem(void **state)
{
    struct answer a = get(*state, "/nothing");
    assert_int_equal(a.status, 404);
    assert_non_null(strstr(a.text, "it is not there"));
}

static void a_reader_can_not_write(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(get(f, "/write").status, 500);
    assert_int_equal(scratch_number(&f->scratch, "SELECT count(*) FROM customer"), 0);
}

static void too_many_or_no_readers_are_a_wrong_setting(void **state)
{
    struct fixture *f = *state;
    const struct db_conf conf = scratch_conf(&f->scratch, DB_PLAN_READS, "readers");
    static const int COUNTS[] = {0, -1, READERS_MAX + 1};
    for (size_t i = 0; i < sizeof COUNTS / sizeof COUNTS[0]; i++) {
        struct readers *none = NULL;
        struct fault fault;
        assert_int_equal(readers_open(&conf, COUNTS[i], f->scratch.log, f->scratch.metrics, f, &none, &fault),
                         ERR_CONF);
        assert_null(none);
    }
}

static void closing_answers_what_waits(void **state)
{
    struct fixture *f = *state;
    int fds[4];
    fds[0] = ask(f, "/slow", "");
    assert_true(scratch_await(query_runs, f, PATIENCE_MS));
    for (int i = 1; i < 4; i++)
        fds[i] = ask(f, "/number", "");
    assert_true(scratch_await(four_in_flight, f, PATIENCE_MS));
    readers_close(f->readers);
    f->readers = NULL;
    for (int i = 0; i < 4; i++) /* what was in the queue is served to its end */
        assert_int_equal(answer_of(fds[i]).status, 200);
}

/* ---- and when all is well ---- */

static void a_query_answers_its_call(void **state)
{
    struct answer a = get(*state, "/number");
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.text, "{\"number\":42}"));
}

/* The connection died while idle, or under the query: the client sees nothing of it, nor of the first run's half answer. */
static void a_query_that_meets_a_dead_connection_is_run_again(void **state)
{
    struct fixture *f = *state;
    struct answer a = get(f, "/dying");
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.text, "\r\n\r\n{\"number\":42}"));
    assert_null(strstr(a.text, "X-Half"));
    assert_int_equal(atomic_load(&f->runs), 2);

    kill_sessions(f);
    a = get(f, "/number");
    assert_true(a.status == 200 || a.status == 503); /* 503: the reader had noticed, and was just connecting */
    assert_true(scratch_await(are_up, f->readers, PATIENCE_MS));
    assert_int_equal(get(f, "/number").status, 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(while_the_database_is_away_calls_get_503_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_call_that_meets_the_end_of_the_last_connection_gets_503, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_query_is_run_again_once_and_not_for_ever, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_call_whose_time_is_up_in_the_queue_gets_504_without_a_query, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_refusal_becomes_a_problem, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_reader_can_not_write, set_up, tear_down),
        cmocka_unit_test_setup_teardown(too_many_or_no_readers_are_a_wrong_setting, set_up, tear_down),
        cmocka_unit_test_setup_teardown(closing_answers_what_waits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_query_answers_its_call, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_query_that_meets_a_dead_connection_is_run_again, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
