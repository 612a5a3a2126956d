#include "svc/event.h"

#include <assert.h>
#include <string.h>

#include "svc/lane.h"

static const char SPECVERSION[] = "1.0";

void event_encode(struct buf *out, const struct event *e, struct str data)
{
    struct json_out o = json_out(out);
    json_open(&o, NULL, '{');
    json_put_text(&o, "specversion", SPECVERSION);
    json_put_uuid(&o, "id", e->id);
    json_put_text(&o, "source", e->source);
    json_put_text(&o, "type", e->type);
    if (e->subject.len > 0) /* CloudEvents: absent, or not empty */
        json_put_str(&o, "subject", e->subject);
    json_put_time(&o, "time", e->time);
    json_put_int(&o, "lane", e->lane);
    json_put_int(&o, "partition", e->partition);
    json_put_int(&o, "partseq", e->part_seq);
    json_put_uuid(&o, "epoch", e->epoch);
    json_put_raw(&o, "data", data);
    json_close(&o, '}');
}

/* ---- the members, each read strictly; false: absent, of another type, or not what it should be ---- */

/* "order-svc", "order.placed": they go into SQL, metrics and logs, so they are plain. */
static bool get_name(const struct json *root, const char *member, char *ret, size_t cap)
{
    static const char LETTERS[] = "abcdefghijklmnopqrstuvwxyz";
    static const char ALLOWED[] = "abcdefghijklmnopqrstuvwxyz0123456789.-_";
    struct str text;
    char name[EVENT_TYPE_MAX];
    assert(cap <= sizeof name);
    if (!json_get_text(root, member, &text) || text.len == 0 || !str_copy(name, cap, text))
        return false;
    if (strchr(LETTERS, name[0]) == NULL || strspn(name, ALLOWED) != text.len)
        return false;
    memcpy(ret, name, text.len + 1);
    return true;
}

static bool get_id(const struct json *root, const char *member, struct uuid *ret)
{
    struct uuid id;
    if (!json_get_uuid(root, member, &id) || uuid_is_nil(id))
        return false;
    *ret = id;
    return true;
}

static bool read_specversion(const struct json *root, const char *member, struct event *e)
{
    (void)e;
    struct str text;
    return json_get_text(root, member, &text) && str_eq(text, SPECVERSION);
}

static bool read_id(const struct json *root, const char *member, struct event *e)
{
    return get_id(root, member, &e->id);
}

static bool read_source(const struct json *root, const char *member, struct event *e)
{
    return get_name(root, member, e->source, sizeof e->source);
}

static bool read_type(const struct json *root, const char *member, struct event *e)
{
    return get_name(root, member, e->type, sizeof e->type);
}

static bool read_subject(const struct json *root, const char *member, struct event *e)
{
    struct str text;
    if (json_get(root, member) == NULL)
        return true;
    if (!json_get_text(root, member, &text) || text.len == 0 || text.len > EVENT_SUBJECT_MAX)
        return false;
    e->subject = text;
    return true;
}

static bool read_time(const struct json *root, const char *member, struct event *e)
{
    return json_get_time(root, member, &e->time);
}

static bool read_lane(const struct json *root, const char *member, struct event *e)
{
    int64_t lane;
    if (!json_get_int(root, member, &lane) || lane < 1 || lane > LANE_MAX)
        return false;
    e->lane = (int)lane;
    return true;
}

/* A record that was copied to another partition has no place in this one's sequence. */
static bool read_partition(const struct json *root, const char *member, struct event *e)
{
    int64_t partition;
    return json_get_int(root, member, &partition) && partition == e->partition;
}

static bool read_partseq(const struct json *root, const char *member, struct event *e)
{
    int64_t part_seq;
    if (!json_get_int(root, member, &part_seq) || part_seq < 1)
        return false;
    e->part_seq = part_seq;
    return true;
}

static bool read_epoch(const struct json *root, const char *member, struct event *e)
{
    return get_id(root, member, &e->epoch);
}

static bool read_data(const struct json *root, const char *member, struct event *e)
{
    const struct json *data = json_get(root, member);
    if (data == NULL || json_type(data) != JSON_OBJECT)
        return false;
    e->data = data;
    return true;
}

static const struct member {
    const char *name;
    bool numbers; /* without it the event has no place in a sequence */
    bool (*read)(const struct json *root, const char *member, struct event *e);
} MEMBERS[] = {
    {"specversion", false, read_specversion},
    {"id", false, read_id},
    {"source", true, read_source},
    {"type", false, read_type},
    {"subject", false, read_subject},
    {"time", false, read_time},
    {"lane", true, read_lane},
    {"partition", true, read_partition},
    {"partseq", true, read_partseq},
    {"epoch", true, read_epoch},
    {"data", false, read_data},
};
enum { MEMBER_COUNT = sizeof MEMBERS / sizeof MEMBERS[0] };

enum err event_decode(struct event *e, struct fault *fault)
{
    struct fault malformed;
    if (json_parse(e->raw, &e->root, &malformed) != ERR_OK)
        return fault_set(fault, ERR_INVALID, "the event is not JSON: %s", malformed.why);

    const char *wrong = NULL;
    bool numbered = true;
    for (size_t i = 0; i < MEMBER_COUNT; i++) {
        if (MEMBERS[i].read(e->root, MEMBERS[i].name, e))
            continue;
        numbered = numbered && !MEMBERS[i].numbers;
        wrong = wrong != NULL ? wrong : MEMBERS[i].name;
    }
    if (!numbered)
        e->lane = 0;
    if (wrong == NULL)
        return ERR_OK;
    return fault_set(fault, ERR_INVALID, "the event's \"%s\" is missing or not what it should be", wrong);
}

void event_done(struct event *e)
{
    json_free(e->root);
    e->root = NULL;
    e->data = NULL;
    e->subject = (struct str){NULL, 0};
}
