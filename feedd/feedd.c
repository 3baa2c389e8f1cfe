/*
 * The daemon: what the workers share, and its life.
 *
 *   start: keys -> control pool -> placement -> health -> store threads -> password pool -> workers (bound, then
 * running) -> backlog ready: placement has a lease, PostgreSQL answers, not draining drain: no new connections; until
 * no request is under way stop:  password pool (its results go to the workers' loops), workers, then the shared parts
 *
 * The main loop only polls (placement, health, backlog) and serves the admin endpoint; requests never touch it.
 */
#include "feedd/feedd.h"

#include <string.h>

#include "common/base/mem.h"
#include "common/sys/log.h"
#include "feedd/backlog.h"
#include "feedd/front.h"
#include "feedd/limits.h"
#include "feedd/metrics.h"

#define READY_POLL_MS           50
#define MEMCACHE_WAITING_MAX    16384 /* operations a node */
#define HEALTH_PROBE_MS         100
#define HEALTH_PROBE_TIMEOUT_MS 200
#define HEALTH_FAIL_AFTER_MS    500
#define HEALTH_READMIT_AFTER_MS 2000

struct drain_task {
    struct loop_task task;
    struct worker *worker; /* (ref) */
};
struct state {
    struct feedd feedd;
    struct front **fronts;     /* (own) one a worker */
    struct drain_task *drains; /* (own) one a worker */
    struct backlog *backlog;   /* (own) */
    struct loop_timer ready_timer;
    bool running; /* the workers' threads were started */
    atomic_bool placement_ready, database_up, draining;
};

/* What readiness depends on belongs to the main loop; /readyz is asked on any thread. */
static void refresh_ready(struct loop_timer *t) {
    struct state *s = CONTAINER_OF(t, struct state, ready_timer);
    atomic_store(&s->placement_ready, placement_ready(s->feedd.placement));
    atomic_store(&s->database_up, pg_pool_up(s->feedd.control) > 0);
    loop_timer_start(s->feedd.service->loop, t, READY_POLL_MS);
}

bool feedd_ready(struct service *service, struct buf *why_not) {
    struct state *s = service->state;
    if (!s) return false;
    if (!atomic_load(&s->database_up)) {
        service_reason(why_not, "PostgreSQL is not connected");
        return false;
    }
    if (!atomic_load(&s->placement_ready)) {
        service_reason(why_not, "the cache placement is not known yet or its lease has lapsed");
        return false;
    }
    if (atomic_load(&s->draining)) {
        service_reason(why_not, "draining");
        return false;
    }
    return true;
}

static void start_shared(struct state *s, struct service *service) {
    struct feedd *f = &s->feedd;
    const struct feedd_options *opt = f->opt;
    f->control = pg_pool_new(service->loop, &(struct pg_pool_options){
                                                .conninfo = opt->conninfo,
                                                .connections = 3, /* one statement each: polls wait for nothing */
                                                .depth = 1,
                                                .max_waiting = 64,
                                                .timeout_ms = (uint64_t)opt->database_timeout_ms,
                                                .application_name = "feedd control",
                                            });
    f->placement = placement_new(service->loop, f->control);
    f->health = health_new(&(struct health_options){
        .loop = service->loop,
        .placement = f->placement,
        .metrics = service->metrics,
        .probe_ms = HEALTH_PROBE_MS,
        .probe_timeout_ms = HEALTH_PROBE_TIMEOUT_MS,
        .fail_after_ms = HEALTH_FAIL_AFTER_MS,
        .readmit_after_ms = HEALTH_READMIT_AFTER_MS,
    });
    f->memcache = memcache_new((uint64_t)opt->cache_timeout_ms, MEMCACHE_WAITING_MAX);
    f->passwords = password_pool_new((unsigned)opt->password_threads, (unsigned)opt->password_queue,
                                     (unsigned)opt->argon2_ops, (size_t)opt->argon2_memory);
    struct limit_rate posts = {opt->posts_per_s, (uint32_t)opt->posts_burst};
    struct limit_rate reads = {opt->reads_per_s, (uint32_t)opt->reads_burst};
    struct limit_rate sign_ins = {opt->sign_ins_per_s, (uint32_t)opt->sign_ins_burst};
    f->limits = limits_new((struct limit_rate[LIMIT_KINDS]){
        [LIMIT_POSTS] = posts, [LIMIT_READS] = reads, [LIMIT_SIGN_IN] = sign_ins, [LIMIT_HANDLE] = posts});
    f->metrics = feed_metrics_new(service->metrics);
}

static enum err start_workers(struct state *s, char **ret_message) {
    struct feedd *f = &s->feedd;
    unsigned count = (unsigned)f->opt->threads;
    uint16_t port = (uint16_t)f->opt->port;
    f->workers = mem_zalloc(count * sizeof(*f->workers));
    s->fronts = mem_zalloc(count * sizeof(struct front *));
    s->drains = mem_zalloc(count * sizeof(*s->drains));
    for (; f->worker_count < count; f->worker_count++) {
        struct worker *w = &f->workers[f->worker_count];
        enum err err = worker_init(w, f, &s->fronts[f->worker_count], port, &port, ret_message);
        if (err != ERR_OK) return err;
        s->drains[f->worker_count].worker = w;
    }
    for (unsigned i = 0; i < count; i++) worker_run(&f->workers[i]);
    s->running = true;
    log_info("listening url=http://%s:%u workers=%u", f->opt->address, port, count);
    return ERR_OK;
}

enum err feedd_start(struct service *service, char **ret_message) {
    const struct feedd_options *opt = service->options;
    struct jwt_keys *keys = NULL;
    char *why = NULL;
    enum err err = jwt_keys_new(opt->jwt_keys, opt->jwt_issuer, &keys, &why);
    if (err != ERR_OK) {
        *ret_message = mem_printf("[auth] jwt_keys: %s", why ? why : err_text(err));
        mem_free(why);
        return err;
    }
    struct state *s = NEW(struct state);
    service->state = s;
    s->feedd.service = service;
    s->feedd.opt = opt;
    s->feedd.keys = keys;
    start_shared(s, service);
    err = start_workers(s, ret_message);
    if (err != ERR_OK) {
        feedd_stop(service);
        return err;
    }
    s->backlog = backlog_new(&s->feedd, service->loop);
    s->ready_timer.fire = refresh_ready;
    loop_timer_start(service->loop, &s->ready_timer, 0);
    return ERR_OK;
}

static void drain_worker(struct loop_task *t) {
    struct drain_task *d = CONTAINER_OF(t, struct drain_task, task);
    http_server_drain(d->worker->http);
}

bool feedd_drain(struct service *service) {
    struct state *s = service->state;
    if (!atomic_exchange(&s->draining, true)) {
        for (unsigned i = 0; i < s->feedd.worker_count; i++) {
            s->drains[i].task.run = drain_worker;
            loop_post(s->feedd.workers[i].loop, &s->drains[i].task);
        }
        return false; /* requests that were just read are counted on the next call */
    }
    unsigned open = 0;
    for (unsigned i = 0; i < s->feedd.worker_count; i++) open += front_open(s->fronts[i]);
    return open == 0;
}

void feedd_stop(struct service *service) {
    struct state *s = service->state;
    if (!s) return;
    struct feedd *f = &s->feedd;
    service->state = NULL;
    loop_timer_stop(&s->ready_timer);
    password_pool_free(&f->passwords);
    for (unsigned i = 0; i < f->worker_count; i++) worker_stop(&f->workers[i], &s->fronts[i], s->running);
    health_free(&f->health);
    pg_pool_free(&f->control);
    backlog_free(&s->backlog);
    placement_free(&f->placement);
    memcache_free(&f->memcache);
    /* The last: store threads and placement may have posted to them until now. */
    for (unsigned i = 0; i < f->worker_count; i++) worker_fini(&f->workers[i]);
    jwt_keys_free(&f->keys);
    limits_free(&f->limits);
    feed_metrics_free(&f->metrics);
    mem_free(s->drains);
    mem_free(s->fronts);
    mem_free(f->workers);
    mem_free(s);
}
