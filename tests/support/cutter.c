#include "support/cutter.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "unit/unit.h"

enum { WIRES_MAX = 128, BYTES_MAX = 16384, TAIL_MAX = 16, LOOK_EVERY_MS = 10 };

/* What the lane calls its statement (lane_batch.c), and what the server answers when it has committed. */
static const char ASKED[] = "lane_commit";
static const char DONE[] = "COMMIT";

struct end {
    int fd;
    char tail[TAIL_MAX]; /* the last bytes that came from it: a word may come in two pieces */
    size_t tail_len;
};
struct wire {
    struct end client, server;
    enum cut cut; /* what is under way here */
};
struct cutter {
    struct sockaddr_in there;
    char address[32];
    int listener;
    pthread_t thread;
    struct wire wires[WIRES_MAX];
    size_t count;
    atomic_bool ending;
    atomic_int armed, cuts;
};

static void shut(struct end *e)
{
    if (e->fd >= 0)
        close(e->fd);
    e->fd = -1;
}

/* Looks for `word` in what came from this end, the last piece included. */
static bool end_says(struct end *e, const char *word, const char *bytes, size_t len)
{
    char text[TAIL_MAX + BYTES_MAX];
    memcpy(text, e->tail, e->tail_len);
    memcpy(text + e->tail_len, bytes, len);
    size_t all = e->tail_len + len;
    bool says = memmem(text, all, word, strlen(word)) != NULL;
    e->tail_len = all < TAIL_MAX ? all : TAIL_MAX;
    memcpy(e->tail, text + all - e->tail_len, e->tail_len);
    return says;
}

static void pass(struct wire *w, struct end *to, const char *bytes, size_t len)
{
    if (send(to->fd, bytes, len, MSG_NOSIGNAL) == (ssize_t)len)
        return;
    shut(&w->client);
    shut(&w->server);
}

/* The server end stays open where it hangs; it is shut when the cutter goes. */
static void cut(struct cutter *c, struct wire *w)
{
    shut(&w->client);
    if (w->cut != CUT_BEFORE_HUNG && w->cut != CUT_AFTER_HUNG)
        shut(&w->server);
    atomic_fetch_add(&c->cuts, 1);
}

static void from_client(struct cutter *c, struct wire *w, const char *bytes, size_t len)
{
    if (!end_says(&w->client, ASKED, bytes, len) || atomic_load(&c->armed) == CUT_NOT) {
        pass(w, &w->server, bytes, len);
        return;
    }
    w->cut = (enum cut)atomic_exchange(&c->armed, CUT_NOT);
    if (w->cut == CUT_BEFORE || w->cut == CUT_BEFORE_HUNG) {
        cut(c, w);
        return;
    }
    w->server.tail_len = 0;
    pass(w, &w->server, bytes, len);
    if (w->cut == CUT_BLIND)
        cut(c, w);
}

static void from_server(struct cutter *c, struct wire *w, const char *bytes, size_t len)
{
    bool swallows = w->cut == CUT_AFTER || w->cut == CUT_AFTER_HUNG;
    if (!swallows)
        pass(w, &w->client, bytes, len);
    else if (end_says(&w->server, DONE, bytes, len))
        cut(c, w);
}

static void on_readable(struct cutter *c, struct wire *w, bool client)
{
    char bytes[BYTES_MAX];
    struct end *from = client ? &w->client : &w->server;
    ssize_t n = recv(from->fd, bytes, sizeof bytes, 0);
    if (n <= 0) {
        shut(&w->client);
        shut(&w->server);
    } else if (client) {
        from_client(c, w, bytes, (size_t)n);
    } else {
        from_server(c, w, bytes, (size_t)n);
    }
}

static void on_connect(struct cutter *c)
{
    int client = accept4(c->listener, NULL, NULL, SOCK_CLOEXEC);
    int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    size_t at = 0;
    while (at < c->count && (c->wires[at].client.fd >= 0 || c->wires[at].server.fd >= 0))
        at++;
    if (client < 0 || server < 0 || at == WIRES_MAX)
        abort(); /* a test that fails here, on another thread than its own, would not come to its end */
    c->count += at == c->count;
    c->wires[at] = (struct wire){.client.fd = client, .server.fd = server};
    if (connect(server, (const struct sockaddr *)&c->there, sizeof c->there) == 0)
        return;
    shut(&c->wires[at].client);
    shut(&c->wires[at].server);
}

static void *run(void *arg)
{
    struct cutter *c = arg;
    while (!atomic_load(&c->ending)) {
        struct pollfd fds[1 + 2 * WIRES_MAX] = {{.fd = c->listener, .events = POLLIN}};
        size_t count = c->count;
        for (size_t i = 0; i < count; i++) {
            fds[1 + 2 * i] = (struct pollfd){.fd = c->wires[i].client.fd, .events = POLLIN};
            bool hangs = c->wires[i].client.fd < 0;
            fds[2 + 2 * i] = (struct pollfd){.fd = hangs ? -1 : c->wires[i].server.fd, .events = POLLIN};
        }
        if (poll(fds, (nfds_t)(1 + 2 * count), LOOK_EVERY_MS) <= 0)
            continue;
        for (size_t i = 0; i < 2 * count; i++) {
            struct wire *w = &c->wires[i / 2];
            if (fds[1 + i].revents != 0 && w->client.fd >= 0)
                on_readable(c, w, i % 2 == 0);
        }
        if (fds[0].revents != 0)
            on_connect(c);
    }
    return NULL;
}

struct cutter *cutter_new(const char *server)
{
    struct cutter *c = mem_alloc(sizeof *c);
    const char *colon = strrchr(server, ':');
    assert_non_null(colon);
    c->there = (struct sockaddr_in){.sin_family = AF_INET,
                                    .sin_port = htons((uint16_t)strtol(colon + 1, NULL, 10)),
                                    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof here;
    c->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(c->listener, (struct sockaddr *)&here, len), 0);
    assert_int_equal(listen(c->listener, 16), 0);
    assert_int_equal(getsockname(c->listener, (struct sockaddr *)&here, &len), 0);
    snprintf(c->address, sizeof c->address, "127.0.0.1:%d", ntohs(here.sin_port));
    assert_int_equal(pthread_create(&c->thread, NULL, run, c), 0);
    return c;
}

const char *cutter_address(const struct cutter *c)
{
    return c->address;
}

void cutter_arm(struct cutter *c, enum cut cut)
{
    atomic_store(&c->armed, cut);
}

int cutter_cuts(struct cutter *c)
{
    return atomic_load(&c->cuts);
}

void cutter_free(struct cutter *c)
{
    atomic_store(&c->ending, true);
    pthread_join(c->thread, NULL);
    for (size_t i = 0; i < c->count; i++) {
        shut(&c->wires[i].client);
        shut(&c->wires[i].server);
    }
    close(c->listener);
    mem_free(c);
}
