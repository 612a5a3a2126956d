/* process.h — what all six processes do alike: signals, the operator port, the order of start and stop.
 *
 * For     service.c and the gateway's main.
 * Owns    the operator server (/livez, /readyz?verbose, /metrics).
 * Threads main. Checks are asked on the operator server's thread, and only after process_started.
 * Fails   at start, with one clear line.
 */
#ifndef SVC_PROCESS_H
#define SVC_PROCESS_H

#include "io/http.h"

struct process_check {
    const char *name; /* "postgres" */
    bool needed;      /* false: shown in ?verbose only (kafka) */
    /* true: ready. Writes a short reason or state. Must not block. */
    bool (*ask)(void *arg, char *ret_state, size_t cap);
    void *arg;
};
struct process_conf {
    const char *name;
    const char *operator_listen;
    const struct process_check *checks; /* ends with a NULL name */
    struct log *log;
    struct metrics *metrics;
    void (*on_hangup)(void *arg); /* SIGHUP, on the process thread; may be NULL */
    void *arg;
};
struct process;
/* Sees to it that so many descriptors, and some for logs, Kafka and the like, may be open at once; ERR_CONF: the hard limit is below. */
MUST_CHECK enum err process_reserve_files(int count, struct fault *fault);
/* Blocks SIGTERM, SIGINT, SIGHUP, SIGPIPE in all threads made later: call before any thread starts. */
void process_signals_block(void);
/* Starts the operator server: /livez 200, and /readyz and /metrics 503 until process_started. */
MUST_CHECK enum err process_open(const struct process_conf *conf, struct process **ret, struct fault *fault);
/* For a start that must wait for others: waits; false: SIGTERM or SIGINT came. */
MUST_CHECK bool process_pause(struct process *p, int ms);
/* All parts are open, all metrics made: from now on checks are asked. */
void process_started(struct process *p);
/* Serves until SIGTERM or SIGINT, then makes /readyz say 503 and returns. Runs `tick` every second if given. */
void process_wait(struct process *p, void (*tick)(void *arg), void *arg);
/* From now on the process ends, with 0, within timeout_ms: whatever still hangs then is a part that can't be stopped, and
 * what was answered is committed. */
void process_end_within(struct process *p, int timeout_ms);
void process_close(struct process *p); /* NULL is fine */

#endif
