/*
 * Timelines: resident feed prefixes in the timeline tier (layout: domain/entry.h; what a part proves: domain/view.h).
 * One per loop.
 *
 * States of a user's timeline:
 *
 *     cold --timeline_begin(nonce)--> building --timeline_fill(nonce)--> complete --(trim raises the mark)--> complete
 *       ^                                |  pushes land                     |
 *       +---- key lost, deleted, expired, new generation -------------------+
 *
 * Each step is one atomic script on the node. A fill whose nonce is gone stores nothing.
 */
#ifndef STORE_TIMELINE_H
#define STORE_TIMELINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/err.h"
#include "common/domain/view.h"
#include "common/store/placement.h"
#include "common/store/redis.h"

struct timelines;
struct timelines_options {
    struct redis_set *redis;  /* (ref) of the same loop */
    unsigned cap;             /* entries kept: 800 */
    unsigned slack;           /* trimmed when longer than cap + slack */
    uint64_t ttl_ms;          /* residence after the last refresh */
    uint64_t building_ttl_ms; /* life of a building that never finishes */
    uint64_t lateness_ms;     /* W of domain/view.h */
};
struct timelines *timelines_new(const struct timelines_options *options);
void timelines_free(struct timelines **t);

enum timeline_presence { TIMELINE_ABSENT, TIMELINE_IS_BUILDING, TIMELINE_PRESENT };
struct timeline_part {
    enum timeline_presence presence;
    struct view view; /* when present; entries in the caller's arena */
};
typedef void timeline_read_fn(void *ctx, enum err err, const struct timeline_part *part);
/*
 * want: entries from the head, 0 the whole list. refresh: also extends the residence (once an eighth of it has passed).
 * An error return: done is not called.
 */
enum err timeline_read(struct timelines *t, const struct location *at, uint64_t user_id, unsigned want, bool refresh,
                       struct arena *arena, timeline_read_fn *done, void *ctx);

typedef void timeline_step_fn(void *ctx, enum err err, bool applied);
/* Creates it as building unless it exists; applied: we are the builder. */
enum err timeline_begin(struct timelines *t, const struct location *at, uint64_t user_id, uint64_t nonce,
                        timeline_step_fn *done, void *ctx);
/*
 * Completes a building of ours: entries newest first (at most cap), mark as in struct timeline_header. applied false:
 * it is gone.
 */
enum err timeline_fill(struct timelines *t, const struct location *at, uint64_t user_id, uint64_t nonce,
                       const struct entry *entries, size_t count, uint64_t mark, timeline_step_fn *done, void *ctx);
/* Gives up a building of ours. */
enum err timeline_abandon(struct timelines *t, const struct location *at, uint64_t user_id, uint64_t nonce,
                          timeline_step_fn *done, void *ctx);

/*
 * Writer's side (fanoutd); done may be NULL here. Late insert: each entry goes in front of the first one with a smaller
 * id, which keeps the lateness rule of domain/view.h whatever the entry's age; trims when the slack is used up.
 * applied: was resident.
 */
enum err timeline_insert_late(struct timelines *t, const struct location *at, uint64_t user_id,
                              const struct entry *entries, size_t count, timeline_step_fn *done, void *ctx);
/*
 * Trims to cap when longer than cap + slack, raising the mark above the greatest id dropped. A building that outgrew it
 * is deleted.
 */
enum err timeline_trim(struct timelines *t, const struct location *at, uint64_t user_id, timeline_step_fn *done,
                       void *ctx);
/* Deletes it (always safe: the next read rebuilds). */
enum err timeline_delete(struct timelines *t, const struct location *at, uint64_t user_id, timeline_step_fn *done,
                         void *ctx);

#endif
