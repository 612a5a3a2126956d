/* commands.h — what a command or an incoming event does to users and sessions.
 *
 * Owns    commands live in their call's arena (the first admin's in its item's), events in their item's.
 * Threads want, decide, answer: the lane's.
 * Fails   AUTH_REGISTER: ERR_USERNAME_TAKEN. AUTH_LOGIN: ERR_BAD_CREDENTIALS, if the user was disabled meanwhile.
 */
#ifndef AUTH_SVC_COMMANDS_H
#define AUTH_SVC_COMMANDS_H

#include "svc/lane.h"
#include "user.h"

struct register_user {
    const char *username, *full_name, *password_hash;
};

/* Commands. args: a struct register_user; result: the struct user. */
extern const struct lane_verb AUTH_REGISTER;
/* The same without a call: makes him an admin, unless there is one. */
extern const struct lane_verb AUTH_FIRST_ADMIN;
/* args: a struct session, whose dates are set here; result: the struct user whose it is. */
extern const struct lane_verb AUTH_LOGIN;
/* Events. */
extern const struct lane_verb AUTH_ACCOUNT_OPENED;

extern const struct lane_ops AUTH_SVC_OPS;

#endif
