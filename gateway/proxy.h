/* proxy.h — a client's request to a service, and its answer back.
 *
 * For     main gives proxy_request as every route's handler. By then the HTTP server has checked the request's form, its token
 *         and its role, and has dropped what a client must not say (http.h). What goes on is a short list of headers, plus our
 *         own: X-Request-Id, traceparent, X-Request-Deadline-Ms (what is left), X-Forwarded-For (the peer).
 * Owns    what it needs for a call lives in the call's arena.
 * Threads the call's loop, from beginning to end.
 * Fails   with our own problem: 503 when the service surely did nothing (or was only read), 504 outcome_unknown otherwise. A
 *         service's own problem passes through as it is.
 *
 * A request is sent again, once and on a fresh connection, only when the connection had been used before and broke before an
 * answer began (the service closed it just then), and if no byte of it was written, or sending it twice does no harm: a method
 * that is idempotent, or a route that honours the Idempotency-Key that it carries.
 */
#ifndef GATEWAY_PROXY_H
#define GATEWAY_PROXY_H

#include "gateway/routes.h"

/* conf.app of the server that has proxy_request for a handler must be a struct routes. */
http_handler proxy_request;
void *proxy_thread_start(void *app, struct loop *loop); /* http_server_conf.thread_start */
void proxy_thread_stop(void *app, void *local);

#endif
