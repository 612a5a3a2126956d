/* audit_check.h — one thing that must always be true of a service's tables, as a query for the rows that break it.
 *
 * For     the tables that cmake/migrations.cmake makes of <folder>/checks/<name>.sql, and audit.h, which asks them. `make audit`
 *         asks the same files.
 * Owns    nothing; all of it is constant.
 */
#ifndef SVC_AUDIT_CHECK_H
#define SVC_AUDIT_CHECK_H

#include "io/db.h"

struct audit_check {
    const char *name; /* "orders_history_is_complete"; NULL ends a table */
    const char *what; /* in words, what must be true */
    struct db_stmt stmt;
};

#endif
