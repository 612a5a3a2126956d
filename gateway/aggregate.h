/* aggregate.h — one answer out of several services', which are asked side by side.
 *
 * For     the routes with an "aggregate": aggregate_request is their handler. Another aggregate is another entry of the table:
 *
 *     "aggregates": {"portfolio": {"shape": "lists", "parts": [
 *         {"name": "assets", "upstream": "asset", "path": "/api/v1/assets", "query": "limit=200"}, …]}}
 *
 *         All parts are asked at once, each by a delivery of its own with all that guards one (delivery.h), and the answer is
 *         there when the slowest part is. A part that is down, late, refused by its breaker or wrong is left out, and named in
 *         "unavailable" with its reason: "down", "late", "open", "busy" or "error". If none is there, that is a 503 with the
 *         same member; but where a service refused the request itself (4xx), its own words are the answer.
 * Owns    the table lives in the caller's arena; what a call needs lives in the call's.
 * Threads reading: main. A call: its loop, from beginning to end.
 * Fails   reading: a complaint a line. A call: as above.
 */
#ifndef GATEWAY_AGGREGATE_H
#define GATEWAY_AGGREGATE_H

#include "gateway/upstream.h"
#include "io/http.h"
#include "io/json.h"

enum {
    AGGREGATES_MAX = 16,
    AGGREGATE_PARTS_MAX = 8,
    AGGREGATE_NAME_LEN_MAX = 32,
    AGGREGATE_SPARE_MS = 50,              /* of the route's time, what the parts leave for joining them */
    AGGREGATE_PART_MAX = 2 * 1024 * 1024, /* bytes of one part's body; more is an "error" */
};

enum aggregate_shape {
    AGGREGATE_LISTS,  /* {customerId, <part>: its items or null, …, more: [part], unavailable}: one customer's */
    AGGREGATE_CHECKS, /* {clean, checkedAt, checks: those of all parts, unavailable} */
};
struct aggregate_part {
    const char *name, *path, *query; /* query: "" is none */
    size_t upstream;                 /* index, as struct forward's */
};
struct aggregate {
    const char *name;
    enum aggregate_shape shape;
    struct aggregate_part parts[AGGREGATE_PARTS_MAX];
    size_t part_count;
};
struct aggregates {
    struct aggregate items[AGGREGATES_MAX];
    size_t count;
};

/* Reads the member "aggregates" of the gateway's config file; NULL: there are none. */
void aggregates_read(struct arena *arena, const struct json *table, const struct upstreams_conf *us,
                     struct aggregates *ret, struct buf *ret_complaints);
/* As routes_adopt, which calls it: index[i] is where the file's service i is. */
void aggregates_adopt(struct aggregates *as, const size_t *index);
/* NULL: there is none of that name. */
const struct aggregate *aggregate_find(const struct aggregates *as, const char *name);

/* conf.app of the server that has it for a handler must be a struct routes; call_local its pools, as proxy.h says. */
http_handler aggregate_request;

#endif
