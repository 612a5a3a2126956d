/* api.h — the routes of txn-svc: decode → command or query → encode. No SQL, no rules.
 *
 * Owns    what a handler needs lives in its call's arena.
 * Threads handlers: their loop's; queries: a reader's; answers: the lane's or the waiters'.
 * Fails   by returning an err: the HTTP frame answers the problem.
 */
#ifndef TXN_SVC_API_H
#define TXN_SVC_API_H

#include "svc/service.h"

extern const struct http_route TXN_SVC_ROUTES[];
/* Reads awaited transfers again and offers them. */
waiters_reread api_reread;
/* Gauges of sagas under way. */
void api_measure(void *app, struct db *db);
MUST_CHECK enum err api_open(struct service *s, struct fault *fault);
void api_close(struct service *s);

#endif
