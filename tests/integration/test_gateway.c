/* The gateway between a raw-socket client and a raw-socket service, both played by the test: each test is a story told in
 * order by one thread. The gateway's one loop runs beside it. */
#include "gateway/proxy.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/delivery.h"
#include "support/raw_http.h"
#include "unit/unit.h"

enum { PATIENCE_MS = 5000, SHORT_MS = 400, QUIET_MS = 60 };

static struct house {
    int listener; /* the service's */
    int service_port;
    struct arena arena;
    struct routes routes;
    struct upstreams *upstreams;
    struct http_server *server;
} house;

/* clang-format off */
static const char ROUTES[] =
    "{'upstreams': {'order': ['127.0.0.1:%d']}, 'routes': ["
    "{'path': '/orders', 'methods': ['GET'], 'upstream': 'order', 'who': 'anyone', 'timeoutMs': 3000, 'csv': true},"
    "{'path': '/orders', 'methods': ['POST'], 'upstream': 'order', 'who': 'anyone', 'timeoutMs': 3000, 'idempotent': true},"
    "{'path': '/orders/{id}', 'methods': ['GET', 'DELETE'], 'upstream': 'order', 'who': 'anyone', 'timeoutMs': 3000},"
    "{'path': '/logins', 'methods': ['POST'], 'upstream': 'order', 'who': 'anyone', 'timeoutMs': 3000},"
    "{'path': '/short', 'methods': ['GET', 'POST'], 'upstream': 'order', 'who': 'anyone', 'timeoutMs': %d}]}";
/* clang-format on */

static const struct route_handlers HANDLERS = {.forward = proxy_request};

static int client_connect(void)
{
    return raw_connect(http_server_port(house.server));
}

static int service_accept(void)
{
    return raw_accept(house.listener);
}

/* Nobody knocks: for what must not reach the service. */
static void service_stays_alone(void)
{
    assert_false(raw_is_readable(house.listener, QUIET_MS));
}

static void expect_answer(int client, int status)
{
    if (!raw_hear(client))
        fail_msg("the gateway closed without an answer");
    if (raw_status() != status)
        fail_msg("expected %d, not: %s", status, heard);
}

static void expect_problem(int client, int status, const char *code)
{
    char member[64];
    expect_answer(client, status);
    snprintf(member, sizeof(member), "\"code\":\"%s\"", code);
    if (strstr(raw_body(), member) == NULL || strcmp(raw_header("Content-Type"), "application/problem+json") != 0)
        fail_msg("expected the problem %s, not: %s", code, heard);
    assert_non_null(strstr(raw_body(), "\"traceId\":\""));
    assert_non_null(strstr(raw_body(), "\"instance\":\"/"));
}

#define GET "GET /orders HTTP/1.1\r\nHost: x\r\n\r\n"
#define POST_AS(path, headers) \
    "POST " path " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" headers "Content-Length: 2\r\n\r\n{}"
#define POST POST_AS("/orders", "")
#define POST_WITH_KEY POST_AS("/orders", "Idempotency-Key: 0123456789\r\n")
#define OK "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"

/* ---- a house for each test ---- */

/* Its breaker is out of the way, but where a story is about it. */
static void house_open(int in_flight_max)
{
    char conf[2048];
    struct buf complaints;
    struct fault fault;
    buf_init(&complaints);
    arena_init(&house.arena);
    house.listener = raw_listen(&house.service_port);
    snprintf(conf, sizeof(conf), ROUTES, house.service_port, SHORT_MS);
    for (char *quote = conf; (quote = strchr(quote, '\'')) != NULL;)
        *quote = '"';
    if (routes_parse(&house.arena, str_of(conf), &HANDLERS, &house.routes, &complaints) != ERR_OK)
        fail_msg("%s", complaints.data);
    const struct upstreams_settings upstreams = {.in_flight_max = in_flight_max};
    house.upstreams = upstreams_new(&upstreams);
    if (routes_adopt(&house.routes, house.upstreams, &fault) != ERR_OK)
        fail_msg("%s", fault.why);
    breaker_force(&house.upstreams->items[0]->breaker, BREAKER_DISABLED, clock_mono_ns());
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
    upstreams_free(house.upstreams);
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
        raw_say(client, REQUESTS[i]);
        expect_problem(client, 503, "upstream_unavailable");
        assert_string_equal(raw_header("Retry-After"), "1");
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
        raw_say(client, REQUESTS[i]);
        int service = service_accept();
        assert_true(raw_hear(service));
        assert_true(strtol(raw_header("X-Request-Deadline-Ms"), NULL, 10) <= SHORT_MS);
        raw_say(service, "HTTP/1.1 200 OK\r\nContent-Le");
        expect_problem(client, 504, "outcome_unknown");
        int64_t took_ms = (clock_mono_ns() - began) / NS_PER_MS;
        assert_in_range(took_ms, SHORT_MS, SHORT_MS + 1000);
        assert_true(raw_is_closed(service)); /* what it still says belongs to nobody */
        close(service);
        close(client);
    }
}

static void a_client_may_be_less_patient_than_the_route(void **state)
{
    (void)state;
    int client = client_connect();
    raw_say(client, "GET /orders HTTP/1.1\r\nHost: x\r\nX-Request-Deadline-Ms: 100\r\n\r\n");
    int service = service_accept();
    assert_true(raw_hear(service));
    assert_true(strtol(raw_header("X-Request-Deadline-Ms"), NULL, 10) <= 100);
    expect_problem(client, 504, "outcome_unknown");
    close(service);
    close(client);
}

/* Says the same to each sending, until the client has his answer. Returns how many there were. */
static int answer_every_sending(int client, const char *answer)
{
    struct pollfd fds[] = {{.fd = client, .events = POLLIN}, {.fd = house.listener, .events = POLLIN}};
    for (int sendings = 0;;) {
        if (poll(fds, 2, PATIENCE_MS) <= 0)
            fail_msg("neither an answer nor another sending came");
        if (fds[0].revents != 0)
            return sendings;
        int service = service_accept();
        sendings++;
        assert_true(raw_hear(service));
        raw_say(service, answer);
        close(service);
    }
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
            raw_say(client, write ? POST : GET);
            int sendings = answer_every_sending(client, ROWS[i].answer);
            ROW_CHECK(write ? sendings == 1 : sendings <= DELIVERY_READS_MAX, ROWS[i].why);
            if (write)
                expect_problem(client, 504, "outcome_unknown");
            else
                expect_problem(client, 503, "upstream_unavailable");
            ROW_CHECK(raw_header("Location") == NULL, ROWS[i].why);
            close(client);
        }
    }
}

static void endless_interim_answers_are_refused(void **state)
{
    (void)state;
    int client = client_connect();
    raw_say(client, GET);
    int service = service_accept();
    assert_true(raw_hear(service));
    for (int i = 0; i <= UPSTREAM_INTERIM_MAX; i++)
        raw_say(service, "HTTP/1.1 103 Early Hints\r\n\r\n");
    expect_problem(client, 503, "upstream_unavailable");
    close(service);
    close(client);
}

/* ---- what is sent again, and what is not ---- */

/* One request and answer; the connection stays. */
static int serve_one(int client)
{
    raw_say(client, GET);
    int service = service_accept();
    assert_true(raw_hear(service));
    raw_say(service, OK);
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
        raw_say(client, ROWS[i].request);
        assert_true(raw_hear(kept));
        close(kept);
        if (ROWS[i].again) {
            int fresh = service_accept();
            assert_true(raw_hear(fresh));
            ROW_CHECK(strncmp(heard, ROWS[i].request, 10) == 0, ROWS[i].why);
            raw_say(fresh, OK);
            expect_answer(client, 200);
            close(fresh);
        } else {
            expect_problem(client, 504, "outcome_unknown");
            service_stays_alone();
        }
        close(client);
    }
}

/* The first attempt may have placed the order before the service died: the second one's "nothing happened" is not the truth. */
static void what_an_attempt_without_an_answer_may_have_done_is_not_denied(void **state)
{
    (void)state;
    static const char UNAVAILABLE[] = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\n"
                                      "Retry-After: 9\r\nContent-Length: 22\r\n\r\n{\"code\":\"unavailable\"}";
    static const char CONFLICT[] = "HTTP/1.1 409 Conflict\r\nContent-Type: application/problem+json\r\n"
                                   "Content-Length: 19\r\n\r\n{\"code\":\"conflict\"}";
    static const char DELETE[] = "DELETE /orders/1 HTTP/1.1\r\nHost: x\r\n\r\n";
    static const struct {
        const char *request, *second_answer; /* NULL: the service is away */
        int status;
        const char *why;
    } ROWS[] = {
        {POST_WITH_KEY, UNAVAILABLE, 504, "it says so of the second attempt"},
        {DELETE, UNAVAILABLE, 504, "the same of a cancel"},
        {POST_WITH_KEY, CONFLICT, 409, "that is known, whatever came before"},
        {GET, UNAVAILABLE, 503, "a read does nothing"},
        {POST_WITH_KEY, NULL, 504, "the second was not sent, the first was"},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        int client = client_connect();
        int kept = serve_one(client);
        raw_say(client, ROWS[i].request);
        assert_true(raw_hear(kept));
        if (ROWS[i].second_answer == NULL)
            close(house.listener);
        close(kept);
        if (ROWS[i].second_answer != NULL) {
            int fresh = service_accept();
            assert_true(raw_hear(fresh));
            raw_say(fresh, ROWS[i].second_answer);
            close(fresh);
        }
        expect_answer(client, ROWS[i].status);
        bool doubtful = strstr(raw_body(), "\"code\":\"outcome_unknown\"") != NULL;
        ROW_CHECK(doubtful == (ROWS[i].status == 504), ROWS[i].why);
        close(client);
    }
    house.listener = socket(AF_INET, SOCK_STREAM, 0);
}

static void a_read_is_sent_three_times_at_most_a_write_twice(void **state)
{
    (void)state;
    static const struct {
        const char *request;
        int sendings, status;
    } ROWS[] = {{GET, DELIVERY_READS_MAX, 503}, {POST_WITH_KEY, DELIVERY_WRITES_MAX, 504}, {POST, 1, 504}};
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        int client = client_connect();
        raw_say(client, ROWS[i].request);
        assert_int_equal(answer_every_sending(client, ""), ROWS[i].sendings);
        expect_answer(client, ROWS[i].status);
        service_stays_alone();
        close(client);
    }
}

/* Half an answer was for nobody yet: the client gets the second one, whole and alone. */
static void an_answer_that_broke_off_is_asked_for_again_where_twice_does_no_harm(void **state)
{
    (void)state;
    static const char *const HALVES[] = {"HTTP/1.1 ", "HTTP/1.1 200 OK\r\nLocation: /old\r\n",
                                         "HTTP/1.1 200 OK\r\nLocation: /old\r\nContent-Length: 9\r\n\r\nhalf"};
    for (size_t i = 0; i < LENGTH_OF(HALVES); i++) {
        int client = client_connect();
        raw_say(client, GET);
        int first = service_accept();
        assert_true(raw_hear(first));
        raw_say(first, HALVES[i]);
        close(first);
        int second = service_accept();
        assert_true(raw_hear(second));
        raw_say(second, OK);
        close(second);
        expect_answer(client, 200);
        assert_string_equal(raw_body(), "{}");
        assert_null(raw_header("Location"));
        close(client);
    }
}

#define UNAVAILABLE_FOR(seconds) \
    "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: " seconds \
    "\r\nContent-Length: 22\r\n\r\n{\"code\":\"unavailable\"}"

static void a_service_that_asks_for_time_gets_it_if_the_deadline_allows(void **state)
{
    (void)state;
    static const struct {
        const char *request, *answer;
        bool again;
        const char *why;
    } ROWS[] = {
        {GET, UNAVAILABLE_FOR("1"), true, "a second of three"},
        {GET, UNAVAILABLE_FOR("3"), false, "it would be too late"},
        {POST, UNAVAILABLE_FOR("1"), false, "it was heard, and has no key"},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        int client = client_connect();
        raw_say(client, ROWS[i].request);
        int service = service_accept();
        assert_true(raw_hear(service));
        mono_ns_t asked = clock_mono_ns();
        raw_say(service, ROWS[i].answer);
        close(service);
        if (ROWS[i].again) {
            service = service_accept();
            ROW_CHECK(clock_mono_ns() - asked >= NS_PER_S, ROWS[i].why);
            assert_true(raw_hear(service));
            raw_say(service, OK);
            close(service);
        }
        expect_answer(client, ROWS[i].again ? 200 : 503);
        service_stays_alone();
        close(client);
    }
}

static void a_connection_that_died_while_idle_is_not_picked(void **state)
{
    (void)state;
    int client = client_connect();
    int kept = serve_one(client);
    close(kept);
    usleep(QUIET_MS * 1000); /* until the gateway has seen it */
    raw_say(client, POST);   /* which would not be sent again */
    int fresh = service_accept();
    assert_true(raw_hear(fresh));
    raw_say(fresh, OK);
    expect_answer(client, 200);
    close(fresh);
    close(client);
}

/* ---- what goes there ---- */

static void the_service_gets_what_it_may_trust(void **state)
{
    (void)state;
    int client = client_connect();
    raw_say(
        client,
        "POST /%6frders?status=NEW&x=%20a HTTP/1.1\r\nHost: shop.example\r\nauthorization: Bearer abc\r\n"
        "Content-Type: application/json\r\nAccept: application/json\r\nIdempotency-Key: 0123456789\r\n"
        "Prefer: respond-async\r\nUser-Agent: t/1\r\nX-Request-Id: 11111111\r\nX-User-Id: 1\r\nX-Role: ADMIN\r\n"
        "X-Customer-Id: 1\r\nX_User_Id: 1\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Host: evil\r\nForwarded: for=6\r\n"
        "Cookie: a=b\r\nTE: trailers\r\nConnection: keep-alive, X-Mine\r\nX-Mine: 1\r\nX-Other: 1\r\n"
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\nContent-Length: 7\r\n\r\n{\"a\":1}");
    int service = service_accept();
    assert_true(raw_hear(service));
    assert_true(str_starts(heard, "POST /orders?status=NEW&x=%20a HTTP/1.1\r\n"));
    assert_string_equal(raw_body(), "{\"a\":1}");
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
        const char *value = raw_header(KEPT[i].name);
        ROW_CHECK(value != NULL && strcmp(value, KEPT[i].value) == 0, KEPT[i].name);
    }
    static const char *const DROPPED[] = {"X-User-Id",        "X_User_Id", "X-Role",    "X-Customer-Id",
                                          "X-Forwarded-Host", "Forwarded", "Cookie",    "TE",
                                          "X-Mine",           "X-Other",   "Connection"};
    for (size_t i = 0; i < LENGTH_OF(DROPPED); i++)
        ROW_CHECK(raw_header(DROPPED[i]) == NULL, DROPPED[i]);

    assert_string_not_equal(raw_header("X-Request-Id"), "11111111");
    assert_true(str_starts(raw_header("traceparent"), "00-0af7651916cd43dd8448eb211c80319c-"));
    assert_null(strstr(raw_header("traceparent"), "b7ad6b7169203331"));
    assert_in_range(strtol(raw_header("X-Request-Deadline-Ms"), NULL, 10), 2000, 3000);

    char request_id[128];
    snprintf(request_id, sizeof(request_id), "%s", raw_header("X-Request-Id"));
    raw_say(service, OK);
    expect_answer(client, 200);
    assert_string_equal(raw_header("X-Request-Id"), request_id);
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
        raw_say(client, ROWS[i].request);
        expect_answer(client, ROWS[i].status);
        assert_string_equal(raw_header("Content-Type"), "application/problem+json");
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
    raw_say(client, POST);
    int service = service_accept();
    assert_true(raw_hear(service));
    char answer[1024];
    snprintf(answer, sizeof(answer),
             "HTTP/1.1 422 Unprocessable\r\nContent-Type: application/problem+json\r\nRetry-After: 7\r\n"
             "Content-Length: %zu\r\n\r\n%s",
             sizeof(PROBLEM) - 1, PROBLEM);
    raw_say(service, answer);
    expect_answer(client, 422);
    assert_string_equal(raw_body(), PROBLEM);
    assert_string_equal(raw_header("Content-Type"), "application/problem+json");
    assert_string_equal(raw_header("Retry-After"), "7");
    close(service);
    close(client);
}

static void only_known_headers_come_back(void **state)
{
    (void)state;
    int client = client_connect();
    raw_say(client, POST);
    int service = service_accept();
    assert_true(raw_hear(service));
    raw_say(service, "HTTP/1.1 202 Accepted\r\ncontent-type: application/json\r\nlocation: "
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
        const char *value = raw_header(ROWS[i].name);
        ROW_CHECK((value == NULL) == (ROWS[i].value == NULL), ROWS[i].name);
        ROW_CHECK(value == NULL || strcmp(value, ROWS[i].value) == 0, ROWS[i].name);
    }
    assert_string_not_equal(raw_header("X-Request-Id"), "theirs");
    assert_null(strstr(heard, "/second"));
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
        raw_say(client, GET);
        int service = service_accept();
        assert_true(raw_hear(service));
        for (const char *c = ROWS[i].answer; *c != '\0'; c++) {
            raw_say_bytes(service, c, 1);
            if (c[1] == '\0' || c[1] == '\r')
                usleep(1000); /* so that it comes in pieces */
        }
        if (ROWS[i].closes)
            close(service);
        expect_answer(client, 200);
        ROW_CHECK(strcmp(raw_body(), "hello") == 0, ROWS[i].why);
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
    raw_say(client, "HEAD /orders HTTP/1.1\r\nHost: x\r\n\r\n");
    int service = service_accept();
    assert_true(raw_hear(service));
    assert_true(str_starts(heard, "GET /orders HTTP/1.1\r\n"));
    raw_say(service, OK);
    raw_hear_head(client);
    assert_int_equal(raw_status(), 200);
    assert_string_equal(raw_header("Content-Length"), "2");
    assert_string_equal(raw_body(), "");
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
    raw_say(client, head);
    raw_say_bytes(client, big, REQUEST);
    int service = service_accept();
    assert_true(raw_hear(service));
    assert_memory_equal(raw_body(), big, REQUEST);

    snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", ANSWER);
    raw_say(service, head);
    raw_say_bytes(service, big, ANSWER);
    expect_answer(client, 200);
    assert_memory_equal(raw_body(), big, ANSWER);
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
        raw_say(client, POST);
        assert_true(raw_hear(service));
        raw_say(service, OK);
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
        raw_say(client, GET);
        int service = service_accept();
        assert_true(raw_hear(service));
        raw_say(service, ROWS[i].answer);
        expect_answer(client, 200);
        ROW_CHECK(raw_is_closed(service), ROWS[i].why);
        close(service);
        close(client);
    }
}

static void an_idle_connection_that_speaks_is_closed(void **state)
{
    (void)state;
    int client = client_connect();
    int service = serve_one(client);
    raw_say(service, OK); /* nobody asked */
    assert_true(raw_is_closed(service));
    raw_say(client, GET);
    int other = service_accept();
    assert_true(raw_hear(other));
    raw_say(other, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nright");
    expect_answer(client, 200);
    assert_string_equal(raw_body(), "right");
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
    raw_say(client, head);
    raw_say_bytes(client, big, HTTP_BODY_MAX);
    int service = service_accept();
    raw_say(service, "HTTP/1.1 413 Too Large\r\nContent-Type: application/problem+json\r\nContent-Length: 2\r\n\r\n{}");
    expect_answer(client, 413);
    free(big);
    close(service);
    close(client);
}

static void beyond_the_cap_a_request_waits_for_a_connection(void **state)
{
    (void)state;
    int first = client_connect(), second = client_connect();
    raw_say(first, GET);
    int service = service_accept();
    assert_true(raw_hear(service));
    raw_say(second, POST);
    service_stays_alone();
    raw_say(service, OK);
    expect_answer(first, 200);
    assert_true(raw_hear(service)); /* the second, on the same connection */
    assert_true(str_starts(heard, "POST "));
    raw_say(service, OK);
    expect_answer(second, 200);
    close(service);
    close(first);
    close(second);
}

static void a_request_that_waits_takes_over_from_a_connection_that_broke(void **state)
{
    (void)state;
    int first = client_connect(), second = client_connect();
    raw_say(first, POST);
    int service = service_accept();
    assert_true(raw_hear(service));
    raw_say(second, GET);
    usleep(QUIET_MS * 1000);
    close(service);
    expect_problem(first, 504, "outcome_unknown");
    service = service_accept();
    assert_true(raw_hear(service));
    assert_true(str_starts(heard, "GET "));
    raw_say(service, OK);
    expect_answer(second, 200);
    close(service);
    close(first);
    close(second);
}

static void who_waits_too_long_or_among_too_many_is_told_so(void **state)
{
    (void)state;
    int first = client_connect(), waiting[UPSTREAM_QUEUE_FACTOR];
    raw_say(first, GET);
    int service = service_accept();
    assert_true(raw_hear(service));
    for (int i = 0; i < UPSTREAM_QUEUE_FACTOR; i++) {
        waiting[i] = client_connect();
        raw_say(waiting[i], POST);
    }
    usleep(QUIET_MS * 1000);
    int one_more = client_connect();
    mono_ns_t began = clock_mono_ns();
    raw_say(one_more, POST);
    expect_problem(one_more, 503, "unavailable");
    assert_true(clock_mono_ns() - began < UPSTREAM_QUEUE_MS * NS_PER_MS / 2);
    for (int i = 0; i < UPSTREAM_QUEUE_FACTOR; i++) {
        expect_problem(waiting[i], 503, "unavailable");
        assert_string_equal(raw_header("Retry-After"), "1");
        close(waiting[i]);
    }
    raw_say(service, OK);
    expect_answer(first, 200);
    close(one_more);
    close(first);
    close(service);
}

/* ---- the end ---- */

static void *drain_main(void *ret_cut_off)
{
    *(int *)ret_cut_off = http_server_drain(house.server, PATIENCE_MS);
    return NULL;
}

/* Once draining, the door is shut. */
static void await_shut_door(void)
{
    mono_ns_t end = clock_mono_ns() + PATIENCE_MS * NS_PER_MS;
    while (raw_can_connect(http_server_port(house.server)))
        assert_true(clock_mono_ns() < end);
}

static void what_is_under_way_is_answered_before_the_gateway_ends(void **state)
{
    (void)state;
    pthread_t drainer;
    int cut_off = -1;
    int client = client_connect();
    raw_say(client, POST);
    int service = service_accept();
    assert_true(raw_hear(service));
    assert_int_equal(pthread_create(&drainer, NULL, drain_main, &cut_off), 0);
    await_shut_door();
    raw_say(service, OK);
    pthread_join(drainer, NULL);
    assert_int_equal(cut_off, 0);
    expect_answer(client, 200);
    assert_string_equal(raw_header("Connection"), "close");
    close(service);
    close(client);
}

static void what_does_not_end_in_time_is_cut_off(void **state)
{
    (void)state;
    int client = client_connect();
    raw_say(client, POST);
    int service = service_accept();
    assert_true(raw_hear(service));
    assert_int_equal(http_server_drain(house.server, 100), 1);
    assert_true(raw_is_closed(service));
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
        STORY(a_read_is_sent_three_times_at_most_a_write_twice),
        STORY(what_an_attempt_without_an_answer_may_have_done_is_not_denied),
        STORY(an_answer_that_broke_off_is_asked_for_again_where_twice_does_no_harm),
        STORY(a_service_that_asks_for_time_gets_it_if_the_deadline_allows),
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
