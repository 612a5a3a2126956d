/* api_private.h — what the files of routes share.
 *
 * Owns    as api.h says.  Threads: any.  Fails: as each line says.
 */
#ifndef AUTH_SVC_API_PRIVATE_H
#define AUTH_SVC_API_PRIVATE_H

#include "api.h"
#include "auth.h"
#include "commands.h"
#include "password.h"
#include "store.h"

#define AUTH_PATH "/api/v1/auth"
#define TRAIL_PATH "/api/v1/admin/audit-log"
enum { LIST_LIMIT_DEFAULT = 50, LIST_LIMIT_MAX = 200 };

static inline struct auth *api_auth(const struct call *call)
{
    return auth_of(call_service(call));
}

/* lane_submit for a call that is deferred already. After ERR_OK the call is somebody else's. */
MUST_CHECK enum err api_submit(struct call *call, struct lane_item *item);
/* A command that makes nothing and has no key of the lane's. */
struct lane_item *api_command(struct call *call, const struct lane_verb *verb, void *args, int64_t customer_id);
/* For a user as he is now, of a session that ends at `expire_date` at the latest (0: not soon). */
MUST_CHECK enum err api_sign(struct call *call, const struct user *u, struct uuid sid, time_us_t expire_date,
                             struct token_claims *ret_claims, char **ret_token);
/* What POST /auth/login and /auth/refresh answer. */
void api_reply_tokens(struct call *call, const struct token_claims *claims, const char *access_token,
                      const char *refresh_token);
/* Which buckets an attempt at this name's password falls into (u: NULL for nobody's); a reader's step. */
MUST_CHECK enum err api_guard(struct call *call, struct db *db, const char *username, const struct user *u,
                              struct guard_keys *ret);
/* Counts the attempt, and goes on with `then` on a hasher's thread; or answers 429. After ERR_OK the call is somebody else's. */
MUST_CHECK enum err api_try_password(struct call *call, const struct guard_keys *guard, int64_t customer_id,
                                     http_handler *then);
/* Writes a failure down and then answers it: for a deferred call. customer_id 0: nobody we know. */
MUST_CHECK enum err api_login_failed(struct call *call, enum trail_type type, int64_t customer_id);

/* The end of a list: "nextCursor", and the object. */
void api_close_list(struct json_out *o, bool more, time_us_t last_at, struct uuid last_id);

extern const struct field API_NO_FIELDS[];
field_check api_check_username; /* lower-cases it */
/* As an admin sees him. */
void api_write_user(struct json_out *o, const struct user *u);

http_handler api_on_refresh, api_on_logout, api_on_list_sessions, api_on_end_session, api_on_password;
http_handler api_on_create_user, api_on_list_users, api_on_get_user, api_on_change_user, api_on_end_sessions;
http_handler api_on_list_trail, api_on_record;

#endif
