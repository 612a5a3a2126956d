/* api.h — the routes of auth-svc: decode → query, hash, command → encode. No SQL, no rules.
 *
 * For     a call that registers or logs in goes through four hands, each by a step of its own that hands it on: its loop
 *         (decode), a reader (the user's row), a hasher (argon2id, the signature), the lane (the change), whose answer or
 *         whose waiter ends it.
 * Owns    what a step needs lives in its call's arena, at call->state.
 * Threads as said; answers: the lane's or the waiters'.
 * Fails   by returning an err: the HTTP frame answers the problem.
 */
#ifndef AUTH_SVC_API_H
#define AUTH_SVC_API_H

#include "svc/service.h"

/* One sentence for all who may not come in: unknown, disabled, wrong password. */
#define API_BAD_CREDENTIALS "the user name or the password is wrong"
/* And one for every refresh token that is not taken: unknown, used, expired, ended. */
#define API_BAD_REFRESH_TOKEN "the refresh token is not valid: log in again"

extern const struct http_route AUTH_SVC_ROUTES[];
/* Reads awaited users again and offers them. */
waiters_reread api_reread;
/* The lane's answers. */
void api_answer_register(struct lane_item *it);
void api_answer_login(struct lane_item *it);
void api_answer_try_password(struct lane_item *it);
void api_answer_login_failed(struct lane_item *it);
void api_answer_refresh(struct lane_item *it);
void api_answer_user(struct lane_item *it);
void api_answer_done(struct lane_item *it); /* 204 */

#endif
