/* The timeline tier as the daemons see it: placement under a lease, connections to its nodes, where a user's timeline
 * is. */
#ifndef BENCH_NODES_H
#define BENCH_NODES_H

#include "bench/bench.h"
#include "common/store/placement.h"
#include "common/store/redis.h"
#include "common/sys/loop.h"

struct nodes {
    struct loop *loop;           /* (own) */
    struct pg_pool *pool;        /* (own) */
    struct placement *placement; /* (own) */
    struct redis_set *redis;     /* (own) */
};
/* Waits until the placement may be used and filled; false: why was printed. */
bool nodes_init(struct nodes *n, struct bench *b);
void nodes_fini(struct nodes *n);
/* used_memory of all active nodes of the timeline tier, in bytes. Runs the loop. False: why was printed. */
bool nodes_used_memory(struct nodes *n, uint64_t *ret_bytes);

#endif
