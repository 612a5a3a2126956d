/* api.h — the routes of asset-svc: decode → command or query → encode. No SQL, no rules.
 *
 * Owns    what a handler needs lives in its call's arena.
 * Threads handlers: their loop's; queries: a reader's; answers: the lane's.
 * Fails   by returning an err: the HTTP frame answers the problem.
 */
#ifndef ASSET_SVC_API_H
#define ASSET_SVC_API_H

#include "svc/service.h"

extern const struct http_route ASSET_SVC_ROUTES[];
void api_answer_bring_in(struct lane_item *it);

#endif
