#include <stdio.h>
#include <string.h>

#include "svc/lane_private.h"
#include "svc/relay.h"

/* A call must be answered before the gateway gives up on it (5 s). What was never sent to COMMIT is not done: that can be said
 * soon; what was is worth waiting for. */
enum {
    RESOLVE_SENT_MS = 3500,
    RESOLVE_UNSENT_MS = 1000,
    NOTICE_TIMEOUT_MS = 1000,
};

static const struct db_stmt BEGIN = {"lane_begin", "BEGIN"};
static const struct db_stmt COMMIT = {"lane_commit", "COMMIT"};
static const struct db_stmt NOTIFY = {"lane_notify", "SELECT pg_notify($1, '')"};
/* A lane that is not as we left it belongs to somebody else now: nothing of ours may be committed. */
static const struct db_stmt MOVE_LANE = {
    "lane_move",
    "WITH moved AS (UPDATE lane SET batch_id = $2, last_seq = $3, published_upto = greatest(published_upto, $4) "
    "WHERE lane = $1 AND batch_id = $5 RETURNING 1) "
    "SELECT must_be((SELECT count(*) FROM moved) = 1, 'BK001', 'the lane row has moved')",
};
static const struct db_stmt LOAD_MARKS = {
    "lane_load_marks",
    "SELECT lane, partition, part_seq FROM lane_counter WHERE topic = $1",
};
static const struct db_stmt LOAD_SEQUENCES = {
    "lane_load_sequences",
    "SELECT lane, partition, part_seq, topic, source FROM consumer_sequence WHERE topic = ANY ($1::text[])",
};
static const struct db_stmt PARK = {
    "lane_park",
    "INSERT INTO parked_event (id, topic, partition, record_offset, record_key, type, reason, record, parked_at) "
    "SELECT p.id, p.topic, p.partition, p.record_offset, p.record_key, p.type, p.reason, p.record, $1 "
    "FROM unnest($2::uuid[], $3::text[], $4::integer[], $5::bigint[], $6::text[], $7::text[], $8::text[], $9::text[]) "
    "AS p (id, topic, partition, record_offset, record_key, type, reason, record) "
    "ON CONFLICT (topic, partition, record_offset) DO NOTHING",
};

/* ---- what a batch knows of sequences ---- */

static void on_marks(void *arg, const struct db_rows *rows)
{
    struct batch *b = arg;
    for (int r = 0; r < db_count(rows); r++) {
        struct lane_loaded_mark *m = ARENA_NEW(b->arena, struct lane_loaded_mark);
        m->mark = (struct lane_mark){(int)db_i64(rows, r, 0), (int)db_i64(rows, r, 1), db_i64(rows, r, 2)};
        m->topic = b->lane->conf.topic;
        m->next = b->lane->marks;
        b->lane->marks = m;
    }
}

static void on_sequences(void *arg, const struct db_rows *rows)
{
    struct batch *b = arg;
    on_marks(arg, rows);
    struct lane_loaded_mark *m = b->lane->marks;
    for (int r = db_count(rows); r-- > 0; m = m->next) {
        m->topic = arena_strdup(b->arena, db_text(rows, r, 3));
        m->source = arena_strdup(b->arena, db_text(rows, r, 4));
    }
}

static void load_needs(struct batch *b)
{
    unsigned needs = 0;
    for (size_t i = 0; i < b->count; i++)
        needs |= b->items[i]->verb ? b->items[i]->verb->needs : 0;

    struct db_args args = db_args(b->arena);
    if (needs & LANE_NEEDS_MARKS) {
        db_arg_text(&args, b->lane->conf.topic);
        db_enqueue(b->db, &LOAD_MARKS, &args, on_marks, b);
    }
    if (needs & LANE_NEEDS_SEQUENCES) {
        struct db_array topics;
        db_array_init(&topics);
        for (size_t t = 0; b->lane->conf.consumes[t]; t++)
            db_array_text(&topics, b->lane->conf.consumes[t]);
        args = db_args(b->arena);
        db_arg_array(&args, &topics);
        db_array_done(&topics);
        db_enqueue(b->db, &LOAD_SEQUENCES, &args, on_sequences, b);
    }
}

size_t batch_marks(struct batch *b, struct lane_mark **ret_marks)
{
    const struct outbox *o = &b->lane->outbox;
    size_t count = o->counter_count;
    for (const struct lane_loaded_mark *m = b->lane->marks; m; m = m->next)
        count++;

    struct lane_mark *marks = ARENA_ARRAY(b->arena, struct lane_mark, count + 1);
    size_t n = 0;
    for (const struct lane_loaded_mark *m = b->lane->marks; m; m = m->next)
        if (!m->source && m->mark.lane != b->lane_number)
            marks[n++] = m->mark;
    for (size_t i = 0; i < o->counter_count; i++)
        if (o->counters[i].topic == o->topic && o->counters[i].next_part_seq)
            marks[n++] = (struct lane_mark){b->lane_number, o->counters[i].partition, o->counters[i].next_part_seq};
    *ret_marks = marks;
    return n;
}

int64_t batch_applied(struct batch *b, const char *topic, int partition, const char *source, int lane)
{
    const struct position *at = positions_find(&b->lane->positions, topic, partition);
    for (size_t i = 0; at && at->held && i < at->sequence_count; i++)
        if (at->sequences[i].lane == lane && strcmp(at->sequences[i].source, source) == 0)
            return at->sequences[i].new_part_seq;

    for (const struct lane_loaded_mark *m = b->lane->marks; m; m = m->next)
        if (m->source && m->mark.lane == lane && m->mark.partition == partition && strcmp(m->source, source) == 0 &&
            strcmp(m->topic, topic) == 0)
            return m->mark.part_seq;
    return 0;
}

/* ---- parking ---- */

/* Of the record, in the copy that goes to the .dlq topic: an outbox row must stay below its CHECK, escaped as it may be.
 * parked_event keeps it whole. */
enum { PARKED_COPY_MAX = 64 * 1024 };

static void park(struct batch *b, struct lane_item *it, const char *reason)
{
    struct lane *lane = b->lane;
    const struct event *e = it->event;
    struct parked *p = ARENA_NEW(b->arena, struct parked);
    p->item = it;
    p->reason = reason;
    *lane->parked_end = p;
    lane->parked_end = &p->next;

    struct buf data;
    buf_init(&data);
    struct json_out o = json_out(&data);
    json_open(&o, NULL, '{');
    json_put_text(&o, "topic", e->topic);
    json_put_int(&o, "partition", e->partition);
    json_put_int(&o, "offset", e->offset);
    json_put_text(&o, "type", e->type);
    json_put_text(&o, "reason", reason);
    bool cut = e->raw.len > PARKED_COPY_MAX;
    json_put_str(&o, "record", (struct str){e->raw.data, cut ? PARKED_COPY_MAX : e->raw.len});
    json_put_bool(&o, "cut", cut);
    json_close(&o, '}');

    const struct position *at = positions_find(&lane->positions, e->topic, e->partition);
    outbox_emit(b, lane->outbox.dlq_topics[at->topic], "event.parked", arena_strdup(b->arena, e->key), e->type,
                (struct str){data.data, data.len}, e->traceparent);
    buf_done(&data);
}

static void save_parked(struct batch *b)
{
    if (!b->lane->parked)
        return;

    struct db_array id, topic, partition, offset, key, type, reason, record;
    struct db_array *all[] = {&id, &topic, &partition, &offset, &key, &type, &reason, &record};
    enum { COLUMNS = sizeof all / sizeof all[0] };
    for (size_t i = 0; i < COLUMNS; i++)
        db_array_init(all[i]);
    for (const struct parked *p = b->lane->parked; p; p = p->next) {
        const struct event *e = p->item->event;
        /* A record need not be text that PostgreSQL takes: store it as a JSON string, which always is. */
        struct buf text;
        buf_init(&text);
        json_escape(&text, e->raw);
        db_array_uuid(&id, uuid_v7());
        db_array_text(&topic, e->topic);
        db_array_i64(&partition, e->partition);
        db_array_i64(&offset, e->offset);
        db_array_text(&key, e->key);
        db_array_text(&type, e->type);
        db_array_text(&reason, p->reason);
        db_array_text(&record, text.data);
        buf_done(&text);
    }

    struct db_args args = db_args(b->arena);
    db_arg_time(&args, b->now);
    for (size_t i = 0; i < COLUMNS; i++) {
        db_arg_array(&args, all[i]);
        db_array_done(all[i]);
    }
    db_enqueue(b->db, &PARK, &args, NULL, NULL);
}

/* ---- one attempt ---- */

/* Below the call, or below what sent the event. */
static void begin_span(struct lane_item *it)
{
    if (it->call != NULL)
        it->trace = trace_below(&it->call->trace);
    else if (it->event != NULL && it->event->traceparent[0] != '\0')
        it->trace = trace_child(str_of(it->event->traceparent));
}

static void begin(struct lane *lane, struct batch *b, struct lane_item **items, size_t count)
{
    arena_reset(&lane->arena);
    time_us_t now = clock_now_us();
    *b = (struct batch){.lane = lane,
                        .app = lane->conf.app,
                        .db = lane->db,
                        .arena = &lane->arena,
                        .items = items,
                        .count = count,
                        .lane_number = atomic_load(&lane->number),
                        .now = now > lane->last_time ? now : lane->last_time + 1,
                        .state = arena_alloc(&lane->arena, lane->conf.ops->state_size + 1)};
    lane->last_time = b->now;
    lane->next_batch_id = uuid_random();
    lane->commit_sent = false;
    lane->parked = NULL;
    lane->parked_end = &lane->parked;
    lane->marks = NULL;
    lane->customers = (struct customers){.wanted.first = NULL};
    outbox_begin(&lane->outbox);
    positions_begin(&lane->positions);
    for (size_t i = 0; i < count; i++) {
        items[i]->err = ERR_OK;
        items[i]->result = NULL;
        items[i]->replayed = false;
        items[i]->passed_over = false;
        if (lane->conf.spans != NULL)
            begin_span(items[i]);
    }
}

static enum err load(struct batch *b, struct fault *fault)
{
    db_enqueue(b->db, &BEGIN, &(struct db_args){.count = 0}, NULL, NULL);
    idempotency_load(b);
    load_needs(b);
    for (size_t i = 0; i < b->count; i++) {
        struct lane_item *it = b->items[i];
        if (it->verb && it->verb->want && !it->unreadable)
            it->verb->want(b, it);
    }
    customers_load(b);
    if (b->lane->conf.ops->load)
        b->lane->conf.ops->load(b);
    return db_sync(b->db, LANE_SYNC_TIMEOUT_MS, fault);
}

static enum position_verdict check_position(struct lane *lane, const struct lane_item *it)
{
    struct fault stopped = {.err = ERR_OK};
    enum position_verdict verdict = positions_check(&lane->positions, it, &stopped);
    if (stopped.err) {
        counter_add(lane->metrics.stopped, 1);
        log_error(lane->conf.log, "%s", stopped.why);
    }
    return verdict;
}

static void decide_event(struct batch *b, struct lane_item *it)
{
    enum position_verdict verdict = check_position(b->lane, it);
    if (verdict != POSITION_APPLY) {
        it->passed_over = true;
        return;
    }
    if (it->unreadable) {
        park(b, it, it->unreadable);
        return;
    }
    if (!it->verb)
        return;

    it->verb->decide(b, it);
    if (it->err)
        park(b, it, arena_strdup(b->arena, it->fault.why[0] ? it->fault.why : err_code(it->err)));
}

static void decide_command(struct batch *b, struct lane_item *it)
{
    if (!idempotency_admits(b, it))
        return;
    it->verb->decide(b, it);
    if (it->err == ERR_OK)
        idempotency_claim(b, it);
}

static void decide(struct batch *b)
{
    for (size_t i = 0; i < b->count; i++) {
        struct lane_item *it = b->items[i];
        b->lane->current = it;
        if (it->event)
            decide_event(b, it);
        else
            decide_command(b, it);
    }
    b->lane->current = NULL;
}

static bool changes_anything(const struct batch *b)
{
    for (size_t i = 0; i < b->count; i++) {
        const struct lane_item *it = b->items[i];
        bool applied = it->event && !it->passed_over;
        bool took_effect = !it->event && !it->err && !it->replayed;
        if (applied || took_effect)
            return true;
    }
    return b->count == 0; /* an empty batch is run to save positions */
}

static enum err save(struct batch *b, struct fault *fault)
{
    struct lane *lane = b->lane;
    if (lane->conf.ops->save)
        lane->conf.ops->save(b);
    save_parked(b);
    customers_save(b);
    idempotency_save(b);
    positions_save(b);
    outbox_save(b);

    struct db_args args = db_args(b->arena);
    db_arg_i64(&args, b->lane_number);
    db_arg_uuid(&args, lane->next_batch_id);
    db_arg_i64(&args, lane->outbox.next_last_seq);
    db_arg_i64(&args, atomic_load(&lane->published[b->lane_number]));
    db_arg_uuid(&args, lane->batch_id);
    db_enqueue(b->db, &MOVE_LANE, &args, NULL, NULL);
    db_enqueue(b->db, &COMMIT, &(struct db_args){.count = 0}, NULL, NULL);
    lane->commit_sent = true;
    return db_sync(b->db, LANE_SYNC_TIMEOUT_MS, fault);
}

static void count_parked(struct lane *lane)
{
    for (const struct parked *p = lane->parked; p; p = p->next)
        counter_add(lane->metrics.parked, 1);
}

/* What is committed becomes what we know. */
static void keep(struct lane *lane)
{
    count_parked(lane);
    lane->batch_id = lane->next_batch_id;
    outbox_keep(&lane->outbox);
    positions_keep(&lane->positions, true);
}

/* ---- the end of an item ---- */

static void end_item(struct lane *lane, struct lane_item *it)
{
    if (!it->call) {
        lane_item_free(it);
        return;
    }
    if (!it->err) {
        it->verb->answer(it);
        return;
    }
    if (it->err == ERR_NOT_FOUND && clock_mono_ns() < it->patient_until) {
        it->link.next = lane->later;
        lane->later = &it->link;
        return;
    }
    counter_add(lane->metrics.refused, 1);
    if (it->verb->refuse && !err_is_breakage(it->err))
        it->verb->refuse(it);
    it->call->fault = it->fault;
    call_finish(it->call, it->err);
}

static void end_all(struct lane *lane, struct lane_item **items, size_t count)
{
    for (size_t i = 0; i < count; i++)
        end_item(lane, items[i]);
}

static void fail_all(struct lane *lane, struct lane_item **items, size_t count, enum err e, const char *why)
{
    for (size_t i = 0; i < count; i++) {
        items[i]->err = fault_set(&items[i]->fault, e, "%s", why);
        end_item(lane, items[i]);
    }
}

/* Replicas' waiters wake by this; ids would not fit, they read what they wait for. */
static void notify_replicas(struct lane *lane)
{
    if (lane->live_lanes < 2)
        return;
    struct db_args args = db_args(&lane->arena);
    db_arg_text(&args, lane->conf.schema);
    db_enqueue(lane->db, &NOTIFY, &args, NULL, NULL);
    enum err e = db_sync(lane->db, NOTICE_TIMEOUT_MS, NULL);
    (void)e; /* lost: the next batch finds out; waiters read again by themselves */
}

static void tell_spans(const struct batch *b, mono_ns_t started)
{
    for (size_t i = 0; i < b->count; i++) {
        const struct lane_item *it = b->items[i];
        if (it->trace.span_id[0] == '\0' || it->passed_over || it->verb == NULL)
            continue;
        struct span span = span_since(&it->trace, it->event != NULL ? SPAN_CONSUMER : SPAN_INTERNAL, started);
        snprintf(span.name, sizeof span.name, "%s", it->verb->name);
        span.failed = err_is_breakage(it->err);
        spans_add(b->lane->conf.spans, &span);
    }
}

static void committed(struct batch *b, bool saved)
{
    struct lane *lane = b->lane;
    if (saved) {
        if (lane->relay && lane->outbox.row_count)
            relay_wake(lane->relay, b->lane_number, lane->outbox.last_seq, lane->outbox.awaited_seq);
        notify_replicas(lane);
    }
    if (saved && lane->conf.ops->committed)
        lane->conf.ops->committed(b);
    end_all(lane, b->items, b->count);
}

/* ---- trouble ---- */

enum attempt { ATTEMPT_DONE, ATTEMPT_AGAIN, ATTEMPT_SPLIT, ATTEMPT_AWAY, ATTEMPT_LOST };

static enum attempt after_error(struct batch *b, const struct fault *fault)
{
    struct lane *lane = b->lane;
    enum db_trouble trouble = db_is_open(lane->db) ? db_trouble(lane->db) : DB_AWAY;
    db_discard(lane->db);
    if (trouble == DB_AWAY)
        return ATTEMPT_AWAY;

    log_warn(lane->conf.log, "a batch of %zu was rolled back: %s (%s)", b->count, fault->why, db_sqlstate(lane->db));
    struct fault ignored;
    if (db_run(lane->db, "ROLLBACK", &ignored) || !lane_reload(lane))
        return ATTEMPT_AWAY;
    switch (trouble) {
    case DB_AGAIN:
    case DB_POSITION_MOVED: /* the reload has let go of the partitions that moved: their events drop out */
        return ATTEMPT_AGAIN;
    case DB_LANE_MOVED:
        return ATTEMPT_LOST;
    default:
        return ATTEMPT_SPLIT;
    }
}

static enum attempt attempt(struct lane *lane, struct lane_item **items, size_t count, struct fault *ret_fault)
{
    struct batch b;
    begin(lane, &b, items, count);
    mono_ns_t started = clock_mono_ns();
    if (load(&b, ret_fault))
        return after_error(&b, ret_fault);

    decide(&b);
    bool saves = changes_anything(&b);
    if (!saves) {
        if (db_run(lane->db, "ROLLBACK", ret_fault))
            return after_error(&b, ret_fault);
        positions_keep(&lane->positions, false);
    } else {
        if (save(&b, ret_fault))
            return after_error(&b, ret_fault);
        keep(lane);
    }
    if (count)
        histogram_observe(lane->metrics.batch_size, (double)count);
    histogram_observe(lane->metrics.batch_seconds, (double)(clock_mono_ns() - started) / 1e9);
    if (lane->conf.spans != NULL)
        tell_spans(&b, started);
    committed(&b, saves);
    return ATTEMPT_DONE;
}

/* The connection went. Only the lane row knows whether the batch is in. */
static enum attempt resolve(struct lane *lane, struct lane_item **items, size_t count)
{
    log_warn(lane->conf.log, "the database connection was lost with %zu items under way", count);
    bool sent = lane->commit_sent;
    switch (lane_resolve(lane, sent ? RESOLVE_SENT_MS : RESOLVE_UNSENT_MS)) {
    case LANE_BATCH_OUT:
        return ATTEMPT_AGAIN;
    case LANE_BATCH_IN:
        /* What decide left in the batch's arena still stands: the answers are true. */
        count_parked(lane);
        end_all(lane, items, count);
        return ATTEMPT_DONE;
    case LANE_BATCH_UNKNOWN:
        break;
    }
    if (!sent) {
        fail_all(lane, items, count, ERR_DB, "the database went away before any of this was done");
        return ATTEMPT_DONE;
    }
    counter_add(lane->metrics.unknown, 1);
    fail_all(lane, items, count, ERR_OUTCOME_UNKNOWN, "the database went away before it said whether this was done");
    return ATTEMPT_DONE;
}

/* An event that can neither be applied nor parked now: its partition is read again from there, nothing is skipped. */
static void put_back(struct lane *lane, struct lane_item *it)
{
    struct position *at = positions_find(&lane->positions, it->event->topic, it->event->partition);
    at->held = false;
    lane->assignment_changed = true;
    lane_item_free(it);
}

/* Run alone, and still refused by the database: this is the one to blame. */
static void blame(struct lane *lane, struct lane_item *it, const struct fault *fault)
{
    log_error(lane->conf.log, "%s is refused by the database: %s", it->verb ? it->verb->name : "an event", fault->why);
    if (!it->event) {
        fail_all(lane, &it, 1, ERR_BUG, fault->why);
        return;
    }
    if (it->unreadable) {
        put_back(lane, it);
        return;
    }
    it->unreadable = arena_strdup(&it->own_arena, fault->why);
    lane_run(lane, &it, 1);
}

static void run_one_by_one(struct lane *lane, struct lane_item **items, size_t count)
{
    for (size_t i = 0; i < count; i++)
        lane_run(lane, &items[i], 1);
}

/* Events that this service does not act on: only our place in the stream moves. */
static bool none_is_ours(struct lane_item *const *items, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!items[i]->event || items[i]->verb || items[i]->unreadable)
            return false;
    return count > 0;
}

static void pass_over(struct lane *lane, struct lane_item **items, size_t count)
{
    positions_begin(&lane->positions);
    for (size_t i = 0; i < count; i++)
        (void)check_position(lane, items[i]);
    positions_keep(&lane->positions, false);
    end_all(lane, items, count);
}

void lane_run(struct lane *lane, struct lane_item **items, size_t count)
{
    if (none_is_ours(items, count)) {
        pass_over(lane, items, count);
        return;
    }
    struct fault fault = {.err = ERR_OK};
    for (int tries = 0; tries < LANE_RETRIES_MAX; tries++) {
        if (!atomic_load(&lane->number)) {
            fail_all(lane, items, count, ERR_DB, "the lane is not held");
            return;
        }
        enum attempt result = attempt(lane, items, count, &fault);
        if (result == ATTEMPT_AWAY)
            result = resolve(lane, items, count);
        switch (result) {
        case ATTEMPT_DONE:
            return;
        case ATTEMPT_SPLIT:
            if (count > 1)
                run_one_by_one(lane, items, count);
            else if (count == 1)
                blame(lane, items[0], &fault);
            return;
        case ATTEMPT_LOST:
            log_error(lane->conf.log, "lane %d was taken over", atomic_load(&lane->number));
            lane_lose(lane);
            fail_all(lane, items, count, ERR_DB, "the lane was taken over; nothing of this was done");
            return;
        case ATTEMPT_AGAIN:
        case ATTEMPT_AWAY:
            counter_add(lane->metrics.retries, 1);
            break;
        }
    }
    if (count == 0)
        return;
    if (count > 1)
        run_one_by_one(lane, items, count);
    else if (items[0]->event)
        put_back(lane, items[0]);
    else
        fail_all(lane, items, count, ERR_BUSY, "too many others wanted the same rows at once");
}
