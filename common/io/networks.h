/* networks.h — IP addresses and networks, as text: who is one of a list.
 *
 * For     settings that name peers, and a client's address as trusted proxies tell it.
 * Owns    nothing.  Threads: any.
 * Fails   networks_parse says which item is wrong.
 */
#ifndef IO_NETWORKS_H
#define IO_NETWORKS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/str.h"

enum { NETWORKS_MAX = 32, ADDRESS_TEXT_MAX = 48, ADDRESS_BYTES = 16 };

/* IPv6; an IPv4 address stands as ::ffff:a.b.c.d, so that one address is one network's however it is written. */
struct ip_address {
    unsigned char bytes[ADDRESS_BYTES];
};
struct networks {
    size_t count;
    struct network {
        struct ip_address address;
        int bits;
    } items[NETWORKS_MAX];
};

/* "10.0.0.7" or "2001:db8::7". */
MUST_CHECK bool ip_address_parse(struct str text, struct ip_address *ret);
void ip_address_format(const struct ip_address *a, char ret_text[ADDRESS_TEXT_MAX]);
/* "127.0.0.0/8, ::1": comma separated, with or without a length. ERR_CONF: an item is neither, has bits beyond its length, or
 * there are too many. */
MUST_CHECK enum err networks_parse(const char *text, struct networks *ret, struct fault *fault);
bool networks_hold(const struct networks *n, const struct ip_address *a);
/* Whose request it is: `peer`, if he is none of the list; else the last address of `forwarded` (X-Forwarded-For, as each hop
 * appends to it) that is none of the list, or the last before something that is no address. */
void networks_client(const struct networks *trusted, const char *peer, struct str forwarded,
                     char ret_client[ADDRESS_TEXT_MAX]);

#endif
