/*
 * Read-through: a request's way from ids to values.
 *
 *   group by node -> get -> hit, absent --------------------------------------------> value
 *                           miss, may fill -> add our placeholder -> ours, or not --+
 *                           somebody's placeholder, node failed, embargo, no lease -+-> load (once, for all) -> value
 *                                                                                                  ours: swap it in
 *
 * Invariants
 * - A load is asked for only after every placeholder of the request was answered: the read comes after the placeholder.
 * - Only what was read under a placeholder of ours is offered to a node, and only over that placeholder.
 * - The caller does not wait for the swap, but it is handed to the node before the caller's done runs.
 *
 * A request is bounded by its callers (1,000 objects). Its memory is its own, apart from the payloads, which are in the
 * caller's arena.
 */
#include <string.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/store/cache_envelope.h"
#include "common/store/cache_internal.h"
#include "common/sys/failpoint.h"

enum item_state { ITEM_GETTING, ITEM_ADDING, ITEM_LOADING, ITEM_DONE };
#define NO_GROUP      SIZE_MAX
#define GROUPS_WITHIN 4

struct request;
struct item {
    struct flight_waiter waiter;
    struct request *request;
    enum item_state state;
    size_t group;
    bool may_fill;
    bool ours; /* our placeholder was added */
    bool from_cache;
    struct str payload; /* in the caller's arena; data NULL: absent */
    size_t key_len;
    char key[CACHE_KEY_MAX];
};
struct group {
    struct request *request;
    struct cache_node node;
    size_t count; /* items asked of it */
};
struct request {
    struct cache_call call;
    struct cache *cache;
    enum tier tier;
    struct arena *arena;   /* (ref: caller) until done */
    cache_values_fn *done; /* NULL once called */
    void *ctx;
    enum err err;
    uint64_t nonce;
    size_t open_groups;   /* that have not answered */
    size_t loading;       /* items that wait for a load */
    struct group *groups; /* `within`, or (own) as many as items when those are too few: they do not move once asked */
    struct group within[GROUPS_WITHIN];
    size_t group_count;
    struct loop_task task; /* when there is nothing to wait for */
    size_t count;
    struct item items[];
};

static void request_free(struct request *r) {
    struct cache *c = r->cache;
    if (r->groups != r->within) mem_free(r->groups);
    mem_free(r);
    cache_unref(c);
}

static void request_cancel(struct cache_call *call) {
    struct request *r = CONTAINER_OF(call, struct request, call);
    cache_values_fn *done = r->done;
    r->done = NULL;
    /* Loads of a closed cache never land; nodes still answer and end it then. */
    bool owed = r->open_groups > 0;
    done(r->ctx, ERR_CANCELED, NULL);
    if (!owed) request_free(r);
}

/* ---- Storing what was loaded ---- */

struct swap_batch {
    struct cache *cache;
    struct cache_node node;
    enum tier tier;
};

static void swap_answered(void *ctx, const struct cache_result *results, size_t count) {
    struct swap_batch *s = ctx;
    struct cache *c = s->cache;
    for (size_t i = 0; i < count && !c->closed; i++) {
        enum cache_fill_result result = results[i].err == ERR_OK          ? CACHE_STORED
                                        : results[i].err == ERR_NOT_FOUND ? CACHE_STORE_REFUSED
                                                                          : CACHE_STORE_FAILED;
        metric_add(c->fills[s->tier][result], 1);
    }
    (void)cache_judge(c, &s->node, results, count);
    mem_free(s);
    cache_unref(c);
}

/* Up to a tenth less, so that what was filled together does not expire together. */
static uint64_t spread_ttl(uint64_t ttl_ms) {
    return ttl_ms < 10 ? ttl_ms : ttl_ms - random_u64() % (ttl_ms / 10);
}

static struct str envelope_of(struct arena *arena, struct str payload) {
    unsigned char *bytes = arena_alloc(arena, CACHE_ENVELOPE_BYTES + payload.len);
    envelope_encode(payload.data ? CACHE_VALUE : CACHE_ABSENT, 0, bytes);
    if (payload.data && payload.len) memcpy(bytes + CACHE_ENVELOPE_BYTES, payload.data, payload.len);
    return str_of((const char *)bytes, CACHE_ENVELOPE_BYTES + payload.len);
}

static void request_swap(struct request *r, size_t group) {
    struct cache *c = r->cache;
    const struct cache_loader *loader = &c->loaders[r->tier];
    struct cache_op *ops = ARENA_ARRAY(r->arena, struct cache_op, r->count);
    size_t n = 0;
    for (size_t i = 0; i < r->count; i++) {
        struct item *item = &r->items[i];
        if (item->group != group || !item->ours) continue;
        ops[n++] = (struct cache_op){
            .key = str_of(item->key, item->key_len),
            .value = envelope_of(r->arena, item->payload),
            .nonce = r->nonce,
            .ttl_ms = spread_ttl(item->payload.data ? loader->ttl_ms : loader->absent_ttl_ms),
        };
    }
    if (n == 0) return;
    struct swap_batch *s = NEW(struct swap_batch);
    *s = (struct swap_batch){c, r->groups[group].node, r->tier};
    c->refs++;
    s->node.backend->swap(s->node.node, ops, n, swap_answered, s);
}

static void request_finish(struct request *r) {
    struct cache_value *values = NULL;
    if (!r->err) {
        (void)FAILPOINT("cache.before_swap");
        for (size_t g = 0; g < r->group_count; g++) request_swap(r, g);
        values = ARENA_ARRAY(r->arena, struct cache_value, r->count);
        for (size_t i = 0; i < r->count; i++)
            values[i] = (struct cache_value){.payload = r->items[i].payload, .from_cache = r->items[i].from_cache};
    }
    cache_values_fn *done = r->done;
    r->done = NULL;
    list_del(&r->call.link);
    done(r->ctx, r->err, values);
    request_free(r);
}

static void request_run(struct loop_task *t) {
    struct request *r = CONTAINER_OF(t, struct request, task);
    r->open_groups--; /* the task's own */
    if (r->done)
        request_finish(r);
    else
        request_free(r);
}

/* ---- Loading ---- */

static struct str keep(struct arena *arena, struct str value) {
    if (!value.data) return value;
    return str_of(value.len ? arena_dup(arena, value.data, value.len) : "", value.len);
}

static void item_landed(struct flight_waiter *w, enum err err, struct str value) {
    struct item *item = CONTAINER_OF(w, struct item, waiter);
    struct request *r = item->request;
    if (err)
        r->err = err;
    else
        item->payload = keep(r->arena, value);
    item->state = ITEM_DONE;
}

static void item_settled(struct flight_waiter *w) {
    struct request *r = CONTAINER_OF(w, struct item, waiter)->request;
    if (--r->loading == 0) request_finish(r);
}

/* All groups have answered: what has no value yet is loaded, in one call. */
static void request_load(struct request *r) {
    for (size_t i = 0; i < r->count; i++) {
        struct item *item = &r->items[i];
        if (item->state != ITEM_LOADING) continue;
        r->loading++;
        item->waiter.landed = item_landed;
        item->waiter.settled = item_settled;
        flight_join(r->cache, r->tier, &item->waiter);
    }
    if (r->loading == 0) request_finish(r);
}

static void group_end(struct request *r) {
    if (--r->open_groups) return;
    if (!r->done)
        request_free(r); /* canceled meanwhile */
    else
        request_load(r);
}

/* ---- Asking the nodes ---- */

static size_t group_ops(struct group *g, enum item_state state, struct cache_op *ops) {
    struct request *r = g->request;
    size_t group = (size_t)(g - r->groups), n = 0;
    for (size_t i = 0; i < r->count; i++) {
        struct item *item = &r->items[i];
        if (item->group == group && item->state == state)
            ops[n++] = (struct cache_op){.key = str_of(item->key, item->key_len)};
    }
    return n;
}

/* The item that result number `at` of a group in this state belongs to; walks from *position. */
static struct item *group_next(struct group *g, enum item_state state, size_t *position) {
    struct request *r = g->request;
    size_t group = (size_t)(g - r->groups);
    while (*position < r->count) {
        struct item *item = &r->items[(*position)++];
        if (item->group == group && item->state == state) return item;
    }
    return NULL;
}

static void add_answered(void *ctx, const struct cache_result *results, size_t count) {
    struct group *g = ctx;
    struct request *r = g->request;
    size_t position = 0;
    for (size_t i = 0; i < count; i++) {
        struct item *item = group_next(g, ITEM_ADDING, &position);
        item->ours = results[i].err == ERR_OK;
        item->state = ITEM_LOADING;
    }
    (void)cache_judge(r->cache, &g->node, results, count);
    group_end(r);
}

/* Places placeholders where we may fill. False: there are none to place. */
static bool group_add(struct group *g) {
    struct request *r = g->request;
    unsigned char placeholder[CACHE_ENVELOPE_BYTES];
    struct cache_op *ops = ARENA_ARRAY(r->arena, struct cache_op, g->count);
    size_t n = group_ops(g, ITEM_ADDING, ops);
    envelope_encode(CACHE_PLACEHOLDER, r->nonce, placeholder);
    for (size_t i = 0; i < n; i++) {
        ops[i].value = str_of((const char *)placeholder, sizeof(placeholder));
        ops[i].ttl_ms = CACHE_PLACEHOLDER_TTL_MS;
    }
    if (n) g->node.backend->add(g->node.node, ops, n, add_answered, g);
    return n > 0;
}

static void forgotten(void *ctx, const struct cache_result *results, size_t count) {
    (void)results;
    (void)count;
    cache_unref(ctx);
}

/* What is there is no envelope of ours: it would stand in the way of every filler until it expires. Deleting is always
 * safe. */
static void item_forget(struct group *g, const struct item *item) {
    const struct cache_op op = {.key = str_of(item->key, item->key_len)};
    g->request->cache->refs++;
    g->node.backend->del(g->node.node, &op, 1, forgotten, g->request->cache);
}

static enum cache_request_result item_got(struct group *g, struct item *item, const struct cache_result *result) {
    enum cache_kind kind;
    struct str payload;
    item->state = ITEM_LOADING;
    if (result->err == ERR_NOT_FOUND) {
        if (item->may_fill) item->state = ITEM_ADDING;
        return CACHE_MISS;
    }
    if (result->err) return CACHE_FAILED;
    if (!envelope_decode(result->value, &kind, &payload)) {
        item_forget(g, item);
        return CACHE_MISS;
    }
    if (kind == CACHE_PLACEHOLDER) return CACHE_HIT_PLACEHOLDER;
    item->state = ITEM_DONE;
    item->from_cache = true;
    item->payload = kind == CACHE_ABSENT ? str_of(NULL, 0) : keep(g->request->arena, payload);
    return kind == CACHE_ABSENT ? CACHE_HIT_ABSENT : CACHE_HIT;
}

static void get_answered(void *ctx, const struct cache_result *results, size_t count) {
    struct group *g = ctx;
    struct request *r = g->request;
    struct cache *c = r->cache;
    if (r->done) {
        size_t tally[CACHE_REQUEST_RESULTS] = {0}, position = 0;
        for (size_t i = 0; i < count; i++) tally[item_got(g, group_next(g, ITEM_GETTING, &position), &results[i])]++;
        for (size_t i = 0; i < CACHE_REQUEST_RESULTS; i++)
            if (tally[i]) metric_add(c->requests[r->tier][i], (int64_t)tally[i]);
        (void)cache_judge(c, &g->node, results, count);
        if (r->done && group_add(g)) return;
    }
    group_end(r);
}

static void group_get(struct group *g) {
    struct cache_op *ops = ARENA_ARRAY(g->request->arena, struct cache_op, g->count);
    size_t n = group_ops(g, ITEM_GETTING, ops);
    g->node.backend->get(g->node.node, ops, n, get_answered, g);
}

/* ---- A request begins ---- */

/* NO_GROUP: a node of a kind that is not configured. */
static size_t group_of(struct request *r, const struct node *node) {
    for (size_t i = 0; i < r->group_count; i++)
        if (r->groups[i].node.id == node->id) return i;
    struct cache_node reached;
    if (!cache_reach(r->cache, node, &reached)) return NO_GROUP;
    if (r->group_count == GROUPS_WITHIN) {
        struct group *more = NEW_ARRAY(struct group, r->count);
        memcpy(more, r->groups, sizeof(r->within));
        r->groups = more;
    }
    r->groups[r->group_count] = (struct group){.request = r, .node = reached};
    return r->group_count++;
}

static void item_place(struct request *r, struct item *item, uint64_t id, const struct placement_view *view) {
    struct location at;
    item->request = r;
    item->waiter.id = id;
    item->group = NO_GROUP;
    item->state = ITEM_LOADING;
    if (view && placement_locate(view, r->tier, id, &at)) item->group = group_of(r, at.node);
    if (item->group == NO_GROUP) {
        metric_add(r->cache->requests[r->tier][CACHE_NO_LEASE], 1);
        return;
    }
    r->groups[item->group].count++;
    item->state = ITEM_GETTING;
    item->may_fill = at.may_fill;
    item->key_len = cache_key(r->tier, at.generation, id, item->key);
}

void cache_get(struct cache *c, const struct placement_view *view, enum tier t, const uint64_t *ids, size_t count,
               struct arena *arena, cache_values_fn *done, void *ctx) {
    struct request *r = mem_zalloc(sizeof(*r) + count * sizeof(r->items[0]));
    r->call.cancel = request_cancel;
    r->cache = c;
    r->tier = t;
    r->arena = arena;
    r->done = done;
    r->ctx = ctx;
    r->nonce = random_u64();
    r->count = count;
    r->groups = r->within;
    list_add_tail(&c->open, &r->call.link);
    c->refs++;
    for (size_t i = 0; i < count; i++) item_place(r, &r->items[i], ids[i], view);
    r->open_groups = r->group_count;
    for (size_t g = 0; g < r->group_count; g++) group_get(&r->groups[g]);
    if (r->group_count) return;
    if (count) {
        request_load(r);
        return;
    }
    r->open_groups = 1;
    r->task.run = request_run;
    loop_post(c->options.loop, &r->task);
}
