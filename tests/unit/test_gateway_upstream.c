#include "gateway/upstream.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "unit.h"

static struct upstreams *upstreams;
static size_t place[UPSTREAMS_MAX];
static struct fault fault;

static enum err adopt(const char *const names[], const char *targets[][3], size_t count)
{
    struct upstreams_conf conf = {.count = count};
    for (size_t i = 0; i < count; i++) {
        conf.items[i].name = names[i];
        for (size_t t = 0; t < 3 && targets[i][t] != NULL; t++)
            assert_int_equal(upstream_conf_add(&conf.items[i], targets[i][t], &fault), ERR_OK);
    }
    return upstreams_adopt(upstreams, &conf, place, &fault);
}

static const char *found = "10.0.0.1"; /* what every name stands for; NULL: nothing */

static bool look_up(const char *host, const char *port, struct address *ret, size_t max, size_t *ret_count,
                    const char **ret_why)
{
    (void)host, (void)port;
    assert_true(max == UPSTREAM_INSTANCES_MAX);
    *ret_why = "nobody";
    if (found == NULL)
        return false;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(80)};
    assert_int_equal(inet_pton(AF_INET, found, &a.sin_addr), 1);
    memset(ret, 0, sizeof(*ret));
    memcpy(&ret->sock, &a, sizeof(a));
    ret->len = sizeof(a);
    *ret_count = 1;
    return true;
}

static int open_them(void **state)
{
    (void)state;
    found = "10.0.0.1";
    upstreams = upstreams_new(&(struct upstreams_settings){.in_flight_max = 4, .lookup = look_up});
    return 0;
}

static int free_them(void **state)
{
    (void)state;
    upstreams_free(upstreams);
    return 0;
}

static void what_is_no_host_and_port_is_refused(void **state)
{
    (void)state;
    static const char *const WRONG[] = {"", ":80", "a", "a:", "a:0", "a:65536", "a:b", "a b:80", "a/b:80"};
    for (size_t i = 0; i < LENGTH_OF(WRONG); i++) {
        struct upstream_conf u = {.target_count = 0};
        ROW_CHECK(upstream_conf_add(&u, WRONG[i], &fault) == ERR_CONF, WRONG[i]);
    }
    struct upstream_conf many = {.target_count = UPSTREAM_TARGETS_MAX};
    assert_int_equal(upstream_conf_add(&many, "a:1", &fault), ERR_CONF);
}

static void an_instance_that_stays_keeps_its_state_over_a_reload(void **state)
{
    (void)state;
    static const char *const NAMES[] = {"order", "asset"};
    struct instance *before[UPSTREAM_INSTANCES_MAX], *after[UPSTREAM_INSTANCES_MAX];
    uint32_t generation, later;
    assert_int_equal(adopt(NAMES, (const char *[][3]){{"10.0.0.1:80", "[::1]:80"}, {"10.0.0.9:80"}}, 2), ERR_OK);
    struct upstream *order = upstreams->items[place[0]];
    assert_int_equal(upstream_take(order, before, &generation), 2);
    assert_string_equal(before[1]->name, "[::1]:80");
    breaker_force(&before[1]->breaker, BREAKER_FORCED_OPEN, clock_mono_ns());

    assert_int_equal(adopt(NAMES, (const char *[][3]){{"10.0.0.2:80", "[::1]:80"}, {"10.0.0.9:80"}}, 2), ERR_OK);
    assert_ptr_equal(upstreams->items[place[0]], order);
    assert_int_equal(upstream_take(order, after, &later), 2);
    assert_int_not_equal(later, generation);
    assert_ptr_equal(after[1], before[1]);
    assert_int_equal(breaker_peek(&after[1]->breaker), BREAKER_FORCED_OPEN);
    assert_true(atomic_load(&after[0]->since) > 0);      /* the new one starts slowly */
    assert_string_equal(before[0]->name, "10.0.0.1:80"); /* gone, but we count on it still */
    for (size_t i = 0; i < 2; i++) {
        instance_put(before[i]);
        instance_put(after[i]);
    }
}

static void the_same_list_again_changes_nothing(void **state)
{
    (void)state;
    static const char *const NAMES[] = {"order"};
    assert_int_equal(adopt(NAMES, (const char *[][3]){{"10.0.0.1:80", "10.0.0.2:80"}}, 1), ERR_OK);
    uint32_t generation = atomic_load(&upstreams->items[0]->generation);
    assert_int_equal(adopt(NAMES, (const char *[][3]){{"10.0.0.2:80", "10.0.0.1:80"}}, 1), ERR_OK);
    assert_int_equal(atomic_load(&upstreams->items[0]->generation), generation);
    assert_int_equal(upstreams->items[0]->instance_count, 2);
}

static void an_upstream_that_is_gone_has_no_instance_and_keeps_its_place(void **state)
{
    (void)state;
    struct instance_view views[UPSTREAM_INSTANCES_MAX];
    assert_int_equal(adopt((const char *[]){"a", "b"}, (const char *[][3]){{"10.0.0.1:80"}, {"10.0.0.2:80"}}, 2),
                     ERR_OK);
    assert_int_equal(adopt((const char *[]){"b", "c"}, (const char *[][3]){{"10.0.0.2:80"}, {"10.0.0.3:80"}}, 2),
                     ERR_OK);
    assert_int_equal(place[0], 1);
    assert_int_equal(place[1], 2);
    assert_int_equal(upstream_look(upstreams->items[0], views), 0);
    assert_int_equal(adopt((const char *[]){"a"}, (const char *[][3]){{"10.0.0.7:80"}}, 1), ERR_OK);
    assert_int_equal(place[0], 0);
    assert_int_equal(upstream_look(upstreams->items[0], views), 1);
}

static void more_names_than_there_are_places_change_nothing(void **state)
{
    (void)state;
    const char *names[UPSTREAMS_MAX], *targets[UPSTREAMS_MAX][3] = {{NULL}};
    char text[UPSTREAMS_MAX][8];
    for (size_t i = 0; i < UPSTREAMS_MAX; i++) {
        snprintf(text[i], sizeof(text[i]), "s%zu", i);
        names[i] = text[i];
        targets[i][0] = "10.0.0.1:80";
    }
    assert_int_equal(adopt(names, targets, UPSTREAMS_MAX), ERR_OK);
    assert_int_equal(adopt((const char *[]){"one-more"}, (const char *[][3]){{"10.0.0.1:80"}}, 1), ERR_CONF);
    assert_int_equal(upstreams->items[3]->instance_count, 1);
}

static void a_name_has_its_addresses_until_it_has_others(void **state)
{
    (void)state;
    static const char *const NAMES[] = {"order"};
    const char *targets[][3] = {{"order-svc:80", "10.0.0.1:80"}};
    struct instance_view views[UPSTREAM_INSTANCES_MAX];
    struct upstream *order;
    assert_int_equal(adopt(NAMES, targets, 1), ERR_OK);
    order = upstreams->items[0];
    assert_int_equal(upstream_look(order, views), 1);
    upstreams_resolve(upstreams);
    assert_int_equal(upstream_look(order, views), 1); /* the same address twice is one instance */
    found = "10.0.0.2";
    upstreams_resolve(upstreams);
    assert_int_equal(upstream_look(order, views), 2);
    found = NULL;
    upstreams_resolve(upstreams);
    assert_int_equal(upstream_look(order, views), 2);
    assert_int_equal(adopt(NAMES, targets, 1), ERR_OK); /* a reload does not forget it either */
    assert_int_equal(upstream_look(order, views), 2);
}

#define STORY(name) cmocka_unit_test_setup_teardown(name, open_them, free_them)

int main(void)
{
    static const struct CMUnitTest TESTS[] = {
        STORY(what_is_no_host_and_port_is_refused),
        STORY(an_instance_that_stays_keeps_its_state_over_a_reload),
        STORY(the_same_list_again_changes_nothing),
        STORY(an_upstream_that_is_gone_has_no_instance_and_keeps_its_place),
        STORY(more_names_than_there_are_places_change_nothing),
        STORY(a_name_has_its_addresses_until_it_has_others),
    };
    return cmocka_run_group_tests(TESTS, NULL, NULL);
}
