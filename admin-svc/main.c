/* admin-svc — matching, and the admins' view of the whole. */
#include "admin-svc/checks.h"
#include "admin-svc/migrations.h"
#include "api.h"
#include "commands.h"
#include "events.h"

int main(int argc, char **argv)
{
    static const struct service_spec SPEC = {
        .name = "admin-svc",
        .schema = "admin",
        .topic = "admin-events",
        .consumes = ADMIN_SVC_CONSUMES,
        .kinds = ADMIN_SVC_KINDS,
        .ops = &ADMIN_SVC_OPS,
        .routes = ADMIN_SVC_ROUTES,
        .migrations = ADMIN_SVC_MIGRATIONS,
        .checks = ADMIN_SVC_CHECKS,
        .reread = api_reread,
        .settings_size = sizeof(struct service_settings),
        .open = api_open,
        .tick = commands_tick,
        .close = api_close,
    };
    return service_main(&SPEC, argc, argv);
}
