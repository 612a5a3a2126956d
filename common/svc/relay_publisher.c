/* One publisher: lock, both producers, position, and then rows to records, until anything goes wrong; then all of that anew.
 *
 * The order is what makes it safe. The lane's lock comes first, so that we don't fence the rightful holder. Both producers
 * come before the position is read: opening one fences whoever had its id and waits for the end of his transaction, so the
 * position is final. It goes on from nowhere but that position: what a commit with a lost answer did, only Kafka knows.
 */
#include <stdio.h>
#include <string.h>

#include "svc/relay_private.h"

enum {
    ROWS_MAX = 500,
    BYTES_MAX = 4 << 20, /* of one transaction's payloads, unless a single row has more */
    IDLE_MS = 500,       /* without being woken, the table is looked at so often */
    REFRESH_S = 6 *
                3600, /* an offset that nobody commits for days is dropped by the broker: offsets.retention.minutes */

    DB_OPEN_MS = 2000,
    TOPICS_MS = 5000,
    PRODUCER_MS = 4000, /* the database session is not to fall asleep meanwhile (10 s) */
    POSITION_MS = 5000,

    BACKOFF_MIN_MS = 50,
    BACKOFF_MAX_MS = 1000,
    FENCED_MS = 1000, /* two that both think they hold the number must not fence each other in a loop */
    REFUSED_MS = 5000,
    GAPS_MAX = 5,
};

/* How a run ended, and so how long to rest. */
enum run {
    RUN_ON,      /* it didn't */
    RUN_ENDED,   /* the slot is not ours any more */
    RUN_AWAY,    /* Kafka or the database is away, or said no */
    RUN_FENCED,  /* somebody else publishes this number */
    RUN_GAP,     /* a committed row is not to be seen */
    RUN_REFUSED, /* going on would lose or double events: a person must look */
};

/* The schema whose outbox we read: its name is what lane locks are made of. */
static const struct db_stmt SCHEMA = {"relay_schema", "SELECT current_schema()"};
static const struct db_stmt LOCK_HOLDERS = {
    "relay_lock_holders",
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2 "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
    "AND classid::bigint = $1 AND objid::bigint = $2",
};
static const struct db_stmt TOPICS = {"relay_topics", "SELECT name, partitions FROM topic"};
static const struct db_stmt PUBLISHED_UPTO = {
    "relay_published_upto",
    "SELECT published_upto FROM lane WHERE lane = $1",
};
static const struct db_stmt ROW_ID = {"relay_row_id", "SELECT id FROM outbox WHERE lane = $1 AND seq = $2"};
/* A payload has at most 900,000 bytes (a CHECK), well below the broker's message.max.bytes (1,048,588 when nobody set it):
 * no row can be too large to publish and so block those behind it. */
static const struct db_stmt ROWS = {
    "relay_rows",
    "SELECT seq, id, aggregatetype, aggregateid, type, payload, partition, traceparent FROM ("
    "SELECT *, octet_length(payload) AS size, sum(octet_length(payload)) OVER (ORDER BY seq ROWS UNBOUNDED PRECEDING) "
    "AS upto "
    "FROM outbox WHERE lane = $1 AND seq > $2 ORDER BY seq LIMIT $3) r "
    "WHERE upto = size OR upto <= $4 ORDER BY seq",
};
enum { SEQ, ID, TOPIC, KEY, TYPE, PAYLOAD, PARTITION, TRACEPARENT };

/* ---- the database ---- */

static enum run db_ready(struct publisher *p, struct fault *fault)
{
    if (p->db != NULL && db_is_open(p->db))
        return RUN_ON;
    db_close(p->db);
    p->db = NULL;
    return db_open(&p->relay->conf.db, DB_OPEN_MS, &p->db, fault) == ERR_OK ? RUN_ON : RUN_AWAY;
}

/* Up to four numbers as arguments, as the statement takes them. */
static enum run ask(struct publisher *p, const struct db_stmt *stmt, int count, const int64_t *values,
                    struct db_rows **ret_rows, struct fault *fault)
{
    struct arena arena;
    arena_init(&arena);
    struct db_args args = db_args(&arena);
    for (int i = 0; i < count; i++)
        db_arg_i64(&args, values[i]);
    enum err e = db_query(p->db, stmt, &args, ret_rows, fault);
    arena_done(&arena);
    return e == ERR_OK ? RUN_ON : RUN_AWAY;
}

static enum run lock_check(struct publisher *p, struct fault *fault)
{
    CLEANUP_ROWS struct db_rows *schema = NULL;
    CLEANUP_ROWS struct db_rows *holders = NULL;
    enum run run = ask(p, &SCHEMA, 0, NULL, &schema, fault);
    if (run != RUN_ON)
        return run;
    int64_t key[] = {(uint32_t)lane_lock_key(db_text(schema, 0, 0)), p->number};
    run = ask(p, &LOCK_HOLDERS, 2, key, &holders, fault);
    if (run != RUN_ON || db_i64(holders, 0, 0) > 0)
        return run;
    fault_set(fault, ERR_KAFKA, "nobody holds the lane's lock");
    return RUN_FENCED;
}

static enum run floor_read(struct publisher *p, int64_t *ret_floor, struct fault *fault)
{
    int64_t lane = p->number;
    CLEANUP_ROWS struct db_rows *rows = NULL;
    enum run run = ask(p, &PUBLISHED_UPTO, 1, &lane, &rows, fault);
    if (run != RUN_ON)
        return run;
    if (db_count(rows) != 1) {
        fault_set(fault, ERR_BUG, "there is no such lane in the database");
        return RUN_REFUSED;
    }
    *ret_floor = db_i64(rows, 0, 0);
    relay_tell_floor(p, *ret_floor);
    return RUN_ON;
}

/* ---- topics ---- */

/* As the table says, which fixed it when the topic was first named; else as we are set. */
static int partitions_of(const struct db_rows *known, const char *topic, int otherwise)
{
    for (int i = 0; i < db_count(known); i++)
        if (strcmp(db_text(known, i, 0), topic) == 0)
            return (int)db_i64(known, i, 1);
    return otherwise;
}

static size_t topics_list(const struct relay *r, const struct db_rows *known, struct kafka_topic_spec *ret)
{
    size_t count = 0;
    const char *const *consumes = r->conf.consumes;
    ret[count++] = (struct kafka_topic_spec){r->position_topic, 1, true};
    ret[count++] = (struct kafka_topic_spec){r->conf.topic, partitions_of(known, r->conf.topic, r->conf.partitions),
                                             false};
    for (size_t i = 0; consumes[i] != NULL; i++) {
        int partitions = partitions_of(known, consumes[i], r->conf.partitions);
        ret[count++] = (struct kafka_topic_spec){consumes[i], partitions, false};
        ret[count++] = (struct kafka_topic_spec){r->topics[i + 1], 1, false};
    }
    return count;
}

/* Rows name their partition: a topic that somebody made smaller can't take them all. */
static enum run partitions_check(struct publisher *p, int needed, struct fault *fault)
{
    const struct relay_conf *conf = &p->relay->conf;
    int count;
    if (kafka_partition_count(&conf->kafka, conf->topic, TOPICS_MS, &count, fault) != ERR_OK)
        return RUN_AWAY;
    if (count >= needed)
        return RUN_ON;
    fault_set(fault, ERR_CONF,
              "topic \"%s\" has %d partitions in kafka and the outbox's rows are for %d: make it whole again",
              conf->topic, count, needed);
    return RUN_REFUSED;
}

static enum run topics_make(struct publisher *p, struct fault *fault)
{
    const struct relay_conf *conf = &p->relay->conf;
    if (p->topics_ready)
        return RUN_ON;
    CLEANUP_ROWS struct db_rows *known = NULL;
    enum run run = ask(p, &TOPICS, 0, NULL, &known, fault);
    if (run != RUN_ON)
        return run;

    struct kafka_topic_spec list[2 + 2 * RELAY_TOPICS_MAX];
    size_t count = topics_list(p->relay, known, list);
    if (kafka_topics_ensure(&conf->kafka, list, count, TOPICS_MS, fault) != ERR_OK)
        return RUN_AWAY;
    run = partitions_check(p, partitions_of(known, conf->topic, conf->partitions), fault);
    p->topics_ready = run == RUN_ON;
    return run;
}

/* ---- the position ---- */

enum { MARK_MAX = 2 * UUID_TEXT_MAX };

/* "<epoch> <id of the last published row>" */
static void mark_format(struct uuid epoch, struct uuid id, char ret[MARK_MAX])
{
    uuid_format(epoch, ret);
    ret[UUID_TEXT_MAX - 1] = ' ';
    uuid_format(id, ret + UUID_TEXT_MAX);
}

static bool mark_parse(const char *text, struct uuid *ret_epoch, struct uuid *ret_id)
{
    enum { LEN = UUID_TEXT_MAX - 1 };
    return strlen(text) == MARK_MAX - 1 && text[LEN] == ' ' && uuid_parse((struct str){text, LEN}, ret_epoch) &&
           uuid_parse((struct str){text + LEN + 1, LEN}, ret_id);
}

static enum run refuse(struct fault *fault, int64_t position, const char *why)
{
    fault_set(fault, ERR_CONF, "kafka's position is event %lld, %s", (long long)position, why);
    return RUN_REFUSED;
}

/* A database that was restored, or swapped, gives its numbers out a second time: events would be passed over in silence. */
static enum run row_check(struct publisher *p, int64_t position, struct uuid id, struct fault *fault)
{
    int64_t key[] = {p->number, position};
    CLEANUP_ROWS struct db_rows *rows = NULL;
    enum run run = ask(p, &ROW_ID, 2, key, &rows, fault);
    if (run != RUN_ON)
        return run;
    if (db_count(rows) == 0)
        return refuse(fault, position, "which is not in the outbox: was the database restored from a backup?");
    if (!uuid_eq(db_uuid(rows, 0, 0), id))
        return refuse(fault, position,
                      "but the outbox has another event there: was the database restored from a backup?");
    return RUN_ON;
}

static enum run position_none(int64_t floor, struct fault *fault)
{
    if (floor == 0)
        return RUN_ON;
    fault_set(fault, ERR_CONF, "kafka has no position, though %lld events were published: were kafka's data lost?",
              (long long)floor);
    return RUN_REFUSED;
}

static enum run position_take(struct publisher *p, int64_t floor, struct fault *fault)
{
    char mark[MARK_MAX + 1]; /* one more: a longer one must not pass for ours by being cut */
    int64_t position;
    if (kafka_position_read(&p->relay->conf.kafka, p->group, p->relay->position_topic, POSITION_MS, &position, mark,
                            sizeof mark, fault) != ERR_OK)
        return RUN_AWAY;
    p->position = 0;
    p->last_id = (struct uuid){{0}};
    if (position < 0)
        return position_none(floor, fault);

    struct uuid epoch, id;
    if (!mark_parse(mark, &epoch, &id))
        return refuse(fault, position, "with no mark of ours: who wrote it?");
    if (!uuid_eq(epoch, p->epoch))
        return refuse(fault, position, "but of another epoch than the lane's: is this database the one that it was?");
    enum run run = position > 0 ? row_check(p, position, id, fault) : RUN_ON;
    if (run != RUN_ON)
        return run;
    p->position = position;
    p->last_id = id;
    return RUN_ON;
}

/* ---- start ---- */

static void producers_drop(struct publisher *p)
{
    for (int i = 0; i < 2; i++) {
        kafka_producer_drop(p->producers[i]);
        p->producers[i] = NULL;
    }
}

static enum run producers_open(struct publisher *p, struct fault *fault)
{
    const struct relay *r = p->relay;
    for (int i = 0; i < 2; i++) {
        if (!relay_wants(p))
            return RUN_ENDED;
        if (kafka_producer_open(&r->conf.kafka, p->ids[i], r->topics, r->topic_count, PRODUCER_MS, &p->producers[i],
                                fault) != ERR_OK) {
            p->topics_ready = false; /* the reason may be that one is gone */
            return RUN_AWAY;
        }
    }
    return RUN_ON;
}

static enum run start(struct publisher *p, struct fault *fault)
{
    int64_t floor = 0;
    enum run run = db_ready(p, fault);
    if (run == RUN_ON)
        run = lock_check(p, fault);
    if (run == RUN_ON)
        run = floor_read(p, &floor, fault); /* before the position: it must not overtake it */
    if (run == RUN_ON)
        run = topics_make(p, fault);
    if (run == RUN_ON)
        run = producers_open(p, fault);
    if (run == RUN_ON && !relay_wants(p))
        run = RUN_ENDED;
    if (run == RUN_ON)
        run = position_take(p, floor, fault);
    p->looked = false;
    p->refresh_at = 0; /* the first commit refreshes the offset, and shows that we can */
    return run;
}

/* ---- publish ---- */

static enum run produce(struct kafka_producer *producer, const struct db_rows *rows, int i, struct fault *fault)
{
    const struct kafka_record record = {
        .topic = db_text(rows, i, TOPIC),
        .partition = (int)db_i64(rows, i, PARTITION),
        .key = str_of(db_text(rows, i, KEY)),
        .value = str_of(db_text(rows, i, PAYLOAD)),
        .traceparent = db_null(rows, i, TRACEPARENT) ? NULL : db_text(rows, i, TRACEPARENT),
        .type = db_text(rows, i, TYPE),
        .id = db_text(rows, i, ID),
    };
    enum err e = kafka_txn_produce(producer, &record, fault);
    if (e == ERR_OK)
        return RUN_ON;
    return e == ERR_BUG ? RUN_REFUSED : RUN_AWAY; /* a topic or partition that is none of ours */
}

static enum run transact(struct publisher *p, const struct db_rows *rows, int count, struct fault *fault)
{
    struct kafka_producer *producer = p->producers[p->turn];
    mono_ns_t began = clock_mono_ns();
    if (kafka_txn_begin(producer, fault) != ERR_OK)
        return RUN_AWAY;
    for (int i = 0; i < count; i++) {
        enum run run = produce(producer, rows, i, fault);
        if (run != RUN_ON)
            return run;
    }

    char mark[MARK_MAX];
    bool fenced = false;
    struct uuid last_id = count > 0 ? db_uuid(rows, count - 1, ID) : p->last_id;
    mark_format(p->epoch, last_id, mark);
    if (kafka_txn_commit(producer, p->group, p->relay->position_topic, p->position + count, mark, &fenced, fault) !=
        ERR_OK)
        return fenced ? RUN_FENCED : RUN_AWAY;

    mono_ns_t now = clock_mono_ns();
    p->turn ^= 1; /* the markers of this one are still being written: the other need not wait for them */
    p->position += count;
    p->last_id = last_id;
    p->backoff_ms = BACKOFF_MIN_MS;
    p->refresh_at = now + REFRESH_S * NS_PER_S;
    relay_tell_published(p, p->position, count, (double)(now - began) / 1e9);
    return RUN_ON;
}

/* Rows from position + 1 on without a hole. */
static int dense_count(const struct publisher *p, const struct db_rows *rows)
{
    int count = 0;
    while (count < db_count(rows) && db_i64(rows, count, SEQ) == p->position + 1 + count)
        count++;
    return count;
}

static enum run idle(struct publisher *p, struct fault *fault)
{
    bool may_refresh = p->position > 0 && clock_mono_ns() >= p->refresh_at;
    if (may_refresh)
        return transact(p, NULL, 0, fault);
    relay_tell_idle(p, p->position);
    return RUN_ON;
}

static enum run publish(struct publisher *p, struct fault *fault)
{
    int64_t target; /* asked before the rows are read: what was committed then must be among them */
    if (!relay_wait(p, p->position, p->looked ? IDLE_MS : 0, &target))
        return RUN_ENDED;
    p->looked = true;
    int64_t key[] = {p->number, p->position, ROWS_MAX, BYTES_MAX};
    CLEANUP_ROWS struct db_rows *rows = NULL;
    enum run run = ask(p, &ROWS, 4, key, &rows, fault);
    if (run != RUN_ON)
        return run;

    int count = dense_count(p, rows);
    if (count == 0 && (db_count(rows) > 0 || target > p->position)) {
        fault_set(fault, ERR_BUG, "event %lld is not in the outbox, though later ones were committed",
                  (long long)p->position + 1);
        return RUN_GAP;
    }
    if (count == 0)
        return idle(p, fault);
    p->gaps = 0;
    return transact(p, rows, count, fault);
}

/* ---- the thread ---- */

/* Half of it fixed, half by chance, so that two don't go in step. */
static int jitter(int ms)
{
    uint16_t chance;
    id_random_bytes(&chance, sizeof chance);
    return ms / 2 + (int)(chance % (unsigned)(ms / 2 + 1));
}

static void rest(struct publisher *p, enum run run, const char *why)
{
    bool refused = run == RUN_REFUSED || (run == RUN_GAP && ++p->gaps > GAPS_MAX);
    relay_tell_trouble(p, refused ? RELAY_REFUSED : RELAY_AWAY, why);
    if (refused) {
        relay_rest(p, REFUSED_MS);
        return;
    }
    relay_rest(p, jitter(run == RUN_FENCED ? FENCED_MS : p->backoff_ms));
    p->backoff_ms = p->backoff_ms * 2 < BACKOFF_MAX_MS ? p->backoff_ms * 2 : BACKOFF_MAX_MS;
}

static void *publisher_main(void *arg)
{
    struct publisher *p = arg;
    while (relay_wants(p)) {
        struct fault fault = {.err = ERR_OK};
        enum run run = start(p, &fault);
        while (run == RUN_ON)
            run = publish(p, &fault);
        producers_drop(p); /* never aborted and used again: an aborted one has left its sequence numbers behind */
        if (run != RUN_ENDED)
            rest(p, run, fault.why);
    }
    db_close(p->db);
    relay_leave(p);
    mem_free(p);
    return NULL;
}

struct publisher *publisher_start(struct relay *r, int number, struct uuid epoch)
{
    struct publisher *p = mem_alloc(sizeof *p);
    p->relay = r;
    p->number = number;
    p->epoch = epoch;
    p->backoff_ms = BACKOFF_MIN_MS;
    snprintf(p->group, sizeof p->group, "_relay.%s.%d", r->conf.service, number);
    for (int i = 0; i < 2; i++)
        snprintf(p->ids[i], sizeof p->ids[i], "%s.%s.%d.%d", r->conf.environment, r->conf.service, number, i);

    pthread_t thread;
    if (pthread_create(&thread, NULL, publisher_main, p) != 0) {
        mem_free(p);
        return NULL;
    }
    pthread_detach(thread);
    return p;
}
