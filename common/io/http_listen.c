#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/http_private.h"

enum { BACKLOG = 4096 };

static enum err resolve(const char *listen_text, struct addrinfo **ret, struct fault *fault)
{
    char host[64];
    const char *colon = strrchr(listen_text, ':');
    struct str h = {listen_text, colon == NULL ? 0 : (size_t)(colon - listen_text)};
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE};
    if (h.len >= 2 && h.data[0] == '[' && h.data[h.len - 1] == ']')
        h = (struct str){h.data + 1, h.len - 2};
    bool fits = str_copy(host, sizeof host, h);
    if (colon == NULL || !fits || getaddrinfo(host[0] == '\0' ? NULL : host, colon + 1, &hints, ret) != 0)
        return fault_set(fault, ERR_CONF, "listen on \"%s\": it must be an IP address, a colon and a port",
                         listen_text);
    return ERR_OK;
}

/* The first socket is bound without SO_REUSEPORT, so that a port that another process serves is refused and not shared. */
static int bind_socket(const struct sockaddr *addr, socklen_t len, bool first)
{
    int on = 1;
    int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (!first)
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    bool bound = bind(fd, addr, len) == 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0;
    if (bound && listen(fd, BACKLOG) == 0)
        return fd;
    int reason = errno;
    close(fd);
    errno = reason;
    return -1;
}

static int port_of(const struct sockaddr_storage *addr)
{
    if (addr->ss_family == AF_INET6)
        return ntohs(((const struct sockaddr_in6 *)(const void *)addr)->sin6_port);
    return ntohs(((const struct sockaddr_in *)(const void *)addr)->sin_port);
}

/* With port 0 the kernel chooses one for the first socket; the others take the same. */
enum err http_listen(const char *listen_text, int count, int *ret_fds, int *ret_port, struct fault *fault)
{
    struct sockaddr_storage addr = {0};
    struct addrinfo *info = NULL;
    enum err e = resolve(listen_text, &info, fault);
    if (e != ERR_OK)
        return e;
    assert(info != NULL);
    socklen_t len = info->ai_addrlen;
    memcpy(&addr, info->ai_addr, len);
    freeaddrinfo(info);

    for (int i = 0; i < count; i++) {
        ret_fds[i] = bind_socket((const struct sockaddr *)&addr, len, i == 0);
        if (ret_fds[i] < 0)
            return fault_set(fault, ERR_CONF, "listen on \"%s\": %s", listen_text, strerror(errno));
        (void)getsockname(ret_fds[i], (struct sockaddr *)&addr, &len);
    }
    *ret_port = port_of(&addr);
    return ERR_OK;
}
