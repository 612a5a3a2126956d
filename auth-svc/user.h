/* user.h — who a user is, and how he may be named.
 *
 * For     auth-svc's decisions. Pure: no I/O, no clock, no allocation.
 * Owns    nothing; users belong to the batch or the call that has them.
 * Always  one user a name, in whatever case it is written; a user is a customer, admins too.
 */
#ifndef AUTH_SVC_USER_H
#define AUTH_SVC_USER_H

#include "base/clock.h"
#include "base/id.h"
#include "io/token.h"

enum user_status { USER_ACTIVE, USER_DISABLED };
extern const char *const USER_STATUSES[]; /* "ACTIVE", "DISABLED", NULL */
extern const char *const USER_ROLES[];    /* by enum token_role: "CUSTOMER", "ADMIN", NULL */

enum { USER_NAME_MIN = 3, USER_NAME_MAX = 32, USER_FULL_NAME_MAX = 200 /* bytes */ };
/* The first admin is called so; nobody else may be, or he could be there first. */
#define USER_FIRST_ADMIN "admin"

struct user {
    int64_t customer_id;
    const char *username; /* lower case */
    const char *full_name;
    enum token_role role;
    enum user_status status;
    const char *password_hash; /* NULL where it was not asked for */
    int64_t password_version;  /* another one, another password */
    bool must_change_password; /* until then he may do no more than that */
    bool opened;               /* the books have opened his account: he is registered */
    time_us_t create_date;
};

/* Lower-cases (ASCII only) what then must be 3 to 32 of a-z, 0-9, '.', '_', '-'. false: it is not; ret_name is spoilt. */
MUST_CHECK bool user_name_normalise(const char *text, char ret_name[USER_NAME_MAX + 1]);
/* The other way of uuid_of_int. */
int64_t user_id_of_uuid(struct uuid id);
enum token_role user_token_role(const struct user *u); /* what his access tokens say */
bool user_is_active_admin(const struct user *u);
/* The event's reason, when a user who becomes `next` can't go on with his sessions; NULL: he can. */
const char *user_change_ends_sessions(const struct user *u, const struct user *next);
bool user_may_log_in(const struct user *u);
/* The books' word. false: he was open before: nothing changes. */
bool user_open(struct user *u);

#endif
