/* resolver.h — asks again and again for the addresses of services' hosts, on a thread of its own.
 *
 * For     main. A lookup may take seconds, and no loop may wait for it: they see the result at their next request (upstream.h).
 * Owns    its thread.
 * Threads main.
 * Fails   resolver_open when there can be no thread. A lookup that fails is logged once and leaves what was there.
 */
#ifndef GATEWAY_RESOLVER_H
#define GATEWAY_RESOLVER_H

#include "gateway/upstream.h"

struct resolver;
/* The first round is over when it returns. `us` must live longer. */
MUST_CHECK enum err resolver_open(struct upstreams *us, int every_s, struct resolver **ret, struct fault *fault);
void resolver_wake(struct resolver *r); /* a round now: there are new names */
/* Waits for a lookup under way, which may take seconds. NULL is fine. */
void resolver_close(struct resolver *r);

#endif
