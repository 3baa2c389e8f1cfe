/*
 * Cache tier as a key-value store of whole objects, addressed by tier and id, placed by placement.h. One per loop.
 *
 * Values travel in an envelope: format (1) | kind (1) | zero (6) | nonce (8) | payload. Kinds: value, absent (the
 * object is known not to exist), placeholder (somebody is filling). An envelope of another format is a miss.
 *
 * Coherence (why this is the whole interface): writers only delete, after their commit (cache_delete). Only a filler
 * stores: it adds a placeholder with its nonce, reads the primary, then swaps the value in if its placeholder is still
 * there. A delete in between takes the placeholder away, so what was read before the write can never be stored after
 * it.
 *
 * Backends are a table of functions (cache_backend): Redis, memcached, and one that always fails.
 */
#ifndef STORE_CACHE_H
#define STORE_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/store/placement.h"
#include "common/store/redis.h"
#include "common/sys/loop.h"
#include "common/sys/metrics.h"

#define CACHE_FORMAT             1
#define CACHE_ENVELOPE_BYTES     16
#define CACHE_PLACEHOLDER_TTL_MS 3000

enum cache_kind { CACHE_VALUE = 1, CACHE_ABSENT = 2, CACHE_PLACEHOLDER = 3 };

/* One node's operations. Batches; each completes exactly once on the calling loop, never before the call returned. Keys
 * and values are copied. */
struct cache_result {
    enum err err;     /* ERR_OK; ERR_NOT_FOUND (get: miss; add, swap: not stored); else the node failed */
    struct str value; /* get: raw envelope, valid during the callback */
};
typedef void cache_done_fn(void *ctx, const struct cache_result *results, size_t count);
struct cache_op {
    struct str key;
    struct str value; /* add, swap: envelope */
    uint64_t nonce;   /* swap: of the placeholder that must be there */
    uint64_t ttl_ms;  /* add, swap; 0: none */
};
struct cache_backend {
    const char *name;
    void (*get)(void *node, const struct cache_op *ops, size_t count, cache_done_fn *done, void *ctx);
    void (*add)(void *node, const struct cache_op *ops, size_t count, cache_done_fn *done, void *ctx);
    void (*swap)(void *node, const struct cache_op *ops, size_t count, cache_done_fn *done, void *ctx);
    void (*del)(void *node, const struct cache_op *ops, size_t count, cache_done_fn *done,
                void *ctx); /* a key not there is ERR_OK */
};
extern const struct cache_backend cache_backend_redis;     /* node: struct redis * (cache_redis.c) */
extern const struct cache_backend cache_backend_memcached; /* node: struct memcache_node * of this loop (memcache.h) */
extern const struct cache_backend cache_backend_failing;   /* node: struct loop *; every result ERR_TIMEOUT */

struct memcache;
struct cache;
struct cache_options {
    struct loop *loop;
    struct placement *placement; /* (ref) */
    struct redis_set *redis;     /* (ref) of the same loop */
    struct memcache *memcache;   /* (ref) store threads, shared by all loops; NULL when no tier uses memcached */
    struct metrics *metrics;     /* (ref) hits, misses, fills, failures by tier */
    /* Told of a failed operation on a node (after the fact; decides about ejection). May be NULL. */
    void (*node_failed)(void *ctx, uint16_t node_id, enum err err);
    void *ctx;
    /* How a node is reached; NULL: by its kind. Others are for tests. *ret_node is what the backend's functions get. */
    const struct cache_backend *(*reach)(void *reach_ctx, const struct node *node, void **ret_node);
    void *reach_ctx;
};
struct cache *cache_new(const struct cache_options *options);
/*
 * What is open completes with ERR_CANCELED before it returns; answers of nodes and loaders that still come are dropped.
 */
void cache_free(struct cache **c);

/*
 * Read-through: values of n objects (n <= 1,000). Hits come from the tier; for misses it places placeholders, calls the
 * tier's loader once for all of them and swaps the values in. Where the tier does not answer in time or may not be
 * filled, the loader's answer is used and nothing is stored. The same object asked for twice at once on this loop is
 * loaded once.
 */
struct cache_value {
    struct str payload; /* data NULL: the object does not exist. In the caller's arena */
    bool from_cache;
};
typedef void cache_values_fn(void *ctx, enum err err, const struct cache_value *values /* n, order of ids */);
/* Loads from the primary. Must call loaded exactly once, values[i].data NULL for an absent object, in an arena or
 * static memory valid during the call. */
typedef void cache_loaded_fn(void *ctx, enum err err, const struct str *values);
typedef void cache_load_fn(void *load_ctx, const uint64_t *ids, size_t count, cache_loaded_fn *loaded, void *ctx);
void cache_set_loader(struct cache *c, enum tier t, cache_load_fn *load, void *load_ctx, uint64_t ttl_ms,
                      uint64_t absent_ttl_ms);
void cache_get(struct cache *c, const struct placement_view *view /* NULL: lease lapsed, goes to the loader */,
               enum tier t, const uint64_t *ids, size_t count, struct arena *arena, cache_values_fn *done, void *ctx);

/* Targets of an invalidation: delete these keys and confirm. ERR_OK only when every node that owns one confirmed, or
 * none owns it. */
struct cache_target {
    enum tier tier;
    uint64_t id;
};
/*
 * ERR_STALE: no lease (view NULL), nothing was done. ERR_BUSY: a queue of our own is full, no node's fault. Otherwise
 * an error means that the failed nodes did not confirm. Never calls done before it returned; failed_nodes is valid
 * during the call.
 */
typedef void cache_deleted_fn(void *ctx, enum err err, const uint16_t *failed_nodes, size_t failed_count);
void cache_delete(struct cache *c, const struct placement_view *view, const struct cache_target *targets, size_t count,
                  cache_deleted_fn *done, void *ctx);

#endif
