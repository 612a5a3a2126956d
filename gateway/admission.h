/* admission.h — may this request go on? The limits of its route, asked as soon as each one's key is known.
 *
 * For     main gives admission_ask to the HTTP server, unless LIMITS=off. A request is refused at the first stage where one of
 *         the policies known so far refuses; it is counted, for all of them at once, at the last stage that one of its policies
 *         needs: so a login refused for its user name is not counted for its address.
 *         Every answer of a limited route has RateLimit and RateLimit-Policy, as of the last stage that was reached.
 * Owns    nothing.
 * Threads the call's loop.
 * Fails   ERR_RATE_LIMITED: 429 with Retry-After, and the problem's member violated-policies.
 */
#ifndef GATEWAY_ADMISSION_H
#define GATEWAY_ADMISSION_H

#include "gateway/routes.h"

/* conf.app of the server must be a struct routes with a limiter. */
enum err admission_ask(struct call *call, enum http_stage stage);

/* What an address counts as: an IPv4 one (also ::ffff:a.b.c.d) its 4 bytes, an IPv6 one its first 8. */
enum { ADDRESS_KEY_MAX = 48 };
struct str admission_address_key(const char *peer, char ret[ADDRESS_KEY_MAX]);

#endif
