/* loadgen — a closed-loop HTTP/1.1 load generator for our own API.
 *
 *     loadgen --port 8080 --keys DIR --mode orders --clients 64 --seconds 10
 *
 * One thread, one epoll. Each client is a keep-alive connection that sends its next request when its answer is whole. Customers
 * are made by signing tokens for them (a customer's own token is proof enough of him); `--mode deposits` gives each of them
 * money once. It only ever connects to 127.0.0.1 and ends by itself. Prints one JSON object: latencies are in ms.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/token.h"

enum {
    CLIENTS_MAX = 4096,
    SECONDS_MAX = 600,
    CUSTOMERS_MAX = 100000,
    ANSWER_MAX = 64 * 1024,
    REQUEST_MAX = 4096,
    STUCK_S = 15
};

struct options {
    int port, clients, seconds, assets;
    int64_t customers, first_customer;
    const char *keys, *mode;
};

struct client {
    int fd;
    char request[REQUEST_MAX];
    size_t request_len, sent;
    char answer[ANSWER_MAX];
    size_t received;
    mono_ns_t started;
    bool idle; /* nothing left to send */
};

struct run {
    struct options opt;
    char **tokens;
    struct client *clients;
    int epoll_fd;
    mono_ns_t began, ends;
    uint64_t made, done, errors;
    uint64_t statuses[600];
    float *latencies;
    size_t latency_cap;
    uint64_t random, key_salt;
};

static void die(const char *what)
{
    fprintf(stderr, "loadgen: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t next_random(struct run *r)
{
    r->random ^= r->random << 13;
    r->random ^= r->random >> 7;
    r->random ^= r->random << 17;
    return r->random;
}

/* ---- requests ---- */

static int write_body(struct run *r, char *ret, size_t cap)
{
    if (strcmp(r->opt.mode, "deposits") == 0)
        return snprintf(ret, cap, "{\"amount\":\"1000000000\"}");
    return snprintf(ret, cap, "{\"assetName\":\"BNCH%d\",\"orderSide\":\"BUY\",\"size\":\"%d\",\"price\":\"%d.%02d\"}",
                    (int)(next_random(r) % (uint64_t)r->opt.assets), 1 + (int)(next_random(r) % 100),
                    1 + (int)(next_random(r) % 500), (int)(next_random(r) % 100));
}

static const char *path_of(const struct run *r)
{
    return strcmp(r->opt.mode, "deposits") == 0 ? "/api/v1/transactions/deposits" : "/api/v1/orders";
}

static bool is_over(const struct run *r)
{
    if (strcmp(r->opt.mode, "deposits") == 0)
        return r->made >= (uint64_t)r->opt.customers;
    return clock_mono_ns() >= r->ends;
}

/* false: nothing left to do. */
static bool next_request(struct run *r, struct client *c)
{
    if (is_over(r))
        return false;
    bool deposits = strcmp(r->opt.mode, "deposits") == 0;
    uint64_t customer = (deposits ? r->made : next_random(r)) % (uint64_t)r->opt.customers;
    char body[256];
    int body_len = write_body(r, body, sizeof body);
    int len = snprintf(
        c->request, sizeof c->request,
        "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n"
        "Idempotency-Key: bench-%016llx-%llu\r\nContent-Length: %d\r\n\r\n%s",
        path_of(r), r->tokens[customer], (unsigned long long)r->key_salt, (unsigned long long)r->made, body_len, body);
    if (len < 0 || (size_t)len >= sizeof c->request)
        die("a request is too long");
    r->made++;
    c->request_len = (size_t)len;
    c->sent = c->received = 0;
    c->started = clock_mono_ns();
    return true;
}

/* ---- answers ---- */

/* The status of a whole answer, 0 while it is not whole. */
static int whole_answer(const struct client *c)
{
    const char *end = memmem(c->answer, c->received, "\r\n\r\n", 4);
    if (end == NULL)
        return 0;
    size_t head = (size_t)(end - c->answer) + 4;
    size_t body = 0;
    for (const char *line = memchr(c->answer, '\n', head); line != NULL && line + 1 < end;
         line = memchr(line + 1, '\n', (size_t)(end - line)))
        if (strncasecmp(line + 1, "Content-Length:", 15) == 0)
            body = strtoul(line + 16, NULL, 10);
    return c->received >= head + body ? (int)strtol(c->answer + 9, NULL, 10) : 0;
}

static void note(struct run *r, const struct client *c, int status)
{
    if (r->done == r->latency_cap) {
        r->latency_cap = r->latency_cap ? r->latency_cap * 2 : 1 << 16;
        r->latencies = realloc(r->latencies, r->latency_cap * sizeof *r->latencies);
        if (r->latencies == NULL)
            die("no memory");
    }
    r->latencies[r->done++] = (float)(clock_mono_ns() - c->started) / 1e6f;
    r->statuses[status < 600 ? status : 599]++;
    if (status != 201) {
        if (r->errors++ < 3)
            fprintf(stderr, "loadgen: %.*s\n", (int)c->received, c->answer);
    }
}

static void pump(struct run *r, struct client *c);

static void begin_next(struct run *r, struct client *c)
{
    c->idle = !next_request(r, c);
    if (!c->idle)
        pump(r, c);
}

static bool send_some(struct client *c)
{
    while (c->sent < c->request_len) {
        ssize_t n = send(c->fd, c->request + c->sent, c->request_len - c->sent, MSG_NOSIGNAL);
        if (n < 0)
            return errno == EAGAIN;
        c->sent += (size_t)n;
    }
    return true;
}

static void pump(struct run *r, struct client *c)
{
    if (!send_some(c))
        die("send");
    for (;;) {
        ssize_t n = recv(c->fd, c->answer + c->received, sizeof c->answer - c->received, 0);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0)
            die("a connection was closed");
        c->received += (size_t)n;
        int status = whole_answer(c);
        if (status == 0)
            continue;
        note(r, c, status);
        begin_next(r, c);
        return;
    }
}

/* ---- the run ---- */

static void connect_client(struct run *r, struct client *c)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)r->opt.port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof to) != 0)
        die("connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
    if (epoll_ctl(r->epoll_fd, EPOLL_CTL_ADD, c->fd, &e) != 0)
        die("epoll_ctl");
}

static bool all_idle(const struct run *r)
{
    for (int i = 0; i < r->opt.clients; i++)
        if (!r->clients[i].idle)
            return false;
    return true;
}

static void drive(struct run *r)
{
    for (int i = 0; i < r->opt.clients; i++)
        connect_client(r, &r->clients[i]);
    r->began = clock_mono_ns();
    r->ends = r->began + r->opt.seconds * NS_PER_S;
    for (int i = 0; i < r->opt.clients; i++)
        begin_next(r, &r->clients[i]);
    while (!all_idle(r)) {
        struct epoll_event events[256];
        int n = epoll_wait(r->epoll_fd, events, 256, STUCK_S * 1000);
        if (n == 0)
            die("no answer for a long time");
        for (int i = 0; i < n; i++) {
            struct client *c = events[i].data.ptr;
            if (!c->idle)
                pump(r, c);
        }
    }
}

static void make_tokens(struct run *r)
{
    struct token_signer *signer;
    struct fault fault;
    if (token_signer_open(r->opt.keys, &signer, &fault) != ERR_OK) {
        fprintf(stderr, "loadgen: %s\n", fault.why);
        exit(1);
    }
    struct arena *arena = malloc(sizeof *arena); /* lives as long as the process */
    arena_init(arena);
    r->tokens = calloc((size_t)r->opt.customers, sizeof *r->tokens);
    int64_t now = clock_now_us() / US_PER_S;
    for (int64_t i = 0; i < r->opt.customers; i++) {
        struct token_claims claims = {.customer_id = r->opt.first_customer + i,
                                      .role = ROLE_CUSTOMER,
                                      .sid = uuid_v7(),
                                      .iat = now,
                                      .exp = now + TOKEN_LIFE_S};
        if (token_sign(signer, &claims, arena, &r->tokens[i], &fault) != ERR_OK) {
            fprintf(stderr, "loadgen: %s\n", fault.why);
            exit(1);
        }
    }
    token_signer_close(signer);
}

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static float percentile(const struct run *r, double p)
{
    return r->done ? r->latencies[(size_t)((double)(r->done - 1) * p)] : 0;
}

static void report(struct run *r)
{
    double seconds = (double)(clock_mono_ns() - r->began) / 1e9;
    qsort(r->latencies, r->done, sizeof *r->latencies, by_value);
    printf("{\"mode\":\"%s\",\"clients\":%d,\"seconds\":%.3f,\"requests\":%llu,\"errors\":%llu,\"rate\":%.1f,"
           "\"p50_ms\":%.3f,\"p90_ms\":%.3f,\"p99_ms\":%.3f,\"max_ms\":%.3f,\"statuses\":{",
           r->opt.mode, r->opt.clients, seconds, (unsigned long long)r->done, (unsigned long long)r->errors,
           (double)r->done / seconds, (double)percentile(r, 0.5), (double)percentile(r, 0.9),
           (double)percentile(r, 0.99), (double)percentile(r, 1));
    const char *comma = "";
    for (int s = 0; s < 600; s++)
        if (r->statuses[s]) {
            printf("%s\"%d\":%llu", comma, s, (unsigned long long)r->statuses[s]);
            comma = ",";
        }
    printf("}}\n");
}

static long number(const char *text, long low, long high)
{
    char *end;
    long v = strtol(text, &end, 10);
    if (*end != 0 || v < low || v > high) {
        fprintf(stderr, "loadgen: '%s' is not within %ld..%ld\n", text, low, high);
        exit(2);
    }
    return v;
}

static struct options parse(int argc, char **argv)
{
    static const struct option OPTIONS[] = {
        {"port", 1, NULL, 'p'},    {"keys", 1, NULL, 'k'},           {"mode", 1, NULL, 'm'},
        {"clients", 1, NULL, 'c'}, {"seconds", 1, NULL, 's'},        {"customers", 1, NULL, 'n'},
        {"assets", 1, NULL, 'a'},  {"first-customer", 1, NULL, 'f'}, {NULL, 0, NULL, 0},
    };
    struct options o = {.port = 8080,
                        .clients = 1,
                        .seconds = 5,
                        .assets = 10,
                        .customers = 1000,
                        .first_customer = 1000000,
                        .mode = "orders"};
    for (int c; (c = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1;) {
        switch (c) {
        case 'p':
            o.port = (int)number(optarg, 1, 65535);
            break;
        case 'k':
            o.keys = optarg;
            break;
        case 'm':
            o.mode = optarg;
            break;
        case 'c':
            o.clients = (int)number(optarg, 1, CLIENTS_MAX);
            break;
        case 's':
            o.seconds = (int)number(optarg, 1, SECONDS_MAX);
            break;
        case 'n':
            o.customers = number(optarg, 1, CUSTOMERS_MAX);
            break;
        case 'a':
            o.assets = (int)number(optarg, 1, 1000);
            break;
        case 'f':
            o.first_customer = number(optarg, 1, 1L << 50);
            break;
        default:
            exit(2);
        }
    }
    if (o.keys == NULL || (strcmp(o.mode, "orders") != 0 && strcmp(o.mode, "deposits") != 0)) {
        fprintf(stderr,
                "usage: loadgen --keys DIR --mode orders|deposits [--port N --clients N --seconds N --customers N]\n");
        exit(2);
    }
    return o;
}

int main(int argc, char **argv)
{
    struct run r = {.opt = parse(argc, argv), .random = 88172645463325252ull};
    id_random_bytes(&r.key_salt, sizeof r.key_salt);
    r.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    r.clients = calloc((size_t)r.opt.clients, sizeof *r.clients);
    if (r.epoll_fd < 0 || r.clients == NULL)
        die("start");
    make_tokens(&r);
    drive(&r);
    report(&r);
    return r.errors != 0;
}
