/*
 * feedd's threads: one worker a thread, each with an event loop, an HTTP server on the shared port (SO_REUSEPORT) and
 * connections of its own. What workers share (struct feedd) is immutable after start or safe from any thread.
 */
#ifndef FEEDD_WORKER_H
#define FEEDD_WORKER_H

#include <pthread.h>
#include <stdatomic.h>

#include "common/service/service.h"
#include "common/store/cache.h"
#include "common/store/health.h"
#include "common/store/invalidate.h"
#include "common/store/memcache.h"
#include "common/store/pg.h"
#include "common/store/placement.h"
#include "common/store/queue.h"
#include "common/store/redis.h"
#include "common/store/timeline.h"
#include "common/sys/http.h"
#include "common/sys/jwt.h"
#include "common/sys/password.h"
#include "feedd/options.h"

struct limits;       /* limits.h: token buckets by user, shared by the workers */
struct publisher;    /* publish.h: collects ready posts into one statement */
struct rebuilds;     /* rebuild.h: single flight and admission of rebuilds */
struct feed_metrics; /* metrics.h: children, made at start */

struct feedd {
    struct service *service;         /* (ref) */
    const struct feedd_options *opt; /* (ref: service) */
    struct placement *placement;     /* (own) main loop */
    struct health *health;           /* (own) main loop */
    struct pg_pool *control;         /* (own) main loop: placement, backlog */
    struct memcache *memcache;       /* (own) store threads */
    struct jwt_keys *keys;           /* (own) */
    struct password_pool *passwords; /* (own) */
    struct limits *limits;           /* (own) */
    struct feed_metrics *metrics;    /* (own) */
    atomic_bool overloaded;          /* the fan-out backlog is past its bound: publishers get 503 */
    struct worker *workers;          /* (own) */
    unsigned worker_count;
};

struct worker {
    struct feedd *feedd; /* (ref) */
    pthread_t thread;
    struct loop *loop;               /* (own) */
    struct http_server *http;        /* (own) */
    struct pg_pool *fast;            /* (own) pipelined: point queries and writes */
    struct pg_pool *heavy;           /* (own) one statement a connection: rebuilds, deep pages; its size bounds them */
    struct redis_set *redis;         /* (own) cache nodes */
    struct redis *queue_redis;       /* (own) */
    struct queue *queue;             /* (own) producer */
    struct cache *cache;             /* (own) */
    struct timelines *timelines;     /* (own) */
    struct invalidator *invalidator; /* (own) */
    struct publisher *publisher;     /* (own) */
    struct rebuilds *rebuilds;       /* (own) */
};

#endif
