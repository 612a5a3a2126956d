#include "io/networks.h"

#include <string.h>

#include "unit.h"

static struct networks networks_of(const char *text)
{
    struct networks n;
    struct fault fault = {.err = ERR_OK};
    if (networks_parse(text, &n, &fault) != ERR_OK)
        fail_msg("%s: %s", text, fault.why);
    return n;
}

static void what_is_no_network_is_refused_and_shown(void **state)
{
    (void)state;
    static const struct {
        const char *text, *shown, *why;
    } ROWS[] = {
        {"localhost", "\"localhost\"", "a name"},
        {"10.0.0.0/33", "\"10.0.0.0/33\"", "longer than an address"},
        {"10.0.0.0/-1", "\"10.0.0.0/-1\"", "negative"},
        {"10.0.0.0/", "\"10.0.0.0/\"", "no length"},
        {"10.0.0.1/8", "\"10.0.0.1/8\"", "bits beyond its length: a slip"},
        {"2001:db8::/129", "\"2001:db8::/129\"", "longer than an address"},
        {"10.0.0.0/8,,::1", "\"\"", "an empty item"},
        {",", "\"\"", "nothing but a comma"},
        {"10.1", "\"10.1\"", "an address of two parts"},
        {"127.0.0.1:80", "\"127.0.0.1:80\"", "a port"},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        struct networks n;
        struct fault fault = {.err = ERR_OK};
        ROW_CHECK(networks_parse(ROWS[i].text, &n, &fault) == ERR_CONF, ROWS[i].why);
        ROW_CHECK(strstr(fault.why, ROWS[i].shown) != NULL, ROWS[i].why);
    }
    char many[NETWORKS_MAX * 8 + 16] = "::1";
    for (int i = 0; i < NETWORKS_MAX; i++)
        strcat(many, ",::1");
    struct networks n;
    assert_int_equal(networks_parse(many, &n, NULL), ERR_CONF);
}

static void an_address_is_of_the_networks_that_hold_it(void **state)
{
    (void)state;
    static const struct {
        const char *networks, *address;
        bool held;
        const char *why;
    } ROWS[] = {
        {"127.0.0.0/8,::1", "127.0.0.1", true, "the usual"},
        {"127.0.0.0/8,::1", "127.255.255.254", true, "all of it"},
        {"127.0.0.0/8,::1", "128.0.0.1", false, "the next"},
        {"127.0.0.0/8,::1", "::1", true, "the other loopback"},
        {"127.0.0.0/8,::1", "::2", false, "not the other one"},
        {" 10.0.0.0/8 , 192.168.4.0/22 ", "192.168.7.255", true, "a length within a byte, blanks around"},
        {"192.168.4.0/22", "192.168.8.0", false, "just beyond"},
        {"10.0.0.7", "10.0.0.7", true, "one address"},
        {"10.0.0.7", "10.0.0.8", false, "one address only"},
        {"10.0.0.0/8", "::ffff:10.1.2.3", true, "IPv4 as IPv6 writes it is the same address"},
        {"::ffff:10.0.0.0/104", "10.1.2.3", true, "and the other way"},
        {"2001:db8::/33", "2001:db8:7fff::1", true, "IPv6"},
        {"2001:db8::/33", "2001:db8:8000::1", false, "IPv6 beyond"},
        {"0.0.0.0/0", "203.0.113.9", true, "all of IPv4"},
        {"0.0.0.0/0", "2001:db8::1", false, "and none of IPv6"},
        {"::/0", "203.0.113.9", true, "everybody"},
        {"", "127.0.0.1", false, "nobody"},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        struct networks n = networks_of(ROWS[i].networks);
        struct ip_address a;
        ROW_CHECK(ip_address_parse(str_of(ROWS[i].address), &a), ROWS[i].why);
        ROW_CHECK(networks_hold(&n, &a) == ROWS[i].held, ROWS[i].why);
    }
}

static void a_client_is_named_by_trusted_peers_only(void **state)
{
    (void)state;
    static const struct {
        const char *peer, *forwarded, *client, *why;
    } ROWS[] = {
        {"127.0.0.1", "203.0.113.9", "203.0.113.9", "the gateway says for whom"},
        {"203.0.113.9", "198.51.100.1", "203.0.113.9", "a stranger says he is another"},
        {"127.0.0.1", "", "127.0.0.1", "nothing is said"},
        {"127.0.0.1", "198.51.100.1, 203.0.113.9", "203.0.113.9", "what a stranger wrote before him doesn't count"},
        {"127.0.0.1", "203.0.113.9, 10.0.0.7", "203.0.113.9", "a trusted hop in between"},
        {"127.0.0.1", "10.0.0.8, 10.0.0.7", "10.0.0.8", "trusted ones only: the first of them"},
        {"127.0.0.1", "203.0.113.9, unknown", "127.0.0.1", "no address: nobody behind it is believed"},
        {"127.0.0.1", "203.0.113.9, unknown, 10.0.0.7", "10.0.0.7", "no address behind a trusted one"},
        {"127.0.0.1", "203.0.113.9:4711", "127.0.0.1", "a port is not ours to guess"},
        {"127.0.0.1", ",,,", "127.0.0.1", "commas"},
        {"127.0.0.1", "2001:DB8:0:0::7", "2001:db8::7", "one spelling of an address"},
        {"127.0.0.1", "::ffff:203.0.113.9", "203.0.113.9", "one spelling of IPv4, too"},
        {"", "203.0.113.9", "", "a peer without an address"},
    };
    struct networks trusted = networks_of("127.0.0.0/8,10.0.0.0/8");
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        char client[ADDRESS_TEXT_MAX];
        networks_client(&trusted, ROWS[i].peer, str_of(ROWS[i].forwarded), client);
        if (strcmp(client, ROWS[i].client) != 0)
            fail_msg("%s: it is %s", ROWS[i].why, client);
    }
    char client[ADDRESS_TEXT_MAX];
    networks_client(&(struct networks){0}, "127.0.0.1", STR("203.0.113.9"), client);
    assert_string_equal(client, "127.0.0.1"); /* nobody is trusted */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_no_network_is_refused_and_shown),
        cmocka_unit_test(an_address_is_of_the_networks_that_hold_it),
        cmocka_unit_test(a_client_is_named_by_trusted_peers_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
