/* raw_http.h — HTTP spoken by hand over sockets, for tests that play a client or a service.
 *
 * For     integration tests of one thread. What was heard last is in `heard`, and the functions that ask about a message ask
 *         about that one.
 * Fails   the test.
 */
#ifndef TESTS_SUPPORT_RAW_HTTP_H
#define TESTS_SUPPORT_RAW_HTTP_H

#include <stdbool.h>
#include <stddef.h>

enum { RAW_PATIENCE_MS = 5000, RAW_TEXT_MAX = 2 * 1024 * 1024 };
extern char heard[RAW_TEXT_MAX];

int raw_listen(int *ret_port); /* on a free port of 127.0.0.1 */
int raw_connect(int port);
bool raw_can_connect(int port); /* and hangs up again */
int raw_accept(int listener);
bool raw_is_readable(int fd, int timeout_ms);
bool raw_is_closed(int fd); /* the other side closes within RAW_PATIENCE_MS */

void raw_say(int fd, const char *words);
void raw_say_bytes(int fd, const char *bytes, size_t len);
/* One message, by its Content-Length. False: the other side closed first. */
bool raw_hear(int fd);
void raw_hear_head(int fd); /* up to the empty line, for an answer whose body is left out */

int raw_status(void);
const char *raw_header(const char *name); /* in a buffer of its own; NULL: absent */
const char *raw_body(void);

#endif
