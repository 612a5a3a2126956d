/* service.h: two small services, run as processes of their own, from their settings to their end. POST /things at the first
 * stores a thing and publishes thing.asked; the second answers thing.done, on which the first marks the thing done: that ends
 * the saga, and answers the call. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/need_env.h"
#include "support/scratch.h"
#include "svc/service.h"

enum {
    PATIENCE_MS = 20000,
    STOP_MS = 10000, /* the promise */
    REPLY_MAX = 64 * 1024,
    FILE_MAX = 64 * 1024,
    TEXT_MAX = 256,
    THINGS_MAX = LANE_BATCH_MAX,
};

/* ================ the service ================ */

struct things_batch {
    struct uuid asked[THINGS_MAX], done[THINGS_MAX];
    size_t asked_count, done_count;
};

static const struct db_stmt ADD = {"thing_add",
                                   "INSERT INTO thing (id, done) SELECT id, false FROM unnest($1::uuid[]) AS x (id)"};
static const struct db_stmt FINISH = {"thing_finish", "UPDATE thing SET done = true WHERE id = ANY ($1::uuid[])"};
static const struct db_stmt READ = {"thing_read", "SELECT id FROM thing WHERE done AND id = ANY ($1::uuid[])"};

static struct db_args ids_arg(struct arena *arena, const struct uuid *ids, size_t count)
{
    struct db_args args = db_args(arena);
    struct db_array array;
    db_array_init(&array);
    for (size_t i = 0; i < count; i++)
        db_array_uuid(&array, ids[i]);
    db_arg_array(&args, &array);
    db_array_done(&array);
    return args;
}

static void save(struct batch *b)
{
    const struct things_batch *t = b->state;
    struct db_args asked = ids_arg(b->arena, t->asked, t->asked_count),
                   done = ids_arg(b->arena, t->done, t->done_count);
    db_enqueue(b->db, &ADD, &asked, NULL, NULL);
    db_enqueue(b->db, &FINISH, &done, NULL, NULL);
}

static void committed(struct batch *b)
{
    const struct things_batch *t = b->state;
    const struct service *s = b->app;
    for (size_t i = 0; i < t->done_count; i++)
        waiters_offer(s->waiters, t->done[i], b);
}

static void decide_ask(struct batch *b, struct lane_item *it)
{
    struct things_batch *t = b->state;
    char id[UUID_TEXT_MAX];
    uuid_format(it->resource_id, id);
    t->asked[t->asked_count++] = it->resource_id;
    batch_emit(b, "thing.asked", 7, id, str_of(arena_printf(b->arena, "{\"id\":\"%s\"}", id)));
}

static enum err decode_id(const struct event *e, struct arena *arena, void **ret_args, int64_t *ret_customer_id,
                          struct fault *fault)
{
    struct uuid *id = ARENA_NEW(arena, struct uuid);
    *ret_args = id;
    *ret_customer_id = 7;
    return json_get_uuid(e->data, "id", id) ? ERR_OK : fault_set(fault, ERR_INVALID, "id");
}

/* The second service's. */
static void decide_asked(struct batch *b, struct lane_item *it)
{
    char id[UUID_TEXT_MAX];
    uuid_format(*(struct uuid *)it->args, id);
    batch_emit(b, "thing.done", 7, id, str_of(arena_printf(b->arena, "{\"id\":\"%s\"}", id)));
}

static void decide_done(struct batch *b, struct lane_item *it)
{
    struct things_batch *t = b->state;
    t->done[t->done_count++] = *(struct uuid *)it->args;
}

static const struct lane_ops OPS = {.state_size = sizeof(struct things_batch), .save = save, .committed = committed};
static const struct lane_verb ASK = {.name = "ask", .decide = decide_ask, .answer = service_await};
static const struct lane_verb ASKED = {.name = "thing.asked", .decide = decide_asked};
static const struct lane_verb DONE = {.name = "thing.done", .decide = decide_done};

static bool settled(struct waiter *w, const void *resource)
{
    (void)resource;
    struct json_out o = json_out(&w->call->out);
    json_open(&o, NULL, '{');
    json_put_uuid(&o, "id", w->id);
    json_close(&o, '}');
    if (w->replayed)
        call_reply_header(w->call, "Idempotency-Replayed", "true");
    call_reply(w->call, 201);
    call_finish(w->call, ERR_OK);
    return true;
}

static void late(struct waiter *w)
{
    service_accepted(w, "/things");
}

static enum err on_ask(struct call *call)
{
    struct waiter *w = ARENA_NEW(&call->arena, struct waiter);
    *w = (struct waiter){.settled = settled, .late = late};
    return service_submit(call, service_command(call, &ASK, NULL, 7, uuid_v7(), ""), w);
}

static enum err query_count(struct call *call, struct db *db)
{
    static const struct db_stmt COUNT = {"thing_count", "SELECT count(*) FROM thing"};
    struct db_args none = db_args(&call->arena);
    CLEANUP_ROWS struct db_rows *rows = NULL;
    enum err e = db_query(db, &COUNT, &none, &rows, &call->fault);
    if (e != ERR_OK)
        return e;
    buf_str(&call->out, db_text(rows, 0, 0));
    call_reply(call, 200);
    return ERR_OK;
}

static enum err on_count(struct call *call)
{
    return readers_submit(call_service(call)->readers, call, query_count);
}

static enum err reread(void *app, struct db *db, const struct uuid *ids, size_t count, struct fault *fault)
{
    const struct service *s = app;
    struct arena arena;
    arena_init(&arena);
    struct db_args args = ids_arg(&arena, ids, count);
    CLEANUP_ROWS struct db_rows *rows = NULL;
    enum err e = db_query(db, &READ, &args, &rows, fault);
    for (int r = 0; e == ERR_OK && r < db_count(rows); r++)
        waiters_offer(s->waiters, db_uuid(rows, r, 0), s);
    arena_done(&arena);
    return e;
}

static int serve(int argc, char **argv)
{
    const char *const consumes[] = {getenv("TEST_CONSUMES"), NULL};
    static const struct event_kind KINDS[] = {
        {"thing.asked", decode_id, &ASKED},
        {"thing.done", decode_id, &DONE},
        {.type = NULL},
    };
    static const struct http_route ROUTES[] = {
        {HTTP_POST, "/things", WHO_ANYONE, on_ask, ROUTE_IDEMPOTENT | ROUTE_OPTIONAL_BODY},
        {HTTP_GET, "/things", WHO_ANYONE, on_count, 0},
        {HTTP_GET, NULL, WHO_ANYONE, NULL, 0},
    };
    static const struct migration MIGRATIONS[] = {
        {1, "things", "CREATE TABLE thing (id uuid PRIMARY KEY, done boolean NOT NULL)"},
        {0},
    };
    const struct service_spec spec = {
        .name = getenv("TEST_NAME"),
        .schema = getenv("TEST_SCHEMA"),
        .topic = getenv("TEST_TOPIC"),
        .consumes = consumes,
        .kinds = KINDS,
        .ops = &OPS,
        .routes = ROUTES,
        .migrations = MIGRATIONS,
        .reread = reread,
        .settings_size = sizeof(struct service_settings),
    };
    return service_main(&spec, argc, argv);
}

/* ================ its tests ================ */

/* One of the two processes. */
struct process_of_test {
    const char *schema;
    char name[EVENT_SOURCE_MAX], topic[32], consumes[32]; /* of this run alone: Kafka remembers earlier ones */
    int port, operator_port;
    pid_t pid; /* 0: does not run */
};

/* For all tests: the databases, and the second service, which runs all the time. */
struct fixture {
    struct scratch scratch, second_scratch;
    char folder[64], jwks[96], password[96], log[96], err[96];
    struct process_of_test first, second;
    /* for one test */
    struct door *database; /* shut */
    char url[256], away_url[256], environment[32];
    const char *brokers, *threads;
};

static int free_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    close(fd);
    return ntohs(at.sin_port);
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void read_file(const char *path, char *ret, size_t cap)
{
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    ret[fread(ret, 1, cap - 1, f)] = '\0';
    assert_int_equal(fclose(f), 0);
}

/* The same database by way of a door that is shut. */
static void make_away_url(struct fixture *f)
{
    const char *at = strrchr(f->url, '@'), *path = strrchr(f->url, '/');
    char address[64];
    assert_true(at != NULL && path != NULL);
    snprintf(address, sizeof address, "%.*s", (int)(path - at - 1), at + 1);
    f->database = door_new(address);
    snprintf(f->away_url, sizeof f->away_url, "%.*s%s%s", (int)(at + 1 - f->url), f->url, door_address(f->database),
             path);
}

static void write_keys(const struct fixture *f)
{
    /* the key of RFC 7515, appendix A.3 */
    write_file(f->jwks, "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"use\":\"sig\",\"alg\":\"ES256\",\"kid\":\"k1\","
                        "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
                        "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}]}");
}

static void make_files(struct fixture *f)
{
    strcpy(f->folder, "/tmp/test_service.XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->jwks, sizeof f->jwks, "%s/jwks.json", f->folder);
    snprintf(f->password, sizeof f->password, "%s/password", f->folder);
    snprintf(f->log, sizeof f->log, "%s/log", f->folder);
    snprintf(f->err, sizeof f->err, "%s/err", f->folder);
    write_file(f->password, need_env("TEST_DB_PASSWORD"));
    write_keys(f);
}

static void remove_files(struct fixture *f)
{
    const char *const files[] = {f->jwks, f->password, f->log, f->err};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        (void)unlink(files[i]);
    (void)rmdir(f->folder);
}

/* ---- the process ---- */

enum { SETTINGS_MAX = 20 };

struct settings {
    struct arena arena;
    char *items[SETTINGS_MAX + 1];
    size_t count;
};

static void set(struct settings *s, const char *name, const char *value)
{
    assert_true(s->count < SETTINGS_MAX);
    if (value != NULL)
        s->items[s->count++] = arena_printf(&s->arena, "%s=%s", name, value);
}

static void set_port(struct settings *s, const char *name, int port)
{
    s->items[s->count++] = arena_printf(&s->arena, "%s=127.0.0.1:%d", name, port);
}

static void spawn(struct fixture *f, struct process_of_test *p, const char *url)
{
    struct settings s = {.count = 0};
    arena_init(&s.arena);
    set(&s, "TEST_SERVE", "1");
    set(&s, "TEST_NAME", p->name);
    set(&s, "TEST_SCHEMA", p->schema);
    set(&s, "TEST_TOPIC", p->topic);
    set(&s, "TEST_CONSUMES", p->consumes);
    set_port(&s, "LISTEN", p->port);
    set_port(&s, "OPERATOR_LISTEN", p->operator_port);
    set(&s, "DB_URL", url);
    set(&s, "DB_PASSWORD_FILE", f->password);
    set(&s, "DB_OWNER_URL", url);
    set(&s, "DB_OWNER_PASSWORD_FILE", f->password);
    set(&s, "JWKS_FILE", f->jwks);
    set(&s, "KAFKA_BROKERS", f->brokers);
    set(&s, "HTTP_THREADS", f->threads);
    set(&s, "ENVIRONMENT", f->environment);
    set(&s, "ASAN_OPTIONS", getenv("ASAN_OPTIONS"));
    set(&s, "TSAN_OPTIONS", getenv("TSAN_OPTIONS"));

    char name[] = "test_service", *argv[] = {name, NULL};
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, f->log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    posix_spawn_file_actions_addopen(&files, STDERR_FILENO, f->err, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_int_equal(posix_spawn(&p->pid, "/proc/self/exe", &files, NULL, argv, s.items), 0);
    posix_spawn_file_actions_destroy(&files);
    arena_done(&s.arena);
}

static void start(struct fixture *f, const char *url)
{
    spawn(f, &f->first, url);
}

struct ending {
    pid_t pid;
    int status;
};

static bool has_ended(void *arg)
{
    struct ending *e = arg;
    return waitpid(e->pid, &e->status, WNOHANG) == e->pid;
}

/* How it ended; within `timeout_ms`. */
static int exit_code(struct fixture *f, int timeout_ms)
{
    struct ending e = {.pid = f->first.pid};
    if (!scratch_await(has_ended, &e, timeout_ms))
        fail_msg("it still runs after %d ms", timeout_ms);
    f->first.pid = 0;
    assert_true(WIFEXITED(e.status));
    return WEXITSTATUS(e.status);
}

/* Ends it as operators do. */
static void stop_well(struct fixture *f)
{
    assert_int_equal(kill(f->first.pid, SIGTERM), 0);
    assert_int_equal(exit_code(f, STOP_MS), 0);
}

static void assert_says(const char *file, const char *what)
{
    char text[FILE_MAX];
    read_file(file, text, sizeof text);
    if (strstr(text, what) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", what, text);
}

/* ---- a client ---- */

struct answer {
    int status;
    char text[REPLY_MAX]; /* head and body */
};

/* The socket, or -1: nobody listens. */
static int ask(int port, const char *request)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct timeval patience = {.tv_sec = PATIENCE_MS / 1000};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    if (connect(fd, (const struct sockaddr *)&to, sizeof to) != 0) {
        close(fd);
        return -1;
    }
    assert_int_equal(write(fd, request, strlen(request)), (ssize_t)strlen(request));
    return fd;
}

static struct answer answer_of(int fd)
{
    struct answer a = {.status = 0};
    size_t len = 0;
    for (ssize_t n; fd >= 0 && (n = read(fd, a.text + len, sizeof a.text - 1 - len)) > 0;)
        len += (size_t)n;
    if (fd >= 0)
        close(fd);
    if (str_starts(a.text, "HTTP/1.1 "))
        a.status = (int)strtol(a.text + strlen("HTTP/1.1 "), NULL, 10); /* else 0: no answer */
    return a;
}

static struct answer get(int port, const char *path)
{
    char request[TEXT_MAX];
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n", path);
    return answer_of(ask(port, request));
}

static int post(struct fixture *f, const char *headers)
{
    char request[TEXT_MAX];
    snprintf(request, sizeof request,
             "POST /things HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Length: 0\r\n%s\r\n", headers);
    return ask(f->first.port, request);
}

static bool is_alive(void *arg)
{
    return get(((struct fixture *)arg)->first.operator_port, "/livez").status == 200;
}

static bool is_ready(void *arg)
{
    return get(((struct fixture *)arg)->first.operator_port, "/readyz").status == 200;
}

static bool publishes(void *arg)
{
    struct answer a = get(((struct fixture *)arg)->first.operator_port, "/readyz?verbose");
    return strstr(a.text, "relay ok publishing") != NULL;
}

/* What isn't so in time is told with what the process said. */
static void await(struct fixture *f, bool (*is_so)(void *arg))
{
    char text[FILE_MAX];
    if (scratch_await(is_so, f, PATIENCE_MS))
        return;
    read_file(f->log, text, sizeof text);
    fail_msg("after %d ms: %s%s", PATIENCE_MS, text, get(f->first.operator_port, "/readyz?verbose").text);
}

static void start_ready(struct fixture *f)
{
    start(f, f->url);
    await(f, is_ready);
}

static void start_publishing(struct fixture *f)
{
    start_ready(f);
    await(f, publishes);
}

/* ---- before and after ---- */

static void process_init(struct process_of_test *p, const char *run, const char *name, const char *reads_from)
{
    *p = (struct process_of_test){.schema = "public", .port = free_port(), .operator_port = free_port()};
    snprintf(p->name, sizeof p->name, "%s-%s", run, name);
    snprintf(p->topic, sizeof p->topic, "%s-%s-events", run, name);
    snprintf(p->consumes, sizeof p->consumes, "%s-%s-events", run, reads_from);
}

static bool second_is_ready(void *arg)
{
    return get(((struct fixture *)arg)->second.operator_port, "/readyz").status == 200;
}

static void make_defaults(struct fixture *f)
{
    strcpy(f->url, f->scratch.url);
    strcpy(f->environment, "test");
    f->brokers = need_env("TEST_KAFKA_BROKERS");
    f->threads = "1";
    f->first.schema = "public";
}

static int set_up_all(void **state)
{
    struct fixture *f = mem_alloc(sizeof *f);
    scratch_open(&f->scratch, "service");
    scratch_open(&f->second_scratch, "service_second");
    process_init(&f->first, f->scratch.run, "first", "second");
    process_init(&f->second, f->scratch.run, "second", "first");
    make_files(f);
    make_defaults(f);
    *state = f;

    spawn(f, &f->second, f->second_scratch.url);
    return scratch_await(second_is_ready, f, PATIENCE_MS) ? 0 : -1;
}

static void end_at_once(struct process_of_test *p)
{
    if (p->pid == 0)
        return;
    kill(p->pid, SIGKILL);
    waitpid(p->pid, NULL, 0);
    p->pid = 0;
}

static int tear_down_all(void **state)
{
    struct fixture *f = *state;
    end_at_once(&f->second);
    remove_files(f);
    scratch_close(&f->second_scratch);
    scratch_close(&f->scratch);
    mem_free(f);
    return 0;
}

static int set_up(void **state)
{
    struct fixture *f = *state;
    make_defaults(f);
    make_away_url(f);
    write_keys(f);
    (void)unlink(f->log);
    scratch_run(&f->scratch,
                "DO $$ BEGIN IF to_regclass('thing') IS NOT NULL THEN TRUNCATE thing, idempotency; END IF; END $$");
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    end_at_once(&f->first);
    door_free(f->database);
    return 0;
}

/* ---- it does not start ---- */

static void every_wrong_setting_is_named_at_once(void **state)
{
    struct fixture *f = *state;
    f->threads = "none";
    f->brokers = "";
    strcpy(f->environment, "Not an env");
    assert_int_equal(unlink(f->jwks), 0);
    start(f, "postgresql://u:hush@127.0.0.1/x");
    assert_int_equal(exit_code(f, PATIENCE_MS), 1);
    static const char *const NAMES[] = {
        ": wrong settings:\n", "\nDB_URL: ",       "\nDB_OWNER_URL: ", "\nKAFKA_BROKERS: ",
        "\nJWKS_FILE: ",       "\nHTTP_THREADS: ", "\nENVIRONMENT: "};
    for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++)
        assert_says(f->err, NAMES[i]);
    char text[FILE_MAX];
    read_file(f->err, text, sizeof text);
    assert_null(strstr(text, "hush"));
}

static void a_taken_port_is_named(void **state)
{
    struct fixture *f = *state;
    start_ready(f);
    pid_t first = f->first.pid;
    f->first.operator_port = free_port();
    start(f, f->url);
    assert_int_equal(exit_code(f, PATIENCE_MS), 1);
    assert_says(f->err, "Address already in use");
    f->first.pid = first;
    stop_well(f);
}

static void a_schema_that_is_not_there_is_named(void **state)
{
    struct fixture *f = *state;
    f->first.schema = "nowhere";
    start(f, f->url);
    assert_int_equal(exit_code(f, PATIENCE_MS), 1);
    assert_says(f->err, "-first: can't start: the database has no schema \"nowhere\"");
}

static void keys_that_are_none_are_named(void **state)
{
    struct fixture *f = *state;
    write_file(f->jwks, "{\"keys\":[]}");
    start(f, f->url);
    assert_int_equal(exit_code(f, PATIENCE_MS), 1);
    assert_says(f->err, "-first: can't start: ");
}

/* ---- the database is away ---- */

static void while_the_database_is_away_it_lives_and_is_not_ready_and_can_be_stopped(void **state)
{
    struct fixture *f = *state;
    start(f, f->away_url);
    await(f, is_alive);
    struct answer a = get(f->first.operator_port, "/readyz?verbose");
    assert_int_equal(a.status, 503);
    assert_non_null(strstr(a.text, "process not starting\nnot ready\n"));
    assert_int_equal(get(f->first.operator_port, "/metrics").status, 503);
    assert_int_equal(get(f->first.port, "/things").status, 0);
    stop_well(f);
    assert_says(f->log, "waiting for the database: ");
}

static void it_starts_when_the_database_comes(void **state)
{
    struct fixture *f = *state;
    start(f, f->away_url);
    await(f, is_alive);
    door_open(f->database);
    await(f, is_ready);
    stop_well(f);
}

/* ---- Kafka is away ---- */

static void without_kafka_it_is_ready_and_promises_and_stops_in_time(void **state)
{
    struct fixture *f = *state;
    f->brokers = "127.0.0.1:1";
    start_ready(f);
    struct answer a = answer_of(post(f, "Prefer: wait=1\r\n"));
    assert_int_equal(a.status, 202);
    assert_non_null(strstr(a.text, "\r\nLocation: /things/"));
    stop_well(f);
    assert_int_equal(scratch_number(&f->scratch, "SELECT count(*) FROM thing WHERE NOT done"), 1);

    /* nothing is lost: it ends when Kafka is there */
    f->brokers = need_env("TEST_KAFKA_BROKERS");
    start_publishing(f);
    a = answer_of(post(f, ""));
    assert_int_equal(a.status, 201);
    assert_int_equal(scratch_number(&f->scratch, "SELECT count(*) FROM thing WHERE done"), 2);
    stop_well(f);
}

/* ---- all is well ---- */

static void a_call_is_answered_at_its_sagas_end(void **state)
{
    struct fixture *f = *state;
    start_publishing(f);
    struct answer a = answer_of(post(f, ""));
    assert_int_equal(a.status, 201);
    assert_int_equal(scratch_number(&f->scratch, "SELECT count(*) FROM thing WHERE done"), 1);
    a = get(f->first.port, "/things");
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.text, "\r\n\r\n1"));
    stop_well(f);
}

static void who_prefers_not_to_wait_gets_202_at_once(void **state)
{
    struct fixture *f = *state;
    start_publishing(f);
    struct answer a = answer_of(post(f, "Prefer: respond-async\r\n"));
    assert_int_equal(a.status, 202);
    assert_non_null(strstr(a.text, "\r\nPreference-Applied: respond-async\r\n"));
    assert_non_null(strstr(a.text, "\r\nLocation: /things/"));
    stop_well(f);
}

static void the_same_key_gives_the_same_thing(void **state)
{
    struct fixture *f = *state;
    start_publishing(f);
    struct answer first = answer_of(post(f, "Idempotency-Key: abcdefgh\r\n"));
    struct answer again = answer_of(post(f, "Idempotency-Key: \"abcdefgh\"\r\n"));
    assert_int_equal(first.status, 201);
    assert_int_equal(again.status, 201);
    assert_null(strstr(first.text, "Idempotency-Replayed"));
    assert_non_null(strstr(again.text, "\r\nIdempotency-Replayed: true\r\n"));
    assert_string_equal(strstr(first.text, "{\"id\""), strstr(again.text, "{\"id\""));
    stop_well(f);
}

/* The one that comes second waits for the first's saga. */
static void the_same_key_twice_at_once_makes_one_thing(void **state)
{
    struct fixture *f = *state;
    enum { CALLS = 8 };
    int fds[CALLS];
    start_publishing(f);
    for (int i = 0; i < CALLS; i++)
        fds[i] = post(f, "Idempotency-Key: abcdefgh\r\n");
    for (int i = 0; i < CALLS; i++)
        assert_int_equal(answer_of(fds[i]).status, 201);
    assert_int_equal(scratch_number(&f->scratch, "SELECT count(*) FROM thing"), 1);
    stop_well(f);
}

static void what_is_in_flight_is_answered_before_the_end(void **state)
{
    struct fixture *f = *state;
    enum { CALLS = 50 };
    int fds[CALLS], answered = 0;
    start_publishing(f);
    for (int i = 0; i < CALLS; i++)
        fds[i] = post(f, "");
    stop_well(f);
    for (int i = 0; i < CALLS; i++) {
        int status = answer_of(fds[i]).status;
        assert_true(status == 201 || status == 202);
        answered += status == 201;
    }
    assert_int_equal(scratch_number(&f->scratch, "SELECT count(*) FROM thing"), CALLS);
    assert_true(scratch_number(&f->scratch, "SELECT count(*) FROM thing WHERE done") >= answered);
    assert_says(f->log, "\"msg\":\"stopped\"");
}

static void operators_see_each_part_and_the_metrics(void **state)
{
    struct fixture *f = *state;
    start_publishing(f);
    struct answer a = get(f->first.operator_port, "/readyz?verbose");
    static const char *const LINES[] = {"\npostgres ok\n", "\nlane ok 1\n", "\nschema ok public\n",
                                        "\nkeys ok 1\n",   "\nrelay ok ",   "\nsubscriber ok ",
                                        "\nready\n"};
    for (size_t i = 0; i < sizeof LINES / sizeof LINES[0]; i++)
        assert_non_null(strstr(a.text, LINES[i]));
    assert_int_equal(get(f->first.operator_port, "/readyz?verbos").status, 400);
    assert_int_equal(get(f->first.operator_port, "/things").status, 404);
    assert_int_equal(get(f->first.port, "/metrics").status, 404);

    a = get(f->first.operator_port, "/metrics");
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.text, "\r\nContent-Type: text/plain; version=0.0.4"));
    static const char *const SERIES[] = {"\nlane_number 1\n", "\nwaiters 0\n", "\nreaders_connections "};
    for (size_t i = 0; i < sizeof SERIES / sizeof SERIES[0]; i++)
        assert_non_null(strstr(a.text, SERIES[i]));
    stop_well(f);
}

static bool keys_are_kept(void *arg)
{
    char text[FILE_MAX];
    read_file(((struct fixture *)arg)->log, text, sizeof text);
    return strstr(text, "the keys stay as they were") != NULL;
}

static void keys_that_go_bad_are_said_once_and_kept(void **state)
{
    struct fixture *f = *state;
    start_ready(f);
    write_file(f->jwks, "{\"keys\":");
    assert_int_equal(kill(f->first.pid, SIGHUP), 0);
    await(f, keys_are_kept);
    assert_true(is_ready(f));
    stop_well(f);
}

int main(int argc, char **argv)
{
    if (getenv("TEST_SERVE") != NULL)
        return serve(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_wrong_setting_is_named_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_taken_port_is_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_schema_that_is_not_there_is_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(keys_that_are_none_are_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(while_the_database_is_away_it_lives_and_is_not_ready_and_can_be_stopped, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(it_starts_when_the_database_comes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_kafka_it_is_ready_and_promises_and_stops_in_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_call_is_answered_at_its_sagas_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_prefers_not_to_wait_gets_202_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_same_key_gives_the_same_thing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_same_key_twice_at_once_makes_one_thing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_in_flight_is_answered_before_the_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(operators_see_each_part_and_the_metrics, set_up, tear_down),
        cmocka_unit_test_setup_teardown(keys_that_go_bad_are_said_once_and_kept, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
