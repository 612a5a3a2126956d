/* order-svc — orders and their states. */
#include "api.h"
#include "commands.h"
#include "events.h"
#include "order-svc/checks.h"
#include "order-svc/migrations.h"

int main(int argc, char **argv)
{
    static const struct service_spec SPEC = {
        .name = "order-svc",
        .schema = "orders",
        .topic = "order-events",
        .consumes = ORDER_SVC_CONSUMES,
        .kinds = ORDER_SVC_KINDS,
        .unawaited = ORDER_SVC_UNAWAITED,
        .ops = &ORDER_SVC_OPS,
        .routes = ORDER_SVC_ROUTES,
        .migrations = ORDER_SVC_MIGRATIONS,
        .checks = ORDER_SVC_CHECKS,
        .reread = api_reread,
        .settings_size = sizeof(struct service_settings),
        .open = api_open,
        .close = api_close,
    };
    return service_main(&SPEC, argc, argv);
}
