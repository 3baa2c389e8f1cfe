/*
 * The cache tier: making, reaching nodes, deleting. Reading is in cache_fill.c, loads from the primary in
 * cache_flight.c; see cache.h for the coherence rule that all of it serves.
 *
 * Invariants
 * - Every call of a user is on `open` until its done was called; cache_free completes what is left.
 * - Every answer that a node or loader owes holds a reference; what comes after cache_free only gives it back.
 */
#include "common/store/cache.h"

#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/store/cache_internal.h"
#include "common/store/memcache.h"

static const struct metric_family requests_family = {"fanfare_cache_requests_total", METRIC_COUNTER,
                                                     "Objects asked of the cache by result: hit, absent (known not to "
                                                     "exist), miss, placeholder (somebody fills), failed (node), "
                                                     "no_lease."};
static const struct metric_family fills_family = {
    "fanfare_cache_fills_total", METRIC_COUNTER,
    "Values loaded and offered to the cache: stored, refused (the placeholder was gone), failed (node)."};
static const struct metric_family deletes_family = {
    "fanfare_cache_deletes_total", METRIC_COUNTER,
    "Objects deleted from the cache: ok, failed (node did not confirm), no_lease."};
static const char *const request_results[] = {"hit", "absent", "miss", "placeholder", "failed", "no_lease"};
static const char *const fill_results[] = {"stored", "refused", "failed"};
static const char *const delete_results[] = {"ok", "failed", "no_lease"};

static void make_metrics(struct metrics *m, const struct metric_family *family, enum tier t, const char *const *results,
                         size_t count, struct metric **ret) {
    for (size_t i = 0; i < count; i++) {
        char labels[80];
        snprintf(labels, sizeof(labels), "tier=\"%s\",result=\"%s\"", tier_name(t), results[i]);
        ret[i] = metrics_child(m, family, labels);
    }
}

struct cache *cache_new(const struct cache_options *options) {
    struct cache *c = NEW(struct cache);
    c->options = *options;
    list_init(&c->open);
    flights_init(c);
    for (int t = 0; t < TIER_COUNT; t++) {
        make_metrics(options->metrics, &requests_family, t, request_results, CACHE_REQUEST_RESULTS, c->requests[t]);
        make_metrics(options->metrics, &fills_family, t, fill_results, CACHE_FILL_RESULTS, c->fills[t]);
        make_metrics(options->metrics, &deletes_family, t, delete_results, CACHE_DELETE_RESULTS, c->deletes[t]);
    }
    c->refs = 1; /* the owner's */
    return c;
}

void cache_unref(struct cache *c) {
    if (--c->refs == 0) mem_free(c);
}

void cache_free(struct cache **cp) {
    struct cache *c = *cp;
    if (!c) return;
    *cp = NULL;
    c->closed = true;
    flights_close(c);
    while (!list_empty(&c->open)) {
        struct cache_call *call = CONTAINER_OF(list_pop(&c->open), struct cache_call, link);
        call->cancel(call);
    }
    cache_unref(c);
}

void cache_set_loader(struct cache *c, enum tier t, cache_load_fn *load, void *load_ctx, uint64_t ttl_ms,
                      uint64_t absent_ttl_ms) {
    c->loaders[t] = (struct cache_loader){load, load_ctx, ttl_ms, absent_ttl_ms};
}

bool cache_reach(struct cache *c, const struct node *node, struct cache_node *ret) {
    const struct cache_options *o = &c->options;
    void *handle = NULL;
    const struct cache_backend *backend = NULL;
    if (o->reach) {
        backend = o->reach(o->reach_ctx, node, &handle);
    } else if (node->kind == NODE_REDIS && o->redis) {
        backend = &cache_backend_redis;
        handle = redis_set_get(o->redis, node->address);
    } else if (node->kind == NODE_MEMCACHED && o->memcache) {
        backend = &cache_backend_memcached;
        handle = memcache_node(o->memcache, o->loop, node->address);
    }
    if (!backend) return false;
    *ret = (struct cache_node){backend, handle, node->id};
    return true;
}

enum err cache_judge(struct cache *c, const struct cache_node *node, const struct cache_result *results, size_t count) {
    for (size_t i = 0; i < count; i++) {
        enum err err = results[i].err;
        if (err == ERR_OK || err == ERR_NOT_FOUND) continue;
        bool ours = err == ERR_BUSY || err == ERR_CANCELED; /* our queue, our end: not the node's fault */
        if (!ours && !c->closed && c->options.node_failed) c->options.node_failed(c->options.ctx, node->id, err);
        return err;
    }
    return ERR_OK;
}

/* ---- Deleting ---- */

struct deletion;
struct deletion_group {
    struct deletion *deletion;
    struct cache_node node;
    size_t count;
};
struct deletion_item {
    size_t group;
    enum tier tier;
    size_t key_len;
    char key[CACHE_KEY_MAX];
};
struct deletion {
    struct cache_call call;
    struct cache *cache;
    cache_deleted_fn *done; /* NULL once called */
    void *ctx;
    struct loop_task task; /* when there is no node to ask */
    enum err err;
    size_t open; /* groups that have not answered */
    struct deletion_group *groups;
    size_t group_count;
    struct deletion_item *items;
    size_t item_count;
    uint16_t *failed;
    size_t failed_count;
};

static void deletion_complete(struct deletion *d, enum err err) {
    cache_deleted_fn *done = d->done;
    d->done = NULL;
    list_del(&d->call.link);
    if (done) done(d->ctx, err, d->failed, d->failed_count);
}

static void deletion_cancel(struct cache_call *call) {
    deletion_complete(CONTAINER_OF(call, struct deletion, call), ERR_CANCELED);
}

static void deletion_end(struct deletion *d) {
    struct cache *c = d->cache;
    deletion_complete(d, d->err);
    mem_free(d->groups);
    mem_free(d->items);
    mem_free(d->failed);
    mem_free(d);
    cache_unref(c);
}

static void deletion_run(struct loop_task *t) {
    deletion_end(CONTAINER_OF(t, struct deletion, task));
}

static void deletion_answered(void *ctx, const struct cache_result *results, size_t count) {
    struct deletion_group *g = ctx;
    struct deletion *d = g->deletion;
    struct cache *c = d->cache;
    for (size_t i = 0, at = 0; i < d->item_count; i++) {
        const struct deletion_item *item = &d->items[i];
        if (item->group != (size_t)(g - d->groups)) continue;
        bool ok = at < count && results[at].err == ERR_OK;
        at++;
        if (!c->closed) metric_add(c->deletes[item->tier][ok ? CACHE_DELETED : CACHE_DELETE_FAILED], 1);
    }
    enum err err = cache_judge(c, &g->node, results, count);
    if (err && err != ERR_BUSY && err != ERR_CANCELED) d->failed[d->failed_count++] = g->node.id;
    if (err) d->err = err;
    if (--d->open == 0) deletion_end(d);
}

static size_t deletion_group_of(struct deletion *d, const struct cache_node *node) {
    for (size_t i = 0; i < d->group_count; i++)
        if (d->groups[i].node.id == node->id) return i;
    d->groups[d->group_count] = (struct deletion_group){.deletion = d, .node = *node};
    return d->group_count++;
}

/* A target whose tier has no live node is nowhere: nothing to delete. */
static void deletion_place(struct deletion *d, const struct placement_view *view, const struct cache_target *target) {
    struct location at;
    struct cache_node node;
    if (!placement_locate(view, target->tier, target->id, &at)) return;
    if (!cache_reach(d->cache, at.node, &node)) {
        d->err = ERR_INVALID; /* a node of a kind that this process cannot reach holds it: cannot confirm */
        return;
    }
    struct deletion_item *item = &d->items[d->item_count++];
    item->group = deletion_group_of(d, &node);
    item->tier = target->tier;
    item->key_len = cache_key(target->tier, at.generation, target->id, item->key);
    d->groups[item->group].count++;
}

static void deletion_ask(struct deletion *d, size_t group) {
    struct deletion_group *g = &d->groups[group];
    struct cache_op *ops = NEW_ARRAY(struct cache_op, g->count);
    size_t n = 0;
    for (size_t i = 0; i < d->item_count; i++)
        if (d->items[i].group == group)
            ops[n++] = (struct cache_op){.key = str_of(d->items[i].key, d->items[i].key_len)};
    d->open++;
    g->node.backend->del(g->node.node, ops, n, deletion_answered, g);
    mem_free(ops);
}

void cache_delete(struct cache *c, const struct placement_view *view, const struct cache_target *targets, size_t count,
                  cache_deleted_fn *done, void *ctx) {
    struct deletion *d = NEW(struct deletion);
    *d = (struct deletion){
        .call.cancel = deletion_cancel, .cache = c, .done = done, .ctx = ctx, .task.run = deletion_run};
    d->groups = NEW_ARRAY(struct deletion_group, count + 1);
    d->items = NEW_ARRAY(struct deletion_item, count + 1);
    d->failed = NEW_ARRAY(uint16_t, count + 1);
    list_add_tail(&c->open, &d->call.link);
    c->refs++;
    if (!view) d->err = ERR_STALE;
    for (size_t i = 0; i < count; i++) {
        if (view)
            deletion_place(d, view, &targets[i]);
        else
            metric_add(c->deletes[targets[i].tier][CACHE_DELETE_NO_LEASE], 1);
    }
    for (size_t g = 0; g < d->group_count; g++) deletion_ask(d, g);
    if (d->group_count == 0) loop_post(c->options.loop, &d->task);
}
