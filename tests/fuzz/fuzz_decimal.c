/* The first byte picks the places, the rest is the text. What is read must be written and read back the same. */
#include <assert.h>

#include "base/decimal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    int places = data[0] % (DECIMAL_SCALE + 1);
    decimal_t value, back;
    if (decimal_parse((struct str){(const char *)data + 1, size - 1}, places, &value) != DECIMAL_OK)
        return 0;

    char text[DECIMAL_TEXT_MAX];
    int len = decimal_format(value, text);
    assert(len > 0 && len < DECIMAL_TEXT_MAX);
    enum decimal_error error = decimal_parse((struct str){text, (size_t)len}, places, &back);
    assert(error == DECIMAL_OK && back == value);
    return 0;
}
