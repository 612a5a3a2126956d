/* conf.h — what auth-svc is told beside what every service is told.
 *
 * Owns    nothing; values live in the process's arena.  Threads: const once read.  Fails: see io/conf.h.
 */
#ifndef AUTH_SVC_CONF_H
#define AUTH_SVC_CONF_H

#include "svc/service.h"

struct auth_settings {
    struct service_settings service; /* first */
    const char *signing_keys_dir;
    const char *password_list_file; /* NULL: none */
    bool limits;
    const char *admin_password;    /* the first admin's; NULL: none was given */
    bool admin_password_generated; /* it is random and nobody has seen it: it need not be changed */
    int64_t password_memory_kib, password_ops, password_workers;
};
extern const struct conf_setting AUTH_SVC_SETTINGS[];

static inline const struct auth_settings *auth_settings_of(const struct service *s)
{
    return (const struct auth_settings *)(const void *)s->settings;
}

#endif
