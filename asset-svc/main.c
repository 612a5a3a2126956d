/* asset-svc — the books: what every customer has, and what is set aside. */
#include "api.h"
#include "commands.h"
#include "events.h"
#include "asset-svc/migrations.h"

int main(int argc, char **argv)
{
    static const struct service_spec SPEC = {
        .name = "asset-svc",
        .schema = "assets",
        .topic = "asset-events",
        .consumes = ASSET_SVC_CONSUMES,
        .kinds = ASSET_SVC_KINDS,
        .ops = &ASSET_SVC_OPS,
        .routes = ASSET_SVC_ROUTES,
        .migrations = ASSET_SVC_MIGRATIONS,
        .settings_size = sizeof(struct service_settings),
    };
    return service_main(&SPEC, argc, argv);
}
