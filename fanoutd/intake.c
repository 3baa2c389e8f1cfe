/*
 * Intake. Two connections, because a blocked read holds up its own:
 *
 *   reader   XREADGROUP, waiting up to BLOCK_MS when there is nothing; the next read goes out as soon as the schedule
 *            has room
 *   hands    each TOUCH_MS: XCLAIM JUSTID of all that is held; each CLAIM_MS: XAUTOCLAIM of what has been idle for
 *            claim_idle; XACK + XDEL
 *
 * The consumer's name is unique to this start of this process: what an earlier one held is claimed, not mistaken for
 * ours.
 */
#include "fanoutd/intake.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/sys/failpoint.h"
#include "common/sys/log.h"

#define BLOCK_MS      1000
#define TOUCH_MS      4000
#define CLAIM_MS      3000
#define CLAIM_MORE_MS 50
#define BACKOFF_MS    200
#define PENDING       4096

struct intake {
    struct worker *w;                         /* (ref) */
    struct redis *reader_redis, *hands_redis; /* (own) */
    struct queue *reader, *hands;             /* (own) */
    struct arena read_arena, claim_arena;     /* items of the read and the claim in flight */
    bool reading, claiming, touching, stopped;
    struct loop_timer backoff, touch_timer, claim_timer;
};

static void take_in(struct intake *in, const struct queue_item *items, size_t count) {
    struct worker *w = in->w;
    struct fanout_metrics *m = &w->fanoutd->metrics;
    const struct queue_item **drop = count ? NEW_ARRAY(const struct queue_item *, count) : NULL;
    size_t dropped = 0;
    for (size_t i = 0; i < count; i++) {
        if (!items[i].valid) {
            log_warn("queue entry cannot be decoded, dropped: id=%s", items[i].id);
            metric_add(m->jobs[JOB_INVALID], 1);
            drop[dropped++] = &items[i];
            continue;
        }
        switch (schedule_add(&w->schedule, &items[i])) {
        case SCHEDULE_ADDED:
            metric_add(m->held, 1);
            break;
        case SCHEDULE_DUPLICATE:
            metric_add(m->jobs[JOB_DUPLICATE], 1);
            drop[dropped++] = &items[i];
            break;
        case SCHEDULE_KNOWN:
            break;
        }
    }
    if (dropped) intake_ack(in, drop, dropped);
    mem_free(drop);
}

/* --- new jobs --- */

static void on_backoff(struct loop_timer *t) {
    intake_wants(CONTAINER_OF(t, struct intake, backoff));
}

static void read_failed(struct intake *in, enum err err) {
    if (err != ERR_CANCELED && LOG_EVERY_MS(5000)) log_warn("queue does not answer: err=%s", err_name(err));
    loop_timer_start(in->w->loop, &in->backoff, BACKOFF_MS);
}

static void on_read(void *ctx, enum err err, const struct queue_item *items, size_t count) {
    struct intake *in = ctx;
    in->reading = false;
    if (in->stopped) return;
    if (err != ERR_OK) {
        read_failed(in, err);
        return;
    }
    if (count && FAILPOINT("fanout.after_read")) count = 0; /* as if forgotten: they are claimed or swept */
    take_in(in, items, count);
    worker_turn(in->w);
    intake_wants(in);
}

void intake_wants(struct intake *in) {
    if (in->reading || in->stopped || in->backoff.loop) return;
    unsigned wants = schedule_wants(&in->w->schedule);
    if (!wants) return;
    arena_reset(&in->read_arena);
    enum err err = queue_read(in->reader, wants, BLOCK_MS, &in->read_arena, on_read, in);
    in->reading = err == ERR_OK;
    if (err != ERR_OK) read_failed(in, err);
}

/* --- jobs of dead workers --- */

static void on_claimed(void *ctx, enum err err, const struct queue_item *items, size_t count) {
    struct intake *in = ctx;
    in->claiming = false;
    if (err != ERR_OK || in->stopped) return;
    if (count) {
        log_info("took over jobs that were idle: count=%zu", count);
        loop_timer_start(in->w->loop, &in->claim_timer, CLAIM_MORE_MS); /* where there was one there may be more */
    }
    take_in(in, items, count);
    worker_turn(in->w);
}

static void on_claim_timer(struct loop_timer *t) {
    struct intake *in = CONTAINER_OF(t, struct intake, claim_timer);
    loop_timer_start(in->w->loop, t, CLAIM_MS / 2 + random_u64() % CLAIM_MS);
    unsigned wants = schedule_wants(&in->w->schedule);
    if (in->claiming || in->stopped || !wants) return;
    arena_reset(&in->claim_arena);
    uint64_t idle = (uint64_t)in->w->fanoutd->opt->claim_idle_ms;
    in->claiming = queue_claim(in->hands, idle, wants, &in->claim_arena, on_claimed, in) == ERR_OK;
}

/* --- what is held --- */

static void on_touched(void *ctx, enum err err, uint64_t value) {
    struct intake *in = ctx;
    (void)err;
    (void)value;
    in->touching = false;
}

static void on_touch_timer(struct loop_timer *t) {
    struct intake *in = CONTAINER_OF(t, struct intake, touch_timer);
    struct map *jobs = &in->w->schedule.jobs;
    /* Well under the idle time after which others take over. */
    uint64_t third = (uint64_t)in->w->fanoutd->opt->claim_idle_ms / 3;
    loop_timer_start(in->w->loop, t, third < TOUCH_MS ? third : TOUCH_MS);
    if (in->touching || !jobs->count) return;
    const struct queue_item **items = NEW_ARRAY(const struct queue_item *, jobs->count);
    size_t n = 0;
    struct map_entry *e;
    for (size_t i = 0; (e = map_next(jobs, &i));) items[n++] = &((struct held_job *)e->value)->item;
    in->touching = queue_touch(in->hands, items, n, on_touched, in) == ERR_OK;
    mem_free(items);
}

static void on_acked(void *ctx, enum err err, uint64_t value) {
    (void)ctx;
    (void)value;
    if (FAILPOINT("fanout.after_ack")) return;
    if (err != ERR_OK && err != ERR_CANCELED && LOG_EVERY_MS(5000)) {
        log_warn("done jobs could not be acknowledged, they will be claimed: err=%s", err_name(err));
    }
}

void intake_ack(struct intake *in, const struct queue_item *const *items, size_t count) {
    if (!count || FAILPOINT("fanout.before_ack")) return;
    enum err err = queue_ack(in->hands, items, count, on_acked, in);
    if (err != ERR_OK) on_acked(in, err, 0);
}

void intake_stop(struct intake *in) {
    in->stopped = true;
    loop_timer_stop(&in->backoff);
    loop_timer_stop(&in->claim_timer);
}

static void consumer_name(const struct worker *w, char *ret, size_t size) {
    char host[64];
    if (gethostname(host, sizeof(host)) != 0) host[0] = 0;
    host[sizeof(host) - 1] = 0;
    snprintf(ret, size, "%s-%d-%u-%08" PRIx32, host, (int)getpid(), w->number, (uint32_t)random_u64());
}

struct intake *intake_new(struct worker *w) {
    const struct fanoutd_options *o = w->fanoutd->opt;
    struct intake *in = NEW(struct intake);
    in->w = w;
    uint64_t timeout = (uint64_t)o->queue_timeout_ms;
    in->reader_redis = redis_new(w->loop, o->queue_address, timeout + BLOCK_MS, 16);
    in->hands_redis = redis_new(w->loop, o->queue_address, timeout, PENDING);
    char name[128];
    consumer_name(w, name, sizeof(name));
    in->reader = queue_new(in->reader_redis, name);
    in->hands = queue_new(in->hands_redis, name);
    arena_init(&in->read_arena, 64 * 1024);
    arena_init(&in->claim_arena, 64 * 1024);
    in->backoff.fire = on_backoff;
    in->touch_timer.fire = on_touch_timer;
    in->claim_timer.fire = on_claim_timer;
    loop_timer_start(w->loop, &in->touch_timer, TOUCH_MS);
    loop_timer_start(w->loop, &in->claim_timer, 500 + random_u64() % CLAIM_MS);
    return in;
}

void intake_free(struct intake **inp) {
    struct intake *in = *inp;
    if (!in) return;
    intake_stop(in);
    loop_timer_stop(&in->touch_timer);
    redis_free(&in->reader_redis);
    redis_free(&in->hands_redis);
    queue_free(&in->reader);
    queue_free(&in->hands);
    arena_fini(&in->read_arena);
    arena_fini(&in->claim_arena);
    mem_free(in);
    *inp = NULL;
}
