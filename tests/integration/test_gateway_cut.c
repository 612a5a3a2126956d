/* A service that is killed at every byte of the exchange: after it has read so many bytes of the request, or written so many of
 * its answer. Whatever byte it is, an order without a key is never sent twice, one with a key is placed once, and the client is
 * never told that nothing was done when it was. */
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/delivery.h"
#include "gateway/proxy.h"
#include "support/raw_http.h"
#include "unit/unit.h"

enum { WIRES_MAX = 64, REQUEST_MAX = 4096, KEY_MAX = 32, NEVER = -1, POLL_MS = 1000 };

static const char ANSWER[] = "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nLocation: /orders/7\r\n"
                             "Content-Length: 10\r\n\r\n{\"id\":\"7\"}";

/* ---- the service: places an order when it has the whole request ---- */

struct wire {
    int fd;
    size_t len; /* of the request that it is reading */
    char request[REQUEST_MAX];
};
/* Where it is killed; `always`: it is killed there again as soon as it is back. */
struct death {
    int after_request, after_answer;
    bool always;
};
static struct shop {
    int listener, stop[2];
    pthread_t thread;
    pthread_mutex_t mutex; /* for what follows */
    struct death death;
    int sendings;      /* connections that brought a byte since the row began */
    int placed;        /* orders, since the row began */
    char key[KEY_MAX]; /* of the order that has one */
    size_t request_len;
    struct wire wires[WIRES_MAX];
} shop;

/* A process that is killed loses all its connections. */
static void die(void)
{
    for (int i = 0; i < WIRES_MAX; i++) {
        if (shop.wires[i].fd >= 0)
            close(shop.wires[i].fd);
        shop.wires[i].fd = -1;
    }
    if (!shop.death.always)
        shop.death = (struct death){NEVER, NEVER, false};
}

/* Once for each key, and once for each request without one. */
static void place(const char *request)
{
    static const char HEADER[] = "Idempotency-Key: ";
    const char *key = strstr(request, HEADER);
    char value[KEY_MAX] = "";
    if (key != NULL)
        snprintf(value, sizeof(value), "%.*s", (int)strcspn(key + sizeof(HEADER) - 1, "\r"), key + sizeof(HEADER) - 1);
    if (value[0] != '\0' && strcmp(value, shop.key) == 0)
        return;
    memcpy(shop.key, value, sizeof(value));
    shop.placed++;
}

static void answer(struct wire *w)
{
    bool dies = shop.death.after_answer >= 0 && shop.death.after_answer <= (int)sizeof(ANSWER) - 1;
    size_t len = dies ? (size_t)shop.death.after_answer : sizeof(ANSWER) - 1;
    ssize_t ignored = send(w->fd, ANSWER, len, MSG_NOSIGNAL);
    (void)ignored;
    w->len = 0;
    if (dies)
        die();
}

static bool is_whole(const struct wire *w)
{
    const char *end = strstr(w->request, "\r\n\r\n"), *length = strstr(w->request, "Content-Length: ");
    if (end == NULL)
        return false;
    size_t body = length == NULL ? 0 : strtoul(length + sizeof("Content-Length: ") - 1, NULL, 10);
    return w->len >= (size_t)(end + 4 - w->request) + body;
}

static void on_readable(struct wire *w)
{
    size_t room = REQUEST_MAX - 1 - w->len;
    if (shop.death.after_request >= 0 && (size_t)shop.death.after_request - w->len < room)
        room = (size_t)shop.death.after_request - w->len;
    ssize_t n = room == 0 ? 0 : recv(w->fd, w->request + w->len, room, 0);
    bool is_killed = shop.death.after_request >= 0 &&
                     w->len + (size_t)(n > 0 ? n : 0) == (size_t)shop.death.after_request;
    shop.sendings += (n > 0 || is_killed) && w->len == 0;
    if (is_killed) {
        die();
        return;
    }
    if (n <= 0) {
        close(w->fd);
        w->fd = -1;
        return;
    }
    w->len += (size_t)n;
    w->request[w->len] = '\0';
    if (!is_whole(w))
        return;
    shop.request_len = w->len;
    place(w->request);
    answer(w);
}

static void on_connect(void)
{
    int fd = accept4(shop.listener, NULL, NULL, SOCK_CLOEXEC);
    for (int i = 0; i < WIRES_MAX; i++) {
        if (shop.wires[i].fd >= 0)
            continue;
        shop.wires[i] = (struct wire){.fd = fd};
        return;
    }
    abort(); /* not on the test's thread: it would not come to its end */
}

static void *run_shop(void *arg)
{
    (void)arg;
    for (;;) {
        struct pollfd fds[WIRES_MAX + 2] = {{.fd = shop.listener, .events = POLLIN},
                                            {.fd = shop.stop[0], .events = POLLIN}};
        for (int i = 0; i < WIRES_MAX; i++)
            fds[i + 2] = (struct pollfd){.fd = shop.wires[i].fd, .events = POLLIN};
        (void)poll(fds, WIRES_MAX + 2, POLL_MS);
        if (fds[1].revents != 0)
            return NULL;
        pthread_mutex_lock(&shop.mutex);
        for (int i = 0; i < WIRES_MAX; i++)
            if (fds[i + 2].revents != 0 && shop.wires[i].fd == fds[i + 2].fd)
                on_readable(&shop.wires[i]);
        if (fds[0].revents != 0)
            on_connect();
        pthread_mutex_unlock(&shop.mutex);
    }
}

/* ---- the gateway ---- */

static struct house {
    struct arena arena;
    struct routes routes;
    struct upstreams *upstreams;
    struct http_server *server;
    int client;
} house;

static const struct route_handlers HANDLERS = {.forward = proxy_request};

static int open_all(void **state)
{
    struct buf complaints;
    struct fault fault;
    int port;
    (void)state;
    shop.listener = raw_listen(&port);
    pthread_mutex_init(&shop.mutex, NULL);
    for (int i = 0; i < WIRES_MAX; i++)
        shop.wires[i].fd = -1;
    assert_int_equal(pipe(shop.stop), 0);
    shop.death = (struct death){NEVER, NEVER, false};
    assert_int_equal(pthread_create(&shop.thread, NULL, run_shop, NULL), 0);

    buf_init(&complaints);
    arena_init(&house.arena);
    const char *conf = arena_printf(
        &house.arena,
        "{\"upstreams\": {\"order\": \"127.0.0.1:%d\"}, \"routes\": [{\"path\": \"/orders\", "
        "\"methods\": [\"POST\"], \"upstream\": \"order\", \"who\": \"anyone\", "
        "\"timeoutMs\": 3000, \"idempotent\": true}]}",
        port);
    if (routes_parse(&house.arena, str_of(conf), &HANDLERS, &house.routes, &complaints) != ERR_OK)
        fail_msg("%s", complaints.data);
    house.upstreams = upstreams_new(&(struct upstreams_settings){.in_flight_max = 8});
    assert_int_equal(routes_adopt(&house.routes, house.upstreams, &fault), ERR_OK);
    breaker_force(&house.upstreams->items[0]->breaker, BREAKER_DISABLED, clock_mono_ns());
    const struct http_server_conf server = {
        .listen = "127.0.0.1:0",
        .threads = 1,
        .routes = house.routes.http,
        .app = &house.routes,
        .thread_start = proxy_thread_start,
        .thread_stop = proxy_thread_stop,
    };
    assert_int_equal(http_server_open(&server, &house.server, &fault), ERR_OK);
    house.client = raw_connect(http_server_port(house.server));
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    close(house.client);
    http_server_close(house.server);
    upstreams_free(house.upstreams);
    arena_done(&house.arena);
    assert_int_equal(write(shop.stop[1], "", 1), 1);
    pthread_join(shop.thread, NULL);
    shop.death.always = false;
    die();
    close(shop.stop[0]);
    close(shop.stop[1]);
    close(shop.listener);
    return 0;
}

/* ---- the rows ---- */

static void begin_row(struct death death)
{
    struct budget *budget = &house.upstreams->items[0]->budget;
    pthread_mutex_lock(&shop.mutex);
    shop.death = death;
    shop.sendings = shop.placed = 0;
    shop.key[0] = '\0';
    pthread_mutex_unlock(&shop.mutex);
    budget_done(budget); /* nothing is under way: each row has all the retries that one may have */
    budget_init(budget);
}

static int order(const char *key)
{
    char request[512];
    snprintf(request, sizeof(request),
             "POST /orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n%s%s%sContent-Length: 14\r\n\r\n"
             "{\"size\":\"100\"}",
             key == NULL ? "" : "Idempotency-Key: ", key == NULL ? "" : key, key == NULL ? "" : "\r\n");
    raw_say(house.client, request);
    assert_true(raw_hear(house.client));
    return raw_status();
}

static struct {
    int rows, by_status[600];
} tally;

static void check_row(struct death death, const char *key)
{
    const char *phase = death.after_request >= 0 ? "request" : "answer";
    int at = death.after_request >= 0 ? death.after_request : death.after_answer;
    begin_row(death);
    int status = order(key);
    pthread_mutex_lock(&shop.mutex);
    int sendings = shop.sendings, placed = shop.placed;
    shop.death = (struct death){NEVER, NEVER, false};
    pthread_mutex_unlock(&shop.mutex);
    tally.rows++;
    tally.by_status[status]++;

    if (sendings > (key == NULL ? 1 : DELIVERY_WRITES_MAX))
        fail_msg("%s byte %d, %s key: sent %d times", phase, at, key == NULL ? "no" : "a", sendings);
    if (placed > 1)
        fail_msg("%s byte %d, %s key: placed %d times", phase, at, key == NULL ? "no" : "a", placed);
    bool is_true = status == 201 ? placed == 1 : status == 503 ? placed == 0 : status == 504;
    if (!is_true)
        fail_msg("%s byte %d, %s key: told %d, placed %d", phase, at, key == NULL ? "no" : "a", status, placed);
    if (key == NULL || status == 201)
        return;
    assert_int_equal(order(key), 201); /* the client asks again, as he is told to */
    pthread_mutex_lock(&shop.mutex);
    assert_int_equal(shop.placed, 1);
    pthread_mutex_unlock(&shop.mutex);
}

static void check_byte(bool in_request, int n, bool always)
{
    static int keys;
    struct death death = {in_request ? n : NEVER, in_request ? NEVER : n, always};
    char key[KEY_MAX];
    snprintf(key, sizeof(key), "key-%08d", ++keys);
    check_row(death, NULL);
    check_row(death, key);
    if (!in_request) /* the connection is kept from the last row, or not: both are met */
        return;
    begin_row((struct death){NEVER, NEVER, false});
    if (n % 2 == 0)
        assert_int_equal(order(NULL), 201);
}

static size_t length_of_request(void)
{
    begin_row((struct death){NEVER, NEVER, false});
    assert_int_equal(order("key-00000000"), 201);
    return shop.request_len;
}

static void kill_at_every_byte(bool always)
{
    int len = (int)length_of_request();
    memset(&tally, 0, sizeof(tally));
    for (int n = 0; n <= len; n++)
        check_byte(true, n, always);
    for (int n = 0; n < (int)sizeof(ANSWER) - 1; n++)
        check_byte(false, n, always);
    print_message("%d kills: %d placed, %d surely not, %d unknown\n", tally.rows, tally.by_status[201],
                  tally.by_status[503], tally.by_status[504]);
}

static void killed_at_every_byte_an_order_is_never_placed_twice_and_never_denied(void **state)
{
    (void)state;
    kill_at_every_byte(false);
    assert_true(tally.by_status[201] > 0 && tally.by_status[504] > 0);
    assert_true(tally.by_status[201] >= tally.rows / 2 - 2); /* every one with a key was sent again, and is there */
}

static void killed_at_that_byte_each_time_it_is_never_denied_either(void **state)
{
    (void)state;
    kill_at_every_byte(true);
}

#define STORY(name) cmocka_unit_test_setup_teardown(name, open_all, close_all)

int main(void)
{
    static const struct CMUnitTest TESTS[] = {
        STORY(killed_at_every_byte_an_order_is_never_placed_twice_and_never_denied),
        STORY(killed_at_that_byte_each_time_it_is_never_denied_either),
    };
    return cmocka_run_group_tests(TESTS, NULL, NULL);
}
