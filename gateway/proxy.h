/* proxy.h — a client's request to a service, and its answer back.
 *
 * For     the routes with an "upstream": proxy_request is their handler. What goes on is as request.h says.
 * Owns    what it needs for a call lives in the call's arena.
 * Threads the call's loop, from beginning to end.
 * Fails   with our own problem: 503 when the service surely did nothing (or was only read), 504 outcome_unknown otherwise. A
 *         service's own problem passes through as it is.
 *
 * A request is sent again as delivery.h says. A client who hangs up while he only reads ends the request to the service; what
 * he asked to be done is done.
 */
#ifndef GATEWAY_PROXY_H
#define GATEWAY_PROXY_H

#include "gateway/routes.h"

/* conf.app of the server that has proxy_request for a handler must be a struct routes. */
http_handler proxy_request;
void *proxy_thread_start(void *app, struct loop *loop); /* http_server_conf.thread_start */
void proxy_thread_stop(void *app, void *local);

#endif
