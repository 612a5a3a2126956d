/* What is read as a time must be written and read back the same. */
#include <assert.h>

#include "base/clock.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    time_us_t t, back;
    if (!clock_parse((struct str){(const char *)data, size}, &t))
        return 0;

    char text[CLOCK_TEXT_MAX];
    clock_format(t, text);
    bool ok = clock_parse(str_of(text), &back);
    assert(ok && back == t);
    return 0;
}
