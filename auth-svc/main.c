/* auth-svc — who is who: users, sessions, access tokens and their keys. */
#include "api.h"
#include "auth-svc/checks.h"
#include "auth-svc/migrations.h"
#include "auth.h"
#include "commands.h"
#include "conf.h"
#include "events.h"

int main(int argc, char **argv)
{
    static const struct service_spec SPEC = {
        .name = "auth-svc",
        .schema = "auth",
        .topic = "auth-events",
        .consumes = AUTH_SVC_CONSUMES,
        .kinds = AUTH_SVC_KINDS,
        .ops = &AUTH_SVC_OPS,
        .routes = AUTH_SVC_ROUTES,
        .migrations = AUTH_SVC_MIGRATIONS,
        .checks = AUTH_SVC_CHECKS,
        .reread = api_reread,
        .settings = AUTH_SVC_SETTINGS,
        .settings_size = sizeof(struct auth_settings),
        .open = auth_open,
        .tick = auth_tick,
        .close = auth_close,
    };
    return service_main(&SPEC, argc, argv);
}
