#include <string.h>
#include <time.h>

#include "svc/lane_private.h"
#include "svc/relay.h"

enum { TAKE_EVERY_MS = 200 };

static void *lane_main(void *arg);

static double held_number(void *arg)
{
    const struct lane *lane = arg;
    return atomic_load(&lane->number);
}

static double inbox_count(void *arg)
{
    struct lane *lane = arg;
    return (double)queue_count(&lane->inbox);
}

static void open_metrics(struct lane *lane)
{
    struct metrics *m = lane->conf.metrics;
    struct lane_metrics *x = &lane->metrics;
    x->batch_size = metrics_histogram(m, "lane_batch_size", "Items committed together.", "", HISTOGRAM_SIZES,
                                      sizeof HISTOGRAM_SIZES / sizeof HISTOGRAM_SIZES[0]);
    x->batch_seconds = metrics_histogram(m, "lane_batch_seconds", "From BEGIN to COMMIT.", "", HISTOGRAM_SECONDS,
                                         sizeof HISTOGRAM_SECONDS / sizeof HISTOGRAM_SECONDS[0]);
    x->commands = metrics_counter(m, "lane_commands_total", "Commands taken.", "");
    x->events = metrics_counter(m, "lane_events_total", "Events taken.", "");
    x->refused = metrics_counter(m, "lane_refused_total", "Commands refused by a rule.", "");
    x->retries = metrics_counter(m, "lane_retries_total", "Batches run again.", "");
    x->parked = metrics_counter(m, "lane_parked_total", "Events parked, for whatever reason.", "");
    x->stopped = metrics_counter(m, "lane_partition_stops_total", "Partitions stopped at a gap or an unknown epoch.",
                                 "");
    x->unknown = metrics_counter(m, "lane_outcome_unknown_total", "Batches whose outcome could not be learned.", "");
    metrics_gauge_fn(m, "lane_number", "The lane held; 0: none.", "", held_number, lane);
    metrics_gauge_fn(m, "lane_inbox", "Items waiting.", "", inbox_count, lane);
}

enum err lane_open(const struct lane_conf *conf, struct lane **ret, struct fault *fault)
{
    if (strlen(conf->schema) > 32)
        return fault_set(fault, ERR_CONF, "schema name \"%s\" is too long", conf->schema);

    struct lane *lane = mem_alloc(sizeof *lane);
    lane->conf = *conf;
    queue_init(&lane->inbox, LANE_INBOX_MAX);
    arena_init(&lane->arena);
    outbox_init(&lane->outbox, conf);
    positions_init(&lane->positions, conf);
    open_metrics(lane);
    *ret = lane;
    return ERR_OK;
}

void lane_close(struct lane *lane)
{
    if (!lane)
        return;
    lane_stop(lane);
    outbox_done(&lane->outbox);
    positions_done(&lane->positions);
    arena_done(&lane->arena);
    queue_done(&lane->inbox);
    mem_free(lane);
}

void lane_start(struct lane *lane, struct relay *relay, struct subscriber *subscriber)
{
    lane->relay = relay;
    lane->subscriber = subscriber;
    lane->started = pthread_create(&lane->thread, NULL, lane_main, lane) == 0;
    if (!lane->started)
        log_error(lane->conf.log, "the lane's thread could not be started");
}

void lane_stop(struct lane *lane)
{
    if (!lane->started)
        return;
    atomic_store(&lane->stopping, true);
    queue_close(&lane->inbox);
    pthread_join(lane->thread, NULL);
    lane->started = false;
}

enum err lane_submit(struct lane *lane, struct lane_item *item)
{
    if (!lane_is_held(lane))
        return fault_set(&item->fault, ERR_DB, "no lane is held: the database is away");
    if (!queue_put(&lane->inbox, &item->link))
        return fault_set(&item->fault, ERR_BUSY, "the lane's inbox is full or closed");
    return ERR_OK;
}

bool lane_submit_event(struct lane *lane, struct lane_item *item)
{
    while (!atomic_load(&lane->stopping))
        if (queue_put_wait(&lane->inbox, &item->link, 100))
            return true;
    return false;
}

struct lane_item *lane_item_new(bool with_event)
{
    struct arena arena;
    arena_init(&arena);
    struct lane_item *item = ARENA_NEW(&arena, struct lane_item);
    if (with_event)
        item->event = ARENA_NEW(&arena, struct event);
    item->own_arena = arena;
    return item;
}

void lane_item_free(struct lane_item *item)
{
    if (item->event)
        event_done(item->event);
    struct arena arena = item->own_arena; /* the item itself lives in it */
    arena_done(&arena);
}

bool lane_is_held(const struct lane *lane)
{
    return atomic_load(&lane->number) != 0;
}

int lane_number(const struct lane *lane)
{
    return atomic_load(&lane->number);
}

void lane_published(struct lane *lane, int number, int64_t seq)
{
    atomic_store(&lane->published[number], seq);
}

/* ---- the thread ---- */

/* While no lane is held nothing can be done for what waits: commands are told so, events are read again later. */
static void turn_away(struct lane *lane)
{
    struct queue_link *list;
    queue_take(&lane->inbox, LANE_INBOX_MAX, TAKE_EVERY_MS, &list);
    while (list) {
        struct lane_item *it = (struct lane_item *)list;
        list = list->next;
        if (!it->call) {
            lane_item_free(it);
            continue;
        }
        it->call->fault = it->fault;
        call_finish(it->call, fault_set(&it->call->fault, ERR_DB, "no lane is held: the database is away"));
    }
}

static int wait_ms(const struct lane *lane)
{
    if (lane->later)
        return LANE_PATIENCE_MS;
    int64_t until_tend_ms = (lane->next_tend - clock_mono_ns()) / NS_PER_MS;
    return until_tend_ms < 0 ? 0 : (int)until_tend_ms;
}

/* What was put off comes after what is new. */
static size_t wait_for_items(struct lane *lane, struct lane_item *items[LANE_BATCH_MAX])
{
    struct queue_link *list;
    queue_take(&lane->inbox, LANE_BATCH_MAX, wait_ms(lane), &list);
    size_t count = 0;
    for (; list; list = list->next) {
        struct lane_item *it = (struct lane_item *)list;
        counter_add(it->event ? lane->metrics.events : lane->metrics.commands, 1);
        items[count++] = it;
    }
    while (lane->later && count < LANE_BATCH_MAX) {
        items[count++] = (struct lane_item *)lane->later;
        lane->later = lane->later->next;
    }
    return count;
}

static bool is_done(struct lane *lane)
{
    return atomic_load(&lane->stopping) && queue_count(&lane->inbox) == 0 && !lane->later;
}

static void *lane_main(void *arg)
{
    struct lane *lane = arg;
    struct lane_item *items[LANE_BATCH_MAX];
    while (!is_done(lane)) {
        if (!lane_is_held(lane) && !lane_take(lane, 0)) {
            turn_away(lane);
            continue;
        }
        lane_tend(lane);
        size_t count = lane_is_held(lane) ? wait_for_items(lane, items) : 0;
        if (count)
            lane_run(lane, items, count);
    }
    lane->next_tend = 0;
    if (lane_is_held(lane))
        lane_tend(lane); /* positions and what was published are saved */
    db_close(lane->db);  /* its locks go with it */
    lane->db = NULL;
    atomic_store(&lane->number, 0);
    return NULL;
}
