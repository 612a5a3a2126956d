/* unit.h — what every unit test includes: cmocka, and the headers that it wants before it. */
#ifndef TESTS_UNIT_UNIT_H
#define TESTS_UNIT_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define LENGTH_OF(array) (sizeof(array) / sizeof((array)[0]))

/* For table rows: says which row is wrong, and why that row is there. */
#define ROW_CHECK(condition, why) \
    do { \
        if (!(condition)) \
            fail_msg("%s: %s", (why), #condition); \
    } while (0)

#endif
