/*
 * High dynamic range histogram (log-linear buckets, after HdrHistogram by Gil Tene): values 0 .. 2^40, each counted
 * within 1/128 of its size. 36 KB. One owner; merge to combine threads.
 */
#ifndef BASE_HISTOGRAM_H
#define BASE_HISTOGRAM_H

#include <stdint.h>

struct histogram;
struct histogram *histogram_new(void);
void histogram_free(struct histogram **h);
void histogram_reset(struct histogram *h);
void histogram_add(struct histogram *h, uint64_t value);
void histogram_merge(struct histogram *into, const struct histogram *from);
uint64_t histogram_count(const struct histogram *h);
uint64_t histogram_max(const struct histogram *h);
double histogram_mean(const struct histogram *h);
/* Highest value equivalent to the given quantile (0..1) of the recorded ones; 0 when empty. */
uint64_t histogram_quantile(const struct histogram *h, double quantile);

#endif
