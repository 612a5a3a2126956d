/* The gateway's own documents, over a socket: no service is there, and none is asked. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "gateway/assets.h"
#include "gateway/own.h"
#include "support/raw_http.h"
#include "unit/unit.h"

static struct house {
    struct arena arena;
    struct routes routes;
    struct http_server *server;
    int client;
} house;

static enum err nobody(struct call *call)
{
    (void)call;
    return ERR_BUG;
}

/* clang-format off */
static const char CONF[] =
    "{\"upstreams\": {\"order\": [\"127.0.0.1:1\"]}, \"routes\": ["
    "{\"path\": \"/openapi.json\", \"methods\": [\"GET\"], \"own\": \"contract\", \"who\": \"anyone\", \"timeoutMs\": 1000},"
    "{\"path\": \"/docs\", \"methods\": [\"GET\"], \"own\": \"docs\", \"who\": \"anyone\", \"timeoutMs\": 1000},"
    "{\"path\": \"/docs/{file}\", \"methods\": [\"GET\"], \"own\": \"docs-file\", \"who\": \"anyone\", \"timeoutMs\": 1000},"
    "{\"path\": \"/problems/{slug}\", \"methods\": [\"GET\"], \"own\": \"problem\", \"who\": \"anyone\", \"timeoutMs\": 1000}]}";
/* clang-format on */

static int open_house(void **state)
{
    (void)state;
    static const struct route_handlers HANDLERS = {.forward = nobody, .aggregate = nobody, .own = OWN_HANDLERS};
    struct buf complaints;
    struct fault fault;
    buf_init(&complaints);
    arena_init(&house.arena);
    if (routes_parse(&house.arena, str_of(CONF), &HANDLERS, &house.routes, &complaints) != ERR_OK)
        fail_msg("%s", complaints.data);
    const struct http_server_conf server = {.listen = "127.0.0.1:0", .threads = 1, .routes = house.routes.http};
    if (http_server_open(&server, &house.server, &fault) != ERR_OK)
        fail_msg("%s", fault.why);
    house.client = raw_connect(http_server_port(house.server));
    return 0;
}

static int close_house(void **state)
{
    (void)state;
    close(house.client);
    http_server_close(house.server);
    arena_done(&house.arena);
    return 0;
}

static int get(const char *path, const char *headers)
{
    char request[512];
    snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n", path, headers);
    raw_say(house.client, request);
    assert_true(raw_hear(house.client));
    return raw_status();
}

static void what_is_not_there_is_not_found(void **state)
{
    (void)state;
    static const char *const PATHS[] = {
        "/docs/nothing.js",  "/docs/index.html", /* a page, without its policy */
        "/docs/plain.html",  "/docs/openapi.yaml",
        "/problems/nothing", "/problems/not_found", /* hyphens only: one address a page */
        "/problems/ok",      "/problems/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    for (size_t i = 0; i < LENGTH_OF(PATHS); i++) {
        ROW_CHECK(get(PATHS[i], "") == 404, PATHS[i]);
        assert_null(raw_header("Content-Security-Policy"));
    }
}

static void each_speaks_its_own_types(void **state)
{
    (void)state;
    static const struct {
        const char *path, *accept;
        int status;
        const char *type, *why;
    } ROWS[] = {
        {"/openapi.json", "", 200, "application/json", "no wish"},
        {"/openapi.json", "Accept: text/html\r\n", 406, "application/problem+json", "it is no page"},
        {"/docs", "Accept: application/json\r\n", 406, "application/problem+json", "it is a page only"},
        {"/docs", "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n", 200, "text/html; charset=utf-8",
         "a browser"},
        {"/docs/page.css", "Accept: text/css,*/*;q=0.1\r\n", 200, "text/css; charset=utf-8", "a browser"},
        {"/problems/not-found", "", 200, "text/html; charset=utf-8", "no wish: people follow the link"},
        {"/problems/not-found", "Accept: */*\r\n", 200, "text/html; charset=utf-8", "the same"},
        {"/problems/not-found", "Accept: application/json\r\n", 200, "application/json", "a program"},
        {"/problems/not-found", "Accept: text/html;q=0.5, application/json\r\n", 200, "application/json",
         "liked better"},
        {"/problems/not-found", "Accept: image/png\r\n", 406, "application/problem+json", "neither"},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        ROW_CHECK(get(ROWS[i].path, ROWS[i].accept) == ROWS[i].status, ROWS[i].why);
        ROW_CHECK(strcmp(raw_header("Content-Type"), ROWS[i].type) == 0, ROWS[i].why);
    }
}

static void every_file_has_a_tag_by_which_it_is_not_sent_twice(void **state)
{
    (void)state;
    char headers[128], path[64];
    for (const struct asset *a = GATEWAY_ASSETS; a->name != NULL; a++) {
        bool is_page = strncmp(a->type, "text/html", 9) == 0;
        if (is_page)
            snprintf(path, sizeof(path), "/docs");
        else
            snprintf(path, sizeof(path), strcmp(a->name, "openapi.json") == 0 ? "/%s" : "/docs/%s", a->name);
        ROW_CHECK(get(path, "") == 200, path);
        assert_string_equal(raw_header("ETag"), a->etag);
        assert_string_equal(raw_header("Cache-Control"), "public, max-age=300");
        assert_string_equal(raw_header("Content-Type"), a->type);
        assert_memory_equal(raw_body(), a->bytes.data, a->bytes.len);
        assert_true(a->bytes.len > 0);

        snprintf(headers, sizeof(headers), "If-None-Match: \"other\", W/%s\r\n", a->etag);
        snprintf(heard, 1024, "GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n", path, headers);
        raw_say(house.client, heard);
        raw_hear_head(house.client);
        ROW_CHECK(raw_status() == 304, path);
        assert_string_equal(raw_header("ETag"), a->etag);
        ROW_CHECK(get(path, "If-None-Match: \"other\"\r\n") == 200, path);
    }
}

/* No script and no style in the text of a page: they could not run under its policy. */
static void pages_go_with_a_policy_that_they_keep(void **state)
{
    (void)state;
    static const char *const PATHS[] = {"/docs", "/problems/outcome-unknown"};
    for (size_t i = 0; i < LENGTH_OF(PATHS); i++) {
        ROW_CHECK(get(PATHS[i], "") == 200, PATHS[i]);
        const char *policy = raw_header("Content-Security-Policy");
        ROW_CHECK(policy != NULL && strncmp(policy, "default-src 'none'; ", 20) == 0, PATHS[i]);
        assert_null(strstr(policy, "unsafe"));
        assert_null(strstr(raw_body(), "<style"));
        assert_null(strstr(raw_body(), "<script>"));
        assert_null(strstr(raw_body(), "style="));
        assert_null(strstr(raw_body(), "://"));
    }
    assert_int_equal(get("/openapi.json", ""), 200);
    assert_null(raw_header("Content-Security-Policy"));
}

static void every_problem_of_ours_leads_to_its_page(void **state)
{
    (void)state;
    char type[64], title[128];
    for (int e = ERR_OK + 1; e < ERR_COUNT; e++) {
        snprintf(type, sizeof(type), "/problems/%s", err_code((enum err)e));
        for (char *c = strchr(type, '_'); c != NULL; c = strchr(c, '_'))
            *c = '-';
        ROW_CHECK(get(type, "Accept: application/json\r\n") == 200, type);
        snprintf(title, sizeof(title), "{\"type\":\"%s\",\"title\":\"", type);
        ROW_CHECK(strncmp(raw_body(), title, strlen(title)) == 0, raw_body());
        ROW_CHECK(get(type, "Accept: text/html\r\n") == 200, type);
        ROW_CHECK(strstr(raw_body(), "<h2>What to do</h2>") != NULL, type);
    }
}

#define STORY(name) cmocka_unit_test_setup_teardown(name, open_house, close_house)

int main(void)
{
    static const struct CMUnitTest TESTS[] = {
        STORY(what_is_not_there_is_not_found),
        STORY(each_speaks_its_own_types),
        STORY(every_file_has_a_tag_by_which_it_is_not_sent_twice),
        STORY(pages_go_with_a_policy_that_they_keep),
        STORY(every_problem_of_ours_leads_to_its_page),
    };
    return cmocka_run_group_tests(TESTS, NULL, NULL);
}
