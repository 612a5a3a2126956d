#include "gateway/members.h"

#include <string.h>

#include "io/json.h"

/* Until the first thing that is wrong. */
struct scan {
    const char *at, *end;
    int depth;
    const char *why; /* NULL: all is well so far */
};

static bool refuse(struct scan *s, const char *phrase)
{
    if (s->why == NULL)
        s->why = phrase;
    return false;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_hex(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static void skip_blanks(struct scan *s)
{
    while (s->at < s->end && is_blank(*s->at))
        s->at++;
}

static bool next_is(const struct scan *s, char c)
{
    return s->at < s->end && *s->at == c;
}

static bool take(struct scan *s, char c)
{
    if (!next_is(s, c))
        return false;
    s->at++;
    return true;
}

/* ---- values ---- */

static bool scan_escape(struct scan *s)
{
    if (s->at == s->end)
        return refuse(s, "a text without its end");
    char c = *s->at++;
    if (c != 'u')
        return c != '\0' && strchr("\"\\/bfnrt", c) != NULL ? true : refuse(s, "an unknown escape");
    for (int i = 0; i < 4; i++, s->at++)
        if (s->at == s->end || !is_hex(*s->at))
            return refuse(s, "\\u without four digits");
    return true;
}

/* *ret is what stands between the quotes. */
static bool scan_text(struct scan *s, struct str *ret)
{
    if (!take(s, '"'))
        return refuse(s, "a text is missing");
    const char *begin = s->at;
    while (s->at < s->end && *s->at != '"') {
        unsigned char c = (unsigned char)*s->at++;
        if (c < ' ')
            return refuse(s, "a control character in a text");
        if (c == '\\' && !scan_escape(s))
            return false;
    }
    *ret = (struct str){begin, (size_t)(s->at - begin)};
    return take(s, '"') ? true : refuse(s, "a text without its end");
}

static bool scan_digits(struct scan *s)
{
    const char *begin = s->at;
    while (s->at < s->end && is_digit(*s->at))
        s->at++;
    return s->at > begin ? true : refuse(s, "a number without digits");
}

static bool scan_number(struct scan *s)
{
    (void)take(s, '-');
    if (!take(s, '0') && !scan_digits(s))
        return false;
    if (take(s, '.') && !scan_digits(s))
        return false;
    if (!take(s, 'e') && !take(s, 'E'))
        return true;
    if (!take(s, '+'))
        (void)take(s, '-');
    return scan_digits(s);
}

static bool scan_word(struct scan *s, struct str word)
{
    if ((size_t)(s->end - s->at) < word.len || memcmp(s->at, word.data, word.len) != 0)
        return refuse(s, "a value is missing");
    s->at += word.len;
    return true;
}

static bool scan_value(struct scan *s);

static bool scan_name(struct scan *s, struct str *ret)
{
    if (!scan_text(s, ret))
        return false;
    skip_blanks(s);
    return take(s, ':') ? true : refuse(s, "a colon is missing");
}

/* From the opening bracket on, which is taken already. */
static bool scan_items(struct scan *s, char closing)
{
    struct str name;
    skip_blanks(s);
    if (take(s, closing))
        return true;
    do {
        skip_blanks(s);
        if ((closing == '}' && !scan_name(s, &name)) || !scan_value(s))
            return false;
    } while (take(s, ','));
    return take(s, closing) ? true : refuse(s, "a comma or a closing bracket is missing");
}

static bool scan_nested(struct scan *s, char closing)
{
    if (++s->depth > JSON_DEPTH_MAX)
        return refuse(s, "nested too deeply");
    s->at++;
    bool fine = scan_items(s, closing);
    s->depth--;
    return fine;
}

static bool scan_by_first(struct scan *s)
{
    struct str text;
    if (s->at == s->end)
        return refuse(s, "a value is missing");
    switch (*s->at) {
    case '"':
        return scan_text(s, &text);
    case '{':
        return scan_nested(s, '}');
    case '[':
        return scan_nested(s, ']');
    case 't':
        return scan_word(s, STR("true"));
    case 'f':
        return scan_word(s, STR("false"));
    case 'n':
        return scan_word(s, STR("null"));
    default:
        return scan_number(s);
    }
}

/* With the blanks around it. */
static bool scan_value(struct scan *s)
{
    skip_blanks(s);
    if (!scan_by_first(s))
        return false;
    skip_blanks(s);
    return true;
}

/* ---- the object's own members ---- */

static bool keep(struct scan *s, struct member *wanted, size_t count, struct str name, struct str value)
{
    for (size_t i = 0; i < count; i++) {
        if (!str_eq(name, wanted[i].name))
            continue;
        if (wanted[i].value.data != NULL)
            return refuse(s, "a member that is there twice");
        wanted[i].value = value;
    }
    return true;
}

static bool scan_member(struct scan *s, struct member *wanted, size_t count)
{
    struct str name;
    skip_blanks(s);
    if (!scan_name(s, &name))
        return false;
    if (memchr(name.data, '\\', name.len) != NULL)
        return refuse(s, "a member's name with an escape");
    skip_blanks(s);
    const char *begin = s->at;
    if (!scan_by_first(s))
        return false;
    struct str value = {begin, (size_t)(s->at - begin)};
    skip_blanks(s);
    return keep(s, wanted, count, name, value);
}

static bool scan_object(struct scan *s, struct member *wanted, size_t count)
{
    skip_blanks(s);
    if (!take(s, '{'))
        return refuse(s, "no object");
    s->depth = 1;
    skip_blanks(s);
    if (!next_is(s, '}')) {
        do {
            if (!scan_member(s, wanted, count))
                return false;
        } while (take(s, ','));
    }
    if (!take(s, '}'))
        return refuse(s, "a comma or a closing bracket is missing");
    skip_blanks(s);
    return s->at == s->end ? true : refuse(s, "something follows the object");
}

bool members_take(struct str text, struct member *wanted, size_t count, const char **ret_why)
{
    struct scan s = {.at = text.data, .end = text.data + text.len};
    size_t at;
    for (size_t i = 0; i < count; i++)
        wanted[i].value = (struct str){NULL, 0};
    bool fine = str_is_utf8(text, &at) ? scan_object(&s, wanted, count) : refuse(&s, "not UTF-8");
    if (!fine)
        *ret_why = s.why;
    return fine;
}

bool member_is_array(struct str value)
{
    return value.len >= 2 && value.data[0] == '[';
}

struct str member_inside(struct str array)
{
    const char *begin = array.data + 1, *end = array.data + array.len - 1;
    while (begin < end && is_blank(*begin))
        begin++;
    while (end > begin && is_blank(end[-1]))
        end--;
    return (struct str){begin, (size_t)(end - begin)};
}
