/* lane_hold.c — which lane and which partitions this process holds, and how it takes, keeps and loses them. */
#include <string.h>
#include <time.h>

#include "base/hash.h"
#include "svc/lane_private.h"
#include "svc/relay.h"
#include "svc/subscriber.h"

enum {
    OPEN_TIMEOUT_MS = 2000,
    RESOLVE_STEP_MS = 50,
    PRUNE_EVERY_S = 10,
    PRUNE_ROWS_MAX = 20000,
};

static const struct db_stmt TRY_LOCK = {"lane_try_lock", "SELECT pg_try_advisory_lock($1, $2)"};
static const struct db_stmt UNLOCK = {"lane_unlock", "SELECT pg_advisory_unlock($1, $2)"};
static const struct db_stmt MAKE_LANE = {
    "lane_make",
    "INSERT INTO lane (lane) VALUES ($1) ON CONFLICT DO NOTHING",
};
static const struct db_stmt LOAD_LANE = {
    "lane_load",
    "SELECT epoch, batch_id, last_seq, published_upto FROM lane WHERE lane = $1",
};
/* Processes, not numbers: one that drains a dead lane holds two, and shares partitions with nobody. */
static const struct db_stmt COUNT_LANES = {
    "lane_count",
    "SELECT count(DISTINCT pid) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2 "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND classid::bigint = $1",
};
/* Lanes with rows that may not be published yet; whether somebody holds them, the lock tells. */
static const struct db_stmt UNDRAINED_LANES = {
    "lane_undrained",
    "SELECT lane FROM lane WHERE published_upto < last_seq ORDER BY lane",
};
static const struct db_stmt SAVE_PUBLISHED = {
    "lane_save_published",
    "UPDATE lane SET published_upto = $2 WHERE lane = $1 AND published_upto < $2",
};
static const struct db_stmt PRUNE = {
    "lane_prune",
    "DELETE FROM outbox WHERE lane = $1 AND seq <= $2 AND created_at < $3 "
    "AND seq < (SELECT min(seq) FROM outbox WHERE lane = $1) + $4",
};
static const struct db_stmt MAKE_POSITION = {
    "lane_make_position",
    "INSERT INTO consumer_position (topic, partition) VALUES ($1, $2) ON CONFLICT DO NOTHING",
};
/* A topic's partition count is fixed when it is first named here; a setting changed later does not move customers. */
static const struct db_stmt MAKE_TOPIC = {
    "lane_make_topic",
    "INSERT INTO topic (name, partitions) VALUES ($1, $2) ON CONFLICT DO NOTHING",
};

static int32_t lock_key(const char *schema, const char *what)
{
    struct buf text;
    buf_init(&text);
    buf_printf(&text, "%s:%s", schema, what);
    int32_t key = (int32_t)(uint32_t)hash_fnv1a(text.data, text.len);
    buf_done(&text);
    return key;
}

int32_t lane_lock_key(const char *schema)
{
    return lock_key(schema, "lane");
}

static int32_t partition_lock_key(const struct lane *lane, const char *topic)
{
    return lock_key(lane->conf.schema, topic);
}

/* ---- small statements on the lane's session; false: the session is lost ---- */

static bool run(struct lane *lane, const struct db_stmt *stmt, const struct db_args *args, struct db_rows **ret)
{
    struct fault fault;
    if (db_query(lane->db, stmt, args, ret, &fault) == ERR_OK)
        return true;
    log_warn(lane->conf.log, "%s: %s", stmt->name, fault.why);
    return false;
}

static bool ask_bool(struct lane *lane, const struct db_stmt *stmt, int64_t a, int64_t b, bool *ret)
{
    struct arena arena;
    arena_init(&arena);
    struct db_args args = db_args(&arena);
    db_arg_i64(&args, a);
    db_arg_i64(&args, b);
    CLEANUP_ROWS struct db_rows *rows = NULL;
    bool ok = run(lane, stmt, &args, &rows);
    if (ok)
        *ret = db_bool(rows, 0, 0);
    arena_done(&arena);
    return ok;
}

static bool lock(struct lane *lane, int32_t key, int number, bool *ret_locked)
{
    return ask_bool(lane, &TRY_LOCK, key, number, ret_locked);
}

static bool unlock(struct lane *lane, int32_t key, int number)
{
    bool was_held;
    return ask_bool(lane, &UNLOCK, key, number, &was_held);
}

static bool run_with(struct lane *lane, const struct db_stmt *stmt, int64_t a, int64_t b)
{
    struct arena arena;
    arena_init(&arena);
    struct db_args args = db_args(&arena);
    db_arg_i64(&args, a);
    if (b >= 0)
        db_arg_i64(&args, b);
    bool ok = run(lane, stmt, &args, NULL);
    arena_done(&arena);
    return ok;
}

static bool run_named(struct lane *lane, const struct db_stmt *stmt, const char *name, int64_t n)
{
    struct arena arena;
    arena_init(&arena);
    struct db_args args = db_args(&arena);
    db_arg_text(&args, name);
    db_arg_i64(&args, n);
    bool ok = run(lane, stmt, &args, NULL);
    arena_done(&arena);
    return ok;
}

/* ---- taking a lane ---- */

static bool connect_session(struct lane *lane)
{
    if (lane->db && db_is_open(lane->db))
        return true;
    db_close(lane->db);
    lane->db = NULL;
    struct fault fault;
    bool opened = db_open(&lane->conf.db, OPEN_TIMEOUT_MS, &lane->db, &fault) == ERR_OK;
    if (!opened && !lane->told_away)
        log_warn(lane->conf.log, "no database for the lane: %s", fault.why);
    lane->told_away = !opened;
    return opened;
}

/* The lowest free number, or just `wanted`. 0: none, or the session is lost. */
static int lock_a_number(struct lane *lane, int wanted)
{
    int32_t key = lane_lock_key(lane->conf.schema);
    for (int n = wanted ? wanted : 1; n <= (wanted ? wanted : LANE_MAX); n++) {
        bool locked = false;
        if (!lock(lane, key, n, &locked))
            return 0;
        if (locked)
            return n;
    }
    return 0;
}

struct lane_row {
    struct uuid epoch, batch_id;
    int64_t last_seq, published_upto;
};

static bool read_row(struct lane *lane, int number, struct lane_row *ret)
{
    struct arena arena;
    arena_init(&arena);
    struct db_args args = db_args(&arena);
    db_arg_i64(&args, number);
    CLEANUP_ROWS struct db_rows *rows = NULL;
    bool ok = run(lane, &LOAD_LANE, &args, &rows) && db_count(rows) == 1;
    if (ok)
        *ret = (struct lane_row){db_uuid(rows, 0, 0), db_uuid(rows, 0, 1), db_i64(rows, 0, 2), db_i64(rows, 0, 3)};
    arena_done(&arena);
    return ok;
}

static bool name_topics(struct lane *lane)
{
    if (!run_named(lane, &MAKE_TOPIC, lane->conf.topic, lane->conf.partitions))
        return false;
    for (size_t t = 0; lane->conf.consumes[t]; t++)
        if (!run_named(lane, &MAKE_TOPIC, lane->conf.consumes[t], lane->conf.partitions))
            return false;
    return true;
}

/* All that a number's holder knows is read again: this is what makes a new holder out of whoever it was before. */
static bool enter(struct lane *lane, int number)
{
    struct lane_row row;
    if (!run_with(lane, &MAKE_LANE, number, -1) || !read_row(lane, number, &row) || !name_topics(lane))
        return false;

    struct fault fault;
    if (outbox_reload(&lane->outbox, lane->db, number, row.last_seq, &fault)) {
        log_warn(lane->conf.log, "lane %d: %s", number, fault.why);
        return false;
    }
    lane->epoch = row.epoch;
    lane->batch_id = row.batch_id;
    lane->published_saved = row.published_upto;
    atomic_store(&lane->published[number], row.published_upto);
    lane->next_tend = 0;
    atomic_store(&lane->number, number);
    if (lane->relay)
        relay_hold(lane->relay, number, row.epoch, row.last_seq);
    log_info(lane->conf.log, "holding lane %d from event %lld", number, (long long)row.last_seq);
    return true;
}

bool lane_take(struct lane *lane, int number)
{
    if (!connect_session(lane))
        return false;
    int taken = lock_a_number(lane, number);
    if (taken && enter(lane, taken))
        return true;
    db_close(lane->db); /* the session's locks go with it */
    lane->db = NULL;
    return false;
}

void lane_lose(struct lane *lane)
{
    int number = atomic_exchange(&lane->number, 0);
    db_close(lane->db);
    lane->db = NULL;
    for (size_t i = 0; i < lane->positions.count; i++) {
        lane->positions.all[i].locked = false;
        lane->positions.all[i].held = false;
    }
    if (lane->subscriber)
        subscriber_assign(lane->subscriber, NULL, 0);
    if (!lane->relay)
        return;
    if (number)
        relay_release(lane->relay, number);
    for (int n = 1; n <= LANE_MAX; n++)
        if (lane->adopted[n])
            relay_release(lane->relay, n);
    memset(lane->adopted, 0, sizeof lane->adopted);
}

enum lane_fate lane_resolve(struct lane *lane, int timeout_ms)
{
    int number = atomic_load(&lane->number);
    struct uuid before = lane->batch_id, after = lane->next_batch_id;
    lane_lose(lane);

    mono_ns_t give_up = clock_mono_ns() + timeout_ms * NS_PER_MS;
    while (!lane_take(lane, number)) { /* the old session's lock goes when the server has noticed */
        if (clock_mono_ns() > give_up)
            return LANE_BATCH_UNKNOWN;
        nanosleep(&(struct timespec){.tv_nsec = RESOLVE_STEP_MS * NS_PER_MS}, NULL);
    }
    if (uuid_eq(lane->batch_id, after))
        return LANE_BATCH_IN;
    return uuid_eq(lane->batch_id, before) ? LANE_BATCH_OUT : LANE_BATCH_UNKNOWN;
}

bool lane_reload(struct lane *lane)
{
    int number = atomic_load(&lane->number);
    struct lane_row row;
    struct fault fault;
    size_t moved = 0;
    if (!read_row(lane, number, &row) || outbox_reload(&lane->outbox, lane->db, number, row.last_seq, &fault) ||
        positions_reload(&lane->positions, lane->db, &moved, &fault))
        return false;
    if (moved) {
        log_warn(lane->conf.log, "%zu partitions were moved on by another process", moved);
        lane->assignment_changed = true;
    }
    return true;
}

/* ---- partitions ---- */

static bool let_go(struct lane *lane, struct position *at)
{
    at->held = at->locked = false;
    lane->assignment_changed = true;
    return unlock(lane, partition_lock_key(lane, lane->positions.topics[at->topic]), at->partition);
}

static bool try_partition(struct lane *lane, struct position *at)
{
    const char *topic = lane->positions.topics[at->topic];
    if (!lock(lane, partition_lock_key(lane, topic), at->partition, &at->locked))
        return false;
    if (!at->locked)
        return true;
    if (!run_named(lane, &MAKE_POSITION, topic, at->partition))
        return false;

    positions_forget(at);
    at->held = true;
    lane->assignment_changed = true;
    return true;
}

/* Each live lane takes its share of the partitions; what is beyond it is let go, what nobody holds is taken up. */
static bool share_partitions(struct lane *lane)
{
    struct positions *p = &lane->positions;
    size_t live = lane->live_lanes > 0 ? (size_t)lane->live_lanes : 1;
    size_t share = (p->count + live - 1) / live;

    for (size_t i = 0; i < p->count; i++) {
        struct position *at = &p->all[i];
        bool useless = at->locked && (!at->held || at->stopped);
        if ((useless || (at->held && positions_held(p) > share)) && !let_go(lane, at))
            return false;
    }
    bool taken = false;
    size_t first = (size_t)atomic_load(&lane->number) * 7; /* replicas begin at different places */
    for (size_t i = 0; i < p->count && positions_held(p) < share; i++) {
        struct position *at = &p->all[(first + i) % p->count];
        if (at->held)
            continue;
        if (!try_partition(lane, at))
            return false;
        taken |= at->held;
    }
    if (!taken)
        return true;

    struct fault fault;
    size_t moved;
    return positions_reload(p, lane->db, &moved, &fault) == ERR_OK;
}

static void tell_subscriber(struct lane *lane)
{
    if (!lane->assignment_changed || !lane->subscriber)
        return;
    lane->assignment_changed = false;

    const struct positions *p = &lane->positions;
    struct partition_start *list = mem_alloc((p->count + 1) * sizeof *list);
    size_t count = 0;
    for (size_t i = 0; i < p->count; i++) {
        const struct position *at = &p->all[i];
        if (at->held)
            list[count++] = (struct partition_start){at->topic, at->partition, at->next_offset, at->generation};
    }
    subscriber_assign(lane->subscriber, list, count);
    mem_free(list);
}

/* ---- other lanes ---- */

static bool count_lanes(struct lane *lane)
{
    struct arena arena;
    arena_init(&arena);
    struct db_args args = db_args(&arena);
    db_arg_i64(&args, (uint32_t)lane_lock_key(lane->conf.schema));
    CLEANUP_ROWS struct db_rows *rows = NULL;
    bool ok = run(lane, &COUNT_LANES, &args, &rows);
    if (ok)
        lane->live_lanes = (int)db_i64(rows, 0, 0);
    arena_done(&arena);
    return ok;
}

static bool adopt(struct lane *lane, int number)
{
    bool locked = false;
    if (!lock(lane, lane_lock_key(lane->conf.schema), number, &locked))
        return false;
    if (!locked)
        return true; /* it lives */

    struct lane_row row;
    if (!read_row(lane, number, &row))
        return false;
    log_info(lane->conf.log, "lane %d has no holder: publishing what it left", number);
    lane->adopted[number] = true;
    atomic_store(&lane->published[number], row.published_upto);
    relay_hold(lane->relay, number, row.epoch, row.last_seq);
    return true;
}

static bool adopt_dead_lanes(struct lane *lane)
{
    CLEANUP_ROWS struct db_rows *rows = NULL;
    if (!run(lane, &UNDRAINED_LANES, &(struct db_args){.count = 0}, &rows))
        return false;
    for (int r = 0; r < db_count(rows); r++) {
        int64_t number = db_i64(rows, r, 0);
        bool ours = number == atomic_load(&lane->number) || lane->adopted[number];
        if (!ours && !adopt(lane, (int)number))
            return false;
    }
    return true;
}

static bool release_drained(struct lane *lane)
{
    for (int n = 1; n <= LANE_MAX; n++) {
        if (!lane->adopted[n] || !relay_is_drained(lane->relay, n))
            continue;
        relay_release(lane->relay, n);
        lane->adopted[n] = false;
        if (!run_with(lane, &SAVE_PUBLISHED, n, atomic_load(&lane->published[n])) ||
            !unlock(lane, lane_lock_key(lane->conf.schema), n))
            return false;
    }
    return true;
}

static bool save_published(struct lane *lane)
{
    int number = atomic_load(&lane->number);
    int64_t published = atomic_load(&lane->published[number]);
    if (published <= lane->published_saved)
        return true;
    lane->published_saved = published;
    return run_with(lane, &SAVE_PUBLISHED, number, published);
}

static bool prune(struct lane *lane)
{
    int number = atomic_load(&lane->number);
    struct arena arena;
    arena_init(&arena);
    struct db_args args = db_args(&arena);
    db_arg_i64(&args, number);
    /* One row stays for good: a relay that starts compares the position in Kafka with it. */
    db_arg_i64(&args, atomic_load(&lane->published[number]) - 1);
    db_arg_time(&args, clock_now_us() - lane->conf.outbox_keep_s * US_PER_S);
    db_arg_i64(&args, PRUNE_ROWS_MAX);
    bool ok = run(lane, &PRUNE, &args, NULL);
    arena_done(&arena);
    return ok;
}

static bool tend(struct lane *lane, mono_ns_t now)
{
    if (positions_are_unsaved(&lane->positions))
        lane_run(lane, NULL, 0);
    if (!lane_is_held(lane))
        return false;
    if (!count_lanes(lane) || !share_partitions(lane) || !save_published(lane))
        return false;
    if (lane->relay && (!release_drained(lane) || !adopt_dead_lanes(lane)))
        return false;
    if (now >= lane->next_prune) {
        lane->next_prune = now + PRUNE_EVERY_S * NS_PER_S;
        if (!prune(lane))
            return false;
    }
    if (lane->conf.ops->measure && now >= lane->next_measure) {
        lane->next_measure = now + LANE_MEASURE_MS * NS_PER_MS;
        lane->conf.ops->measure(lane->conf.app, lane->db);
    }
    return db_is_open(lane->db);
}

/* Also the heartbeat: the server ends a lane's session that says nothing for ten seconds. */
void lane_tend(struct lane *lane)
{
    mono_ns_t now = clock_mono_ns();
    if (now < lane->next_tend && !lane->assignment_changed)
        return;
    lane->next_tend = now + LANE_TEND_MS * NS_PER_MS;
    if (tend(lane, now)) {
        tell_subscriber(lane);
        return;
    }
    log_warn(lane->conf.log, "lane %d: the session was lost while idle", atomic_load(&lane->number));
    lane_lose(lane);
}
