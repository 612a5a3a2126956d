#include "user.h"

#include <string.h>

const char *const USER_STATUSES[] = {"ACTIVE", "DISABLED", NULL};
const char *const USER_ROLES[] = {[ROLE_CUSTOMER] = "CUSTOMER", [ROLE_ADMIN] = "ADMIN", NULL};

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool user_name_normalise(const char *text, char ret_name[USER_NAME_MAX + 1])
{
    size_t len = 0;
    for (; text[len] != '\0'; len++) {
        if (len == USER_NAME_MAX)
            return false;
        ret_name[len] = lower(text[len]);
    }
    ret_name[len] = '\0';
    return len >= USER_NAME_MIN && strspn(ret_name, "abcdefghijklmnopqrstuvwxyz0123456789._-") == len;
}

bool user_may_log_in(const struct user *u)
{
    return u->status == USER_ACTIVE;
}

enum token_role user_token_role(const struct user *u)
{
    return u->must_change_password ? ROLE_NEWCOMER : u->role;
}

bool user_is_active_admin(const struct user *u)
{
    return u->role == ROLE_ADMIN && u->status == USER_ACTIVE;
}

const char *user_change_ends_sessions(const struct user *u, const struct user *next)
{
    if (next->status == USER_DISABLED && u->status != USER_DISABLED)
        return "disabled";
    return next->role != u->role ? "role" : NULL;
}

int64_t user_id_of_uuid(struct uuid id)
{
    uint64_t value = 0;
    for (size_t i = 8; i < sizeof id.bytes; i++)
        value = value << 8 | id.bytes[i];
    return (int64_t)value;
}

bool user_open(struct user *u)
{
    if (u->opened)
        return false;
    u->opened = true;
    return true;
}
