#include "io/http_route.h"

#include <string.h>

#include "unit.h"

static enum err answer_nothing(struct call *call)
{
    (void)call;
    return ERR_OK;
}

#define ROUTE(method, path) \
    { \
        method, path, WHO_ANYONE, answer_nothing, 0 \
    }
#define ROUTES_END \
    { \
        .path = NULL \
    }

static const struct http_route ROUTES[] = {
    ROUTE(HTTP_GET, "/api/v1/orders/{id}"),
    ROUTE(HTTP_DELETE, "/api/v1/orders/{id}"),
    ROUTE(HTTP_POST, "/api/v1/orders"),
    ROUTE(HTTP_GET, "/api/v1/orders"),
    ROUTE(HTTP_POST, "/api/v1/orders/estimate"),
    ROUTE(HTTP_GET, "/api/v1/orders/{id}/history"),
    ROUTE(HTTP_GET, "/api/v1/{kind}/{id}/latest"),
    ROUTE(HTTP_GET, "/"),
    ROUTES_END,
};

static struct route_table *table(void)
{
    struct route_table *t;
    assert_int_equal(route_table_new(ROUTES, &t, NULL), ERR_OK);
    return t;
}

static void wrong_tables_are_refused_naming_the_route(void **state)
{
    (void)state;
    static const struct {
        struct http_route routes[3];
        const char *why;
    } ROWS[] = {
        {{ROUTE(HTTP_GET, "orders"), ROUTES_END}, "no slash"},
        {{ROUTE(HTTP_GET, ""), ROUTES_END}, "empty"},
        {{ROUTE(HTTP_GET, "/orders/"), ROUTES_END}, "a trailing slash, which never fits"},
        {{ROUTE(HTTP_GET, "/a//b"), ROUTES_END}, "an empty segment"},
        {{ROUTE(HTTP_GET, "/a/{b"), ROUTES_END}, "a brace that stays open"},
        {{ROUTE(HTTP_GET, "/a/b}"), ROUTES_END}, "a brace that was never opened"},
        {{ROUTE(HTTP_GET, "/a/{}"), ROUTES_END}, "a parameter without a name"},
        {{ROUTE(HTTP_GET, "/{a}/{b}/{c}"), ROUTES_END}, "too many parameters"},
        {{ROUTE(HTTP_GET, "/1/2/3/4/5/6/7/8/9/10/11"), ROUTES_END}, "too many segments"},
        {{ROUTE(HTTP_GET, "/a"), ROUTE(HTTP_GET, "/a"), ROUTES_END}, "twice the same"},
        {{ROUTE(HTTP_OTHER, "/a"), ROUTES_END}, "no method"},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        struct route_table *t = NULL;
        struct fault fault = {0};
        ROW_CHECK(route_table_new(ROWS[i].routes, &t, &fault) == ERR_BUG, ROWS[i].why);
        ROW_CHECK(t == NULL && strstr(fault.why, ROWS[i].routes[0].path) != NULL, ROWS[i].why);
    }
}

static void unknown_paths_are_not_found(void **state)
{
    (void)state;
    static const char *const PATHS[] = {
        "/api/v1/order",
        "/api/v1/orderss",
        "/api/v1/orders/",
        "/api/v1/orders/x/",
        "/api/v1",
        "/API/v1/orders",
        "/api/v1/orders//",
        "//",
        "/1/2/3/4/5/6/7/8/9/10/11/12",
    };
    struct route_table *t = table();
    for (size_t i = 0; i < LENGTH_OF(PATHS); i++) {
        struct route_match m;
        ROW_CHECK(route_find(t, HTTP_GET, PATHS[i], &m) == ERR_NOT_FOUND, PATHS[i]);
        ROW_CHECK(m.route == NULL && m.allow == NULL, PATHS[i]);
    }
    route_table_free(t);
}

static void a_path_without_the_method_says_which_it_has(void **state)
{
    (void)state;
    static const struct {
        enum http_method method;
        const char *path, *allow;
    } ROWS[] = {
        {HTTP_PUT, "/api/v1/orders", "GET, POST, HEAD"},       {HTTP_OPTIONS, "/api/v1/orders/7", "GET, DELETE, HEAD"},
        {HTTP_OTHER, "/api/v1/orders/7", "GET, DELETE, HEAD"}, {HTTP_GET, "/api/v1/orders/estimate", "POST"},
        {HTTP_HEAD, "/api/v1/orders/estimate", "POST"},
    };
    struct route_table *t = table();
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        struct route_match m;
        ROW_CHECK(route_find(t, ROWS[i].method, ROWS[i].path, &m) == ERR_METHOD_NOT_ALLOWED, ROWS[i].path);
        ROW_CHECK(m.route == NULL && strcmp(m.allow, ROWS[i].allow) == 0, ROWS[i].path);
    }
    route_table_free(t);
}

static void the_closest_path_is_found_with_its_parameters(void **state)
{
    (void)state;
    static const struct {
        enum http_method method;
        const char *path, *route, *params[2];
    } ROWS[] = {
        {HTTP_GET, "/", "/", {NULL}},
        {HTTP_GET, "/api/v1/orders", "/api/v1/orders", {NULL}},
        {HTTP_HEAD, "/api/v1/orders", "/api/v1/orders", {NULL}},
        {HTTP_GET, "/api/v1/orders/a%20b", "/api/v1/orders/{id}", {"a%20b"}},
        {HTTP_DELETE, "/api/v1/orders/7", "/api/v1/orders/{id}", {"7"}},
        {HTTP_POST, "/api/v1/orders/estimate", "/api/v1/orders/estimate", {NULL}},
        {HTTP_GET, "/api/v1/orders/7/history", "/api/v1/orders/{id}/history", {"7"}},
        {HTTP_GET, "/api/v1/orders/7/latest", "/api/v1/{kind}/{id}/latest", {"orders", "7"}},
    };
    struct route_table *t = table();
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        struct route_match m;
        ROW_CHECK(route_find(t, ROWS[i].method, ROWS[i].path, &m) == ERR_OK, ROWS[i].path);
        ROW_CHECK(strcmp(m.route->path, ROWS[i].route) == 0, ROWS[i].path);
        for (size_t p = 0; p < LENGTH_OF(ROWS[i].params); p++) {
            const char *wanted = ROWS[i].params[p];
            ROW_CHECK(wanted == NULL ? m.params[p].len == 0 : str_eq(m.params[p], wanted), ROWS[i].path);
        }
    }
    route_table_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_tables_are_refused_naming_the_route),
        cmocka_unit_test(unknown_paths_are_not_found),
        cmocka_unit_test(a_path_without_the_method_says_which_it_has),
        cmocka_unit_test(the_closest_path_is_found_with_its_parameters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
