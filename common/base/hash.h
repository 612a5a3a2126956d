/* hash.h — the two hashes that others depend on: Kafka's partitioner, and a fingerprint for idempotency.
 *
 * Owns    nothing.  Threads: any.
 */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* Kafka's murmur2 (seed 0x9747b28c), as its Java client's default partitioner uses. */
uint32_t hash_murmur2(const void *data, size_t len);
/* toPositive(murmur2(key)) % partitions: the partition the Java client picks for that key. */
int hash_partition(const void *key, size_t len, int partitions);
/* FNV-1a 64: for hash tables of our own data, not for secrets or hostile keys. */
uint64_t hash_fnv1a(const void *data, size_t len);

#endif
