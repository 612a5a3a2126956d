/* password_rule.h — which passwords are good enough (NIST SP 800-63B-4 section 3.1.1.2).
 *
 * For     register, the change of a password, and the first admin's. 12 to 128 characters of any script, counted as Unicode
 *         code points; nothing is cut off, no kind of character is asked for. Refused is what everybody tries first:
 *         passwords of the list, and those in which little is left beside common words, the user's own name and runs of
 *         equal or neighbouring characters.
 * Owns    nothing.  Threads: any.
 */
#ifndef AUTH_SVC_PASSWORD_RULE_H
#define AUTH_SVC_PASSWORD_RULE_H

#include "password_list.h"

enum { PASSWORD_CHARS_MIN = 12, PASSWORD_CHARS_MAX = 128, PASSWORD_BYTES_MAX = 4 * PASSWORD_CHARS_MAX };

/* What is wrong with it, as a constant sentence that does not quote it; NULL: it is good. `password` is well-formed UTF-8;
 * username is in lower case, or NULL when it is not known (yet). */
const char *password_complaint(const char *password, const char *username);
/* The same with a list: a piece of the password that stands there, as it is or in the usual disguise (p@ssw0rd), is worth two
 * characters of one's own. So four words of the list make a good one, and one or two with a year behind do not. */
const char *password_complaint_by(const struct password_list *list, const char *password, const char *username);

#endif
