/* auth.h — what auth-svc has beside the parts of every service: opened, closed, tended once a second.
 *
 * Owns    signer, hashers, keys; valid between auth_open and auth_close.
 * Threads auth_open, auth_close, auth_tick: the process thread. auth_measure: the lane's. What stands in struct auth is const
 *         after auth_open, or any thread's.
 * Fails   auth_open: ERR_CONF when the signing keys or the JWKS can't be read.
 */
#ifndef AUTH_SVC_AUTH_H
#define AUTH_SVC_AUTH_H

#include <stdatomic.h>

#include "hashers.h"
#include "jwks.h"
#include "password.h"
#include "password_list.h"
#include "svc/service.h"

/* What is known of admins: the lane looks every few seconds. */
enum auth_admins { ADMINS_UNKNOWN, ADMINS_NONE, ADMINS_ASKED_FOR, ADMINS_THERE };

enum { AUTH_PRUNE_S = 60 };

struct auth {
    struct token_signer *signer;
    struct hashers *hashers;
    struct jwks *jwks;
    struct password_list *passwords; /* NULL: none was given */
    struct password_cost cost;
    char nobody[PASSWORD_HASH_MAX]; /* password_hash_of_nobody */
    struct counter *logins, *logins_refused;
    struct gauge *unopened, *unopened_age;
    _Atomic int admins;
    bool told_no_admin;   /* auth_tick's: the log was */
    mono_ns_t next_prune; /* auth_tick's, and so is the next */
    struct buf keys_told; /* jwks_write_names as the lane was told of it last */
};
static inline struct auth *auth_of(const struct service *s)
{
    return s->app;
}

MUST_CHECK enum err auth_open(struct service *s, struct fault *fault);
void auth_close(struct service *s);
/* Reads the public keys again; makes the first admin when there is none. */
void auth_tick(struct service *s);
void auth_measure(void *app, struct db *db); /* app: the struct service */

#endif
