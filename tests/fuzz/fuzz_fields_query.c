/* fuzz_fields_query.c — fields_of_query on any bytes, with a field of every kind that a query may have. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "io/fields.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct list {
    int64_t customer_id, limit;
    unsigned statuses;
    const char *asset, *iban, *client_id, *cursor;
    bool non_zero;
    int side;
    time_us_t from;
    struct uuid id;
    decimal_t amount;
};

static const char *const STATUSES[] = {"NEW", "PENDING", "MATCHED", NULL};
static const struct field LIST[] = {
    {.name = "customerId", .kind = FIELD_ID, .offset = offsetof(struct list, customer_id)},
    {.name = "limit", .kind = FIELD_INT, .offset = offsetof(struct list, limit), .min = 1, .max = 200},
    {.name = "status", .kind = FIELD_CHOICES, .offset = offsetof(struct list, statuses), .choices = STATUSES},
    {.name = "assetName", .kind = FIELD_TEXT, .offset = offsetof(struct list, asset), .check = field_check_asset},
    {.name = "iban", .kind = FIELD_TEXT, .offset = offsetof(struct list, iban), .check = field_check_iban},
    {.name = "clientOrderId",
     .kind = FIELD_TEXT,
     .offset = offsetof(struct list, client_id),
     .check = field_check_client_order_id},
    {.name = "cursor", .kind = FIELD_TEXT, .offset = offsetof(struct list, cursor), .min = 1, .max = 64},
    {.name = "nonZeroOnly", .kind = FIELD_BOOL, .offset = offsetof(struct list, non_zero)},
    {.name = "orderSide", .kind = FIELD_CHOICE, .offset = offsetof(struct list, side), .choices = STATUSES},
    {.name = "from", .kind = FIELD_TIME, .offset = offsetof(struct list, from)},
    {.name = "id", .kind = FIELD_UUID, .offset = offsetof(struct list, id)},
    {.name = "amount", .kind = FIELD_DECIMAL, .offset = offsetof(struct list, amount), .places = 2},
    FIELD_END,
};

static void check_complaints(const struct field_errors *errors)
{
    assert(errors->count >= 1 && errors->count <= FIELD_ERRORS_MAX);
    for (size_t i = 0; i < errors->count; i++) {
        assert(errors->items[i].pointer[0] == '?');
        assert(strlen(errors->items[i].detail) > 0);
    }
}

static void check_list(const struct list *list)
{
    assert(list->customer_id >= 0 && list->limit >= 1 && list->limit <= 200 && list->statuses <= 7);
    assert(list->side >= -1 && list->side <= 2);
    assert(list->asset == NULL || (strlen(list->asset) >= 1 && strlen(list->asset) <= 12));
    assert(list->iban == NULL || (strlen(list->iban) >= 15 && strlen(list->iban) <= 34));
    assert(list->cursor == NULL || (strlen(list->cursor) >= 1 && strlen(list->cursor) <= 64));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct list list = {.limit = 50};
    struct field_errors errors = {.count = 0};
    arena_init(&arena);
    if (fields_of_query(LIST, (struct str){(const char *)data, size}, &arena, &list, &errors) == ERR_OK)
        check_list(&list);
    else
        check_complaints(&errors);
    arena_done(&arena);
    return 0;
}
