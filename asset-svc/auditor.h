/* auditor.h — looks after the books while they are written: what changed lately every few seconds, all of them now and then.
 *
 * For     asset-svc. It changes nothing; what it finds is an error in the log and books_violations in the metrics (0 when all
 *         is well), which must wake somebody.
 * Owns    its thread and a read connection.
 * Threads auditor_open and auditor_close: main.
 * Fails   never to its callers: without a database it waits for one.
 */
#ifndef ASSET_SVC_AUDITOR_H
#define ASSET_SVC_AUDITOR_H

#include "svc/service.h"

enum {
    AUDITOR_EVERY_MS = 5000,      /* accounts that changed since the last look */
    AUDITOR_OVERLAP_S = 30,       /* how far back a look begins: a batch's time is taken before its COMMIT */
    AUDITOR_WHOLE_EVERY_S = 3600, /* all accounts */
};

struct auditor;
MUST_CHECK enum err auditor_open(struct service *s, struct auditor **ret, struct fault *fault);
void auditor_close(struct auditor *a); /* NULL is fine */

#endif
