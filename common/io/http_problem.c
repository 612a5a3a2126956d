#include <stdio.h>
#include <string.h>

#include "io/http_private.h"

enum { RETRY_AFTER_S = 1, TYPE_TEXT_MAX = 64 };

/* For what is our fault: the reason stands in the log, where the traceId leads to it. */
static const char NEUTRAL[] = "Nothing is wrong with the request. The reason is in our log under this traceId.";

/* "outcome_unknown" is /problems/outcome-unknown */
static void write_type(struct json_out *o, enum err e)
{
    char type[TYPE_TEXT_MAX];
    snprintf(type, sizeof type, "/problems/%s", err_code(e));
    for (char *c = strchr(type, '_'); c != NULL; c = strchr(c, '_'))
        *c = '-';
    json_put_text(o, "type", type);
}

static void write_errors(struct json_out *o, const struct field_errors *errors)
{
    json_open(o, "errors", '[');
    for (size_t i = 0; i < errors->count; i++) {
        json_open(o, NULL, '{');
        json_put_text(o, "pointer", errors->items[i].pointer);
        json_put_text(o, "detail", errors->items[i].detail);
        json_close(o, '}');
    }
    json_close(o, ']');
}

static void write_head(struct json_out *o, enum err e, const char *detail)
{
    json_open(o, NULL, '{');
    write_type(o, e);
    json_put_text(o, "title", err_title(e));
    json_put_int(o, "status", err_status(e));
    json_put_text(o, "detail", detail);
    json_put_text(o, "code", err_code(e));
}

void problem_bare(struct buf *out, enum err e)
{
    struct json_out o = json_out(out);
    write_head(&o, e, err_title(e));
    json_close(&o, '}');
}

static const char *detail_of(const struct call *call, enum err e)
{
    if (err_is_breakage(e))
        return NEUTRAL;
    return call->fault.why[0] != '\0' ? call->fault.why : err_title(e);
}

static void write_problem(struct call *call, enum err e)
{
    struct json_out o = json_out(&call->out);
    write_head(&o, e, detail_of(call, e));
    if (call->path != NULL)
        json_put_text(&o, "instance", call->path);
    json_put_text(&o, "traceId", call->trace.trace_id);
    if (call->errors.count > 0)
        write_errors(&o, &call->errors);
    if (call->problem_members.len > 0) {
        buf_char(&call->out, ',');
        buf_append(&call->out, call->problem_members.data, call->problem_members.len);
    }
    json_close(&o, '}');
}

static void add_challenge(struct call *call, enum err e)
{
    bool was_wrong = e == ERR_UNAUTHENTICATED && call->priv->had_token;
    call_reply_header(call, "WWW-Authenticate",
                      was_wrong ? "Bearer realm=\"brokerage\", error=\"invalid_token\"" : "Bearer realm=\"brokerage\"");
}

static void add_retry_after(struct call *call, int status)
{
    int seconds = call->retry_after_s;
    if (seconds == 0 && status == 503)
        seconds = RETRY_AFTER_S;
    if (seconds > 0)
        call_reply_header(call, "Retry-After", arena_printf(&call->arena, "%d", seconds));
}

void problem_answer(struct call *call, enum err e)
{
    int status = err_status(e);
    buf_reset(&call->out);
    write_problem(call, e);
    call->status = status;
    call->content_type = "application/problem+json";
    if (status == 401)
        add_challenge(call, e);
    if (status == 405 && call->priv->allow != NULL)
        call_reply_header(call, "Allow", call->priv->allow);
    add_retry_after(call, status);
}
