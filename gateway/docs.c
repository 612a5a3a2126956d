#include "gateway/docs.h"

#include <string.h>

#include "gateway/problem_pages.h"
#include "io/http_negotiate.h"

enum { SLUG_MAX = 64 };

/* swagger-ui draws its icons from data: URLs in its style sheet, and asks this server alone. */
static const char CSP_DOCS[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
static const char CSP_PAGE[] =
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/* What is embedded changes with the program only; by its ETag a client learns of that at the cost of an empty answer. */
static const char KEEP[] = "public, max-age=300";

static const struct asset *find_asset(struct str name)
{
    for (const struct asset *a = GATEWAY_ASSETS; a->name != NULL; a++)
        if (str_eq(name, a->name))
            return a;
    return NULL;
}

/* RFC 9110 section 13.1.2: any of a list, weak or not; our tags have nothing in them that could be part of another. */
static bool has_it(struct call *call, const char *etag)
{
    const char *known = call_header(call, "If-None-Match");
    return known != NULL && (strcmp(known, "*") == 0 || strstr(known, etag) != NULL);
}

static enum err answer_asset(struct call *call, const struct asset *a)
{
    struct str type = str_of(a->type);
    const char *semicolon = memchr(type.data, ';', type.len);
    const char *bare = semicolon == NULL ? a->type
                                         : arena_strndup(&call->arena, a->type, (size_t)(semicolon - a->type));
    const char *group = arena_printf(&call->arena, "%.*s/*", (int)strcspn(bare, "/"), bare);
    if (negotiate_liking(str_of(call_header(call, "Accept")), bare, group) == 0)
        return fault_set(&call->fault, ERR_NOT_ACCEPTABLE, "there is %s", bare);
    call_reply_header(call, "ETag", a->etag);
    call_reply_header(call, "Cache-Control", KEEP);
    if (has_it(call, a->etag)) {
        call_reply(call, 304);
        return ERR_OK;
    }
    call->content_type = a->type;
    buf_append(&call->out, a->bytes.data, a->bytes.len);
    call_reply(call, 200);
    return ERR_OK;
}

enum err docs_contract(struct call *call)
{
    return answer_asset(call, find_asset(STR("openapi.json")));
}

enum err docs_page(struct call *call)
{
    const struct asset *whole = find_asset(STR("index.html"));
    enum err e = answer_asset(call, whole != NULL ? whole : find_asset(STR("plain.html")));
    if (e == ERR_OK) {
        call_reply_header(call, "Content-Security-Policy", CSP_DOCS);
        call_reply_header(call, "Referrer-Policy", "no-referrer");
    }
    return e;
}

enum err docs_file(struct call *call)
{
    const struct asset *a = find_asset(call->params[0]);
    bool is_page = a != NULL && strncmp(a->type, "text/html", 9) == 0;
    if (a == NULL || is_page) /* pages have their one address, and there their policy */
        return ERR_NOT_FOUND;
    return answer_asset(call, a);
}

/* ---- problems ---- */

static void put_html(struct buf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '<':
            buf_str(out, "&lt;");
            break;
        case '>':
            buf_str(out, "&gt;");
            break;
        case '&':
            buf_str(out, "&amp;");
            break;
        default:
            buf_char(out, *text);
        }
    }
}

static void put_section(struct buf *out, const char *title, const char *text)
{
    buf_printf(out, "<h2>%s</h2>\n<p>", title);
    put_html(out, text);
    buf_str(out, "</p>\n");
}

static void write_html(struct buf *out, const struct problem_page *p, enum err e)
{
    buf_str(out, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                 "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>");
    put_html(out, err_title(e));
    buf_str(out, "</title>\n<link rel=\"stylesheet\" href=\"/docs/page.css\">\n</head>\n<body>\n<main>\n<h1>");
    put_html(out, err_title(e));
    buf_printf(out, "</h1>\n<p><code>%s</code>, status %d</p>\n", p->code, err_status(e));
    put_section(out, "What happened", p->what);
    put_section(out, "Why", p->why);
    put_section(out, "What to do", p->todo);
    buf_str(out, "</main>\n</body>\n</html>\n");
}

static void write_json(struct buf *out, const struct problem_page *p, enum err e, const char *path)
{
    struct json_out o = json_out(out);
    json_open(&o, NULL, '{');
    json_put_text(&o, "type", path);
    json_put_text(&o, "title", err_title(e));
    json_put_int(&o, "status", err_status(e));
    json_put_text(&o, "code", p->code);
    json_put_text(&o, "what", p->what);
    json_put_text(&o, "why", p->why);
    json_put_text(&o, "todo", p->todo);
    json_close(&o, '}');
}

/* "outcome-unknown" is the code "outcome_unknown"; there is no other way to write it. */
static const struct problem_page *find_page(struct str slug)
{
    char code[SLUG_MAX];
    if (memchr(slug.data, '_', slug.len) != NULL || !str_copy(code, sizeof(code), slug))
        return NULL;
    for (char *c = strchr(code, '-'); c != NULL; c = strchr(c, '-'))
        *c = '_';
    return problem_page_find(code);
}

enum err docs_problem(struct call *call)
{
    struct str accept = str_of(call_header(call, "Accept"));
    int html = negotiate_liking(accept, "text/html", "text/*");
    int json = negotiate_liking(accept, "application/json", "application/*");
    const struct problem_page *p = find_page(call->params[0]);
    if (p == NULL)
        return fault_set(&call->fault, ERR_NOT_FOUND, "there is no such problem");
    if (html == 0 && json == 0)
        return fault_set(&call->fault, ERR_NOT_ACCEPTABLE, "there is text/html and application/json");

    enum err e = problem_page_err(p);
    call_reply_header(call, "Cache-Control", KEEP);
    call_reply_header(call, "Vary", "Accept");
    if (json > html) {
        write_json(&call->out, p, e, call->path);
    } else {
        call->content_type = "text/html; charset=utf-8";
        call_reply_header(call, "Content-Security-Policy", CSP_PAGE);
        call_reply_header(call, "Referrer-Policy", "no-referrer");
        write_html(&call->out, p, e);
    }
    call_reply(call, 200);
    return ERR_OK;
}
