/* An answer means the same however the network cuts it: read at once, or with the head cut at one byte and the body fed in
 * pieces, it has the same verdict, border and body. The first byte says how it is cut. */
#include "gateway/response.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"

struct verdict {
    enum response_state state;
    size_t used;
    struct buf body;
};

static struct verdict read_body(const struct response *r, struct str rest, size_t step)
{
    struct verdict v = {.state = RESPONSE_MORE};
    struct response_body b;
    response_body_init(&b, r);
    do {
        struct str piece = {rest.data + v.used, rest.len - v.used < step ? rest.len - v.used : step};
        size_t used = 0;
        const char *why = NULL;
        v.state = response_body_feed(&b, piece, &v.body, &used, &why);
        assert((v.state == RESPONSE_WRONG) == (why != NULL));
        assert(used <= piece.len && (v.state != RESPONSE_MORE || used == piece.len));
        v.used += used;
    } while (v.state == RESPONSE_MORE && v.used < rest.len);
    assert(v.body.len <= rest.len && v.body.len <= RESPONSE_BODY_MAX);
    return v;
}

static void check_head(const struct response *r, struct str all, size_t used)
{
    assert(used >= 4 && used <= all.len && used <= RESPONSE_HEAD_MAX &&
           memcmp(all.data + used - 4, "\r\n\r\n", 4) == 0);
    assert(r->status >= 100 && r->status <= 599 && r->content_length >= 0 && r->content_length <= RESPONSE_BODY_MAX);
    for (size_t i = 0; i < r->header_count; i++) {
        assert(r->headers[i].name.len > 0);
        assert(r->headers[i].value.data >= all.data &&
               r->headers[i].value.data + r->headers[i].value.len <= all.data + used);
    }
}

static void check_cut_head(struct str all, size_t cut, enum response_state expected)
{
    static struct response r;
    size_t used;
    const char *why = NULL;
    enum response_state state = response_head((struct str){all.data, cut}, &r, &used, &why);
    assert(state == RESPONSE_MORE ||
           state == expected); /* no prefix is wrong of what is right, or right of what is wrong */
}

static void check_answer(struct str all, size_t step)
{
    static struct response r;
    size_t used = 0;
    const char *why = NULL;
    enum response_state state = response_head(all, &r, &used, &why);
    assert((state == RESPONSE_WRONG) == (why != NULL));
    check_cut_head(all, all.len < step ? all.len : step, state);
    if (state != RESPONSE_WHOLE)
        return;

    check_head(&r, all, used);
    struct str rest = {all.data + used, all.len - used};
    struct verdict whole = read_body(&r, rest, rest.len + 1), pieces = read_body(&r, rest, step);
    assert(whole.state == pieces.state);
    assert(whole.state == RESPONSE_WRONG ||
           (whole.used == pieces.used && whole.body.len == pieces.body.len &&
            memcmp(buf_cstr(&whole.body), buf_cstr(&pieces.body), whole.body.len) == 0));
    buf_done(&whole.body);
    buf_done(&pieces.body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0)
        check_answer((struct str){(const char *)data + 1, size - 1}, (size_t)data[0] + 1);
    return 0;
}
