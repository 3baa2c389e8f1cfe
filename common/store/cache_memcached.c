/* Cache backend on memcached: the table of functions over memcache.h, nothing more. */
#include "common/store/memcache.h"

static void get(void *node, const struct cache_op *ops, size_t count, cache_done_fn *done, void *ctx) {
    memcache_submit(node, MEMCACHE_GET, ops, count, done, ctx);
}

static void add(void *node, const struct cache_op *ops, size_t count, cache_done_fn *done, void *ctx) {
    memcache_submit(node, MEMCACHE_ADD, ops, count, done, ctx);
}

static void swap(void *node, const struct cache_op *ops, size_t count, cache_done_fn *done, void *ctx) {
    memcache_submit(node, MEMCACHE_SWAP, ops, count, done, ctx);
}

static void del(void *node, const struct cache_op *ops, size_t count, cache_done_fn *done, void *ctx) {
    memcache_submit(node, MEMCACHE_DELETE, ops, count, done, ctx);
}

const struct cache_backend cache_backend_memcached = {
    .name = "memcached", .get = get, .add = add, .swap = swap, .del = del};
