/* api.h — the routes of admin-svc: decode → command or query → encode. No SQL, no rules.
 *
 * Owns    what a handler needs lives in its call's arena.
 * Threads handlers: their loop's; queries: a reader's; answers: the lane's or the waiters'.
 * Fails   by returning an err: the HTTP frame answers the problem.
 */
#ifndef ADMIN_SVC_API_H
#define ADMIN_SVC_API_H

#include "svc/service.h"

/* service->app. */
struct admin_app {
    struct gauge *matches_open, *matches_age;
    size_t waiting; /* matches behind a barrier at the last look; the lane's thread only */
};

extern const struct http_route ADMIN_SVC_ROUTES[];
/* Looks which awaited matches are done and offers them. */
waiters_reread api_reread;
/* Gauges of sagas under way. */
void api_measure(void *app, struct db *db);
MUST_CHECK enum err api_open(struct service *s, struct fault *fault);
void api_close(struct service *s);

#endif
