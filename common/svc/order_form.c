#include "svc/order_form.h"

#include <stddef.h>

static const struct field FIELDS[] = {
    {.name = "assetName",
     .kind = FIELD_TEXT,
     .offset = offsetof(struct order_form, asset),
     .flags = FIELD_REQUIRED,
     .min = 1,
     .max = 200,
     .check = field_check_asset},
    {.name = "orderSide",
     .kind = FIELD_CHOICE,
     .offset = offsetof(struct order_form, side),
     .flags = FIELD_REQUIRED,
     .choices = ORDER_SIDES},
    {.name = "size",
     .kind = FIELD_DECIMAL,
     .offset = offsetof(struct order_form, size),
     .flags = FIELD_REQUIRED | FIELD_POSITIVE,
     .places = DECIMAL_SIZE_PLACES},
    {.name = "price",
     .kind = FIELD_DECIMAL,
     .offset = offsetof(struct order_form, price),
     .flags = FIELD_REQUIRED | FIELD_POSITIVE,
     .places = DECIMAL_PRICE_PLACES},
    {.name = "customerId", .kind = FIELD_ID, .offset = offsetof(struct order_form, customer_id)},
    {.name = "clientOrderId",
     .kind = FIELD_TEXT,
     .offset = offsetof(struct order_form, client_order_id),
     .min = 1,
     .max = 64,
     .check = field_check_client_order_id},
    FIELD_END,
};

/* size × price must be an amount that the books can hold. */
static enum err check_value(struct call *call, const struct order_form *form)
{
    decimal_t value;
    if (decimal_mul(form->size, form->price, &value) && value <= DECIMAL_VALUE_MAX)
        return ERR_OK;
    return field_error_add(&call->errors, "/size", "size times price must be at most 1000000000");
}

static enum err check_tradable(struct call *call, const struct order_form *form)
{
    if (!str_eq(str_of(form->asset), "TRY"))
        return ERR_OK;
    return fault_set(&call->fault, ERR_ASSET_NOT_TRADABLE, "TRY is what orders are paid in; it can't be ordered");
}

enum err order_form_read(struct call *call, struct order_form *ret)
{
    struct order_form form = {.side = -1};
    enum err e = call_body(call, FIELDS, &form);
    if (e == ERR_OK)
        e = call_customer(call, form.customer_id, "/customerId", &form.customer_id);
    if (e == ERR_OK)
        e = check_value(call, &form);
    if (e == ERR_OK)
        e = check_tradable(call, &form);
    if (e == ERR_OK)
        *ret = form;
    return e;
}
