#include <assert.h>
#include <string.h>

#include "base/hash.h"
#include "svc/lane_private.h"

struct outbox_row {
    struct outbox_row *next;
    struct uuid id;
    const char *topic, *type, *key, *traceparent, *payload;
    int partition;
    int64_t seq, part_seq;
};

static const struct db_stmt LOAD_COUNTERS = {
    "outbox_load_counters",
    "SELECT topic, partition, part_seq FROM lane_counter WHERE lane = $1",
};
static const struct db_stmt SAVE_ROWS = {
    "outbox_save_rows",
    "INSERT INTO outbox (lane, seq, id, aggregatetype, aggregateid, type, payload, partition, part_seq, epoch, "
    "traceparent, "
    "created_at) "
    "SELECT $1, r.seq, r.id, r.topic, r.key, r.type, r.payload, r.partition, r.part_seq, $2, r.traceparent, $3 "
    "FROM unnest($4::bigint[], $5::uuid[], $6::text[], $7::text[], $8::text[], $9::text[], $10::integer[], "
    "$11::bigint[], "
    "$12::text[]) AS r (seq, id, topic, key, type, payload, partition, part_seq, traceparent)",
};
static const struct db_stmt SAVE_COUNTERS = {
    "outbox_save_counters",
    "INSERT INTO lane_counter (lane, topic, partition, part_seq) "
    "SELECT $1, c.topic, c.partition, c.part_seq "
    "FROM unnest($2::text[], $3::integer[], $4::bigint[]) AS c (topic, partition, part_seq) "
    "ON CONFLICT (lane, topic, partition) DO UPDATE SET part_seq = excluded.part_seq",
};

void outbox_init(struct outbox *o, const struct lane_conf *conf)
{
    size_t count = 0;
    while (conf->consumes[count])
        count++;

    *o = (struct outbox){
        .service = conf->service, .topic = conf->topic, .consumes = conf->consumes, .unawaited = conf->unawaited};
    o->partitions = conf->partitions;
    o->dlq_topics = mem_alloc((count + 1) * sizeof *o->dlq_topics);
    for (size_t i = 0; i < count; i++) {
        struct buf name;
        buf_init(&name);
        buf_printf(&name, "%s.dlq", conf->consumes[i]);
        o->dlq_topics[i] = buf_take(&name);
    }
}

void outbox_done(struct outbox *o)
{
    for (size_t i = 0; o->dlq_topics[i]; i++)
        mem_free((void *)(uintptr_t)o->dlq_topics[i]);
    mem_free(o->dlq_topics);
}

void outbox_begin(struct outbox *o)
{
    o->rows = NULL;
    o->rows_end = &o->rows;
    o->row_count = 0;
    o->next_last_seq = o->last_seq;
    o->awaited_seq = 0;
    for (size_t i = 0; i < o->counter_count; i++)
        o->counters[i].next_part_seq = o->counters[i].part_seq;
}

void outbox_keep(struct outbox *o)
{
    o->last_seq = o->next_last_seq;
    for (size_t i = 0; i < o->counter_count; i++)
        o->counters[i].part_seq = o->counters[i].next_part_seq;
}

/* The constant that stands for a topic's name, so that counters compare by text only once. */
static const char *topic_constant(const struct outbox *o, const char *name)
{
    if (strcmp(o->topic, name) == 0)
        return o->topic;
    for (size_t i = 0; o->dlq_topics[i]; i++)
        if (strcmp(o->dlq_topics[i], name) == 0)
            return o->dlq_topics[i];
    return NULL;
}

static struct outbox_counter *counter_of(struct outbox *o, const char *topic, int partition)
{
    for (size_t i = 0; i < o->counter_count; i++)
        if (o->counters[i].partition == partition && strcmp(o->counters[i].topic, topic) == 0)
            return &o->counters[i];

    assert(o->counter_count < OUTBOX_COUNTERS_MAX);
    struct outbox_counter *c = &o->counters[o->counter_count++];
    *c = (struct outbox_counter){.topic = topic, .partition = partition};
    return c;
}

enum err outbox_reload(struct outbox *o, struct db *db, int lane, int64_t last_seq, struct fault *fault)
{
    struct arena arena;
    arena_init(&arena);
    struct db_args args = db_args(&arena);
    db_arg_i64(&args, lane);
    CLEANUP_ROWS struct db_rows *rows = NULL;
    enum err e = db_query(db, &LOAD_COUNTERS, &args, &rows, fault);
    arena_done(&arena);
    if (e)
        return e;

    o->last_seq = last_seq;
    o->counter_count = 0;
    for (int r = 0; r < db_count(rows); r++) {
        const char *topic = topic_constant(o, db_text(rows, r, 0));
        if (topic) /* a topic that this version no longer publishes to keeps its row and is left alone */
            counter_of(o, topic, (int)db_i64(rows, r, 1))->part_seq = db_i64(rows, r, 2);
    }
    return ERR_OK;
}

/* A .dlq topic has one partition: its readers are people. */
static int partition_of(const struct outbox *o, const char *topic, const char *key)
{
    return topic == o->topic ? hash_partition(key, strlen(key), o->partitions) : 0;
}

static bool is_awaited(const struct outbox *o, const char *type)
{
    for (size_t i = 0; o->unawaited != NULL && o->unawaited[i] != NULL; i++)
        if (strcmp(o->unawaited[i], type) == 0)
            return false;
    return true;
}

void outbox_emit(struct batch *b, const char *topic, const char *type, const char *key, const char *subject,
                 struct str data, const char *traceparent)
{
    struct lane *lane = b->lane;
    struct outbox *o = &lane->outbox;
    int partition = partition_of(o, topic, key);
    struct outbox_counter *counter = counter_of(o, topic, partition);

    struct outbox_row *row = ARENA_NEW(b->arena, struct outbox_row);
    row->id = uuid_v7();
    row->topic = topic;
    row->type = type;
    row->key = key;
    row->traceparent = traceparent && *traceparent ? arena_strdup(b->arena, traceparent) : NULL;
    row->partition = partition;
    row->seq = ++o->next_last_seq;
    row->part_seq = ++counter->next_part_seq;
    if (is_awaited(o, type))
        o->awaited_seq = row->seq;

    struct event envelope = {.id = row->id,
                             .subject = str_of(subject),
                             .time = b->now,
                             .lane = b->lane_number,
                             .partition = partition,
                             .part_seq = row->part_seq,
                             .epoch = lane->epoch};
    bool fits = str_copy(envelope.source, sizeof envelope.source, str_of(o->service)) &&
                str_copy(envelope.type, sizeof envelope.type, str_of(type));
    assert(fits);
    struct buf payload;
    buf_init(&payload);
    event_encode(&payload, &envelope, data);
    row->payload = arena_strndup(b->arena, payload.data, payload.len);
    buf_done(&payload);

    *o->rows_end = row;
    o->rows_end = &row->next;
    o->row_count++;
}

void batch_emit(struct batch *b, const char *type, int64_t key_customer, const char *subject, struct str data)
{
    const struct lane_item *it = b->lane->current;
    char text[TRACE_TEXT_MAX] = "";
    const char *traceparent = text;
    if (it && it->trace.span_id[0] != '\0')
        trace_format(&it->trace, text);
    else if (it && it->call)
        trace_format(&it->call->trace, text);
    else if (it && it->event)
        traceparent = it->event->traceparent;

    char *key = arena_printf(b->arena, "%lld", (long long)key_customer);
    outbox_emit(b, b->lane->outbox.topic, type, key, arena_strdup(b->arena, subject), data, traceparent);
}

static void save_rows(struct batch *b, const struct outbox *o)
{
    struct db_array seq, id, topic, key, type, payload, partition, part_seq, traceparent;
    struct db_array *all[] = {&seq, &id, &topic, &key, &type, &payload, &partition, &part_seq, &traceparent};
    enum { COLUMNS = sizeof all / sizeof all[0] };
    for (size_t i = 0; i < COLUMNS; i++)
        db_array_init(all[i]);

    for (const struct outbox_row *r = o->rows; r; r = r->next) {
        db_array_i64(&seq, r->seq);
        db_array_uuid(&id, r->id);
        db_array_text(&topic, r->topic);
        db_array_text(&key, r->key);
        db_array_text(&type, r->type);
        db_array_text(&payload, r->payload);
        db_array_i64(&partition, r->partition);
        db_array_i64(&part_seq, r->part_seq);
        db_array_text(&traceparent, r->traceparent);
    }

    struct db_args args = db_args(b->arena);
    db_arg_i64(&args, b->lane_number);
    db_arg_uuid(&args, b->lane->epoch);
    db_arg_time(&args, b->now);
    for (size_t i = 0; i < COLUMNS; i++) {
        db_arg_array(&args, all[i]);
        db_array_done(all[i]);
    }
    db_enqueue(b->db, &SAVE_ROWS, &args, NULL, NULL);
}

static void save_counters(struct batch *b, const struct outbox *o)
{
    struct db_array topic, partition, part_seq;
    db_array_init(&topic);
    db_array_init(&partition);
    db_array_init(&part_seq);
    for (size_t i = 0; i < o->counter_count; i++) {
        const struct outbox_counter *c = &o->counters[i];
        if (c->next_part_seq == c->part_seq)
            continue;
        db_array_text(&topic, c->topic);
        db_array_i64(&partition, c->partition);
        db_array_i64(&part_seq, c->next_part_seq);
    }

    struct db_args args = db_args(b->arena);
    db_arg_i64(&args, b->lane_number);
    db_arg_array(&args, &topic);
    db_arg_array(&args, &partition);
    db_arg_array(&args, &part_seq);
    db_array_done(&topic);
    db_array_done(&partition);
    db_array_done(&part_seq);
    db_enqueue(b->db, &SAVE_COUNTERS, &args, NULL, NULL);
}

void outbox_save(struct batch *b)
{
    const struct outbox *o = &b->lane->outbox;
    if (!o->row_count)
        return;
    save_rows(b, o);
    save_counters(b, o);
}
