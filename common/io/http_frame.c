#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "io/http_negotiate.h"
#include "io/http_private.h"

const char *http_method_name(enum http_method m)
{
    static const char *const NAMES[] = {
        [HTTP_GET] = "GET",       [HTTP_POST] = "POST", [HTTP_PUT] = "PUT",         [HTTP_PATCH] = "PATCH",
        [HTTP_DELETE] = "DELETE", [HTTP_HEAD] = "HEAD", [HTTP_OPTIONS] = "OPTIONS", [HTTP_OTHER] = "OTHER",
    };
    return NAMES[m];
}

static struct str known(const struct call *call, enum http_known k)
{
    return call->priv->head.known[k];
}

/* ---- before the body: one function a question, asked in the order of ADMISSION below ---- */

static enum err ask_route(struct call *call)
{
    struct route_match match;
    enum err e = route_find(call->priv->generation->table, call->method, call->path, &match);
    call->priv->allow = match.allow;
    call->route = match.route;
    for (size_t i = 0; i < match.param_count; i++)
        if (!hygiene_decode(match.params[i], &call->arena, &call->params[i]))
            return ERR_NOT_FOUND;
    return e;
}

static enum err admit(struct call *call, enum http_stage stage)
{
    enum err (*ask)(struct call *, enum http_stage) = call->priv->shared->conf.admit;
    return ask == NULL ? ERR_OK : ask(call, stage);
}

static enum err ask_admission(struct call *call)
{
    return admit(call, HTTP_ROUTED);
}

static enum err check_token(struct call *call)
{
    static const char SCHEME[] = "Bearer ";
    struct str header = known(call, KNOWN_AUTHORIZATION);
    if (call->route->who == WHO_ANYONE)
        return ERR_OK;
    if (header.data == NULL)
        return fault_set(&call->fault, ERR_UNAUTHENTICATED, "the header Authorization is missing");
    call->priv->had_token = true;
    if (header.len < sizeof SCHEME || strncasecmp(header.data, SCHEME, sizeof SCHEME - 1) != 0)
        return fault_set(&call->fault, ERR_UNAUTHENTICATED, "the header Authorization must be Bearer and a token");

    struct str token = str_trim((struct str){header.data + sizeof SCHEME - 1, header.len - (sizeof SCHEME - 1)});
    enum err e = token_verify(call->priv->shared->conf.verifier, token, clock_now_us() / US_PER_S, &call->claims,
                              &call->fault);
    call->has_token = e == ERR_OK;
    return e;
}

static enum err ask_token(struct call *call)
{
    enum err e = check_token(call);
    if (e != ERR_OK)
        (void)admit(call, HTTP_UNAUTHENTICATED);
    return e;
}

static enum err ask_role(struct call *call)
{
    bool may_be_new = call->route->who == WHO_ANYONE || call->route->who == WHO_SIGNED_IN;
    if (call->claims.role == ROLE_NEWCOMER && !may_be_new)
        return fault_set(&call->fault, ERR_PASSWORD_CHANGE_REQUIRED, "set a password of your own first, then log in");
    if (call->route->who == WHO_ADMIN && call->claims.role != ROLE_ADMIN)
        return fault_set(&call->fault, ERR_FORBIDDEN, "only admins may do this");
    return admit(call, HTTP_ADMITTED);
}

static enum err ask_accept(struct call *call)
{
    bool csv = (call->route->flags & ROUTE_CSV) != 0;
    if ((call->route->flags & ROUTE_OWN_ACCEPT) != 0)
        return ERR_OK;
    if (!negotiate_accept(known(call, KNOWN_ACCEPT), csv, &call->wants_csv))
        return fault_set(&call->fault, ERR_NOT_ACCEPTABLE,
                         csv ? "there is application/json and text/csv" : "there is application/json");
    return ERR_OK;
}

static bool has_body(const struct call *call)
{
    return call->priv->head.is_chunked || call->priv->head.content_length > 0;
}

static bool may_have_body(const struct call *call)
{
    bool by_method = call->method == HTTP_POST || call->method == HTTP_PUT || call->method == HTTP_PATCH;
    return by_method && (call->route->flags & ROUTE_NO_BODY) == 0;
}

static enum err ask_content(struct call *call)
{
    struct str encoding = known(call, KNOWN_CONTENT_ENCODING);
    if (!has_body(call))
        return ERR_OK;
    if (!may_have_body(call))
        return fault_set(&call->fault, ERR_MALFORMED_REQUEST, "this request takes no body");
    if (encoding.data != NULL && !str_eq_nocase(encoding, "identity")) {
        call_reply_header(call, "Accept-Encoding", "identity");
        return fault_set(&call->fault, ERR_UNSUPPORTED_MEDIA_TYPE, "the body must not be compressed");
    }
    if (!negotiate_is_json(known(call, KNOWN_CONTENT_TYPE)))
        return fault_set(&call->fault, ERR_UNSUPPORTED_MEDIA_TYPE, "Content-Type must be application/json in UTF-8");
    return ERR_OK;
}

static enum err ask_size(struct call *call)
{
    if (call->priv->head.content_length > HTTP_BODY_MAX)
        return fault_set(&call->fault, ERR_BODY_TOO_LARGE, "a body has at most %d bytes", HTTP_BODY_MAX);
    return ERR_OK;
}

static enum err ask_key(struct call *call)
{
    struct str key = known(call, KNOWN_IDEMPOTENCY_KEY);
    if ((call->route->flags & ROUTE_IDEMPOTENT) == 0 || key.data == NULL)
        return ERR_OK;
    call->idempotency_key = negotiate_idempotency_key(key, &call->arena);
    if (call->idempotency_key == NULL)
        return fault_set(&call->fault, ERR_INVALID, "Idempotency-Key must be %d to %d visible ASCII characters",
                         IDEMPOTENCY_KEY_MIN, IDEMPOTENCY_KEY_MAX);
    return ERR_OK;
}

static int least(int64_t a, int64_t b)
{
    return (int)(a < b ? a : b);
}

static enum err ask_patience(struct call *call)
{
    struct str text = known(call, KNOWN_DEADLINE);
    int64_t given_ms;
    int deadline_ms = HTTP_DEADLINE_MAX_MS, wait_s;
    negotiate_prefer(known(call, KNOWN_PREFER), &call->prefer_async, &wait_s);
    if (text.data != NULL && str_to_i64(text, &given_ms) && given_ms >= 0)
        deadline_ms = least(given_ms, deadline_ms);
    call->deadline = call->started + deadline_ms * NS_PER_MS;

    int wait_ms = least(least(wait_s * 1000, HTTP_WAIT_MAX_MS), deadline_ms - HTTP_DEADLINE_SPARE_MS);
    call->wait_ms = call->prefer_async || wait_ms < 0 ? 0 : wait_ms;
    return ERR_OK;
}

static enum err (*const ADMISSION[])(struct call *call) = {
    ask_route, ask_admission, ask_token, ask_role, ask_accept, ask_content, ask_size, ask_key, ask_patience,
};

enum err frame_admit(struct call *call)
{
    for (size_t i = 0; i < sizeof ADMISSION / sizeof ADMISSION[0]; i++) {
        enum err e = ADMISSION[i](call);
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

/* ---- the handler and after it ---- */

void frame_handle(struct call *call)
{
    enum err e = call->priv->refused ? call->priv->outcome : admit(call, HTTP_WHOLE);
    if (e == ERR_OK)
        e = call->route->handle(call);
    if (atomic_load(&call->priv->state) == CALL_MINE) {
        frame_answer(call, e);
        return;
    }
    assert(e == ERR_OK); /* deferred and failed at once: who would answer? */
}

static void log_breakage(const struct call *call, enum err e)
{
    struct log *log = call->priv->shared->conf.log;
    char extra[192];
    if (log == NULL)
        return;
    snprintf(extra, sizeof extra, "\"request_id\":\"%s\",\"trace_id\":\"%s\",\"code\":\"%s\"", call->request_id,
             call->trace.trace_id, err_code(e));
    log_msg(log, LOG_ERROR, extra, "%s %s: %s", http_method_name(call->method),
            call->route == NULL ? "?" : call->route->path, call->fault.why);
}

void frame_answer(struct call *call, enum err e)
{
    if (e == ERR_OK && call->status == 0)
        e = fault_set(&call->fault, ERR_BUG, "the handler returned without an answer");
    call->priv->failed = e;
    if (e == ERR_OK)
        return;
    if (err_is_breakage(e) && e != ERR_CIRCUIT_OPEN) /* that it opened was logged once */
        log_breakage(call, e);
    problem_answer(call, e);
}

/* ---- what handlers call ---- */

const char *call_header(const struct call *call, const char *name)
{
    for (size_t i = 0; i < call->header_count; i++)
        if (strcasecmp(call->headers[i].name, name) == 0)
            return call->headers[i].value;
    return NULL;
}

enum err call_body(struct call *call, const struct field *table, void *ret)
{
    struct json *root;
    enum err e = json_parse(call->body, &root, &call->fault);
    if (e != ERR_OK)
        return e;
    e = fields_of_json(table, root, &call->arena, ret, &call->errors);
    json_free(root);
    return e;
}

enum err call_query(struct call *call, const struct field *table, void *ret)
{
    return fields_of_query(table, call->query, &call->arena, ret, &call->errors);
}

enum err call_param_uuid(struct call *call, int i, struct uuid *ret)
{
    assert(i >= 0 && i < HTTP_PATH_PARAMS_MAX);
    return uuid_parse(call->params[i], ret) && !uuid_is_nil(*ret) ? ERR_OK : ERR_NOT_FOUND; /* nil is nothing's id */
}

void call_reply(struct call *call, int status)
{
    assert(status >= 200 && status <= 599);
    call->status = status;
}

void call_reply_header(struct call *call, const char *name, const char *value)
{
    assert(call->reply_header_count < HTTP_REPLY_HEADERS_MAX);
    call->reply_headers[call->reply_header_count++] = (struct header){name, value};
}

struct json_out call_problem(struct call *call)
{
    return (struct json_out){.out = &call->problem_members, .comma = call->problem_members.len > 0};
}

enum err call_customer(struct call *call, int64_t named, const char *pointer, int64_t *ret_customer_id)
{
    int64_t own = call->claims.customer_id;
    if (call->claims.role == ROLE_ADMIN) {
        if (named == 0)
            return field_error_add(&call->errors, pointer, "an admin must name the customer");
        *ret_customer_id = named;
        return ERR_OK;
    }
    if (named != 0 && named != own)
        return fault_set(&call->fault, ERR_NOT_FOUND, "there is no customer %lld", (long long)named);
    *ret_customer_id = own;
    return ERR_OK;
}
