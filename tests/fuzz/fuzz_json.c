/* fuzz_json.c — json_parse on any bytes: what it takes comes back as text that it takes again, to the same text; escaped bytes
 * are always a string that it takes. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "io/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void dump_reads_back(const struct json *root)
{
    struct buf first, second;
    buf_init(&first);
    buf_init(&second);
    json_dump(root, &first);

    struct json *again = NULL;
    enum err e = json_parse((struct str){first.data, first.len}, &again, NULL);
    assert(e == ERR_OK);
    json_dump(again, &second);
    assert(strcmp(first.data, second.data) == 0);
    json_free(again);
    buf_done(&first);
    buf_done(&second);
}

static void escaped_is_a_string(struct str text)
{
    struct buf escaped;
    buf_init(&escaped);
    json_escape(&escaped, text);
    struct json *string = NULL;
    enum err e = json_parse((struct str){escaped.data, escaped.len}, &string, NULL);
    assert(e == ERR_OK || (text.len > 0 && memchr(text.data, '\0', text.len) != NULL)); /* \u0000 is refused */
    json_free(string);
    buf_done(&escaped);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size};
    struct json *root = NULL;
    struct fault fault = {0};
    if (json_parse(text, &root, &fault) == ERR_OK)
        dump_reads_back(root);
    else
        assert(root == NULL && fault.err == ERR_MALFORMED_JSON);
    json_free(root);
    escaped_is_a_string(text);
    return 0;
}
