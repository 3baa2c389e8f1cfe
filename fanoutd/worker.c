/*
 * A worker: makes its connections, keeps up to `rounds` rounds in flight, ends in order.
 *
 * Order of the end: the loop's thread has returned; the pool goes first, which gives back the rounds that wait for
 * PostgreSQL; then the outlets, which forget open deliveries; then what they all stood on. Jobs of rounds that were cut
 * off stay with the queue and the outbox.
 */
#include "fanoutd/worker.h"

#include <stdlib.h>

#include "common/base/mem.h"
#include "common/sys/log.h"
#include "fanoutd/deliver.h"
#include "fanoutd/intake.h"
#include "fanoutd/round.h"

#define BUILDING_TTL_MS  10000 /* only feedd builds; the script needs none from here */
#define DATABASE_WAIT_MS 50
#define NODE_PENDING     20000 /* scripts in flight a node */

void worker_turn(struct worker *w) {
    if (w->turning) return; /* a round ended while it was being started: the loop below goes on */
    if (w->draining) {
        if (!w->rounds) atomic_store(&w->drained, true);
        return;
    }
    intake_wants(w->intake);
    if (!pg_pool_up(w->pool)) { /* nothing can be started: the jobs wait as they are */
        loop_timer_start(w->loop, &w->wake, DATABASE_WAIT_MS);
        return;
    }
    unsigned most = (unsigned)w->fanoutd->opt->rounds;
    w->turning = true;
    while (w->rounds < most && round_start(w)) {
    }
    w->turning = false;
    intake_wants(w->intake);
    uint64_t due = schedule_next_due(&w->schedule), now = loop_now_ms(w->loop);
    if (due != UINT64_MAX) loop_timer_start(w->loop, &w->wake, due > now ? due - now : 1);
}

static void on_wake(struct loop_timer *t) {
    worker_turn(CONTAINER_OF(t, struct worker, wake));
}

static void on_drain(struct loop_task *t) {
    struct worker *w = CONTAINER_OF(t, struct worker, drain_task);
    w->draining = true;
    intake_stop(w->intake);
    worker_turn(w);
}

void worker_drain(struct worker *w) {
    w->drain_task.run = on_drain;
    loop_post(w->loop, &w->drain_task);
}

static void *worker_run(void *arg) {
    struct worker *w = arg;
    worker_turn(w);
    loop_run(w->loop);
    return NULL;
}

static void make_stores(struct worker *w) {
    const struct fanoutd_options *o = w->fanoutd->opt;
    w->pool = pg_pool_new(w->loop, &(struct pg_pool_options){
                                       .conninfo = o->conninfo,
                                       .connections = (unsigned)o->connections,
                                       .depth = 1, /* each statement is heavy; two connections work side by side */
                                       .max_waiting = (unsigned)o->rounds * 2 + 4,
                                       .timeout_ms = (uint64_t)o->database_timeout_ms,
                                       .application_name = "fanoutd",
                                       .lookups_only = true,
                                   });
    w->redis = redis_set_new(w->loop, (uint64_t)o->cache_timeout_ms, NODE_PENDING);
    w->timelines = timelines_new(&(struct timelines_options){
        .redis = w->redis,
        .cap = (unsigned)o->timeline_cap,
        .slack = (unsigned)o->timeline_slack,
        .ttl_ms = (uint64_t)o->timeline_ttl_ms,
        .building_ttl_ms = BUILDING_TTL_MS,
        .lateness_ms = (uint64_t)o->lateness_ms,
    });
}

void worker_start(struct worker *w, struct fanoutd *d, unsigned number) {
    const struct fanoutd_options *o = d->opt;
    *w = (struct worker){.fanoutd = d, .number = number, .loop = loop_new()};
    list_init(&w->open_rounds);
    list_init(&w->spare_rounds);
    w->wake.fire = on_wake;
    schedule_init(&w->schedule, &(struct schedule_options){
                                    .batch_jobs = (unsigned)o->batch_jobs,
                                    .batch_followers = (unsigned)o->batch_followers,
                                    .huge_slices = (unsigned)o->huge_slices,
                                    .held_max = (unsigned)o->held_max,
                                });
    make_stores(w);
    w->outlets = outlets_new(w);
    w->intake = intake_new(w);
    if (pthread_create(&w->thread, NULL, worker_run, w) != 0) {
        log_error("no thread for a worker: raise the limit of processes or lower fanoutd.workers");
        abort();
    }
    w->started = true;
}

void worker_stop(struct worker *w) {
    if (!w->started) return;
    loop_stop(w->loop);
    pthread_join(w->thread, NULL);
    w->draining = true; /* nothing starts any more */
    pg_pool_free(&w->pool);
    outlets_free(&w->outlets); /* and w->redis with them */
    intake_free(&w->intake);
    rounds_free(w);
    timelines_free(&w->timelines);
    schedule_fini(&w->schedule);
    loop_timer_stop(&w->wake);
}

void worker_fini(struct worker *w) {
    loop_free(&w->loop);
}
