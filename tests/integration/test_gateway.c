/* The gateway between a raw-socket client and a raw-socket service, both played by the test: each test is a story told in
 * order by one thread. The gateway's one loop runs beside it. */
#include "gateway/proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "unit/unit.h"

enum { PATIENCE_MS = 5000, TEXT_MAX = 2 * 1024 * 1024, SHORT_MS = 400, QUIET_MS = 60 };

static struct house {
    int listener; /* the service's */
    int service_port;
    struct arena arena;
    struct routes routes;
    struct http_server *server;
} house;

static char text[TEXT_MAX]; /* what was read last */

static const char ROUTES[] = "{\"upstreams\": {\"order\": [\"127.0.0.1:%d\"]}, \"routes\": ["
                             "{\"path\": \"/orders\", \"methods\": [\"GET\"], \"upstream\": \"order\", \"who\": "
                             "\"anyone\", \"timeoutMs\": 3000, \"csv\": true},"
                             "{\"path\": \"/orders\", \"methods\": [\"POST\"], \"upstream\": \"order\", \"who\": "
                             "\"anyone\", \"timeoutMs\": 3000, \"idempotent\": true},"
                             "{\"path\": \"/orders/{id}\", \"methods\": [\"GET\", \"DELETE\"], \"upstream\": "
                             "\"order\", \"who\": \"anyone\", \"timeoutMs\": 3000},"
                             "{\"path\": \"/logins\", \"methods\": [\"POST\"], \"upstream\": \"order\", \"who\": "
                             "\"anyone\", \"timeoutMs\": 3000},"
                             "{\"path\": \"/short\", \"methods\": [\"GET\", \"POST\"], \"upstream\": \"order\", "
                             "\"who\": \"anyone\", \"timeoutMs\": %d}]}";

/* ---- sockets ---- */

static int listen_somewhere(int *ret_port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, len), 0);
    assert_int_equal(listen(fd, 64), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    *ret_port = ntohs(a.sin_port);
    return fd;
}

static bool is_readable(int fd, int timeout_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, timeout_ms) == 1;
}

static int client_connect(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                            .sin_port = htons((uint16_t)http_server_port(house.server))};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    return fd;
}

static int service_accept(void)
{
    if (!is_readable(house.listener, PATIENCE_MS))
        fail_msg("the gateway did not connect to the service");
    return accept4(house.listener, NULL, NULL, SOCK_CLOEXEC);
}

/* Nobody knocks: for what must not reach the service. */
static void service_stays_alone(void)
{
    assert_false(is_readable(house.listener, QUIET_MS));
}

static void say_bytes(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);
        if (n < 0)
            fail_msg("send: %s", strerror(errno));
        bytes += n;
        len -= (size_t)n;
    }
}

static void say(int fd, const char *words)
{
    say_bytes(fd, words, strlen(words));
}

static size_t hear_some(int fd, size_t at)
{
    if (!is_readable(fd, PATIENCE_MS))
        fail_msg("nothing came; until now: %.*s", (int)at, text);
    ssize_t n = recv(fd, text + at, sizeof(text) - 1 - at, 0);
    size_t got = n < 0 ? 0 : (size_t)n;
    text[at + got] = '\0';
    return got;
}

static const char *header_of(const char *name)
{
    static char value[1024];
    size_t len = strlen(name);
    const char *end = strstr(text, "\r\n\r\n");
    for (const char *line = strstr(text, "\r\n"); line != NULL && line < end; line = strstr(line + 2, "\r\n")) {
        if (strncasecmp(line + 2, name, len) != 0 || line[2 + len] != ':')
            continue;
        const char *from = line + 2 + len + 1 + strspn(line + 2 + len + 1, " ");
        snprintf(value, sizeof(value), "%.*s", (int)strcspn(from, "\r"), from);
        return value;
    }
    return NULL;
}

static const char *body_of(void)
{
    return strstr(text, "\r\n\r\n") + 4;
}

/* One message, by its Content-Length, into `text`. False: the other side closed instead. */
static bool hear(int fd)
{
    size_t at = 0, got;
    text[0] = '\0';
    while (strstr(text, "\r\n\r\n") == NULL) {
        if ((got = hear_some(fd, at)) == 0)
            return false;
        at += got;
    }
    const char *length = header_of("Content-Length");
    size_t whole = (size_t)(body_of() - text) + (length == NULL ? 0 : strtoul(length, NULL, 10));
    while (at < whole) {
        if ((got = hear_some(fd, at)) == 0)
            return false;
        at += got;
    }
    return true;
}

static bool is_closed_by_peer(int fd)
{
    return is_readable(fd, PATIENCE_MS) && recv(fd, text, sizeof(text) - 1, 0) <= 0;
}

static int status_of(void)
{
    return atoi(text + sizeof("HTTP/1.1 ") - 1);
}

static void expect_answer(int client, int status)
{
    if (!hear(client))
        fail_msg("the gateway closed without an answer");
    if (status_of() != status)
        fail_msg("expected %d, not: %s", status, text);
}

static void expect_problem(int client, int status, const char *code)
{
    char member[64];
    expect_answer(client, status);
    snprintf(member, sizeof(member), "\"code\":\"%s\"", code);
    if (strstr(body_of(), member) == NULL || strcmp(header_of("Content-Type"), "application/problem+json") != 0)
        fail_msg("expected the problem %s, not: %s", code, text);
    assert_non_null(strstr(body_of(), "\"traceId\":\""));
    assert_non_null(strstr(body_of(), "\"instance\":\"/"));
}

#define GET "GET /orders HTTP/1.1\r\nHost: x\r\n\r\n"
#define POST_AS(path, headers) \
    "POST " path " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" headers "Content-Length: 2\r\n\r\n{}"
#define POST POST_AS("/orders", "")
#define POST_WITH_KEY POST_AS("/orders", "Idempotency-Key: 0123456789\r\n")
#define OK "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"

/* ---- a house for each test ---- */

static void house_open(int connections_max)
{
    char conf[2048];
    struct buf complaints;
    struct fault fault;
    buf_init(&complaints);
    arena_init(&house.arena);
    house.listener = listen_somewhere(&house.service_port);
    snprintf(conf, sizeof(conf), ROUTES, house.service_port, SHORT_MS);
    if (routes_parse(&house.arena, str_of(conf), proxy_request, &house.routes, &complaints) != ERR_OK)
        fail_msg("%s", complaints.data);
    house.routes.upstreams.connections_max = connections_max;
    const struct http_server_conf server = {
        .listen = "127.0.0.1:0",
        .threads = 1,
        .routes = house.routes.http,
        .app = &house.routes,
        .thread_start = proxy_thread_start,
        .thread_stop = proxy_thread_stop,
    };
    if (http_server_open(&server, &house.server, &fault) != ERR_OK)
        fail_msg("%s", fault.why);
}

static int open_house(void **state)
{
    (void)state;
    house_open(8);
    return 0;
}

static int open_narrow_house(void **state)
{
    (void)state;
    house_open(1);
    return 0;
}

static int close_house(void **state)
{
    (void)state;
    if (house.server != NULL)
        http_server_close(house.server);
    house.server = NULL;
    close(house.listener);
    arena_done(&house.arena);
    return 0;
}

/* ---- trouble behind the gateway ---- */

static void a_service_that_is_away_is_a_503_at_once(void **state)
{
    (void)state;
    int client = client_connect();
    close(house.listener);
    const char *const REQUESTS[] = {GET, POST, POST_WITH_KEY};
    for (size_t i = 0; i < LENGTH_OF(REQUESTS); i++) {
        say(client, REQUESTS[i]);
        expect_problem(client, 503, "upstream_unavailable");
        assert_string_equal(header_of("Retry-After"), "1");
    }
    house.listener = socket(AF_INET, SOCK_STREAM, 0);
    close(client);
}

static void a_service_that_does_not_answer_is_a_504_at_the_deadline(void **state)
{
    (void)state;
    static const char *const REQUESTS[] = {"GET /short HTTP/1.1\r\nHost: x\r\n\r\n", POST_AS("/short", "")};
    for (size_t i = 0; i < LENGTH_OF(REQUESTS); i++) {
        int client = client_connect();
        mono_ns_t began = clock_mono_ns();
        say(client, REQUESTS[i]);
        int service = service_accept();
        assert_true(hear(service));
        assert_true(atoi(header_of("X-Request-Deadline-Ms")) <= SHORT_MS);
        say(service, "HTTP/1.1 200 OK\r\nContent-Le");
        expect_problem(client, 504, "outcome_unknown");
        int64_t took_ms = (clock_mono_ns() - began) / NS_PER_MS;
        assert_in_range(took_ms, SHORT_MS, SHORT_MS + 1000);
        assert_true(is_closed_by_peer(service)); /* what it still says belongs to nobody */
        close(service);
        close(client);
    }
}

static void a_client_may_be_less_patient_than_the_route(void **state)
{
    (void)state;
    int client = client_connect();
    say(client, "GET /orders HTTP/1.1\r\nHost: x\r\nX-Request-Deadline-Ms: 100\r\n\r\n");
    int service = service_accept();
    assert_true(hear(service));
    assert_true(atoi(header_of("X-Request-Deadline-Ms")) <= 100);
    expect_problem(client, 504, "outcome_unknown");
    close(service);
    close(client);
}

/* A read is answered that the service is away; what a write did nobody knows. */
static void an_answer_that_is_none_is_503_for_a_read_and_504_for_a_write(void **state)
{
    (void)state;
    static const struct {
        const char *answer, *why;
    } ROWS[] = {
        {"", "closed before an answer"},
        {"HTTP/1.1 200 OK\r\n", "closed in the head"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe", "closed in the body"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n", "closed between chunks"},
        {"SSH-2.0-OpenSSH_9.2\r\n", "another protocol"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "two framings"},
        {"HTTP/1.1 200 OK\r\nA: b\r\n c: d\r\nContent-Length: 0\r\n\r\n", "a folded header"},
        {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "an upgrade"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", "too large a body"},
        {"HTTP/1.1 500 Internal Server Error\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length: "
         "3\r\n\r\n<p>",
         "an error without its problem"},
        {"HTTP/1.1 500 Internal Server Error\r\nLocation: /x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
         "an error without a body"},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        for (int write = 0; write < 2; write++) {
            int client = client_connect();
            say(client, write ? POST : GET);
            int service = service_accept();
            assert_true(hear(service));
            say(service, ROWS[i].answer);
            close(service);
            if (write)
                expect_problem(client, 504, "outcome_unknown");
            else
                expect_problem(client, 503, "upstream_unavailable");
            ROW_CHECK(header_of("Location") == NULL, ROWS[i].why);
            close(client);
        }
    }
}

static void endless_interim_answers_are_refused(void **state)
{
    (void)state;
    int client = client_connect();
    say(client, GET);
    int service = service_accept();
    assert_true(hear(service));
    for (int i = 0; i <= UPSTREAM_INTERIM_MAX; i++)
        say(service, "HTTP/1.1 103 Early Hints\r\n\r\n");
    expect_problem(client, 503, "upstream_unavailable");
    close(service);
    close(client);
}

/* ---- what is sent again, and what is not ---- */

/* One request and answer; the connection stays. */
static int serve_one(int client)
{
    say(client, GET);
    int service = service_accept();
    assert_true(hear(service));
    say(service, OK);
    expect_answer(client, 200);
    return service;
}

static void a_kept_connection_that_breaks_before_an_answer_is_replaced_where_twice_does_no_harm(void **state)
{
    (void)state;
    static const struct {
        const char *request;
        bool again;
        const char *why;
    } ROWS[] = {
        {GET, true, "a read"},
        {"DELETE /orders/1 HTTP/1.1\r\nHost: x\r\n\r\n", true, "deleted twice is deleted"},
        {POST_WITH_KEY, true, "the route honours the key that it carries"},
        {POST, false, "no key"},
        {POST_AS("/logins", "Idempotency-Key: 0123456789\r\n"), false, "a key that the route does not honour"},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        int client = client_connect();
        int kept = serve_one(client);
        say(client, ROWS[i].request);
        assert_true(hear(kept));
        close(kept);
        if (ROWS[i].again) {
            int fresh = service_accept();
            assert_true(hear(fresh));
            ROW_CHECK(strncmp(text, ROWS[i].request, 10) == 0, ROWS[i].why);
            say(fresh, OK);
            expect_answer(client, 200);
            close(fresh);
        } else {
            expect_problem(client, 504, "outcome_unknown");
            service_stays_alone();
        }
        close(client);
    }
}

static void nothing_is_sent_a_third_time(void **state)
{
    (void)state;
    int client = client_connect();
    int kept = serve_one(client);
    say(client, GET);
    assert_true(hear(kept));
    close(kept);
    int fresh = service_accept();
    assert_true(hear(fresh));
    close(fresh);
    expect_problem(client, 503, "upstream_unavailable");
    service_stays_alone();
    close(client);
}

static void an_answer_that_began_is_not_asked_for_again(void **state)
{
    (void)state;
    int client = client_connect();
    int kept = serve_one(client);
    say(client, GET);
    assert_true(hear(kept));
    say(kept, "HTTP/1.1 ");
    close(kept);
    expect_problem(client, 503, "upstream_unavailable");
    service_stays_alone();
    close(client);
}

static void a_connection_that_died_while_idle_is_not_picked(void **state)
{
    (void)state;
    int client = client_connect();
    int kept = serve_one(client);
    close(kept);
    usleep(QUIET_MS * 1000); /* until the gateway has seen it */
    say(client, POST);       /* which would not be sent again */
    int fresh = service_accept();
    assert_true(hear(fresh));
    say(fresh, OK);
    expect_answer(client, 200);
    close(fresh);
    close(client);
}

/* ---- what goes there ---- */

static void the_service_gets_what_it_may_trust(void **state)
{
    (void)state;
    int client = client_connect();
    say(client,
        "POST /%6frders?status=NEW&x=%20a HTTP/1.1\r\nHost: shop.example\r\nauthorization: Bearer abc\r\n"
        "Content-Type: application/json\r\nAccept: application/json\r\nIdempotency-Key: 0123456789\r\n"
        "Prefer: respond-async\r\nUser-Agent: t/1\r\nX-Request-Id: 11111111\r\nX-User-Id: 1\r\nX-Role: ADMIN\r\n"
        "X-Customer-Id: 1\r\nX_User_Id: 1\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Host: evil\r\nForwarded: for=6\r\n"
        "Cookie: a=b\r\nTE: trailers\r\nConnection: keep-alive, X-Mine\r\nX-Mine: 1\r\nX-Other: 1\r\n"
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\nContent-Length: 7\r\n\r\n{\"a\":1}");
    int service = service_accept();
    assert_true(hear(service));
    assert_true(str_starts(text, "POST /orders?status=NEW&x=%20a HTTP/1.1\r\n"));
    assert_string_equal(body_of(), "{\"a\":1}");
    static const struct {
        const char *name, *value;
    } KEPT[] = {
        {"Host", "order"},
        {"Authorization", "Bearer abc"},
        {"Content-Type", "application/json"},
        {"Accept", "application/json"},
        {"Idempotency-Key", "0123456789"},
        {"Prefer", "respond-async"},
        {"User-Agent", "t/1"},
        {"X-Forwarded-For", "127.0.0.1"},
        {"Content-Length", "7"},
    };
    for (size_t i = 0; i < LENGTH_OF(KEPT); i++) {
        const char *value = header_of(KEPT[i].name);
        ROW_CHECK(value != NULL && strcmp(value, KEPT[i].value) == 0, KEPT[i].name);
    }
    static const char *const DROPPED[] = {"X-User-Id",        "X_User_Id", "X-Role",    "X-Customer-Id",
                                          "X-Forwarded-Host", "Forwarded", "Cookie",    "TE",
                                          "X-Mine",           "X-Other",   "Connection"};
    for (size_t i = 0; i < LENGTH_OF(DROPPED); i++)
        ROW_CHECK(header_of(DROPPED[i]) == NULL, DROPPED[i]);

    assert_string_not_equal(header_of("X-Request-Id"), "11111111");
    assert_true(str_starts(header_of("traceparent"), "00-0af7651916cd43dd8448eb211c80319c-"));
    assert_null(strstr(header_of("traceparent"), "b7ad6b7169203331"));
    assert_in_range(atoi(header_of("X-Request-Deadline-Ms")), 2000, 3000);

    char request_id[128];
    snprintf(request_id, sizeof(request_id), "%s", header_of("X-Request-Id"));
    say(service, OK);
    expect_answer(client, 200);
    assert_string_equal(header_of("X-Request-Id"), request_id);
    close(service);
    close(client);
}

static void what_is_refused_at_the_door_reaches_no_service(void **state)
{
    (void)state;
    static const struct {
        const char *request;
        int status;
    } ROWS[] = {
        {"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n", 404},
        {"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 404},
        {"PUT /orders HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 405},
        {"GET /orders/../orders HTTP/1.1\r\nHost: x\r\n\r\n", 400},
        {"GET /orders HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\n\r\n", 406},
        {"POST /orders HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 1\r\n\r\na", 415},
        {POST_AS("/orders", "Idempotency-Key: short\r\n"), 400},
        {"POST /orders HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        int client = client_connect();
        say(client, ROWS[i].request);
        expect_answer(client, ROWS[i].status);
        assert_string_equal(header_of("Content-Type"), "application/problem+json");
        close(client);
    }
    service_stays_alone();
}

/* ---- what comes back ---- */

static void a_services_problem_passes_as_it_is(void **state)
{
    (void)state;
    static const char PROBLEM[] =
        "{\"type\":\"/problems/insufficient-usable-size\",\"status\":422,\"required\":\"100010\"}";
    int client = client_connect();
    say(client, POST);
    int service = service_accept();
    assert_true(hear(service));
    char answer[1024];
    snprintf(answer, sizeof(answer),
             "HTTP/1.1 422 Unprocessable\r\nContent-Type: application/problem+json\r\nRetry-After: 7\r\n"
             "Content-Length: %zu\r\n\r\n%s",
             sizeof(PROBLEM) - 1, PROBLEM);
    say(service, answer);
    expect_answer(client, 422);
    assert_string_equal(body_of(), PROBLEM);
    assert_string_equal(header_of("Content-Type"), "application/problem+json");
    assert_string_equal(header_of("Retry-After"), "7");
    close(service);
    close(client);
}

static void only_known_headers_come_back(void **state)
{
    (void)state;
    int client = client_connect();
    say(client, POST);
    int service = service_accept();
    assert_true(hear(service));
    say(service, "HTTP/1.1 202 Accepted\r\ncontent-type: application/json\r\nlocation: "
                 "/orders/1\r\nPreference-Applied: respond-async\r\n"
                 "Idempotency-Replayed: true\r\nETag: \"1\"\r\nCache-Control: max-age=60\r\nX-Request-Id: "
                 "theirs\r\nServer: s/1\r\n"
                 "Set-Cookie: a=b\r\nKeep-Alive: timeout=5\r\nLocation: /second\r\nContent-Length: 2\r\n\r\n{}");
    expect_answer(client, 202);
    static const struct {
        const char *name, *value; /* NULL: absent */
    } ROWS[] = {
        {"Content-Type", "application/json"},
        {"Location", "/orders/1"},
        {"Preference-Applied", "respond-async"},
        {"Idempotency-Replayed", "true"},
        {"ETag", "\"1\""},
        {"Cache-Control", "max-age=60"},
        {"Server", NULL},
        {"Set-Cookie", NULL},
        {"Keep-Alive", NULL},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        const char *value = header_of(ROWS[i].name);
        ROW_CHECK((value == NULL) == (ROWS[i].value == NULL), ROWS[i].name);
        ROW_CHECK(value == NULL || strcmp(value, ROWS[i].value) == 0, ROWS[i].name);
    }
    assert_string_not_equal(header_of("X-Request-Id"), "theirs");
    assert_null(strstr(text, "/second"));
    close(service);
    close(client);
}

static void an_answer_may_be_framed_in_every_way(void **state)
{
    (void)state;
    static const struct {
        const char *answer, *why;
        bool closes;
    } ROWS[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "by length", false},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", "chunked", false},
        {"HTTP/1.1 200 OK\r\n\r\nhello", "until close", true},
        {"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "after an interim one",
         false},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        int client = client_connect();
        say(client, GET);
        int service = service_accept();
        assert_true(hear(service));
        for (const char *c = ROWS[i].answer; *c != '\0'; c++) {
            say_bytes(service, c, 1);
            if (c[1] == '\0' || c[1] == '\r')
                usleep(1000); /* so that it comes in pieces */
        }
        if (ROWS[i].closes)
            close(service);
        expect_answer(client, 200);
        ROW_CHECK(strcmp(body_of(), "hello") == 0, ROWS[i].why);
        if (!ROWS[i].closes)
            close(service);
        close(client);
        usleep(QUIET_MS * 1000); /* so that the next row's request doesn't meet this connection */
    }
}

static void head_is_asked_as_get_and_answered_without_a_body(void **state)
{
    (void)state;
    int client = client_connect();
    say(client, "HEAD /orders HTTP/1.1\r\nHost: x\r\n\r\n");
    int service = service_accept();
    assert_true(hear(service));
    assert_true(str_starts(text, "GET /orders HTTP/1.1\r\n"));
    say(service, OK);
    size_t at = 0;
    text[0] = '\0';
    while (strstr(text, "\r\n\r\n") == NULL)
        at += hear_some(client, at);
    assert_int_equal(status_of(), 200);
    assert_string_equal(header_of("Content-Length"), "2");
    assert_string_equal(body_of(), "");
    close(service);
    close(client);
}

static void large_bodies_pass_both_ways(void **state)
{
    (void)state;
    enum { REQUEST = HTTP_BODY_MAX, ANSWER = 1024 * 1024 };
    char *big = malloc(ANSWER), head[256];
    assert_non_null(big);
    for (size_t i = 0; i < ANSWER; i++)
        big[i] = (char)('a' + i % 23);
    int client = client_connect();
    snprintf(head, sizeof(head),
             "POST /orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n",
             REQUEST);
    say(client, head);
    say_bytes(client, big, REQUEST);
    int service = service_accept();
    assert_true(hear(service));
    assert_memory_equal(body_of(), big, REQUEST);

    snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", ANSWER);
    say(service, head);
    say_bytes(service, big, ANSWER);
    expect_answer(client, 200);
    assert_memory_equal(body_of(), big, ANSWER);
    free(big);
    close(service);
    close(client);
}

/* ---- connections ---- */

static void a_connection_is_used_again(void **state)
{
    (void)state;
    int client = client_connect();
    int service = serve_one(client);
    for (int i = 0; i < 3; i++) {
        say(client, POST);
        assert_true(hear(service));
        say(service, OK);
        expect_answer(client, 200);
    }
    service_stays_alone();
    close(service);
    close(client);
}

static void a_connection_with_bytes_that_belong_to_nobody_is_not_used_again(void **state)
{
    (void)state;
    static const struct {
        const char *answer, *why;
    } ROWS[] = {
        {OK OK, "another answer with the first"},
        {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}", "it says that it closes"},
        {"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", "HTTP/1.0"},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        int client = client_connect();
        say(client, GET);
        int service = service_accept();
        assert_true(hear(service));
        say(service, ROWS[i].answer);
        expect_answer(client, 200);
        ROW_CHECK(is_closed_by_peer(service), ROWS[i].why);
        close(service);
        close(client);
    }
}

static void an_idle_connection_that_speaks_is_closed(void **state)
{
    (void)state;
    int client = client_connect();
    int service = serve_one(client);
    say(service, OK); /* nobody asked */
    assert_true(is_closed_by_peer(service));
    say(client, GET);
    int other = service_accept();
    assert_true(hear(other));
    say(other, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nright");
    expect_answer(client, 200);
    assert_string_equal(body_of(), "right");
    close(other);
    close(service);
    close(client);
}

static void an_early_answer_to_half_a_request_ends_the_connection(void **state)
{
    (void)state;
    int client = client_connect();
    int small = 4096;
    (void)setsockopt(house.listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    char *big = malloc(HTTP_BODY_MAX), head[256];
    assert_non_null(big);
    memset(big, ' ', HTTP_BODY_MAX);
    snprintf(head, sizeof(head),
             "POST /orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n",
             HTTP_BODY_MAX);
    say(client, head);
    say_bytes(client, big, HTTP_BODY_MAX);
    int service = service_accept();
    say(service, "HTTP/1.1 413 Too Large\r\nContent-Type: application/problem+json\r\nContent-Length: 2\r\n\r\n{}");
    expect_answer(client, 413);
    free(big);
    close(service);
    close(client);
}

static void beyond_the_cap_a_request_waits_for_a_connection(void **state)
{
    (void)state;
    int first = client_connect(), second = client_connect();
    say(first, GET);
    int service = service_accept();
    assert_true(hear(service));
    say(second, POST);
    service_stays_alone();
    say(service, OK);
    expect_answer(first, 200);
    assert_true(hear(service)); /* the second, on the same connection */
    assert_true(str_starts(text, "POST "));
    say(service, OK);
    expect_answer(second, 200);
    close(service);
    close(first);
    close(second);
}

static void a_request_that_waits_takes_over_from_a_connection_that_broke(void **state)
{
    (void)state;
    int first = client_connect(), second = client_connect();
    say(first, POST);
    int service = service_accept();
    assert_true(hear(service));
    say(second, GET);
    usleep(QUIET_MS * 1000);
    close(service);
    expect_problem(first, 504, "outcome_unknown");
    service = service_accept();
    assert_true(hear(service));
    assert_true(str_starts(text, "GET "));
    say(service, OK);
    expect_answer(second, 200);
    close(service);
    close(first);
    close(second);
}

static void who_waits_too_long_or_among_too_many_is_told_so(void **state)
{
    (void)state;
    int first = client_connect(), waiting[UPSTREAM_QUEUE_FACTOR];
    say(first, GET);
    int service = service_accept();
    assert_true(hear(service));
    for (int i = 0; i < UPSTREAM_QUEUE_FACTOR; i++) {
        waiting[i] = client_connect();
        say(waiting[i], POST);
    }
    usleep(QUIET_MS * 1000);
    int one_more = client_connect();
    mono_ns_t began = clock_mono_ns();
    say(one_more, POST);
    expect_problem(one_more, 503, "unavailable");
    assert_true(clock_mono_ns() - began < UPSTREAM_QUEUE_MS * NS_PER_MS / 2);
    for (int i = 0; i < UPSTREAM_QUEUE_FACTOR; i++) {
        expect_problem(waiting[i], 503, "unavailable");
        assert_string_equal(header_of("Retry-After"), "1");
        close(waiting[i]);
    }
    say(service, OK);
    expect_answer(first, 200);
    close(one_more);
    close(first);
    close(service);
}

/* ---- the end ---- */

static void what_is_under_way_is_answered_before_the_gateway_ends(void **state)
{
    (void)state;
    int client = client_connect();
    say(client, POST);
    int service = service_accept();
    assert_true(hear(service));
    say(service, OK);
    assert_int_equal(http_server_drain(house.server, PATIENCE_MS), 0);
    expect_answer(client, 200);
    assert_string_equal(header_of("Connection"), "close");
    close(service);
    close(client);
}

static void what_does_not_end_in_time_is_cut_off(void **state)
{
    (void)state;
    int client = client_connect();
    say(client, POST);
    int service = service_accept();
    assert_true(hear(service));
    assert_int_equal(http_server_drain(house.server, 100), 1);
    assert_true(is_closed_by_peer(service));
    close(service);
    close(client);
}

#define STORY(name) cmocka_unit_test_setup_teardown(name, open_house, close_house)
#define NARROW_STORY(name) cmocka_unit_test_setup_teardown(name, open_narrow_house, close_house)

int main(void)
{
    static const struct CMUnitTest TESTS[] = {
        STORY(a_service_that_is_away_is_a_503_at_once),
        STORY(a_service_that_does_not_answer_is_a_504_at_the_deadline),
        STORY(a_client_may_be_less_patient_than_the_route),
        STORY(an_answer_that_is_none_is_503_for_a_read_and_504_for_a_write),
        STORY(endless_interim_answers_are_refused),
        STORY(a_kept_connection_that_breaks_before_an_answer_is_replaced_where_twice_does_no_harm),
        STORY(nothing_is_sent_a_third_time),
        STORY(an_answer_that_began_is_not_asked_for_again),
        STORY(a_connection_that_died_while_idle_is_not_picked),
        STORY(the_service_gets_what_it_may_trust),
        STORY(what_is_refused_at_the_door_reaches_no_service),
        STORY(a_services_problem_passes_as_it_is),
        STORY(only_known_headers_come_back),
        STORY(an_answer_may_be_framed_in_every_way),
        STORY(head_is_asked_as_get_and_answered_without_a_body),
        STORY(large_bodies_pass_both_ways),
        STORY(a_connection_is_used_again),
        STORY(a_connection_with_bytes_that_belong_to_nobody_is_not_used_again),
        STORY(an_idle_connection_that_speaks_is_closed),
        STORY(an_early_answer_to_half_a_request_ends_the_connection),
        NARROW_STORY(beyond_the_cap_a_request_waits_for_a_connection),
        NARROW_STORY(a_request_that_waits_takes_over_from_a_connection_that_broke),
        NARROW_STORY(who_waits_too_long_or_among_too_many_is_told_so),
        STORY(what_is_under_way_is_answered_before_the_gateway_ends),
        STORY(what_does_not_end_in_time_is_cut_off),
    };
    return cmocka_run_group_tests(TESTS, NULL, NULL);
}
