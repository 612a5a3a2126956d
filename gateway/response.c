#include "gateway/response.h"

#include <string.h>

enum { STATUS_MIN = 100, STATUS_MAX = 599 };
enum { HTTP_1_0, HTTP_1_1 };

static enum response_state wrong(const char *phrase, const char **ret_why)
{
    *ret_why = phrase;
    return RESPONSE_WRONG;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* RFC 9110 section 5.6.2, one bit a character. */
static bool is_token_char(unsigned char c)
{
    static const uint32_t BITS[8] = {
        0x00000000, /* control characters */
        0x03ff6cfa, /* ! # $ % & ' * + - . 0-9 */
        0xc7fffffe, /* A-Z ^ _ */
        0x57ffffff, /* ` a-z | ~ */
    };
    return (BITS[c / 32] >> (c % 32) & 1) != 0;
}

static bool is_token(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!is_token_char((unsigned char)s.data[i]))
            return false;
    return s.len > 0;
}

static bool is_text_char(char c) /* RFC 9110 section 5.5: field-vchar, SP, HTAB */
{
    unsigned char u = (unsigned char)c;
    return (u >= ' ' && u != 0x7f) || u == '\t';
}

static bool is_text(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!is_text_char(s.data[i]))
            return false;
    return true;
}

/* ---- the head ---- */

/* What the headers say about framing, until all have been read. */
struct framing_said {
    bool has_length, has_coding, says_close;
    int version;
};

static bool read_status_line(struct str line, struct response *ret, int *ret_version)
{
    static const char PREFIX[] = "HTTP/1.";
    enum { VERSION_AT = sizeof(PREFIX) - 1, CODE_AT = VERSION_AT + 2, REASON_AT = CODE_AT + 4 };
    const char *l = line.data;
    if (line.len < REASON_AT || memcmp(l, PREFIX, sizeof(PREFIX) - 1) != 0 ||
        (l[VERSION_AT] != '0' && l[VERSION_AT] != '1'))
        return false;
    if (l[CODE_AT - 1] != ' ' || l[REASON_AT - 1] != ' ')
        return false;
    for (int i = 0; i < 3; i++)
        if (!is_digit(l[CODE_AT + i]))
            return false;

    ret->status = (l[CODE_AT] - '0') * 100 + (l[CODE_AT + 1] - '0') * 10 + (l[CODE_AT + 2] - '0');
    *ret_version = l[VERSION_AT] == '1' ? HTTP_1_1 : HTTP_1_0;
    return ret->status >= STATUS_MIN && ret->status <= STATUS_MAX &&
           is_text((struct str){l + REASON_AT, line.len - REASON_AT});
}

static bool list_has(struct str list, const char *item)
{
    while (list.len > 0) {
        const char *comma = memchr(list.data, ',', list.len);
        size_t len = comma == NULL ? list.len : (size_t)(comma - list.data);
        if (str_eq_nocase(str_trim((struct str){list.data, len}), item))
            return true;
        size_t step = comma == NULL ? len : len + 1;
        list = (struct str){list.data + step, list.len - step};
    }
    return false;
}

static const char *note_length(struct str value, struct framing_said *said, struct response *ret)
{
    if (said->has_length)
        return "Content-Length came more than once";
    said->has_length = true;
    if (!str_to_i64(value, &ret->content_length) || ret->content_length < 0)
        return "Content-Length is no number";
    if (ret->content_length > RESPONSE_BODY_MAX)
        return "the body is too large";
    return NULL;
}

static const char *note_coding(struct str value, struct framing_said *said, struct response *ret)
{
    (void)ret;
    if (said->has_coding)
        return "Transfer-Encoding came more than once";
    said->has_coding = true;
    return str_eq_nocase(value, "chunked") ? NULL : "the transfer coding is not chunked";
}

static const char *note_connection(struct str value, struct framing_said *said, struct response *ret)
{
    (void)ret;
    said->says_close = said->says_close || list_has(value, "close");
    return NULL;
}

static const struct {
    struct str name;
    const char *(*note)(struct str value, struct framing_said *said, struct response *ret); /* NULL: fine */
} NOTED[] = {
    {STR_INIT("content-length"), note_length},
    {STR_INIT("transfer-encoding"), note_coding},
    {STR_INIT("connection"), note_connection},
};

/* NULL: fine; else what is wrong. */
static const char *read_header(struct str line, struct framing_said *said, struct response *ret)
{
    const char *colon = memchr(line.data, ':', line.len);
    if (colon == NULL)
        return "a header has no colon";
    struct str name = {line.data, (size_t)(colon - line.data)};
    struct str value = str_trim((struct str){colon + 1, line.len - name.len - 1});
    if (!is_token(name)) /* a folded line ends here too: it begins with a blank */
        return "a header's name is no token";
    if (!is_text(value))
        return "a header's value holds a control byte";
    if (ret->header_count == RESPONSE_HEADERS_MAX)
        return "there are too many headers";
    ret->headers[ret->header_count++] = (struct response_header){name, value};

    for (size_t i = 0; i < sizeof(NOTED) / sizeof(NOTED[0]); i++)
        if (name.len == NOTED[i].name.len && str_eq_nocase(name, NOTED[i].name.data))
            return NOTED[i].note(value, said, ret);
    return NULL;
}

/* RFC 9112 section 6.3 */
static const char *settle_framing(const struct framing_said *said, struct response *ret)
{
    bool bodyless = ret->status < 200 || ret->status == 204 || ret->status == 304;
    ret->keep_alive = said->version == HTTP_1_1 && !said->says_close;
    if (said->has_coding && said->has_length)
        return "Content-Length and Transfer-Encoding exclude each other";
    if (said->has_coding && (said->version != HTTP_1_1 || bodyless))
        return "Transfer-Encoding has no place in this answer";
    if (bodyless && ret->status != 304 && ret->content_length != 0)
        return "Content-Length has no place in this answer";

    if (bodyless)
        ret->framing = FRAMING_NONE;
    else if (said->has_coding)
        ret->framing = FRAMING_CHUNKED;
    else if (said->has_length)
        ret->framing = FRAMING_LENGTH;
    else
        ret->framing = FRAMING_CLOSE;
    ret->keep_alive = ret->keep_alive && ret->framing != FRAMING_CLOSE;
    return NULL;
}

/* The line that begins at `at`, without its CRLF; *ret_next is where the next one begins. */
static enum response_state next_line(struct str bytes, size_t at, struct str *ret_line, size_t *ret_next,
                                     const char **ret_why)
{
    size_t room = bytes.len < RESPONSE_HEAD_MAX ? bytes.len : RESPONSE_HEAD_MAX;
    const char *begin = bytes.data + at;
    const char *lf = room > at ? memchr(begin, '\n', room - at) : NULL;
    if (lf == NULL)
        return bytes.len >= RESPONSE_HEAD_MAX ? wrong("the head is too large", ret_why) : RESPONSE_MORE;
    if (lf == begin || lf[-1] != '\r')
        return wrong("a line of the head does not end with CR LF", ret_why);
    *ret_line = (struct str){begin, (size_t)(lf - 1 - begin)};
    *ret_next = at + (size_t)(lf - begin) + 1;
    return RESPONSE_WHOLE;
}

enum response_state response_head(struct str bytes, struct response *ret, size_t *ret_used, const char **ret_why)
{
    struct framing_said said = {0};
    struct str line;
    size_t at = 0;
    ret->header_count = 0;
    ret->content_length = 0;

    enum response_state state = next_line(bytes, at, &line, &at, ret_why);
    if (state != RESPONSE_WHOLE)
        return state;
    if (!read_status_line(line, ret, &said.version))
        return wrong("the status line is not HTTP/1.1", ret_why);

    while ((state = next_line(bytes, at, &line, &at, ret_why)) == RESPONSE_WHOLE && line.len > 0) {
        const char *why = read_header(line, &said, ret);
        if (why != NULL)
            return wrong(why, ret_why);
    }
    if (state != RESPONSE_WHOLE)
        return state;
    const char *why = settle_framing(&said, ret);
    if (why != NULL)
        return wrong(why, ret_why);
    *ret_used = at;
    return RESPONSE_WHOLE;
}

/* ---- the body ---- */

/* Where we are in "size [;extension] CRLF data CRLF … 0 CRLF *( trailer CRLF ) CRLF" (RFC 9112 section 7.1). */
enum chunk {
    CHUNK_FIRST_DIGIT,
    CHUNK_DIGITS,
    CHUNK_EXTENSION,
    CHUNK_SIZE_LF,
    CHUNK_DATA,
    CHUNK_DATA_CR,
    CHUNK_DATA_LF,
    CHUNK_TRAILER, /* a trailer's first byte, or the last line's CR */
    CHUNK_TRAILER_REST,
    CHUNK_TRAILER_LF,
    CHUNK_LAST_LF,
    CHUNK_END,
};

void response_body_init(struct response_body *b, const struct response *r)
{
    *b = (struct response_body){.framing = r->framing,
                                .left = r->framing == FRAMING_LENGTH ? r->content_length : 0,
                                .chunk = CHUNK_FIRST_DIGIT};
}

static size_t least(size_t a, int64_t b)
{
    return (uint64_t)b < a ? (size_t)b : a;
}

static int hex_value(char c)
{
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* What follows a byte that must be `c`; -1: it is another. */
static int expect(char byte, char c, enum chunk then)
{
    return byte == c ? (int)then : -1;
}

static int chunk_digit(struct response_body *b, char c)
{
    int digit = hex_value(c);
    if (digit < 0 || b->left > RESPONSE_BODY_MAX)
        return -1;
    b->left = b->left * 16 + digit;
    return CHUNK_DIGITS;
}

static int chunk_after_digits(struct response_body *b, char c)
{
    if (c == '\r')
        return CHUNK_SIZE_LF;
    return c == ';' ? CHUNK_EXTENSION : chunk_digit(b, c);
}

static int until_cr(char c, enum chunk here, enum chunk then)
{
    if (c == '\r')
        return (int)then;
    return is_text_char(c) ? (int)here : -1;
}

/* One byte that is no data; the next state, or -1. */
static int chunk_byte(struct response_body *b, char c)
{
    switch ((enum chunk)b->chunk) {
    case CHUNK_FIRST_DIGIT:
        return chunk_digit(b, c);
    case CHUNK_DIGITS:
        return chunk_after_digits(b, c);
    case CHUNK_EXTENSION:
        return until_cr(c, CHUNK_EXTENSION, CHUNK_SIZE_LF);
    case CHUNK_SIZE_LF:
        return expect(c, '\n', b->left > 0 ? CHUNK_DATA : CHUNK_TRAILER);
    case CHUNK_DATA_CR:
        return expect(c, '\r', CHUNK_DATA_LF);
    case CHUNK_DATA_LF:
        return expect(c, '\n', CHUNK_FIRST_DIGIT);
    case CHUNK_TRAILER:
        return c == '\r' ? CHUNK_LAST_LF : is_token_char((unsigned char)c) ? CHUNK_TRAILER_REST : -1;
    case CHUNK_TRAILER_REST:
        return until_cr(c, CHUNK_TRAILER_REST, CHUNK_TRAILER_LF);
    case CHUNK_TRAILER_LF:
        return expect(c, '\n', CHUNK_TRAILER);
    case CHUNK_LAST_LF:
        return expect(c, '\n', CHUNK_END);
    case CHUNK_DATA:
    case CHUNK_END:
        break;
    }
    return -1;
}

static enum response_state feed_chunked(struct response_body *b, struct str bytes, struct buf *out, size_t *ret_used,
                                        const char **ret_why)
{
    size_t at = 0;
    while (at < bytes.len && b->chunk != CHUNK_END) {
        if (b->chunk == CHUNK_DATA) {
            size_t n = least(bytes.len - at, b->left);
            buf_append(out, bytes.data + at, n);
            at += n;
            b->left -= (int64_t)n;
            b->between = 0;
            if (b->left == 0)
                b->chunk = CHUNK_DATA_CR;
            continue;
        }
        b->chunk = chunk_byte(b, bytes.data[at++]);
        if (b->chunk < 0 || ++b->between > RESPONSE_BETWEEN_MAX)
            return wrong("the chunked coding is broken", ret_why);
        if (b->chunk == CHUNK_DATA && (b->total += (size_t)b->left) > RESPONSE_BODY_MAX)
            return wrong("the body is too large", ret_why);
    }
    *ret_used = at;
    return b->chunk == CHUNK_END ? RESPONSE_WHOLE : RESPONSE_MORE;
}

static enum response_state feed_length(struct response_body *b, struct str bytes, struct buf *out, size_t *ret_used)
{
    size_t n = least(bytes.len, b->left);
    buf_append(out, bytes.data, n);
    b->left -= (int64_t)n;
    *ret_used = n;
    return b->left == 0 ? RESPONSE_WHOLE : RESPONSE_MORE;
}

static enum response_state feed_until_close(struct response_body *b, struct str bytes, struct buf *out,
                                            size_t *ret_used, const char **ret_why)
{
    b->total += bytes.len;
    if (b->total > RESPONSE_BODY_MAX)
        return wrong("the body is too large", ret_why);
    buf_append(out, bytes.data, bytes.len);
    *ret_used = bytes.len;
    return RESPONSE_MORE;
}

enum response_state response_body_feed(struct response_body *b, struct str bytes, struct buf *out, size_t *ret_used,
                                       const char **ret_why)
{
    switch (b->framing) {
    case FRAMING_LENGTH:
        return feed_length(b, bytes, out, ret_used);
    case FRAMING_CHUNKED:
        return feed_chunked(b, bytes, out, ret_used, ret_why);
    case FRAMING_CLOSE:
        return feed_until_close(b, bytes, out, ret_used, ret_why);
    case FRAMING_NONE:
        break;
    }
    *ret_used = 0;
    return RESPONSE_WHOLE;
}

bool response_body_ends_by_close(const struct response_body *b)
{
    return b->framing == FRAMING_CLOSE;
}
