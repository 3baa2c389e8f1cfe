/*
 * One worker: a thread, its loop, and everything that belongs to that loop.
 *
 * Order matters. The HTTP server's hook runs first in a loop turn (it reads requests and writes answers), then the
 * publisher's (it makes one statement of what this turn brought), then those of the backends, which flush once what the
 * others queued. Freed in an order that lets everything that is open complete: backends first, the front, which owns
 * the requests, last.
 */
#include "feedd/feedd.h"

#include <stdlib.h>
#include <string.h>

#include "common/sys/log.h"
#include "feedd/front.h"
#include "feedd/loaders.h"
#include "feedd/publish.h"
#include "feedd/rebuild.h"

#define FAST_DEPTH        32   /* statements in flight a connection */
#define FAST_WAITING_MAX  8192 /* statements */
#define HEAVY_WAITING_MAX 256  /* statements */
#define REDIS_PENDING_MAX 65536
#define BUILDING_TTL_MS   10000 /* a rebuild that takes longer has failed */

static void node_failed(void *ctx, uint16_t node_id, enum err err) {
    struct worker *w = ctx;
    health_report(w->feedd->health, node_id, err);
}

static enum err make_http(struct worker *w, struct front *front, uint16_t port, uint16_t *ret_port,
                          char **ret_message) {
    const struct feedd_options *opt = w->feedd->opt;
    struct http_options options = {
        .address = opt->address,
        .port = port,
        .max_connections = (unsigned)opt->max_connections,
        .idle_timeout_s = (unsigned)((opt->idle_timeout_ms + 999) / 1000),
        .max_body = (size_t)opt->max_body,
    };
    front_http_options(front, &options);
    enum err err = http_server_new(w->loop, &options, &w->http, ret_message);
    if (err == ERR_OK) *ret_port = http_server_port(w->http);
    return err;
}

static struct pg_pool *make_pool(struct worker *w, const char *name, int64_t connections, unsigned depth,
                                 unsigned max_waiting) {
    const struct feedd_options *opt = w->feedd->opt;
    return pg_pool_new(w->loop, &(struct pg_pool_options){
                                    .conninfo = opt->conninfo,
                                    .connections = (unsigned)connections,
                                    .depth = depth,
                                    .max_waiting = max_waiting,
                                    .timeout_ms = (uint64_t)opt->database_timeout_ms,
                                    .application_name = name,
                                    .lookups_only = true,
                                });
}

static void make_backends(struct worker *w) {
    const struct feedd_options *opt = w->feedd->opt;
    w->fast = make_pool(w, "feedd fast", opt->fast_connections, FAST_DEPTH, FAST_WAITING_MAX);
    w->heavy = make_pool(w, "feedd heavy", opt->heavy_connections, 1, HEAVY_WAITING_MAX);
    w->redis = redis_set_new(w->loop, (uint64_t)opt->cache_timeout_ms, REDIS_PENDING_MAX);
    w->queue_redis = redis_new(w->loop, opt->queue_address, (uint64_t)opt->queue_timeout_ms, REDIS_PENDING_MAX);
    w->queue = queue_new(w->queue_redis, NULL);
}

static void make_stores(struct worker *w) {
    struct feedd *feedd = w->feedd;
    const struct feedd_options *opt = feedd->opt;
    w->cache = cache_new(&(struct cache_options){
        .loop = w->loop,
        .placement = feedd->placement,
        .redis = w->redis,
        .memcache = feedd->memcache,
        .metrics = feedd->service->metrics,
        .node_failed = node_failed,
        .ctx = w,
    });
    w->timelines = timelines_new(&(struct timelines_options){
        .redis = w->redis,
        .cap = (unsigned)opt->timeline_cap,
        .slack = (unsigned)opt->timeline_slack,
        .ttl_ms = (uint64_t)opt->timeline_ttl_ms,
        .building_ttl_ms = BUILDING_TTL_MS,
        .lateness_ms = (uint64_t)opt->lateness_ms,
    });
    w->invalidator = invalidator_new(w->loop, w->cache, feedd->placement, w->fast, feedd->service->metrics,
                                     (uint64_t)opt->invalidate_deadline_ms);
    loaders_register(w);
    w->rebuilds = rebuilds_new(w);
}

enum err worker_init(struct worker *w, struct feedd *feedd, struct front **ret_front, uint16_t port, uint16_t *ret_port,
                     char **ret_message) {
    w->feedd = feedd;
    w->loop = loop_new();
    struct front *front = front_new(w);
    enum err err = make_http(w, front, port, ret_port, ret_message);
    if (err != ERR_OK) {
        front_free(&front);
        loop_free(&w->loop);
        return err;
    }
    w->publisher = publisher_new(w);
    make_backends(w);
    make_stores(w);
    *ret_front = front;
    return ERR_OK;
}

static void *thread_main(void *arg) {
    struct worker *w = arg;
    loop_run(w->loop);
    return NULL;
}

void worker_run(struct worker *w) {
    int failed = pthread_create(&w->thread, NULL, thread_main, w);
    if (failed) { /* at start only: nothing to save */
        log_error("cannot start a thread error=\"%s\"", strerror(failed));
        abort();
    }
}

void worker_stop(struct worker *w, struct front **front, bool running) {
    if (running) {
        loop_stop(w->loop);
        pthread_join(w->thread, NULL);
    }
    http_server_free(&w->http);
    rebuilds_free(&w->rebuilds); /* before the pool, whose end would let the next one in */
    pg_pool_free(&w->heavy);
    pg_pool_free(&w->fast);
    queue_free(&w->queue);
    redis_free(&w->queue_redis);
    invalidator_free(&w->invalidator);
    timelines_free(&w->timelines);
    cache_free(&w->cache);
    redis_set_free(&w->redis);
    publisher_free(&w->publisher);
    front_free(front);
}

void worker_fini(struct worker *w) {
    loop_free(&w->loop);
}
