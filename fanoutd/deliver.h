/*
 * Delivery: brings one node's part of a round to its timelines, and does not give up until each of them is known to
 * hold it or known to be gone. One struct outlets a worker, on its loop.
 */
#ifndef FANOUTD_DELIVER_H
#define FANOUTD_DELIVER_H

#include "common/domain/plan.h"
#include "fanoutd/worker.h"

struct outlets *outlets_new(struct worker *w);
void outlets_free(struct outlets **o); /* open deliveries are forgotten: done is not called */

/* stale: the placement is not the planned one any more; nothing is owed to the old table, the slice has to be done
 * again under the new one. */
typedef void delivered_fn(void *ctx, bool stale);
/*
 * targets live until done, which is called exactly once, possibly before the call returned. version: of the placement
 * they were planned with.
 */
void deliver(struct outlets *o, const struct node *node, const struct plan_target *targets, size_t count,
             uint64_t version, delivered_fn *done, void *ctx);

#endif
