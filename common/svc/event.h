/* event.h — the envelope of every event: CloudEvents 1.0 JSON with our numbering (architecture.md section 5).
 *
 * For     outbox (writes it) and subscriber (reads it).
 * Owns    text and `root` live in the item's arena/document until event_done.
 * Threads one at a time.
 * Fails   event_decode: ERR_INVALID with the reason (the event is then parked).
 */
#ifndef SVC_EVENT_H
#define SVC_EVENT_H

#include "base/mem.h"
#include "io/json.h"

enum { EVENT_TYPE_MAX = 40, EVENT_SOURCE_MAX = 24, EVENT_SUBJECT_MAX = 128 /* bytes */ };

struct event {
    /* from the record */
    const char *topic; /* constant: the subscriber's name for it */
    int partition;
    int64_t offset;
    char key[24];
    char traceparent[64];
    /* from the envelope */
    struct uuid id;
    char source[EVENT_SOURCE_MAX]; /* "order-svc" */
    char type[EVENT_TYPE_MAX];     /* "order.placed" */
    struct str subject;            /* the resource's id; empty: none */
    time_us_t time;
    int lane;
    int64_t part_seq;
    struct uuid epoch;
    const struct json *data;
    struct json *root;
    struct str raw; /* the record's value, for parking */
};

/* {"specversion":"1.0","id":…,"source":…,"type":…,"subject":…,"time":…,"lane":…,"partition":…,"partseq":…,"epoch":…,"data":{…}} */
void event_encode(struct buf *out, const struct event *e, struct str data);
/* Fills the envelope part from e->raw, which may go afterwards. Members that we don't know are passed over. On ERR_INVALID
 * source, lane, part_seq and epoch are still filled if all of them could be read, so that an unreadable event takes its
 * place in the sequence; else lane is 0. What was read of the rest stays, for parking. */
MUST_CHECK enum err event_decode(struct event *e, struct fault *fault);
void event_done(struct event *e);

#endif
