/* asset-svc — the books: what every customer has, and what is set aside. */
#include "api.h"
#include "asset-svc/checks.h"
#include "asset-svc/migrations.h"
#include "auditor.h"
#include "commands.h"
#include "events.h"

static enum err open_auditor(struct service *s, struct fault *fault)
{
    struct auditor *auditor;
    enum err e = auditor_open(s, &auditor, fault);
    if (e == ERR_OK)
        s->app = auditor;
    return e;
}

static void close_auditor(struct service *s)
{
    auditor_close(s->app);
}

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
        .checks = ASSET_SVC_CHECKS,
        .settings_size = sizeof(struct service_settings),
        .open = open_auditor,
        .close = close_auditor,
    };
    return service_main(&SPEC, argc, argv);
}
