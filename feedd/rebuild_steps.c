/*
 * The steps of a rebuild against PostgreSQL and the timeline tier, and the worker's own struct rebuilds. The rules are
 * in rebuild.c.
 *
 * The query reads at most `cap` index entries an author and keeps the newest of all. Measured (PostgreSQL 15, 370,000
 * posts, warm): an ordinary reader 0.1 ms, 48 authors with 1,500 posts each 6 ms, 5,000 followees of which those 48 are
 * some 18 ms. Reading 32 an author first and going deeper only where the result may need it was 1.6 ms for the second,
 * but 0.16 and 21 ms for the others: not worth a second form of the statement.
 */
#include "feedd/rebuild_steps.h"

#include <string.h>

#include "common/base/mem.h"
#include "feedd/metrics.h"

#define REBUILD_WAITING_MAX 512 /* the deadline bounds them as well: at 1 ms a rebuild they wait some 130 ms */

/* Mutes and blocks are left to the gate, so that they need no rebuild when they change. */
static const struct pg_statement REBUILD_QUERY = {
    "rebuild",
    "SELECT string_agg(int8send(f.id) || int8send(f.author), ''::bytea) FROM ("
    " SELECT p.id, a.author FROM"
    "  (SELECT followee AS author FROM following WHERE shard = shard_of($1) AND follower = $1 AND followee <> $1"
    "   UNION ALL SELECT $1) AS a"
    "  CROSS JOIN LATERAL (SELECT id FROM posts WHERE shard = shard_of(a.author) AND author_id = a.author"
    "   AND deleted_at IS NULL ORDER BY id DESC LIMIT $2) AS p"
    " ORDER BY p.id DESC LIMIT $2) AS f"};

struct entry *rebuild_unpack(struct str packed, struct arena *arena, size_t *ret_count) {
    size_t count = packed.data ? packed.len / ENTRY_BYTES : 0, kept = 0;
    struct entry *entries = ARENA_ARRAY(arena, struct entry, count);
    for (size_t i = 0; i < count; i++) kept += entry_decode(packed.data + i * ENTRY_BYTES, ENTRY_BYTES, &entries[kept]);
    *ret_count = kept;
    return entries;
}

struct query {
    struct arena arena;
    rebuild_entries_fn *done;
    void *ctx;
};

static void query_free(struct query *q) {
    arena_fini(&q->arena);
    mem_free(q);
}

static void query_answered(void *ctx, enum err err, const struct pg_result *r) {
    struct query *q = ctx;
    size_t count = 0;
    struct entry *entries = err ? NULL : rebuild_unpack(pg_text(r, 0, 0), &q->arena, &count);
    q->done(q->ctx, err, entries, count);
    query_free(q);
}

static enum err step_query(void *world, uint64_t user_id, unsigned cap, rebuild_entries_fn *done, void *ctx) {
    struct worker *w = world;
    struct query *q = NEW(struct query);
    arena_init(&q->arena, 0);
    q->done = done;
    q->ctx = ctx;
    struct pg_params params;
    pg_params_init(&params, &q->arena);
    pg_param_int8(&params, user_id);
    pg_param_int8(&params, cap);
    enum err err = pg_exec(w->heavy, &REBUILD_QUERY, &params, query_answered, q);
    if (err)
        query_free(q);
    else
        feed_metrics_rebuild(w->feedd->metrics);
    return err;
}

static enum err step_begin(void *world, const struct location *at, uint64_t user_id, uint64_t nonce,
                           timeline_step_fn *done, void *ctx) {
    struct worker *w = world;
    return timeline_begin(w->timelines, at, user_id, nonce, done, ctx);
}

static enum err step_fill(void *world, const struct location *at, uint64_t user_id, uint64_t nonce,
                          const struct entry *entries, size_t count, uint64_t mark, timeline_step_fn *done, void *ctx) {
    struct worker *w = world;
    return timeline_fill(w->timelines, at, user_id, nonce, entries, count, mark, done, ctx);
}

static enum err step_abandon(void *world, const struct location *at, uint64_t user_id, uint64_t nonce,
                             timeline_step_fn *done, void *ctx) {
    struct worker *w = world;
    return timeline_abandon(w->timelines, at, user_id, nonce, done, ctx);
}

static void step_node_failed(void *world, uint16_t node_id, enum err err) {
    struct worker *w = world;
    if (err == ERR_TIMEOUT || err == ERR_LOST || err == ERR_REFUSED) health_report(w->feedd->health, node_id, err);
}

const struct rebuild_steps rebuild_steps_real = {step_begin, step_query, step_fill, step_abandon, step_node_failed};

struct rebuilds *rebuilds_new(struct worker *w) {
    const struct feedd_options *o = w->feedd->opt;
    struct rebuild_limits limits = {.running = (unsigned)o->heavy_connections,
                                    .max_waiting = REBUILD_WAITING_MAX,
                                    .wait_ms = (uint64_t)o->request_deadline_ms,
                                    .cap = (unsigned)o->timeline_cap};
    return rebuilds_new_with(w->loop, limits, &rebuild_steps_real, w);
}
