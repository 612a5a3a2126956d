/* The gateway before several instances of a service, each played by a thread: who gets what, who is left out, when the circuit
 * opens and closes again, and who is let go of. */
#include <arpa/inet.h>
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

enum { STAFF_MAX = 3, WIRES_MAX = 64, PATIENCE_MS = 5000, LOOK_MS = 5, BYTES_MAX = 4096 };

/* ---- instances ---- */

enum mood { WELL, FAILS, HANGS, GONE }; /* GONE: it accepts nobody, and whom it has it lets go of */

struct worker {
    int listener, port, stop[2];
    pthread_t thread;
    int wires[WIRES_MAX];
    bool owes[WIRES_MAX];                          /* an answer */
    atomic_int mood, asked, held, held_most, left; /* left: connections that were closed while it owed an answer */
};
static struct worker staff[STAFF_MAX];

static const char OK[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
static const char FAILED[] = "HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/problem+json\r\n"
                             "Content-Length: 2\r\n\r\n{}";

static void let_go(struct worker *w, int i)
{
    close(w->wires[i]);
    w->wires[i] = -1;
    atomic_fetch_sub(&w->held, w->owes[i]);
    w->owes[i] = false;
}

static void reply(struct worker *w, int i)
{
    bool well = atomic_load(&w->mood) == WELL;
    ssize_t ignored = send(w->wires[i], well ? OK : FAILED, well ? sizeof(OK) - 1 : sizeof(FAILED) - 1, MSG_NOSIGNAL);
    (void)ignored;
    w->owes[i] = false;
    atomic_fetch_sub(&w->held, 1);
}

/* Requests of these tests come in one piece. */
static void hear(struct worker *w, int i)
{
    char bytes[BYTES_MAX];
    ssize_t n = recv(w->wires[i], bytes, sizeof(bytes), 0);
    if (n <= 0) {
        atomic_fetch_add(&w->left, w->owes[i]);
        let_go(w, i);
        return;
    }
    atomic_fetch_add(&w->asked, 1);
    int held = atomic_fetch_add(&w->held, 1) + 1;
    if (held > atomic_load(&w->held_most))
        atomic_store(&w->held_most, held);
    w->owes[i] = true;
}

static void take_in(struct worker *w)
{
    int fd = accept4(w->listener, NULL, NULL, SOCK_CLOEXEC);
    for (int i = 0; i < WIRES_MAX; i++) {
        if (w->wires[i] >= 0)
            continue;
        w->wires[i] = fd;
        return;
    }
    abort(); /* not on the test's thread: it would not come to its end */
}

static void behave(struct worker *w)
{
    int mood = atomic_load(&w->mood);
    for (int i = 0; i < WIRES_MAX; i++) {
        if (w->wires[i] >= 0 && mood == GONE)
            let_go(w, i);
        else if (w->owes[i] && mood != HANGS)
            reply(w, i);
    }
}

/* An instance that is gone has no listener: the kernel refuses for it. */
static void *work(void *arg)
{
    struct worker *w = arg;
    for (;;) {
        struct pollfd fds[WIRES_MAX + 2] = {{.fd = w->stop[0], .events = POLLIN},
                                            {.fd = w->listener, .events = POLLIN}};
        for (int i = 0; i < WIRES_MAX; i++)
            fds[i + 2] = (struct pollfd){.fd = w->wires[i], .events = POLLIN};
        (void)poll(fds, WIRES_MAX + 2, LOOK_MS);
        if (fds[0].revents != 0)
            return NULL;
        for (int i = 0; i < WIRES_MAX; i++)
            if (fds[i + 2].revents != 0)
                hear(w, i);
        if (fds[1].revents != 0)
            take_in(w);
        behave(w);
    }
}

static void hire(struct worker *w)
{
    int on = 1;
    w->listener = raw_listen(&w->port);
    assert_int_equal(setsockopt(w->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)),
                     0); /* so that it can come back */
    for (int i = 0; i < WIRES_MAX; i++)
        w->wires[i] = -1;
    assert_int_equal(pipe(w->stop), 0);
    assert_int_equal(pthread_create(&w->thread, NULL, work, w), 0);
}

static void stop(struct worker *w)
{
    assert_int_equal(write(w->stop[1], "", 1), 1);
    pthread_join(w->thread, NULL);
}

static void dismiss(struct worker *w)
{
    if (w->listener >= 0) {
        stop(w);
        close(w->listener);
    }
    for (int i = 0; i < WIRES_MAX; i++)
        if (w->wires[i] >= 0)
            close(w->wires[i]);
    close(w->stop[0]);
    close(w->stop[1]);
    memset(w, 0, sizeof(*w));
}

static void kill_instance(struct worker *w)
{
    stop(w);
    close(w->listener);
    w->listener = -1;
    atomic_store(&w->mood, GONE);
    behave(w);
}

static void revive(struct worker *w)
{
    char byte;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)w->port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int on = 1;
    w->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(setsockopt(w->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
    assert_int_equal(bind(w->listener, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(w->listener, WIRES_MAX), 0);
    assert_int_equal(read(w->stop[0], &byte, 1), 1);
    atomic_store(&w->mood, WELL);
    assert_int_equal(pthread_create(&w->thread, NULL, work, w), 0);
}

/* ---- the gateway ---- */

static struct house {
    struct arena arena;
    struct routes routes;
    struct upstreams *upstreams;
    struct http_server *server;
} house;

static struct upstream *service(void)
{
    return house.upstreams->items[0];
}

/* clang-format off */
static const char ROUTES[] =
    "{'upstreams': {'order': '%s'}, 'routes': ["
    "{'path': '/orders', 'methods': ['GET', 'POST'], 'upstream': 'order', 'who': 'anyone', 'timeoutMs': 3000},"
    "{'path': '/short', 'methods': ['POST'], 'upstream': 'order', 'who': 'anyone', 'timeoutMs': 200}]}";
/* clang-format on */

static const struct route_handlers HANDLERS = {.forward = proxy_request};

static void house_open(const char *targets, int threads, int in_flight_max, upstream_lookup *lookup)
{
    struct buf complaints;
    struct fault fault;
    buf_init(&complaints);
    arena_init(&house.arena);
    char *conf = arena_alloc(&house.arena, sizeof(ROUTES) + strlen(targets));
    snprintf(conf, sizeof(ROUTES) + strlen(targets), ROUTES, targets);
    for (char *quote = conf; (quote = strchr(quote, '\'')) != NULL;)
        *quote = '"';
    if (routes_parse(&house.arena, str_of(conf), &HANDLERS, &house.routes, &complaints) != ERR_OK)
        fail_msg("%s", complaints.data);
    house.upstreams = upstreams_new(&(struct upstreams_settings){.in_flight_max = in_flight_max, .lookup = lookup});
    assert_int_equal(routes_adopt(&house.routes, house.upstreams, &fault), ERR_OK);
    upstreams_resolve(house.upstreams);
    const struct http_server_conf server = {
        .listen = "127.0.0.1:0",
        .threads = threads,
        .routes = house.routes.http,
        .app = &house.routes,
        .thread_start = proxy_thread_start,
        .thread_stop = proxy_thread_stop,
    };
    assert_int_equal(http_server_open(&server, &house.server, &fault), ERR_OK);
}

static void house_with(size_t instances, int threads, int in_flight_max)
{
    char targets[STAFF_MAX * 24] = "";
    for (size_t i = 0; i < instances; i++) {
        hire(&staff[i]);
        size_t len = strlen(targets);
        snprintf(targets + len, sizeof(targets) - len, "%s127.0.0.1:%d", i == 0 ? "" : ",", staff[i].port);
    }
    house_open(targets, threads, in_flight_max, NULL);
}

static int close_house(void **state)
{
    (void)state;
    if (house.server != NULL)
        http_server_close(house.server);
    upstreams_free(house.upstreams);
    arena_done(&house.arena);
    for (size_t i = 0; i < STAFF_MAX; i++)
        if (staff[i].port != 0)
            dismiss(&staff[i]);
    memset(&house, 0, sizeof(house));
    return 0;
}

#define GET "GET /orders HTTP/1.1\r\nHost: x\r\n\r\n"
#define POST_TO(path) \
    "POST " path " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
#define POST POST_TO("/orders")

static int ask(const char *request)
{
    int client = raw_connect(http_server_port(house.server));
    raw_say(client, request);
    assert_true(raw_hear(client));
    close(client);
    return raw_status();
}

static int count_of(int status, int times, const char *request)
{
    int n = 0;
    for (int i = 0; i < times; i++)
        n += ask(request) == status;
    return n;
}

/* All at once. */
static void ask_side_by_side(int *clients, int count, const char *request)
{
    for (int i = 0; i < count; i++) {
        clients[i] = raw_connect(http_server_port(house.server));
        raw_say(clients[i], request);
    }
}

static void await(bool (*condition)(void), const char *what)
{
    for (mono_ns_t end = clock_mono_ns() + PATIENCE_MS * NS_PER_MS; !condition();) {
        if (clock_mono_ns() > end)
            fail_msg("not in time: %s", what);
        usleep(LOOK_MS * 1000);
    }
}

static int64_t in_flight(void)
{
    struct instance_view views[UPSTREAM_INSTANCES_MAX];
    int64_t sum = 0;
    for (size_t i = 0, count = upstream_look(service(), views); i < count; i++)
        sum += views[i].in_flight;
    return sum;
}

/* ---- who gets what ---- */

static void requests_are_spread_over_the_instances(void **state)
{
    (void)state;
    house_with(3, 1, 64);
    assert_int_equal(count_of(200, 300, GET), 300);
    for (size_t i = 0; i < 3; i++)
        assert_in_range(atomic_load(&staff[i].asked), 60, 140);
}

static bool all_six_hang(void)
{
    return atomic_load(&staff[0].held) + atomic_load(&staff[1].held) == 6;
}

static bool three_hang(void)
{
    return in_flight() == 3;
}

static void one_that_is_slow_gets_less(void **state)
{
    (void)state;
    int clients[6];
    house_with(2, 1, 64);
    for (size_t i = 0; i < 2; i++)
        atomic_store(&staff[i].mood, HANGS);
    ask_side_by_side(clients, 6, POST);
    await(all_six_hang, "all are there");
    assert_int_equal(atomic_load(&staff[0].held), 3); /* always to the one that has less */
    atomic_store(&staff[1].mood, WELL);
    await(three_hang, "the other has answered");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(count_of(200, 30, POST), 30); /* the other has nothing in flight, each time */
        assert_int_equal(atomic_load(&staff[0].asked), 3);
    }
    atomic_store(&staff[0].mood, WELL);
    for (int i = 0; i < 6; i++) {
        assert_true(raw_hear(clients[i]));
        close(clients[i]);
    }
}

static void what_no_instance_took_goes_to_another(void **state)
{
    (void)state;
    house_with(2, 1, 64);
    kill_instance(&staff[0]);
    assert_int_equal(count_of(200, 10, POST), 10); /* nothing was written: a POST without a key, too */
    assert_int_equal(count_of(200, 10, GET), 10);
}

static void no_instance_has_more_than_the_bulkhead_lets_through_over_all_loops(void **state)
{
    enum { CLIENTS = 12, MOST = 2 };
    (void)state;
    int clients[CLIENTS], answered = 0, busy = 0;
    house_with(1, 2, MOST);
    atomic_store(&staff[0].mood, HANGS);
    ask_side_by_side(clients, CLIENTS, POST);
    for (int i = 0; i < CLIENTS; i++) {
        if (i == CLIENTS - MOST)
            atomic_store(&staff[0].mood, WELL);
        /* Those that found no room are told first. */
        struct pollfd fds[CLIENTS];
        for (int k = 0; k < CLIENTS; k++)
            fds[k] = (struct pollfd){.fd = clients[k], .events = POLLIN};
        assert_true(poll(fds, CLIENTS, PATIENCE_MS) > 0);
        int k = 0;
        while (fds[k].revents == 0)
            k++;
        assert_true(raw_hear(clients[k]));
        answered += raw_status() == 200;
        busy += raw_status() == 503 && strcmp(raw_header("Retry-After"), "1") == 0;
        close(clients[k]);
        clients[k] = -1;
    }
    assert_int_equal(answered, MOST);
    assert_int_equal(busy, CLIENTS - MOST);
    assert_int_equal(atomic_load(&staff[0].held_most), MOST);
    assert_int_equal(breaker_peek(&service()->breaker), BREAKER_CLOSED); /* our own refusals are none of its failures */
}

/* ---- who is left out ---- */

static void one_of_two_that_fails_is_left_out_and_comes_back(void **state)
{
    enum { ASKED = 400 };
    (void)state;
    house_with(2, 1, 64);
    service()->instances[0]->breaker.conf.wait_ms =
        4000; /* longer than the count below takes: its probes would fail, too */
    atomic_store(&staff[0].mood, FAILS);
    (void)count_of(200, 40, POST); /* until five of its calls are judged */
    int failing = atomic_load(&staff[0].asked);
    assert_int_equal(failing, 5);
    int fine = count_of(200, ASKED, POST);
    assert_true(fine * 100 > ASKED * 99);
    assert_int_equal(breaker_peek(&service()->breaker), BREAKER_CLOSED);

    atomic_store(&staff[0].mood, WELL);
    failing = atomic_load(&staff[0].asked);
    for (mono_ns_t end = clock_mono_ns() + 2 * PATIENCE_MS * NS_PER_MS; atomic_load(&staff[0].asked) < failing + 20;) {
        assert_int_equal(ask(POST), 200);
        assert_true(clock_mono_ns() < end);
        usleep(LOOK_MS * 1000);
    }
}

static void when_all_fail_none_is_left_out_and_the_circuit_opens(void **state)
{
    (void)state;
    house_with(2, 1, 64);
    for (size_t i = 0; i < 2; i++)
        atomic_store(&staff[i].mood, FAILS);
    int asked = 0;
    while (ask(POST) == 500)
        asked++;
    assert_in_range(
        asked, 20,
        25); /* min_calls: each of them reached somebody, though both have failed often enough to be left out */
    assert_int_equal(raw_status(), 503);
    assert_non_null(strstr(raw_body(), "\"code\":\"circuit_open\""));
    assert_string_equal(raw_header("X-Gateway-Breaker"), "open");
    assert_in_range(strtol(raw_header("Retry-After"), NULL, 10), 1, 6);
    assert_int_equal(atomic_load(&staff[0].asked) + atomic_load(&staff[1].asked), asked);
}

/* ---- the circuit ---- */

static bool is_open(void)
{
    return breaker_peek(&service()->breaker) == BREAKER_OPEN;
}

static void a_service_that_was_killed_opens_it_by_five_and_closes_it_when_it_is_back(void **state)
{
    (void)state;
    house_with(1, 1, 64);
    service()->breaker.conf.wait_ms = 400;
    service()->breaker.conf.jitter_percent = 0;
    assert_int_equal(ask(POST), 200);
    kill_instance(&staff[0]);
    (void)count_of(503, 3, POST); /* each was sent twice, to nobody */
    assert_true(is_open());
    mono_ns_t opened = clock_mono_ns();
    assert_int_equal(ask(POST), 503);
    assert_string_equal(raw_header("X-Gateway-Breaker"), "open");

    revive(&staff[0]);
    int before = atomic_load(&staff[0].asked);
    while (ask(POST) != 200)
        usleep(LOOK_MS * 1000);
    assert_true(clock_mono_ns() - opened < 1400 * NS_PER_MS);   /* wait + 1 s */
    assert_int_equal(atomic_load(&staff[0].asked), before + 1); /* while it was open, nobody asked */
    assert_int_equal(count_of(200, 20, POST), 20);
    assert_int_equal(breaker_peek(&service()->breaker), BREAKER_CLOSED);
}

static void a_service_that_hangs_opens_it_and_is_asked_by_a_few_only(void **state)
{
    enum { CLIENTS = 20, LATER = 30 };
    (void)state;
    int clients[LATER];
    house_with(1, 1, 64);
    service()->breaker.conf.wait_ms = 400;
    service()->breaker.conf.jitter_percent = 0;
    atomic_store(&staff[0].mood, HANGS);
    ask_side_by_side(clients, CLIENTS, POST_TO("/short"));
    for (int i = 0; i < CLIENTS; i++) {
        assert_true(raw_hear(clients[i]));
        assert_int_equal(raw_status(), 504); /* it may have done it */
        close(clients[i]);
    }
    assert_true(is_open());
    int before = atomic_load(&staff[0].asked);
    while (breaker_peek(&service()->breaker) == BREAKER_OPEN) {
        usleep(LOOK_MS * 1000);
        breaker_tick(&service()->breaker, clock_mono_ns());
    }
    ask_side_by_side(clients, LATER, POST_TO("/short"));
    int refused = 0;
    for (int i = 0; i < LATER; i++) {
        assert_true(raw_hear(clients[i]));
        refused += raw_status() == 503;
        close(clients[i]);
    }
    assert_true(atomic_load(&staff[0].asked) - before <= 5); /* in a round of probes */
    assert_true(refused >= LATER - 5);
    assert_int_not_equal(breaker_peek(&service()->breaker), BREAKER_CLOSED);
}

static void a_client_in_a_hurry_does_not_open_it_for_others(void **state)
{
    enum { CLIENTS = 30 };
    (void)state;
    int clients[CLIENTS];
    house_with(1, 1, 64);
    atomic_store(&staff[0].mood, HANGS);
    ask_side_by_side(clients, CLIENTS, "GET /orders HTTP/1.1\r\nHost: x\r\nX-Request-Deadline-Ms: 50\r\n\r\n");
    for (int i = 0; i < CLIENTS; i++) {
        assert_true(raw_hear(clients[i]));
        assert_int_equal(raw_status(), 504);
        close(clients[i]);
    }
    assert_int_equal(breaker_peek(&service()->breaker), BREAKER_CLOSED);
}

static void what_came_too_late_never_reaches_a_service(void **state)
{
    (void)state;
    house_with(1, 1, 64);
    assert_int_equal(ask("GET /orders HTTP/1.1\r\nHost: x\r\nX-Request-Deadline-Ms: 0\r\n\r\n"), 504);
    assert_int_equal(atomic_load(&staff[0].asked), 0);
}

/* ---- clients who go away ---- */

static bool is_held(void)
{
    return atomic_load(&staff[0].held) == 1;
}

static bool was_left(void)
{
    return atomic_load(&staff[0].left) == 1 && in_flight() == 0;
}

static bool is_answered(void)
{
    return atomic_load(&staff[0].held) == 0 && in_flight() == 0;
}

static void a_client_that_hangs_up_ends_his_read(void **state)
{
    (void)state;
    int client;
    house_with(1, 1, 64);
    atomic_store(&staff[0].mood, HANGS);
    ask_side_by_side(&client, 1, GET);
    await(is_held, "the service has the request");
    mono_ns_t began = clock_mono_ns();
    close(client);
    await(was_left, "the service is let go of");
    assert_true(clock_mono_ns() - began < 500 * NS_PER_MS);
    struct breaker_view view;
    breaker_look(&service()->breaker, clock_mono_ns(), &view);
    assert_int_equal(view.ignored_total, 1);
    assert_int_equal(view.failed_total, 0);
}

static void a_client_that_hangs_up_does_not_end_his_write(void **state)
{
    (void)state;
    int client;
    house_with(1, 1, 64);
    atomic_store(&staff[0].mood, HANGS);
    ask_side_by_side(&client, 1, POST);
    await(is_held, "the service has the request");
    close(client);
    usleep(100 * 1000); /* five times as long as it takes to see him go */
    assert_int_equal(atomic_load(&staff[0].left), 0);
    atomic_store(&staff[0].mood, WELL);
    await(is_answered, "the service answers");
    assert_int_equal(atomic_load(&staff[0].left), 0);
}

/* ---- names ---- */

static int known_from = 0, known_to = 0; /* whom the name stands for: staff[from..to) */

static bool look_up(const char *host, const char *port, struct address *ret, size_t max, size_t *ret_count,
                    const char **ret_why)
{
    (void)port, (void)max;
    *ret_why = "asked for no name that it knows";
    if (strcmp(host, "order-svc") != 0)
        return false;
    for (int i = known_from; i < known_to; i++) {
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)staff[i].port)};
        a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        struct address *to = &ret[i - known_from];
        memset(to, 0, sizeof(*to));
        memcpy(&to->sock, &a, sizeof(a));
        to->len = sizeof(a);
    }
    *ret_count = (size_t)(known_to - known_from);
    return known_to > known_from;
}

static void a_name_stands_for_those_that_it_has_now(void **state)
{
    (void)state;
    int client;
    for (size_t i = 0; i < 3; i++)
        hire(&staff[i]);
    known_from = 0;
    known_to = 0;
    house_open("order-svc:8080", 1, 64, look_up);
    assert_int_equal(ask(GET), 503); /* nobody yet */

    known_to = 1;
    upstreams_resolve(house.upstreams);
    assert_int_equal(count_of(200, 10, GET), 10);
    assert_int_equal(atomic_load(&staff[0].asked), 10);

    atomic_store(&staff[0].mood, HANGS);
    ask_side_by_side(&client, 1, GET);
    await(is_held, "the first one has a request");
    known_from = 1;
    known_to = 3;
    upstreams_resolve(house.upstreams);
    assert_int_equal(count_of(200, 20, GET), 20);
    assert_int_equal(atomic_load(&staff[0].asked), 11);
    assert_true(atomic_load(&staff[1].asked) > 0 && atomic_load(&staff[2].asked) > 0);
    atomic_store(&staff[0].mood, WELL);
    assert_true(raw_hear(client)); /* it was under way, and ends well */
    assert_int_equal(raw_status(), 200);
    close(client);

    known_to = known_from;
    upstreams_resolve(house.upstreams); /* nobody has that name: those that had it stay */
    assert_int_equal(count_of(200, 10, GET), 10);
}

#define STORY(name) cmocka_unit_test_teardown(name, close_house)

int main(void)
{
    static const struct CMUnitTest TESTS[] = {
        STORY(requests_are_spread_over_the_instances),
        STORY(one_that_is_slow_gets_less),
        STORY(what_no_instance_took_goes_to_another),
        STORY(no_instance_has_more_than_the_bulkhead_lets_through_over_all_loops),
        STORY(one_of_two_that_fails_is_left_out_and_comes_back),
        STORY(when_all_fail_none_is_left_out_and_the_circuit_opens),
        STORY(a_service_that_was_killed_opens_it_by_five_and_closes_it_when_it_is_back),
        STORY(a_service_that_hangs_opens_it_and_is_asked_by_a_few_only),
        STORY(a_client_in_a_hurry_does_not_open_it_for_others),
        STORY(what_came_too_late_never_reaches_a_service),
        STORY(a_client_that_hangs_up_ends_his_read),
        STORY(a_client_that_hangs_up_does_not_end_his_write),
        STORY(a_name_stands_for_those_that_it_has_now),
    };
    return cmocka_run_group_tests(TESTS, NULL, NULL);
}
