/*
 * Log-linear histogram. Values below 256 have a bucket each; from there every power of two is cut into 128 buckets, so
 * a bucket is never wider than 1/128 of its values:
 *
 *     0 .. 255 | 256, 258, ... 510 | 512, 516, ... 1020 | ... up to the octave of 2^40
 *
 * Values above 2^40 are counted as 2^40. Sums are kept in 128 bits: exact for any count.
 */
#include "common/base/histogram.h"

#include <stddef.h>
#include <string.h>

#include "common/base/mem.h"

#define LINEAR      256
#define PER_OCTAVE  128
#define TOP_BIT     40
#define BUCKETS     (LINEAR + (TOP_BIT - 7) * PER_OCTAVE)
#define VALUE_LIMIT (UINT64_C(1) << TOP_BIT)

struct histogram {
    uint64_t count;
    uint64_t max;
    unsigned __int128 sum;
    uint64_t buckets[BUCKETS];
};

static size_t bucket_of(uint64_t value) {
    if (value < LINEAR) return (size_t)value;
    unsigned top = 63 - (unsigned)__builtin_clzll(value); /* 8 .. 40 */
    return LINEAR + (size_t)(top - 8) * PER_OCTAVE + (size_t)((value >> (top - 7)) - PER_OCTAVE);
}

static uint64_t highest_of(size_t bucket) {
    if (bucket < LINEAR) return bucket;
    size_t octave = (bucket - LINEAR) / PER_OCTAVE, step = (bucket - LINEAR) % PER_OCTAVE;
    return ((uint64_t)(PER_OCTAVE + step + 1) << (octave + 1)) - 1;
}

struct histogram *histogram_new(void) {
    return NEW(struct histogram);
}

void histogram_free(struct histogram **h) {
    mem_free(*h);
    *h = NULL;
}

void histogram_reset(struct histogram *h) {
    memset(h, 0, sizeof(*h));
}

void histogram_add(struct histogram *h, uint64_t value) {
    uint64_t v = value < VALUE_LIMIT ? value : VALUE_LIMIT;
    h->buckets[bucket_of(v)]++;
    h->count++;
    h->sum += v;
    if (v > h->max) h->max = v;
}

void histogram_merge(struct histogram *into, const struct histogram *from) {
    for (size_t i = 0; i < BUCKETS; i++) into->buckets[i] += from->buckets[i];
    into->count += from->count;
    into->sum += from->sum;
    if (from->max > into->max) into->max = from->max;
}

uint64_t histogram_count(const struct histogram *h) {
    return h->count;
}

uint64_t histogram_max(const struct histogram *h) {
    return h->max;
}

double histogram_mean(const struct histogram *h) {
    return h->count ? (double)h->sum / (double)h->count : 0;
}

uint64_t histogram_quantile(const struct histogram *h, double quantile) {
    if (h->count == 0) return 0;
    double q = quantile > 0 ? (quantile < 1 ? quantile : 1) : 0; /* NaN reads as 0 */
    double exact = q * (double)h->count;
    uint64_t rank = (uint64_t)exact;
    if ((double)rank < exact) rank++;
    if (rank < 1) rank = 1;
    if (rank >= h->count) return h->max; /* also where the double cannot tell */
    uint64_t seen = 0;
    for (size_t i = 0; i < BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen >= rank) return highest_of(i) < h->max ? highest_of(i) : h->max;
    }
    return h->max;
}
