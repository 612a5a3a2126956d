#include "base/hash.h"

#include <string.h>

#include "unit.h"

/* From Apache Kafka's own UtilsTest.testMurmur2: all other clients must agree with the Java one. */
static const struct {
    const char *key;
    int32_t hash;
} KAFKA_VECTORS[] = {
    {"21", -973932308},
    {"foobar", -790332482},
    {"a-little-bit-long-string", -985981536},
    {"a-little-bit-longer-string", -1486304829},
    {"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971},
    {"abc", 479470107},
};

static void murmur2_is_what_the_java_client_computes(void **state)
{
    (void)state;
    for (size_t i = 0; i < LENGTH_OF(KAFKA_VECTORS); i++)
        assert_int_equal((int32_t)hash_murmur2(KAFKA_VECTORS[i].key, strlen(KAFKA_VECTORS[i].key)),
                         KAFKA_VECTORS[i].hash);
}

static void a_key_may_start_at_any_address(void **state)
{
    (void)state;
    char bytes[64];
    for (size_t shift = 0; shift < 8; shift++) {
        memcpy(bytes + shift, "foobar", 6);
        assert_int_equal((int32_t)hash_murmur2(bytes + shift, 6), -790332482);
    }
}

static void the_empty_key_has_a_hash(void **state)
{
    (void)state;
    assert_int_equal(hash_murmur2("", 0), hash_murmur2("x", 0));
    assert_in_range(hash_partition("", 0, 6), 0, 5);
}

static void a_negative_hash_still_picks_a_partition_as_java_does(void **state)
{
    (void)state;
    /* toPositive: the sign bit is cut off, the number is not negated. */
    assert_int_equal(hash_partition("21", 2, 6), (-973932308 & 0x7fffffff) % 6);
    assert_int_equal(hash_partition("abc", 3, 6), 479470107 % 6);
    assert_int_equal(hash_partition("abc", 3, 1), 0);
}

static void customers_spread_over_the_partitions(void **state)
{
    (void)state;
    int counts[6] = {0};
    for (int customer = 1; customer <= 6000; customer++) {
        char key[16];
        int len = 0;
        for (int rest = customer; rest > 0; rest /= 10)
            key[len++] = (char)('0' + rest % 10);
        counts[hash_partition(key, (size_t)len, 6)]++;
    }
    for (int i = 0; i < 6; i++)
        assert_in_range(counts[i], 800, 1200);
}

/* From the FNV reference's test suite. */
static void fnv1a_is_the_reference(void **state)
{
    (void)state;
    assert_true(hash_fnv1a("", 0) == UINT64_C(0xcbf29ce484222325));
    assert_true(hash_fnv1a("a", 1) == UINT64_C(0xaf63dc4c8601ec8c));
    assert_true(hash_fnv1a("foobar", 6) == UINT64_C(0x85944171f73967e8));
}

/* The reference implementation's first vectors: key 00 01 … 0f, data 00 01 … */
static void siphash_is_the_reference(void **state)
{
    (void)state;
    static const uint64_t EXPECTED[] = {
        UINT64_C(0x726fdb47dd0e0e31), UINT64_C(0x74f839c593dc67fd), UINT64_C(0x0d6c8009d9a94f5a),
        UINT64_C(0x85676696d7fb7e2d), UINT64_C(0xcf2794e0277187b7), UINT64_C(0x18765564cd99a68d),
        UINT64_C(0xcbc9466e58fee3ce), UINT64_C(0xab0200f58b01d137), UINT64_C(0x93f5f5799a932462),
    };
    unsigned char key[HASH_KEY_SIZE], data[16];
    for (unsigned char i = 0; i < 16; i++)
        key[i] = data[i] = i;
    for (size_t len = 0; len < LENGTH_OF(EXPECTED); len++)
        assert_true(hash_siphash(key, data, len) == EXPECTED[len]);
    assert_true(hash_siphash(key, data, 15) == UINT64_C(0xa129ca6149be45e5)); /* the paper's */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(siphash_is_the_reference),
        cmocka_unit_test(murmur2_is_what_the_java_client_computes),
        cmocka_unit_test(a_key_may_start_at_any_address),
        cmocka_unit_test(the_empty_key_has_a_hash),
        cmocka_unit_test(a_negative_hash_still_picks_a_partition_as_java_does),
        cmocka_unit_test(customers_spread_over_the_partitions),
        cmocka_unit_test(fnv1a_is_the_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
