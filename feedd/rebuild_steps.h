/*
 * What a rebuild does to the world, as a table, so that its rules (rebuild.c) can be tested without servers. Private to
 * rebuild*.c and its test.
 */
#ifndef FEEDD_REBUILD_STEPS_H
#define FEEDD_REBUILD_STEPS_H

#include "feedd/rebuild.h"

typedef void rebuild_entries_fn(void *ctx, enum err err, const struct entry *entries, size_t count);
/* Each completes exactly once after it returned ERR_OK, and not at all after an error return. */
struct rebuild_steps {
    enum err (*begin)(void *world, const struct location *at, uint64_t user_id, uint64_t nonce, timeline_step_fn *done,
                      void *ctx);
    /* The newest `cap` entries; valid during done. */
    enum err (*query)(void *world, uint64_t user_id, unsigned cap, rebuild_entries_fn *done, void *ctx);
    enum err (*fill)(void *world, const struct location *at, uint64_t user_id, uint64_t nonce,
                     const struct entry *entries, size_t count, uint64_t mark, timeline_step_fn *done, void *ctx);
    enum err (*abandon)(void *world, const struct location *at, uint64_t user_id, uint64_t nonce,
                        timeline_step_fn *done, void *ctx);
    /* A node did not do its step. */
    void (*node_failed)(void *world, uint16_t node_id, enum err err);
};
extern const struct rebuild_steps rebuild_steps_real; /* world: struct worker * (rebuild_steps.c) */

struct rebuild_limits {
    unsigned running;     /* statements at once */
    unsigned max_waiting; /* flights that wait for a place */
    uint64_t wait_ms;     /* how long */
    unsigned cap;         /* entries a timeline */
};
struct rebuilds *rebuilds_new_with(struct loop *loop, struct rebuild_limits limits, const struct rebuild_steps *steps,
                                   void *world);

#endif
