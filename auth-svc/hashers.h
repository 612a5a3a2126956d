/* hashers.h — a few threads for what takes long and waits for nobody: hashing passwords, signing tokens.
 *
 * For     steps of register and login. As many threads as there may be hashes at once, which bounds their memory.
 * Owns    threads; the call that it was given, until its work has handed it on or failed.
 * Threads hashers_submit: any, but the call must be deferred already (after a step on a reader's thread it is).
 * Fails   ERR_BUSY when HASHERS_QUEUE_MAX wait already (503: a stall would be worse), and for a call whose time was up
 *         before its turn.
 */
#ifndef AUTH_SVC_HASHERS_H
#define AUTH_SVC_HASHERS_H

#include "io/http.h"

enum { HASHERS_MAX = 16, HASHERS_QUEUE_MAX = 64 };

struct hashers;
MUST_CHECK enum err hashers_open(int threads, struct metrics *metrics, struct hashers **ret, struct fault *fault);
void hashers_close(struct hashers *h); /* what waits is done first; NULL is fine */
/* Runs work(call) on one of the threads. It returns ERR_OK when it has handed the call on or finished it; the call is finished
 * with any other error. */
MUST_CHECK enum err hashers_submit(struct hashers *h, struct call *call, http_handler *work);

#endif
