#include "support/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <arpa/inet.h>
#include <cmocka.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/migrate.h"
#include "support/need_env.h"
#include "svc/migrations.h"

enum { OPEN_MS = 5000, KAFKA_MS = 20000, LOOK_EVERY_MS = 10 };

/* ---- the database ---- */

static void run_on(struct db *db, const char *sql)
{
    struct fault fault = {.err = ERR_OK};
    if (db_run(db, sql, &fault) != ERR_OK)
        fail_msg("%s: %s", sql, fault.why);
}

static struct db *open_url(const char *url, enum db_plan plan)
{
    const struct db_conf conf = {
        .url = url, .password = getenv("TEST_DB_PASSWORD"), .plan = plan, .application_name = "test"};
    struct fault fault = {.err = ERR_OK};
    struct db *db = NULL;
    if (db_open(&conf, OPEN_MS, &db, &fault) != ERR_OK)
        fail_msg("%s", fault.why);
    return db;
}

static void database_make(struct scratch *s, const char *name)
{
    const char *url = need_env("TEST_DB_URL");
    char sql[128];
    struct db *db = open_url(url, DB_PLAN_OWNER);
    snprintf(sql, sizeof sql, "DROP DATABASE IF EXISTS test_%s WITH (FORCE)", name);
    run_on(db, sql);
    snprintf(sql, sizeof sql, "CREATE DATABASE test_%s TEMPLATE template0", name);
    run_on(db, sql);
    db_close(db);

    const char *base = strrchr(url, '/');
    assert_non_null(base);
    snprintf(s->url, sizeof s->url, "%.*s/test_%s", (int)(base - url), url, name);
    s->db = open_url(s->url, DB_PLAN_OWNER);
    const struct migration none[] = {{0}};
    struct fault fault = {.err = ERR_OK};
    if (migrate_apply(s->db, "public", SVC_MIGRATIONS, none, &fault) != ERR_OK)
        fail_msg("%s", fault.why);
}

void scratch_open_kafka(struct scratch *s)
{
    char id[UUID_TEXT_MAX];
    uuid_format(uuid_random(), id);
    *s = (struct scratch){.kafka = {.brokers = need_env("TEST_KAFKA_BROKERS"), .client_id = "test"}};
    snprintf(s->run, sizeof s->run, "t%.8s", id);
    s->log = log_open("test", LOG_DEBUG, STDERR_FILENO);
    s->metrics = metrics_new();
}

void scratch_open(struct scratch *s, const char *name)
{
    scratch_open_kafka(s);
    database_make(s, name);
}

void scratch_close(struct scratch *s)
{
    db_close(s->db);
    metrics_free(s->metrics);
    log_close(s->log);
}

struct db_conf scratch_conf(const struct scratch *s, enum db_plan plan, const char *application_name)
{
    return (struct db_conf){
        .url = s->url, .password = getenv("TEST_DB_PASSWORD"), .plan = plan, .application_name = application_name};
}

void scratch_run(struct scratch *s, const char *sql)
{
    run_on(s->db, sql);
}

/* On a connection of its own: db.h knows a statement by its address, and this one is here today and gone tomorrow. */
int64_t scratch_number(struct scratch *s, const char *sql)
{
    const struct db_stmt stmt = {"scratch_number", sql};
    const struct db_args none = {.count = 0};
    struct db *db = open_url(s->url, DB_PLAN_OWNER);
    struct fault fault = {.err = ERR_OK};
    CLEANUP_ROWS struct db_rows *rows = NULL;
    if (db_query(db, &stmt, &none, &rows, &fault) != ERR_OK)
        fail_msg("%s: %s", sql, fault.why);
    assert_int_equal(db_count(rows), 1);
    db_close(db);
    return db_i64(rows, 0, 0);
}

/* ---- the rest ---- */

double scratch_metric(struct metrics *m, const char *series)
{
    struct buf text;
    buf_init(&text);
    metrics_render(m, &text);
    double value = -1;
    size_t len = strlen(series);
    for (const char *line = buf_cstr(&text); line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, series, len) == 0 && line[len] == ' ') {
            value = strtod(line + len, NULL);
            break;
        }
    }
    buf_done(&text);
    return value;
}

void scratch_topic(const struct scratch *s, const char *name, int partitions)
{
    const struct kafka_topic_spec spec = {name, partitions, false};
    struct fault fault = {.err = ERR_OK};
    if (kafka_topics_ensure(&s->kafka, &spec, 1, KAFKA_MS, &fault) != ERR_OK)
        fail_msg("%s", fault.why);
}

bool scratch_await(bool (*is_so)(void *arg), void *arg, int timeout_ms)
{
    mono_ns_t deadline = clock_mono_ns() + timeout_ms * NS_PER_MS;
    while (!is_so(arg)) {
        if (clock_mono_ns() > deadline)
            return false;
        nanosleep(&(struct timespec){.tv_nsec = LOOK_EVERY_MS * NS_PER_MS}, NULL);
    }
    return true;
}

/* ---- the door ---- */

enum { DOOR_PAIRS_MAX = 64 };

struct door {
    struct sockaddr_in here, there;
    char address[32];
    pthread_t thread;
    bool open;
    atomic_bool shut;
    int pairs[DOOR_PAIRS_MAX][2];
    int count;
};

static int door_listen(struct door *d)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int yes = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    socklen_t len = sizeof d->here;
    assert_int_equal(bind(fd, (struct sockaddr *)&d->here, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&d->here, &len), 0);
    return fd;
}

struct door *door_new(const char *brokers)
{
    struct door *d = mem_alloc(sizeof *d);
    const char *colon = strrchr(brokers, ':');
    assert_non_null(colon);
    d->there = (struct sockaddr_in){.sin_family = AF_INET,
                                    .sin_port = htons((uint16_t)strtol(colon + 1, NULL, 10)),
                                    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    d->here = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    close(door_listen(d)); /* a port that nobody listens on */
    snprintf(d->address, sizeof d->address, "127.0.0.1:%d", ntohs(d->here.sin_port));
    return d;
}

const char *door_address(const struct door *d)
{
    return d->address;
}

static void door_accept(struct door *d, int listener)
{
    int a = accept(listener, NULL, NULL);
    int b = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(d->count < DOOR_PAIRS_MAX);
    if (a >= 0 && connect(b, (struct sockaddr *)&d->there, sizeof d->there) == 0) {
        d->pairs[d->count][0] = a;
        d->pairs[d->count++][1] = b;
        return;
    }
    close(a);
    close(b);
}

/* false: one side is gone. */
static bool door_carry(int from, int to)
{
    char bytes[16384];
    ssize_t n = recv(from, bytes, sizeof bytes, 0);
    return n > 0 && send(to, bytes, (size_t)n, MSG_NOSIGNAL) == n;
}

static void *door_main(void *arg)
{
    struct door *d = arg;
    int listener = door_listen(d);
    assert_int_equal(listen(listener, 16), 0);
    while (!atomic_load(&d->shut)) {
        struct pollfd fds[1 + 2 * DOOR_PAIRS_MAX] = {{.fd = listener, .events = POLLIN}};
        int count = d->count;
        for (int i = 0; i < 2 * count; i++)
            fds[1 + i] = (struct pollfd){.fd = d->pairs[i / 2][i % 2], .events = POLLIN};
        if (poll(fds, (nfds_t)(1 + 2 * count), LOOK_EVERY_MS) <= 0)
            continue;
        if (fds[0].revents != 0)
            door_accept(d, listener);
        for (int i = 0; i < 2 * count; i++) {
            int *pair = d->pairs[i / 2];
            if (fds[1 + i].revents == 0 || pair[0] < 0 || door_carry(pair[i % 2], pair[1 - i % 2]))
                continue;
            close(pair[0]);
            close(pair[1]);
            pair[0] = pair[1] = -1; /* poll passes over it */
        }
    }
    close(listener);
    for (int i = 0; i < d->count; i++) {
        close(d->pairs[i][0]);
        close(d->pairs[i][1]);
    }
    return NULL;
}

void door_open(struct door *d)
{
    d->open = pthread_create(&d->thread, NULL, door_main, d) == 0;
    assert_true(d->open);
}

void door_free(struct door *d)
{
    atomic_store(&d->shut, true);
    if (d->open)
        pthread_join(d->thread, NULL);
    mem_free(d);
}
