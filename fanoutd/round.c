/*
 * A round.
 *
 *   pick      jobs from the schedule
 *   slice     PostgreSQL, one statement: outbox row (author, position), is the post alive, the next followers, packed
 *   plan      under one placement view: its version is what the round is worth; without a lease it waits here
 *   deliver   each node's part (deliver.c), all at once
 *   confirm   PostgreSQL, one statement: done rows deleted, other positions saved, only under the planned version
 *   settle    done: acknowledged.  more followers: back to the schedule.  placement changed: again from the saved
 *             position
 *
 * Each step is one function that ends by starting the next or by giving the jobs back. Whatever goes wrong on the way,
 * a job goes back to the schedule and its slice is done again from the outbox row: delivering twice is harmless, losing
 * is not possible while the row is there.
 *
 * The confirm statement commits asynchronously: a confirmation lost in a crash of PostgreSQL means that a slice is
 * delivered again, nothing else.
 */
#include "fanoutd/round.h"

#include <inttypes.h>

#include "common/base/arena.h"
#include "common/base/mem.h"
#include "common/domain/id.h"
#include "common/domain/plan.h"
#include "common/sys/failpoint.h"
#include "common/sys/log.h"
#include "fanoutd/deliver.h"
#include "fanoutd/intake.h"

#define LEASE_RETRY_MS 50
#define ARENA_BLOCK    (256 * 1024)

/*
 * LIMIT 1 keeps the lookups nested loops by primary key, whatever the planner believes about sizes. The order of the
 * packed followers is the subquery's; it is checked when they are unpacked.
 */
static const struct pg_statement SLICE = {
    "fanout_slice", "SELECT o.author_id, o.position, coalesce(p.alive, false), f.packed"
                    " FROM unnest($1::bigint[]) WITH ORDINALITY AS j (post_id, i)"
                    " LEFT JOIN LATERAL (SELECT author_id, position FROM outbox"
                    "                    WHERE shard = shard_of(j.post_id) AND post_id = j.post_id LIMIT 1) o ON true"
                    " LEFT JOIN LATERAL (SELECT deleted_at IS NULL AS alive FROM posts"
                    "                    WHERE shard = shard_of(j.post_id) AND id = j.post_id LIMIT 1) p ON true"
                    " LEFT JOIN LATERAL (SELECT string_agg(int8send(s.follower), ''::bytea) AS packed"
                    "                    FROM (SELECT follower FROM followers WHERE shard = shard_of(o.author_id) AND "
                    "followee = o.author_id"
                    "                          AND follower > o.position ORDER BY follower LIMIT $2) s) f ON true"
                    " ORDER BY j.i"};

static const struct pg_statement CONFIRM = {
    "fanout_confirm",
    "WITH planned AS MATERIALIZED (SELECT version = $1 AS same FROM cache_tiers WHERE id = 0),"
    " done AS (DELETE FROM outbox o USING unnest($2::bigint[]) d (post_id)"
    "          WHERE o.shard = shard_of(d.post_id) AND o.post_id = d.post_id AND (SELECT same FROM planned)),"
    " moved AS (UPDATE outbox o SET position = greatest(o.position, m.position)"
    "           FROM unnest($3::bigint[], $4::bigint[]) m (post_id, position)"
    "           WHERE o.shard = shard_of(m.post_id) AND o.post_id = m.post_id AND (SELECT same FROM planned)"
    "           RETURNING o.post_id)"
    " SELECT coalesce((SELECT same FROM planned), false), ARRAY(SELECT post_id FROM moved),"
    " set_config('synchronous_commit', 'off', true)"};

enum fate {
    FATE_PUSH,    /* this slice is to be delivered */
    FATE_GONE,    /* no outbox row: somebody has finished it */
    FATE_DELETED, /* nobody is to see it: done without a delivery */
};

struct part { /* of a job: its slice */
    struct held_job *job;
    enum fate fate;
    uint64_t author;
    uint64_t position;
    uint64_t last;                  /* follower the position moves to */
    const unsigned char *followers; /* (ref: arena) */
    size_t count;
    bool final; /* no followers beyond this slice */
};

struct round {
    struct list link; /* spare_rounds, or all rounds in flight */
    struct worker *w; /* (ref) */
    struct arena arena;
    struct part *parts; /* (ref: arena) */
    size_t count;
    uint64_t version; /* of the placement it was planned with */
    unsigned open;    /* deliveries, and one while they are being started */
    bool stale;
    struct loop_timer wait;
};

/* --- settle --- */

static void round_end(struct round *r) {
    struct worker *w = r->w;
    loop_timer_stop(&r->wait);
    arena_reset(&r->arena);
    r->count = 0;
    list_del(&r->link);
    list_add_tail(&w->spare_rounds, &r->link);
    w->rounds--;
    metric_add(w->fanoutd->metrics.rounds, 1);
    worker_turn(w);
}

/* Gives all jobs back. fault: with a rest, because something failed. */
static void round_give_back(struct round *r, bool fault) {
    struct worker *w = r->w;
    for (size_t i = 0; i < r->count; i++) {
        if (fault) {
            schedule_retry(&w->schedule, r->parts[i].job, loop_now_ms(w->loop));
            metric_add(w->fanoutd->metrics.jobs[JOB_RETRIED], 1);
        } else {
            schedule_redo(&w->schedule, r->parts[i].job);
        }
    }
    round_end(r);
}

static void observe(struct worker *w, const struct part *p) {
    struct fanout_metrics *m = &w->fanoutd->metrics;
    const struct job *job = &p->job->item.job;
    metric_add(m->jobs[p->fate == FATE_PUSH ? JOB_DONE : p->fate == FATE_GONE ? JOB_GONE : JOB_DELETED], 1);
    metric_add(m->held, -1);
    if (p->fate != FATE_PUSH) return;
    uint64_t error, now = placement_db_now_ms(w->fanoutd->placement, &error), born = id_unix_ms(job->post_id);
    uint64_t lag_ms = now > born ? now - born : 0;
    metric_observe_ns(m->lag, lag_ms * 1000000);
    log_debug("job done: post=%" PRIu64 " lag_ms=%" PRIu64 " trace=%s", job->post_id, lag_ms, job->traceparent);
}

static bool contains(const uint64_t *ids, size_t count, uint64_t id) {
    for (size_t i = 0; i < count; i++) {
        if (ids[i] == id) return true;
    }
    return false;
}

/* moved: posts whose position was saved. A row that was there at the slice and was not moved is gone by now: finished
 * by somebody else. */
static void round_settle(struct round *r, const uint64_t *moved, size_t moved_count) {
    struct worker *w = r->w;
    const struct queue_item **acks = ARENA_ARRAY(&r->arena, const struct queue_item *, r->count);
    size_t n = 0;
    for (size_t i = 0; i < r->count; i++) {
        struct part *p = &r->parts[i];
        if (p->final || !contains(moved, moved_count, p->job->item.job.post_id)) acks[n++] = &p->job->item;
    }
    intake_ack(w->intake, acks, n);
    for (size_t i = 0; i < r->count; i++) {
        struct part *p = &r->parts[i];
        if (p->fate == FATE_PUSH && p->position == 0) schedule_learn(&w->schedule, p->count);
        if (!p->final && contains(moved, moved_count, p->job->item.job.post_id)) {
            schedule_continue(&w->schedule, p->job);
        } else {
            observe(w, p);
            schedule_done(&w->schedule, p->job);
        }
    }
    round_end(r);
}

/* --- confirm --- */

static void on_confirmed(void *ctx, enum err err, const struct pg_result *res) {
    struct round *r = ctx;
    if (err == ERR_OK && FAILPOINT("fanout.after_confirm")) err = ERR_LOST;
    if (err != ERR_OK) {
        if (err != ERR_CANCELED && LOG_EVERY_MS(1000)) {
            struct str m = res ? pg_message(res) : (struct str){0};
            log_warn("round not confirmed, done again: err=%s text=\"%.*s\"", err_name(err), (int)m.len,
                     m.data ? m.data : "");
        }
        round_give_back(r, true);
    } else if (!pg_bool(res, 0, 0)) {
        round_give_back(r, true); /* with a rest: our own view may take a moment to be the new one */
    } else {
        size_t count;
        const uint64_t *moved = pg_int8_array(res, 0, 1, &r->arena, &count);
        round_settle(r, moved, count);
    }
}

static void round_confirm(struct round *r) {
    uint64_t *done = ARENA_ARRAY(&r->arena, uint64_t, r->count), *moved = ARENA_ARRAY(&r->arena, uint64_t, r->count);
    uint64_t *positions = ARENA_ARRAY(&r->arena, uint64_t, r->count);
    size_t done_count = 0, moved_count = 0;
    for (size_t i = 0; i < r->count; i++) {
        const struct part *p = &r->parts[i];
        uint64_t post = p->job->item.job.post_id;
        if (p->fate == FATE_GONE) continue;
        if (p->final) {
            done[done_count++] = post;
        } else {
            moved[moved_count] = post;
            positions[moved_count++] = p->last;
        }
    }
    if (!done_count && !moved_count) {
        round_settle(r, NULL, 0);
        return;
    }
    struct pg_params params;
    pg_params_init(&params, &r->arena);
    pg_param_int8(&params, r->version);
    pg_param_int8_array(&params, done, done_count);
    pg_param_int8_array(&params, moved, moved_count);
    pg_param_int8_array(&params, positions, moved_count);
    enum err err =
        FAILPOINT("fanout.before_confirm") ? ERR_REFUSED : pg_exec(r->w->pool, &CONFIRM, &params, on_confirmed, r);
    if (err != ERR_OK) on_confirmed(r, err, NULL);
}

/* --- deliver --- */

static void on_delivered(void *ctx, bool stale) {
    struct round *r = ctx;
    r->stale |= stale;
    if (--r->open) return;
    if (r->stale) {
        round_give_back(r, false);
    } else {
        round_confirm(r);
    }
}

struct locator {
    const struct placement_view *view;
    const struct node *nodes;
};

static bool locate(void *ctx, uint64_t user_id, struct plan_location *ret) {
    const struct locator *l = ctx;
    struct location at;
    if (!placement_locate(l->view, TIER_TIMELINE, user_id, &at)) return false;
    *ret = (struct plan_location){(uint16_t)(at.node - l->nodes), at.generation};
    return true;
}

static void round_plan(struct round *r, const struct placement_view *view, struct plan *ret,
                       const struct node **ret_nodes) {
    struct plan_job *jobs = ARENA_ARRAY(&r->arena, struct plan_job, r->count);
    size_t n = 0, node_count;
    for (size_t i = 0; i < r->count; i++) {
        const struct part *p = &r->parts[i];
        if (p->fate != FATE_PUSH) continue;
        jobs[n++] = (struct plan_job){{p->job->item.job.post_id, p->author}, p->followers, p->count, p->position == 0};
    }
    const struct node *nodes = placement_nodes(view, TIER_TIMELINE, &node_count);
    struct locator locator = {view, nodes};
    plan_build(jobs, n, node_count, locate, &locator, &r->arena, ret);
    *ret_nodes = nodes;
    r->version = placement_version(view, TIER_TIMELINE);
}

static void round_deliver(struct round *r) {
    struct worker *w = r->w;
    const struct placement_view *view = placement_acquire(w->fanoutd->placement);
    if (!view) { /* nobody knows who holds what: nothing is delivered, nothing is lost */
        loop_timer_start(w->loop, &r->wait, LEASE_RETRY_MS);
        return;
    }
    struct plan plan;
    const struct node *nodes;
    round_plan(r, view, &plan, &nodes);
    if (plan.unplaced) metric_add(w->fanoutd->metrics.deliveries[DELIVERY_UNPLACED], (int64_t)plan.unplaced);
    r->stale = false;
    r->open = 1;
    for (size_t i = 0; i < plan.node_count; i++) {
        if (!plan.nodes[i].target_count) continue;
        r->open++;
        deliver(w->outlets, &nodes[i], plan.nodes[i].targets, plan.nodes[i].target_count, r->version, on_delivered, r);
    }
    placement_release(view);
    on_delivered(r, false);
}

static void on_wait(struct loop_timer *t) {
    round_deliver(CONTAINER_OF(t, struct round, wait));
}

/* --- slice --- */

/* Copies the packed followers out of the row; false when they are not ascending ids above the position. */
static bool part_followers(struct round *r, struct part *p, struct str packed) {
    size_t n = packed.len / 8;
    const unsigned char *at = n ? arena_dup(&r->arena, packed.data, packed.len) : NULL;
    uint64_t last = p->position;
    for (size_t i = 0; i < n; i++) {
        uint64_t follower = be64_load(at + 8 * i);
        if (follower <= last) return false;
        last = follower;
    }
    p->followers = at;
    p->count = n;
    p->last = last;
    p->final = n < (size_t)r->w->fanoutd->opt->slice;
    return packed.len % 8 == 0;
}

static bool part_fill(struct round *r, struct part *p, const struct pg_result *res, int row) {
    p->final = true;
    p->fate = FATE_GONE;
    if (pg_null(res, row, 0)) return true;
    p->author = pg_int8(res, row, 0);
    p->position = pg_int8(res, row, 1);
    p->fate = pg_bool(res, row, 2) ? FATE_PUSH : FATE_DELETED;
    return p->fate == FATE_DELETED || part_followers(r, p, pg_text(res, row, 3));
}

static void on_sliced(void *ctx, enum err err, const struct pg_result *res) {
    struct round *r = ctx;
    if (err == ERR_OK && FAILPOINT("fanout.after_slice")) err = ERR_LOST;
    if (err == ERR_OK && (size_t)pg_rows(res) != r->count) err = ERR_INTERNAL;
    for (size_t i = 0; err == ERR_OK && i < r->count; i++) {
        if (!part_fill(r, &r->parts[i], res, (int)i)) err = ERR_INTERNAL;
    }
    if (err == ERR_OK) {
        round_deliver(r);
        return;
    }
    if (err != ERR_CANCELED && LOG_EVERY_MS(1000)) {
        struct str m = res ? pg_message(res) : (struct str){0};
        log_warn("followers could not be read, tried again: err=%s text=\"%.*s\"", err_name(err), (int)m.len,
                 m.data ? m.data : "");
    }
    round_give_back(r, true);
}

static enum err round_slice(struct round *r) {
    uint64_t *posts = ARENA_ARRAY(&r->arena, uint64_t, r->count);
    for (size_t i = 0; i < r->count; i++) posts[i] = r->parts[i].job->item.job.post_id;
    struct pg_params params;
    pg_params_init(&params, &r->arena);
    pg_param_int8_array(&params, posts, r->count);
    pg_param_int8(&params, (uint64_t)r->w->fanoutd->opt->slice);
    return pg_exec(r->w->pool, &SLICE, &params, on_sliced, r);
}

/* --- start --- */

static struct round *round_new(struct worker *w) {
    struct list *spare = list_pop(&w->spare_rounds);
    struct round *r = spare ? CONTAINER_OF(spare, struct round, link) : NEW(struct round);
    if (!spare) {
        r->w = w;
        r->wait.fire = on_wait;
        arena_init(&r->arena, ARENA_BLOCK);
    }
    list_add_tail(&w->open_rounds, &r->link);
    return r;
}

bool round_start(struct worker *w) {
    const struct fanoutd_options *o = w->fanoutd->opt;
    struct round *r = round_new(w);
    struct held_job **jobs = ARENA_ARRAY(&r->arena, struct held_job *, (size_t)(o->batch_jobs + o->huge_slices));
    r->count = schedule_pick(&w->schedule, loop_now_ms(w->loop), jobs);
    if (!r->count) {
        arena_reset(&r->arena);
        list_del(&r->link);
        list_add_tail(&w->spare_rounds, &r->link);
        return false;
    }
    r->parts = arena_zalloc(&r->arena, r->count * sizeof(*r->parts));
    for (size_t i = 0; i < r->count; i++) r->parts[i].job = jobs[i];
    w->rounds++;
    enum err err = round_slice(r);
    if (err != ERR_OK) on_sliced(r, err, NULL);
    return true;
}

static void free_list(struct list *rounds) {
    while (!list_empty(rounds)) {
        struct round *r = CONTAINER_OF(list_pop(rounds), struct round, link);
        loop_timer_stop(&r->wait);
        arena_fini(&r->arena);
        mem_free(r);
    }
}

void rounds_free(struct worker *w) {
    free_list(&w->spare_rounds);
    free_list(&w->open_rounds);
}
