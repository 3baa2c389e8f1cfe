/* Hashing (xxHash XXH3, the only user of xxhash.h) and random numbers. Any thread. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t hash_bytes(const void *bytes, size_t len); /* XXH3_64bits; stable for ever: placement depends on it */
uint64_t hash_u64(uint64_t v);                      /* XXH3_64bits of the 8 little-endian bytes; stable for ever */

uint64_t random_u64(void); /* getrandom(2), buffered per thread: for nonces and jitter; never 0 */

/* Seedable generator for tests and load (splitmix64): the same seed gives the same sequence on every machine. */
struct rng {
    uint64_t state;
};
uint64_t rng_next(struct rng *r);
double rng_double(struct rng *r);                  /* [0, 1) */
uint64_t rng_below(struct rng *r, uint64_t bound); /* [0, bound), bound > 0 */

#endif
