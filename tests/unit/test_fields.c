#include "io/fields.h"

#include <stdio.h>
#include <string.h>

#include "unit.h"

enum side { BUY, SELL };
static const char *const SIDES[] = {"BUY", "SELL", NULL};
static const char *const STATUSES[] = {"NEW", "PENDING", "MATCHED", NULL};

struct order {
    const char *asset, *note, *client_id;
    decimal_t size, price, change;
    int64_t customer_id, depth;
    bool dry_run;
    int side;
    time_us_t from;
    struct uuid id;
    struct field_texts order_ids;
};

static const struct field ORDER[] = {
    {.name = "assetName",
     .kind = FIELD_TEXT,
     .offset = offsetof(struct order, asset),
     .flags = FIELD_REQUIRED,
     .check = field_check_asset},
    {.name = "note", .kind = FIELD_TEXT, .offset = offsetof(struct order, note), .max = 8},
    {.name = "clientOrderId",
     .kind = FIELD_TEXT,
     .offset = offsetof(struct order, client_id),
     .check = field_check_client_order_id},
    {.name = "size",
     .kind = FIELD_DECIMAL,
     .offset = offsetof(struct order, size),
     .flags = FIELD_REQUIRED | FIELD_POSITIVE,
     .places = DECIMAL_SIZE_PLACES},
    {.name = "price",
     .kind = FIELD_DECIMAL,
     .offset = offsetof(struct order, price),
     .flags = FIELD_REQUIRED | FIELD_POSITIVE,
     .places = DECIMAL_PRICE_PLACES},
    {.name = "change", .kind = FIELD_DECIMAL, .offset = offsetof(struct order, change), .places = 6},
    {.name = "customerId", .kind = FIELD_ID, .offset = offsetof(struct order, customer_id)},
    {.name = "depth", .kind = FIELD_INT, .offset = offsetof(struct order, depth), .min = 1, .max = 200},
    {.name = "dryRun", .kind = FIELD_BOOL, .offset = offsetof(struct order, dry_run)},
    {.name = "orderSide", .kind = FIELD_CHOICE, .offset = offsetof(struct order, side), .choices = SIDES},
    {.name = "from", .kind = FIELD_TIME, .offset = offsetof(struct order, from)},
    {.name = "id", .kind = FIELD_UUID, .offset = offsetof(struct order, id)},
    {.name = "orderIds", .kind = FIELD_TEXTS, .offset = offsetof(struct order, order_ids)},
    FIELD_END,
};

enum { DEPTH_BEFORE = 50 };

/* A reading, its arena and what came of it. */
struct reading {
    struct arena arena;
    struct order order;
    struct field_errors errors;
    enum err err;
};

static void read_body(struct reading *r, const char *body)
{
    memset(r, 0, sizeof(*r));
    memset(&r->order, 0x55, sizeof(r->order)); /* absent fields must be set too */
    r->order.depth = DEPTH_BEFORE;
    arena_init(&r->arena);
    struct json *root = NULL;
    struct fault fault = {0};
    if (json_parse(str_of(body), &root, &fault) != ERR_OK)
        fail_msg("%s: %s", body, fault.why);
    r->err = fields_of_json(ORDER, root, &r->arena, &r->order, &r->errors);
    json_free(root); /* what was read must not point into it */
}

static bool complains(const struct field_errors *errors, const char *pointer, const char *detail)
{
    for (size_t i = 0; i < errors->count; i++) {
        if (strcmp(errors->items[i].pointer, pointer) == 0 && strcmp(errors->items[i].detail, detail) == 0)
            return true;
    }
    return false;
}

static void show(const struct field_errors *errors)
{
    for (size_t i = 0; i < errors->count; i++)
        print_message("  %s %s\n", errors->items[i].pointer, errors->items[i].detail);
}

#define SIZE_WANTS "must be a number greater than 0 with at most 4 decimals"
#define PRICE_WANTS "must be a number greater than 0 with at most 2 decimals"
#define ASSET_WANTS "must be 1 to 12 letters (A to Z), digits or points"
#define ID_WANTS "must be an integer greater than 0"
#define DEPTH_WANTS "must be an integer from 1 to 200"
#define NOTE_WANTS "must be a text of 0 to 8 bytes without control characters"
#define TIME_WANTS "must be a date and time of RFC 3339 like 2026-11-24T18:58:08Z"
#define LIST_WANTS "must be a list of 1 to 1000 texts"
#define CLIENT_ID_WANTS "must be 1 to 64 letters (A to Z, a to z), digits, points, underscores or hyphens"

static void a_wrong_value_is_named_with_what_is_expected(void **state)
{
    (void)state;
    static const struct {
        const char *member, *pointer, *detail, *why;
    } ROWS[] = {
        {"\"size\":0", "/size", SIZE_WANTS, "zero"},
        {"\"size\":-1", "/size", SIZE_WANTS, "negative"},
        {"\"size\":-0", "/size", SIZE_WANTS, "negative zero"},
        {"\"size\":-0.00000001", "/size", SIZE_WANTS, "negative and too precise"},
        {"\"size\":0.00001", "/size", SIZE_WANTS, "five decimals"},
        {"\"size\":null", "/size", SIZE_WANTS, "null is not absent"},
        {"\"size\":true", "/size", SIZE_WANTS, "a boolean"},
        {"\"size\":[1]", "/size", SIZE_WANTS, "a list"},
        {"\"size\":{}", "/size", SIZE_WANTS, "an object"},
        {"\"size\":\"\"", "/size", SIZE_WANTS, "empty text"},
        {"\"size\":\"abc\"", "/size", SIZE_WANTS, "letters"},
        {"\"size\":\"NaN\"", "/size", SIZE_WANTS, "NaN"},
        {"\"size\":\"Infinity\"", "/size", SIZE_WANTS, "Infinity"},
        {"\"size\":\"1e400\"", "/size", SIZE_WANTS, "an exponent as text"},
        {"\"size\":\"+1\"", "/size", SIZE_WANTS, "plus"},
        {"\"size\":\".5\"", "/size", SIZE_WANTS, "nothing before the point"},
        {"\"size\":\" 1\"", "/size", SIZE_WANTS, "a space"},
        {"\"size\":\"\\u0663\"", "/size", SIZE_WANTS, "an Arabic digit"},
        {"\"size\":\"100000000000000000000000000000000000000\"", "/size", "is too large", "39 digits"},
        {"\"price\":187.255", "/price", PRICE_WANTS, "three decimals"},
        {"\"change\":\"x\"", "/change", "must be a number with at most 6 decimals", "letters"},
        {"\"assetName\":\"\"", "/assetName", ASSET_WANTS, "empty"},
        {"\"assetName\":\" TRY \"", "/assetName", ASSET_WANTS, "spaces"},
        {"\"assetName\":\"ABCDEFGHIJKLM\"", "/assetName", ASSET_WANTS, "thirteen letters"},
        {"\"assetName\":\"'; DROP\"", "/assetName", ASSET_WANTS, "SQL"},
        {"\"assetName\":\"A\\u0001\"", "/assetName", ASSET_WANTS, "a control character"},
        {"\"assetName\":\"\\u0130\"", "/assetName", ASSET_WANTS, "a Turkish capital I with a dot"},
        {"\"assetName\":7", "/assetName", ASSET_WANTS, "a number"},
        {"\"assetName\":null", "/assetName", ASSET_WANTS, "null"},
        {"\"note\":\"123456789\"", "/note", NOTE_WANTS, "too long"},
        {"\"note\":\"a\\nb\"", "/note", NOTE_WANTS, "a newline"},
        {"\"note\":\"\\u007f\"", "/note", NOTE_WANTS, "DEL"},
        {"\"note\":1", "/note", NOTE_WANTS, "a number"},
        {"\"note\":null", "/note", NOTE_WANTS, "null, though an empty text would do"},
        {"\"clientOrderId\":\"\"", "/clientOrderId", CLIENT_ID_WANTS, "empty"},
        {"\"clientOrderId\":\"a b\"", "/clientOrderId", CLIENT_ID_WANTS, "a space"},
        {"\"customerId\":0", "/customerId", ID_WANTS, "zero"},
        {"\"customerId\":-1", "/customerId", ID_WANTS, "negative"},
        {"\"customerId\":1.0", "/customerId", ID_WANTS, "a point"},
        {"\"customerId\":\"1\"", "/customerId", ID_WANTS, "a text"},
        {"\"customerId\":null", "/customerId", ID_WANTS, "null"},
        {"\"depth\":0", "/depth", DEPTH_WANTS, "below"},
        {"\"depth\":201", "/depth", DEPTH_WANTS, "above"},
        {"\"dryRun\":\"true\"", "/dryRun", "must be true or false", "a text"},
        {"\"dryRun\":1", "/dryRun", "must be true or false", "a number"},
        {"\"orderSide\":\"buy\"", "/orderSide", "must be BUY or SELL", "lower case"},
        {"\"orderSide\":\"HOLD\"", "/orderSide", "must be BUY or SELL", "another word"},
        {"\"orderSide\":1", "/orderSide", "must be BUY or SELL", "a number"},
        {"\"orderSide\":null", "/orderSide", "must be BUY or SELL", "null"},
        {"\"from\":\"yesterday\"", "/from", TIME_WANTS, "no date"},
        {"\"from\":\"2026-02-30T00:00:00Z\"", "/from", TIME_WANTS, "a date that does not exist"},
        {"\"from\":0", "/from", TIME_WANTS, "a number"},
        {"\"id\":\"x\"", "/id", "must be a UUID", "no UUID"},
        {"\"orderIds\":[]", "/orderIds", LIST_WANTS, "empty list"},
        {"\"orderIds\":\"a\"", "/orderIds", LIST_WANTS, "a text"},
        {"\"orderIds\":{\"a\":1}", "/orderIds", LIST_WANTS, "an object"},
        {"\"orderIds\":[\"a\",7]", "/orderIds/1", "must be a text of at most 255 bytes without control characters",
         "a number among texts"},
        {"\"orderIds\":[\"\\n\"]", "/orderIds/0", "must be a text of at most 255 bytes without control characters",
         "a newline among texts"},
        {"\"limit\":1", "/limit", "is not known here", "unknown member"},
        {"\"a/b~c\":1", "/a~1b~0c", "is not known here", "RFC 6901's escapes"},
        {"\"\":1", "/", "is not known here", "an empty name"},
        {"\"Size\":1", "/Size", "is not known here", "names have one case"},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        struct reading r;
        char body[256];
        snprintf(body, sizeof(body), "{%s}", ROWS[i].member);
        read_body(&r, body);
        ROW_CHECK(r.err == ERR_INVALID, ROWS[i].why);
        if (!complains(&r.errors, ROWS[i].pointer, ROWS[i].detail)) {
            show(&r.errors);
            fail_msg("%s: %s", ROWS[i].why, ROWS[i].member);
        }
        arena_done(&r.arena);
    }
}

static void all_wrong_fields_are_named_at_once(void **state)
{
    (void)state;
    struct reading r;
    read_body(&r, "{\"size\":0,\"price\":\"abc\",\"orderSide\":\"buy\",\"extra\":1}");
    assert_int_equal(r.err, ERR_INVALID);
    assert_int_equal(r.errors.count, 5);
    assert_true(complains(&r.errors, "/size", SIZE_WANTS));
    assert_true(complains(&r.errors, "/price", PRICE_WANTS));
    assert_true(complains(&r.errors, "/orderSide", "must be BUY or SELL"));
    assert_true(complains(&r.errors, "/extra", "is not known here"));
    assert_true(complains(&r.errors, "/assetName", "is required"));
    arena_done(&r.arena);
}

static void a_body_that_is_no_object_is_refused_whole(void **state)
{
    (void)state;
    static const char *const BODIES[] = {"null", "[]", "[{}]", "1", "\"{}\"", "true"};
    for (size_t i = 0; i < LENGTH_OF(BODIES); i++) {
        struct reading r;
        read_body(&r, BODIES[i]);
        ROW_CHECK(r.err == ERR_INVALID && complains(&r.errors, "", "must be an object"), BODIES[i]);
        arena_done(&r.arena);
    }
}

static void complaints_stop_at_their_maximum_and_long_names_are_cut(void **state)
{
    (void)state;
    struct buf body;
    buf_init(&body);
    for (int i = 0; i < 1000; i++)
        buf_printf(&body, "%c\"%0100d\":1", i == 0 ? '{' : ',', i);
    buf_char(&body, '}');
    struct reading r;
    read_body(&r, body.data);
    assert_int_equal(r.err, ERR_INVALID);
    assert_int_equal(r.errors.count, FIELD_ERRORS_MAX);
    assert_int_equal(strlen(r.errors.items[0].pointer), sizeof(r.errors.items[0].pointer) - 1);
    arena_done(&r.arena);
    buf_done(&body);
}

static void a_list_may_hold_a_thousand_and_not_one_more(void **state)
{
    (void)state;
    for (int count = FIELD_LIST_MAX; count <= FIELD_LIST_MAX + 1; count++) {
        struct buf body;
        buf_init(&body);
        buf_str(&body, "{\"assetName\":\"A\",\"size\":1,\"price\":1,\"orderIds\":[");
        for (int i = 0; i < count; i++)
            buf_printf(&body, "%s\"%d\"", i == 0 ? "" : ",", i);
        buf_str(&body, "]}");
        struct reading r;
        read_body(&r, body.data);
        assert_int_equal(r.err, count == FIELD_LIST_MAX ? ERR_OK : ERR_INVALID);
        if (r.err == ERR_OK)
            assert_string_equal(r.order.order_ids.items[999], "999");
        arena_done(&r.arena);
        buf_done(&body);
    }
}

static void a_good_body_fills_the_struct(void **state)
{
    (void)state;
    struct reading r;
    read_body(&r, "{\"assetName\":\"thyao\",\"note\":\"\xc4\x9f\",\"clientOrderId\":\"a-1_B.2\",\"size\":\"100.5000\","
                  "\"price\":187.25,\"change\":-0.000001,\"customerId\":17,\"depth\":200,\"dryRun\":true,"
                  "\"orderSide\":\"SELL\",\"from\":\"1970-01-01T02:00:00+02:00\","
                  "\"id\":\"00000000-0000-0000-0000-000000000001\",\"orderIds\":[\"x\",\"\"]}");
    show(&r.errors);
    assert_int_equal(r.err, ERR_OK);
    assert_string_equal(r.order.asset, "THYAO");
    assert_string_equal(r.order.note, "\xc4\x9f");
    assert_string_equal(r.order.client_id, "a-1_B.2");
    assert_int_equal(r.order.size, 100500000);
    assert_int_equal(r.order.price, 187250000);
    assert_int_equal(r.order.change, -1);
    assert_int_equal(r.order.customer_id, 17);
    assert_int_equal(r.order.depth, 200);
    assert_true(r.order.dry_run);
    assert_int_equal(r.order.side, SELL);
    assert_int_equal(r.order.from, 0);
    assert_int_equal(r.order.id.bytes[15], 1);
    assert_true(r.order.order_ids.present);
    assert_int_equal(r.order.order_ids.count, 2);
    assert_string_equal(r.order.order_ids.items[0], "x");
    arena_done(&r.arena);
}

static void absent_fields_are_nothing_of_their_kind_and_absent_integers_stay_as_they_were(void **state)
{
    (void)state;
    struct reading r;
    read_body(&r, "{\"assetName\":\"A\",\"size\":0.0001,\"price\":0.01}");
    assert_int_equal(r.err, ERR_OK);
    assert_int_equal(r.order.size, 100);
    assert_int_equal(r.order.price, 10000);
    assert_null(r.order.note);
    assert_int_equal(r.order.change, 0);
    assert_int_equal(r.order.customer_id, 0);
    assert_int_equal(r.order.depth, DEPTH_BEFORE);
    assert_false(r.order.dry_run);
    assert_int_equal(r.order.side, -1);
    assert_int_equal(r.order.from, 0);
    assert_true(uuid_is_nil(r.order.id));
    assert_false(r.order.order_ids.present);
    assert_int_equal(r.order.order_ids.count, 0);
    arena_done(&r.arena);
}

/* ---- queries ---- */

struct list {
    int64_t customer_id, limit;
    unsigned statuses;
    const char *asset, *cursor;
    bool non_zero;
    int side;
    time_us_t from;
    struct uuid id;
    decimal_t amount;
};

static const struct field LIST[] = {
    {.name = "customerId", .kind = FIELD_ID, .offset = offsetof(struct list, customer_id)},
    {.name = "limit", .kind = FIELD_INT, .offset = offsetof(struct list, limit), .min = 1, .max = 200},
    {.name = "status", .kind = FIELD_CHOICES, .offset = offsetof(struct list, statuses), .choices = STATUSES},
    {.name = "assetName", .kind = FIELD_TEXT, .offset = offsetof(struct list, asset), .check = field_check_asset},
    {.name = "cursor", .kind = FIELD_TEXT, .offset = offsetof(struct list, cursor), .min = 1, .max = 64},
    {.name = "nonZeroOnly", .kind = FIELD_BOOL, .offset = offsetof(struct list, non_zero)},
    {.name = "orderSide", .kind = FIELD_CHOICE, .offset = offsetof(struct list, side), .choices = SIDES},
    {.name = "from", .kind = FIELD_TIME, .offset = offsetof(struct list, from)},
    {.name = "id", .kind = FIELD_UUID, .offset = offsetof(struct list, id)},
    {.name = "amount", .kind = FIELD_DECIMAL, .offset = offsetof(struct list, amount), .places = 2},
    FIELD_END,
};

static enum err read_query(const char *query, struct arena *arena, struct list *ret, struct field_errors *errors)
{
    arena_init(arena);
    *errors = (struct field_errors){.count = 0};
    return fields_of_query(LIST, str_of(query), arena, ret, errors);
}

static void a_wrong_query_is_named_with_what_is_expected(void **state)
{
    (void)state;
    static const struct {
        const char *query, *pointer, *detail, *why;
    } ROWS[] = {
        {"limit=0", "?limit", DEPTH_WANTS, "below"},
        {"limit=-1", "?limit", DEPTH_WANTS, "negative"},
        {"limit=1000000000", "?limit", DEPTH_WANTS, "far above"},
        {"limit=99999999999999999999", "?limit", DEPTH_WANTS, "beyond int64"},
        {"limit=", "?limit", DEPTH_WANTS, "empty"},
        {"limit", "?limit", DEPTH_WANTS, "no value"},
        {"limit=5&limit=5", "?limit", "may stand only once", "repeated"},
        {"limit=5&%6Cimit=5", "?limit", "may stand only once", "repeated, once encoded"},
        {"limit=05", "?limit", DEPTH_WANTS, "leading zero"},
        {"limit=+5", "?limit", DEPTH_WANTS, "plus stays plus"},
        {"customerId=1.0", "?customerId", ID_WANTS, "a point"},
        {"customerId=x", "?customerId", ID_WANTS, "letters"},
        {"status=OPEN", "?status", "must be NEW, PENDING or MATCHED", "another word"},
        {"status=NEW&status=new", "?status", "must be NEW, PENDING or MATCHED", "one good, one wrong"},
        {"status=NEW,MATCHED", "?status", "must be NEW, PENDING or MATCHED", "repeated keys, no commas"},
        {"sort=asc", "?sort", "is not known here", "unknown key"},
        {"sort", "?sort", "is not known here", "unknown key without value"},
        {"&", "?", "is not known here", "an empty pair"},
        {"limit=5&&customerId=1", "?", "is not known here", "an empty pair between"},
        {"=5", "?", "is not known here", "an empty key"},
        {"assetName=%", "?assetName", "has a '%' that two hex digits don't follow", "a bare percent"},
        {"assetName=A%4", "?assetName", "has a '%' that two hex digits don't follow", "half an escape"},
        {"assetName=%zz", "?assetName", "has a '%' that two hex digits don't follow", "no hex"},
        {"assetName=%ff", "?assetName", "is not UTF-8", "no UTF-8"},
        {"assetName=A%00B", "?assetName", ASSET_WANTS, "NUL"},
        {"assetName=A%0a", "?assetName", ASSET_WANTS, "newline"},
        {"assetName=A+B", "?assetName", ASSET_WANTS, "plus is no space"},
        {"%ff=1", "?", "has a key that can't be read", "a key that is no UTF-8"},
        {"%00limit=1", "?", "has a key that can't be read", "NUL in a key"},
        {"limit%00=1", "?", "has a key that can't be read", "NUL behind a key"},
        {"cursor=", "?cursor", "must be a text of 1 to 64 bytes without control characters", "empty"},
        {"nonZeroOnly=1", "?nonZeroOnly", "must be true or false", "a digit"},
        {"nonZeroOnly=TRUE", "?nonZeroOnly", "must be true or false", "upper case"},
        {"orderSide=BUY%00", "?orderSide", "must be BUY or SELL", "NUL behind"},
        {"from=2026-11-24", "?from", TIME_WANTS, "a date alone"},
        {"id=1", "?id", "must be a UUID", "no UUID"},
        {"amount=1e3", "?amount", "must be a number with at most 2 decimals", "exponent"},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        struct arena arena;
        struct list list;
        struct field_errors errors;
        ROW_CHECK(read_query(ROWS[i].query, &arena, &list, &errors) == ERR_INVALID, ROWS[i].why);
        if (!complains(&errors, ROWS[i].pointer, ROWS[i].detail)) {
            show(&errors);
            fail_msg("%s: %s", ROWS[i].why, ROWS[i].query);
        }
        arena_done(&arena);
    }
}

static void a_good_query_fills_the_struct(void **state)
{
    (void)state;
    struct arena arena;
    struct list list;
    struct field_errors errors;
    assert_int_equal(read_query("customerId=17&limit=200&status=NEW&status=MATCHED&status=NEW&assetName=th%59ao&"
                                "cursor=a%2Bb%3d=&nonZeroOnly=true&orderSide=BUY&from=1970-01-01T03:00:00+03:00&"
                                "id=00000000-0000-0000-0000-000000000001&amount=-1.5",
                                &arena, &list, &errors),
                     ERR_OK);
    assert_int_equal(list.customer_id, 17);
    assert_int_equal(list.limit, 200);
    assert_int_equal(list.statuses, 5);
    assert_string_equal(list.asset, "THYAO");
    assert_string_equal(list.cursor, "a+b==");
    assert_true(list.non_zero);
    assert_int_equal(list.side, BUY);
    assert_int_equal(list.from, 0);
    assert_int_equal(list.id.bytes[15], 1);
    assert_int_equal(list.amount, -1500000);
    arena_done(&arena);
}

static void an_empty_query_is_fine(void **state)
{
    (void)state;
    struct arena arena;
    struct list list;
    struct field_errors errors;
    assert_int_equal(read_query("", &arena, &list, &errors), ERR_OK);
    assert_int_equal(list.statuses, 0);
    assert_int_equal(list.side, -1);
    arena_done(&arena);

    arena_init(&arena);
    assert_int_equal(fields_of_query(LIST, (struct str){NULL, 0}, &arena, &list, &errors), ERR_OK);
    arena_done(&arena);
}

/* ---- checks ---- */

static void wrong_ibans_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
    } ROWS[] = {
        {"", "empty"},
        {"   ", "spaces alone"},
        {"TR", "a country alone"},
        {"TR330006100519786457841327", "last digit changed"},
        {"TR33000610051978645784132", "25 characters"},
        {"TR3300061005197864578413260", "27 characters"},
        {"TR320006100519786457841326", "check digits changed"},
        {"XX330006100519786457841326", "no such country"},
        {"T1330006100519786457841326", "no country"},
        {"TRAB0006100519786457841326", "letters for check digits"},
        {"TR33-0006-1005-1978-6457-8413-26", "hyphens"},
        {"TR33\t0006100519786457841326", "a tab"},
        {"TR3300061005197864578413\xc4\xb1", "a dotless i"},
        {"DE89370400440532013001", "a German one, last digit changed"},
        {"GB82WEST1234569876543X", "a British one, last digit a letter"},
        {"TR330006100519786457841326TR330006100519786457841326", "twice"},
    };
    struct arena arena;
    arena_init(&arena);
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        const char *stored = "kept";
        ROW_CHECK(field_check_iban(&arena, ROWS[i].text, &stored) != NULL, ROWS[i].why);
        ROW_CHECK(strcmp(stored, "kept") == 0, ROWS[i].why);
    }
    arena_done(&arena);
}

static void good_ibans_are_stored_normalised(void **state)
{
    (void)state;
    static const struct {
        const char *text, *stored;
    } ROWS[] = {
        {"TR330006100519786457841326", "TR330006100519786457841326"},
        {"tr33 0006 1005 1978 6457 8413 26", "TR330006100519786457841326"},
        {" DE89 3704 0044 0532 0130 00 ", "DE89370400440532013000"},
        {"gb82west12345698765432", "GB82WEST12345698765432"},
        {"NO9386011117947", "NO9386011117947"},
        {"MT84MALT011000012345MTLCAST001S", "MT84MALT011000012345MTLCAST001S"},
        {"SC18SSCB11010000000000001497USD", "SC18SSCB11010000000000001497USD"},
        {"FR1420041010050500013M02606", "FR1420041010050500013M02606"},
        {"LC55HEMM000100010012001200023015", "LC55HEMM000100010012001200023015"},
    };
    struct arena arena;
    arena_init(&arena);
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        const char *stored = NULL;
        ROW_CHECK(field_check_iban(&arena, ROWS[i].text, &stored) == NULL, ROWS[i].text);
        assert_string_equal(stored, ROWS[i].stored);
    }
    arena_done(&arena);
}

static void any_one_changed_digit_spoils_an_iban(void **state)
{
    (void)state;
    static const char GOOD[] = "TR330006100519786457841326";
    struct arena arena;
    arena_init(&arena);
    for (size_t at = 2; at < sizeof(GOOD) - 1; at++) {
        for (int digit = '0'; digit <= '9'; digit++) {
            char text[sizeof(GOOD)];
            memcpy(text, GOOD, sizeof(GOOD));
            text[at] = (char)digit;
            const char *stored;
            bool good = field_check_iban(&arena, text, &stored) == NULL;
            assert_int_equal(good, digit == GOOD[at]);
        }
    }
    arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wrong_value_is_named_with_what_is_expected),
        cmocka_unit_test(all_wrong_fields_are_named_at_once),
        cmocka_unit_test(a_body_that_is_no_object_is_refused_whole),
        cmocka_unit_test(complaints_stop_at_their_maximum_and_long_names_are_cut),
        cmocka_unit_test(a_list_may_hold_a_thousand_and_not_one_more),
        cmocka_unit_test(a_good_body_fills_the_struct),
        cmocka_unit_test(absent_fields_are_nothing_of_their_kind_and_absent_integers_stay_as_they_were),
        cmocka_unit_test(a_wrong_query_is_named_with_what_is_expected),
        cmocka_unit_test(a_good_query_fills_the_struct),
        cmocka_unit_test(an_empty_query_is_fine),
        cmocka_unit_test(wrong_ibans_are_refused),
        cmocka_unit_test(good_ibans_are_stored_normalised),
        cmocka_unit_test(any_one_changed_digit_spoils_an_iban),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
