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
    /* Before the fork: who looks into it at once must find it, and not an earlier one. */
    int fd = open(path_of("log"), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    world.pid = fork();
    assert_true(world.pid >= 0);
    if (world.pid > 0) {
        close(fd);
        return;
    }
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
            "{\"path\":\"/"
            "open\",\"methods\":[\"GET\",\"POST\"],\"upstream\":\"order\",\"who\":\"anyone\",\"timeoutMs\":3000},"
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

#define HOST "Host: x\r\n"
#define GET "GET /open HTTP/1.1\r\n" HOST
#define POST "POST /open HTTP/1.1\r\n" HOST "Content-Type: application/json\r\n"
#define BYTES(text) (text), sizeof(text) - 1

struct dirty {
    const char *bytes;
    size_t len;
    int status;
    const char *why;
};

/* One answer, by whom we say, and then the end: a second answer would be to what was smuggled in. */
static void check_refused(const struct dirty *row)
{
    int client = raw_connect(world.port);
    raw_say_bytes(client, row->bytes, row->len);
    ROW_CHECK(raw_hear(client), row->why);
    ROW_CHECK(raw_status() == row->status, row->why);
    const char *connection = raw_header("Connection");
    ROW_CHECK(connection != NULL && strcmp(connection, "close") == 0, row->why);
    const char *type = raw_header("Content-Type");
    ROW_CHECK(type != NULL && strcmp(type, "application/problem+json") == 0, row->why);
    ROW_CHECK(strstr(raw_body(), "\"type\":\"/problems/") != NULL, row->why);
    ROW_CHECK(strstr(raw_body(), "HTTP/1.1 ") == NULL, row->why);
    ROW_CHECK(raw_is_closed(client), row->why);
    close(client);
}

static void what_two_servers_could_read_differently_reaches_none(void **state)
{
    (void)state;
    static const struct dirty ROWS[] = {
        {BYTES(POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" GET "\r\n"), 400,
         "both framings"},
        {BYTES(POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" GET "\r\n"), 400,
         "both, the other way"},
        {BYTES(POST "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x"), 400, "two lengths"},
        {BYTES(POST "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}"), 400, "one length twice"},
        {BYTES(POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), 400, "another coding first"},
        {BYTES(POST "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"), 400, "another coding last"},
        {BYTES(POST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"), 400, "an unknown coding"},
        {BYTES(POST "Transfer-Encoding: identity\r\n\r\n{}"), 400, "no coding, by name"},
        {BYTES(POST "Transfer-Encoding:\r\n\r\n{}"), 400, "an empty coding"},
        {BYTES(POST "Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n"), 400, "a blank that is none"},
        {BYTES(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400, "chunked twice"},
        {BYTES(POST "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"), 400, "a blank before the colon"},
        {BYTES("POST /open HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400,
         "chunked in HTTP/1.0"},
        {BYTES(GET HOST "\r\n"), 400, "two hosts"},
        {BYTES(GET "Authorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n"), 400, "two tokens"},
        {BYTES(POST "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"), 400, "two content types"},
        {BYTES("GET /open HTTP/1.1\r\n\r\n"), 400, "no host"},
        {BYTES("GET /open HTTP/1.1\r\nHost: a b\r\n\r\n"), 400, "a host that is none"},
        {BYTES(GET "X-Use: admin\r\n r-Id: 1\r\n\r\n"), 400, "a folded name"},
        {BYTES(POST "Content-Lengt: 3\r\n h: 2\r\n\r\n{}"), 400, "a folded framing header"},
        {BYTES(GET "a: b\r\n\tc\r\n\r\n"), 400, "a value folded by a tab"},
        {BYTES(GET "a: b\r\n \r\n\r\n"), 400, "folded to nothing"},
        {BYTES("GET /open HTTP/1.1\r\n a: b\r\n" HOST "\r\n"), 400, "the first header folded"},
        {BYTES(GET "a: b\rX-User-Id: 1\r\n\r\n"), 400, "a bare CR"},
        {BYTES("GET /open HTTP/1.1\nHost: x\n\n"), 400, "bare LFs"},
        {BYTES(GET "a: b\nX-User-Id: 1\r\n\r\n"), 400, "a bare LF in the middle"},
        {BYTES(GET "a: b\0c\r\n\r\n"), 400, "a NUL in a value"},
        {BYTES("GET /open\0x HTTP/1.1\r\n" HOST "\r\n"), 400, "a NUL in the target"},
        {BYTES("G\0T /open HTTP/1.1\r\n" HOST "\r\n"), 400, "a NUL in the method"},
        {BYTES(GET "a: b\x01\r\n\r\n"), 400, "a control byte"},
        {BYTES(GET "a: b\x7f\r\n\r\n"), 400, "a DEL"},
        {BYTES(GET "a@b: c\r\n\r\n"), 400, "a name that is no token"},
        {BYTES("GET /open%00 HTTP/1.1\r\n" HOST "\r\n"), 400, "an encoded NUL"},
        {BYTES("GET /a%2fopen HTTP/1.1\r\n" HOST "\r\n"), 400, "an encoded slash"},
        {BYTES("GET /a%5copen HTTP/1.1\r\n" HOST "\r\n"), 400, "an encoded backslash"},
        {BYTES("GET /a/%2e%2e/open HTTP/1.1\r\n" HOST "\r\n"), 400, "encoded dots"},
        {BYTES("GET /a/../open HTTP/1.1\r\n" HOST "\r\n"), 400, "a dot segment"},
        {BYTES("GET /a/..;x/open HTTP/1.1\r\n" HOST "\r\n"), 400, "a dot segment with a parameter"},
        {BYTES("GET //open HTTP/1.1\r\n" HOST "\r\n"), 400, "two slashes"},
        {BYTES("GET \\open HTTP/1.1\r\n" HOST "\r\n"), 400, "a backslash"},
        {BYTES("GET /open#x HTTP/1.1\r\n" HOST "\r\n"), 400, "a fragment"},
        {BYTES("GET http://x/open HTTP/1.1\r\n" HOST "\r\n"), 400, "absolute form"},
        {BYTES("OPTIONS * HTTP/1.1\r\n" HOST "\r\n"), 400, "asterisk form"},
        {BYTES("CONNECT x:443 HTTP/1.1\r\n" HOST "\r\n"), 400, "CONNECT"},
        {BYTES("TRACE /open HTTP/1.1\r\n" HOST "\r\n"), 405, "TRACE"},
        {BYTES("get /open HTTP/1.1\r\n" HOST "\r\n"), 405, "a method in lower case"},
        {BYTES("GET /open HTTP/1.9\r\n" HOST "\r\n"), 400, "a version that there is not"},
        {BYTES("GET  /open HTTP/1.1\r\n" HOST "\r\n"), 400, "two blanks"},
    };
    start("gateway.json");
    wait_until_ready();
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++)
        check_refused(&ROWS[i]);
    assert_false(raw_is_readable(world.listener, 0)); /* nobody has even connected */
}

/* Here the parser under us speaks first, and not in our words (docs/adr/0015): it is a refusal and the end all the same. */
static void what_the_parser_can_not_read_reaches_no_service_either(void **state)
{
    (void)state;
    static const struct dirty ROWS[] = {
        {BYTES(POST "Content-Length: 2, 2\r\n\r\n{}"), 400, "a list of lengths"},
        {BYTES(POST "Content-Length: +2\r\n\r\n{}"), 400, "a signed length"},
        {BYTES(POST "Content-Length: 0x2\r\n\r\n{}"), 400, "a length in hex"},
        {BYTES(POST "Content-Length: 99999999999999999999\r\n\r\n{}"), 413, "a length beyond 64 bits"},
        {BYTES(POST "Transfer-Encoding: chunked\r\n\r\n-1\r\n{}\r\n0\r\n\r\n"), 400, "a negative chunk"},
        {BYTES(POST "Transfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n"), 400, "a chunk's size in hex, twice"},
        {BYTES(POST "Transfer-Encoding: chunked\r\n\r\n2\r\n{}xx0\r\n\r\n"), 400, "a chunk without its end"},
        {BYTES(POST "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{}"), 413, "a chunk beyond 64 bits"},
        {BYTES(GET "a\0b: c\r\n\r\n"), 400, "a NUL in a name"},
        {BYTES(GET "no colon\r\n\r\n"), 400, "a header that is none"},
        {BYTES("GET /open HTTP/2.0\r\n" HOST "\r\n"), 505, "another version"},
        {BYTES("GET /open http/1.1\r\n" HOST "\r\n"), 400, "the version in lower case"},
        {BYTES("GET /open\r\n\r\n"), 400, "HTTP/0.9"},
        {BYTES("hello\r\n\r\n"), 0, "no HTTP"},
        {BYTES("\x16\x03\x01\x00\x05hello\r\n\r\n"), 0, "TLS"},
    };
    start("gateway.json");
    wait_until_ready();
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        int client = raw_connect(world.port);
        raw_say_bytes(client, ROWS[i].bytes, ROWS[i].len);
        bool answered = raw_hear(client);
        ROW_CHECK(answered == (ROWS[i].status != 0), ROWS[i].why);
        ROW_CHECK(!answered || raw_status() == ROWS[i].status, ROWS[i].why);
        ROW_CHECK(!answered || raw_is_closed(client), ROWS[i].why);
        close(client);
    }
    assert_false(raw_is_readable(world.listener, 0));
}

/* That the two above can fail: what is clean does reach the service, on the one canonical path and with what it may know. */
static void what_is_clean_arrives_as_the_gateway_says_it(void **state)
{
    (void)state;
    start("gateway.json");
    wait_until_ready();
    int client = raw_connect(world.port);
    raw_say(client,
            "POST /%6fpen?q=1 HTTP/1.1\r\n" HOST "Content-Type: application/json\r\nX-User-Id: 1\r\nx_user_id: 1\r\n"
            "X-Forwarded-For: 1.2.3.4\r\nForwarded: for=1\r\nX-Request-Id: 0123456789\r\nContent_Length: 9\r\n"
            "Connection: X-Secret\r\nX-Secret: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
            "2;a=b\r\n{}\r\n0\r\nAuthorization: Bearer x\r\n\r\n");
    int service = raw_accept(world.listener);
    assert_true(raw_hear(service));
    assert_int_equal(strncmp(heard, "POST /open?q=1 HTTP/1.1\r\n", 25), 0);
    assert_string_equal(raw_header("Content-Length"), "2");
    assert_string_equal(raw_body(), "{}");
    static const char *const UNSAID[] = {"X-User-Id", "x_user_id",         "Forwarded",    "Content_Length",
                                         "X-Secret",  "Transfer-Encoding", "Authorization"};
    for (size_t i = 0; i < LENGTH_OF(UNSAID); i++)
        ROW_CHECK(raw_header(UNSAID[i]) == NULL, UNSAID[i]);
    assert_null(strstr(heard, "1.2.3.4"));
    assert_null(strstr(heard, "0123456789"));
    raw_say(service, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
    assert_true(raw_hear(client));
    assert_int_equal(raw_status(), 200);
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
        STORY(what_two_servers_could_read_differently_reaches_none),
        STORY(what_the_parser_can_not_read_reaches_no_service_either),
        STORY(what_is_clean_arrives_as_the_gateway_says_it),
        STORY(its_metrics_count_what_happened_upstream),
    };
    return cmocka_run_group_tests(TESTS, NULL, NULL);
}
