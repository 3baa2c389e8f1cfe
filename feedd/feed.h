/*
 * Reading a feed: the state machine of docs/architecture.md, "Reading a feed".
 */
#ifndef FEEDD_FEED_H
#define FEEDD_FEED_H

#include "feedd/hydrate.h"
#include "feedd/worker.h"

#define FEED_LIMIT_DEFAULT 20
#define FEED_LIMIT_MAX     200

/* answer header Fanfare-Source: resident | rebuild | database */
enum feed_source { FEED_RESIDENT, FEED_REBUILD, FEED_DATABASE };
const char *feed_source_name(enum feed_source s);

struct feed_page {
    const struct hydrated *items; /* (ref: arena) newest first */
    size_t count;
    uint64_t next_before;    /* continue below this id; 0: this was the end */
    enum feed_source source; /* where the entries came from: the deepest place that was needed */
};
/*
 * ERR_OK; ERR_BUSY (admission, deadline: 503 with Retry-After); else what failed. Exactly once, never before the call
 * returned.
 */
typedef void feed_done_fn(void *ctx, enum err err, const struct feed_page *page);
/*
 * before: only ids below it (ID_MAX: from the top). limit 1..FEED_LIMIT_MAX. All memory in arena, which outlives done.
 */
void feed_read(struct worker *w, uint64_t reader_id, uint64_t before, unsigned limit, struct arena *arena,
               feed_done_fn *done, void *ctx);

/* An author's own posts, newest first, as this viewer may see them (blocked either way: none). From the database. */
void author_posts_read(struct worker *w, uint64_t viewer_id, uint64_t author_id, uint64_t before, unsigned limit,
                       struct arena *arena, feed_done_fn *done, void *ctx);

#endif
