/*
 * Rebuilds of cold timelines: single flight a user (in this worker by a map, across processes by the building state and its nonce), bounded
 * in number by the heavy pool, each with a deadline. One a worker.
 */
#ifndef FEEDD_REBUILD_H
#define FEEDD_REBUILD_H

#include "common/domain/entry.h"
#include "feedd/worker.h"

struct rebuilds *rebuilds_new(struct worker *w);
void rebuilds_free(struct rebuilds **r);

/*
 * The newest entries of a feed as the database has them (followees and self, not deleted; mutes and blocks are left to the gate), newest first, at
 * most the cap; mark: complete for ids >= mark (0: all of history). ERR_BUSY: too many wait, or the deadline passed. Exactly once, never before the call returned.
 */
typedef void rebuild_done_fn(void *ctx, enum err err, const struct entry *entries, size_t count, uint64_t mark);
/* location NULL: query only, nothing is stored (no live node, no lease, or an embargo). */
void rebuild(struct rebuilds *r, uint64_t user_id, const struct location *at, rebuild_done_fn *done, void *ctx);

#endif
