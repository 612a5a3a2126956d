#include "base/id.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "unit.h"

static void texts_that_are_no_uuid_are_refused(void **state)
{
    (void)state;
    static const struct {
        struct str text;
        const char *why;
    } ROWS[] = {
        {STR_INIT(""), "empty"},
        {STR_INIT("0190163d-8694-739b-aea5-966c26f8ad9"), "a digit less"},
        {STR_INIT("0190163d-8694-739b-aea5-966c26f8ad911"), "a digit more"},
        {STR_INIT("0190163d8694739baea5966c26f8ad91"), "no hyphens"},
        {STR_INIT("0190163d8-694-739b-aea5-966c26f8ad91"), "a hyphen elsewhere"},
        {STR_INIT("0190163d-8694-739b-aea5_966c26f8ad91"), "an underscore"},
        {STR_INIT("0190163d-8694-739b-aea5-966c26f8ad9g"), "no hex digit"},
        {STR_INIT("0190163d-8694-739b-aea5-966c26f8ad9\0"), "NUL"},
        {STR_INIT("{190163d-8694-739b-aea5-966c26f8ad9}"), "braces"},
        {STR_INIT(" 190163d-8694-739b-aea5-966c26f8ad91"), "a space"},
        {STR_INIT("------------------------------------"), "hyphens"},
        {STR_INIT("0190163d-8694-739b-aea5-966c26f8-d91"), "a hyphen for a digit"},
    };
    struct uuid untouched = uuid_of_int(77);
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        struct uuid id = untouched;
        ROW_CHECK(!uuid_parse(ROWS[i].text, &id), ROWS[i].why);
        ROW_CHECK(uuid_eq(id, untouched), ROWS[i].why);
    }
}

static void a_uuid_is_read_in_either_case_and_written_in_lower(void **state)
{
    (void)state;
    struct uuid lower, upper;
    assert_true(uuid_parse(STR("0190163d-8694-739b-aea5-966c26f8ad91"), &lower));
    assert_true(uuid_parse(STR("0190163D-8694-739B-AEA5-966C26F8AD91"), &upper));
    assert_true(uuid_eq(lower, upper));
    assert_int_equal(lower.bytes[0], 0x01);
    assert_int_equal(lower.bytes[15], 0x91);
    char text[UUID_TEXT_MAX];
    uuid_format(upper, text);
    assert_string_equal(text, "0190163d-8694-739b-aea5-966c26f8ad91");
}

static void the_nil_uuid_is_known(void **state)
{
    (void)state;
    struct uuid id;
    assert_true(uuid_parse(STR("00000000-0000-0000-0000-000000000000"), &id));
    assert_true(uuid_is_nil(id));
    assert_false(uuid_is_nil(uuid_of_int(1)));
    assert_true(uuid_is_nil(uuid_of_int(0)));
}

static void an_integer_stands_in_the_last_eight_bytes(void **state)
{
    (void)state;
    char text[UUID_TEXT_MAX];
    uuid_format(uuid_of_int(0x0102030405060708), text);
    assert_string_equal(text, "00000000-0000-0000-0102-030405060708");
    uuid_format(uuid_of_int(-1), text);
    assert_string_equal(text, "00000000-0000-0000-ffff-ffffffffffff");
    assert_true(uuid_cmp(uuid_of_int(1), uuid_of_int(2)) < 0);
    assert_true(uuid_cmp(uuid_of_int(256), uuid_of_int(255)) > 0);
}

static void version_7_carries_its_time_version_and_variant(void **state)
{
    (void)state;
    uint64_t before = (uint64_t)clock_now_us() / 1000;
    struct uuid id = uuid_v7();
    uint64_t ms = 0;
    for (int i = 0; i < 6; i++)
        ms = ms << 8 | id.bytes[i];
    assert_in_range(ms, before, before + 10000);
    assert_int_equal(id.bytes[6] >> 4, 7);
    assert_int_equal(id.bytes[8] >> 6, 2);
}

static void version_4_carries_its_version_and_variant(void **state)
{
    (void)state;
    for (int i = 0; i < 1000; i++) {
        struct uuid id = uuid_random();
        assert_int_equal(id.bytes[6] >> 4, 4);
        assert_int_equal(id.bytes[8] >> 6, 2);
    }
}

static void ids_of_a_thread_strictly_increase(void **state)
{
    (void)state;
    struct uuid last = uuid_v7();
    char last_text[UUID_TEXT_MAX];
    uuid_format(last, last_text);
    for (int i = 0; i < 200000; i++) {
        struct uuid next = uuid_v7();
        char text[UUID_TEXT_MAX];
        uuid_format(next, text);
        if (uuid_cmp(last, next) >= 0 || strcmp(last_text, text) >= 0)
            fail_msg("%s is not after %s", text, last_text);
        last = next;
        memcpy(last_text, text, sizeof(text));
    }
}

enum { THREADS = 4, IDS_PER_THREAD = 20000 };

static void *make_ids(void *arg)
{
    struct uuid *ids = arg;
    for (int i = 0; i < IDS_PER_THREAD; i++)
        ids[i] = uuid_v7();
    return NULL;
}

static int compare_ids(const void *a, const void *b)
{
    struct uuid x, y;
    memcpy(&x, a, sizeof(x));
    memcpy(&y, b, sizeof(y));
    return uuid_cmp(x, y);
}

static void threads_never_make_the_same_id(void **state)
{
    (void)state;
    static struct uuid ids[THREADS * IDS_PER_THREAD];
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, make_ids, ids + (ptrdiff_t)i * IDS_PER_THREAD), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);

    qsort(ids, LENGTH_OF(ids), sizeof(ids[0]), compare_ids);
    for (size_t i = 1; i < LENGTH_OF(ids); i++)
        assert_false(uuid_eq(ids[i - 1], ids[i]));
}

static void random_bytes_fill_the_whole_room_and_no_more(void **state)
{
    (void)state;
    enum { ROOM = 1000 };
    unsigned char bytes[ROOM + 1], seen[ROOM] = {0};
    bytes[ROOM] = 0x5a;
    for (int i = 0; i < 8; i++) { /* a byte stays 0 eight times once in 2^64 */
        id_random_bytes(bytes, ROOM);
        for (int at = 0; at < ROOM; at++)
            seen[at] |= bytes[at];
    }
    for (int at = 0; at < ROOM; at++)
        assert_int_not_equal(seen[at], 0);
    assert_int_equal(bytes[ROOM], 0x5a);
    id_random_bytes(bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_that_are_no_uuid_are_refused),
        cmocka_unit_test(a_uuid_is_read_in_either_case_and_written_in_lower),
        cmocka_unit_test(the_nil_uuid_is_known),
        cmocka_unit_test(an_integer_stands_in_the_last_eight_bytes),
        cmocka_unit_test(version_7_carries_its_time_version_and_variant),
        cmocka_unit_test(version_4_carries_its_version_and_variant),
        cmocka_unit_test(ids_of_a_thread_strictly_increase),
        cmocka_unit_test(threads_never_make_the_same_id),
        cmocka_unit_test(random_bytes_fill_the_whole_room_and_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
