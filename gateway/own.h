/* own.h — what the gateway answers itself: the handlers that a route of gateway.json names by "own".
 *
 * For     main.  Owns a constant.  Threads: any.  Fails: never.
 */
#ifndef GATEWAY_OWN_H
#define GATEWAY_OWN_H

#include "gateway/routes.h"

extern const struct own_handler OWN_HANDLERS[];

#endif
