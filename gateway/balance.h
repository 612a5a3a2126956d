/* balance.h — which of a service's instances a request goes to: the one with less in flight of two picked at random.
 *
 * For     exchange.c. Pure. Two picked at random are enough to keep instances even without everybody running to the same one
 *         (Mitzenmacher, "The Power of Two Choices"). An instance that has just come (back) gets a share that grows from a tenth
 *         to the whole over BALANCE_RAMP_S.
 * Owns    nothing.  Threads: any, each with a random state of its own.
 * Fails   BALANCE_NONE: none may be chosen.
 */
#ifndef GATEWAY_BALANCE_H
#define GATEWAY_BALANCE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/clock.h"

enum { BALANCE_RAMP_S = 5, BALANCE_WHOLE = 1000, BALANCE_LEAST = 100 };
#define BALANCE_NONE SIZE_MAX

struct balance_choice {
    bool possible;     /* has room, and was not tried for this request */
    bool last_resort;  /* only if there is no other */
    int64_t in_flight; /* over all loops */
    int share;         /* balance_share */
};
/* `random` must not be 0; it moves on. */
size_t balance_choose(const struct balance_choice *choices, size_t count, uint64_t *random);
/* Of BALANCE_WHOLE; since: when it came, 0: it was there from the beginning. */
int balance_share(mono_ns_t since, mono_ns_t now);
uint64_t balance_random(uint64_t *random);

#endif
