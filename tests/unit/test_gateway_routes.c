#include "gateway/own.h"

#include <string.h>

#include "unit.h"

static enum err forward(struct call *call)
{
    (void)call;
    return ERR_NOT_FOUND;
}

static enum err join(struct call *call)
{
    (void)call;
    return ERR_NOT_ACCEPTABLE;
}

static const struct route_handlers HANDLERS = {.forward = forward, .aggregate = join, .own = OWN_HANDLERS};

struct parsed {
    struct arena arena;
    struct buf complaints;
    enum err e;
};

static struct routes routes; /* too large for the stack */

/* In `text` ' stands for ". */
static struct parsed parse(const char *text)
{
    struct parsed p = {.e = ERR_OK};
    arena_init(&p.arena);
    buf_init(&p.complaints);
    char *json = arena_strdup(&p.arena, text);
    for (char *quote = json; (quote = strchr(quote, '\'')) != NULL;)
        *quote = '"';
    p.e = routes_parse(&p.arena, str_of(json), &HANDLERS, &routes, &p.complaints);
    return p;
}

static void parsed_done(struct parsed *p)
{
    buf_done(&p->complaints);
    arena_done(&p->arena);
}

/* clang-format off */
#define UPSTREAMS "'upstreams': {'order': ['127.0.0.1:8082']}"
#define ROUTE(members) "{" UPSTREAMS ", 'routes': [{" members "}]}"
#define POLICIES(table) "{" UPSTREAMS ", 'policies': " table ", 'routes': [{'path': '/a', 'methods': ['GET']" REST "}]}"
#define LIMITS(who, members) \
    "{" UPSTREAMS ", 'policies': {'p': {'key': 'user', 'limit': 1, 'periodMs': 1000, 'burst': 2}}, 'routes': [" \
    "{'path': '/a', 'methods': ['GET'], 'upstream': 'order', 'timeoutMs': 1000, 'who': '" who "', " members "}]}"
#define AGGREGATE(members) "{" UPSTREAMS ", 'aggregates': {'a': {" members "}}, 'routes': []}"
#define PART "'name': 'x', 'path': '/x', 'upstream': 'order'"
#define REST ", 'upstream': 'order', 'who': 'user', 'timeoutMs': 1000"

static const struct {
    const char *text, *complaint;
} WRONG[] = {
    {"", "config file"},
    {"{", "config file"},
    {"[]", "upstreams:"},
    {"{}", "routes:"},
    {"{'upstreams': {}, 'routes': []}", "upstreams:"},
    {"{" UPSTREAMS ", 'routes': {}}", "routes:"},
    {"{" UPSTREAMS ", 'routes': [], 'limits': 1}", "limits:"},
    {"{" UPSTREAMS ", 'routes': [1]}", "routes/0"},
    {"{'upstreams': {'Order': ['127.0.0.1:1']}}", "upstreams/Order"},
    {"{'upstreams': {'order': []}}", "upstreams/order: must be a list"},
    {"{'upstreams': {'order': 1}}", "upstreams/order: must be a list"},
    {"{'upstreams': {'order': '127.0.0.1:1,'}}", "\"\" must be host:port"},
    {"{'upstreams': {'order': '127.0.0.1:1 b:2'}}", "must be host:port"},
    {"{'upstreams': {'order': [1]}}", "upstreams/order"},
    {"{'upstreams': {'order': ['127.0.0.1']}}", "\"127.0.0.1\" must be host:port"},
    {"{'upstreams': {'order': ['127.0.0.1:0']}}", "\"127.0.0.1:0\" must be host:port"},
    {"{'upstreams': {'order': ['127.0.0.1:65536']}}", "\"127.0.0.1:65536\" must be"},
    {"{'upstreams': {'order': [':80']}}", "\":80\" must be"},
    {"{'upstreams': {'order': ['no such host:80']}}", "\"no such host:80\" must be"},
    {ROUTE(""), "routes/0/who"},
    {ROUTE("'path': '/a'"), "routes/0/methods"},
    {ROUTE("'path': '/a', 'methods': ['GET'], 'retries': 3" REST), "routes/0/retries"},
    {ROUTE("'path': 'a', 'methods': ['GET']" REST), "routes/0/path"},
    {ROUTE("'path': '/a/', 'methods': ['GET']" REST), "routes/0/path"},
    {ROUTE("'path': '/{a}b', 'methods': ['GET']" REST), "routes/0/path"},
    {ROUTE("'path': '/{a', 'methods': ['GET']" REST), "routes/0/path"},
    {ROUTE("'path': '/a?b', 'methods': ['GET']" REST), "routes/0/path"},
    {ROUTE("'path': '/{a}/{b}/{c}', 'methods': ['GET']" REST), "routes/0/path"},
    {ROUTE("'path': '/a', 'methods': ['HEAD']" REST), "\"HEAD\""},
    {ROUTE("'path': '/a', 'methods': ['get']" REST), "\"get\""},
    {ROUTE("'path': '/a', 'methods': ['GET', 'GET']" REST), "stands there twice"},
    {ROUTE("'path': '/a', 'methods': ['GET'], 'upstream': 'asset', 'who': 'user', 'timeoutMs': 1"), "\"asset\" is none"},
    {ROUTE("'path': '/a', 'methods': ['GET'], 'upstream': 'order', 'who': 'root', 'timeoutMs': 1"), "routes/0/who"},
    {ROUTE("'path': '/a', 'methods': ['GET'], 'upstream': 'order', 'who': 'user', 'timeoutMs': 0"), "routes/0/timeoutMs"},
    {ROUTE("'path': '/a', 'methods': ['GET'], 'upstream': 'order', 'who': 'user', 'timeoutMs': 5001"), "routes/0/timeoutMs"},
    {ROUTE("'path': '/a', 'methods': ['GET'], 'tryMs': 0" REST), "routes/0/tryMs"},
    {ROUTE("'path': '/a', 'methods': ['GET'], 'slowMs': 5001" REST), "routes/0/slowMs"},
    {POLICIES("[]"), "policies: must be an object"},
    {POLICIES("{'Odd': {}}"), "policies/Odd: a name has"},
    {POLICIES("{'p': 1}"), "policies/p:"},
    {POLICIES("{'p': {'key': 'ip', 'limit': 1, 'periodMs': 1000, 'burst': 1}}"), "policies/p/key"},
    {POLICIES("{'p': {'key': 'user', 'limit': 0, 'periodMs': 1000, 'burst': 1}}"), "policies/p/limit"},
    {POLICIES("{'p': {'key': 'user', 'limit': 1, 'periodMs': 1500, 'burst': 1}}"), "policies/p/periodMs: must be whole"},
    {POLICIES("{'p': {'key': 'user', 'limit': 1, 'periodMs': 86400000, 'burst': 1000}}"), "policies/p: such a burst"},
    {POLICIES("{'p': {'key': 'user', 'limit': 1, 'periodMs': 1000, 'burst': 1, 'window': 1}}"), "policies/p/window"},
    {LIMITS("user", "'limits': ['q']"), "routes/0/limits: \"q\" is none of"},
    {LIMITS("user", "'limits': 'p'"), "routes/0/limits"},
    {LIMITS("user", "'limits': ['p'], 'cost': 3"), "routes/0/limits: \"p\" has a burst below"},
    {LIMITS("user", "'limits': ['p'], 'cost': 0"), "routes/0/cost"},
    {LIMITS("anyone", "'limits': ['p']"), "routes/0/limits: \"p\" goes by the user"},
    {LIMITS("user", "'limits': ['p', 'p', 'p', 'p', 'p']"), "routes/0/limits: there are more"},
    {ROUTE("'path': '/a', 'methods': ['GET'], 'who': 'user', 'timeoutMs': 1"), "routes/0: must have one of"},
    {ROUTE("'path': '/a', 'methods': ['GET'], 'aggregate': 'x'" REST), "routes/0: must have one of"},
    {ROUTE("'path': '/a', 'methods': ['GET'], 'own': 'x', 'who': 'user', 'timeoutMs': 1"), "routes/0/own: the gateway has no \"x\""},
    {ROUTE("'path': '/a', 'methods': ['GET'], 'aggregate': 'x', 'who': 'user', 'timeoutMs': 1"), "routes/0/aggregate: \"x\" is none"},
    {"{" UPSTREAMS ", 'aggregates': [], 'routes': []}", "aggregates: must be an object"},
    {AGGREGATE("'shape': 'lists'"), "aggregates/a: must have"},
    {AGGREGATE("'shape': 'lists', 'parts': []"), "aggregates/a: must have"},
    {AGGREGATE("'shape': 'rings', 'parts': [{" PART "}]"), "aggregates/a: must have"},
    {AGGREGATE("'shape': 'lists', 'parts': [{" PART "}], 'odd': 1"), "aggregates/a: must have"},
    {AGGREGATE("'shape': 'lists', 'parts': [1]"), "aggregates/a/parts/0"},
    {AGGREGATE("'shape': 'lists', 'parts': [{'name': 'x'}]"), "aggregates/a/parts/0/path"},
    {AGGREGATE("'shape': 'lists', 'parts': [{" PART ", 'odd': 1}]"), "aggregates/a/parts/0/odd"},
    {AGGREGATE("'shape': 'lists', 'parts': [{" PART "}, {" PART "}]"), "aggregates/a/x: stands there twice"},
    {AGGREGATE("'shape': 'lists', 'parts': [{'name': 'x', 'path': '/x', 'upstream': 'asset'}]"), "\"asset\" is none"},
    {AGGREGATE("'shape': 'lists', 'parts': [{'name': 'x', 'path': '/x y', 'upstream': 'order'}]"), "aggregates/a/x: name, path"},
    {AGGREGATE("'shape': 'lists', 'parts': [{'name': 'x', 'path': 'x', 'upstream': 'order'}]"), "aggregates/a/x: name, path"},
};
/* clang-format on */

static void a_wrong_file_is_refused_and_the_place_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < LENGTH_OF(WRONG); i++) {
        struct parsed p = parse(WRONG[i].text);
        ROW_CHECK(p.e == ERR_CONF, WRONG[i].text);
        if (strstr(buf_cstr(&p.complaints), WRONG[i].complaint) == NULL)
            fail_msg("\"%s\" is not in: %s", WRONG[i].complaint, buf_cstr(&p.complaints));
        parsed_done(&p);
    }
}

static void every_complaint_is_made_at_once(void **state)
{
    (void)state;
    struct parsed p = parse("{'upstreams': {'a': ['x']}, 'odd': 1, 'routes': [{'path': '/'}, {'who': 'me'}]}");
    static const char *const ALL[] = {"upstreams/a:",       "odd:",          "routes/0/methods", "routes/0/who",
                                      "routes/0/timeoutMs", "routes/1/path", "routes/1/who"};
    for (size_t i = 0; i < LENGTH_OF(ALL); i++)
        ROW_CHECK(strstr(buf_cstr(&p.complaints), ALL[i]) != NULL, ALL[i]);
    parsed_done(&p);
}

static void a_route_becomes_one_for_each_method(void **state)
{
    (void)state;
    struct parsed p = parse(
        "{'LISTEN': '127.0.0.1:1',"
        "'upstreams': {'a': ['[::1]:81', '127.0.0.1:82'], 'b': '127.0.0.1:83, order-svc:84'},"
        "'routes': [{'path': '/x/{id}', 'methods': ['GET', 'POST'], 'upstream': 'b', 'who': 'admin',"
        "'timeoutMs': 70, 'idempotent': true, 'csv': true}]}");
    assert_string_equal(buf_cstr(&p.complaints), "");
    assert_int_equal(p.e, ERR_OK);
    assert_int_equal(routes.services.count, 2);
    assert_int_equal(routes.services.items[0].target_count, 2);
    assert_string_equal(routes.services.items[0].targets[1], "127.0.0.1:82");
    assert_string_equal(routes.services.items[1].targets[0], "127.0.0.1:83");
    assert_string_equal(routes.services.items[1].targets[1], "order-svc:84");
    assert_int_equal(routes.count, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(routes.http[i].method, i == 0 ? HTTP_GET : HTTP_POST);
        assert_string_equal(routes.http[i].path, "/x/{id}");
        assert_int_equal(routes.http[i].who, WHO_ADMIN);
        assert_int_equal(routes.http[i].flags, ROUTE_IDEMPOTENT | ROUTE_CSV);
        assert_ptr_equal(routes.http[i].handle, forward);
        assert_int_equal(routes.forward[i].upstream, 1);
        assert_int_equal(routes.forward[i].timeout_ms, 70);
        assert_int_equal(routes.forward[i].try_ms, i == 0 ? 70 : 56); /* a read's second, but no more than there is */
    }
    assert_null(routes.http[2].path);
    parsed_done(&p);
}

static void a_route_knows_its_limits_and_when_the_last_is_known(void **state)
{
    (void)state;
    struct parsed p = parse("{'upstreams': {'a': ['127.0.0.1:83']}, 'policies': {"
                            "'s': {'key': 'anonymous', 'limit': 20, 'periodMs': 1000, 'burst': 40},"
                            "'u': {'key': 'user', 'limit': 5, 'periodMs': 60000, 'burst': 9},"
                            "'n': {'key': 'username', 'limit': 5, 'periodMs': 60000, 'burst': 5}}, 'routes': ["
                            "{'path': '/x', 'methods': ['GET', 'POST'], 'upstream': 'a', 'who': 'user', 'timeoutMs': 1,"
                            "'limits': ['s', 'u'], 'cost': 2},"
                            "{'path': '/y', 'methods': ['GET'], 'upstream': 'a', 'who': 'anyone', 'timeoutMs': 1,"
                            "'limits': ['n', 's']},"
                            "{'path': '/z', 'methods': ['GET'], 'upstream': 'a', 'who': 'user', 'timeoutMs': 1}]}");
    assert_string_equal(buf_cstr(&p.complaints), "");
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(routes.limits[i].count, 2);
        assert_string_equal(routes.limits[i].policies[1]->limit.name, "u");
        assert_int_equal(routes.limits[i].policies[1]->limit.period_s, 60);
        assert_int_equal(routes.limits[i].cost, 2);
        assert_int_equal(routes.limits[i].last, HTTP_ADMITTED);
    }
    assert_int_equal(routes.limits[2].last, HTTP_WHOLE);
    assert_int_equal(routes.limits[2].cost, 1);
    assert_int_equal(routes.limits[3].count, 0);
    parsed_done(&p);
}

/* What the house ships, as api.md has it. A route that only admins may use must say so here too. */
static void the_shipped_file_has_every_route_and_who_may_use_it(void **state)
{
    (void)state;
    static const struct {
        const char *method, *path, *upstream; /* upstream NULL: the gateway answers */
        enum http_who who;
        bool idempotent;
    } ROWS[] = {
        {"POST", "/api/v1/auth/register", "auth", WHO_ANYONE, false},
        {"POST", "/api/v1/auth/login", "auth", WHO_ANYONE, false},
        {"POST", "/api/v1/auth/refresh", "auth", WHO_ANYONE, true},
        {"POST", "/api/v1/auth/logout", "auth", WHO_SIGNED_IN, false},
        {"GET", "/api/v1/auth/sessions", "auth", WHO_USER, false},
        {"DELETE", "/api/v1/auth/sessions/{id}", "auth", WHO_USER, false},
        {"POST", "/api/v1/auth/password", "auth", WHO_SIGNED_IN, false},
        {"GET", "/api/v1/auth/me", "auth", WHO_SIGNED_IN, false},
        {"GET", "/api/v1/auth/users", "auth", WHO_ADMIN, false},
        {"POST", "/api/v1/auth/users", "auth", WHO_ADMIN, false},
        {"GET", "/api/v1/auth/users/{customerId}", "auth", WHO_ADMIN, false},
        {"PATCH", "/api/v1/auth/users/{customerId}", "auth", WHO_ADMIN, false},
        {"DELETE", "/api/v1/auth/users/{customerId}/sessions", "auth", WHO_ADMIN, false},
        {"GET", "/api/v1/admin/audit-log", "auth", WHO_ADMIN, false},
        {"GET", "/.well-known/jwks.json", "auth", WHO_ANYONE, false},
        {"GET", "/api/v1/orders", "order", WHO_USER, false},
        {"POST", "/api/v1/orders", "order", WHO_USER, true},
        {"DELETE", "/api/v1/orders", "order", WHO_USER, false},
        {"GET", "/api/v1/orders/{id}", "order", WHO_USER, false},
        {"DELETE", "/api/v1/orders/{id}", "order", WHO_USER, false},
        {"GET", "/api/v1/orders/{id}/history", "order", WHO_USER, false},
        {"POST", "/api/v1/orders/estimate", "asset", WHO_USER, false},
        {"GET", "/api/v1/assets", "asset", WHO_USER, false},
        {"POST", "/api/v1/assets", "asset", WHO_ADMIN, true},
        {"GET", "/api/v1/assets/{assetName}", "asset", WHO_USER, false},
        {"GET", "/api/v1/assets/{assetName}/entries", "asset", WHO_USER, false},
        {"GET", "/api/v1/transactions", "txn", WHO_USER, false},
        {"GET", "/api/v1/transactions/{id}", "txn", WHO_USER, false},
        {"POST", "/api/v1/transactions/deposits", "txn", WHO_USER, true},
        {"POST", "/api/v1/transactions/withdrawals", "txn", WHO_USER, true},
        {"GET", "/openapi.json", NULL, WHO_ANYONE, false},
        {"GET", "/api/v1/admin/breakers", NULL, WHO_ADMIN, false},
        {"GET", "/api/v1/admin/breakers/{name}", NULL, WHO_ADMIN, false},
        {"PUT", "/api/v1/admin/breakers/{name}", NULL, WHO_ADMIN, false},
        {"GET", "/docs", NULL, WHO_ANYONE, false},
        {"GET", "/docs/{file}", NULL, WHO_ANYONE, false},
        {"GET", "/problems/{slug}", NULL, WHO_ANYONE, false},
        {"GET", "/api/v1/portfolio", NULL, WHO_USER, false},
        {"GET", "/api/v1/admin/audit", NULL, WHO_ADMIN, false},
        {"GET", "/api/v1/admin/matches", "admin", WHO_ADMIN, false},
        {"POST", "/api/v1/admin/matches", "admin", WHO_ADMIN, true},
        {"GET", "/api/v1/admin/matches/{id}", "admin", WHO_ADMIN, false},
        {"POST", "/api/v1/admin/orders/{id}/match", "admin", WHO_ADMIN, true},
    };
    struct parsed p = {.e = ERR_OK};
    arena_init(&p.arena);
    buf_init(&p.complaints);
    p.e = routes_read(&p.arena, "gateway/gateway.json", &HANDLERS, &routes, &p.complaints);
    assert_string_equal(buf_cstr(&p.complaints), "");
    assert_int_equal(p.e, ERR_OK);
    assert_int_equal(routes.count, LENGTH_OF(ROWS));
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        size_t at = 0;
        while (at < routes.count && (strcmp(routes.http[at].path, ROWS[i].path) != 0 ||
                                     strcmp(http_method_name(routes.http[at].method), ROWS[i].method) != 0))
            at++;
        ROW_CHECK(at < routes.count, ROWS[i].path);
        ROW_CHECK(routes.http[at].who == ROWS[i].who, ROWS[i].path);
        ROW_CHECK((routes.http[at].flags & ROUTE_IDEMPOTENT) == (ROWS[i].idempotent ? ROUTE_IDEMPOTENT : 0U),
                  ROWS[i].path);
        ROW_CHECK((routes.http[at].handle == forward) == (ROWS[i].upstream != NULL), ROWS[i].path);
        if (ROWS[i].upstream != NULL)
            ROW_CHECK(strcmp(routes.services.items[routes.forward[at].upstream].name, ROWS[i].upstream) == 0,
                      ROWS[i].path);
    }
    parsed_done(&p);
}

/* Whoever adds a route must think of its limits: only cancels are free for who has a token. */
static void every_shipped_route_has_limits_and_only_cancels_are_free(void **state)
{
    (void)state;
    struct arena arena;
    struct buf complaints;
    arena_init(&arena);
    buf_init(&complaints);
    assert_int_equal(routes_read(&arena, "gateway/gateway.json", &HANDLERS, &routes, &complaints), ERR_OK);
    for (size_t i = 0; i < routes.count; i++) {
        const struct http_route *r = &routes.http[i];
        bool is_free = true;
        for (size_t l = 0; l < routes.limits[i].count; l++)
            is_free = is_free && routes.limits[i].policies[l]->key == KEY_ANONYMOUS;
        bool is_cancel = r->method == HTTP_DELETE && strncmp(r->path, "/api/v1/orders", 14) == 0;
        ROW_CHECK(routes.limits[i].count > 0, r->path);
        ROW_CHECK(r->who == WHO_ANYONE || is_free == is_cancel, r->path);
    }
    buf_done(&complaints);
    arena_done(&arena);
}

int main(void)
{
    static const struct CMUnitTest TESTS[] = {
        cmocka_unit_test(a_wrong_file_is_refused_and_the_place_named),
        cmocka_unit_test(every_complaint_is_made_at_once),
        cmocka_unit_test(a_route_becomes_one_for_each_method),
        cmocka_unit_test(a_route_knows_its_limits_and_when_the_last_is_known),
        cmocka_unit_test(every_shipped_route_has_limits_and_only_cancels_are_free),
        cmocka_unit_test(the_shipped_file_has_every_route_and_who_may_use_it),
    };
    return cmocka_run_group_tests(TESTS, NULL, NULL);
}
