/* log.h — one JSON object a line, on standard output.
 *
 * For     the edges of the program: main, the HTTP frame, the lane, relay and subscriber threads. Libraries
 *         return faults; whoever ends an error logs it, once.
 * Owns    a struct log is made in main and lives as long as the process.
 * Threads any; a line is written whole.
 * Fails   never; a line longer than LOG_LINE_MAX is cut.
 *
 * Never logged: passwords, tokens, keys, whole IBANs, request or event bodies.
 */
#ifndef IO_LOG_H
#define IO_LOG_H

#include "base/buf.h"
#include "base/err.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum { LOG_LINE_MAX = 8192 };

struct log;
struct log *log_open(const char *service, enum log_level level, int fd);
void log_close(struct log *log);
MUST_CHECK bool log_level_parse(const char *text, enum log_level *ret_level); /* debug, info, warn, error */

/* {"time":…,"level":…,"service":…,"msg":…} and the members of `extra` (already JSON: "\"orderId\":\"…\"", or NULL; a
 * leading comma is fine). One write a line. */
void log_msg(struct log *log, enum log_level level, const char *extra, const char *fmt, ...) PRINTF_LIKE(4, 5);
/* A request's line: time, level, service and "msg":"request" as above, then `members` (JSON without braces; a leading comma
 * is fine). Buffered per thread until log_flush, 8 KiB or the thread's end; threads end before log_close. */
void log_access(struct log *log, const struct buf *members);
void log_flush(struct log *log); /* the calling thread's buffered access lines */

#define log_debug(log, ...) log_msg((log), LOG_DEBUG, NULL, __VA_ARGS__)
#define log_info(log, ...) log_msg((log), LOG_INFO, NULL, __VA_ARGS__)
#define log_warn(log, ...) log_msg((log), LOG_WARN, NULL, __VA_ARGS__)
#define log_error(log, ...) log_msg((log), LOG_ERROR, NULL, __VA_ARGS__)

#endif
