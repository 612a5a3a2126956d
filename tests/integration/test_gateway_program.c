/* The gateway's own program: its settings, its keys, its operator port, its end. */
#include <fcntl.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/token.h"
#include "support/need_env.h"
#include "support/raw_http.h"
#include "unit/unit.h"

enum { PATH_TEXT_MAX = 512, OUTPUT_MAX = 256 * 1024, START_TRIES = 200, POINT_SIZE = 65 };

static struct world {
    char folder[PATH_TEXT_MAX], program[PATH_TEXT_MAX];
    int listener, service_port, port, operator_port;
    pid_t pid;
    struct arena arena;
    const char *customer, *admin; /* tokens */
} world;

static char output[OUTPUT_MAX];

/* ---- files ---- */

static const char *path_of(const char *name)
{
    return arena_printf(&world.arena, "%s/%s", world.folder, name);
}

static void write_text(const char *name, const char *text)
{
    FILE *f = fopen(path_of(name), "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static const char *read_text(const char *name)
{
    FILE *f = fopen(path_of(name), "r");
    assert_non_null(f);
    output[fread(output, 1, sizeof(output) - 1, f)] = '\0';
    fclose(f);
    return output;
}

/* A key pair: the private one for the test's signer, the public one as JWKS_FILE. */
static void write_keys(void)
{
    unsigned char point[POINT_SIZE];
    size_t len;
    char x[48], y[48];
    EVP_PKEY *key = EVP_EC_gen("P-256");
    assert_non_null(key);
    assert_int_equal(mkdir(path_of("keys"), 0700), 0);
    FILE *f = fopen(path_of("keys/k1.pem"), "w");
    assert_non_null(f);
    assert_int_equal(PEM_write_PKCS8PrivateKey(f, key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(f);
    assert_int_equal(EVP_PKEY_get_octet_string_param(key, "pub", point, sizeof(point), &len), 1);
    assert_int_equal(len, POINT_SIZE);
    EVP_PKEY_free(key);
    str_base64url_encode(point + 1, 32, x);
    str_base64url_encode(point + 33, 32, y);
    write_text("jwks.json",
               arena_printf(&world.arena,
                            "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"use\":\"sig\",\"alg\":\"ES256\","
                            "\"kid\":\"k1\",\"x\":\"%s\",\"y\":\"%s\"}]}",
                            x, y));
}

static const char *make_token(enum token_role role)
{
    struct token_signer *signer;
    struct fault fault;
    char *token = NULL;
    int64_t now = clock_now_us() / US_PER_S;
    struct token_claims claims = {
        .customer_id = 7, .role = role, .sid = uuid_v7(), .iat = now, .exp = now + TOKEN_LIFE_S};
    if (token_signer_open(path_of("keys"), &signer, &fault) != ERR_OK ||
        token_sign(signer, &claims, &world.arena, &token, &fault) != ERR_OK)
        fail_msg("%s", fault.why);
    token_signer_close(signer);
    return token;
}

/* ---- the program ---- */

static void set(const char *name, const char *value)
{
    assert_int_equal(setenv(name, value, 1), 0);
}

/* Its output goes to the file "log". */
static void start(const char *config)
{
    world.pid = fork();
    assert_true(world.pid >= 0);
    if (world.pid > 0)
        return;
    int fd = open(path_of("log"), O_CREAT | O_TRUNC | O_WRONLY, 0600);
    dup2(fd, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    execl(world.program, world.program, "--config", path_of(config), (char *)NULL);
    _exit(127);
}

static int wait_for_end(void)
{
    int status;
    assert_int_equal(waitpid(world.pid, &status, 0), world.pid);
    world.pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static int ask(int port, const char *path, const char *token)
{
    int fd = raw_connect(port);
    raw_say(fd, arena_printf(&world.arena, "GET %s HTTP/1.1\r\nHost: x\r\n%s%s%s\r\n", path,
                             token == NULL ? "" : "Authorization: Bearer ", token == NULL ? "" : token,
                             token == NULL ? "" : "\r\n"));
    assert_true(raw_hear(fd));
    close(fd);
    return raw_status();
}

static void wait_until_ready(void)
{
    for (int i = 0; i < START_TRIES; i++) {
        usleep(10 * 1000);
        const char *log = read_text("log");
        if (strstr(log, "listening on") != NULL && ask(world.operator_port, "/readyz", NULL) == 200)
            return;
    }
    fail_msg("not ready: %s", read_text("log"));
}

static void open_port(int *ret_port)
{
    int fd = raw_listen(ret_port); /* free now, and hardly taken by another in the next second */
    close(fd);
}

static int open_world(void **state)
{
    (void)state;
    arena_init(&world.arena);
    snprintf(world.folder, sizeof(world.folder), "%s", "/tmp/test_gateway.XXXXXX");
    assert_non_null(mkdtemp(world.folder));
    ssize_t len = readlink("/proc/self/exe", world.program, sizeof(world.program) - 32);
    assert_true(len > 0);
    world.program[len] = '\0';
    *strrchr(world.program, '/') = '\0';
    strcat(world.program, "/../bin/gateway");

    world.listener = raw_listen(&world.service_port);
    open_port(&world.port);
    open_port(&world.operator_port);
    write_keys();
    world.customer = make_token(ROLE_CUSTOMER);
    world.admin = make_token(ROLE_ADMIN);
    write_text(
        "gateway.json",
        arena_printf(
            &world.arena,
            "{\"upstreams\":{\"order\":[\"127.0.0.1:%d\"]},\"routes\":["
            "{\"path\":\"/mine\",\"methods\":[\"GET\"],\"upstream\":\"order\",\"who\":\"user\",\"timeoutMs\":3000},"
            "{\"path\":\"/all\",\"methods\":[\"GET\"],\"upstream\":\"order\",\"who\":\"admin\",\"timeoutMs\":3000}]}",
            world.service_port));
    set("LISTEN", arena_printf(&world.arena, "127.0.0.1:%d", world.port));
    set("OPERATOR_LISTEN", arena_printf(&world.arena, "127.0.0.1:%d", world.operator_port));
    set("JWKS_FILE", path_of("jwks.json"));
    set("KAFKA_BROKERS", need_env("TEST_KAFKA_BROKERS"));
    set("HTTP_THREADS", "2");
    set("LIMITS", "on");
    set("DRAIN_MIN_MS", "0");
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    if (world.pid > 0) {
        kill(world.pid, SIGKILL);
        (void)wait_for_end();
    }
    close(world.listener);
    static const char *const FILES[] = {"log", "gateway.json", "jwks.json", "keys/k1.pem"};
    for (size_t i = 0; i < LENGTH_OF(FILES); i++)
        (void)unlink(path_of(FILES[i]));
    (void)rmdir(path_of("keys"));
    (void)rmdir(world.folder);
    arena_done(&world.arena);
    return 0;
}

/* ---- the stories ---- */

static void wrong_settings_stop_it_at_start_and_all_are_named(void **state)
{
    (void)state;
    static const char *const NAMED[] = {"LISTEN",    "JWKS_FILE",   "HTTP_THREADS", "LIMITS",
                                        "LOG_LEVEL", "upstreams/a", "routes/0/who"};
    set("LISTEN", "nowhere");
    set("JWKS_FILE", "/nowhere/jwks.json");
    set("HTTP_THREADS", "0");
    set("LIMITS", "maybe");
    set("LOG_LEVEL", "loud");
    write_text("gateway.json", "{\"upstreams\":{\"a\":[\"x\"]},\"routes\":[{\"path\":\"/a\"}]}");
    start("gateway.json");
    int code = wait_for_end();
    unsetenv("LOG_LEVEL");
    assert_int_equal(code, 1);
    const char *log = read_text("log");
    for (size_t i = 0; i < LENGTH_OF(NAMED); i++)
        ROW_CHECK(strstr(log, NAMED[i]) != NULL, NAMED[i]);
}

static void a_taken_port_is_named(void **state)
{
    (void)state;
    const char *address = arena_printf(&world.arena, "127.0.0.1:%d", world.service_port);
    set("LISTEN", address);
    start("gateway.json");
    assert_int_equal(wait_for_end(), 1);
    assert_non_null(strstr(read_text("log"), address));
}

static void who_may_not_is_refused_before_a_service_hears_of_it(void **state)
{
    (void)state;
    start("gateway.json");
    wait_until_ready();
    assert_int_equal(ask(world.port, "/mine", NULL), 401);
    assert_non_null(raw_header("WWW-Authenticate"));
    assert_int_equal(ask(world.port, "/mine", "abc"), 401);
    assert_int_equal(ask(world.port, "/all", world.customer), 403);
    assert_int_equal(ask(world.port, "/metrics", world.admin), 404);
    assert_int_equal(ask(world.port, "/readyz", world.admin), 404);
    assert_false(raw_is_readable(world.listener, 0));
}

static void it_answers_what_is_under_way_and_ends_with_0_at_sigterm(void **state)
{
    (void)state;
    start("gateway.json");
    wait_until_ready();
    int client = raw_connect(world.port);
    raw_say(client, arena_printf(&world.arena, "GET /all HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n",
                                 world.admin));
    int service = raw_accept(world.listener);
    assert_true(raw_hear(service));
    assert_int_equal(kill(world.pid, SIGTERM), 0);
    for (int i = 0; i < START_TRIES && ask(world.operator_port, "/readyz", NULL) != 503; i++)
        usleep(10 * 1000);
    assert_int_equal(raw_status(), 503);
    raw_say(service, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
    assert_true(raw_hear(client));
    assert_int_equal(raw_status(), 200);
    assert_int_equal(wait_for_end(), 0);

    static const char *const LOGGED[] = {"\"route\":\"/all\"",       "\"status\":200",  "\"upstream\":\"order\"",
                                         "\"upstream_status\":200",  "\"attempts\":1",  "\"upstream_us\":",
                                         "\"customer_id\":7",        "\"gateway_us\":", "\"breaker\":\"CLOSED\"",
                                         "\"instance\":\"127.0.0.1:"};
    const char *log = read_text("log");
    for (size_t i = 0; i < LENGTH_OF(LOGGED); i++)
        ROW_CHECK(strstr(log, LOGGED[i]) != NULL, LOGGED[i]);
    assert_null(strstr(log, "eyJ")); /* how a token begins */
    close(service);
    close(client);
}

static void its_metrics_count_what_happened_upstream(void **state)
{
    (void)state;
    start("gateway.json");
    wait_until_ready();
    close(world.listener);
    assert_int_equal(ask(world.port, "/mine", world.customer), 503);
    assert_int_equal(ask(world.operator_port, "/metrics", NULL), 200);
    static const char *const SEEN[] = {
        "gateway_upstream_errors_total{upstream=\"order\",reason=\"connect\"} 3\n",
        "gateway_upstream_retries_total{upstream=\"order\",reason=\"connect\"} 2\n",
        "gateway_bulkhead_inflight{upstream=\"order\"} 0\n",
        "gateway_bulkhead_limit{upstream=\"order\"} 64\n",
        "gateway_upstream_up{upstream=\"order\",instance=\"127.0.0.1:",
        "gateway_upstream_connections{upstream=\"order\"} 0\n",
        "http_client_request_duration_seconds_count{upstream=\"order\"} 0\n",
    };
    for (size_t i = 0; i < LENGTH_OF(SEEN); i++)
        ROW_CHECK(strstr(raw_body(), SEEN[i]) != NULL, SEEN[i]);
    world.listener = raw_listen(&world.service_port);
}

#define STORY(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)

int main(void)
{
    static const struct CMUnitTest TESTS[] = {
        STORY(wrong_settings_stop_it_at_start_and_all_are_named),
        STORY(a_taken_port_is_named),
        STORY(who_may_not_is_refused_before_a_service_hears_of_it),
        STORY(it_answers_what_is_under_way_and_ends_with_0_at_sigterm),
        STORY(its_metrics_count_what_happened_upstream),
    };
    return cmocka_run_group_tests(TESTS, NULL, NULL);
}
