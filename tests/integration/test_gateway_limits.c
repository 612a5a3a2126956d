/* The gateway's limits at its door: a real server with real tokens, and handlers that answer at once. */
#include "gateway/admission.h"
#include "gateway/breakers.h"
#include "gateway/own.h"
#include "gateway/proxy.h"

#include <fcntl.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/raw_http.h"
#include "unit/unit.h"

enum { POINT_SIZE = 65 };

static struct house {
    char folder[64];
    struct arena arena;
    struct routes routes;
    struct upstreams *upstreams;
    struct metrics *metrics;
    struct token_verifier *verifier;
    struct token_signer *signer;
    struct http_server *server;
    int client;
    int served;      /* requests that came to a handler */
    int auth;        /* listens as auth-svc */
    struct log *log; /* to the file "log" */
} house;

/* A day's period, so that nothing is earned back while a test runs. */
/* clang-format off */
static const char ROUTES[] =
    "{'upstreams': {'order': ['127.0.0.1:1'], 'auth': ['127.0.0.1:%d']}, 'policies': {"
    "'strangers': {'key': 'anonymous', 'limit': 1, 'periodMs': 86400000, 'burst': 3},"
    "'login-address': {'key': 'address', 'limit': 1, 'periodMs': 86400000, 'burst': 4},"
    "'login-name': {'key': 'username', 'limit': 1, 'periodMs': 86400000, 'burst': 2},"
    "'read': {'key': 'user', 'limit': 1, 'periodMs': 86400000, 'burst': 5},"
    "'all': {'key': 'upstream', 'limit': 1, 'periodMs': 86400000, 'burst': 2}"
    "}, 'routes': ["
    "{'path': '/login', 'methods': ['POST'], 'upstream': 'order', 'who': 'anyone', 'timeoutMs': 3000, 'limits': ['login-address', 'login-name']},"
    "{'path': '/read', 'methods': ['GET'], 'upstream': 'order', 'who': 'user', 'timeoutMs': 3000, 'limits': ['strangers', 'read']},"
    "{'path': '/dear', 'methods': ['GET'], 'upstream': 'order', 'who': 'user', 'timeoutMs': 3000, 'limits': ['read'], 'cost': 3},"
    "{'path': '/free', 'methods': ['DELETE'], 'upstream': 'order', 'who': 'user', 'timeoutMs': 3000, 'limits': ['strangers']},"
    "{'path': '/open', 'methods': ['GET'], 'upstream': 'order', 'who': 'anyone', 'timeoutMs': 3000, 'limits': ['strangers']},"
    "{'path': '/admins', 'methods': ['GET'], 'upstream': 'order', 'who': 'admin', 'timeoutMs': 3000, 'limits': ['read']},"
    "{'path': '/service', 'methods': ['GET'], 'upstream': 'order', 'who': 'user', 'timeoutMs': 3000, 'limits': ['all']},"
    "{'path': '/breakers', 'methods': ['GET'], 'own': 'breakers', 'who': 'admin', 'timeoutMs': 1000},"
    "{'path': '/breakers/{name}', 'methods': ['GET'], 'own': 'breaker', 'who': 'admin', 'timeoutMs': 1000},"
    "{'path': '/breakers/{name}', 'methods': ['PUT'], 'own': 'breaker-force', 'who': 'admin', 'timeoutMs': 1000},"
    "{'path': '/unlimited', 'methods': ['GET'], 'upstream': 'order', 'who': 'anyone', 'timeoutMs': 3000}]}";
/* clang-format on */

static enum err serve(struct call *call)
{
    house.served++;
    buf_str(&call->out, "{}");
    call_reply(call, 200);
    return ERR_OK;
}

static const struct route_handlers HANDLERS = {.forward = serve, .own = OWN_HANDLERS};

/* ---- tokens ---- */

static const char *path_of(const char *name)
{
    return arena_printf(&house.arena, "%s/%s", house.folder, name);
}

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
    EVP_PKEY_free(key);
    str_base64url_encode(point + 1, 32, x);
    str_base64url_encode(point + 33, 32, y);
    f = fopen(path_of("jwks.json"), "w");
    assert_non_null(f);
    fprintf(f,
            "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"use\":\"sig\",\"alg\":\"ES256\",\"kid\":\"k1\","
            "\"x\":\"%s\",\"y\":\"%s\"}]}",
            x, y);
    fclose(f);
}

static const char *token_as(int64_t customer, enum token_role role)
{
    struct fault fault;
    char *token = NULL;
    int64_t now = clock_now_us() / US_PER_S;
    struct token_claims claims = {
        .customer_id = customer, .role = role, .sid = uuid_v7(), .iat = now, .exp = now + TOKEN_LIFE_S};
    if (token_sign(house.signer, &claims, &house.arena, &token, &fault) != ERR_OK)
        fail_msg("%s", fault.why);
    return arena_printf(&house.arena, "Authorization: Bearer %s\r\n", token);
}

static const char *token_of(int64_t customer)
{
    return token_as(customer, ROLE_CUSTOMER);
}

/* ---- a house for each test ---- */

static int open_house(void **state)
{
    (void)state;
    struct fault fault;
    struct buf complaints;
    char *conf;
    int auth_port, log_file;
    house = (struct house){.folder = "/tmp/test_gateway_limits.XXXXXX"};
    buf_init(&complaints);
    arena_init(&house.arena);
    assert_non_null(mkdtemp(house.folder));
    write_keys();
    if (token_signer_open(path_of("keys"), &house.signer, &fault) != ERR_OK ||
        token_verifier_open(path_of("jwks.json"), 64, &house.verifier, &fault) != ERR_OK)
        fail_msg("%s", fault.why);
    house.auth = raw_listen(&auth_port);
    conf = arena_printf(&house.arena, ROUTES, auth_port);
    for (char *quote = conf; (quote = strchr(quote, '\'')) != NULL;)
        *quote = '"';
    if (routes_parse(&house.arena, str_of(conf), &HANDLERS, &house.routes, &complaints) != ERR_OK)
        fail_msg("%s", complaints.data);
    log_file = open(path_of("log"), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    assert_true(log_file >= 0);
    house.log = log_open("gateway", LOG_INFO, log_file);
    const struct upstreams_settings settings = {.in_flight_max = 8, .log = house.log};
    house.upstreams = upstreams_new(&settings);
    assert_int_equal(routes_adopt(&house.routes, house.upstreams, &fault), ERR_OK);
    house.metrics = metrics_new();
    house.routes.limiter = limiter_new();
    policies_measure(&house.routes.policies, house.metrics);
    const struct http_server_conf server = {
        .listen = "127.0.0.1:0",
        .threads = 1,
        .routes = house.routes.http,
        .verifier = house.verifier,
        .app = &house.routes,
        .admit = admission_ask,
        .thread_start = proxy_thread_start,
        .thread_stop = proxy_thread_stop,
    };
    if (http_server_open(&server, &house.server, &fault) != ERR_OK)
        fail_msg("%s", fault.why);
    house.client = raw_connect(http_server_port(house.server));
    return 0;
}

static int close_house(void **state)
{
    static const char *const FILES[] = {"keys/k1.pem", "jwks.json", "log"};
    (void)state;
    close(house.client);
    http_server_close(house.server);
    token_signer_close(house.signer);
    token_verifier_close(house.verifier);
    limiter_free(house.routes.limiter);
    upstreams_free(house.upstreams);
    metrics_free(house.metrics);
    log_close(house.log);
    if (house.auth >= 0)
        close(house.auth);
    for (size_t i = 0; i < LENGTH_OF(FILES); i++)
        unlink(path_of(FILES[i]));
    rmdir(path_of("keys"));
    rmdir(house.folder);
    arena_done(&house.arena);
    return 0;
}

/* ---- asking ---- */

static int ask(const char *method, const char *path, const char *headers)
{
    raw_say(house.client, arena_printf(&house.arena, "%s %s HTTP/1.1\r\nHost: x\r\n%s\r\n", method, path, headers));
    if (strcmp(method, "HEAD") == 0)
        raw_hear_head(house.client);
    else
        assert_true(raw_hear(house.client));
    return raw_status();
}

static int get(const char *path, const char *headers)
{
    return ask("GET", path, headers);
}

static int login(const char *body)
{
    raw_say(house.client, arena_printf(&house.arena,
                                       "POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                                       "Content-Length: %zu\r\n\r\n%s",
                                       strlen(body), body));
    assert_true(raw_hear(house.client));
    return raw_status();
}

static void expect_remaining(const char *policy, int remaining)
{
    char text[64];
    snprintf(text, sizeof(text), "\"%s\";r=%d;t=", policy, remaining);
    const char *fields = raw_header("RateLimit");
    if (fields == NULL || strncmp(fields, text, strlen(text)) != 0)
        fail_msg("expected %s, not: %s", text, fields);
}

static void expect_refused_by(const char *policy)
{
    char text[64];
    assert_int_equal(raw_status(), 429);
    snprintf(text, sizeof(text), "\"violated-policies\":[\"%s\"]", policy);
    if (strstr(raw_body(), text) == NULL)
        fail_msg("expected %s, not: %s", text, raw_body());
    assert_non_null(strstr(raw_body(), "\"code\":\"rate_limited\""));
    assert_string_equal(raw_header("Content-Type"), "application/problem+json");
    expect_remaining(policy, 0);
    long retry_after = strtol(raw_header("Retry-After"), NULL, 10);
    assert_in_range(retry_after, 86300, 86400); /* the next is earned in a day */
    assert_int_equal(strtol(strstr(raw_header("RateLimit"), ";t=") + 3, NULL, 10), retry_after);
}

/* ---- the tests ---- */

static void a_user_has_his_burst_wherever_he_comes_from_and_another_has_his(void **state)
{
    (void)state;
    const char *ann = token_of(1), *ann_again = token_of(1), *bob = token_of(2);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(get("/read", i % 2 == 0 ? ann : ann_again), 200);
        expect_remaining("read", 4 - i);
        assert_string_equal(raw_header("RateLimit-Policy"), "\"read\";q=1;w=86400");
    }
    get("/read", ann);
    expect_refused_by("read");
    assert_int_equal(house.served, 5);
    assert_int_equal(get("/read", bob), 200);
    expect_remaining("read", 4);
}

static void a_dear_request_costs_more(void **state)
{
    (void)state;
    const char *ann = token_of(1);
    assert_int_equal(get("/dear", ann), 200);
    expect_remaining("read", 2);
    assert_int_equal(get("/dear", ann), 429);
    assert_int_equal(get("/read", ann), 200);
    expect_remaining("read", 1);
}

static void refused_tokens_are_counted_by_address_before_they_are_looked_at(void **state)
{
    (void)state;
    const char *ann = token_of(1);
    for (int i = 0; i < 10; i++) /* who has a token is no stranger */
        (void)get("/read", token_of(100 + i));
    assert_int_equal(get("/read", ""), 401);
    expect_remaining("strangers", 2);
    assert_int_equal(get("/read", "Authorization: Bearer eyJhbGciOiJub25lIn0.e30.\r\n"), 401);
    expect_remaining("strangers", 1);
    assert_int_equal(get("/open", ""), 200);
    expect_remaining("strangers", 0);
    get("/open", "");
    expect_refused_by("strangers");
    get("/read", "");
    expect_refused_by("strangers");
    get("/read", ann); /* not looked at any more: that is what the limit is for */
    expect_refused_by("strangers");
}

static void a_login_is_limited_by_user_name_and_by_address(void **state)
{
    (void)state;
    assert_int_equal(login("{\"username\":\"ann\",\"password\":\"x\"}"), 200);
    expect_remaining("login-name", 1);
    assert_non_null(strstr(raw_header("RateLimit"), ", \"login-address\";r=3;t="));
    assert_int_equal(login("{\"username\":\"ANN\",\"password\":\"x\"}"), 200); /* the same name to auth-svc */
    for (int i = 0; i < 10; i++) {
        login("{\"username\":\"ann\",\"password\":\"x\"}");
        expect_refused_by("login-name");
    }
    assert_int_equal(login("{\"username\":\"bob\"}"), 200); /* what ann was refused has cost the address nothing */
    assert_non_null(strstr(raw_header("RateLimit"), "\"login-address\";r=1;t="));
    assert_int_equal(login("{\"user\":1}"), 200); /* no name: auth-svc will say so, the address pays */
    expect_remaining("login-address", 0);
    login("{\"username\":\"carl\"}");
    expect_refused_by("login-address");
    login("{");
    expect_refused_by("login-address");
    assert_int_equal(house.served, 4);
}

static void what_is_refused_for_another_reason_has_the_fields_too(void **state)
{
    (void)state;
    const char *ann = token_of(1);
    assert_int_equal(get("/admins", ann), 403);
    assert_null(raw_header("RateLimit")); /* by then no policy was asked */
    assert_int_equal(get("/read", arena_printf(&house.arena, "%sAccept: text/html\r\n", ann)), 406);
    expect_remaining("read", 4);
    assert_int_equal(ask("HEAD", "/read", ann), 200);
    expect_remaining("read", 3);
    assert_int_equal(get("/unlimited", ""), 200);
    assert_null(raw_header("RateLimit"));
    assert_null(raw_header("RateLimit-Policy"));
    assert_int_equal(get("/nowhere", ""), 404);
    assert_null(raw_header("RateLimit"));
}

static void cancels_are_free_for_who_has_a_token(void **state)
{
    (void)state;
    const char *ann = token_of(1);
    for (int i = 0; i < 50; i++)
        assert_int_equal(ask("DELETE", "/free", ann), 200);
    for (int i = 0; i < 3; i++)
        assert_int_equal(ask("DELETE", "/free", ""), 401);
    assert_int_equal(ask("DELETE", "/free", ""), 429);
}

static void a_service_may_have_a_limit_for_all(void **state)
{
    (void)state;
    assert_int_equal(get("/service", token_of(1)), 200);
    assert_int_equal(get("/service", token_of(2)), 200);
    get("/service", token_of(3));
    expect_refused_by("all");
}

static int put(const char *path, const char *token, const char *body)
{
    raw_say(house.client, arena_printf(&house.arena,
                                       "PUT %s HTTP/1.1\r\nHost: x\r\n%sContent-Type: application/json\r\n"
                                       "Content-Length: %zu\r\n\r\n%s",
                                       path, token, strlen(body), body));
    assert_true(raw_hear(house.client));
    return raw_status();
}

static void only_admins_see_breakers_and_force_them(void **state)
{
    (void)state;
    const char *admin = token_as(1, ROLE_ADMIN), *ann = token_of(2);
    assert_int_equal(get("/breakers", ann), 403);
    assert_int_equal(put("/breakers/order", ann, "{\"state\":\"CLOSED\"}"), 403);
    assert_int_equal(put("/breakers/order", admin, "{\"state\":\"OPEN\"}"), 400);
    assert_int_equal(put("/breakers/nothing", admin, "{\"state\":\"CLOSED\"}"), 404);
    assert_int_equal(get("/breakers/nothing", admin), 404);
    assert_int_equal(get("/breakers", admin), 200);
    assert_non_null(strstr(raw_body(), "{\"items\":[{\"name\":\"order\",\"state\":\"CLOSED\""));
}

static bool log_says(const char *words)
{
    static char text[RAW_TEXT_MAX];
    FILE *f = fopen(path_of("log"), "r");
    assert_non_null(f);
    text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
    fclose(f);
    return strstr(text, words) != NULL;
}

#define UNTOLD "the audit trail doesn't have that the breaker of "

/* auth-svc is asked to write it down in the admin's name, and answers so; then the admin hears that it is done. */
static void force_while_auth_answers(const char *service, const char *state, const char *auth_answer)
{
    const char *body = arena_printf(&house.arena, "{\"state\":\"%s\"}", state), *admin = token_as(1, ROLE_ADMIN);
    raw_say(house.client, arena_printf(&house.arena,
                                       "PUT /breakers/%s HTTP/1.1\r\nHost: x\r\n%sContent-Type: application/json\r\n"
                                       "Content-Length: %zu\r\n\r\n%s",
                                       service, admin, strlen(body), body));
    int auth = raw_accept(house.auth);
    assert_true(raw_hear(auth));
    assert_int_equal(strncmp(heard, "POST /api/v1/admin/audit-log HTTP/1.1\r\n", 39), 0);
    assert_non_null(strstr(heard, admin));
    assert_string_equal(raw_header("Content-Type"), "application/json");
    assert_string_equal(
        raw_body(), arena_printf(&house.arena, "{\"type\":\"breaker.forced\",\"detail\":\"%s: %s\"}", service, state));
    if (auth_answer != NULL)
        raw_say(auth, auth_answer);
    assert_true(raw_hear(house.client));
    assert_int_equal(raw_status(), 200);
    assert_non_null(strstr(raw_body(), arena_printf(&house.arena, "\"name\":\"%s\",\"state\":\"%s\"", service, state)));
    close(auth);
}

static void a_forced_breaker_is_written_down_by_auth_svc(void **state)
{
    (void)state;
    static const char DONE[] = "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
    force_while_auth_answers("order", "FORCED_OPEN", DONE);
    assert_int_equal(breaker_peek(&house.upstreams->items[0]->breaker), BREAKER_FORCED_OPEN);
    force_while_auth_answers("order", "CLOSED", DONE);
    assert_int_equal(breaker_peek(&house.upstreams->items[0]->breaker), BREAKER_CLOSED);
    /* its own too, though nothing else gets through between the two */
    force_while_auth_answers("auth", "FORCED_OPEN", DONE);
    force_while_auth_answers("auth", "CLOSED", DONE);
    assert_true(log_says("an admin sets the breaker of auth to CLOSED"));
    assert_false(log_says(UNTOLD));
}

static void a_forced_breaker_holds_though_nobody_writes_it_down(void **state)
{
    (void)state;
    const char *admin = token_as(1, ROLE_ADMIN);
    force_while_auth_answers("order", "DISABLED",
                             "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    assert_true(log_says(UNTOLD "order was set: auth-svc answers 403"));

    mono_ns_t began = clock_mono_ns();
    force_while_auth_answers("order", "FORCED_OPEN", NULL);
    assert_in_range((clock_mono_ns() - began) / NS_PER_MS, TELL_MAX_MS, 5 * TELL_MAX_MS);
    assert_int_equal(breaker_peek(&house.upstreams->items[0]->breaker), BREAKER_FORCED_OPEN);

    close(house.auth);
    house.auth = -1;
    assert_int_equal(put("/breakers/order", admin, "{\"state\":\"CLOSED\"}"), 200);
    assert_non_null(strstr(raw_body(), "\"state\":\"CLOSED\""));
    assert_true(log_says(UNTOLD "order was set: Connection refused"));
}

static void decisions_are_counted(void **state)
{
    (void)state;
    struct buf text;
    const char *ann = token_of(1);
    for (int i = 0; i < 7; i++)
        (void)get("/read", ann);
    (void)get("/read", "");
    buf_init(&text);
    metrics_render(house.metrics, &text);
    static const char *const EXPECTED[] = {
        "{policy=\"read\",decision=\"allowed\"} 5\n",
        "{policy=\"read\",decision=\"denied\"} 2\n",
        "{policy=\"strangers\",decision=\"allowed\"} 1\n",
        "{policy=\"strangers\",decision=\"denied\"} 0\n",
    };
    for (size_t i = 0; i < LENGTH_OF(EXPECTED); i++)
        ROW_CHECK(strstr(buf_cstr(&text), EXPECTED[i]) != NULL, EXPECTED[i]);
    buf_done(&text);
}

static void an_address_counts_as_what_one_client_can_choose_from(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        bool same;
    } ROWS[] = {
        {"10.0.0.1", "10.0.0.1", true},
        {"10.0.0.1", "10.0.0.2", false},
        {"::ffff:10.0.0.1", "10.0.0.1", true},
        {"2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true},
        {"2001:db8:1:2::1", "2001:db8:1:3::1", false},
        {"", "10.0.0.1", false},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        char a[ADDRESS_KEY_MAX], b[ADDRESS_KEY_MAX];
        struct str x = admission_address_key(ROWS[i].a, a), y = admission_address_key(ROWS[i].b, b);
        ROW_CHECK((x.len == y.len && memcmp(x.data, y.data, x.len) == 0) == ROWS[i].same, ROWS[i].a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define AT_HOME(test) cmocka_unit_test_setup_teardown(test, open_house, close_house)
        AT_HOME(a_user_has_his_burst_wherever_he_comes_from_and_another_has_his),
        AT_HOME(a_dear_request_costs_more),
        AT_HOME(refused_tokens_are_counted_by_address_before_they_are_looked_at),
        AT_HOME(a_login_is_limited_by_user_name_and_by_address),
        AT_HOME(what_is_refused_for_another_reason_has_the_fields_too),
        AT_HOME(cancels_are_free_for_who_has_a_token),
        AT_HOME(a_service_may_have_a_limit_for_all),
        AT_HOME(only_admins_see_breakers_and_force_them),
        AT_HOME(a_forced_breaker_is_written_down_by_auth_svc),
        AT_HOME(a_forced_breaker_holds_though_nobody_writes_it_down),
        AT_HOME(decisions_are_counted),
        cmocka_unit_test(an_address_counts_as_what_one_client_can_choose_from),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
