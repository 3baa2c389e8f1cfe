/*
 * Hashing by XXH3 (inlined: 8-byte keys are hashed for every delivery) and random numbers.
 *
 * Placement, hence every cache key, depends on hash_u64 and hash_bytes: XXH3's output is stable since xxHash 0.8.0 and
 * the unit test pins known values. random_u64 is for nonces and jitter, not for key material; its buffer is per thread
 * and is copied by fork(), so only a process that does not go on in both copies may use it.
 */
#include "common/base/hash.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t hash_bytes(const void *bytes, size_t len) {
    return XXH3_64bits(bytes, len);
}

uint64_t hash_u64(uint64_t v) {
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    return XXH3_64bits(&v, sizeof(v));
}

static void fill_random(void *to, size_t len) {
    unsigned char *at = to;
    while (len) {
        ssize_t n = getrandom(at, len, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) abort(); /* no entropy source: nonces would repeat */
        at += n;
        len -= (size_t)n;
    }
}

uint64_t random_u64(void) {
    static _Thread_local uint64_t ready[32];
    static _Thread_local size_t left;
    for (;;) {
        if (left == 0) {
            fill_random(ready, sizeof(ready));
            left = sizeof(ready) / sizeof(ready[0]);
        }
        uint64_t v = ready[--left];
        if (v) return v;
    }
}

uint64_t rng_next(struct rng *r) {
    uint64_t z = r->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

double rng_double(struct rng *r) {
    return (double)(rng_next(r) >> 11) * 0x1p-53;
}

/* Multiply-shift with rejection (Lemire 2019): unbiased. */
uint64_t rng_below(struct rng *r, uint64_t bound) {
    if (bound == 0) abort();
    unsigned __int128 product = (unsigned __int128)rng_next(r) * bound;
    if ((uint64_t)product < bound) {
        uint64_t least = (0 - bound) % bound;
        while ((uint64_t)product < least) product = (unsigned __int128)rng_next(r) * bound;
    }
    return (uint64_t)(product >> 64);
}
