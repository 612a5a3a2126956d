/* audit.h — the checks by which a service answers for its own books, each shown a row that it must find.
 *
 * For     the tests of services, on their stand.
 * Threads the test's.
 * Fails   the test, with the check's name.
 */
#ifndef TESTS_AUDIT_H
#define TESTS_AUDIT_H

#include "support/stand.h"

struct planted {
    const char *check; /* that must find it */
    const char *sql;   /* makes what is wrong, if need be by dropping what would prevent it; undone afterwards */
    const char *tells; /* stands in the row that is found */
};
/* The service's checks and those that all have: silent as the tables are, since ever and since an hour ago; with each fault
 * planted, the check named finds it. Every check must be shown a fault. `planted` ends with a NULL check. */
void assert_checks_find(struct stand *st, const struct planted *planted);
/* GET /admin/audit as an admin: clean, or naming `check` with `tells` in its detail; others are not let in. */
void assert_audit_answers(struct stand *st, const char *check, const char *tells);

#endif
