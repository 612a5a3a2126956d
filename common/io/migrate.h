/* migrate.h — brings a schema to the version this binary was built for.
 *
 * For     start-up: as <schema>_owner, on a connection then closed, under an advisory lock, each file in one transaction,
 *         forward only; recorded in schema_migration(series, version, name, applied_at) of the schema.
 * Owns    nothing.  Threads: main.
 * Fails   ERR_DB; ERR_CONF when the database is newer than the binary in a way it does not know (a name that differs).
 */
#ifndef IO_MIGRATE_H
#define IO_MIGRATE_H

#include "io/db.h"

struct migration {
    int version;      /* 1, 2, … */
    const char *name; /* from the file's name */
    const char *sql;
};
/* Lists end with {0}. `common` (outbox, lanes, positions: what every service has) goes first, numbered in its own series. */
MUST_CHECK enum err migrate_apply(struct db *owner, const char *schema, const struct migration *common,
                                  const struct migration *own, struct fault *fault);

#endif
