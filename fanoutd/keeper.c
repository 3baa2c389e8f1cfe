/*
 * Keeper. Once a second:
 *
 *   every fanoutd     hold the lock (or try to get it); measure the backlog; watch the placement
 *   the keeper        outbox sweep: rows that the queue does not know go to it again
 *                     invalidation sweep: what a crashed call left undone
 *                     idempotency keys of a day ago, one shard a second
 *                     consumers that are gone, once a minute; health lets ejected nodes back in
 *
 * The lock lives on a connection of its own, and one statement both checks that this very session holds it and tries to
 * get it: asking again for what one holds would stack up, and a session that was lost has lost the lock.
 *
 * What the outbox sweep takes for lost: a row older than sweep_age, when the queue is empty or its oldest entry is more
 * than sweep_age younger than the row and than the last time that it was added (the queue is first in, first out, and
 * feedd adds within that time or never). One old entry, say of a huge job, would hide lost rows behind it, so after
 * OVERDUE_MS a row is added again whatever the queue looks like. A row is added at most once in RESWEEP_MS
 * (OVERDUE_AGAIN_MS).
 */
#include "fanoutd/keeper.h"

#include <string.h>

#include "common/base/mem.h"
#include "common/domain/id.h"
#include "common/store/cache.h"
#include "common/store/invalidate.h"
#include "common/store/memcache.h"
#include "common/sys/failpoint.h"
#include "common/sys/log.h"
#include "fanoutd/watch.h"

#define TICK_MS           1000
#define SWEEP_ROWS        1000
#define RESWEEP_MS        30000
#define OVERDUE_MS        120000
#define OVERDUE_AGAIN_MS  300000
#define INVALIDATION_MS   2000
#define INVALIDATION_ROWS 500
#define FORGET_TICKS      60
#define FORGET_IDLE_MS    3600000
#define MEMCACHE_WAITING  10000
#define NODE_PENDING      20000

static const struct pg_statement LOCK = {
    "keeper_lock",
    "SELECT CASE WHEN EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND granted"
    "                         AND classid = 1717661286 AND objid = 1)"
    " THEN true ELSE pg_try_advisory_lock(1717661286, 1) END"};

/* $1 sweep age ms, $2 oldest entry of the queue (Unix ms, 0: none), then RESWEEP_MS, OVERDUE_MS, OVERDUE_AGAIN_MS,
 * SWEEP_ROWS */
static const struct pg_statement SWEEP = {
    "keeper_sweep",
    "WITH due AS ("
    " SELECT shard, post_id FROM outbox"
    " WHERE created_at < now() - $1 * interval '1 ms'"
    "   AND ((($2 = 0 OR greatest(created_at, swept_at) < to_timestamp($2 / 1000.0) - $1 * interval '1 ms')"
    "         AND (swept_at IS NULL OR swept_at < now() - $3 * interval '1 ms'))"
    "        OR (created_at < now() - $4 * interval '1 ms'"
    "            AND (swept_at IS NULL OR swept_at < now() - $5 * interval '1 ms')))"
    " LIMIT $6 FOR UPDATE SKIP LOCKED)"
    " UPDATE outbox o SET swept_at = now() FROM due WHERE o.shard = due.shard AND o.post_id = due.post_id"
    " RETURNING o.post_id, o.author_id, o.traceparent"};

static const struct pg_statement EXPIRE_KEYS = {
    "keeper_expire_keys", "WITH old AS (DELETE FROM idempotency_keys WHERE shard = $1::smallint AND (user_id, key) IN"
                          " (SELECT user_id, key FROM idempotency_keys WHERE shard = $1::smallint AND created_at < "
                          "now() - interval '24 hours' LIMIT 1000)"
                          " RETURNING 1) SELECT count(*) FROM old"};

struct keeper {
    struct fanoutd *d;               /* (ref) */
    struct pg_pool *lock_pool;       /* (own) one connection: the lock's session */
    struct pg_pool *pool;            /* (own) */
    struct redis *queue_redis;       /* (own) */
    struct queue *queue;             /* (own) */
    struct redis_set *redis;         /* (own) cache nodes */
    struct memcache *memcache;       /* (own) */
    struct cache *cache;             /* (own) */
    struct invalidator *invalidator; /* (own) */
    struct arena arena;              /* parameters */
    struct loop_timer tick;
    unsigned ticks;
    uint16_t shard; /* of the next idempotency keys */
    bool held, stopped;
    struct watch *watch; /* (own) */
    bool locking, measuring, sweeping, invalidating, expiring;
};

/* --- the lock --- */

static void set_held(struct keeper *k, bool held) {
    if (k->held == held) return;
    k->held = held;
    log_info(held ? "this process is the keeper now" : "this process is not the keeper any more");
    metric_set(k->d->metrics.keeper, held);
    health_set_keeper(k->d->health, held);
}

static void on_lock(void *ctx, enum err err, const struct pg_result *r) {
    struct keeper *k = ctx;
    k->locking = false;
    if (!k->stopped) set_held(k, err == ERR_OK && pg_bool(r, 0, 0));
}

static void lock(struct keeper *k) {
    if (k->locking) return;
    struct pg_params none;
    pg_params_init(&none, &k->arena);
    k->locking = pg_exec(k->lock_pool, &LOCK, &none, on_lock, k) == ERR_OK;
    if (!k->locking) set_held(k, false);
}

/* --- backlog --- */

static void on_backlog(void *ctx, enum err err, uint64_t value) {
    struct keeper *k = ctx;
    k->measuring = false;
    if (err == ERR_OK) metric_set(k->d->metrics.backlog, (int64_t)value);
}

static void measure(struct keeper *k) {
    if (!k->measuring) k->measuring = queue_length(k->queue, on_backlog, k) == ERR_OK;
}

/* --- outbox --- */

static void sweep(struct keeper *k);

struct swept {
    struct keeper *k;
    size_t rows;
};

static void sweep_over(struct keeper *k, bool more) {
    k->sweeping = false;
    if (more && k->held && !k->stopped) sweep(k);
}

static void on_added(void *ctx, enum err err, uint64_t added) {
    struct swept *s = ctx;
    struct keeper *k = s->k;
    size_t rows = s->rows;
    mem_free(s);
    if (FAILPOINT("sweep.after_add")) err = ERR_LOST;
    metric_add(k->d->metrics.swept, (int64_t)added);
    if (added) log_info("outbox rows that the queue did not know were added again: count=%d", (int)added);
    if (err != ERR_OK && err != ERR_CANCELED)
        log_warn("outbox rows could not be added to the queue, later: err=%s", err_name(err));
    sweep_over(k, err == ERR_OK && rows == SWEEP_ROWS);
}

static void job_of_row(const struct pg_result *r, int row, struct job *ret) {
    *ret = (struct job){.post_id = pg_int8(r, row, 0), .author_id = pg_int8(r, row, 1)};
    struct str trace = pg_text(r, row, 2);
    if (trace.data && trace.len <= JOB_TRACEPARENT_MAX) memcpy(ret->traceparent, trace.data, trace.len);
}

static void on_swept(void *ctx, enum err err, const struct pg_result *r) {
    struct keeper *k = ctx;
    int rows = err == ERR_OK ? pg_rows(r) : 0;
    if (err == ERR_BACKEND && LOG_EVERY_MS(10000)) {
        log_warn("outbox sweep failed: text=\"%.*s\"", (int)pg_message(r).len, pg_message(r).data);
    }
    if (!rows || k->stopped || FAILPOINT("sweep.before_add")) {
        sweep_over(k, false);
        return;
    }
    struct job *jobs = NEW_ARRAY(struct job, (size_t)rows);
    for (int i = 0; i < rows; i++) job_of_row(r, i, &jobs[i]);
    struct swept *s = NEW(struct swept);
    *s = (struct swept){k, (size_t)rows};
    err = queue_add(k->queue, jobs, (size_t)rows, on_added, s);
    mem_free(jobs);
    if (err != ERR_OK) on_added(s, err, 0);
}

static void on_oldest(void *ctx, enum err err, uint64_t oldest_ms) {
    struct keeper *k = ctx;
    if (err != ERR_OK || k->stopped) { /* no use in marking rows that can't be added */
        sweep_over(k, false);
        return;
    }
    struct pg_params p;
    pg_params_init(&p, &k->arena);
    pg_param_int8(&p, (uint64_t)k->d->opt->sweep_age_ms);
    pg_param_int8(&p, oldest_ms);
    pg_param_int8(&p, RESWEEP_MS);
    pg_param_int8(&p, OVERDUE_MS);
    pg_param_int8(&p, OVERDUE_AGAIN_MS);
    pg_param_int8(&p, SWEEP_ROWS);
    if (pg_exec(k->pool, &SWEEP, &p, on_swept, k) != ERR_OK) sweep_over(k, false);
}

static void sweep(struct keeper *k) {
    if (!k->sweeping) k->sweeping = queue_oldest(k->queue, on_oldest, k) == ERR_OK;
}

/* --- invalidations, idempotency keys, consumers --- */

static void on_invalidated(void *ctx, enum err err) {
    struct keeper *k = ctx;
    k->invalidating = false;
    if (err != ERR_OK && err != ERR_CANCELED && LOG_EVERY_MS(10000)) {
        log_warn("invalidations left behind could not be applied, again in a second: err=%s", err_name(err));
    }
}

static void invalidate(struct keeper *k) {
    if (k->invalidating) return;
    k->invalidating = true;
    invalidate_sweep(k->invalidator, INVALIDATION_MS, INVALIDATION_ROWS, on_invalidated, k);
}

static void on_expired(void *ctx, enum err err, const struct pg_result *r) {
    struct keeper *k = ctx;
    k->expiring = false;
    if (err == ERR_OK) metric_add(k->d->metrics.expired_keys, (int64_t)pg_int8(r, 0, 0));
}

static void expire_keys(struct keeper *k) {
    if (k->expiring) return;
    struct pg_params p;
    pg_params_init(&p, &k->arena);
    pg_param_int4(&p, k->shard);
    k->shard = (uint16_t)((k->shard + 1) % ID_SHARDS);
    k->expiring = pg_exec(k->pool, &EXPIRE_KEYS, &p, on_expired, k) == ERR_OK;
}

static void on_tick(struct loop_timer *t) {
    struct keeper *k = CONTAINER_OF(t, struct keeper, tick);
    loop_timer_start(k->d->service->loop, t, TICK_MS);
    arena_reset(&k->arena);
    lock(k);
    measure(k);
    watch_look(k->watch, k->held);
    if (!k->held) return;
    sweep(k);
    invalidate(k);
    expire_keys(k);
    if (k->ticks++ % FORGET_TICKS == 0) queue_forget_consumers(k->queue, FORGET_IDLE_MS, NULL, NULL);
}

/* --- life --- */

static void on_node_failed(void *ctx, uint16_t node_id, enum err err) {
    struct keeper *k = ctx;
    health_report(k->d->health, node_id, err);
}

static struct pg_pool *pool_new(struct fanoutd *d, unsigned connections) {
    return pg_pool_new(d->service->loop, &(struct pg_pool_options){
                                             .conninfo = d->opt->conninfo,
                                             .connections = connections,
                                             .depth = 1,
                                             .max_waiting = 16,
                                             .timeout_ms = (uint64_t)d->opt->database_timeout_ms,
                                             .application_name = "fanoutd-keeper",
                                         });
}

struct keeper *keeper_new(struct fanoutd *d) {
    const struct fanoutd_options *o = d->opt;
    struct loop *loop = d->service->loop;
    struct keeper *k = NEW(struct keeper);
    k->d = d;
    k->lock_pool = pool_new(d, 1);
    k->pool = pool_new(d, 2);
    k->queue_redis = redis_new(loop, o->queue_address, (uint64_t)o->queue_timeout_ms, 2 * SWEEP_ROWS);
    k->queue = queue_new(k->queue_redis, NULL);
    k->redis = redis_set_new(loop, (uint64_t)o->cache_timeout_ms, NODE_PENDING);
    k->memcache = memcache_new((uint64_t)o->cache_timeout_ms, MEMCACHE_WAITING);
    k->cache = cache_new(&(struct cache_options){
        .loop = loop,
        .placement = d->placement,
        .redis = k->redis,
        .memcache = k->memcache,
        .metrics = d->service->metrics,
        .node_failed = on_node_failed,
        .ctx = k,
    });
    k->invalidator = invalidator_new(loop, k->cache, d->placement, k->pool, d->service->metrics,
                                     (uint64_t)o->invalidate_deadline_ms);
    k->watch = watch_new(d->placement);
    arena_init(&k->arena, 0);
    k->tick.fire = on_tick;
    loop_timer_start(loop, &k->tick, 100);
    return k;
}

void keeper_stop(struct keeper *k) {
    if (k->stopped) return;
    set_held(k, false);
    k->stopped = true;
    loop_timer_stop(&k->tick);
}

void keeper_free(struct keeper **kp) {
    struct keeper *k = *kp;
    if (!k) return;
    keeper_stop(k);
    invalidator_free(&k->invalidator);
    cache_free(&k->cache);
    pg_pool_free(&k->lock_pool);
    pg_pool_free(&k->pool);
    redis_free(&k->queue_redis);
    queue_free(&k->queue);
    redis_set_free(&k->redis);
    memcache_free(&k->memcache);
    watch_free(&k->watch);
    arena_fini(&k->arena);
    mem_free(k);
    *kp = NULL;
}

bool keeper_queue_up(const struct keeper *k) {
    return redis_up(k->queue_redis);
}
