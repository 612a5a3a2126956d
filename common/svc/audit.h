/* audit.h — a service answers for its own books: GET /api/v1/admin/audit.
 *
 * For     the route that every service has (AUDIT_ROUTE), and asset-svc's auditor. The checks are <service>/checks and, for what all
 *         have, common/svc/checks: a check a file, whose rows are what is wrong. All of them see one snapshot.
 *         A check may take $1, since when to look: what did not change since then is left out. A service that has published no more than AUDIT_EVENTS_MAX events yet looks at
 *         everything; else at what changed in the last AUDIT_WINDOW_S, or with the newest AUDIT_EVENTS_MAX events where that is less.
 *         So an answer's cost is bounded by that, and by reading once over the tables of what is (not of what was).
 * Owns    a report lives in the arena that it was made in.
 * Threads audit_run: the connection's. The handler: its loop's; one audit at a time a process, others are ERR_BUSY.
 * Fails   ERR_DB when the connection is lost. A check that can't be asked, or not in time, is a finding like any other.
 */
#ifndef SVC_AUDIT_H
#define SVC_AUDIT_H

#include "svc/audit_check.h"
#include "svc/service.h"

enum {
    AUDIT_WINDOW_S = 3600,
    AUDIT_EVENTS_MAX = 20000,
    AUDIT_CHECKS_MAX = 48,
    AUDIT_CHECK_MS = 2500, /* one check; below the session's own limit (io/db.c) */
    AUDIT_DETAIL_MAX = 1000,
};

struct audit_scope {
    time_us_t since;   /* 0: since ever */
    bool changed_only; /* leaves out checks that look at everything whatever `since` is */
    mono_ns_t until;   /* what is not asked by then is not asked */
};
struct audit_finding {
    const struct audit_check *check;
    bool asked; /* to its end */
    bool ok;
    const char *detail; /* ok: what is true; else what is wrong, with the first rows */
};
struct audit_report {
    struct audit_finding findings[AUDIT_CHECKS_MAX];
    size_t count, wrong;
};
/* Everything, whatever it takes. */
#define AUDIT_WHOLE ((struct audit_scope){.until = INT64_MAX})

/* The checks of both tables (each ends with a NULL name; NULL: none), in one read-only snapshot. */
MUST_CHECK enum err audit_run(struct db *db, const struct audit_check *own, const struct audit_check *common,
                              const struct audit_scope *scope, struct arena *arena, struct audit_report *ret,
                              struct fault *fault);

http_handler audit_on_get;
#define AUDIT_PATH "/api/v1/admin/audit"
#define AUDIT_ROUTE \
    { \
        HTTP_GET, AUDIT_PATH, WHO_ADMIN, audit_on_get, 0 \
    }

#endif
