/*
 * The synthetic graph, as a function of its parameters: who there is, who follows whom, when the posts were written.
 * Pure.
 *
 *   bench_r<i>  readers; they follow, nobody follows them
 *   bench_a<i>  authors with exactly `followers` followers each, drawn at random: the readers are shuffled again and
 * again and dealt out, so that every reader follows the same number of them bench_v<i>  authors of varied following,
 * from 50 to 1,000 (fewer when there are fewer readers), without earlier posts
 */
#ifndef BENCH_SYNTHETIC_H
#define BENCH_SYNTHETIC_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/hash.h"

struct synthetic_size {
    uint64_t readers, authors, followers, varied, posts;
    uint64_t seed;
};
struct follow {
    uint64_t follower, followee; /* user ids */
};
struct synthetic {
    struct synthetic_size size;
    uint64_t *readers, *authors, *varied; /* (own) user ids */
    struct follow *follows;               /* (own) */
    size_t follow_count;
};
/* authors * followers must be a multiple of readers for the deal to come out even; followers at most readers. */
void synthetic_init(struct synthetic *g, const struct synthetic_size *size);
void synthetic_fini(struct synthetic *g);
/* Id of post k (0: oldest) of an author: evenly spread over span_ms before end_ms, with jitter. */
uint64_t synthetic_post_id(const struct synthetic *g, uint64_t author, uint64_t k, uint64_t end_ms, uint64_t span_ms);
/* By shard of the first, then first, then second: the order of the tables' keys. */
int follow_by_key(const void *a, const void *b);

#endif
