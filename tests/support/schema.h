/* schema.h — what must be so of every service's schema and SQL, whatever the service.
 *
 * For     the tests of services, on their stand.
 * Threads the test's.
 * Fails   the test, with the statement's name.
 */
#ifndef TESTS_SCHEMA_H
#define TESTS_SCHEMA_H

#include "support/stand.h"

/* Every `struct db_stmt` in `folder`'s sources (as they lie in the source tree) can be planned in the service's schema with the
 * service's rights, under the settings that the lane's sessions have; and those that the lane runs find their rows by keys:
 * none reads a whole table, but for `small`, a NULL-ended list of names. */
void assert_statements_are_sound(struct stand *st, const char *folder, const char *const *small);
/* A schema that is there already is left alone, and one that was made a migration at a time is the same as one made at once. */
void assert_migrations_add_up(struct stand *st);

#endif
