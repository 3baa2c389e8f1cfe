/* A table of the cumulative distribution and a binary search: exact for any s, 8 bytes a rank. */
#include "bench/zipf.h"

#include <math.h>

#include "common/base/mem.h"

void zipf_init(struct zipf *z, size_t n, double s) {
    z->n = n;
    z->cumulative = NEW_ARRAY(double, n);
    double sum = 0;
    for (size_t k = 0; k < n; k++) {
        sum += pow((double)(k + 1), -s);
        z->cumulative[k] = sum;
    }
    for (size_t k = 0; k < n; k++) z->cumulative[k] /= sum;
}

void zipf_fini(struct zipf *z) {
    mem_free(z->cumulative);
    *z = (struct zipf){0};
}

size_t zipf_draw(const struct zipf *z, struct rng *r) {
    double u = rng_double(r);
    size_t lo = 0, hi = z->n - 1;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (z->cumulative[mid] > u)
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo;
}

void shuffle_order(size_t *order, size_t n, struct rng *r) {
    for (size_t i = 0; i < n; i++) order[i] = i;
    for (size_t i = n; i > 1; i--) {
        size_t j = (size_t)rng_below(r, i);
        size_t swap = order[i - 1];
        order[i - 1] = order[j];
        order[j] = swap;
    }
}
