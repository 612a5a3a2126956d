/* commands.h — what a command or an incoming event does to users and sessions.
 *
 * Owns    commands live in their call's arena (the first admin's in its item's), events in their item's.
 * Threads want, decide, answer: the lane's.
 * Fails   as each verb says. What is refused and yet changes something (a used refresh token, a wrong password) is no
 *         refusal to the lane: its answer is one.
 */
#ifndef AUTH_SVC_COMMANDS_H
#define AUTH_SVC_COMMANDS_H

#include "guard.h"
#include "io/http.h"
#include "session.h"
#include "svc/lane.h"
#include "trail.h"
#include "user.h"

struct register_user {
    const char *username, *full_name, *password_hash;
    enum token_role role;
    bool must_change_password;
};
/* Commands. args: a struct register_user; result: the struct user. ERR_USERNAME_TAKEN. */
extern const struct lane_verb AUTH_REGISTER;
/* The same by an admin. What admins do is ERR_FORBIDDEN when they are none any more. */
extern const struct lane_verb AUTH_CREATE_USER;
/* The same without a call, unless there is an admin. */
extern const struct lane_verb AUTH_FIRST_ADMIN;

/* The buckets of an attempt, by kind; NULL: that kind is not asked. */
struct guard_keys {
    const char *of[GUARD_KINDS];
};
struct try_password {
    struct guard_keys guard;
    int64_t customer_id; /* whose password; 0: nobody's we know */
    http_handler *then;  /* a hasher's work, once the attempt is counted */
};
/* Before a password is looked at. args: a struct try_password. ERR_RATE_LIMITED: not now. */
extern const struct lane_verb AUTH_TRY_PASSWORD;
/* For the command that follows a right password: in `want`; in `decide`. */
void guard_want(struct batch *b, const struct guard_keys *keys);
void guard_passed(struct batch *b, const struct guard_keys *keys);

struct begin_session {
    struct guard_keys guard;
    struct session session; /* its dates are set by the lane */
    const char *refresh_hash;
    enum token_role role;     /* in the access token that was signed for it */
    int64_t password_version; /* of the password that was right */
    const char *better_hash;  /* the password's at today's cost; NULL: it has that */
};
/* args: a struct begin_session; result: the struct user whose it is. ERR_BAD_CREDENTIALS: he, his role or his password are
 * others by now. */
extern const struct lane_verb AUTH_LOGIN;

struct failed_login {
    int64_t customer_id;  /* 0: nobody is called so */
    enum trail_type type; /* what it is written down as */
};
/* Writes it down; answers ERR_BAD_CREDENTIALS. */
extern const struct lane_verb AUTH_LOGIN_FAILED;

struct refresh {
    const char *hash;              /* the token's */
    const char *next_hash;         /* its successor's, if it is renewed … */
    const char *sealed;            /* … and that successor, for whoever has the token */
    const char *repeat_key;        /* hashed; NULL: none */
    const struct user *signed_for; /* as he was when the access token was signed */
    struct uuid session_id;
    time_us_t arrived;
};
struct refreshed {
    enum refresh_verdict verdict; /* REFRESH_REUSED: the session has ended */
    const char *sealed;           /* the successor that counts */
    time_us_t answer_date;        /* not before */
};
/* args: a struct refresh; result: a struct refreshed. ERR_BAD_REFRESH_TOKEN: session or user have ended. */
extern const struct lane_verb AUTH_REFRESH;

struct end_sessions {
    int64_t customer_id;
    struct uuid only;   /* nil: all */
    const char *reason; /* as the event's */
    bool must_be_there; /* ERR_NOT_FOUND if there is no such live session (all: no such user) */
};
extern const struct lane_verb AUTH_END_SESSIONS;

/* The same by an admin. */
extern const struct lane_verb AUTH_END_USER_SESSIONS;

struct change_user {
    int64_t customer_id;
    int role, status; /* -1: as it is */
};
/* args: a struct change_user; result: the struct user. ERR_NOT_FOUND; ERR_LAST_ADMIN: nobody else could administer. Ends his
 * sessions when he is disabled or becomes another. */
extern const struct lane_verb AUTH_CHANGE_USER;

/* args: a struct trail_entry of what somebody else has done. */
extern const struct lane_verb AUTH_RECORD;
/* args: a struct trail_entry of the keys that are in use; written down unless the last one says the same. */
extern const struct lane_verb AUTH_KEYS;
/* Without a call, once in a while: forgets sessions that are long over. */
extern const struct lane_verb AUTH_PRUNE;

struct change_password {
    struct guard_keys guard;
    int64_t customer_id;
    struct uuid keep;         /* the session that asks; all others end */
    int64_t password_version; /* of the current one that was right */
    const char *new_hash;
};
/* ERR_BAD_CREDENTIALS: the password has changed meanwhile, or he was disabled. */
extern const struct lane_verb AUTH_CHANGE_PASSWORD;

/* Events. */
extern const struct lane_verb AUTH_ACCOUNT_OPENED;

extern const struct lane_ops AUTH_SVC_OPS;

#endif
