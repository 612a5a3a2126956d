#include <assert.h>
#include <string.h>

#include "svc/lane_private.h"

static const struct db_stmt LOAD_POSITIONS = {
    "positions_load",
    "SELECT topic, partition, next_offset FROM consumer_position WHERE topic = ANY ($1::text[])",
};
static const struct db_stmt LOAD_SEQUENCES = {
    "positions_load_sequences",
    "SELECT topic, partition, source, lane, epoch, part_seq FROM consumer_sequence WHERE topic = ANY ($1::text[])",
};
/* Zero rows moved for any of them ends the transaction: a zombie's effects go with its position. */
static const struct db_stmt MOVE_POSITIONS = {
    "positions_move",
    "WITH given AS (SELECT * FROM unnest($1::text[], $2::integer[], $3::bigint[], $4::bigint[]) "
    "AS g (topic, partition, old_offset, new_offset)), "
    "moved AS (UPDATE consumer_position p SET next_offset = g.new_offset FROM given g "
    "WHERE p.topic = g.topic AND p.partition = g.partition AND p.next_offset = g.old_offset RETURNING 1) "
    "SELECT must_be((SELECT count(*) FROM moved) = cardinality($1::text[]), 'BK002', 'a consumer position has moved')",
};
static const struct db_stmt SAVE_SEQUENCES = {
    "positions_save_sequences",
    "INSERT INTO consumer_sequence (topic, partition, source, lane, epoch, part_seq) "
    "SELECT * FROM unnest($1::text[], $2::integer[], $3::text[], $4::integer[], $5::uuid[], $6::bigint[]) "
    "ON CONFLICT (topic, partition, source, lane) DO UPDATE SET part_seq = excluded.part_seq",
};

void positions_init(struct positions *p, const struct lane_conf *conf)
{
    *p = (struct positions){.topics = conf->consumes, .partitions = conf->partitions};
    while (conf->consumes[p->topic_count])
        p->topic_count++;

    p->count = (size_t)(p->topic_count * p->partitions);
    p->all = mem_alloc((p->count + 1) * sizeof *p->all);
    for (size_t i = 0; i < p->count; i++) {
        p->all[i].topic = (int)i / p->partitions;
        p->all[i].partition = (int)i % p->partitions;
    }
}

void positions_done(struct positions *p)
{
    mem_free(p->all);
}

void positions_begin(struct positions *p)
{
    for (size_t i = 0; i < p->count; i++) {
        struct position *at = &p->all[i];
        at->new_next_offset = at->next_offset;
        for (size_t s = 0; s < at->sequence_count; s++)
            at->sequences[s].new_part_seq = at->sequences[s].part_seq;
    }
}

static void keep(struct position *at, bool saved)
{
    at->next_offset = at->new_next_offset;
    if (saved)
        at->saved_offset = at->next_offset;
    for (size_t i = 0; i < at->sequence_count; i++) {
        struct position_sequence *s = &at->sequences[i];
        s->part_seq = s->new_part_seq;
        if (saved)
            s->saved_part_seq = s->part_seq;
    }
}

void positions_keep(struct positions *p, bool saved)
{
    for (size_t i = 0; i < p->count; i++)
        if (p->all[i].held)
            keep(&p->all[i], saved);
}

bool positions_are_unsaved(const struct positions *p)
{
    for (size_t i = 0; i < p->count; i++)
        if (p->all[i].held && p->all[i].next_offset != p->all[i].saved_offset)
            return true;
    return false;
}

void positions_forget(struct position *at)
{
    at->stopped = false;
    at->next_offset = at->new_next_offset = at->saved_offset = -1;
    at->sequence_count = 0;
    at->generation++;
}

struct position *positions_find(struct positions *p, const char *topic, int partition)
{
    if (partition < 0 || partition >= p->partitions)
        return NULL;
    for (int t = 0; t < p->topic_count; t++)
        if (strcmp(p->topics[t], topic) == 0)
            return &p->all[t * p->partitions + partition];
    return NULL;
}

size_t positions_held(const struct positions *p)
{
    size_t held = 0;
    for (size_t i = 0; i < p->count; i++)
        held += p->all[i].held;
    return held;
}

static struct position_sequence *sequence_find(struct position *at, const char *source, int lane)
{
    for (size_t i = 0; i < at->sequence_count; i++)
        if (at->sequences[i].lane == lane && strcmp(at->sequences[i].source, source) == 0)
            return &at->sequences[i];
    return NULL;
}

static struct position_sequence *sequence_add(struct position *at, const char *source, int lane, struct uuid epoch)
{
    if (at->sequence_count == POSITION_SOURCES_MAX)
        return NULL;
    struct position_sequence *s = &at->sequences[at->sequence_count++];
    *s = (struct position_sequence){.lane = lane, .epoch = epoch};
    return str_copy(s->source, sizeof s->source, str_of(source)) ? s : NULL;
}

static enum position_verdict stop(struct position *at, struct fault *fault, const struct event *e, const char *why)
{
    at->stopped = true;
    fault_set(fault, ERR_BUG, "%s/%d stopped at offset %lld: event %lld of %s lane %d: %s", e->topic, e->partition,
              (long long)e->offset, (long long)e->part_seq, e->source, e->lane, why);
    return POSITION_DROP;
}

enum position_verdict positions_check(struct positions *p, const struct lane_item *it, struct fault *ret_stopped)
{
    const struct event *e = it->event;
    struct position *at = positions_find(p, e->topic, e->partition);
    if (!at || !at->held || at->stopped || at->generation != it->generation || e->offset < at->new_next_offset)
        return POSITION_DROP;

    bool foreign = e->lane == 0; /* no envelope of ours: it has a place in the topic, but no number */
    if (foreign) {
        at->new_next_offset = e->offset + 1;
        return POSITION_APPLY;
    }

    struct position_sequence *s = sequence_find(at, e->source, e->lane);
    if (s && !uuid_eq(s->epoch, e->epoch))
        return stop(at, ret_stopped, e, "its epoch is not the one known: was its database restored?");
    if (!s)
        s = sequence_add(at, e->source, e->lane, e->epoch);
    if (!s)
        return stop(at, ret_stopped, e, "too many sources in one partition");
    if (e->part_seq > s->new_part_seq + 1)
        return stop(at, ret_stopped, e, "events before it are missing: rewind the relay of its source");

    at->new_next_offset = e->offset + 1;
    if (e->part_seq <= s->new_part_seq)
        return POSITION_SKIP;

    s->new_part_seq = e->part_seq;
    return POSITION_APPLY;
}

static bool is_new(const struct position *at)
{
    return at->held && at->saved_offset < 0;
}

static void reload_sequences(struct positions *p, const struct db_rows *rows)
{
    for (int r = 0; r < db_count(rows); r++) {
        struct position *at = positions_find(p, db_text(rows, r, 0), (int)db_i64(rows, r, 1));
        if (!at || !is_new(at))
            continue;
        struct position_sequence *s = sequence_add(at, db_text(rows, r, 2), (int)db_i64(rows, r, 3),
                                                   db_uuid(rows, r, 4));
        if (s)
            s->part_seq = s->saved_part_seq = db_i64(rows, r, 5);
    }
}

static void reload_offsets(struct positions *p, const struct db_rows *rows, size_t *ret_moved)
{
    for (int r = 0; r < db_count(rows); r++) {
        struct position *at = positions_find(p, db_text(rows, r, 0), (int)db_i64(rows, r, 1));
        int64_t offset = db_i64(rows, r, 2);
        if (!at || !at->held || at->saved_offset == offset)
            continue;
        if (is_new(at)) {
            at->next_offset = at->saved_offset = offset;
            continue;
        }
        at->held = false;
        ++*ret_moved;
    }
}

enum err positions_reload(struct positions *p, struct db *db, size_t *ret_moved, struct fault *fault)
{
    *ret_moved = 0;
    struct arena arena;
    arena_init(&arena);
    struct db_array topics;
    db_array_init(&topics);
    for (int t = 0; t < p->topic_count; t++)
        db_array_text(&topics, p->topics[t]);
    struct db_args args = db_args(&arena);
    db_arg_array(&args, &topics);
    db_array_done(&topics);

    CLEANUP_ROWS struct db_rows *offsets = NULL;
    CLEANUP_ROWS struct db_rows *sequences = NULL;
    enum err e = db_query(db, &LOAD_POSITIONS, &args, &offsets, fault);
    if (!e)
        e = db_query(db, &LOAD_SEQUENCES, &args, &sequences, fault);
    arena_done(&arena);
    if (e)
        return e;

    reload_sequences(p, sequences);
    reload_offsets(p, offsets, ret_moved);
    return ERR_OK;
}

static void save_offsets(struct batch *b, const struct positions *p)
{
    struct db_array topic, partition, old_offset, new_offset;
    db_array_init(&topic);
    db_array_init(&partition);
    db_array_init(&old_offset);
    db_array_init(&new_offset);
    for (size_t i = 0; i < p->count; i++) {
        const struct position *at = &p->all[i];
        if (!at->held || at->new_next_offset == at->saved_offset)
            continue;
        db_array_text(&topic, p->topics[at->topic]);
        db_array_i64(&partition, at->partition);
        db_array_i64(&old_offset, at->saved_offset);
        db_array_i64(&new_offset, at->new_next_offset);
    }

    if (topic.count) {
        struct db_args args = db_args(b->arena);
        db_arg_array(&args, &topic);
        db_arg_array(&args, &partition);
        db_arg_array(&args, &old_offset);
        db_arg_array(&args, &new_offset);
        db_enqueue(b->db, &MOVE_POSITIONS, &args, NULL, NULL);
    }
    db_array_done(&topic);
    db_array_done(&partition);
    db_array_done(&old_offset);
    db_array_done(&new_offset);
}

static void save_sequences(struct batch *b, const struct positions *p)
{
    struct db_array topic, partition, source, lane, epoch, part_seq;
    struct db_array *all[] = {&topic, &partition, &source, &lane, &epoch, &part_seq};
    enum { COLUMNS = sizeof all / sizeof all[0] };
    for (size_t i = 0; i < COLUMNS; i++)
        db_array_init(all[i]);

    for (size_t i = 0; i < p->count; i++) {
        const struct position *at = &p->all[i];
        for (size_t k = 0; at->held && k < at->sequence_count; k++) {
            const struct position_sequence *s = &at->sequences[k];
            if (s->new_part_seq == s->saved_part_seq)
                continue;
            db_array_text(&topic, p->topics[at->topic]);
            db_array_i64(&partition, at->partition);
            db_array_text(&source, s->source);
            db_array_i64(&lane, s->lane);
            db_array_uuid(&epoch, s->epoch);
            db_array_i64(&part_seq, s->new_part_seq);
        }
    }

    struct db_args args = db_args(b->arena);
    bool any = topic.count > 0;
    for (size_t i = 0; i < COLUMNS; i++) {
        db_arg_array(&args, all[i]);
        db_array_done(all[i]);
    }
    if (any)
        db_enqueue(b->db, &SAVE_SEQUENCES, &args, NULL, NULL);
}

void positions_save(struct batch *b)
{
    save_offsets(b, &b->lane->positions);
    save_sequences(b, &b->lane->positions);
}
