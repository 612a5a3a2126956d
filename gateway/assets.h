/* assets.h — files that the gateway serves from its own memory: the contract as JSON, and the page for /docs.
 *
 * For     docs.c. The table is made by the build (cmake/assets.cmake).
 * Owns    constants.  Threads: any.  Fails: never.
 */
#ifndef GATEWAY_ASSETS_H
#define GATEWAY_ASSETS_H

#include "base/str.h"

struct asset {
    const char *name; /* "openapi.json" */
    const char *type; /* its Content-Type */
    const char *etag; /* by its bytes, with the quotes */
    struct str bytes;
};
extern const struct asset GATEWAY_ASSETS[]; /* ends with a NULL name */

#endif
