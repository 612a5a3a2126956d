/* http_route.h — from method and path to a route.
 *
 * For     http.c. A path's literal segments are preferred to parameters ("/orders/estimate" to "/orders/{id}"), so the order of
 *         the table doesn't matter.
 * Owns    a table refers to the routes it was made from; they must outlive it.
 * Threads making: one. Finding: any at once.
 * Fails   making: ERR_BUG naming the route that is wrong. Finding: ERR_NOT_FOUND, ERR_METHOD_NOT_ALLOWED.
 */
#ifndef IO_HTTP_ROUTE_H
#define IO_HTTP_ROUTE_H

#include "io/http.h"

enum { HTTP_SEGMENTS_MAX = 10, HTTP_ALLOW_MAX = 64 };

struct route_table;

struct route_match {
    const struct http_route *route;          /* NULL when none */
    struct str params[HTTP_PATH_PARAMS_MAX]; /* still encoded, pieces of the path */
    size_t param_count;
    const char *allow; /* "GET, HEAD, POST": what the path can; NULL when there is no such path */
};

MUST_CHECK enum err route_table_new(const struct http_route *routes, struct route_table **ret, struct fault *fault);
void route_table_free(struct route_table *t);
/* HEAD finds the route of GET. On ERR_METHOD_NOT_ALLOWED, ret->allow is set. */
MUST_CHECK enum err route_find(const struct route_table *t, enum http_method method, const char *path,
                               struct route_match *ret);

#endif
