/* policies.h — the limits in the gateway's config file: what may be asked how often, by whom, and which routes go by it.
 *
 * For     routes.c reads them, admission.c applies them.
 *
 *     "policies": {"user-read": {"key": "user", "limit": 50, "periodMs": 1000, "burst": 100}}
 *     in a route: "limits": ["anonymous", "user-read"], "cost": 2        (cost: of each of its policies; 1 if not given)
 *
 *         key        a request counts for
 *         address    the client's address (an IPv6 one by its first 64 bits)
 *         anonymous  the same, but where a token is asked for, only if there is no valid one: so failed tokens are limited per
 *                    address before they are looked at, and who has one is not limited by his neighbours
 *         user       the token's customer
 *         username   the body's member "username", in lower case; a body without one counts for nobody
 *         upstream   the route's service, all clients together
 * Owns    all of it lives in the caller's arena.
 * Threads reading: main. Const afterwards.
 * Fails   a complaint a line.
 */
#ifndef GATEWAY_POLICIES_H
#define GATEWAY_POLICIES_H

#include "gateway/limiter.h"
#include "io/fields.h"
#include "io/http.h"
#include "io/json.h"
#include "io/metrics.h"

enum { POLICIES_MAX = 32, LIMIT_COST_MAX = 10 };

enum limit_key { KEY_ADDRESS, KEY_ANONYMOUS, KEY_USER, KEY_USERNAME, KEY_UPSTREAM };

struct policy {
    struct limit_policy limit;
    enum limit_key key;
    struct counter *allowed, *denied; /* NULL: not measured */
};
struct policies {
    struct policy items[POLICIES_MAX];
    size_t count;
};
/* What a route names. */
struct route_limits {
    const struct policy *policies[LIMIT_ASKS_MAX];
    size_t count;
    int64_t cost;
    const char *upstream; /* its service's name; NULL: it has none */
    enum http_stage last; /* when all of their keys are known: then it is spent */
};

/* Reads the member "policies"; NULL: there are none. */
void policies_read(struct arena *arena, const struct json *table, struct policies *ret, struct buf *ret_complaints);
void policies_measure(struct policies *ps, struct metrics *m);
const struct policy *policy_find(const struct policies *ps, const char *name); /* NULL: none */
/* A route's members, as they stand in the file. */
struct route_limits_text {
    const struct field_texts *names;
    int64_t cost;
    const char *upstream;
    enum http_who who;
};
/* `where` begins each complaint. */
void route_limits_read(const struct policies *ps, const struct route_limits_text *t, const char *where,
                       struct route_limits *ret, struct buf *ret_complaints);
/* When a policy's key is known. */
enum http_stage policy_stage(const struct policy *p);

#endif
