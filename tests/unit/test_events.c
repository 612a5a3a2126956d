/* Every event's data: what is written is read back, and what is wrong is refused naming the member. */
#include <stdio.h>
#include <string.h>

#include "events/asset_event.h"
#include "events/match_event.h"
#include "events/order_event.h"
#include "events/session_event.h"
#include "events/transfer_event.h"
#include "events/user_event.h"
#include "unit.h"

static struct uuid id_of(const char *text)
{
    struct uuid id;
    assert_true(uuid_parse(str_of(text), &id));
    return id;
}

#define ORDER_ID "0197a000-0000-7000-8000-000000000001"
#define MATCH_ID "0197a000-0000-7000-8000-000000000002"
#define CREATED "2026-11-24T18:58:08.123456Z"
#define UPDATED "2026-11-24T18:58:09.000000Z"

static time_us_t time_of(const char *text)
{
    time_us_t t;
    assert_true(clock_parse(str_of(text), &t));
    return t;
}

/* ---- one event of each kind ---- */

static struct order_state an_order(void)
{
    return (struct order_state){
        .id = id_of(ORDER_ID),
        .customer_id = 17,
        .client_order_id = "my \"first\"",
        .asset = "ASELS",
        .side = ORDER_SELL,
        .size = 10 * DECIMAL_ONE,
        .price = 187250000,
        .status = ORDER_PENDING,
        .house = {.size = 2500000, .value = 468125000},
        .version = 3,
        .create_date = time_of(CREATED),
        .update_date = time_of(UPDATED),
        .actor = "CUSTOMER:17",
    };
}

#define FILLS "\"house\":{\"size\":\"2.5\",\"value\":\"468.125\"},\"clearing\":{\"size\":\"0\",\"value\":\"0\"}"
#define ORDER_MEMBERS \
    "\"orderId\":\"" ORDER_ID "\",\"customerId\":17,\"clientOrderId\":\"my \\\"first\\\"\",\"assetName\":\"ASELS\"," \
    "\"orderSide\":\"SELL\",\"size\":\"10\",\"price\":\"187.25\",\"status\":\"PENDING\",\"statusReason\":null," FILLS \
    ",\"version\":3,\"createDate\":\"" CREATED "\",\"updateDate\":\"" UPDATED "\",\"actor\":\"CUSTOMER:17\""

static void write_order_event(struct buf *out)
{
    const struct order_event e = {
        .order = an_order(), .match_id = id_of(MATCH_ID), .fill = {.size = 500000, .value = 93625000}};
    order_event_encode(out, &e);
}

static enum err again_order_event(const struct json *data, struct arena *arena, struct buf *out, struct fault *fault)
{
    struct order_event e;
    enum err err = order_event_decode(data, arena, &e, fault);
    if (err == ERR_OK)
        order_event_encode(out, &e);
    return err;
}

static void write_match_refused(struct buf *out)
{
    const struct match_refused e = {.match_id = id_of(MATCH_ID),
                                    .order_id = id_of(ORDER_ID),
                                    .code = "order_not_matchable",
                                    .has_order = true,
                                    .order = an_order()};
    match_refused_encode(out, &e);
}

static void write_match_refused_unknown(struct buf *out)
{
    const struct match_refused e = {
        .match_id = id_of(MATCH_ID), .order_id = id_of(ORDER_ID), .code = "order_not_found"};
    match_refused_encode(out, &e);
}

static enum err again_match_refused(const struct json *data, struct arena *arena, struct buf *out, struct fault *fault)
{
    struct match_refused e;
    enum err err = match_refused_decode(data, arena, &e, fault);
    if (err == ERR_OK)
        match_refused_encode(out, &e);
    return err;
}

static void write_barrier_reached(struct buf *out)
{
    struct barrier_mark marks[] = {{.lane = 1, .partition = 0, .part_seq = 7}, {.lane = 2, .partition = 5}};
    const struct barrier_reached e = {.barrier_id = id_of(MATCH_ID), .marks = marks, .count = 2};
    barrier_reached_encode(out, &e);
}

static void write_barrier_reached_nothing(struct buf *out)
{
    const struct barrier_reached e = {.barrier_id = id_of(MATCH_ID)};
    barrier_reached_encode(out, &e);
}

static enum err again_barrier_reached(const struct json *data, struct arena *arena, struct buf *out,
                                      struct fault *fault)
{
    struct barrier_reached e;
    enum err err = barrier_reached_decode(data, arena, &e, fault);
    if (err == ERR_OK)
        barrier_reached_encode(out, &e);
    return err;
}

static void write_asset_outcome(struct buf *out)
{
    const struct asset_outcome e = {.order_id = id_of(ORDER_ID),
                                    .customer_id = 17,
                                    .version = 3,
                                    .asset = "TRY",
                                    .required = 1872500000,
                                    .usable = 1,
                                    .matched_size = 20000,
                                    .matched_value = -1,
                                    .asked_lane = 1,
                                    .asked_partition = 0,
                                    .asked_part_seq = 42};
    asset_outcome_encode(out, &e);
}

static enum err again_asset_outcome(const struct json *data, struct arena *arena, struct buf *out, struct fault *fault)
{
    struct asset_outcome e;
    enum err err = asset_outcome_decode(data, arena, &e, fault);
    if (err == ERR_OK)
        asset_outcome_encode(out, &e);
    return err;
}

static void write_transfer_outcome(struct buf *out)
{
    const struct transfer_outcome e = {.transfer_id = id_of(ORDER_ID), .customer_id = 17, .required = 5, .usable = 0};
    transfer_outcome_encode(out, &e);
}

static enum err again_transfer_outcome(const struct json *data, struct arena *arena, struct buf *out,
                                       struct fault *fault)
{
    struct transfer_outcome e;
    enum err err = transfer_outcome_decode(data, arena, &e, fault);
    if (err == ERR_OK)
        transfer_outcome_encode(out, &e);
    return err;
}

static void write_account_change(struct buf *out)
{
    const struct account_change e = {.customer_id = 17, .asset = "TRY"};
    account_change_encode(out, &e);
}

static enum err again_account_change(const struct json *data, struct arena *arena, struct buf *out, struct fault *fault)
{
    struct account_change e;
    enum err err = account_change_decode(data, arena, &e, fault);
    if (err == ERR_OK)
        account_change_encode(out, &e);
    return err;
}

static void write_match_requested(struct buf *out)
{
    const struct match_requested e = {
        .match_id = id_of(MATCH_ID), .order_id = id_of(ORDER_ID), .size = 0, .actor = "ADMIN:1"};
    match_requested_encode(out, &e);
}

static enum err again_match_requested(const struct json *data, struct arena *arena, struct buf *out,
                                      struct fault *fault)
{
    struct match_requested e;
    enum err err = match_requested_decode(data, arena, &e, fault);
    if (err == ERR_OK)
        match_requested_encode(out, &e);
    return err;
}

static void write_barrier_requested(struct buf *out)
{
    const struct barrier_requested e = {.barrier_id = id_of(MATCH_ID)};
    barrier_requested_encode(out, &e);
}

static enum err again_barrier_requested(const struct json *data, struct arena *arena, struct buf *out,
                                        struct fault *fault)
{
    struct barrier_requested e;
    enum err err = barrier_requested_decode(data, arena, &e, fault);
    if (err == ERR_OK)
        barrier_requested_encode(out, &e);
    return err;
}

static void write_transfer_requested(struct buf *out)
{
    const struct transfer_requested e = {.transfer_id = id_of(ORDER_ID),
                                         .customer_id = 17,
                                         .type = TRANSFER_WITHDRAWAL,
                                         .amount = 10000,
                                         .actor = "CUSTOMER:17"};
    transfer_requested_encode(out, &e);
}

static enum err again_transfer_requested(const struct json *data, struct arena *arena, struct buf *out,
                                         struct fault *fault)
{
    struct transfer_requested e;
    enum err err = transfer_requested_decode(data, arena, &e, fault);
    if (err == ERR_OK)
        transfer_requested_encode(out, &e);
    return err;
}

static void write_user_registered(struct buf *out)
{
    const struct user_registered e = {
        .customer_id = 17, .username = "ayse", .full_name = "Ay\xC5\x9F\x65 Y\xC4\xB1lmaz", .role = "CUSTOMER"};
    user_registered_encode(out, &e);
}

static enum err again_user_registered(const struct json *data, struct arena *arena, struct buf *out,
                                      struct fault *fault)
{
    struct user_registered e;
    enum err err = user_registered_decode(data, arena, &e, fault);
    if (err == ERR_OK)
        user_registered_encode(out, &e);
    return err;
}

static void write_session_revoked(struct buf *out)
{
    const struct uuid sids[] = {id_of(ORDER_ID), id_of(MATCH_ID)};
    const struct session_revoked e = {
        .customer_id = 17, .sids = sids, .sid_count = 2, .reason = "logout", .at = time_of(CREATED)};
    session_revoked_encode(out, &e);
}

static enum err again_session_revoked(const struct json *data, struct arena *arena, struct buf *out,
                                      struct fault *fault)
{
    struct session_revoked e;
    enum err err = session_revoked_decode(data, arena, &e, fault);
    if (err == ERR_OK)
        session_revoked_encode(out, &e);
    return err;
}

/* ---- what is wrong ---- */

typedef enum err decode_again(const struct json *data, struct arena *arena, struct buf *out, struct fault *fault);

/* Decodes `text` and encodes it again into `out`. */
static enum err again(decode_again *kind, const char *text, struct buf *out, struct fault *fault)
{
    struct json *data;
    struct arena arena;
    arena_init(&arena);
    assert_int_equal(json_parse(str_of(text), &data, fault), ERR_OK);
    enum err e = kind(data, &arena, out, fault);
    json_free(data);
    arena_done(&arena);
    return e;
}

/* Puts `with` in place of `what` in a good event. */
static char *spoilt(const char *good, const char *what, const char *with)
{
    const char *at = strstr(good, what);
    struct buf b;
    assert_non_null(at);
    buf_init(&b);
    buf_append(&b, good, (size_t)(at - good));
    buf_str(&b, with);
    buf_str(&b, at + strlen(what));
    return buf_take(&b);
}

static void a_wrong_member_is_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        void (*write)(struct buf *out);
        decode_again *kind;
        const char *what, *with, *named, *why;
    } ROWS[] = {
        {write_order_event, again_order_event, "\"orderId\":\"" ORDER_ID "\",", "", "orderId: ", "absent"},
        {write_order_event, again_order_event, ORDER_ID, "0197a000", "orderId: ", "half a UUID"},
        {write_order_event, again_order_event, ORDER_ID, "00000000-0000-0000-0000-000000000000", "orderId: ", "nil"},
        {write_order_event, again_order_event, "\"customerId\":17", "\"customerId\":\"17\"", "customerId: ", "text"},
        {write_order_event, again_order_event, "\"customerId\":17", "\"customerId\":0", "customerId: ", "nobody"},
        {write_order_event, again_order_event, "\"customerId\":17", "\"customerId\":1.5", "customerId: ", "half"},
        {write_order_event, again_order_event, "\"my \\\"first\\\"\"", "7", "clientOrderId: ", "optional, yet wrong"},
        {write_order_event, again_order_event, "\"my \\\"first\\\"\"", "\"\"", "clientOrderId: ", "empty"},
        {write_order_event, again_order_event, "\"ASELS\"", "null", "assetName: ", "null where it must be"},
        {write_order_event, again_order_event, "SELL", "sell", "orderSide: ", "lower case"},
        {write_order_event, again_order_event, "\"SELL\"", "1", "orderSide: ", "a number"},
        {write_order_event, again_order_event, "\"size\":\"10\"", "\"size\":10", "size: ", "decimals are strings"},
        {write_order_event, again_order_event, "\"size\":\"10\"", "\"size\":\"0\"", "size: ", "of nothing"},
        {write_order_event, again_order_event, "\"size\":\"10\"", "\"size\":\"-10\"", "size: ", "negative"},
        {write_order_event, again_order_event, "187.25", "187.2500001", "price: ", "seven places"},
        {write_order_event, again_order_event, "187.25", "1e3", "price: ", "an exponent"},
        {write_order_event, again_order_event, "187.25", "99999999999999", "price: ", "too large"},
        {write_order_event, again_order_event, "PENDING", "OPEN", "status: ", "no such state"},
        {write_order_event, again_order_event, "\"statusReason\":null", "\"statusReason\":[]",
         "statusReason: ", "a list"},
        {write_order_event, again_order_event, "\"house\":{\"size\":\"2.5\",\"value\":\"468.125\"}", "\"house\":null",
         "house: ", "no object"},
        {write_order_event, again_order_event, "\"house\":{\"size\":\"2.5\"", "\"house\":{\"size\":\"-2.5\"",
         "house.size: ", "the inner name too"},
        {write_order_event, again_order_event, "\"clearing\":{\"size\":\"0\",\"value\":\"0\"}",
         "\"clearing\":{\"size\":\"0\"}", "clearing.value: ", "absent inside"},
        {write_order_event, again_order_event, "\"version\":3", "\"version\":0", "version: ", "versions begin at 1"},
        {write_order_event, again_order_event, CREATED, "yesterday", "createDate: ", "no time"},
        {write_order_event, again_order_event, UPDATED, "2026-02-30T00:00:00Z", "updateDate: ", "no such day"},
        {write_order_event, again_order_event, ",\"actor\":\"CUSTOMER:17\"", "", "actor: ", "absent"},
        {write_order_event, again_order_event, MATCH_ID, "none", "matchId: ", "optional, yet wrong"},
        {write_order_event, again_order_event, ",\"fill\":{\"size\":\"0.5\"", ",\"fill\":{\"size\":0.5",
         "fill.size: ", "a number"},
        {write_session_revoked, again_session_revoked, "\"sids\":[\"" ORDER_ID "\",\"" MATCH_ID "\"]", "\"sids\":[]",
         "sids: ", "of nobody"},
        {write_session_revoked, again_session_revoked, "\"sids\":[", "\"sid\":[", "sids: ", "absent"},
        {write_session_revoked, again_session_revoked, MATCH_ID, "all", "sids[1]: ", "no UUID"},
        {write_session_revoked, again_session_revoked, "\"" MATCH_ID "\"", "7", "sids[1]: ", "a number"},
        {write_session_revoked, again_session_revoked, MATCH_ID, "00000000-0000-0000-0000-000000000000",
         "sids[1]: ", "nil"},
        {write_session_revoked, again_session_revoked, CREATED, "now", "at: ", "no time"},
        {write_match_refused, again_match_refused, MATCH_ID, "x", "matchId: ", "no UUID"},
        {write_match_refused, again_match_refused, "\"order_not_matchable\"", "409", "code: ", "a number"},
        {write_match_refused, again_match_refused, "\"order\":{", "\"order\":{\"x\":{},", NULL, "unknown inside: fine"},
        {write_match_refused, again_match_refused, "\"order\":{\"orderId\":\"" ORDER_ID "\"",
         "\"order\":{\"orderId\":null", "order.orderId: ", "the order inside"},
        {write_match_refused, again_match_refused, "\"house\":{\"size\":\"2.5\"", "\"house\":{\"size\":2.5",
         "order.house.size: ", "two levels inside"},
        {write_match_refused_unknown, again_match_refused, "\"order\":null", "\"order\":[]", "order: ", "a list"},
        {write_barrier_reached, again_barrier_reached, MATCH_ID, "", "barrierId: ", "empty"},
        {write_barrier_reached, again_barrier_reached, "\"marks\":[", "\"mark\":[", "marks: ", "absent"},
        {write_barrier_reached, again_barrier_reached, "\"lane\":2", "\"lane\":-2",
         "marks[1].lane: ", "which one, too"},
        {write_barrier_reached, again_barrier_reached, "\"lane\":2", "\"lane\":3000000000",
         "marks[1].lane: ", "an int"},
        {write_barrier_reached, again_barrier_reached, "\"partSeq\":7", "\"partSeq\":\"7\"",
         "marks[0].partSeq: ", "text"},
        {write_asset_outcome, again_asset_outcome, "\"version\":3,", "", "version: ", "absent"},
        {write_asset_outcome, again_asset_outcome, "\"reserved\":\"0\"", "\"reserved\":null", "reserved: ", "null"},
        {write_asset_outcome, again_asset_outcome, "0.000001", "0.0000001", "usable: ", "a tenth of a millionth"},
        {write_asset_outcome, again_asset_outcome, "\"0.02\"", "\"-0.02\"", "matchedSize: ", "negative"},
        {write_asset_outcome, again_asset_outcome, "\"askedLane\":1", "\"askedLane\":-1", "askedLane: ", "negative"},
        {write_asset_outcome, again_asset_outcome,
         ",\"matchedSize\":\"0.02\",\"matchedValue\":null,\"askedLane\":1,\"askedPartition\":null,\"askedPartSeq\":42",
         "", NULL, "by a sender of before: it says neither"},
        {write_asset_outcome, again_asset_outcome, "\"matchId\":null", "\"matchId\":false", "matchId: ", "a bool"},
        {write_transfer_outcome, again_transfer_outcome, ORDER_ID, "-", "transferId: ", "no UUID"},
        {write_transfer_outcome, again_transfer_outcome, "\"required\"", "\"require\"", "required: ", "absent"},
        {write_account_change, again_account_change, "\"TRY\"", "\"\"", "assetName: ", "empty"},
        {write_account_change, again_account_change, "\"size\":\"0\"", "\"size\":\"-1\"", "size: ", "negative"},
        {write_match_requested, again_match_requested, "\"ADMIN:1\"", "null", "actor: ", "nobody"},
        {write_match_requested, again_match_requested, "\"size\":\"0\"", "\"size\":\"\"", "size: ", "empty"},
        {write_barrier_requested, again_barrier_requested, "\"barrierId\"", "\"barrierID\"", "barrierId: ", "absent"},
        {write_transfer_requested, again_transfer_requested, "WITHDRAWAL", "LOAN", "type: ", "no such type"},
        {write_transfer_requested, again_transfer_requested, "\"amount\":\"0.01\"", "\"amount\":\"0\"",
         "amount: ", "of nothing"},
        {write_user_registered, again_user_registered, "\"ayse\"", "{}", "username: ", "an object"},
        {write_user_registered, again_user_registered, ",\"role\":\"CUSTOMER\"", "", "role: ", "absent"},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        struct buf good, out;
        struct fault fault = {.err = ERR_OK};
        buf_init(&good);
        buf_init(&out);
        ROWS[i].write(&good);
        char *text = spoilt(buf_cstr(&good), ROWS[i].what, ROWS[i].with);
        enum err e = again(ROWS[i].kind, text, &out, &fault);
        if (ROWS[i].named == NULL)
            ROW_CHECK(e == ERR_OK, ROWS[i].why);
        else if (e != ERR_INVALID || strncmp(fault.why, ROWS[i].named, strlen(ROWS[i].named)) != 0)
            fail_msg("%s %s: \"%s\"", ROWS[i].named, ROWS[i].why, fault.why);
        mem_free(text);
        buf_done(&good);
        buf_done(&out);
    }
}

static void what_is_no_object_is_refused_by_its_first_member(void **state)
{
    (void)state;
    static decode_again *const KINDS[] = {
        again_order_event,        again_match_refused,   again_barrier_reached, again_asset_outcome,
        again_transfer_outcome,   again_account_change,  again_match_requested, again_barrier_requested,
        again_transfer_requested, again_user_registered,
    };
    static const char *const TEXTS[] = {"{}", "[]", "null", "\"order\"", "7"};
    for (size_t k = 0; k < LENGTH_OF(KINDS); k++)
        for (size_t t = 0; t < LENGTH_OF(TEXTS); t++) {
            struct buf out;
            struct fault fault = {.err = ERR_OK};
            buf_init(&out);
            assert_int_equal(again(KINDS[k], TEXTS[t], &out, &fault), ERR_INVALID);
            assert_non_null(strstr(fault.why, ": must be "));
            buf_done(&out);
        }
}

static void too_many_marks_are_refused(void **state)
{
    (void)state;
    struct buf text, out;
    struct fault fault = {.err = ERR_OK};
    buf_init(&text);
    buf_init(&out);
    buf_str(&text, "{\"barrierId\":\"" MATCH_ID "\",\"marks\":[");
    for (int i = 0; i <= BARRIER_MARKS_MAX; i++)
        buf_printf(&text, "%s{\"lane\":1,\"partition\":%d,\"partSeq\":1}", i > 0 ? "," : "", i);
    buf_str(&text, "]}");
    assert_int_equal(again(again_barrier_reached, buf_cstr(&text), &out, &fault), ERR_INVALID);
    assert_string_equal(fault.why, "marks: must be a list of at most 4096");
    buf_done(&text);
    buf_done(&out);
}

static void more_sessions_than_a_customer_can_have_are_refused(void **state)
{
    (void)state;
    struct buf text, out;
    struct fault fault = {.err = ERR_OK};
    buf_init(&text);
    buf_init(&out);
    buf_str(&text, "{\"customerId\":17,\"reason\":\"role\",\"at\":\"" CREATED "\",\"sids\":[");
    for (int i = 0; i <= SESSION_REVOKED_SIDS_MAX; i++)
        buf_printf(&text, "%s\"" MATCH_ID "\"", i > 0 ? "," : "");
    buf_str(&text, "]}");
    assert_int_equal(again(again_session_revoked, buf_cstr(&text), &out, &fault), ERR_INVALID);
    assert_string_equal(fault.why, "sids: must be a list of 1 to 64");
    buf_done(&text);
    buf_done(&out);
}

/* ---- what is right ---- */

static void what_is_written_is_read_and_written_the_same(void **state)
{
    (void)state;
    static const struct {
        void (*write)(struct buf *out);
        decode_again *kind;
        const char *text;
    } ROWS[] = {
        {write_order_event, again_order_event,
         "{" ORDER_MEMBERS ",\"matchId\":\"" MATCH_ID "\",\"fill\":{\"size\":\"0.5\",\"value\":\"93.625\"}}"},
        {write_match_refused, again_match_refused,
         "{\"matchId\":\"" MATCH_ID "\",\"orderId\":\"" ORDER_ID
         "\",\"code\":\"order_not_matchable\",\"order\":{" ORDER_MEMBERS "}}"},
        {write_match_refused_unknown, again_match_refused,
         "{\"matchId\":\"" MATCH_ID "\",\"orderId\":\"" ORDER_ID "\",\"code\":\"order_not_found\",\"order\":null}"},
        {write_barrier_reached, again_barrier_reached,
         "{\"barrierId\":\"" MATCH_ID "\",\"marks\":[{\"lane\":1,\"partition\":0,\"partSeq\":7},"
         "{\"lane\":2,\"partition\":5,\"partSeq\":0}]}"},
        {write_barrier_reached_nothing, again_barrier_reached, "{\"barrierId\":\"" MATCH_ID "\",\"marks\":[]}"},
        {write_asset_outcome, again_asset_outcome,
         "{\"orderId\":\"" ORDER_ID "\",\"customerId\":17,\"version\":3,\"matchId\":null,\"assetName\":\"TRY\","
         "\"reserved\":\"0\",\"required\":\"1872.5\",\"usable\":\"0.000001\",\"matchedSize\":\"0.02\","
         "\"matchedValue\":null,\"askedLane\":1,\"askedPartition\":null,\"askedPartSeq\":42}"},
        {write_transfer_outcome, again_transfer_outcome,
         "{\"transferId\":\"" ORDER_ID "\",\"customerId\":17,\"required\":\"0.000005\",\"usable\":\"0\"}"},
        {write_account_change, again_account_change, "{\"customerId\":17,\"assetName\":\"TRY\",\"size\":\"0\"}"},
        {write_match_requested, again_match_requested,
         "{\"matchId\":\"" MATCH_ID "\",\"orderId\":\"" ORDER_ID "\",\"size\":\"0\",\"actor\":\"ADMIN:1\"}"},
        {write_barrier_requested, again_barrier_requested, "{\"barrierId\":\"" MATCH_ID "\"}"},
        {write_session_revoked, again_session_revoked,
         "{\"customerId\":17,\"reason\":\"logout\",\"at\":\"" CREATED "\",\"sids\":[\"" ORDER_ID "\",\"" MATCH_ID
         "\"]}"},
        {write_transfer_requested, again_transfer_requested,
         "{\"transferId\":\"" ORDER_ID "\",\"customerId\":17,\"type\":\"WITHDRAWAL\",\"amount\":\"0.01\","
         "\"actor\":\"CUSTOMER:17\"}"},
        {write_user_registered, again_user_registered,
         "{\"customerId\":17,\"username\":\"ayse\",\"fullName\":\"Ay\xC5\x9F\x65 "
         "Y\xC4\xB1lmaz\",\"role\":\"CUSTOMER\"}"},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        struct buf written, out;
        struct fault fault = {.err = ERR_OK};
        buf_init(&written);
        buf_init(&out);
        ROWS[i].write(&written);
        assert_string_equal(buf_cstr(&written), ROWS[i].text);
        assert_int_equal(again(ROWS[i].kind, ROWS[i].text, &out, &fault), ERR_OK);
        assert_string_equal(buf_cstr(&out), ROWS[i].text);
        buf_done(&written);
        buf_done(&out);
    }
}

static void an_order_is_read_as_it_was(void **state)
{
    (void)state;
    struct json *data;
    struct arena arena;
    struct fault fault = {.err = ERR_OK};
    struct order_event e;
    const struct order_state o = an_order();
    arena_init(&arena);
    assert_int_equal(json_parse(STR("{" ORDER_MEMBERS ",\"fill\":{\"size\":\"0\",\"value\":\"0\"}}"), &data, &fault),
                     ERR_OK);
    assert_int_equal(order_event_decode(data, &arena, &e, &fault), ERR_OK);
    json_free(data); /* text must not lean on the document */

    assert_true(uuid_eq(e.order.id, o.id));
    assert_int_equal(e.order.customer_id, o.customer_id);
    assert_string_equal(e.order.client_order_id, o.client_order_id);
    assert_string_equal(e.order.asset, o.asset);
    assert_int_equal(e.order.side, ORDER_SELL);
    assert_int_equal(e.order.size, o.size);
    assert_int_equal(e.order.price, o.price);
    assert_int_equal(e.order.status, ORDER_PENDING);
    assert_null(e.order.status_reason);
    assert_int_equal(order_matched_size(&e.order), 2500000);
    assert_int_equal(order_matched_value(&e.order), 468125000);
    assert_int_equal(e.order.version, 3);
    assert_int_equal(e.order.create_date, o.create_date);
    assert_int_equal(e.order.update_date, o.update_date);
    assert_string_equal(e.order.actor, o.actor);
    assert_true(uuid_is_nil(e.match_id)); /* absent is as good as null */
    arena_done(&arena);
}

static void every_side_state_and_type_has_its_word(void **state)
{
    (void)state;
    for (int s = ORDER_NEW; s <= ORDER_REJECTED; s++) {
        struct buf text, out;
        struct fault fault = {.err = ERR_OK};
        struct order_event e = {.order = an_order()};
        e.order.status = (enum order_status)s;
        e.order.side = s % 2 == 0 ? ORDER_BUY : ORDER_SELL;
        buf_init(&text);
        buf_init(&out);
        order_event_encode(&text, &e);
        assert_non_null(strstr(buf_cstr(&text), ORDER_STATUSES[s]));
        assert_int_equal(again(again_order_event, buf_cstr(&text), &out, &fault), ERR_OK);
        assert_string_equal(buf_cstr(&out), buf_cstr(&text));
        buf_done(&text);
        buf_done(&out);
    }
    assert_null(ORDER_STATUSES[ORDER_REJECTED + 1]);
    assert_null(ORDER_SIDES[ORDER_SELL + 1]);
    assert_null(TRANSFER_TYPES[TRANSFER_WITHDRAWAL + 1]);
}

static void members_of_a_newer_sender_are_passed_over(void **state)
{
    (void)state;
    struct buf out;
    struct fault fault = {.err = ERR_OK};
    buf_init(&out);
    const char *text = "{\"note\":[1,{}],\"barrierId\":\"" MATCH_ID "\",\"marks\":[]}";
    assert_int_equal(again(again_barrier_requested, text, &out, &fault), ERR_OK);
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wrong_member_is_refused_by_name),
        cmocka_unit_test(what_is_no_object_is_refused_by_its_first_member),
        cmocka_unit_test(too_many_marks_are_refused),
        cmocka_unit_test(more_sessions_than_a_customer_can_have_are_refused),
        cmocka_unit_test(what_is_written_is_read_and_written_the_same),
        cmocka_unit_test(an_order_is_read_as_it_was),
        cmocka_unit_test(every_side_state_and_type_has_its_word),
        cmocka_unit_test(members_of_a_newer_sender_are_passed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
