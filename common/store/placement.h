/*
 * Placement: which node holds a key now. PostgreSQL holds the truth (tables cache_tiers, cache_nodes, cache_slots: one
 * table a tier, a version a tier, a generation a slot that rises with each change of owner and is part of every key);
 * daemons hold a snapshot under a lease of 1 s, renewed by polling several times a lease.
 *
 *   poll sent at t, answered with the versions we have  ->  lease valid until t + lease
 *   a new version                                       ->  fetch its slots, swap the snapshot
 *   PostgreSQL silent                                   ->  lease lapses: no location for anything, callers read the
 *                                                           database
 *
 * Fill embargo: for one lease after this daemon first saw a slot's new generation (and after start) may_fill is false
 * for it: by then nobody holds the old table, so no invalidation can go to the old owner while a stale value is filled
 * into the new one.
 *
 * One poller a process (on the main loop); snapshots may be read from any thread.
 */
#ifndef STORE_PLACEMENT_H
#define STORE_PLACEMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/store/pg.h"
#include "common/store/ring.h"
#include "common/sys/loop.h"

enum tier { TIER_TIMELINE, TIER_CONTENT, TIER_USERS, TIER_GRAPH, TIER_ACTIONS, TIER_COUNTERS, TIER_COUNT };
const char *tier_name(enum tier t); /* "timeline", "content", ... as in cache_tiers */

enum node_kind { NODE_REDIS, NODE_MEMCACHED };
enum node_state { NODE_ACTIVE, NODE_EJECTED, NODE_REMOVED };

#define NODE_NAME_MAX    64
#define NODE_ADDRESS_MAX 128
struct node {
    uint16_t id; /* cache_nodes.id, unique over all tiers, 1.. */
    enum node_kind kind;
    enum node_state state;
    uint32_t weight;
    char name[NODE_NAME_MAX];
    char address[NODE_ADDRESS_MAX]; /* "127.0.0.1:6379" or "unix:/path" */
};

struct location {
    const struct node *node; /* (ref: view) */
    uint32_t generation;
    bool may_fill;
};

#define PLACEMENT_LEASE_MS 1000
#define PLACEMENT_POLL_MS  250

struct placement;
/* pool: a small pool of the main loop's, used for polls and changes only. Starts polling at once. */
struct placement *placement_new(struct loop *loop, struct pg_pool *pool);
void placement_free(struct placement **p);
bool placement_ready(const struct placement *p); /* a snapshot is there, its lease holds, the start embargo is over */

/* A counted snapshot, or NULL when the lease has lapsed. Any thread. Cheap: take one a request. */
struct placement_view;
const struct placement_view *placement_acquire(struct placement *p);
void placement_release(const struct placement_view *v); /* NULL is fine */
uint64_t placement_version(const struct placement_view *v, enum tier t);
/* False: no live node for it. */
bool placement_locate(const struct placement_view *v, enum tier t, uint64_t id, struct location *ret);
/*
 * How many ms from now others may still read this id's slot where it was before: they may hold an older table until its
 * lease runs out. What a writer deletes under this view is out of everybody's sight only then. 0: nobody can.
 */
uint64_t placement_unsettled_ms(const struct placement_view *v, enum tier t, uint64_t id);
/* All nodes of a tier, ejected ones too. */
const struct node *placement_nodes(const struct placement_view *v, enum tier t, size_t *ret_count);
/*
 * Estimate of PostgreSQL's clock now, Unix ms, and its largest error in ms (half the round trip of the poll + age). Any
 * thread.
 */
uint64_t placement_db_now_ms(const struct placement *p, uint64_t *ret_error_ms);

/*
 * Commits a table without (or again with) this node for its tier: PostgreSQL decides, so many may ask at once; asking
 * for what is already so is ERR_OK. done is called on the main loop after the commit AND after the lease of the old
 * table ran out (that is when it holds everywhere). Any thread may call; done runs on `loop`.
 */
typedef void placement_done_fn(void *ctx, enum err err);
void placement_set_state(struct placement *p, uint16_t node_id, enum node_state state, const char *why,
                         struct loop *loop, placement_done_fn *done, void *ctx);

/*
 * Recomputes the slots of a tier from cache_nodes by ring_assign and writes those that changed owner with generation +
 * 1, in one transaction (blocking; for fanfarectl and set-up).
 */
enum err placement_rebalance_sync(struct pg_sync *db, enum tier t, size_t *ret_moved, char **ret_message);

/* Shared-tier key "<tier letter>:<generation>:<id>", decimal; returns its length. */
#define CACHE_KEY_MAX 48
size_t cache_key(enum tier t, uint32_t generation, uint64_t id, char ret[static CACHE_KEY_MAX]);

#endif
