#include "gateway/request.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { NUMBER_TEXT_MAX = 24 };

/* A client's headers that services read. All else stays here. */
static const struct str PASSED_ON[] = {
    STR_INIT("Authorization"), STR_INIT("Content-Type"), STR_INIT("Accept"),     STR_INIT("Idempotency-Key"),
    STR_INIT("If-None-Match"), STR_INIT("Prefer"),       STR_INIT("User-Agent"),
};

static bool is_passed_on(struct str name)
{
    for (size_t i = 0; i < sizeof(PASSED_ON) / sizeof(PASSED_ON[0]); i++)
        if (name.len == PASSED_ON[i].len && strncasecmp(name.data, PASSED_ON[i].data, name.len) == 0)
            return true;
    return false;
}

static void put(struct request_head *h, struct str s)
{
    assert((size_t)(h->end - h->at) >= s.len);
    memcpy(h->at, s.data, s.len);
    h->at += s.len;
}

static void put_header(struct request_head *h, struct str name, struct str value)
{
    put(h, name);
    put(h, STR(": "));
    put(h, value);
    put(h, STR("\r\n"));
}

static void put_number(struct request_head *h, struct str name, int64_t value)
{
    char text[NUMBER_TEXT_MAX];
    int len = snprintf(text, sizeof(text), "%lld", (long long)value);
    put_header(h, name, (struct str){text, (size_t)len});
}

/* Everything but the client's headers, path and query: names, and values of bounded length. */
enum { OWN_TEXT_MAX = 512 };
_Static_assert(OWN_TEXT_MAX > HTTP_REQUEST_ID_MAX + TRACE_TEXT_MAX + 48 + 2 * NUMBER_TEXT_MAX + 192,
               "our own headers fit");

static size_t head_size(const struct call *call, const struct request_line *line, struct str host)
{
    size_t size = OWN_TEXT_MAX + strlen(line->path) + line->query.len + host.len;
    for (size_t i = 0; i < call->header_count; i++)
        size += strlen(call->headers[i].name) + strlen(call->headers[i].value) + sizeof(": \r\n");
    return size;
}

static void put_request_line(struct request_head *h, const struct request_line *line)
{
    put(h, str_of(line->method));
    put(h, STR(" "));
    put(h, str_of(line->path));
    if (line->query.data != NULL) {
        put(h, STR("?"));
        put(h, line->query);
    }
    put(h, STR(" HTTP/1.1\r\n"));
}

struct request_head request_head_begin(struct call *call, const struct request_line *line, const struct upstream *u)
{
    struct str host = str_of(u->name);
    size_t size = head_size(call, line, host);
    char *text = arena_alloc(&call->arena, size), trace[TRACE_TEXT_MAX];
    struct request_head h = {text, text, text + size,
                             u->of->settings.spans == NULL ? call->trace : trace_below(&call->trace)};
    put_request_line(&h, line);
    put_header(&h, STR("Host"), host);
    for (size_t i = 0; i < call->header_count; i++) {
        struct str name = str_of(call->headers[i].name);
        if (is_passed_on(name))
            put_header(&h, name, str_of(call->headers[i].value));
    }
    trace_format(&h.trace, trace);
    put_header(&h, STR("X-Request-Id"), str_of(call->request_id));
    put_header(&h, STR("traceparent"), str_of(trace));
    put_header(&h, STR("X-Forwarded-For"), str_of(call->client));
    if (line->body != NULL)
        put_number(&h, STR("Content-Length"), (int64_t)line->body->len);
    return h;
}

struct str request_head_end(struct request_head head, mono_ns_t left)
{
    put_number(&head, STR("X-Request-Deadline-Ms"), left / NS_PER_MS);
    put(&head, STR("\r\n"));
    return (struct str){head.begin, (size_t)(head.at - head.begin)};
}
