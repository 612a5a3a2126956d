/* base64url has one spelling, an integer has one text, malformed UTF-8 is found inside the text. */
#include "base/str.h"

#include <assert.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"

static void check_base64url(struct str text)
{
    size_t cap = text.len / 4 * 3 + 3;
    size_t len;
    unsigned char *bytes = mem_alloc(cap);
    char *again = mem_alloc((4 * cap + 2) / 3 + 1);
    if (str_base64url_decode(text, bytes, cap, &len)) {
        str_base64url_encode(bytes, len, again);
        assert(str_eq(text, again));
    }
    mem_free(bytes);
    mem_free(again);
}

static void check_integer(struct str text)
{
    int64_t value;
    if (!str_to_i64(text, &value))
        return;
    struct buf b;
    buf_init(&b);
    buf_i64(&b, value);
    assert(str_eq(text, buf_cstr(&b)));
    buf_done(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size};
    size_t at;
    if (!str_is_utf8(text, &at))
        assert(at < size);
    check_base64url(text);
    check_integer(text);
    return 0;
}
