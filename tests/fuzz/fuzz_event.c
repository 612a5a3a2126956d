/* The first byte picks the record's partition, the rest is its value. What is read must be written and read back the same;
 * what can't be read has either a whole numbering or none. */
#include <assert.h>
#include <string.h>

#include "svc/event.h"

static void check_same(const struct event *a, const struct event *b)
{
    assert(uuid_eq(a->id, b->id) && uuid_eq(a->epoch, b->epoch));
    assert(strcmp(a->source, b->source) == 0 && strcmp(a->type, b->type) == 0);
    assert(a->subject.len == b->subject.len);
    assert(a->subject.len == 0 || memcmp(a->subject.data, b->subject.data, a->subject.len) == 0);
    assert(a->time == b->time && a->lane == b->lane && a->part_seq == b->part_seq);
    assert(json_count(a->data) == json_count(b->data));
}

static void check_round_trip(const struct event *e)
{
    struct buf data, text;
    buf_init(&data);
    buf_init(&text);
    json_dump(e->data, &data);
    event_encode(&text, e, (struct str){data.data, data.len});

    struct event back = {.partition = e->partition, .raw = {text.data, text.len}};
    struct fault fault;
    enum err error = event_decode(&back, &fault);
    assert(error == ERR_OK);
    check_same(e, &back);
    event_done(&back);
    buf_done(&text);
    buf_done(&data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct event e = {.partition = data[0] % 8, .raw = {(const char *)data + 1, size - 1}};
    struct fault fault;
    if (event_decode(&e, &fault) == ERR_OK)
        check_round_trip(&e);
    else
        assert(e.lane == 0 || (e.source[0] != '\0' && e.part_seq > 0 && !uuid_is_nil(e.epoch)));
    event_done(&e);
    return 0;
}
