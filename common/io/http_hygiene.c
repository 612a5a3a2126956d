#include "io/http_hygiene.h"

#include <string.h>
#include <strings.h>

enum { SINGLE = 1, HIDDEN = 2 };

/* SINGLE: may come once. HIDDEN: not for handlers: it concerns this connection only (RFC 9110 section 7.6.1), has been
 * used up by the frame, or would claim what only our own gateway may say. */
static const struct {
    const char *name;
    enum http_known known;
    int flags;
} HEADERS[] = {
    {"host", KNOWN_HOST, SINGLE},
    {"content-length", KNOWN_CONTENT_LENGTH, SINGLE},
    {"transfer-encoding", KNOWN_TRANSFER_ENCODING, SINGLE | HIDDEN},
    {"connection", KNOWN_CONNECTION, HIDDEN},
    {"expect", KNOWN_EXPECT, SINGLE | HIDDEN},
    {"authorization", KNOWN_AUTHORIZATION, SINGLE},
    {"accept", KNOWN_ACCEPT, 0},
    {"content-type", KNOWN_CONTENT_TYPE, SINGLE},
    {"content-encoding", KNOWN_CONTENT_ENCODING, SINGLE},
    {"prefer", KNOWN_PREFER, 0},
    {"idempotency-key", KNOWN_IDEMPOTENCY_KEY, SINGLE},
    {"x-request-id", KNOWN_REQUEST_ID, HIDDEN},
    {"traceparent", KNOWN_TRACEPARENT, HIDDEN},
    {"x-request-deadline-ms", KNOWN_DEADLINE, SINGLE | HIDDEN},
    {"x-forwarded-for", KNOWN_FORWARDED_FOR, HIDDEN},
    {"keep-alive", KNOWN_NONE, HIDDEN},
    {"proxy-connection", KNOWN_NONE, HIDDEN},
    {"proxy-authenticate", KNOWN_NONE, HIDDEN},
    {"proxy-authorization", KNOWN_NONE, HIDDEN},
    {"te", KNOWN_NONE, HIDDEN},
    {"trailer", KNOWN_NONE, HIDDEN},
    {"upgrade", KNOWN_NONE, HIDDEN},
    {"forwarded", KNOWN_NONE, HIDDEN},
};
static const char *const HIDDEN_PREFIXES[] = {"x-user-", "x-customer-", "x-account-", "x-role", "x-forwarded-"};

static enum err malformed(struct fault *fault, const char *why)
{
    return fault_set(fault, ERR_MALFORMED_REQUEST, "%s", why);
}

static bool is_alnum(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static bool is_token(struct str s) /* RFC 9110 section 5.6.2 */
{
    for (size_t i = 0; i < s.len; i++)
        if (!is_alnum((unsigned char)s.data[i]) && (s.data[i] == 0 || strchr("!#$%&'*+-.^_`|~", s.data[i]) == NULL))
            return false;
    return s.len > 0;
}

/* ---- the request line ---- */

static enum http_method method_of(const char *text)
{
    for (enum http_method m = HTTP_GET; m < HTTP_OTHER; m++)
        if (strcmp(text, http_method_name(m)) == 0)
            return m;
    return HTTP_OTHER;
}

static bool is_unreserved(unsigned char c)
{
    return is_alnum(c) || c == '-' || c == '.' || c == '_' || c == '~';
}

static bool is_path_byte(unsigned char c) /* RFC 3986 section 3.3: pchar and the slash */
{
    return is_unreserved(c) || (c != 0 && strchr("/:@!$&'()*+,;=", c) != NULL);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

/* The byte that "%xy" at `s` stands for; -1 when it is no such thing. */
static int escaped_byte(struct str s, size_t at)
{
    if (s.len - at < 3)
        return -1;
    int high = hex_digit(s.data[at + 1]), low = hex_digit(s.data[at + 2]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

static bool has_bad_segment(const char *path)
{
    for (const char *s = path; s != NULL; s = strchr(s + 1, '/')) {
        size_t len = strcspn(s + 1, "/;"); /* what has a ';' behind it is a dot segment to some */
        if (len == 0 && s[1] == '/')
            return true;
        if ((len == 1 && s[1] == '.') || (len == 2 && s[1] == '.' && s[2] == '.'))
            return true;
    }
    return false;
}

enum err hygiene_path(struct str raw, char *ret_path, struct fault *fault)
{
    static const char HEX[] = "0123456789ABCDEF";
    size_t len = 0;
    if (raw.len == 0 || raw.data[0] != '/')
        return malformed(fault, "the request target must be a path that begins with a slash");
    for (size_t i = 0; i < raw.len; i++) {
        unsigned char c = (unsigned char)raw.data[i];
        if (c != '%') {
            if (!is_path_byte(c))
                return malformed(fault, "the path holds a byte that must be percent-encoded");
            ret_path[len++] = (char)c;
            continue;
        }
        int byte = escaped_byte(raw, i);
        if (byte < 0)
            return malformed(fault, "the path holds a percent sign that starts no escape");
        if (byte < 0x20 || byte == 0x7f || byte == '/' || byte == '\\' || byte == '.')
            return malformed(fault, "the path holds an encoded slash, dot or control byte");
        i += 2;
        if (is_unreserved((unsigned char)byte)) {
            ret_path[len++] = (char)byte;
            continue;
        }
        ret_path[len++] = '%';
        ret_path[len++] = HEX[byte >> 4];
        ret_path[len++] = HEX[byte & 15];
    }
    ret_path[len] = '\0';
    if (has_bad_segment(ret_path))
        return malformed(fault, "the path holds an empty or a dot segment");
    return ERR_OK;
}

bool hygiene_decode(struct str segment, struct arena *arena, struct str *ret_text)
{
    size_t len = 0, wrong_at;
    if (memchr(segment.data, '%', segment.len) == NULL) {
        *ret_text = segment;
        return true;
    }
    char *text = arena_alloc(arena, segment.len + 1);
    for (size_t i = 0; i < segment.len; i++) {
        if (segment.data[i] != '%') {
            text[len++] = segment.data[i];
            continue;
        }
        text[len++] = (char)escaped_byte(segment, i);
        i += 2;
    }
    struct str decoded = {text, len};
    if (!str_is_utf8(decoded, &wrong_at))
        return false;
    *ret_text = decoded;
    return true;
}

static enum err check_target(const struct raw_head *raw, struct arena *arena, struct http_head *ret,
                             struct fault *fault)
{
    if (raw->target_len > HTTP_TARGET_MAX)
        return fault_set(fault, ERR_URI_TOO_LONG, "the request target is longer than %d bytes", HTTP_TARGET_MAX);
    for (size_t i = 0; i < raw->target.len; i++)
        if (raw->target.data[i] <= ' ' || raw->target.data[i] > '~' || raw->target.data[i] == '#')
            return malformed(fault, "the request target holds a byte that must be percent-encoded");

    const char *mark = memchr(raw->target.data, '?', raw->target.len);
    struct str path = {raw->target.data, mark == NULL ? raw->target.len : (size_t)(mark - raw->target.data)};
    char *canonical = arena_alloc(arena, path.len + 1);
    enum err e = hygiene_path(path, canonical, fault);
    if (e != ERR_OK)
        return e;
    ret->path = canonical;
    if (mark != NULL)
        ret->query = (struct str){mark + 1, raw->target.len - path.len - 1};
    return ERR_OK;
}

/* ---- where the lines lie ---- */

enum { CRLF = 2 };

static bool line_is_whole(const struct raw_header *h, const char *begin)
{
    const char *name_end = h->name.data + h->name.len;
    if (h->name.data != begin || h->value.data <= name_end)
        return false;
    for (const char *blank = name_end + 1; blank < h->value.data; blank++)
        if (*blank != ' ' && *blank != '\t')
            return false;
    return true;
}

enum err hygiene_layout(const struct raw_head *raw, struct fault *fault)
{
    const char *why = "a line of the head is folded, holds a NUL, or does not end with CR LF";
    if (raw->header_count > HTTP_HEADER_COUNT_MAX)
        return fault_set(fault, ERR_HEADERS_TOO_LARGE, "there are more than %d headers", HTTP_HEADER_COUNT_MAX);
    if (raw->target_at != raw->method + strlen(raw->method) + 1 || raw->version != raw->target_at + raw->target_len + 1)
        return malformed(fault, "the request line must be method, target and version with one blank between");

    const char *line = raw->version + strlen(raw->version) + CRLF;
    for (size_t i = 0; i < raw->header_count; i++) {
        const struct raw_header *h = &raw->headers[i];
        if (!line_is_whole(h, line))
            return malformed(fault, why);
        line = h->value.data + h->value.len + CRLF;
    }
    if (raw->size != 0 && line + CRLF != raw->method + raw->size)
        return malformed(fault, why);
    return ERR_OK;
}

/* ---- headers ---- */

/* As str_eq_nocase, with '_' equal to '-': whoever comes after us may make one of the other. */
static bool same_name(const char *a, const char *lower, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        char c = a[i] == '_' ? '-' : a[i];
        if (c >= 'A' && c <= 'Z')
            c = (char)(c + 'a' - 'A');
        if (c != lower[i])
            return false;
    }
    return true;
}

static size_t header_find(struct str name)
{
    size_t i = 0;
    for (; i < sizeof HEADERS / sizeof HEADERS[0]; i++)
        if (strlen(HEADERS[i].name) == name.len && same_name(name.data, HEADERS[i].name, name.len))
            break;
    return i;
}

static bool has_hidden_prefix(struct str name)
{
    for (size_t i = 0; i < sizeof HIDDEN_PREFIXES / sizeof HIDDEN_PREFIXES[0]; i++) {
        size_t len = strlen(HIDDEN_PREFIXES[i]);
        if (name.len >= len && same_name(name.data, HIDDEN_PREFIXES[i], len))
            return true;
    }
    return false;
}

static bool is_value(struct str s) /* RFC 9110 section 5.5, and bytes above ASCII as they are */
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.data[i];
        if ((c < ' ' && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

/* Is `name` in the comma-separated list? */
static bool list_has(struct str list, struct str name)
{
    while (list.len > 0) {
        const char *comma = memchr(list.data, ',', list.len);
        size_t len = comma == NULL ? list.len : (size_t)(comma - list.data);
        struct str item = str_trim((struct str){list.data, len});
        if (item.len == name.len && strncasecmp(item.data, name.data, name.len) == 0)
            return true;
        size_t step = comma == NULL ? len : len + 1;
        list = (struct str){list.data + step, list.len - step};
    }
    return false;
}

static enum err take_known(const struct raw_header *h, size_t i, struct arena *arena, struct http_head *ret,
                           struct fault *fault)
{
    struct str *slot = &ret->known[HEADERS[i].known];
    /* The parser knows no spelling but "chunked", not even with a blank behind it. */
    struct str value = HEADERS[i].known == KNOWN_TRANSFER_ENCODING ? h->value : str_trim(h->value);
    if (HEADERS[i].known == KNOWN_NONE)
        return ERR_OK;
    if (slot->data == NULL) {
        *slot = value;
        return ERR_OK;
    }
    if (HEADERS[i].flags & SINGLE)
        return fault_set(fault, ERR_MALFORMED_REQUEST, "the header \"%s\" came more than once", HEADERS[i].name);
    char *joined = arena_printf(arena, "%.*s, %.*s", (int)slot->len, slot->data, (int)value.len, value.data);
    *slot = str_of(joined);
    return ERR_OK;
}

static enum err take_headers(const struct raw_head *raw, struct arena *arena, struct http_head *ret,
                             struct fault *fault)
{
    ret->headers = ARENA_ARRAY(arena, struct header, raw->header_count + 1);
    for (size_t n = 0; n < raw->header_count; n++) {
        const struct raw_header *h = &raw->headers[n];
        if (!is_token(h->name))
            return malformed(fault, "a header's name is no token");
        if (!is_value(h->value))
            return malformed(fault, "a header's value holds a control byte");

        /* Nobody but a smuggler writes Content_Length, and servers behind us may read it as Content-Length. */
        if (memchr(h->name.data, '_', h->name.len) != NULL)
            continue;
        size_t i = header_find(h->name);
        bool known = i < sizeof HEADERS / sizeof HEADERS[0];
        enum err e = known ? take_known(h, i, arena, ret, fault) : ERR_OK;
        if (e != ERR_OK)
            return e;
        if (known ? (HEADERS[i].flags & HIDDEN) != 0 : has_hidden_prefix(h->name))
            continue;
        struct str value = str_trim(h->value);
        bool ends = value.data[value.len] == '\0';
        ret->headers[ret->header_count++] = (struct header){
            h->name.data, ends ? value.data : arena_strndup(arena, value.data, value.len)};
    }
    return ERR_OK;
}

/* A header that Connection names is for this connection only; Connection comes anywhere among them, so this comes last. */
static void drop_connection_headers(struct http_head *head)
{
    size_t kept = 0;
    struct str list = head->known[KNOWN_CONNECTION];
    if (list.len == 0)
        return;
    for (size_t n = 0; n < head->header_count; n++) {
        struct str name = str_of(head->headers[n].name);
        if (!list_has(list, name)) {
            head->headers[kept++] = head->headers[n];
            continue;
        }
        size_t i = header_find(name);
        if (i < sizeof HEADERS / sizeof HEADERS[0] && HEADERS[i].known != KNOWN_CONTENT_LENGTH)
            head->known[HEADERS[i].known] = (struct str){0};
    }
    head->header_count = kept;
}

static enum err check_framing(const struct raw_head *raw, struct http_head *head, struct fault *fault)
{
    struct str te = head->known[KNOWN_TRANSFER_ENCODING], length = head->known[KNOWN_CONTENT_LENGTH];
    head->is_chunked = te.data != NULL;
    if (head->is_chunked && length.data != NULL)
        return malformed(fault, "Content-Length and Transfer-Encoding exclude each other");
    if (head->is_chunked && (!str_eq_nocase(te, "chunked") || strcmp(raw->version, "HTTP/1.1") != 0))
        return malformed(fault, "the only transfer coding is chunked, in HTTP/1.1");
    if (length.data != NULL && (!str_to_i64(length, &head->content_length) || head->content_length < 0))
        return malformed(fault, "Content-Length is no number");
    return ERR_OK;
}

static enum err check_host(const struct raw_head *raw, const struct http_head *head, struct fault *fault)
{
    struct str host = head->known[KNOWN_HOST];
    if (host.data == NULL)
        return strcmp(raw->version, "HTTP/1.0") == 0 ? ERR_OK : malformed(fault, "the header \"host\" is missing");
    for (size_t i = 0; i < host.len; i++)
        if (!is_unreserved((unsigned char)host.data[i]) && strchr(":[]", host.data[i]) == NULL)
            return malformed(fault, "the header \"host\" is no host");
    return host.len > 0 ? ERR_OK : malformed(fault, "the header \"host\" is empty");
}

enum err hygiene_check(const struct raw_head *raw, struct arena *arena, struct http_head *ret, struct fault *fault)
{
    enum err e;
    *ret = (struct http_head){.method = method_of(raw->method)};
    if (!is_token(str_of(raw->method)))
        return malformed(fault, "the method is no token");
    if (strcmp(raw->version, "HTTP/1.1") != 0 && strcmp(raw->version, "HTTP/1.0") != 0)
        return malformed(fault, "the version must be HTTP/1.1");
    if ((e = check_target(raw, arena, ret, fault)) != ERR_OK)
        return e;
    if (raw->size > HTTP_HEADERS_MAX || raw->header_count > HTTP_HEADER_COUNT_MAX)
        return fault_set(fault, ERR_HEADERS_TOO_LARGE, "the head is larger than %d bytes or %d headers",
                         HTTP_HEADERS_MAX, HTTP_HEADER_COUNT_MAX);
    if ((e = take_headers(raw, arena, ret, fault)) != ERR_OK || (e = check_framing(raw, ret, fault)) != ERR_OK ||
        (e = check_host(raw, ret, fault)) != ERR_OK)
        return e;
    drop_connection_headers(ret);
    return ERR_OK;
}
