/* txn-svc — deposits and withdrawals. */
#include "api.h"
#include "commands.h"
#include "events.h"
#include "txn-svc/checks.h"
#include "txn-svc/migrations.h"

int main(int argc, char **argv)
{
    static const struct service_spec SPEC = {
        .name = "txn-svc",
        .schema = "txns",
        .topic = "txn-events",
        .consumes = TXN_SVC_CONSUMES,
        .kinds = TXN_SVC_KINDS,
        .ops = &TXN_SVC_OPS,
        .routes = TXN_SVC_ROUTES,
        .migrations = TXN_SVC_MIGRATIONS,
        .checks = TXN_SVC_CHECKS,
        .reread = api_reread,
        .settings_size = sizeof(struct service_settings),
        .open = api_open,
        .close = api_close,
    };
    return service_main(&SPEC, argc, argv);
}
