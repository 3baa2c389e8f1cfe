/*
 * Loaders: how the cache tiers are filled from PostgreSQL. One statement a batch of ids.
 *
 * Each statement numbers the ids it is given and answers with the number, so rows may come in any order. LATERAL ...
 * OFFSET 0 keeps the planner from turning the lookups into a join over all partitions: each id is looked up by (shard,
 * id) in its own partition, whatever the statistics say.
 *
 *   content   posts that are not deleted; a deleted or unknown one is absent
 *   users     name cards; unknown ones are absent
 *   graph     the reader's packed, ascending id arrays; never absent (nobody followed is an answer)
 *   counters  likes and replies; never absent (no row is 0 and 0)
 */
#include "feedd/loaders.h"

#include "common/base/mem.h"
#include "common/domain/content.h"
#include "common/domain/relations.h"
#include "common/sys/failpoint.h"

static const struct pg_statement LOAD_CONTENT = {
    "load_content", "SELECT k.n, k.id, p.author_id, p.in_reply_to, p.text, p.deleted "
                    "FROM unnest($1::int8[]) WITH ORDINALITY AS k (id, n) "
                    "CROSS JOIN LATERAL (SELECT author_id, in_reply_to, text, deleted_at IS NOT NULL AS deleted "
                    "FROM posts WHERE shard = shard_of(k.id) AND posts.id = k.id OFFSET 0) AS p"};
static const struct pg_statement LOAD_USERS = {
    "load_users", "SELECT k.n, k.id, u.handle, u.name, u.picture "
                  "FROM unnest($1::int8[]) WITH ORDINALITY AS k (id, n) "
                  "CROSS JOIN LATERAL (SELECT handle, name, picture "
                  "FROM users WHERE shard = shard_of(k.id) AND users.id = k.id OFFSET 0) AS u"};
static const struct pg_statement LOAD_COUNTERS = {
    "load_counters", "SELECT k.n, c.likes, c.replies "
                     "FROM unnest($1::int8[]) WITH ORDINALITY AS k (id, n) "
                     "CROSS JOIN LATERAL (SELECT likes, replies "
                     "FROM post_counters WHERE shard = shard_of(k.id) AND post_id = k.id OFFSET 0) AS c"};
/* The inner ORDER BY follows the primary keys: string_agg takes the rows as they come, without a sort. */
static const struct pg_statement LOAD_GRAPH = {
    "load_graph",
    "SELECT k.n,"
    " (SELECT string_agg(int8send(w.followee), ''::bytea)"
    "  FROM (SELECT followee FROM following WHERE shard = shard_of(k.id) AND follower = k.id ORDER BY followee) AS w),"
    " (SELECT string_agg(int8send(h.id), ''::bytea)"
    "  FROM (SELECT blocked AS id FROM blocks WHERE shard = shard_of(k.id) AND blocker = k.id"
    "        UNION SELECT blocker FROM blocked_by WHERE shard = shard_of(k.id) AND blocked = k.id ORDER BY id) AS h),"
    " (SELECT string_agg(int8send(m.muted), ''::bytea)"
    "  FROM (SELECT muted FROM mutes WHERE shard = shard_of(k.id) AND muter = k.id ORDER BY muted) AS m) "
    "FROM unnest($1::int8[]) WITH ORDINALITY AS k (id, n)"};

struct load {
    struct arena arena;
    struct buf bytes;   /* (own) records one after another */
    struct str *values; /* (ref: arena) while rows are read: data NULL, or anything; then in bytes */
    size_t *ends;       /* (ref: arena) where value i ends in bytes; 0: absent */
    size_t count;
    /* Encodes row `row` (of the id numbered i) to bytes; false: it does not exist. */
    bool (*encode)(struct load *l, const struct pg_result *r, int row);
    cache_loaded_fn *loaded;
    void *ctx;
    enum err refused; /* the pool did not take the statement: told on the next turn, never inside the call */
    struct loop_task refusal;
};

static void load_finish(struct load *l, enum err err, const struct str *values) {
    l->loaded(l->ctx, err, values);
    buf_fini(&l->bytes);
    arena_fini(&l->arena);
    mem_free(l);
}

static void load_answered(void *ctx, enum err err, const struct pg_result *r) {
    struct load *l = ctx;
    if (err) {
        load_finish(l, err, NULL);
        return;
    }
    int rows = pg_rows(r);
    size_t *starts = ARENA_ARRAY(&l->arena, size_t, l->count);
    for (int row = 0; row < rows; row++) {
        uint64_t n = pg_int8(r, row, 0); /* from 1 */
        if (n == 0 || n > l->count) continue;
        starts[n - 1] = l->bytes.len;
        if (l->encode(l, r, row)) l->ends[n - 1] = l->bytes.len;
    }
    for (size_t i = 0; i < l->count; i++)
        if (l->ends[i]) l->values[i] = str_of(l->bytes.data + starts[i], l->ends[i] - starts[i]);
    load_finish(l, ERR_OK, l->values);
}

static void load_refused(struct loop_task *task) {
    struct load *l = CONTAINER_OF(task, struct load, refusal);
    load_finish(l, l->refused, NULL);
}

static void load_start(struct worker *w, const struct pg_statement *statement, const uint64_t *ids, size_t count,
                       bool (*encode)(struct load *l, const struct pg_result *r, int row), cache_loaded_fn *loaded,
                       void *ctx) {
    struct load *l = NEW(struct load);
    arena_init(&l->arena, 0);
    l->values = arena_zalloc(&l->arena, count * sizeof *l->values);
    l->ends = arena_zalloc(&l->arena, count * sizeof *l->ends);
    l->count = count;
    l->encode = encode;
    l->loaded = loaded;
    l->ctx = ctx;
    struct pg_params params;
    pg_params_init(&params, &l->arena);
    pg_param_int8_array(&params, ids, count);
    l->refused = pg_exec(w->fast, statement, &params, load_answered, l);
    if (!l->refused) return;
    l->refusal.run = load_refused;
    loop_post(w->loop, &l->refusal);
}

static bool encode_content(struct load *l, const struct pg_result *r, int row) {
    /* The fault that verification must notice: a deleted post is served. */
    if (pg_bool(r, row, 5) && !FAILPOINT("feed.serve_deleted")) return false;
    uint64_t in_reply_to = pg_null(r, row, 3) ? 0 : pg_int8(r, row, 3);
    post_record_encode(pg_int8(r, row, 1), pg_int8(r, row, 2), pg_text(r, row, 4), in_reply_to, &l->bytes);
    return true;
}

static bool encode_user(struct load *l, const struct pg_result *r, int row) {
    user_record_encode(pg_int8(r, row, 1), pg_text(r, row, 2), pg_text(r, row, 3), pg_text(r, row, 4), &l->bytes);
    return true;
}

static bool encode_relations(struct load *l, const struct pg_result *r, int row) {
    relations_encode(pg_text(r, row, 1), pg_text(r, row, 2), pg_text(r, row, 3), &l->bytes);
    return true;
}

static bool encode_counts(struct load *l, const struct pg_result *r, int row) {
    counts_record_encode((struct counts_record){pg_int8(r, row, 1), pg_int8(r, row, 2)}, &l->bytes);
    return true;
}

static void load_content(void *ctx, const uint64_t *ids, size_t count, cache_loaded_fn *loaded, void *loaded_ctx) {
    load_start(ctx, &LOAD_CONTENT, ids, count, encode_content, loaded, loaded_ctx);
}

static void load_users(void *ctx, const uint64_t *ids, size_t count, cache_loaded_fn *loaded, void *loaded_ctx) {
    load_start(ctx, &LOAD_USERS, ids, count, encode_user, loaded, loaded_ctx);
}

static void load_graph(void *ctx, const uint64_t *ids, size_t count, cache_loaded_fn *loaded, void *loaded_ctx) {
    load_start(ctx, &LOAD_GRAPH, ids, count, encode_relations, loaded, loaded_ctx);
}

static void load_counters(void *ctx, const uint64_t *ids, size_t count, cache_loaded_fn *loaded, void *loaded_ctx) {
    load_start(ctx, &LOAD_COUNTERS, ids, count, encode_counts, loaded, loaded_ctx);
}

void loaders_register(struct worker *w) {
    uint64_t ttl = (uint64_t)w->feedd->opt->content_ttl_ms, absent_ttl = (uint64_t)w->feedd->opt->absent_ttl_ms;
    cache_set_loader(w->cache, TIER_CONTENT, load_content, w, ttl, absent_ttl);
    cache_set_loader(w->cache, TIER_USERS, load_users, w, ttl, absent_ttl);
    cache_set_loader(w->cache, TIER_GRAPH, load_graph, w, ttl, absent_ttl);
    /* Posts that nobody liked have no row: "absent" is their ordinary answer and lives as long as any other. */
    cache_set_loader(w->cache, TIER_COUNTERS, load_counters, w, ttl, ttl);
}
