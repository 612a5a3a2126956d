/* problem_pages.h — what a problem means: the text of /problems/{slug}.
 *
 * For     docs.c. A row for every wire code of base/err.h; a test holds the two, and the contract's list, against each other.
 * Owns    constants.  Threads: any.  Fails: never.
 */
#ifndef GATEWAY_PROBLEM_PAGES_H
#define GATEWAY_PROBLEM_PAGES_H

#include "base/err.h"

struct problem_page {
    const char *code;
    const char *what; /* happened */
    const char *why;
    const char *todo;
};
extern const struct problem_page PROBLEM_PAGES[]; /* ends with a NULL code */

const struct problem_page *problem_page_find(const char *code); /* NULL: none */
/* The first error of that code: its title and status are the page's. */
enum err problem_page_err(const struct problem_page *p);

#endif
