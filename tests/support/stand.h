/* stand.h — a service on a test stand: its real routes, commands, store and lane over a database of its own, and no Kafka.
 *
 * For     integration tests. Requests come by HTTP; events are handed to the lane as the subscriber would hand them over,
 *         numbered as their source would number them; what the service publishes is read from its outbox.
 * Owns    everything below; answers live until stand_close.
 * Threads the test's.
 * Fails   ends the test with a message.
 */
#ifndef TESTS_STAND_H
#define TESTS_STAND_H

#include "support/scratch.h"
#include "svc/service.h"

enum { STAND_PARTITIONS = 3, STAND_TOPICS_MAX = 5, STAND_SOURCE_LANES = 2, STAND_INBOX_MS = 2500 };

/* Where the lane stands in a partition, and what the next event to be fed there is. */
struct stand_place {
    bool held;
    unsigned generation;
    int64_t next_offset;
    int64_t part_seq[STAND_SOURCE_LANES + 1]; /* by the source's lane */
};
struct stand {
    struct scratch s;
    struct service service;
    struct service_settings settings;
    struct arena arena;
    char app_url[256], app_password[64], folder[64]; /* of the keys */
    struct token_signer *signer;
    int port;
    bool shares; /* the partitions, with another: stand_settle doesn't ask for all of them */
    struct stand_place places[STAND_TOPICS_MAX][STAND_PARTITIONS];
    /* shared with the lane's thread */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int holding, released; /* counts of stand_hold */
    long asked, seen;      /* tickets of stand_settle */
    struct stand_place seen_places[STAND_TOPICS_MAX][STAND_PARTITIONS];
};

/* A fresh database test_<name> with the service's schema; the service runs as a member of `role`_app, so that what that role
 * may not do fails here too. role NULL: as the owner. */
void stand_open(struct stand *st, const struct service_spec *spec, const char *name, const char *role);
/* The same, over a way of its own to the database: "127.0.0.1:54321". NULL: straight. */
void stand_open_by(struct stand *st, const struct service_spec *spec, const char *name, const char *role,
                   const char *address);
/* A second process of the same service on the first one's database. */
void stand_join(struct stand *st, struct stand *first);
void stand_close(struct stand *st);

/* ---- requests ---- */

struct ask {
    const char *method, *path;
    const char *body, *key; /* NULL: none */
    int64_t customer_id;    /* whose token; 0: none */
    bool admin;
    const char *token; /* instead of one made for customer_id */
};
struct answer {
    int status;
    bool replayed;
    const char *body;
};
int stand_send(struct stand *st, const struct ask *ask); /* a socket: give it to stand_hear */
struct answer stand_hear(struct stand *st, int socket);
struct answer stand_ask(struct stand *st, const struct ask *ask);
/* The text behind "name": in a body, up to the quote; "" when there is none. */
const char *stand_member(struct stand *st, const char *body, const char *name);

/* ---- events ---- */

struct feed {
    const char *topic, *type;
    int64_t customer_id; /* the key */
    const char *data;    /* JSON */
    int lane;            /* the source's; 0: 1 */
    int64_t part_seq;    /* 0: the next one */
    struct uuid epoch;   /* nil: the usual one */
    const char *raw;     /* instead of an envelope around data */
};
int stand_partition(int64_t customer_id);
struct stand_place *stand_place(struct stand *st, const char *topic, int64_t customer_id);
void stand_feed(struct stand *st, const struct feed *feed);

/* ---- batches ---- */

/* Until stand_release the lane takes nothing more: what comes meanwhile becomes one batch. For at most STAND_INBOX_MS. */
void stand_hold(struct stand *st);
void stand_await_inbox(struct stand *st, size_t count); /* while held: so many wait */
void stand_release(struct stand *st);
/* All that was fed and sent before has ended, and the lane holds its partitions (all, if it doesn't share). Reads `places`
 * again. */
void stand_settle(struct stand *st);

/* ---- what is in the database ---- */

int64_t stand_number(struct stand *st, const char *sql, ...) PRINTF_LIKE(2, 3);
const char *stand_text(struct stand *st, const char *sql, ...) PRINTF_LIKE(2, 3); /* one column of one row */
void stand_run(struct stand *st, const char *sql, ...) PRINTF_LIKE(2, 3);

#endif
