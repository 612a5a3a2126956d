#include "events.h"

#include "commands.h"
#include "events/asset_event.h"
#include "svc/customers.h"

void events_emit_requested(struct batch *b, const struct transfer *t)
{
    char id[UUID_TEXT_MAX];
    uuid_format(t->id, id);
    struct buf data;
    buf_init(&data);
    transfer_requested_encode(&data, &(struct transfer_requested){t->id, t->customer_id, t->type, t->amount, t->actor});
    batch_emit(b, "transfer.requested", t->customer_id, id, (struct str){data.data, data.len});
    buf_done(&data);
}

static enum err decode_outcome(const struct event *e, struct arena *arena, void **ret_args, int64_t *ret_customer_id,
                               struct fault *fault)
{
    struct transfer_outcome *outcome = ARENA_NEW(arena, struct transfer_outcome);
    *ret_args = outcome;
    enum err err = transfer_outcome_decode(e->data, arena, outcome, fault);
    *ret_customer_id = outcome->customer_id;
    return err;
}

const char *const TXN_SVC_CONSUMES[] = {"asset-events", "auth-events", NULL};

const struct event_kind TXN_SVC_KINDS[] = {
    {"transfer.booked", decode_outcome, &TXN_BOOKED},
    {"transfer.refused", decode_outcome, &TXN_REFUSED},
    {"user.registered", customers_decode, &CUSTOMERS_REGISTERED},
    {NULL, NULL, NULL},
};
