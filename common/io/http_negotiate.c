#include "io/http_negotiate.h"

#include <string.h>

enum { REQUEST_ID_MIN = 8, REQUEST_ID_MAX = 64, Q_ONE = 1000, Q_NONE = -1 };

/* Cuts the next item off a list; the separator does not count inside quotes. False at the end. */
static bool next_item(struct str *list, char separator, struct str *ret_item)
{
    bool quoted = false;
    size_t len = 0;
    if (list->data == NULL)
        return false;
    for (; len < list->len && (quoted || list->data[len] != separator); len++) {
        if (list->data[len] == '"')
            quoted = !quoted;
        else if (quoted && list->data[len] == '\\' && len + 1 < list->len)
            len++;
    }
    *ret_item = str_trim((struct str){list->data, len});
    bool more = len < list->len;
    *list = more ? (struct str){list->data + len + 1, list->len - len - 1} : (struct str){0};
    return true;
}

/* "name=value" or "name"; quotes around the value go. */
static void cut_pair(struct str item, struct str *ret_name, struct str *ret_value)
{
    const char *equals = memchr(item.data, '=', item.len);
    size_t len = equals == NULL ? item.len : (size_t)(equals - item.data);
    struct str value = equals == NULL ? (struct str){"", 0} : (struct str){equals + 1, item.len - len - 1};
    value = str_trim(value);
    if (value.len >= 2 && value.data[0] == '"' && value.data[value.len - 1] == '"')
        value = (struct str){value.data + 1, value.len - 2};
    *ret_name = str_trim((struct str){item.data, len});
    *ret_value = value;
}

/* "0.75" in thousandths; what is no weight counts as none given. */
static int weight_of(struct str q)
{
    int weight = 0, digit = Q_ONE / 10;
    if (q.len == 0 || q.len > 5 || (q.data[0] != '0' && q.data[0] != '1') || (q.len > 1 && q.data[1] != '.'))
        return Q_ONE;
    weight = q.data[0] == '1' ? Q_ONE : 0;
    for (size_t i = 2; i < q.len; i++, digit /= 10) {
        if (q.data[i] < '0' || q.data[i] > '9')
            return Q_ONE;
        weight += (q.data[i] - '0') * digit;
    }
    return weight > Q_ONE ? Q_ONE : weight;
}

/* How the client likes one media type: the weight of the closest range that covers it. */
struct liking {
    const char *type, *group; /* "text/csv", "text / *" without the blanks */
    int closeness, weight;
};

static void liking_consider(struct liking *l, struct str range, int weight)
{
    int closeness = 0;
    if (str_eq_nocase(range, l->type))
        closeness = 3;
    else if (str_eq_nocase(range, l->group))
        closeness = 2;
    else if (str_eq(range, "*/*"))
        closeness = 1;
    if (closeness == 0 || closeness < l->closeness)
        return;
    l->weight = closeness == l->closeness && l->weight > weight ? l->weight : weight;
    l->closeness = closeness;
}

static int range_weight(struct str *params)
{
    struct str param, name, value;
    while (next_item(params, ';', &param)) {
        cut_pair(param, &name, &value);
        if (str_eq_nocase(name, "q"))
            return weight_of(value);
    }
    return Q_ONE;
}

bool negotiate_accept(struct str accept, bool csv_on_offer, bool *ret_csv)
{
    struct liking json = {.type = "application/json", .group = "application/*", .weight = Q_NONE};
    struct liking problem = {.type = "application/problem+json", .group = "application/*", .weight = Q_NONE};
    struct liking csv = {.type = "text/csv", .group = "text/*", .weight = Q_NONE};
    struct str item, range;
    *ret_csv = false;
    if (accept.data == NULL || accept.len == 0)
        return true;
    while (next_item(&accept, ',', &item)) {
        if (item.len == 0 || !next_item(&item, ';', &range))
            continue;
        int weight = range_weight(&item);
        liking_consider(&json, range, weight);
        liking_consider(&problem, range, weight);
        liking_consider(&csv, range, weight);
    }
    /* Who only takes problems gets JSON: it is what problems are made of. */
    if (json.weight == Q_NONE)
        json.weight = problem.weight;
    *ret_csv = csv_on_offer && csv.weight > 0 && csv.weight > json.weight;
    return *ret_csv || json.weight > 0;
}

int negotiate_liking(struct str accept, const char *type, const char *group)
{
    struct liking l = {.type = type, .group = group, .weight = Q_NONE};
    struct str item, range;
    if (accept.data == NULL || accept.len == 0)
        return Q_ONE;
    while (next_item(&accept, ',', &item))
        if (item.len > 0 && next_item(&item, ';', &range))
            liking_consider(&l, range, range_weight(&item));
    return l.weight < 0 ? 0 : l.weight;
}

bool negotiate_is_json(struct str content_type)
{
    struct str type, param, name, value;
    if (!next_item(&content_type, ';', &type) || !str_eq_nocase(type, "application/json"))
        return false;
    while (next_item(&content_type, ';', &param)) {
        cut_pair(param, &name, &value);
        if (param.len != 0 && !(str_eq_nocase(name, "charset") && str_eq_nocase(value, "utf-8")))
            return false;
    }
    return true;
}

void negotiate_prefer(struct str prefer, bool *ret_async, int *ret_wait_s)
{
    struct str item, name, value;
    int64_t wait_s;
    bool waits = false;
    *ret_async = false;
    *ret_wait_s = HTTP_WAIT_MAX_S;
    while (next_item(&prefer, ',', &item)) {
        cut_pair(item, &name, &value);
        if (str_eq_nocase(name, "respond-async"))
            *ret_async = true;
        if (!str_eq_nocase(name, "wait") || waits || !str_to_i64(value, &wait_s) || wait_s < 0)
            continue; /* RFC 7240: of several the first counts; what can't be understood is ignored */
        *ret_wait_s = wait_s < HTTP_WAIT_MAX_S ? (int)wait_s : HTTP_WAIT_MAX_S;
        waits = true;
    }
}

const char *negotiate_idempotency_key(struct str value, struct arena *arena)
{
    bool quoted = value.len >= 2 && value.data[0] == '"' && value.data[value.len - 1] == '"';
    struct str inner = quoted ? (struct str){value.data + 1, value.len - 2} : value;
    if (inner.len > 2 * IDEMPOTENCY_KEY_MAX)
        return NULL;
    char *key = arena_alloc(arena, inner.len + 1);
    size_t len = 0;
    for (size_t i = 0; i < inner.len; i++) {
        if (quoted && inner.data[i] == '"')
            return NULL;
        if (quoted && inner.data[i] == '\\' && ++i == inner.len)
            return NULL;
        if (inner.data[i] <= ' ' || inner.data[i] > '~')
            return NULL;
        key[len++] = inner.data[i];
    }
    return len >= IDEMPOTENCY_KEY_MIN && len <= IDEMPOTENCY_KEY_MAX ? key : NULL;
}

bool negotiate_is_request_id(struct str id)
{
    if (id.len < REQUEST_ID_MIN || id.len > REQUEST_ID_MAX)
        return false;
    for (size_t i = 0; i < id.len; i++) {
        char c = id.data[i];
        bool fine = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' || c == '-';
        if (!fine)
            return false;
    }
    return true;
}
