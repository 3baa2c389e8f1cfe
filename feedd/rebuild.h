/*
 * Rebuilds of cold timelines: single flight a user (in this worker by a map, across processes by the building state and
 * its nonce), bounded in number by the heavy pool, each with a deadline. One a worker.
 */
#ifndef FEEDD_REBUILD_H
#define FEEDD_REBUILD_H

#include "common/domain/entry.h"
#include "feedd/admission.h"
#include "feedd/worker.h"

struct rebuilds *rebuilds_new(struct worker *w);
/* Before the pools and connections of the worker are freed: callers that wait get ERR_CANCELED; what is in flight
 * completes quietly as those are freed. */
void rebuilds_free(struct rebuilds **r);

/*
 * How a rebuild ended for a caller. Entries are given only to callers who came before the query was sent: whoever came
 * later may know of a post or a follow that the query's snapshot does not have, so he waits for it and then reads the
 * timeline, which was pushed to (post) or deleted (follow).
 */
enum rebuild_outcome {
    REBUILD_ENTRIES,   /* entries and mark are the answer */
    REBUILD_REREAD,    /* a flight ended that was under way before the call: read the timeline now */
    REBUILD_ELSEWHERE, /* another process is building it: read the timeline a little later */
    REBUILD_NO_NODE    /* its node does not answer: read the database */
};

/*
 * ENTRIES: the newest entries of a feed as the database has them (followees and self, not deleted; mutes and blocks are
 * left to the gate), newest first, at most the cap, valid during the call; mark: complete for ids >= mark (0: all of
 * history). Else entries is NULL. ERR_BUSY: too many wait, or the deadline passed. Exactly once, never before the call
 * returned.
 */
typedef void rebuild_done_fn(void *ctx, enum err err, enum rebuild_outcome outcome, const struct entry *entries,
                             size_t count, uint64_t mark);
/* Only where filling is allowed: at is a live node and may_fill (else read the database: a page of it costs less). */
void rebuild(struct rebuilds *r, uint64_t user_id, const struct location *at, rebuild_done_fn *done, void *ctx);
/* This worker is building the user's timeline now: rebuild() would join. */
bool rebuild_running(const struct rebuilds *r, uint64_t user_id);

/* A place in the heavy pool for a statement that is no rebuild (admission.h): the bound is one for all. Each place
 * taken is given back by heavy_leave. */
enum admission_answer heavy_enter(struct rebuilds *r, struct admission_ticket *t, uint64_t wait_ms);
void heavy_leave(struct rebuilds *r);

/* Entries as the statements pack them: post id, author id, big-endian, newest first. Into the arena. */
struct entry *rebuild_unpack(struct str packed, struct arena *arena, size_t *ret_count);

#endif
