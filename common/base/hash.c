#include "base/hash.h"

#include <assert.h>

/* org.apache.kafka.common.utils.Utils.murmur2: little-endian words, whatever the machine. */
uint32_t hash_murmur2(const void *data, size_t len)
{
    const uint32_t seed = 0x9747b28c, m = 0x5bd1e995;
    const unsigned char *p = data;
    uint32_t h = seed ^ (uint32_t)len;

    for (; len >= 4; len -= 4, p += 4) {
        uint32_t k = (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
        k *= m;
        k ^= k >> 24;
        k *= m;
        h *= m;
        h ^= k;
    }
    if (len > 0) {
        for (size_t i = 0; i < len; i++)
            h ^= (uint32_t)p[i] << (8 * i);
        h *= m;
    }
    h ^= h >> 13;
    h *= m;
    h ^= h >> 15;
    return h;
}

int hash_partition(const void *key, size_t len, int partitions)
{
    assert(partitions > 0);
    return (int)((hash_murmur2(key, len) & 0x7fffffff) % (uint32_t)partitions);
}

uint64_t hash_fnv1a(const void *data, size_t len)
{
    const unsigned char *p = data;
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < len; i++) {
        h ^= p[i];
        h *= UINT64_C(0x100000001b3);
    }
    return h;
}
