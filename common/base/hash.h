/* hash.h — Kafka's partitioner, a fingerprint for idempotency, and a keyed hash for tables whose keys come from outside.
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
/* SipHash-2-4 (Aumasson, Bernstein): who doesn't know the key can't choose data that meet in one place of a table. */
enum { HASH_KEY_SIZE = 16 };
uint64_t hash_siphash(const unsigned char key[HASH_KEY_SIZE], const void *data, size_t len);

#endif
