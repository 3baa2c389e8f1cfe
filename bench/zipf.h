/* Zipf's law over n ranks: rank k (from 0) is drawn with a probability proportional to 1 / (k + 1)^s. Pure. */
#ifndef BENCH_ZIPF_H
#define BENCH_ZIPF_H

#include <stddef.h>

#include "common/base/hash.h"

struct zipf {
    double *cumulative; /* (own) */
    size_t n;
};
void zipf_init(struct zipf *z, size_t n, double s); /* n > 0; s 0: all alike */
void zipf_fini(struct zipf *z);
size_t zipf_draw(const struct zipf *z, struct rng *r);
/* order[0..n): 0..n-1 shuffled, so that rank does not go with age. */
void shuffle_order(size_t *order, size_t n, struct rng *r);

#endif
