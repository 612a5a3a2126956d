/* trace.h — W3C trace context: the `traceparent` that goes through gateway, services and events.
 *
 * Owns    nothing.  Threads: any.  Fails: a header that is not well-formed is ignored and a new trace begun.
 */
#ifndef IO_TRACE_H
#define IO_TRACE_H

#include "base/str.h"

enum { TRACE_TEXT_MAX = 56 };
struct trace {
    char trace_id[33]; /* 32 lower-case hex digits */
    char span_id[17];
    char parent_id[17]; /* the span above; "" when there is none */
    bool sampled;
};
struct trace trace_new(void);
/* The caller's trace with a new span of ours below it. */
struct trace trace_child(struct str traceparent);
/* The same for a step of our own below a span of ours. */
struct trace trace_below(const struct trace *above);
/* "00-<trace>-<span>-0x" */
void trace_format(const struct trace *t, char ret_text[TRACE_TEXT_MAX]);

#endif
