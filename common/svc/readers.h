/* readers.h — a few threads with a read connection each, for queries.
 *
 * For     GET handlers: readers_submit defers the call, runs `query` on a reader's thread and finishes the call with what
 *         it returns. A lost connection is opened again, and the query that met it runs once more; while the database is
 *         away calls get 503 at once. So a query may run twice: it reads, and answers through call->out and headers only.
 * Owns    threads and connections.
 * Threads readers_submit: any.
 * Fails   ERR_DB while no connection is open; ERR_BUSY when the queue is full. A call whose deadline passed in the queue
 *         gets 504 without a query.
 */
#ifndef SVC_READERS_H
#define SVC_READERS_H

#include "io/db.h"
#include "io/http.h"

enum { READERS_QUEUE_MAX = 4000, READERS_MAX = 32, CURSOR_TEXT_MAX = 64 };

struct readers;
typedef enum err reader_query(struct call *call, struct db *db);

MUST_CHECK enum err readers_open(const struct db_conf *db, int threads, struct log *log, struct metrics *metrics,
                                 void *app, struct readers **ret, struct fault *fault);
void readers_close(struct readers *r); /* what waits is answered 503; NULL is fine */
/* Usual last line of a GET handler: `return readers_submit(app->service->readers, call, query_orders);` */
MUST_CHECK enum err readers_submit(struct readers *r, struct call *call, reader_query *query);
/* For a call that goes on after its query: `then` takes it over, on the reader's thread and still deferred. It returns ERR_OK
 * when it has handed the call on (it must not wait itself); with any other error, and with a query's, the call is finished. */
MUST_CHECK enum err readers_submit_then(struct readers *r, struct call *call, reader_query *query, http_handler *then);
/* The same for a call that is deferred already and whose command is committed, from whatever thread has it. It is finished in any
 * case: where nothing can be read, with 504 outcome_unknown, for a 503 would say that nothing was done. */
void readers_pass(struct readers *r, struct call *call, reader_query *query);
bool readers_are_up(struct readers *r); /* at least one connection is open */

/* Opaque list cursors: base64url of (time_us, uuid) with a check against mistakes (a cut or edited one is refused, not
 * misread). It is no protection: who makes one up sees no more than by asking for that page. */
struct cursor {
    time_us_t at;
    struct uuid id;
    bool present;
};
void cursor_encode(const struct cursor *c, char ret_text[CURSOR_TEXT_MAX]);
/* ERR_INVALID at "?cursor" when forged or malformed. NULL text: absent. */
MUST_CHECK enum err cursor_decode(const char *text, struct cursor *ret, struct field_errors *errors);

#endif
