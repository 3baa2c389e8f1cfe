/*
 * fanoutd: takes fan-out jobs from the queue and delivers posts to the timelines of those who follow their author.
 *
 *   main loop   placement, health, keeper (keeper.h), admin endpoint
 *   worker      one thread each: intake -> schedule -> round: slice, plan, deliver, confirm -> acknowledge (round.c)
 *
 * It keeps no state: killed at any instruction, the outbox row is still there and the queue entry is claimed by another
 * or added again.
 */

#include "common/base/mem.h"
#include "fanoutd/keeper.h"
#include "fanoutd/worker.h"

static enum err fanoutd_start(struct service *s, char **ret_message) {
    (void)ret_message;
    struct fanoutd *d = NEW(struct fanoutd);
    s->state = d;
    d->service = s;
    d->opt = s->options;
    fanout_metrics_init(&d->metrics, s->metrics);
    d->control = pg_pool_new(s->loop, &(struct pg_pool_options){
                                          .conninfo = d->opt->conninfo,
                                          .connections = 3, /* one statement each: polls wait for nothing */
                                          .depth = 1,
                                          .max_waiting = 64,
                                          .timeout_ms = (uint64_t)d->opt->database_timeout_ms,
                                          .application_name = "fanoutd-control",
                                      });
    d->placement = placement_new(s->loop, d->control);
    d->health = health_new(&(struct health_options){
        .loop = s->loop,
        .placement = d->placement,
        .metrics = s->metrics,
        .probe_ms = 100,
        .probe_timeout_ms = 200,
        .fail_after_ms = 500,
        .readmit_after_ms = 2000,
    });
    d->keeper = keeper_new(d);
    d->worker_count = (unsigned)d->opt->workers;
    d->workers = mem_zalloc(d->worker_count * sizeof(*d->workers));
    for (unsigned i = 0; i < d->worker_count; i++) worker_start(&d->workers[i], d, i);
    return ERR_OK;
}

static bool fanoutd_ready(struct service *s, struct buf *why_not) {
    struct fanoutd *d = s->state;
    size_t before = why_not->len;
    if (!pg_pool_up(d->control)) service_reason(why_not, "PostgreSQL is not connected");
    if (!placement_ready(d->placement))
        service_reason(why_not, "the placement table is not there, or its lease has lapsed");
    if (!keeper_queue_up(d->keeper)) service_reason(why_not, "the queue's Redis is not connected");
    return why_not->len == before;
}

static bool fanoutd_drain(struct service *s) {
    struct fanoutd *d = s->state;
    bool drained = true;
    keeper_stop(d->keeper);
    for (unsigned i = 0; i < d->worker_count; i++) {
        struct worker *w = &d->workers[i];
        if (!w->drain_task.run) worker_drain(w);
        drained = drained && atomic_load(&w->drained);
    }
    return drained;
}

static void fanoutd_stop(struct service *s) {
    struct fanoutd *d = s->state;
    if (!d) return;
    for (unsigned i = 0; i < d->worker_count; i++) worker_stop(&d->workers[i]);
    keeper_free(&d->keeper);
    health_free(&d->health);
    placement_free(&d->placement);
    for (unsigned i = 0; i < d->worker_count; i++)
        worker_fini(&d->workers[i]); /* placement may still have posted to their loops */
    pg_pool_free(&d->control);
    mem_free(d->workers);
    mem_free(d);
    s->state = NULL;
}

int main(int argc, char **argv) {
    static const struct service_def def = {
        .name = "fanoutd",
        .tables = FANOUTD_OPTIONS,
        .options_size = sizeof(struct fanoutd_options),
        .start = fanoutd_start,
        .ready = fanoutd_ready,
        .drain = fanoutd_drain,
        .stop = fanoutd_stop,
    };
    return service_main(argc, argv, &def);
}
