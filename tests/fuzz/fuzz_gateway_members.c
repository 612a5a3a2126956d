/* What members_take lets through is JSON to the library too, and it found the same value; what it gives can be put into an
 * object of ours without breaking it. */
#include "gateway/members.h"

#include <assert.h>

#include "io/json.h"

static void check_value(const struct json *object, struct str value)
{
    struct buf mine, theirs;
    struct json *v = NULL;
    struct fault fault;
    assert(json_parse(value, &v, &fault) == ERR_OK);
    buf_init(&mine);
    buf_init(&theirs);
    json_dump(v, &mine);
    json_dump(json_get(object, "items"), &theirs);
    assert(mine.len == theirs.len && str_eq((struct str){mine.data, mine.len}, buf_cstr(&theirs)));
    buf_done(&mine);
    buf_done(&theirs);
    json_free(v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {size == 0 ? "" : (const char *)data, size};
    struct member wanted[] = {{.name = "items"}};
    struct json *object = NULL;
    struct fault fault;
    const char *why = NULL;
    bool taken = members_take(text, wanted, 1, &why);
    assert(taken == (why == NULL));
    enum err e = json_parse(text, &object, &fault);
    /* The library refuses more: doubled names, numbers that a double can't hold, half surrogates. It must not refuse less. */
    if (e == ERR_OK && json_type(object) == JSON_OBJECT)
        assert(taken || str_eq(str_of(why), "a member's name with an escape"));
    if (e == ERR_OK && taken)
        assert((wanted[0].value.data == NULL) == (json_get(object, "items") == NULL));
    if (e == ERR_OK && taken && wanted[0].value.data != NULL)
        check_value(object, wanted[0].value);
    json_free(object);
    return 0;
}
