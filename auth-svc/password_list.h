/* password_list.h — passwords and names that everybody tries first: a list of tens of thousands, read from a file.
 *
 * For     password_rule.h, to which a piece of a password that stands in the list is worth little.
 * Owns    its words.
 * Threads any, after password_list_open.
 * Fails   ERR_CONF: the file can't be read, or has fewer than PASSWORD_LIST_LEAST words of use.
 */
#ifndef AUTH_SVC_PASSWORD_LIST_H
#define AUTH_SVC_PASSWORD_LIST_H

#include <stdint.h>

#include "base/err.h"

enum {
    PASSWORD_LIST_LEAST = 3000,
    PASSWORD_MATCHES_MAX = 8,
    PASSWORD_WORD_MIN = 5 /* shorter ones stand in anything */
};

struct password_list;
/* One a line, in lower case; lines of others than visible ASCII, and short ones, are passed over. */
MUST_CHECK enum err password_list_open(const char *path, struct password_list **ret, struct fault *fault);
void password_list_close(struct password_list *l); /* NULL is fine */
size_t password_list_count(const struct password_list *l);
/* How long the listed words are that `text` begins with, the shortest first; returns how many there are. */
size_t password_list_match(const struct password_list *l, const uint32_t *text, size_t len,
                           size_t ret_lens[PASSWORD_MATCHES_MAX]);

#endif
