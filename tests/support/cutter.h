/* cutter.h — a wire to PostgreSQL that can be cut at the very COMMIT of a lane, where nobody else could hit it.
 *
 * For     tests of the unknown commit. It carries bytes between 127.0.0.1 and the server until it is armed; then it cuts the
 *         first connection that says COMMIT, once.
 * Owns    its thread and sockets.
 * Threads the test's.
 * Fails   ends the test.
 */
#ifndef TESTS_CUTTER_H
#define TESTS_CUTTER_H

enum cut {
    CUT_NOT,
    CUT_BEFORE,      /* the server never hears it: nothing is done */
    CUT_AFTER,       /* it is done; the answer is lost */
    CUT_BLIND,       /* both ends are closed as soon as it is sent: it may be done, or not */
    CUT_BEFORE_HUNG, /* as before, and the server does not learn that its client is gone */
    CUT_AFTER_HUNG,
    CUT_KINDS,
};
struct cutter;
struct cutter *cutter_new(const char *server); /* "127.0.0.1:5432" */
const char *cutter_address(const struct cutter *c);
void cutter_arm(struct cutter *c, enum cut cut);
int cutter_cuts(struct cutter *c); /* so far */
void cutter_free(struct cutter *c);

#endif
