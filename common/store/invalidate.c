/*
 * Invalidation, see invalidate.h.
 *
 *   apply -> try: delete under the view of now
 *              confirmed                -> a target's slot has just moved: wait until nobody can read it where it was
 *                                       -> row queued for deletion -> ERR_OK
 *              a node did not confirm   -> eject it (once for all who wait for the same node) -> try again
 *              no lease, own queue full -> a little later -> try again
 *            deadline                   -> ERR_BUSY; the row stays
 *
 * Invariants
 * - ERR_OK only after every node that owns a target under a valid view confirmed. Why that is enough while the
 *   placement changes: a view that is valid now was read less than a lease after the change, and nobody fills a slot's
 *   new generation for one lease.
 * - A row is deleted only after its targets were confirmed. A row that stays by mistake is applied again: harmless.
 * - A job's memory stays until everything that owes it an answer has answered.
 */
#include "common/store/invalidate.h"

#include <string.h>

#include "common/base/clock.h"
#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/domain/id.h"
#include "common/sys/failpoint.h"

enum { FLUSH_MS = 50, FLUSH_ROWS = 100, RETRY_MS = 20 };

static const struct pg_statement delete_rows = {"invalidations_delete",
                                                "DELETE FROM invalidations i USING unnest($1::int4[], $2::int8[]) AS "
                                                "d(shard, id) WHERE i.shard = d.shard AND i.id = d.id"};
/* The table holds what is not confirmed yet, a few rows: reading all of it skips nothing, whatever order rows commit
 * in. */
static const struct pg_statement select_old = {
    "invalidations_select",
    "SELECT id, targets FROM invalidations WHERE created_at < clock_timestamp() - $1 * interval '1 millisecond' "
    "ORDER BY created_at LIMIT $2"};

static const struct metric_family applied_family = {"fanfare_invalidations_total", METRIC_COUNTER,
                                                    "Invalidations by result: ok, busy (a node neither confirmed nor "
                                                    "could be ejected in time), swept (by the sweeper)."};
static const struct metric_family ejections_family = {"fanfare_invalidation_ejections_total", METRIC_COUNTER,
                                                      "Nodes ejected because they did not confirm an invalidation."};

struct ejection {
    struct list link;
    struct invalidator *invalidator;
    uint16_t node_id;
    struct job **waiting; /* (own) */
    size_t count, cap;
};

struct job {
    struct list link; /* in open, until answered */
    struct invalidator *invalidator;
    uint64_t row;         /* 0: whoever asked deletes it */
    invalidated_fn *done; /* NULL once called */
    void *ctx;
    unsigned owed;               /* answers of the cache and of ejections that will come */
    uint64_t unsettled_until_ms; /* others may read a target where it was before, by the view of the last try */
    struct loop_timer retry;     /* the next try, or the end of that */
    struct loop_timer deadline;
    size_t count;
    struct cache_target targets[];
};

struct invalidator {
    struct loop *loop;
    struct cache *cache;         /* (ref) */
    struct placement *placement; /* (ref) */
    struct pg_pool *pool;        /* (ref) */
    uint64_t deadline_ms;
    struct list open;      /* jobs */
    struct list ejections; /* in progress */
    struct list sweeps;    /* in progress */
    struct loop_timer flush;
    uint64_t confirmed[FLUSH_ROWS]; /* rows to delete */
    size_t confirmed_count;
    size_t refs; /* the owner's and of what outlives it for a while */
    struct metric *ok, *busy, *swept, *ejected;
};

static void invalidator_unref(struct invalidator *i) {
    if (--i->refs == 0) mem_free(i);
}

/* ---- Rows ---- */

static enum err rows_delete(struct invalidator *i, const uint64_t *rows, size_t count, pg_done_fn *done, void *ctx) {
    struct arena arena;
    struct pg_params params;
    arena_init(&arena, 0);
    int32_t *shards = ARENA_ARRAY(&arena, int32_t, count);
    for (size_t n = 0; n < count; n++) shards[n] = (int32_t)id_shard(rows[n]);
    pg_params_init(&params, &arena);
    pg_param_int4_array(&params, shards, count);
    pg_param_int8_array(&params, rows, count);
    enum err err = pg_exec(i->pool, &delete_rows, &params, done, ctx);
    arena_fini(&arena);
    return err;
}

static void rows_deleted(void *ctx, enum err err, const struct pg_result *r) {
    (void)ctx, (void)err, (void)r; /* a row that stays is the sweeper's */
}

static void rows_flush(struct invalidator *i) {
    loop_timer_stop(&i->flush);
    if (i->confirmed_count) (void)rows_delete(i, i->confirmed, i->confirmed_count, rows_deleted, NULL);
    i->confirmed_count = 0;
}

static void flush_fire(struct loop_timer *t) {
    rows_flush(CONTAINER_OF(t, struct invalidator, flush));
}

static void row_confirmed(struct invalidator *i, uint64_t row) {
    i->confirmed[i->confirmed_count++] = row;
    if (i->confirmed_count == FLUSH_ROWS)
        rows_flush(i);
    else if (!i->flush.loop)
        loop_timer_start(i->loop, &i->flush, FLUSH_MS);
}

/* ---- A job ---- */

static void job_release(struct job *j) {
    if (j->owed || j->done) return;
    struct invalidator *i = j->invalidator;
    mem_free(j);
    invalidator_unref(i);
}

/* Answers; what is still owed finds nobody waiting. */
static void job_answer(struct job *j, enum err err) {
    invalidated_fn *done = j->done;
    void *ctx = j->ctx;
    if (!done) return;
    loop_timer_stop(&j->retry);
    loop_timer_stop(&j->deadline);
    list_del(&j->link);
    if (err == ERR_OK && j->row) row_confirmed(j->invalidator, j->row);
    if (err != ERR_CANCELED) metric_add(err ? j->invalidator->busy : j->invalidator->ok, 1);
    j->done = NULL;
    job_release(j);
    done(ctx, err);
}

static void job_deadline(struct loop_timer *t) {
    job_answer(CONTAINER_OF(t, struct job, deadline), ERR_BUSY);
}

static void job_try(struct job *j);

static void job_retry(struct loop_timer *t) {
    job_try(CONTAINER_OF(t, struct job, retry));
}

/* ---- Ejecting what does not confirm ---- */

static void ejected(void *ctx, enum err err) {
    struct ejection *e = ctx;
    struct invalidator *i = e->invalidator;
    list_del(&e->link);
    for (size_t n = 0; n < e->count; n++) {
        struct job *j = e->waiting[n];
        j->owed--;
        if (!j->done)
            job_release(j);
        else if (j->owed == 0)
            loop_timer_start(i->loop, &j->retry, err ? RETRY_MS : 0);
    }
    mem_free(e->waiting);
    mem_free(e);
    invalidator_unref(i);
}

static struct ejection *ejection_of(struct invalidator *i, uint16_t node_id, bool *ret_new) {
    for (struct list *n = i->ejections.next; n != &i->ejections; n = n->next) {
        struct ejection *e = CONTAINER_OF(n, struct ejection, link);
        if (e->node_id == node_id) return e;
    }
    struct ejection *e = NEW(struct ejection);
    e->invalidator = i;
    e->node_id = node_id;
    list_add_tail(&i->ejections, &e->link);
    i->refs++;
    *ret_new = true;
    return e;
}

static void job_wait_ejection(struct job *j, uint16_t node_id) {
    struct invalidator *i = j->invalidator;
    bool is_new = false;
    struct ejection *e = ejection_of(i, node_id, &is_new);
    if (e->count == e->cap) {
        e->cap = e->cap ? 2 * e->cap : 8;
        e->waiting = mem_grow(e->waiting, e->cap, sizeof(struct job *));
    }
    e->waiting[e->count++] = j;
    j->owed++;
    if (!is_new) return;
    metric_add(i->ejected, 1);
    placement_set_state(i->placement, node_id, NODE_EJECTED, "did not confirm an invalidation", i->loop, ejected, e);
}

/* ---- Deleting ---- */

static void job_settled(struct loop_timer *t) {
    job_answer(CONTAINER_OF(t, struct job, retry), ERR_OK);
}

static void job_confirmed(struct job *j) {
    struct loop *loop = j->invalidator->loop;
    uint64_t now = loop_now_ms(loop);
    (void)FAILPOINT("invalidate.after_delete");
    if (j->unsettled_until_ms <= now) {
        job_answer(j, ERR_OK);
        return;
    }
    j->retry.fire = job_settled;
    loop_timer_start(loop, &j->retry, j->unsettled_until_ms - now);
}

static void job_deleted(void *ctx, enum err err, const uint16_t *failed, size_t failed_count) {
    struct job *j = ctx;
    j->owed--;
    if (!j->done) {
        job_release(j);
        return;
    }
    if (err == ERR_OK) {
        job_confirmed(j);
        return;
    }
    if (err == ERR_CANCELED) { /* the cache is gone, and so are we in a moment */
        job_answer(j, err);
        return;
    }
    for (size_t n = 0; n < failed_count; n++) job_wait_ejection(j, failed[n]);
    if (failed_count == 0) loop_timer_start(j->invalidator->loop, &j->retry, RETRY_MS);
}

static uint64_t unsettled_ms(const struct placement_view *view, const struct job *j) {
    uint64_t longest = 0;
    for (size_t n = 0; n < j->count; n++) {
        uint64_t ms = placement_unsettled_ms(view, j->targets[n].tier, j->targets[n].id);
        if (ms > longest) longest = ms;
    }
    return longest;
}

static void job_try(struct job *j) {
    struct invalidator *i = j->invalidator;
    (void)FAILPOINT("invalidate.before_delete");
    if (j->count == 0 || FAILPOINT("invalidate.skip")) {
        job_answer(j, ERR_OK);
        return;
    }
    const struct placement_view *view = placement_acquire(i->placement);
    j->owed++;
    if (view) j->unsettled_until_ms = clock_mono_ms() + unsettled_ms(view, j);
    cache_delete(i->cache, view, j->targets, j->count, job_deleted, j);
    placement_release(view);
}

static void job_start(struct invalidator *i, uint64_t row, const uint64_t *targets, size_t count, invalidated_fn *done,
                      void *ctx) {
    struct job *j = mem_zalloc(sizeof(*j) + count / 2 * sizeof(j->targets[0]));
    j->invalidator = i;
    j->row = row;
    j->done = done;
    j->ctx = ctx;
    j->retry.fire = job_retry;
    j->deadline.fire = job_deadline;
    for (size_t n = 0; n + 1 < count; n += 2) {
        if (targets[n] >= TIER_COUNT) continue; /* of a tier that this version does not know, so does not serve from */
        j->targets[j->count++] = (struct cache_target){(enum tier)targets[n], targets[n + 1]};
    }
    list_add_tail(&i->open, &j->link);
    i->refs++;
    loop_timer_start(i->loop, &j->deadline, i->deadline_ms);
    /* Also when there is nothing to do: done is never called from within. */
    if (j->count)
        job_try(j);
    else
        loop_timer_start(i->loop, &j->retry, 0);
}

/* ---- Sweeping ---- */

struct sweep {
    struct list link;
    struct invalidator *invalidator;
    invalidated_fn *done; /* NULL once called */
    void *ctx;
    unsigned limit;
    size_t row_count;
    uint64_t *confirmed; /* (own) */
    size_t confirmed_count;
    size_t applying;
    enum err err;
};
struct swept_row {
    struct sweep *sweep;
    uint64_t row;
};

static void sweep_end(struct sweep *s, enum err err) {
    struct invalidator *i = s->invalidator;
    invalidated_fn *done = s->done;
    void *ctx = s->ctx;
    list_del(&s->link);
    mem_free(s->confirmed);
    mem_free(s);
    if (done) done(ctx, err);
    invalidator_unref(i);
}

static void sweep_deleted(void *ctx, enum err err, const struct pg_result *r) {
    struct sweep *s = ctx;
    (void)r;
    if (s->done && !err) metric_add(s->invalidator->swept, (int64_t)s->confirmed_count);
    if (!err) err = s->err ? s->err : s->row_count == s->limit ? ERR_BUSY : ERR_OK; /* BUSY: there may be more */
    sweep_end(s, err);
}

static void sweep_applied(struct sweep *s) {
    if (s->confirmed_count == 0 || !s->done) {
        sweep_end(s, s->err);
        return;
    }
    enum err err = rows_delete(s->invalidator, s->confirmed, s->confirmed_count, sweep_deleted, s);
    if (err) sweep_end(s, err);
}

static void sweep_row_done(void *ctx, enum err err) {
    struct swept_row *r = ctx;
    struct sweep *s = r->sweep;
    if (err)
        s->err = err;
    else
        s->confirmed[s->confirmed_count++] = r->row;
    mem_free(r);
    if (--s->applying == 0) sweep_applied(s);
}

static void sweep_selected(void *ctx, enum err err, const struct pg_result *result) {
    struct sweep *s = ctx;
    if (err || !s->done || pg_rows(result) == 0) {
        sweep_end(s, err);
        return;
    }
    struct arena arena;
    arena_init(&arena, 0);
    s->row_count = (size_t)pg_rows(result);
    s->confirmed = NEW_ARRAY(uint64_t, s->row_count);
    s->applying = s->row_count + 1; /* one for us: the end must not come before all have begun */
    for (int n = 0; n < (int)s->row_count; n++) {
        size_t count = 0;
        const uint64_t *targets = pg_int8_array(result, n, 1, &arena, &count);
        struct swept_row *r = NEW(struct swept_row);
        *r = (struct swept_row){s, pg_int8(result, n, 0)};
        job_start(s->invalidator, 0, targets, count, sweep_row_done, r);
    }
    arena_fini(&arena);
    if (--s->applying == 0) sweep_applied(s);
}

void invalidate_sweep(struct invalidator *i, uint64_t margin_ms, unsigned limit, invalidated_fn *done, void *ctx) {
    struct arena arena;
    struct pg_params params;
    struct sweep *s = NEW(struct sweep);
    *s = (struct sweep){.invalidator = i, .done = done, .ctx = ctx, .limit = limit};
    list_add_tail(&i->sweeps, &s->link);
    i->refs++;
    arena_init(&arena, 0);
    pg_params_init(&params, &arena);
    pg_param_int8(&params, margin_ms);
    pg_param_int8(&params, limit);
    enum err err = pg_exec(i->pool, &select_old, &params, sweep_selected, s);
    arena_fini(&arena);
    if (err) sweep_end(s, err);
}

/* ---- The door ---- */

struct invalidator *invalidator_new(struct loop *loop, struct cache *cache, struct placement *placement,
                                    struct pg_pool *pool, struct metrics *metrics, uint64_t deadline_ms) {
    struct invalidator *i = NEW(struct invalidator);
    i->loop = loop;
    i->cache = cache;
    i->placement = placement;
    i->pool = pool;
    i->deadline_ms = deadline_ms;
    i->refs = 1;
    i->flush.fire = flush_fire;
    list_init(&i->open);
    list_init(&i->ejections);
    list_init(&i->sweeps);
    i->ok = metrics_child(metrics, &applied_family, "result=\"ok\"");
    i->busy = metrics_child(metrics, &applied_family, "result=\"busy\"");
    i->swept = metrics_child(metrics, &applied_family, "result=\"swept\"");
    i->ejected = metrics_child(metrics, &ejections_family, "");
    return i;
}

void invalidator_free(struct invalidator **ip) {
    struct invalidator *i = *ip;
    if (!i) return;
    *ip = NULL;
    rows_flush(i);
    while (!list_empty(&i->sweeps)) {
        struct sweep *s = CONTAINER_OF(list_pop(&i->sweeps), struct sweep, link);
        invalidated_fn *done = s->done;
        s->done = NULL;
        if (done) done(s->ctx, ERR_CANCELED);
    }
    while (!list_empty(&i->open)) job_answer(CONTAINER_OF(i->open.next, struct job, link), ERR_CANCELED);
    rows_flush(i);
    invalidator_unref(i);
}

void invalidate_apply(struct invalidator *i, uint64_t row, const uint64_t *targets, size_t count, invalidated_fn *done,
                      void *ctx) {
    job_start(i, row, targets, row ? count : 0, done, ctx);
}
