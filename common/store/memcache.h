/*
 * memcached through libmemcached (memcache.c is its only user), on store threads: one thread and one single-server
 * handle a node, its own hashing, ejection and retries off, short timeouts. A thread takes all gets that wait and asks
 * for them in one multi-get. Shared by all loops of a process; results are posted back to the loop that asked.
 */
#ifndef STORE_MEMCACHE_H
#define STORE_MEMCACHE_H

#include <stdint.h>

#include "common/store/cache.h"
#include "common/sys/loop.h"

struct memcache;
struct memcache_node; /* one node as seen from one loop */

/* max_waiting: operations queued a node before ERR_BUSY. */
struct memcache *memcache_new(uint64_t timeout_ms, unsigned max_waiting);
/*
 * Joins the threads. All loops must have stopped running, and are freed after this (a thread may be about to wake one);
 * what is open completes with ERR_CANCELED from this call.
 */
void memcache_free(struct memcache **m);
/* Made on first use; (own: m). Any thread; the result belongs to the given loop's thread. */
struct memcache_node *memcache_node(struct memcache *m, struct loop *loop, const char *address);

/*
 * A batch of one kind of operation (ops and results as in cache_backend; loop's thread). Batches of a node are worked
 * off in order of their kinds' arrival; gets that wait together become one multi-get, also across loops.
 */
enum memcache_kind { MEMCACHE_GET, MEMCACHE_ADD, MEMCACHE_SWAP, MEMCACHE_DELETE };
void memcache_submit(struct memcache_node *n, enum memcache_kind kind, const struct cache_op *ops, size_t count,
                     cache_done_fn *done, void *ctx);

#endif
