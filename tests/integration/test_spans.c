/* Spans, told to a collector that is a bare socket here. */
#include "io/spans.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "io/json.h"
#include "support/raw_http.h"
#include "unit/unit.h"

static struct spans *open_to(int port, struct metrics *m)
{
    char endpoint[64];
    struct fault fault = {0};
    struct spans *s = NULL;
    snprintf(endpoint, sizeof endpoint, "http://127.0.0.1:%d/", port);
    const struct spans_conf conf = {.endpoint = endpoint, .service = "order-svc", .metrics = m};
    if (spans_open(&conf, &s, &fault) != ERR_OK)
        fail_msg("%s", fault.why);
    return s;
}

static void add(struct spans *s, const struct trace *trace, const char *name)
{
    struct span span = span_since(trace, SPAN_SERVER, clock_mono_ns() - NS_PER_MS);
    snprintf(span.name, sizeof span.name, "%s", name);
    span.status = 503;
    span.failed = true;
    spans_add(s, &span);
}

static bool counts(struct metrics *m, const char *line)
{
    struct buf page;
    buf_init(&page);
    metrics_render(m, &page);
    bool found = strstr(buf_cstr(&page), line) != NULL;
    buf_done(&page);
    return found;
}

static void a_batch_is_told_as_otlp(void **state)
{
    (void)state;
    int port, listener = raw_listen(&port);
    struct metrics *m = metrics_new();
    struct spans *s = open_to(port, m);
    struct trace above = trace_new(), trace = trace_below(&above);
    assert_string_equal(trace.trace_id, above.trace_id);
    assert_string_equal(trace.parent_id, above.span_id);
    add(s, &trace, "GET /a \"quoted\"");
    above.sampled = false;
    add(s, &above, "not sampled");

    int collector = raw_accept(listener);
    assert_true(raw_hear(collector));
    assert_non_null(strstr(heard, "POST /v1/traces HTTP/1.1\r\n"));
    assert_string_equal(raw_header("Content-Type"), "application/json");
    struct json *root;
    struct fault fault = {0};
    if (json_parse(str_of(raw_body()), &root, &fault) != ERR_OK)
        fail_msg("%s: %s", fault.why, raw_body());
    json_free(root);
    assert_non_null(strstr(raw_body(), "{\"key\":\"service.name\",\"value\":{\"stringValue\":\"order-svc\"}}"));
    assert_non_null(strstr(raw_body(), trace.trace_id));
    assert_non_null(strstr(raw_body(), trace.parent_id));
    assert_non_null(strstr(raw_body(), "\"name\":\"GET /a \\\"quoted\\\"\",\"kind\":2,"));
    assert_non_null(strstr(raw_body(), "\"intValue\":503"));
    assert_null(strstr(raw_body(), "not sampled"));
    raw_say(collector, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}");
    close(collector);
    spans_close(s);
    assert_true(counts(m, "trace_spans_exported_total 1\n"));
    metrics_free(m);
    close(listener);
}

/* A collector that takes nothing costs those who add nothing but a lock. */
static void what_finds_no_room_is_dropped_and_counted(void **state)
{
    (void)state;
    int port, listener = raw_listen(&port); /* it connects, and is never heard */
    struct metrics *m = metrics_new();
    struct spans *s = open_to(port, m);
    struct trace trace = trace_new();
    mono_ns_t begin = clock_mono_ns();
    for (int i = 0; i < 3 * SPANS_MAX; i++)
        add(s, &trace, "x");
    assert_true(clock_mono_ns() - begin < SPANS_SEND_MS * NS_PER_MS);
    assert_false(counts(m, "trace_spans_dropped_total 0\n"));
    close(listener); /* what is left is refused at once */
    spans_close(s);
    char all[64];
    snprintf(all, sizeof all, "trace_spans_exported_total 0\n");
    assert_true(counts(m, all));
    metrics_free(m);
}

static void a_refusal_is_counted(void **state)
{
    (void)state;
    int port, listener = raw_listen(&port);
    struct metrics *m = metrics_new();
    struct spans *s = open_to(port, m);
    struct trace trace = trace_new();
    add(s, &trace, "x");
    int collector = raw_accept(listener);
    assert_true(raw_hear(collector));
    raw_say(collector, "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n");
    close(collector);
    spans_close(s);
    assert_true(counts(m, "trace_spans_exported_total 0\n"));
    assert_true(counts(m, "trace_spans_dropped_total 1\n"));
    metrics_free(m);
    close(listener);
}

static void a_wrong_endpoint_is_named(void **state)
{
    (void)state;
    static const char *const ENDPOINTS[] = {"",          "collector:4318", "https://collector", "http://",
                                            "http://:1", "http://a:",      "http://a:b",        "http://a:123456"};
    for (size_t i = 0; i < LENGTH_OF(ENDPOINTS); i++) {
        const struct spans_conf conf = {.endpoint = ENDPOINTS[i], .service = "x"};
        struct spans *s = NULL;
        struct fault fault = {0};
        ROW_CHECK(spans_open(&conf, &s, &fault) == ERR_CONF && strstr(fault.why, "OTLP_ENDPOINT") != NULL,
                  ENDPOINTS[i]);
    }
}

static void off_is_nothing(void **state)
{
    (void)state;
    struct trace trace = trace_new();
    struct span span = span_since(&trace, SPAN_CLIENT, clock_mono_ns());
    spans_add(NULL, &span);
    spans_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_is_told_as_otlp), cmocka_unit_test(what_finds_no_room_is_dropped_and_counted),
        cmocka_unit_test(a_refusal_is_counted),    cmocka_unit_test(a_wrong_endpoint_is_named),
        cmocka_unit_test(off_is_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
