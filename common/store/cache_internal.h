/* What the rooms of the cache share: its state, and how a node is reached. Private to cache.c, cache_fill.c and
 * cache_flight.c. */
#ifndef STORE_CACHE_INTERNAL_H
#define STORE_CACHE_INTERNAL_H

#include "common/base/list.h"
#include "common/base/map.h"
#include "common/store/cache.h"

enum cache_request_result {
    CACHE_HIT,
    CACHE_HIT_ABSENT,
    CACHE_MISS,
    CACHE_HIT_PLACEHOLDER,
    CACHE_FAILED,
    CACHE_NO_LEASE,
    CACHE_REQUEST_RESULTS
};
enum cache_fill_result { CACHE_STORED, CACHE_STORE_REFUSED, CACHE_STORE_FAILED, CACHE_FILL_RESULTS };
enum cache_delete_result { CACHE_DELETED, CACHE_DELETE_FAILED, CACHE_DELETE_NO_LEASE, CACHE_DELETE_RESULTS };

struct cache_loader {
    cache_load_fn *load;
    void *ctx;
    uint64_t ttl_ms, absent_ttl_ms;
};

struct cache {
    struct cache_options options;
    struct cache_loader loaders[TIER_COUNT];
    struct metric *requests[TIER_COUNT][CACHE_REQUEST_RESULTS];
    struct metric *fills[TIER_COUNT][CACHE_FILL_RESULTS];
    struct metric *deletes[TIER_COUNT][CACHE_DELETE_RESULTS];
    struct list open;               /* struct cache_call: what has not completed yet */
    struct map flights[TIER_COUNT]; /* id -> struct flight (cache_flight.c) */
    struct list queued[TIER_COUNT]; /* flights whose load is not issued yet */
    struct loop_timer flight_timer; /* issues them, once all of this turn have joined */
    size_t refs;                    /* answers owed to us by nodes and loaders; memory lives while there are any */
    bool closed;
};

/* A call of a user: on the list of the cache until its done was called. cancel: call it now with ERR_CANCELED. */
struct cache_call {
    struct list link;
    void (*cancel)(struct cache_call *call);
};

struct cache_node {
    const struct cache_backend *backend;
    void *node;
    uint16_t id;
};
bool cache_reach(struct cache *c, const struct node *node,
                 struct cache_node *ret); /* false: this tier kind is not configured */
/*
 * Tells the owner, once a batch, when a node's results contain a failure of the node. Returns that failure or ERR_OK.
 */
enum err cache_judge(struct cache *c, const struct cache_node *node, const struct cache_result *results, size_t count);
/* One answer less to wait for; frees a closed cache with the last. */
void cache_unref(struct cache *c);

/* ---- cache_flight.c: loads from the primary, shared by all who may share them ---- */

/* Embedded in whoever waits. value.data NULL: absent; valid during the call. */
struct flight_waiter {
    struct flight_waiter *next;
    uint64_t id;
    void (*landed)(struct flight_waiter *w, enum err err, struct str value);
    void (*settled)(struct flight_waiter *w); /* after all of the same load have landed; may end anything */
};
void flights_init(struct cache *c);
/* Drops what is not issued yet without a word; loads in flight are dropped when they answer. */
void flights_close(struct cache *c);
void flight_join(struct cache *c, enum tier t, struct flight_waiter *w);

#endif
