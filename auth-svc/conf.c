#include "conf.h"

#include <stddef.h>

#include "hashers.h"

/* The least is what OWASP asks of argon2id with one lane: 19 MiB and two passes, 26 ms here. It can only be raised. */
/* clang-format off */
#define AT(member) offsetof(struct auth_settings, member)
const struct conf_setting AUTH_SVC_SETTINGS[] = {
    {.name = "SIGNING_KEYS_DIR", .kind = CONF_FILE, .offset = AT(signing_keys_dir), .flags = CONF_REQUIRED, .what = "the folder of private keys that sign access tokens: <kid>.pem"},
    {.name = "ADMIN_PASSWORD", .kind = CONF_SECRET, .offset = AT(admin_password), .what = "the first admin's password; needed while there is no admin"},
    {.name = "ADMIN_PASSWORD_GENERATED", .kind = CONF_BOOL, .offset = AT(admin_password_generated), .fallback = "off", .what = "that password is a random one, made for this system: it need not be changed"},
    {.name = "PASSWORD_MEMORY_KIB", .kind = CONF_INT, .offset = AT(password_memory_kib), .fallback = "19456", .min = 19456, .max = 1048576, .what = "memory of one password hash"},
    {.name = "PASSWORD_OPS", .kind = CONF_INT, .offset = AT(password_ops), .fallback = "2", .min = 2, .max = 16, .what = "passes of one password hash"},
    {.name = "PASSWORD_WORKERS", .kind = CONF_INT, .offset = AT(password_workers), .fallback = "2", .min = 1, .max = HASHERS_MAX, .what = "threads that hash, each with that memory"},
    {.name = "PASSWORD_LIST_FILE", .kind = CONF_FILE, .offset = AT(password_list_file), .what = "passwords that everybody tries first, one a line (scripts/common-passwords)"},
    {.name = "LIMITS", .kind = CONF_BOOL, .offset = AT(limits), .fallback = "on", .what = "off, for load tests only: passwords may be tried as fast as one likes, but an account's"},
    {.name = NULL},
};
#undef AT
/* clang-format on */
