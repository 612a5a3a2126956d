/* A live server, spoken to with bare sockets, so that every byte of a request is the test's own. */
#include "io/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "io/http_private.h"
#include "unit.h"

enum { PATIENCE_S = 20, REPLY_MAX = 2 * 1024 * 1024, DEFERRED_MAX = 1024 };

/* ---- somebody who finishes deferred calls, on a thread of his own ---- */

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct call *calls[DEFERRED_MAX];
    size_t count;
    bool held, ended;
    enum err outcome;
    pthread_t id;
} finisher = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void finish(struct call *call, enum err e)
{
    buf_printf(&call->out, "{\"finished\":\"%s\"}", call->path);
    call_reply(call, 201);
    call_reply_header(call, "Location", arena_printf(&call->arena, "%s/1", call->path));
    call_finish(call, e);
}

static void *finisher_main(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&finisher.mutex);
    while (!finisher.ended || finisher.count > 0) {
        if (finisher.count == 0 || (finisher.held && !finisher.ended)) {
            pthread_cond_wait(&finisher.changed, &finisher.mutex);
            continue;
        }
        struct call *call = finisher.calls[--finisher.count];
        pthread_cond_broadcast(&finisher.changed);
        enum err e = finisher.outcome;
        pthread_mutex_unlock(&finisher.mutex);
        finish(call, e);
        pthread_mutex_lock(&finisher.mutex);
    }
    pthread_mutex_unlock(&finisher.mutex);
    return NULL;
}

static void finisher_set(bool held, enum err outcome, bool ended)
{
    pthread_mutex_lock(&finisher.mutex);
    finisher.held = held;
    finisher.outcome = outcome;
    finisher.ended = ended;
    pthread_cond_broadcast(&finisher.changed);
    pthread_mutex_unlock(&finisher.mutex);
}

/* Waits until so many calls are deferred. */
static void finisher_await(size_t count)
{
    pthread_mutex_lock(&finisher.mutex);
    while (finisher.count < count)
        pthread_cond_wait(&finisher.changed, &finisher.mutex);
    pthread_mutex_unlock(&finisher.mutex);
}

/* A call that is left behind would be counted by the next test, which then believes that its own has arrived. */
static void finisher_empty(void)
{
    finisher_set(false, ERR_OK, false);
    pthread_mutex_lock(&finisher.mutex);
    while (finisher.count > 0)
        pthread_cond_wait(&finisher.changed, &finisher.mutex);
    pthread_mutex_unlock(&finisher.mutex);
}

static int finisher_start(void **state)
{
    (void)state;
    return pthread_create(&finisher.id, NULL, finisher_main, NULL);
}

static int finisher_stop(void **state)
{
    (void)state;
    finisher_set(false, ERR_OK, true);
    return pthread_join(finisher.id, NULL);
}

/* ---- handlers ---- */

static enum err hello(struct call *call)
{
    buf_str(&call->out, "{\"hello\":\"world\"}");
    call_reply(call, 200);
    return ERR_OK;
}

static enum err echo(struct call *call)
{
    buf_append(&call->out, call->body.data, call->body.len);
    call_reply(call, 200);
    return ERR_OK;
}

static enum err big(struct call *call)
{
    for (int i = 0; i < 64 * 1024; i++)
        buf_str(&call->out, "0123456789abcdef");
    call_reply(call, 200);
    return ERR_OK;
}

static enum err nothing(struct call *call)
{
    call_reply(call, 204);
    return ERR_OK;
}

static enum err later(struct call *call)
{
    call_defer(call);
    pthread_mutex_lock(&finisher.mutex);
    assert_true(finisher.count < DEFERRED_MAX);
    finisher.calls[finisher.count++] = call;
    pthread_cond_broadcast(&finisher.changed);
    pthread_mutex_unlock(&finisher.mutex);
    return ERR_OK;
}

static enum err at_once(struct call *call)
{
    call_defer(call);
    finish(call, ERR_OK);
    return ERR_OK;
}

/* What the frame found out, for tests to look at. */
static enum err told(struct call *call)
{
    struct json_out o = json_out(&call->out);
    json_open(&o, NULL, '{');
    json_put_text(&o, "path", call->path);
    json_put_str(&o, "query", call->query);
    json_put_str(&o, "first", call->params[0]);
    json_put_str(&o, "second", call->params[1]);
    json_put_text(&o, "key", call->idempotency_key);
    json_put_bool(&o, "async", call->prefer_async);
    json_put_int(&o, "wait", call->wait_ms);
    json_put_bool(&o, "csv", call->wants_csv);
    json_put_int(&o, "customer", call->claims.customer_id);
    json_put_text(&o, "peer", call->peer);
    json_put_text(&o, "client", call->client);
    json_put_text(&o, "trace", call->trace.trace_id);
    json_put_text(&o, "role", call_header(call, "x-role"));
    json_put_text(&o, "agent", call_header(call, "USER-AGENT"));
    json_put_bool(&o, "local", call_local(call) == call_loop(call));
    json_close(&o, '}');
    call_reply(call, 200);
    return ERR_OK;
}

static enum err uuid_only(struct call *call)
{
    struct uuid id;
    enum err e = call_param_uuid(call, 0, &id);
    if (e == ERR_OK)
        call_reply(call, 204);
    return e;
}

struct numbers {
    int64_t a, b;
};
static const struct field NUMBERS[] = {
    {.name = "a", .kind = FIELD_INT, .offset = offsetof(struct numbers, a), .flags = FIELD_REQUIRED, .max = 9},
    {.name = "b", .kind = FIELD_INT, .offset = offsetof(struct numbers, b), .flags = FIELD_REQUIRED, .max = 9},
    FIELD_END,
};

static enum err sum(struct call *call)
{
    struct numbers n = {0};
    enum err e = call->method == HTTP_POST ? call_body(call, NUMBERS, &n) : call_query(call, NUMBERS, &n);
    if (e != ERR_OK)
        return e;
    buf_printf(&call->out, "{\"sum\":%d}", (int)(n.a + n.b));
    call_reply_header(call, "Cache-Control", "max-age=60");
    call_reply(call, 200);
    return ERR_OK;
}

static enum err poor(struct call *call)
{
    struct json_out o = call_problem(call);
    json_put_text(&o, "assetName", "TRY");
    o = call_problem(call);
    json_put_int(&o, "required", 7);
    buf_str(&call->out, "half an answer");
    call_reply(call, 200);
    return fault_set(&call->fault, ERR_INSUFFICIENT, "7 TRY are needed, 3 are usable");
}

static enum err broken(struct call *call)
{
    buf_str(&call->log_members, ",\"upstream\":\"none\"");
    return fault_set(&call->fault, ERR_DB, "connect as \"secret\": refused");
}

static enum err limited(struct call *call)
{
    call->retry_after_s = 7;
    return ERR_RATE_LIMITED;
}

static enum err silent(struct call *call)
{
    (void)call;
    return ERR_OK;
}

static const struct http_route ROUTES[] = {
    {HTTP_GET, "/hello", WHO_ANYONE, hello, 0},
    {HTTP_POST, "/echo", WHO_ANYONE, echo, 0},
    {HTTP_POST, "/maybe", WHO_ANYONE, echo, ROUTE_OPTIONAL_BODY},
    {HTTP_POST, "/bodiless", WHO_ANYONE, nothing, ROUTE_NO_BODY},
    {HTTP_GET, "/big", WHO_ANYONE, big, 0},
    {HTTP_DELETE, "/thing", WHO_ANYONE, nothing, 0},
    {HTTP_GET, "/later", WHO_ANYONE, later, 0},
    {HTTP_POST, "/later", WHO_ANYONE, later, 0},
    {HTTP_GET, "/at-once", WHO_ANYONE, at_once, 0},
    {HTTP_GET, "/told", WHO_ANYONE, told, ROUTE_CSV},
    {HTTP_POST, "/told", WHO_ANYONE, told, ROUTE_IDEMPOTENT},
    {HTTP_GET, "/told/{a}/{b}", WHO_ANYONE, told, 0},
    {HTTP_GET, "/uuid/{id}", WHO_ANYONE, uuid_only, 0},
    {HTTP_GET, "/sum", WHO_ANYONE, sum, 0},
    {HTTP_POST, "/sum", WHO_ANYONE, sum, 0},
    {HTTP_GET, "/poor", WHO_ANYONE, poor, 0},
    {HTTP_GET, "/broken", WHO_ANYONE, broken, 0},
    {HTTP_GET, "/limited", WHO_ANYONE, limited, 0},
    {HTTP_GET, "/silent", WHO_ANYONE, silent, 0},
    {.path = NULL},
};

static const struct http_route GUARDED[] = {
    {HTTP_GET, "/mine", WHO_USER, told, 0},
    {HTTP_POST, "/mine", WHO_USER, told, 0},
    {HTTP_GET, "/admins", WHO_ADMIN, told, 0},
    {HTTP_GET, "/newcomers", WHO_SIGNED_IN, told, 0},
    {.path = NULL},
};

/* ---- the server ---- */

struct rig {
    struct http_server *server;
    struct log *log;
    int log_fd;
    struct metrics *metrics;
    int port;
};

static void *thread_start(void *app, struct loop *loop)
{
    (void)app;
    return loop;
}

static struct http_server_conf conf_of(struct rig *r)
{
    r->log_fd = memfd_create("log", MFD_CLOEXEC);
    r->log = log_open("test", LOG_INFO, r->log_fd);
    r->metrics = metrics_new();
    return (struct http_server_conf){
        .listen = "127.0.0.1:0",
        .threads = 2,
        .routes = ROUTES,
        .log = r->log,
        .metrics = r->metrics,
        .access_log = true,
        .thread_start = thread_start,
    };
}

static void rig_start(struct rig *r, const struct http_server_conf *conf, const struct http_limits *limits)
{
    struct fault fault = {0};
    if (http_server_open_with(conf, limits, &r->server, &fault) != ERR_OK)
        fail_msg("%s", fault.why);
    r->port = http_server_port(r->server);
}

static const struct http_limits PATIENT = {
    .header_ms = 20000, .body_ms = 20000, .idle_ms = 20000, .answer_ms = 20000, .linger_ms = 100};

static void rig_open(struct rig *r)
{
    struct http_server_conf conf = conf_of(r);
    rig_start(r, &conf, &PATIENT);
}

static void rig_close(struct rig *r)
{
    http_server_close(r->server);
    log_close(r->log);
    close(r->log_fd);
    metrics_free(r->metrics);
}

/* ---- the client ---- */

struct client {
    int fd;
    char *data; /* what has come, of which the first `used` bytes were the last reply */
    size_t len, used;
};
struct reply {
    int status;
    const char *head; /* up to the empty line, NUL-terminated */
    struct str body;
};

static int dial(int port)
{
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in addr = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {.tv_sec = PATIENCE_S};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, (struct sockaddr *)&addr, sizeof addr) == 0)
        return fd;
    close(fd);
    return -1;
}

static void client_open(struct client *c, int port)
{
    *c = (struct client){.fd = dial(port), .data = malloc(REPLY_MAX)};
    assert_true(c->fd >= 0);
}

static void client_close(struct client *c)
{
    close(c->fd);
    free(c->data);
}

static void say(struct client *c, const char *text)
{
    size_t len = strlen(text);
    assert_int_equal(send(c->fd, text, len, MSG_NOSIGNAL), len);
}

/* More bytes; false when the server has closed. */
static bool listen_to(struct client *c)
{
    ssize_t n = recv(c->fd, c->data + c->len, REPLY_MAX - 1 - c->len, 0);
    if (n < 0 && errno != ECONNRESET)
        fail_msg("recv: %s", strerror(errno));
    if (n > 0)
        c->len += (size_t)n;
    c->data[c->len] = '\0';
    return n > 0;
}

static size_t body_length(const char *head)
{
    const char *length = strcasestr(head, "\r\nContent-Length: ");
    return length == NULL ? 0 : strtoul(length + 18, NULL, 10);
}

/* The next reply on the connection. `bodiless`: it answers a HEAD. False: closed before it was whole. */
static bool hear_as(struct client *c, bool bodiless, struct reply *ret)
{
    char *end;
    c->len -= c->used;
    memmove(c->data, c->data + c->used, c->len);
    c->data[c->len] = '\0';
    c->used = 0;
    while ((end = strstr(c->data, "\r\n\r\n")) == NULL)
        if (!listen_to(c))
            return false;
    end[2] = '\0';
    size_t head = (size_t)(end - c->data) + 4, body = bodiless ? 0 : body_length(c->data);
    while (c->len < head + body)
        if (!listen_to(c))
            return false;
    ret->status = atoi(c->data + strlen("HTTP/1.1 "));
    ret->head = c->data;
    ret->body = (struct str){c->data + head, body};
    c->used = head + body;
    return true;
}

static struct reply hear(struct client *c)
{
    struct reply r;
    if (!hear_as(c, false, &r))
        fail_msg("closed instead of an answer");
    return r;
}

static bool is_closed(struct client *c)
{
    return c->len == c->used && !listen_to(c);
}

static bool body_has(const struct reply *r, const char *text)
{
    return memmem(r->body.data, r->body.len, text, strlen(text)) != NULL;
}

/* One request on a connection of its own. */
static struct reply ask(struct client *c, int port, const char *request)
{
    client_open(c, port);
    say(c, request);
    return hear(c);
}

/* What has been logged so far, after the server's threads have ended. */
static char *logged(struct rig *r)
{
    struct stat st;
    fstat(r->log_fd, &st);
    char *text = calloc(1, (size_t)st.st_size + 1);
    assert_int_equal(pread(r->log_fd, text, (size_t)st.st_size, 0), st.st_size);
    return text;
}

#define HOST "Host: a\r\n"
#define JSON "Content-Type: application/json\r\n"
#define END "\r\n"

/* ---- what is refused ---- */

static void what_is_no_clean_http_gets_a_problem_and_is_closed(void **state)
{
    (void)state;
    static const struct {
        const char *request;
        int status;
        const char *why;
    } ROWS[] = {
        {"GET /hello HTTP/1.1\r\n" END, 400, "no host"},
        {"GET /hello HTTP/1.1\r\n" HOST HOST END, 400, "two hosts"},
        {"GET /hello HTTP/1.1\n" HOST END, 400, "bare LF"},
        {"GET /hello HTTP/1.1\r\n" HOST "a: b\r\n c\r\n" END, 400, "a folded value"},
        {"GET /hello HTTP/1.1\r\n" HOST "X-Use: admin\r\n r-Id: 1\r\n" END, 400, "a folded name"},
        {"POST /echo HTTP/1.1\r\n" HOST JSON "Content-Lengt: 3\r\n h: 2\r\n" END "{}", 400, "a folded framing header"},
        {"GET  /hello HTTP/1.1\r\n" HOST END, 400, "two blanks"},
        {"GET /hel lo HTTP/1.1\r\n" HOST END, 400, "a blank in the target"},
        {"GET /hello HTTP/1.9\r\n" HOST END, 400, "no such version"},
        {"GET /hello%00 HTTP/1.1\r\n" HOST END, 400, "encoded NUL"},
        {"GET /x/..%2fhello HTTP/1.1\r\n" HOST END, 400, "encoded slash"},
        {"GET /x/../hello HTTP/1.1\r\n" HOST END, 400, "dot segment"},
        {"GET //hello HTTP/1.1\r\n" HOST END, 400, "empty segment"},
        {"GET http://a/hello HTTP/1.1\r\n" HOST END, 400, "absolute form"},
        {"CONNECT a:80 HTTP/1.1\r\n" HOST END, 400, "authority form"},
        {"OPTIONS * HTTP/1.1\r\n" HOST END, 400, "asterisk form"},
        {"TRACE /echo HTTP/1.1\r\n" HOST END, 405, "TRACE"},
        {"get /hello HTTP/1.1\r\n" HOST END, 405, "a method in lower case"},
        {"BREW /nowhere HTTP/1.1\r\n" HOST END, 404, "no method at all"},
        {"GET /hello/..;/x HTTP/1.1\r\n" HOST END, 400, "a dot segment with a parameter"},
        {"GET /hello HTTP/1.1\r\n" HOST "a : b\r\n" END, 400, "a blank before the colon"},
        {"GET /hello HTTP/1.1\r\n" HOST "a: b\x01\r\n" END, 400, "a control byte"},
        {"POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n" END
         "2\r\n{}\r\n0\r\n\r\n",
         400, "two framings"},
        {"POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: 2\r\nContent-Length: 5\r\n" END "{}", 400, "two lengths"},
        {"POST /echo HTTP/1.1\r\n" HOST JSON "Transfer-Encoding: gzip, chunked\r\n" END, 400, "another coding"},
        {"POST /echo HTTP/1.1\r\n" HOST JSON "Transfer-Encoding: chunked \r\n" END, 400, "chunked and a blank"},
        {"GET /hello HTTP/1.1\r\n" HOST "Content-Length: 2\r\n" END "{}", 400, "a GET with a body"},
        {"POST /bodiless HTTP/1.1\r\n" HOST JSON "Content-Length: 2\r\n" END "{}", 400, "a body where none is taken"},
        {"POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: 65537\r\n" END, 413, "a byte too many, not yet sent"},
        {"POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: 1048576\r\nExpect: 100-continue\r\n" END, 413,
         "expecting"},
        {"POST /echo HTTP/1.1\r\n" HOST "Content-Length: 2\r\nExpect: 100-continue\r\n" END, 415,
         "refused before it is sent"},
    };
    struct rig rig;
    rig_open(&rig);
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        struct client c;
        struct reply r = ask(&c, rig.port, ROWS[i].request);
        ROW_CHECK(r.status == ROWS[i].status, ROWS[i].why);
        ROW_CHECK(strstr(r.head, "Content-Type: application/problem+json\r\n") != NULL, ROWS[i].why);
        ROW_CHECK(strstr(r.head, "Connection: close\r\n") != NULL && strstr(r.head, "X-Request-Id: ") != NULL,
                  ROWS[i].why);
        ROW_CHECK(body_has(&r, "\"traceId\":\""), ROWS[i].why);
        ROW_CHECK(is_closed(&c), ROWS[i].why);
        client_close(&c);
    }
    rig_close(&rig);
}

static void a_nul_in_a_value_is_refused(void **state)
{
    (void)state;
    static const char REQUEST[] = "GET /hello HTTP/1.1\r\n" HOST "a: b\0c\r\n" END;
    struct rig rig;
    struct client c;
    rig_open(&rig);
    client_open(&c, rig.port);
    assert_int_equal(send(c.fd, REQUEST, sizeof REQUEST - 1, 0), sizeof REQUEST - 1);
    struct reply r = hear(&c);
    assert_int_equal(r.status, 400);
    client_close(&c);
    rig_close(&rig);
}

static char *filled(const char *before, size_t count, const char *after)
{
    char *text = malloc(strlen(before) + count + strlen(after) + 1);
    strcpy(text, before);
    memset(text + strlen(before), 'a', count);
    strcpy(text + strlen(before) + count, after);
    return text;
}

static void heads_and_targets_have_a_maximum(void **state)
{
    (void)state;
    static const struct {
        const char *before;
        size_t count;
        const char *after;
        int status;
    } ROWS[] = {
        {"GET /hello?", 8000, " HTTP/1.1\r\n" HOST END, 200},
        {"GET /", 8192, " HTTP/1.1\r\n" HOST END, 414},
        {"GET /", 20000, " HTTP/1.1\r\n" HOST END, 414},
        {"GET /", 60000, " HTTP/1.1\r\n" HOST END, 414}, /* the library's own answer */
        {"GET /hello HTTP/1.1\r\n" HOST "x: ", 16000, "\r\n" END, 200},
        {"GET /hello HTTP/1.1\r\n" HOST "x: ", 16384, "\r\n" END, 431},
        {"GET /hello HTTP/1.1\r\n" HOST "x: ", 26000, "\r\n" END, 431},
        {"GET /hello HTTP/1.1\r\n" HOST "x: ", 60000, "\r\n" END, 431}, /* and here */
    };
    struct rig rig;
    rig_open(&rig);
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        struct client c;
        char *request = filled(ROWS[i].before, ROWS[i].count, ROWS[i].after);
        struct reply r = ask(&c, rig.port, request);
        ROW_CHECK(r.status == ROWS[i].status, ROWS[i].before);
        ROW_CHECK(r.status == 200 || is_closed(&c), ROWS[i].before);
        client_close(&c);
        free(request);
    }

    struct buf many;
    struct client c;
    buf_init(&many);
    buf_str(&many, "GET /hello HTTP/1.1\r\n" HOST);
    for (int i = 0; i < HTTP_HEADER_COUNT_MAX; i++)
        buf_printf(&many, "h%d: v\r\n", i);
    buf_str(&many, END);
    struct reply r = ask(&c, rig.port, buf_cstr(&many));
    assert_int_equal(r.status, 431);
    client_close(&c);
    buf_done(&many);
    rig_close(&rig);
}

static void a_body_beyond_the_maximum_is_refused_though_its_length_was_not_told(void **state)
{
    (void)state;
    struct rig rig;
    struct client c;
    rig_open(&rig);
    client_open(&c, rig.port);
    say(&c, "POST /echo HTTP/1.1\r\n" HOST JSON "Transfer-Encoding: chunked\r\n" END);
    char *chunk = filled("4000\r\n", 0x4000, "\r\n");
    for (int i = 0; i < 4; i++)
        say(&c, chunk);
    say(&c, "1\r\na");
    struct reply r = hear(&c);
    assert_int_equal(r.status, 413);
    assert_true(body_has(&r, "body_too_large"));
    assert_true(is_closed(&c));
    free(chunk);
    client_close(&c);
    rig_close(&rig);
}

static void a_body_of_a_mebibyte_gets_413_while_it_is_being_sent(void **state)
{
    (void)state;
    struct rig rig;
    struct client c;
    rig_open(&rig);
    client_open(&c, rig.port);
    say(&c, "POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: 1048576\r\n" END);
    char *chunk = filled("", 0x4000, "");
    for (int i = 0; i < 64; i++)
        if (send(c.fd, chunk, 0x4000, MSG_NOSIGNAL) < 0)
            break; /* it has hung up, which is its right */
    struct reply r = hear(&c);
    assert_int_equal(r.status, 413);
    free(chunk);
    client_close(&c);
    rig_close(&rig);
}

/* ---- what is answered with an error, on a connection that stays ---- */

static void errors_keep_the_connection_and_drop_the_body(void **state)
{
    (void)state;
    static const struct {
        const char *request;
        int status;
        const char *part; /* of head or body */
    } ROWS[] = {
        {"GET /nowhere HTTP/1.1\r\n" HOST END, 404, "\"type\":\"/problems/not-found\""},
        {"GET /hello/ HTTP/1.1\r\n" HOST END, 404, "\"instance\":\"/hello/\""},
        {"PUT /sum HTTP/1.1\r\n" HOST END, 405, "Allow: GET, POST, HEAD\r\n"},
        {"OPTIONS /echo HTTP/1.1\r\n" HOST END, 405, "Allow: POST\r\n"},
        {"POST /nowhere HTTP/1.1\r\n" HOST JSON "Content-Length: 10\r\n" END "GET /hello", 404, "not_found"},
        {"GET /hello HTTP/1.1\r\n" HOST "Accept: text/html\r\n" END, 406, "not_acceptable"},
        {"GET /hello HTTP/1.1\r\n" HOST "Accept: text/csv\r\n" END, 406, "not_acceptable"},
        {"POST /echo HTTP/1.1\r\n" HOST "Content-Length: 2\r\n" END "{}", 415, "unsupported_media_type"},
        {"POST /echo HTTP/1.1\r\n" HOST "Content-Type: text/plain\r\nContent-Length: 2\r\n" END "{}", 415,
         "Send application/json"},
        {"POST /echo HTTP/1.1\r\n" HOST JSON "Content-Encoding: gzip\r\nContent-Length: 2\r\n" END "{}", 415,
         "Accept-Encoding: identity\r\n"},
        {"POST /told HTTP/1.1\r\n" HOST "Idempotency-Key: short\r\n" END, 400, "Idempotency-Key must be"},
        {"GET /uuid/7 HTTP/1.1\r\n" HOST END, 404, "not_found"},
        {"GET /told/%ff/x HTTP/1.1\r\n" HOST END, 404, "not_found"},
        {"POST /sum HTTP/1.1\r\n" HOST JSON END, 400, "malformed_json"},
        {"POST /sum HTTP/1.1\r\n" HOST JSON "Content-Length: 5\r\n" END "{\"a\":", 400, "malformed_json"},
        {"POST /sum HTTP/1.1\r\n" HOST JSON "Content-Length: 14\r\n" END "{\"a\":77,\"c\":1}", 400,
         "\"pointer\":\"/b\""},
        {"GET /sum?a=1&a=2&b=1 HTTP/1.1\r\n" HOST END, 400, "\"errors\":[{\"pointer\":\"?a\""},
        {"GET /poor HTTP/1.1\r\n" HOST END, 422, "\"detail\":\"7 TRY are needed, 3 are usable\""},
        {"GET /poor HTTP/1.1\r\n" HOST END, 422, ",\"assetName\":\"TRY\",\"required\":7}"},
        {"GET /limited HTTP/1.1\r\n" HOST END, 429, "Retry-After: 7\r\n"},
        {"GET /broken HTTP/1.1\r\n" HOST END, 503, "Retry-After: 1\r\n"},
        {"GET /broken HTTP/1.1\r\n" HOST END, 503, "\"code\":\"unavailable\""},
        {"GET /silent HTTP/1.1\r\n" HOST END, 500, "\"code\":\"internal\""},
    };
    struct rig rig;
    struct client c;
    rig_open(&rig);
    client_open(&c, rig.port);
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        say(&c, ROWS[i].request);
        struct reply r = hear(&c);
        ROW_CHECK(r.status == ROWS[i].status, ROWS[i].request);
        ROW_CHECK(strstr(r.head, ROWS[i].part) != NULL || body_has(&r, ROWS[i].part), ROWS[i].request);
        ROW_CHECK(strstr(r.head, "application/problem+json") != NULL, ROWS[i].request);
        ROW_CHECK(!body_has(&r, "secret") && !body_has(&r, "half an answer"), ROWS[i].request);
    }
    say(&c, "GET /hello HTTP/1.1\r\n" HOST END);
    struct reply r = hear(&c);
    assert_int_equal(r.status, 200);
    client_close(&c);
    assert_int_equal(http_server_drain(rig.server, 1000), 0);
    char *text = logged(&rig);
    assert_non_null(strstr(text, "\\\"secret\\\"")); /* the reason is in the log, and only there */
    assert_non_null(strstr(text, "\"upstream\":\"none\""));
    free(text);
    rig_close(&rig);
}

/* ---- what is answered ---- */

static void requests_are_answered_with_the_common_headers(void **state)
{
    (void)state;
    static const struct {
        const char *request;
        int status;
        const char *part;
    } ROWS[] = {
        {"GET /hello HTTP/1.1\r\n" HOST END, 200, "{\"hello\":\"world\"}"},
        {"GET /hel%6Co?x HTTP/1.1\r\n" HOST END, 200, "Content-Type: application/json\r\n"},
        {"GET /hello HTTP/1.1\r\n" HOST END, 200, "Cache-Control: no-store\r\n"},
        {"GET /sum?a=1&b=2 HTTP/1.1\r\n" HOST END, 200, "Cache-Control: max-age=60\r\n"},
        {"POST /sum HTTP/1.1\r\n" HOST JSON "Content-Length: 13\r\n" END "{\"a\":4,\"b\":5}", 200, "{\"sum\":9}"},
        {"POST /echo HTTP/1.1\r\n" HOST JSON "Transfer-Encoding: chunked\r\n" END
         "2\r\n[1\r\n3;x=y\r\n,2]\r\n0\r\n\r\n",
         200, "[1,2]"},
        {"POST /maybe HTTP/1.1\r\n" HOST END, 200, "Content-Length: 0\r\n"},
        {"POST /bodiless HTTP/1.1\r\n" HOST "Content-Length: 0\r\n" END, 204, "X-Request-Id: "},
        {"DELETE /thing HTTP/1.1\r\n" HOST END, 204, "X-Content-Type-Options: nosniff\r\n"},
        {"GET /uuid/0191e0a4-7c1a-7000-8000-000000000001 HTTP/1.1\r\n" HOST END, 204, "X-Request-Id: "},
        {"GET /told/a%20b/c%C3%A9?q=%20 HTTP/1.1\r\n" HOST END, 200,
         "\"query\":\"q=%20\",\"first\":\"a b\",\"second\":\"c\xc3\xa9\""},
        {"GET /told HTTP/1.1\r\n" HOST "X-Role: ADMIN\r\nUser-Agent: me\r\n" END, 200,
         "\"role\":null,\"agent\":\"me\",\"local\":true"},
        {"GET /told HTTP/1.1\r\n" HOST END, 200, "\"csv\":false,\"customer\":0,\"peer\":\"127.0.0.1\""},
        {"GET /told HTTP/1.1\r\n" HOST "Accept: text/csv\r\n" END, 200, "\"csv\":true"},
        {"GET /told HTTP/1.1\r\n" HOST "Idempotency-Key: 1\r\n" END, 200, "\"key\":null,\"async\":false,\"wait\":3000"},
        {"POST /told HTTP/1.1\r\n" HOST "Idempotency-Key: \"12345678\"\r\nPrefer: wait=1\r\n" END, 200,
         "\"key\":\"12345678\",\"async\":false,\"wait\":1000"},
        {"POST /told HTTP/1.1\r\n" HOST "Prefer: respond-async\r\n" END, 200, "\"async\":true,\"wait\":0"},
        {"POST /told HTTP/1.1\r\n" HOST "X-Request-Deadline-Ms: 1500\r\n" END, 200, "\"wait\":1000"},
        {"POST /told HTTP/1.1\r\n" HOST "X-Request-Deadline-Ms: 100\r\n" END, 200, "\"wait\":0"},
        {"GET /told HTTP/1.1\r\n" HOST "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n" END,
         200, "\"trace\":\"0af7651916cd43dd8448eb211c80319c\""},
        {"GET /at-once HTTP/1.1\r\n" HOST END, 201, "Location: /at-once/1\r\n"},
        {"GET /later HTTP/1.1\r\n" HOST END, 201, "{\"finished\":\"/later\"}"},
    };
    struct rig rig;
    struct client c;
    rig_open(&rig);
    client_open(&c, rig.port);
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        say(&c, ROWS[i].request);
        struct reply r = hear(&c);
        ROW_CHECK(r.status == ROWS[i].status, ROWS[i].request);
        ROW_CHECK(strstr(r.head, ROWS[i].part) != NULL || body_has(&r, ROWS[i].part), ROWS[i].request);
        ROW_CHECK(strstr(r.head, "Server:") == NULL && strstr(r.head, "Connection:") == NULL, ROWS[i].request);
        ROW_CHECK(r.status != 204 || strstr(r.head, "Content-") == strstr(r.head, "Content-Type-Options"),
                  ROWS[i].request);
    }
    client_close(&c);
    rig_close(&rig);
}

static void head_is_answered_as_get_without_the_body(void **state)
{
    (void)state;
    struct rig rig;
    struct client c;
    struct reply r;
    rig_open(&rig);
    client_open(&c, rig.port);
    say(&c, "HEAD /hello HTTP/1.1\r\n" HOST END "GET /hello HTTP/1.1\r\n" HOST END);
    assert_true(hear_as(&c, true, &r));
    assert_int_equal(r.status, 200);
    assert_non_null(strstr(r.head, "Content-Length: 17\r\n"));
    r = hear(&c);
    assert_true(body_has(&r, "world"));
    client_close(&c);
    rig_close(&rig);
}

static void expect_100_is_answered_before_the_body(void **state)
{
    (void)state;
    struct rig rig;
    struct client c;
    rig_open(&rig);
    struct reply r = ask(&c, rig.port,
                         "POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: 2\r\nExpect: 100-continue\r\n" END);
    assert_int_equal(r.status, 100);
    say(&c, "{}");
    r = hear(&c);
    assert_int_equal(r.status, 200);
    client_close(&c);
    rig_close(&rig);
}

static void a_request_may_come_byte_by_byte(void **state)
{
    (void)state;
    static const char REQUEST[] = "POST /echo HTTP/1.1\r\n" HOST JSON "Transfer-Encoding: chunked\r\n" END
                                  "5\r\n[1,2]\r\n0\r\n\r\n";
    struct rig rig;
    struct client c;
    rig_open(&rig);
    client_open(&c, rig.port);
    for (const char *byte = REQUEST; *byte != '\0'; byte++)
        assert_int_equal(send(c.fd, byte, 1, 0), 1);
    struct reply r = hear(&c);
    assert_int_equal(r.status, 200);
    assert_true(str_eq(r.body, "[1,2]"));
    client_close(&c);
    rig_close(&rig);
}

static void pipelined_requests_are_answered_in_their_order(void **state)
{
    (void)state;
    struct rig rig;
    struct client c;
    rig_open(&rig);
    client_open(&c, rig.port);
    for (int i = 0; i < 20; i++)
        say(&c, "GET /later HTTP/1.1\r\n" HOST END "POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: 3\r\n" END "[1]"
                "GET /nowhere HTTP/1.1\r\n" HOST END "GET /hello HTTP/1.1\r\n" HOST END);
    for (int i = 0; i < 80; i++) {
        static const int STATUSES[] = {201, 200, 404, 200};
        struct reply r = hear(&c);
        assert_int_equal(r.status, STATUSES[i % 4]);
    }
    client_close(&c);
    rig_close(&rig);
}

static void a_large_answer_comes_whole(void **state)
{
    (void)state;
    struct rig rig;
    struct client c;
    rig_open(&rig);
    struct reply r = ask(&c, rig.port, "GET /big HTTP/1.1\r\n" HOST END);
    assert_int_equal(r.body.len, 1024 * 1024);
    assert_memory_equal(r.body.data + r.body.len - 16, "0123456789abcdef", 16);
    client_close(&c);
    rig_close(&rig);
}

static void http_1_0_is_answered_and_closed(void **state)
{
    (void)state;
    struct rig rig;
    struct client c;
    rig_open(&rig);
    struct reply r = ask(&c, rig.port, "GET /hello HTTP/1.0\r\n" END);
    assert_int_equal(r.status, 200);
    assert_true(is_closed(&c));
    client_close(&c);
    rig_close(&rig);
}

static void a_request_id_is_taken_only_where_it_is_trusted(void **state)
{
    (void)state;
    static const char GOOD[] = "GET /hello HTTP/1.1\r\n" HOST "X-Request-Id: from-the-gateway\r\n" END;
    static const char BAD[] = "GET /hello HTTP/1.1\r\n" HOST "X-Request-Id: bad id\r\n" END;
    for (int trusts = 0; trusts <= 1; trusts++) {
        struct rig rig;
        struct client c;
        struct http_server_conf conf = conf_of(&rig);
        conf.trust_request_id = trusts;
        rig_start(&rig, &conf, &PATIENT);
        struct reply r = ask(&c, rig.port, GOOD);
        assert_int_equal(strstr(r.head, "X-Request-Id: from-the-gateway\r\n") != NULL, trusts);
        say(&c, BAD);
        r = hear(&c);
        assert_null(strstr(r.head, "bad id"));
        client_close(&c);
        rig_close(&rig);
    }
}

/* Two requests on one connection: what the first one's proxy said must not stick. */
static void a_client_s_address_is_taken_only_from_trusted_proxies(void **state)
{
    (void)state;
    static const char SAYS[] = "GET /told HTTP/1.1\r\n" HOST
                               "X-Forwarded-For: 198.51.100.1\r\nX-Forwarded-For: 203.0.113.9\r\n" END;
    struct networks trusted;
    assert_int_equal(networks_parse("127.0.0.0/8", &trusted, NULL), ERR_OK);
    for (int trusts = 0; trusts <= 1; trusts++) {
        struct rig rig;
        struct client c;
        struct http_server_conf conf = conf_of(&rig);
        conf.trusted_proxies = trusts ? &trusted : NULL;
        rig_start(&rig, &conf, &PATIENT);
        struct reply r = ask(&c, rig.port, SAYS);
        assert_true(body_has(&r, trusts ? "\"peer\":\"127.0.0.1\",\"client\":\"203.0.113.9\""
                                        : "\"peer\":\"127.0.0.1\",\"client\":\"127.0.0.1\""));
        say(&c, "GET /told HTTP/1.1\r\n" HOST END);
        r = hear(&c);
        assert_true(body_has(&r, "\"client\":\"127.0.0.1\""));
        client_close(&c);
        rig_close(&rig);
    }
}

static void each_request_leaves_a_log_line_and_a_count(void **state)
{
    (void)state;
    struct rig rig;
    struct client c;
    rig_open(&rig);
    client_open(&c, rig.port);
    say(&c, "GET /told/a/b?token=hidden HTTP/1.1\r\n" HOST END "GET /no%20where HTTP/1.1\r\n" HOST END);
    (void)hear(&c);
    (void)hear(&c);
    client_close(&c);
    struct reply r = ask(&c, rig.port, "GET /\" HTTP/1.1\r\n" HOST END);
    assert_int_equal(r.status, 400);
    client_close(&c);
    assert_int_equal(http_server_drain(rig.server, 1000), 0);

    char *text = logged(&rig);
    assert_non_null(strstr(
        text, "\"method\":\"GET\",\"route\":\"/told/{a}/{b}\",\"path\":\"/told/a/b\",\"status\":200,\"bytes\":"));
    assert_non_null(
        strstr(text, "\"route\":null,\"path\":\"/no%20where\",\"status\":404,\"code\":\"not_found\",\"bytes\":"));
    assert_non_null(strstr(text, "\"path\":\"/\\\"\",\"status\":400"));
    assert_non_null(strstr(text, "\"peer\":\"127.0.0.1\""));
    assert_null(strstr(text, "hidden"));
    free(text);

    struct buf out;
    buf_init(&out);
    metrics_render(rig.metrics, &out);
    assert_non_null(
        strstr(out.data, "http_server_requests_total{route=\"/told/{a}/{b}\",method=\"GET\",status=\"200\"} 1\n"));
    assert_non_null(strstr(out.data, "http_server_requests_total{route=\"none\",method=\"any\",status=\"404\"} 1\n"));
    assert_non_null(strstr(
        out.data, "http_server_request_duration_seconds_count{route=\"none\",method=\"any\",status=\"4xx\"} 2\n"));
    buf_done(&out);
    rig_close(&rig);
}

/* ---- tokens ---- */

static char keys_dir[] = "/tmp/test_http_XXXXXX";

static void PRINTF_LIKE(1, 2) run(const char *fmt, ...)
{
    char command[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(command, sizeof command, fmt, args);
    va_end(args);
    if (system(command) != 0)
        fail_msg("failed: %s", command);
}

/* A public key in DER ends with its point: 32 bytes of x, then of y. */
static void write_jwks(const char *der_path, const char *jwks_path)
{
    unsigned char der[256];
    char x[64], y[64];
    FILE *in = fopen(der_path, "rb"), *out = fopen(jwks_path, "w");
    size_t len = fread(der, 1, sizeof der, in);
    str_base64url_encode(der + len - 64, 32, x);
    str_base64url_encode(der + len - 32, 32, y);
    fprintf(out,
            "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"k1\",\"alg\":\"ES256\",\"use\":\"sig\",\"x\":\"%"
            "s\",\"y\":\"%s\"}]}",
            x, y);
    fclose(in);
    fclose(out);
}

static char *token_for(struct token_signer *signer, int64_t customer, enum token_role role, struct arena *arena)
{
    int64_t now = clock_now_us() / US_PER_S;
    struct token_claims claims = {
        .customer_id = customer, .role = role, .sid = uuid_v7(), .iat = now, .exp = now + TOKEN_LIFE_S};
    struct fault fault = {0};
    char *token;
    if (token_sign(signer, &claims, arena, &token, &fault) != ERR_OK)
        fail_msg("%s", fault.why);
    return token;
}

static void guarded_routes_want_a_token_and_its_role(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(keys_dir));
    run("cd %s && mkdir keys && openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out keys/k1.pem "
        "2>/dev/null"
        " && touch -d '1 hour ago' keys/k1.pem && chmod 600 keys/k1.pem && openssl pkey -in keys/k1.pem -pubout "
        "-outform DER -out k1.der",
        keys_dir);
    char der[64], jwks[64], keys[64];
    snprintf(der, sizeof der, "%s/k1.der", keys_dir);
    snprintf(jwks, sizeof jwks, "%s/jwks.json", keys_dir);
    snprintf(keys, sizeof keys, "%s/keys", keys_dir);
    write_jwks(der, jwks);

    struct fault fault = {0};
    struct token_signer *signer;
    struct arena arena;
    struct rig rig;
    struct http_server_conf conf = conf_of(&rig);
    arena_init(&arena);
    if (token_signer_open(keys, &signer, &fault) != ERR_OK ||
        token_verifier_open(jwks, 64, &conf.verifier, &fault) != ERR_OK)
        fail_msg("%s", fault.why);
    const char *customer = token_for(signer, 42, ROLE_CUSTOMER, &arena),
               *admin = token_for(signer, 1, ROLE_ADMIN, &arena),
               *newcomer = token_for(signer, 2, ROLE_NEWCOMER, &arena);
    conf.routes = GUARDED;
    rig_start(&rig, &conf, &PATIENT);

    const struct {
        const char *path, *scheme, *token;
        int status;
        const char *part;
    } ROWS[] = {
        {"/mine", NULL, NULL, 401, "WWW-Authenticate: Bearer realm=\"brokerage\"\r\n"},
        {"/mine", "Basic ", "eDp5", 401, "WWW-Authenticate: Bearer realm=\"brokerage\", error=\"invalid_token\"\r\n"},
        {"/mine", "Bearer ", "a.b.c", 401, "error=\"invalid_token\"\r\n"},
        {"/mine", "Bearer", "", 401, "error=\"invalid_token\"\r\n"},
        {"/admins", NULL, NULL, 401, "unauthenticated"},
        {"/admins", "Bearer ", customer, 403, "\"code\":\"forbidden\""},
        {"/admins", "Bearer ", admin, 200, "\"customer\":1,"},
        {"/admins", "Bearer ", newcomer, 403, "\"code\":\"password_change_required\""},
        {"/mine", "Bearer ", newcomer, 403, "\"code\":\"password_change_required\""},
        {"/newcomers", "Bearer ", newcomer, 200, "\"customer\":2,"},
        {"/newcomers", "Bearer ", customer, 200, "\"customer\":42,"},
        {"/newcomers", NULL, NULL, 401, "unauthenticated"},
        {"/mine", "bearer  ", customer, 200, "\"customer\":42,"},
        {"/nowhere", NULL, NULL, 404, "not_found"},
    };
    struct client c;
    client_open(&c, rig.port);
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        char request[2048];
        snprintf(request, sizeof request, "GET %s HTTP/1.1\r\n" HOST "%s%s%s%s" END, ROWS[i].path,
                 ROWS[i].scheme == NULL ? "" : "Authorization: ", ROWS[i].scheme == NULL ? "" : ROWS[i].scheme,
                 ROWS[i].scheme == NULL ? "" : ROWS[i].token, ROWS[i].scheme == NULL ? "" : "\r\n");
        say(&c, request);
        struct reply r = hear(&c);
        ROW_CHECK(r.status == ROWS[i].status, ROWS[i].part);
        ROW_CHECK(strstr(r.head, ROWS[i].part) != NULL || body_has(&r, ROWS[i].part), ROWS[i].part);
    }
    client_close(&c);
    struct reply r = ask(&c, rig.port, "POST /mine HTTP/1.1\r\n" HOST JSON "Content-Length: 9000000\r\n" END);
    assert_int_equal(r.status, 401); /* who he is comes first, but nine megabytes are not read for that */
    assert_true(is_closed(&c));
    client_close(&c);

    assert_int_equal(http_server_drain(rig.server, 1000), 0);
    char *text = logged(&rig);
    assert_non_null(strstr(text, "\"customer_id\":42"));
    assert_null(strstr(text, "eyJ"));
    free(text);
    rig_close(&rig);
    token_signer_close(signer);
    token_verifier_close(conf.verifier);
    arena_done(&arena);
    run("rm -r %s", keys_dir);
}

/* ---- slow clients ---- */

static const struct http_limits HASTY = {
    .header_ms = 150, .body_ms = 150, .idle_ms = 300, .answer_ms = 20000, .linger_ms = 50};

static void slow_clients_are_given_up_at_the_deadline(void **state)
{
    (void)state;
    static const struct {
        const char *request;
        int status; /* 0: closed without a word */
        const char *why;
    } ROWS[] = {
        {"", 0, "connected and says nothing"},
        {"GET /hel", 0, "half a request line"},
        {"GET /hello HTTP/1.1\r\n" HOST "a: ", 408, "half a head"},
        {"GET /hello HTTP/1.1\r\n", 408, "only a request line"},
        {"POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: 10\r\n" END "{", 408, "half a body"},
        {"POST /echo HTTP/1.1\r\n" HOST JSON "Transfer-Encoding: chunked\r\n" END "5\r\n", 408, "half a chunk"},
    };
    struct rig rig;
    struct http_server_conf conf = conf_of(&rig);
    rig_start(&rig, &conf, &HASTY);
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        struct client c;
        mono_ns_t begin = clock_mono_ns();
        client_open(&c, rig.port);
        if (ROWS[i].request[0] != '\0')
            say(&c, ROWS[i].request);
        if (ROWS[i].status != 0) {
            struct reply r = hear(&c);
            ROW_CHECK(r.status == ROWS[i].status && body_has(&r, "request_timeout"), ROWS[i].why);
        }
        ROW_CHECK(is_closed(&c), ROWS[i].why);
        ROW_CHECK(clock_mono_ns() - begin >= 149 * NS_PER_MS, ROWS[i].why);
        client_close(&c);
    }
    rig_close(&rig);
}

static void a_client_that_drips_its_head_is_given_up_all_the_same(void **state)
{
    (void)state;
    struct rig rig;
    struct client c;
    struct http_server_conf conf = conf_of(&rig);
    rig_start(&rig, &conf, &HASTY);
    client_open(&c, rig.port);
    say(&c, "GET /hello HTTP/1.1\r\n" HOST);
    struct timeval drop = {.tv_usec = 20000};
    setsockopt(c.fd, SOL_SOCKET, SO_RCVTIMEO, &drop, sizeof drop);
    mono_ns_t begin = clock_mono_ns();
    char byte;
    ssize_t n;
    while ((n = recv(c.fd, &byte, 1, MSG_PEEK)) < 0 && errno == EAGAIN &&
           clock_mono_ns() - begin < PATIENCE_S * NS_PER_S)
        (void)send(c.fd, "x", 1, MSG_NOSIGNAL);
    assert_true(clock_mono_ns() - begin < PATIENCE_S * NS_PER_S);
    client_close(&c);
    rig_close(&rig);
}

/* A body that comes at the pace that is asked for is waited for, however long it takes; the time above does not count then. */
static void a_body_that_keeps_the_pace_is_taken(void **state)
{
    (void)state;
    enum { CHUNK = 128, CHUNKS = 8 };
    char text[CHUNK + 1];
    struct rig rig;
    struct client c;
    struct http_server_conf conf = conf_of(&rig);
    rig_start(&rig, &conf, &HASTY);
    memset(text, 'x', CHUNK);
    text[CHUNK] = '\0';
    client_open(&c, rig.port);
    mono_ns_t begin = clock_mono_ns();
    say(&c, "POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: 1024\r\n" END);
    for (int i = 0; i < CHUNKS; i++) {
        say(&c, text);
        while (clock_mono_ns() - begin < (i + 1) * 80 * NS_PER_MS)
            usleep(1000);
    }
    assert_true(clock_mono_ns() - begin > (HASTY.header_ms + HASTY.body_ms) * NS_PER_MS);
    struct reply r = hear(&c);
    assert_int_equal(r.status, 200);
    client_close(&c);
    rig_close(&rig);
}

static bool has_logged(struct rig *r, const char *words)
{
    char *text = logged(r);
    bool has = strstr(text, words) != NULL;
    free(text);
    return has;
}

static void a_client_that_does_not_fetch_its_answer_is_given_up(void **state)
{
    (void)state;
    struct http_limits limits = HASTY;
    struct rig rig;
    struct client c;
    struct http_server_conf conf = conf_of(&rig);
    conf.threads = 1;
    limits.answer_ms = 200;
    rig_start(&rig, &conf, &limits);
    client_open(&c, rig.port);
    int small = 4096;
    setsockopt(c.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    for (int i = 0; i < 8; i++) /* more than the kernel keeps for him */
        say(&c, "GET /big HTTP/1.1\r\n" HOST END);
    /* Between two of them none is in flight for a moment: the log says which one was given up. */
    for (int i = 0; i < PATIENCE_S * 100 && !has_logged(&rig, "\"status\":499"); i++)
        usleep(10000);
    assert_true(has_logged(&rig, "\"status\":499"));
    for (int i = 0; i < PATIENCE_S * 100 && http_calls_in_flight(rig.server) > 0; i++)
        usleep(10000);
    client_close(&c);
    assert_int_equal(http_server_drain(rig.server, 0), 0);
    rig_close(&rig);
}

static void a_connection_is_closed_after_so_many_requests(void **state)
{
    (void)state;
    struct rig rig;
    struct client c;
    struct http_server_conf conf = conf_of(&rig);
    conf.requests_max = 3;
    rig_start(&rig, &conf, &PATIENT);
    client_open(&c, rig.port);
    for (int i = 1; i <= conf.requests_max; i++) {
        say(&c, "GET /hello HTTP/1.1\r\n" HOST END);
        struct reply r = hear(&c);
        assert_int_equal(r.status, 200);
        assert_int_equal(strstr(r.head, "Connection: close") != NULL, i == conf.requests_max);
    }
    assert_true(is_closed(&c));
    client_close(&c);
    rig_close(&rig);
}

static void an_idle_connection_is_closed_and_a_deferred_call_is_not(void **state)
{
    (void)state;
    struct rig rig;
    struct client idle, waiting;
    struct http_server_conf conf = conf_of(&rig);
    rig_start(&rig, &conf, &HASTY);
    finisher_set(true, ERR_OK, false);
    client_open(&waiting, rig.port);
    say(&waiting, "GET /later HTTP/1.1\r\n" HOST END);
    finisher_await(1);
    (void)ask(&idle, rig.port, "GET /hello HTTP/1.1\r\n" HOST END);
    assert_true(is_closed(&idle)); /* after all of the limits but the answer's */
    client_close(&idle);
    finisher_set(false, ERR_OK, false);
    struct reply r = hear(&waiting);
    assert_int_equal(r.status, 201);
    client_close(&waiting);
    rig_close(&rig);
}

/* ---- deferred calls ---- */

static void many_deferred_calls_are_finished_by_another_thread(void **state)
{
    (void)state;
    enum { CLIENTS = 200, ROUNDS = 5 };
    static struct client clients[CLIENTS];
    struct rig rig;
    rig_open(&rig);
    for (int i = 0; i < CLIENTS; i++)
        client_open(&clients[i], rig.port);
    for (int round = 0; round < ROUNDS; round++) {
        finisher_set(true, ERR_OK, false);
        for (int i = 0; i < CLIENTS; i++)
            say(&clients[i], "POST /later HTTP/1.1\r\n" HOST JSON "Content-Length: 2\r\n" END "{}");
        finisher_await(CLIENTS);
        assert_int_equal(http_calls_in_flight(rig.server), CLIENTS);
        finisher_set(false, ERR_OK, false);
        for (int i = 0; i < CLIENTS; i++) {
            struct reply r = hear(&clients[i]);
            assert_int_equal(r.status, 201);
        }
    }
    for (int i = 0; i < CLIENTS; i++)
        client_close(&clients[i]);
    assert_int_equal(http_server_drain(rig.server, 1000), 0);
    assert_int_equal(http_calls_in_flight(rig.server), 0);
    rig_close(&rig);
}

static void a_deferred_call_may_end_as_a_problem(void **state)
{
    (void)state;
    struct rig rig;
    struct client c;
    rig_open(&rig);
    finisher_set(false, ERR_OUTCOME_UNKNOWN, false);
    struct reply r = ask(&c, rig.port, "GET /later HTTP/1.1\r\n" HOST END);
    assert_int_equal(r.status, 504);
    assert_true(body_has(&r, "\"code\":\"outcome_unknown\"") && !body_has(&r, "finished"));
    finisher_set(false, ERR_OK, false);
    client_close(&c);
    rig_close(&rig);
}

static void a_client_that_hangs_up_while_deferred_harms_nobody(void **state)
{
    (void)state;
    struct rig rig;
    struct client c;
    rig_open(&rig);
    finisher_set(true, ERR_OK, false);
    for (int i = 0; i < 20; i++) {
        client_open(&c, rig.port);
        say(&c, "GET /later HTTP/1.1\r\n" HOST END);
        finisher_await((size_t)i + 1);
        if (i % 2 == 0) {
            struct linger reset = {.l_onoff = 1};
            setsockopt(c.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        }
        client_close(&c);
    }
    finisher_set(false, ERR_OK, false);
    struct reply r = ask(&c, rig.port, "GET /hello HTTP/1.1\r\n" HOST END);
    assert_int_equal(r.status, 200);
    client_close(&c);
    assert_int_equal(http_server_drain(rig.server, PATIENCE_S * 1000), 0);
    rig_close(&rig);
}

static void no_number_of_connections_stalls_the_server(void **state)
{
    (void)state;
    enum { MOST = 1000, TIMED = 258, ROUNDS = 20, FILES = 2 * MOST + 100 };
    static const int COUNTS[] = {127, 128, 129, 256, TIMED, MOST};
    static struct client clients[MOST];
    struct rig rig;
    struct rlimit files;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
    files.rlim_cur = files.rlim_cur < FILES ? FILES : files.rlim_cur;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
    struct http_server_conf conf = conf_of(&rig);
    conf.threads = 1;
    conf.access_log = false;
    rig_start(&rig, &conf, &PATIENT);
    for (int i = 0; i < MOST; i++)
        client_open(&clients[i], rig.port);
    for (size_t n = 0; n < LENGTH_OF(COUNTS); n++) {
        mono_ns_t best = INT64_MAX;
        for (int round = 0; round < ROUNDS; round++) {
            mono_ns_t begin = clock_mono_ns();
            for (int i = 0; i < COUNTS[n]; i++)
                say(&clients[i], "GET /hello HTTP/1.1\r\n" HOST END);
            for (int i = 0; i < COUNTS[n]; i++)
                (void)hear(&clients[i]);
            mono_ns_t took = clock_mono_ns() - begin;
            best = took < best ? took : best;
        }
        /* The stall that this looks for cost 200 ms in every round; a busy machine spares some. */
        assert_true(COUNTS[n] > TIMED || best < 150 * NS_PER_MS);
    }
    for (int i = 0; i < MOST; i++)
        client_close(&clients[i]);
    rig_close(&rig);
}

/* ---- draining ---- */

struct load {
    pthread_t id;
    int port;
    const char *request;
    atomic_bool *draining;
    int answered, failed;
};

/* Asks until it is told to go away and nobody answers the door any more. */
static void *load_main(void *arg)
{
    struct load *l = arg;
    struct client c = {.fd = -1, .data = malloc(REPLY_MAX)};
    struct reply r;
    for (;;) {
        if (c.fd < 0 && (c.fd = dial(l->port)) < 0)
            break;
        if (send(c.fd, l->request, strlen(l->request), MSG_NOSIGNAL) < 0 || !hear_as(&c, false, &r)) {
            l->failed++;
            break;
        }
        l->answered++;
        if (strstr(r.head, "Connection: close") == NULL)
            continue;
        close(c.fd);
        c.fd = -1;
        c.len = c.used = 0;
    }
    if (c.fd >= 0)
        close(c.fd);
    free(c.data);
    return NULL;
}

static void draining_under_load_fails_no_request(void **state)
{
    (void)state;
    enum { CLIENTS = 8 };
    struct load load[CLIENTS];
    struct rig rig;
    struct http_server_conf conf = conf_of(&rig);
    struct http_limits limits = PATIENT;
    limits.linger_ms = 1000; /* on a busy machine a client may take that long to come back */
    rig_start(&rig, &conf, &limits);
    finisher_set(false, ERR_OK, false);
    for (int i = 0; i < CLIENTS; i++) {
        load[i] = (struct load){.port = rig.port,
                                .request = i % 2 == 0 ? "GET /hello HTTP/1.1\r\n" HOST END
                                                      : "GET /later HTTP/1.1\r\n" HOST END};
        assert_int_equal(pthread_create(&load[i].id, NULL, load_main, &load[i]), 0);
    }
    struct client idle; /* says nothing, and must not hold up the drain */
    (void)ask(&idle, rig.port, "GET /hello HTTP/1.1\r\n" HOST END);
    struct timespec while_running = {.tv_nsec = 200 * NS_PER_MS};
    nanosleep(&while_running, NULL);
    assert_int_equal(http_server_drain(rig.server, 10000), 0);
    for (int i = 0; i < CLIENTS; i++) {
        pthread_join(load[i].id, NULL);
        assert_true(load[i].answered > 0);
        assert_int_equal(load[i].failed, 0);
    }
    assert_true(is_closed(&idle));
    client_close(&idle);
    rig_close(&rig);
}

static void calls_that_do_not_end_in_time_are_cut_off_and_may_still_be_finished(void **state)
{
    (void)state;
    enum { CLIENTS = 5 };
    struct client clients[CLIENTS];
    struct rig rig;
    rig_open(&rig);
    finisher_set(true, ERR_OK, false);
    for (int i = 0; i < CLIENTS; i++) {
        client_open(&clients[i], rig.port);
        say(&clients[i], "GET /later HTTP/1.1\r\n" HOST END);
        finisher_await((size_t)i + 1);
    }
    assert_int_equal(http_server_drain(rig.server, 50), CLIENTS);
    for (int i = 0; i < CLIENTS; i++) {
        struct reply r = hear(&clients[i]);
        assert_int_equal(r.status, 504);
        assert_true(body_has(&r, "outcome_unknown"));
        client_close(&clients[i]);
    }
    rig_close(&rig);
    finisher_empty(); /* the server is gone; sanitizers watch what becomes of the calls */
}

static void cutting_off_and_finishing_may_meet(void **state)
{
    (void)state;
    enum { CLIENTS = 16, ROUNDS = 10 };
    struct client clients[CLIENTS];
    for (int round = 0; round < ROUNDS; round++) {
        struct rig rig;
        rig_open(&rig);
        finisher_set(true, ERR_OK, false);
        for (int i = 0; i < CLIENTS; i++) {
            client_open(&clients[i], rig.port);
            say(&clients[i], "GET /later HTTP/1.1\r\n" HOST END);
            finisher_await((size_t)i + 1);
        }
        finisher_set(false, ERR_OK, false);
        int cut_off = http_server_drain(rig.server, 0);
        assert_true(cut_off >= 0 && cut_off <= CLIENTS);
        for (int i = 0; i < CLIENTS; i++) {
            struct reply r = hear(&clients[i]);
            assert_true(r.status == 201 || r.status == 504);
            client_close(&clients[i]);
        }
        finisher_empty();
        rig_close(&rig);
    }
}

/* ---- opening ---- */

static void what_cannot_be_opened_says_why(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    char taken[32];
    snprintf(taken, sizeof taken, "127.0.0.1:%d", rig.port);
    const struct {
        const char *listen;
        int threads;
        const struct http_route *routes;
        enum err e;
        const char *part;
    } ROWS[] = {
        {taken, 1, ROUTES, ERR_CONF, taken},
        {taken, 2, ROUTES, ERR_CONF, "Address already in use"},
        {"localhost", 1, ROUTES, ERR_CONF, "\"localhost\""},
        {"example.org:80", 1, ROUTES, ERR_CONF, "IP address"},
        {"127.0.0.1:http", 1, ROUTES, ERR_CONF, "a port"},
        {"127.0.0.1:0", 0, ROUTES, ERR_CONF, "threads"},
        {"127.0.0.1:0", 65, ROUTES, ERR_CONF, "threads"},
        {"127.0.0.1:0", 1, GUARDED, ERR_BUG, "/mine"},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        struct http_server_conf conf = {.listen = ROWS[i].listen, .threads = ROWS[i].threads, .routes = ROWS[i].routes};
        struct http_server *server = NULL;
        struct fault fault = {0};
        ROW_CHECK(http_server_open(&conf, &server, &fault) == ROWS[i].e && server == NULL, ROWS[i].part);
        ROW_CHECK(strstr(fault.why, ROWS[i].part) != NULL, fault.why);
    }
    rig_close(&rig);
}

static void an_address_has_no_more_connections_than_it_may(void **state)
{
    (void)state;
    struct rig rig;
    struct client first, second;
    struct http_server_conf conf = conf_of(&rig);
    conf.threads = 1;
    conf.per_ip_max = 1;
    rig_start(&rig, &conf, &PATIENT);
    (void)ask(&first, rig.port, "GET /hello HTTP/1.1\r\n" HOST END);
    client_open(&second, rig.port);
    assert_true(is_closed(&second));
    client_close(&second);
    client_close(&first);
    rig_close(&rig);
}

static void ipv6_is_spoken_too(void **state)
{
    (void)state;
    struct rig rig;
    struct http_server_conf conf = conf_of(&rig);
    struct fault fault = {0};
    conf.listen = "[::1]:0";
    if (http_server_open_with(&conf, &PATIENT, &rig.server, &fault) != ERR_OK) {
        assert_non_null(strstr(fault.why, "[::1]:0")); /* a machine without IPv6 */
        log_close(rig.log);
        metrics_free(rig.metrics);
        close(rig.log_fd);
        return;
    }
    struct sockaddr_in6 addr = {.sin6_family = AF_INET6,
                                .sin6_port = htons((uint16_t)http_server_port(rig.server)),
                                .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct client c = {.fd = socket(AF_INET6, SOCK_STREAM, 0), .data = malloc(REPLY_MAX)};
    assert_int_equal(connect(c.fd, (struct sockaddr *)&addr, sizeof addr), 0);
    say(&c, "GET /told HTTP/1.1\r\nHost: [::1]\r\n" END);
    struct reply r = hear(&c);
    assert_true(body_has(&r, "\"peer\":\"::1\""));
    client_close(&c);
    rig_close(&rig);
}

/* ---- other routes while it runs ---- */

enum { SWAPS = 200, SWAP_CLIENTS = 4 };

struct age {
    int number;
    atomic_int released;
};

static enum err which(struct call *call)
{
    const struct age *age = call->app;
    assert_int_equal(atomic_load(&age->released), 0);
    buf_printf(&call->out, "{\"age\":%d}", age->number);
    call_reply(call, 200);
    return ERR_OK;
}

static const struct http_route YOUNGER[] = {
    {HTTP_GET, "/age", WHO_ANYONE, which, 0},
    {HTTP_GET, "/later", WHO_ANYONE, later, 0},
    {.path = NULL},
};

static void release_age(void *app)
{
    struct age *age = app;
    atomic_fetch_add(&age->released, 1);
}

static void swap(struct rig *r, struct age *age)
{
    struct fault fault;
    if (http_server_swap(r->server, YOUNGER, age, release_age, &fault) != ERR_OK)
        fail_msg("%s", fault.why);
}

static void new_calls_go_by_the_new_routes_and_old_ones_end_with_theirs(void **state)
{
    (void)state;
    struct rig rig;
    struct age first = {.number = 1}, second = {.number = 2};
    struct client waiting, c;
    rig_open(&rig);
    struct reply r = ask(&c, rig.port, "GET /hello HTTP/1.1\r\n" HOST END);
    assert_int_equal(r.status, 200);
    swap(&rig, &first);
    say(&c, "GET /hello HTTP/1.1\r\n" HOST END); /* on a connection that is older */
    assert_int_equal(hear(&c).status, 404);
    say(&c, "GET /age HTTP/1.1\r\n" HOST END);
    r = hear(&c);
    assert_true(body_has(&r, "{\"age\":1}"));

    finisher_set(true, ERR_OK, false);
    client_open(&waiting, rig.port);
    say(&waiting, "GET /later HTTP/1.1\r\n" HOST END);
    finisher_await(1);
    swap(&rig, &second);
    say(&c, "GET /age HTTP/1.1\r\n" HOST END);
    r = hear(&c);
    assert_true(body_has(&r, "{\"age\":2}"));
    assert_int_equal(atomic_load(&first.released), 0); /* a call has it */
    finisher_set(false, ERR_OK, false);
    assert_int_equal(hear(&waiting).status, 201);
    say(&waiting, "GET /age HTTP/1.1\r\n" HOST END); /* by its answer, the thread has left the call before */
    assert_int_equal(hear(&waiting).status, 200);
    assert_int_equal(atomic_load(&first.released), 1);
    assert_int_equal(atomic_load(&second.released), 0);
    client_close(&waiting);
    client_close(&c);
    rig_close(&rig);
    assert_int_equal(atomic_load(&second.released), 1);
}

static void wrong_routes_change_nothing(void **state)
{
    (void)state;
    static const struct http_route TWICE[] = {
        {HTTP_GET, "/a", WHO_ANYONE, hello, 0}, {HTTP_GET, "/a", WHO_ANYONE, hello, 0}, {.path = NULL}};
    struct rig rig;
    struct client c;
    struct fault fault;
    rig_open(&rig);
    assert_int_equal(http_server_swap(rig.server, TWICE, NULL, release_age, &fault), ERR_BUG);
    assert_int_equal(http_server_swap(rig.server, GUARDED, NULL, release_age, &fault), ERR_BUG); /* nobody verifies */
    assert_int_equal(ask(&c, rig.port, "GET /hello HTTP/1.1\r\n" HOST END).status, 200);
    client_close(&c);
    rig_close(&rig);
}

struct asker {
    pthread_t id;
    int port;
    atomic_bool *ended;
};

static void *ask_on(void *arg)
{
    struct asker *a = arg;
    struct client c;
    client_open(&c, a->port);
    while (!atomic_load(a->ended)) {
        say(&c, "GET /age HTTP/1.1\r\n" HOST END);
        assert_int_equal(hear(&c).status, 200);
    }
    client_close(&c);
    return NULL;
}

static void routes_are_swapped_under_load_and_each_age_is_released_once(void **state)
{
    (void)state;
    static struct age ages[SWAPS];
    struct asker askers[SWAP_CLIENTS];
    atomic_bool ended = false;
    struct rig rig;
    rig_open(&rig);
    swap(&rig, &ages[0]);
    for (size_t i = 0; i < SWAP_CLIENTS; i++) {
        askers[i] = (struct asker){.port = rig.port, .ended = &ended};
        assert_int_equal(pthread_create(&askers[i].id, NULL, ask_on, &askers[i]), 0);
    }
    for (size_t i = 1; i < SWAPS; i++) {
        ages[i].number = (int)i;
        swap(&rig, &ages[i]);
    }
    atomic_store(&ended, true);
    for (size_t i = 0; i < SWAP_CLIENTS; i++)
        pthread_join(askers[i].id, NULL);
    rig_close(&rig);
    for (size_t i = 0; i < SWAPS; i++)
        assert_int_equal(atomic_load(&ages[i].released), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_cannot_be_opened_says_why),
        cmocka_unit_test(what_is_no_clean_http_gets_a_problem_and_is_closed),
        cmocka_unit_test(a_nul_in_a_value_is_refused),
        cmocka_unit_test(heads_and_targets_have_a_maximum),
        cmocka_unit_test(a_body_beyond_the_maximum_is_refused_though_its_length_was_not_told),
        cmocka_unit_test(a_body_of_a_mebibyte_gets_413_while_it_is_being_sent),
        cmocka_unit_test(errors_keep_the_connection_and_drop_the_body),
        cmocka_unit_test(guarded_routes_want_a_token_and_its_role),
        cmocka_unit_test(slow_clients_are_given_up_at_the_deadline),
        cmocka_unit_test(a_client_that_drips_its_head_is_given_up_all_the_same),
        cmocka_unit_test(a_body_that_keeps_the_pace_is_taken),
        cmocka_unit_test(a_client_that_does_not_fetch_its_answer_is_given_up),
        cmocka_unit_test(a_connection_is_closed_after_so_many_requests),
        cmocka_unit_test(an_idle_connection_is_closed_and_a_deferred_call_is_not),
        cmocka_unit_test(an_address_has_no_more_connections_than_it_may),
        cmocka_unit_test(requests_are_answered_with_the_common_headers),
        cmocka_unit_test(head_is_answered_as_get_without_the_body),
        cmocka_unit_test(expect_100_is_answered_before_the_body),
        cmocka_unit_test(a_request_may_come_byte_by_byte),
        cmocka_unit_test(pipelined_requests_are_answered_in_their_order),
        cmocka_unit_test(a_large_answer_comes_whole),
        cmocka_unit_test(http_1_0_is_answered_and_closed),
        cmocka_unit_test(ipv6_is_spoken_too),
        cmocka_unit_test(a_request_id_is_taken_only_where_it_is_trusted),
        cmocka_unit_test(a_client_s_address_is_taken_only_from_trusted_proxies),
        cmocka_unit_test(each_request_leaves_a_log_line_and_a_count),
        cmocka_unit_test(many_deferred_calls_are_finished_by_another_thread),
        cmocka_unit_test(a_deferred_call_may_end_as_a_problem),
        cmocka_unit_test(a_client_that_hangs_up_while_deferred_harms_nobody),
        cmocka_unit_test(no_number_of_connections_stalls_the_server),
        cmocka_unit_test(draining_under_load_fails_no_request),
        cmocka_unit_test(calls_that_do_not_end_in_time_are_cut_off_and_may_still_be_finished),
        cmocka_unit_test(cutting_off_and_finishing_may_meet),
        cmocka_unit_test(new_calls_go_by_the_new_routes_and_old_ones_end_with_theirs),
        cmocka_unit_test(wrong_routes_change_nothing),
        cmocka_unit_test(routes_are_swapped_under_load_and_each_age_is_released_once),
    };
    return cmocka_run_group_tests(tests, finisher_start, finisher_stop);
}
