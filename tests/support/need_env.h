/* need_env.h — settings an integration test can't do without. It fails then, and says how to run it: a skipped test is
 * a test that nobody runs. */
#ifndef TESTS_NEED_ENV_H
#define TESTS_NEED_ENV_H

#include <stdio.h>
#include <stdlib.h>

static inline const char *need_env(const char *name)
{
    const char *value = getenv(name);
    if (value != NULL && value[0] != '\0')
        return value;
    fprintf(stderr,
            "%s is not set: run `make test`, or `make infra RUN_DIR=/tmp/t/run PORT_BASE=18080` and then this with\n"
            "  TEST_DB_URL=postgresql://postgres@127.0.0.1:18090/brokerage\n"
            "  TEST_DB_PASSWORD=$(cat /tmp/t/run/secrets/db_postgres)\n"
            "  TEST_KAFKA_BROKERS=127.0.0.1:18091\n",
            name);
    exit(1);
}

#endif
