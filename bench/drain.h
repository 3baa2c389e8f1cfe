/* Waiting until all posts are fanned out, and fanoutd's counters. Blocking, one thread. */
#ifndef BENCH_DRAIN_H
#define BENCH_DRAIN_H

#include "bench/bench.h"

#define FANOUTD_MAX 8
struct fanoutds { /* admin addresses, "http://127.0.0.1:9100" */
    const char *urls[FANOUTD_MAX];
    unsigned count;
};
arg_each_fn fanoutd_argument; /* of --fanoutd, into a struct fanoutds */

/* Sum of the samples of a family in a Prometheus page whose labels contain `label` (NULL: all). Pure. */
double samples_sum(struct str page, const char *family, const char *label);
/* The same over all fanoutds; -1 when one does not answer. */
double fanoutds_sum(const struct fanoutds *f, const char *family, const char *label);
/* Until outbox and queue are empty (the outbox by SQL, the backlog as fanoutd says); *ret_left rows when time ran out.
 * False: why was printed. */
bool drain_wait(struct bench *b, const struct fanoutds *f, uint64_t timeout_ms, uint64_t *ret_left);

#endif
