/* breakers.h — the gateway's own answers about its breakers: what admins see, and force.
 *
 * For     the routes with "own": "breakers", "breaker", "breaker-force"; only admins may use them.
 * Owns    nothing.
 * Threads the call's loop.
 * Fails   ERR_NOT_FOUND: no service of that name. A forced state holds in this process until it is told otherwise or ends; each
 *         one is in the log, at warn, with who said so.
 */
#ifndef GATEWAY_BREAKERS_H
#define GATEWAY_BREAKERS_H

#include "io/http.h"

http_handler breakers_list, breakers_get, breakers_force;

#endif
