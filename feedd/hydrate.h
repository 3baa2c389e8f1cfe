/*
 * Hydration: post ids in, posts as clients see them out, through the cache tiers (content, users, counters), in at most
 * two rounds of multi-gets (posts and counts, then authors). Loaders for the tiers are registered by loaders_register
 * (loaders.h).
 */
#ifndef FEEDD_HYDRATE_H
#define FEEDD_HYDRATE_H

#include "common/domain/content.h"
#include "common/domain/relations.h"
#include "feedd/worker.h"

struct hydrated {
    bool exists;             /* false: deleted or never there; the rest is not set */
    struct post_record post; /* (ref: arena) */
    struct user_record author;
    struct counts_record counts;
};
/*
 * ERR_OK, or what kept the primary from answering. posts: n, order of ids. Exactly once, never before the call
 * returned.
 */
typedef void hydrated_fn(void *ctx, enum err err, const struct hydrated *posts);
/*
 * n <= 1,000. view may be NULL. author_hints: author id of each post where known (0: not), so that all tiers are asked
 * in one round; may be NULL.
 */
void hydrate_posts(struct worker *w, const struct placement_view *view, const uint64_t *ids,
                   const uint64_t *author_hints, size_t n, struct arena *arena, hydrated_fn *done, void *ctx);

/* One user's record (users tier). exists false: no such user. */
typedef void user_done_fn(void *ctx, enum err err, bool exists, const struct user_record *user);
void hydrate_user(struct worker *w, const struct placement_view *view, uint64_t user_id, struct arena *arena,
                  user_done_fn *done, void *ctx);

/* A reader's relations (graph tier). */
typedef void relations_done_fn(void *ctx, enum err err, const struct relations *relations);
void hydrate_relations(struct worker *w, const struct placement_view *view, uint64_t reader_id, struct arena *arena,
                       relations_done_fn *done, void *ctx);

#endif
