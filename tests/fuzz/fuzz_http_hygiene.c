/* Any bytes as a request's head, cut as the parser cuts one. What is let through means one thing: one framing, one host, a canonical
 * path that is canonical again, and headers that a line can hold. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "io/http_hygiene.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The parser's text: NULs over the blanks of the request line, the colons and the line ends; an LF ends a line. */
static bool cut_request_line(char *line, struct raw_head *raw)
{
    char *target = strchr(line, ' '), *version = strrchr(line, ' ');
    if (target == NULL || version == target)
        return false;
    *target++ = *version++ = '\0';
    raw->method = line;
    raw->target_at = target + strspn(target, " ");
    raw->target_len = strlen(raw->target_at);
    raw->target = (struct str){raw->target_at, raw->target_len};
    raw->version = version;
    return true;
}

static bool cut_header(char *line, struct raw_header *ret)
{
    char *colon = strchr(line, ':');
    if (colon == NULL)
        return false;
    *colon++ = '\0';
    colon += strspn(colon, " \t");
    *ret = (struct raw_header){str_of(line), str_of(colon)};
    return true;
}

static bool cut(char *text, struct raw_header headers[HTTP_HEADER_COUNT_MAX], struct raw_head *raw)
{
    char *begin = text, *end;
    for (size_t n = 0; (end = strchr(text, '\n')) != NULL; n++, text = end + 1) {
        if (end > text && end[-1] == '\r')
            end[-1] = '\0';
        *end = '\0';
        if (*text == '\0' && n > 0) {
            raw->size = (size_t)(end + 1 - begin);
            return true;
        }
        if (n == 0 ? !cut_request_line(text, raw) : n > HTTP_HEADER_COUNT_MAX || !cut_header(text, &headers[n - 1]))
            return false;
        raw->header_count = n;
    }
    return false;
}

static size_t count_of(const struct raw_head *raw, const char *name)
{
    size_t n = 0;
    for (size_t i = 0; i < raw->header_count; i++)
        n += strcasecmp(raw->headers[i].name.data, name) == 0;
    return n;
}

static void check_path(const struct http_head *head)
{
    char again[HTTP_TARGET_MAX + 1];
    struct str path = str_of(head->path), text;
    struct arena arena;
    assert(path.len > 0 && path.len <= HTTP_TARGET_MAX && path.data[0] == '/');
    enum err e = hygiene_path(path, again, NULL);
    assert(e == ERR_OK && strcmp(again, head->path) == 0);
    assert(strstr(head->path, "//") == NULL && strstr(head->path, "/../") == NULL);
    arena_init(&arena);
    if (hygiene_decode(path, &arena, &text))
        assert(memchr(text.data, '\0', text.len) == NULL && text.len <= path.len);
    arena_done(&arena);
}

static void check_headers(const struct http_head *head)
{
    for (size_t i = 0; i < head->header_count; i++) {
        const char *name = head->headers[i].name;
        assert(strpbrk(name, " \t\r\n:_") == NULL && strpbrk(head->headers[i].value, "\r\n") == NULL);
        assert(strncasecmp(name, "x-user-", 7) != 0 && strncasecmp(name, "x-forwarded-", 12) != 0);
        assert(strcasecmp(name, "transfer-encoding") != 0 && strcasecmp(name, "connection") != 0);
    }
}

static void check_clean(const struct raw_head *raw, const struct http_head *head)
{
    size_t lengths = count_of(raw, "Content-Length"), codings = count_of(raw, "Transfer-Encoding");
    assert(lengths + codings <= 1 && head->is_chunked == (codings == 1));
    assert(head->content_length >= 0 && (lengths == 1 || head->content_length == 0));
    assert(count_of(raw, "Host") <= 1 && count_of(raw, "Authorization") <= 1);
    assert(count_of(raw, "Host") == 1 || strcmp(raw->version, "HTTP/1.0") == 0);
    check_path(head);
    check_headers(head);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct raw_header headers[HTTP_HEADER_COUNT_MAX];
    struct raw_head raw = {.headers = headers};
    struct http_head head;
    struct arena arena;
    char *text = malloc(size + 1);
    assert(text != NULL);
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    arena_init(&arena);
    if (cut(text, headers, &raw) && hygiene_layout(&raw, NULL) == ERR_OK &&
        hygiene_check(&raw, &arena, &head, NULL) == ERR_OK)
        check_clean(&raw, &head);
    arena_done(&arena);
    free(text);
    return 0;
}
