/*
 * Invalidation: the second half of every write that hides or changes something cached.
 *
 *   transaction: change + row in invalidations (its targets)  ->  commit
 *   invalidate_apply: delete targets on their nodes
 *       all confirmed            -> the row is deleted later, in batches; ERR_OK: the call may answer
 *       a node did not confirm   -> eject it (placement_set_state, waits out the lease), again under the new table
 *       still not, or deadline   -> ERR_BUSY: the call answers 503, the row stays, the sweeper applies it
 *
 * The sweeper (invalidate_sweep, in fanoutd) applies rows older than its margin: what a crash left. One per loop.
 */
#ifndef STORE_INVALIDATE_H
#define STORE_INVALIDATE_H

#include "common/base/err.h"
#include "common/store/cache.h"
#include "common/store/pg.h"

struct invalidator;
struct invalidator *invalidator_new(struct loop *loop, struct cache *cache, struct placement *placement,
                                    struct pg_pool *pool, struct metrics *metrics, uint64_t deadline_ms);
void invalidator_free(struct invalidator **i);
typedef void invalidated_fn(void *ctx, enum err err);
/*
 * row 0: nothing to apply (done is called with ERR_OK on the next turn). targets: as returned by the write functions,
 * pairs (tier, id) flattened.
 */
void invalidate_apply(struct invalidator *i, uint64_t row, const uint64_t *targets, size_t count, invalidated_fn *done,
                      void *ctx);
/* Applies rows older than margin_ms, at most `limit`; *done gets ERR_OK when none is left that it could see. */
void invalidate_sweep(struct invalidator *i, uint64_t margin_ms, unsigned limit, invalidated_fn *done, void *ctx);

#endif
