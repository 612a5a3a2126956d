#include "support/raw_http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "unit/unit.h"

enum { BACKLOG = 64, VALUE_MAX = 1024 };

char heard[RAW_TEXT_MAX];

static struct sockaddr_in loopback(int port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
}

int raw_listen(int *ret_port)
{
    struct sockaddr_in a = loopback(0);
    socklen_t len = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, len), 0);
    assert_int_equal(listen(fd, BACKLOG), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    *ret_port = ntohs(a.sin_port);
    return fd;
}

int raw_connect(int port)
{
    struct sockaddr_in a = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    if (connect(fd, (struct sockaddr *)&a, sizeof(a)) != 0)
        fail_msg("connect to port %d: %s", port, strerror(errno));
    return fd;
}

bool raw_can_connect(int port)
{
    struct sockaddr_in a = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    bool connected = connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0;
    close(fd);
    return connected;
}

int raw_accept(int listener)
{
    if (!raw_is_readable(listener, RAW_PATIENCE_MS))
        fail_msg("nobody connected");
    return accept4(listener, NULL, NULL, SOCK_CLOEXEC);
}

bool raw_is_readable(int fd, int timeout_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, timeout_ms) == 1;
}

bool raw_is_closed(int fd)
{
    return raw_is_readable(fd, RAW_PATIENCE_MS) && recv(fd, heard, sizeof(heard) - 1, 0) <= 0;
}

void raw_say_bytes(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);
        if (n < 0)
            fail_msg("send: %s", strerror(errno));
        bytes += n;
        len -= (size_t)n;
    }
}

void raw_say(int fd, const char *words)
{
    raw_say_bytes(fd, words, strlen(words));
}

static size_t hear_some(int fd, size_t at)
{
    if (!raw_is_readable(fd, RAW_PATIENCE_MS))
        fail_msg("nothing came; until now: %.*s", (int)at, heard);
    ssize_t n = recv(fd, heard + at, sizeof(heard) - 1 - at, 0);
    size_t got = n < 0 ? 0 : (size_t)n;
    heard[at + got] = '\0';
    return got;
}

/* The bytes that came; 0: the other side closed first. */
static size_t hear_head(int fd)
{
    size_t at = 0;
    heard[0] = '\0';
    while (strstr(heard, "\r\n\r\n") == NULL) {
        size_t got = hear_some(fd, at);
        if (got == 0)
            return 0;
        at += got;
    }
    return at;
}

void raw_hear_head(int fd)
{
    assert_true(hear_head(fd) > 0);
}

bool raw_hear(int fd)
{
    size_t at = hear_head(fd);
    if (at == 0)
        return false;
    const char *length = raw_header("Content-Length");
    size_t whole = (size_t)(raw_body() - heard) + (length == NULL ? 0 : strtoul(length, NULL, 10));
    while (at < whole) {
        size_t got = hear_some(fd, at);
        if (got == 0)
            return false;
        at += got;
    }
    return true;
}

int raw_status(void)
{
    return (int)strtol(heard + sizeof("HTTP/1.1 ") - 1, NULL, 10);
}

const char *raw_header(const char *name)
{
    static char value[VALUE_MAX];
    size_t len = strlen(name);
    const char *end = strstr(heard, "\r\n\r\n");
    for (const char *line = strstr(heard, "\r\n"); line != NULL && line < end; line = strstr(line + 2, "\r\n")) {
        if (strncasecmp(line + 2, name, len) != 0 || line[2 + len] != ':')
            continue;
        const char *from = line + 2 + len + 1 + strspn(line + 2 + len + 1, " ");
        snprintf(value, sizeof(value), "%.*s", (int)strcspn(from, "\r"), from);
        return value;
    }
    return NULL;
}

const char *raw_body(void)
{
    return strstr(heard, "\r\n\r\n") + 4;
}
