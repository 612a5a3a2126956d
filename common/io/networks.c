#include "io/networks.h"

#include <arpa/inet.h>
#include <string.h>

enum { IPV4_AT = 12, IPV4_BITS_BEFORE = 96, BITS = 128 };
static const unsigned char MAPPED[IPV4_AT] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static bool is_ipv4(const struct ip_address *a)
{
    return memcmp(a->bytes, MAPPED, sizeof MAPPED) == 0;
}

bool ip_address_parse(struct str text, struct ip_address *ret)
{
    char copy[ADDRESS_TEXT_MAX];
    struct ip_address a;
    if (text.len == 0 || !str_copy(copy, sizeof copy, text) || strlen(copy) != text.len)
        return false;
    memcpy(a.bytes, MAPPED, sizeof MAPPED);
    if (inet_pton(AF_INET, copy, a.bytes + IPV4_AT) != 1 && inet_pton(AF_INET6, copy, a.bytes) != 1)
        return false;
    *ret = a;
    return true;
}

void ip_address_format(const struct ip_address *a, char ret_text[ADDRESS_TEXT_MAX])
{
    ret_text[0] = '\0';
    if (is_ipv4(a))
        (void)inet_ntop(AF_INET, a->bytes + IPV4_AT, ret_text, ADDRESS_TEXT_MAX);
    else
        (void)inet_ntop(AF_INET6, a->bytes, ret_text, ADDRESS_TEXT_MAX);
}

/* ---- networks ---- */

/* The first `bits` of both are the same. */
static bool begin_alike(const struct ip_address *a, const struct ip_address *b, int bits)
{
    size_t whole = (size_t)bits / 8;
    unsigned char mask = (unsigned char)(0xff00 >> (bits % 8));
    return memcmp(a->bytes, b->bytes, whole) == 0 &&
           (bits % 8 == 0 || ((a->bytes[whole] ^ b->bytes[whole]) & mask) == 0);
}

static bool has_bits_beyond(const struct network *n)
{
    for (int bit = n->bits; bit < BITS; bit++)
        if (n->address.bytes[bit / 8] & (0x80 >> (bit % 8)))
            return true;
    return false;
}

static bool network_parse(struct str text, struct network *ret)
{
    const char *slash = memchr(text.data, '/', text.len);
    struct str address = {text.data, slash != NULL ? (size_t)(slash - text.data) : text.len};
    if (!ip_address_parse(address, &ret->address))
        return false;
    ret->bits = BITS;
    if (slash == NULL)
        return true;

    int64_t bits;
    bool four = memchr(address.data, ':', address.len) == NULL;
    if (!str_to_i64((struct str){slash + 1, text.len - address.len - 1}, &bits) || bits < 0 ||
        bits > (four ? 32 : BITS))
        return false;
    ret->bits = (int)bits + (four ? IPV4_BITS_BEFORE : 0);
    return !has_bits_beyond(ret);
}

enum err networks_parse(const char *text, struct networks *ret, struct fault *fault)
{
    ret->count = 0;
    for (const char *at = text; *at != '\0';) {
        size_t len = strcspn(at, ",");
        struct str item = str_trim((struct str){at, len});
        if (ret->count == NETWORKS_MAX)
            return fault_set(fault, ERR_CONF, "must be at most %d addresses or networks", NETWORKS_MAX);
        if (!network_parse(item, &ret->items[ret->count]))
            return fault_set(fault, ERR_CONF,
                             "must be addresses or networks (\"10.0.0.0/8, ::1\"), comma separated, not \"%.*s\"",
                             (int)(item.len < 64 ? item.len : 64), item.data);
        ret->count++;
        at += len + (at[len] == ',');
    }
    return ERR_OK;
}

bool networks_hold(const struct networks *n, const struct ip_address *a)
{
    for (size_t i = 0; i < n->count; i++)
        if (begin_alike(&n->items[i].address, a, n->items[i].bits))
            return true;
    return false;
}

/* ---- the client ---- */

/* What stands behind the last comma, and the list before it. */
static struct str take_last(struct str *list)
{
    size_t from = list->len;
    while (from > 0 && list->data[from - 1] != ',')
        from--;
    struct str last = str_trim((struct str){list->data + from, list->len - from});
    list->len = from > 0 ? from - 1 : 0;
    return last;
}

void networks_client(const struct networks *trusted, const char *peer, struct str forwarded,
                     char ret_client[ADDRESS_TEXT_MAX])
{
    struct ip_address client, before;
    (void)!str_copy(ret_client, ADDRESS_TEXT_MAX, str_of(peer));
    if (trusted->count == 0 || forwarded.len == 0 || !ip_address_parse(str_of(peer), &client))
        return;
    while (networks_hold(trusted, &client) && forwarded.len > 0) {
        if (!ip_address_parse(take_last(&forwarded), &before))
            break;
        client = before;
    }
    ip_address_format(&client, ret_client);
}
