/* breakers.h — the gateway's own answers about its breakers: what admins see, and force.
 *
 * For     the routes with "own": "breakers", "breaker", "breaker-force"; only admins may use them.
 * Owns    nothing.
 * Threads the call's loop.
 * Fails   ERR_NOT_FOUND: no service of that name. A forced state holds in this process until it is told otherwise or ends; each
 *         one is in the log, at warn, with who said so, and auth-svc is asked to write it down in its audit trail, in the admin's
 *         name. That may fail, or take too long (TELL_MAX_MS), since breakers are forced just when things are down: the state
 *         holds all the same, and one more line at warn says that the trail doesn't have it.
 */
#ifndef GATEWAY_BREAKERS_H
#define GATEWAY_BREAKERS_H

#include "io/http.h"

enum { TELL_MAX_MS = 500 };

http_handler breakers_list, breakers_get, breakers_force;

#endif
