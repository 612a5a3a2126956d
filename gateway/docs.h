/* docs.h — documents at the door: the contract, the page to read and try it, and a page for every problem.
 *
 * For     own.c, which names the handlers. Open to anyone, limited by address as their routes say.
 * Owns    nothing.
 * Threads any.
 * Fails   404 for a file or a problem that there is not, 406 as the HTTP server's.
 *
 * Pages go with a Content-Security-Policy that allows no inline script or style and nothing of another server; nothing else that the
 * gateway answers is a page, so nothing else has one.
 */
#ifndef GATEWAY_DOCS_H
#define GATEWAY_DOCS_H

#include "gateway/assets.h"
#include "io/http.h"

http_handler docs_contract; /* /openapi.json */
http_handler docs_page;     /* /docs */
http_handler docs_file;     /* /docs/{file} */
http_handler docs_problem;  /* /problems/{slug}: HTML, or JSON for who likes it better */

#endif
