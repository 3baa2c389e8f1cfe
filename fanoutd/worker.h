/*
 * fanoutd's threads. The main loop has what there is once a process (placement, health, the keeper's work); each worker
 * is a thread with an event loop and connections of its own, and shares nothing with the others but what is safe from
 * any thread.
 */
#ifndef FANOUTD_WORKER_H
#define FANOUTD_WORKER_H

#include <pthread.h>
#include <stdatomic.h>

#include "common/service/service.h"
#include "common/store/health.h"
#include "common/store/pg.h"
#include "common/store/placement.h"
#include "common/store/queue.h"
#include "common/store/redis.h"
#include "common/store/timeline.h"
#include "fanoutd/metrics.h"
#include "fanoutd/options.h"
#include "fanoutd/schedule.h"

struct keeper;  /* keeper.h */
struct intake;  /* intake.h */
struct outlets; /* deliver.h */
struct round;   /* round.h */

struct fanoutd {
    struct service *service;           /* (ref) */
    const struct fanoutd_options *opt; /* (ref: service) */
    struct pg_pool *control;           /* (own) main loop: placement */
    struct placement *placement;       /* (own) main loop; views from any thread */
    struct health *health;             /* (own) main loop; reports from any thread */
    struct keeper *keeper;             /* (own) main loop */
    struct fanout_metrics metrics;
    struct worker *workers; /* (own) */
    unsigned worker_count;
};

struct worker {
    struct fanoutd *fanoutd; /* (ref) */
    unsigned number;
    pthread_t thread;
    bool started;
    struct loop *loop;           /* (own) */
    struct pg_pool *pool;        /* (own) */
    struct redis_set *redis;     /* (own) timeline nodes: scripts */
    struct timelines *timelines; /* (own) */
    struct outlets *outlets;     /* (own) timeline nodes: pushes */
    struct intake *intake;       /* (own) the queue */
    struct schedule schedule;
    unsigned rounds;          /* in flight */
    struct list open_rounds;  /* (own) in flight */
    struct list spare_rounds; /* (own) finished ones, memory kept */
    bool turning;
    struct loop_timer wake; /* resting jobs */
    struct loop_task drain_task;
    bool draining;
    atomic_bool drained; /* no round is in flight and none will start */
};

/* Main thread. start: connections are made in the background; nothing blocks. stop: ends the thread and frees all but
 * its loop, which fini does. */
void worker_start(struct worker *w, struct fanoutd *d, unsigned number);
void worker_drain(struct worker *w); /* asks for it; see drained */
void worker_stop(struct worker *w);
void worker_fini(struct worker *w);

/* The worker's own thread: starts rounds while there is work and room. Called when jobs came or a round ended. */
void worker_turn(struct worker *w);

#endif
