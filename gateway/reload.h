/* reload.h — the config file read again while the gateway runs: other routes, policies and upstreams, no request lost.
 *
 * For     main, at SIGHUP. A wrong file is refused whole, with every complaint in the log, and the old one stays. Requests under way
 *         end by the routes they began with. What a key has used of a policy stays used (a changed policy's is rescaled), and
 *         breakers of services that stay keep their state. Settings (the members in capitals) need a start.
 * Owns    each file's routes until no request has them any more; the first ones are main's.
 * Threads main, but for the release of old routes.
 * Fails   by the log and gateway_config_reloads_total{result="refused"}.
 */
#ifndef GATEWAY_RELOAD_H
#define GATEWAY_RELOAD_H

#include "gateway/resolver.h"
#include "gateway/routes.h"

struct reload {
    const char *path;
    const struct route_handlers *handlers;
    struct upstreams *upstreams;
    struct resolver *resolver; /* is woken: the file may name hosts that are new */
    struct limiter *limiter;
    struct http_server *server;
    struct log *log;
    struct metrics *metrics;
    bool limits;
    const struct routes *current;
};
/* At start, when r->current is served: makes the series. */
void reload_begin(struct reload *r);
void reload_routes(struct reload *r);

#endif
