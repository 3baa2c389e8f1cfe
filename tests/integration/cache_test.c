/*
 * The cache tier on real servers, the same tests on Redis and on memcached: two nodes, two caches (as two daemons have
 * them) on one loop. Placement is replaced at link time: even ids live on node A, odd ones on node B.
 */
#include "tests/integration/store_env.h"

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/store/cache.h"
#include "common/store/memcache.h"

static struct node nodes[2] = {{.id = 1}, {.id = 2}};
static bool may_fill, gone;
static uint32_t generation;
static const struct placement_view *const view = (const struct placement_view *)nodes;

const char *tier_name(enum tier t) {
    static const char *const names[] = {"timeline", "content", "users", "graph", "actions", "counters"};
    return names[t];
}

bool placement_locate(const struct placement_view *v, enum tier t, uint64_t id, struct location *ret) {
    (void)v, (void)t;
    *ret = (struct location){&nodes[id % 2], generation, may_fill};
    return !gone;
}

size_t cache_key(enum tier t, uint32_t g, uint64_t id, char ret[static CACHE_KEY_MAX]) {
    return (size_t)snprintf(ret, CACHE_KEY_MAX, "%d:%u:%llu", (int)t, g, (unsigned long long)id);
}

static struct loop *loop;
static struct metrics *metrics;
static struct redis_set *redis;
static struct memcache *memcache;
static struct cache *caches[2];
static unsigned failures;

static void node_failed(void *ctx, uint16_t id, enum err err) {
    (void)ctx, (void)id, (void)err;
    failures++;
}

/* ---- The primary: a version that every object's text carries; ids above 1,000,000 do not exist ---- */

static unsigned version, loads;
static bool hold_load;
struct held {
    cache_loaded_fn *loaded;
    void *ctx;
    uint64_t ids[64];
    size_t count;
    unsigned version;
};
static struct held held;

static void answer(struct held *h) {
    struct str values[64];
    char texts[64][48];
    for (size_t i = 0; i < h->count; i++) {
        int len =
            snprintf(texts[i], sizeof(texts[i]), "object %llu version %u", (unsigned long long)h->ids[i], h->version);
        values[i] = h->ids[i] > 1000000 ? str_of(NULL, 0) : str_of(texts[i], (size_t)len);
    }
    h->loaded(h->ctx, ERR_OK, values);
}

static void load(void *ctx, const uint64_t *ids, size_t count, cache_loaded_fn *loaded, void *loaded_ctx) {
    (void)ctx;
    struct held h = {.loaded = loaded, .ctx = loaded_ctx, .count = count, .version = version};
    memcpy(h.ids, ids, count * sizeof(*ids));
    loads++;
    if (hold_load)
        held = h;
    else
        answer(&h);
}

/* ---- Asking ---- */

struct got {
    struct arena arena;
    unsigned done;
    enum err err;
    size_t count;
    char text[64][48];
    bool absent[64], from_cache[64];
};

static void on_values(void *ctx, enum err err, const struct cache_value *values) {
    struct got *g = ctx;
    g->done++;
    g->err = err;
    for (size_t i = 0; !err && i < g->count; i++) {
        g->absent[i] = !values[i].payload.data;
        g->from_cache[i] = values[i].from_cache;
        snprintf(g->text[i], sizeof(g->text[i]), "%.*s", (int)values[i].payload.len, values[i].payload.data);
    }
}

static void ask(struct cache *c, struct got *g, const uint64_t *ids, size_t count) {
    memset(g, 0, sizeof(*g));
    arena_init(&g->arena, 0);
    g->count = count;
    cache_get(c, view, TIER_USERS, ids, count, &g->arena, on_values, g);
}

static void get(struct cache *c, struct got *g, const uint64_t *ids, size_t count) {
    ask(c, g, ids, count);
    RUN_UNTIL(loop, g->done);
    arena_fini(&g->arena);
    assert_int_equal(g->err, ERR_OK);
}

static void settle(void) {
    env_run(loop, 30);
}

struct deleted {
    unsigned done;
    enum err err;
    size_t failed;
};
static void on_deleted(void *ctx, enum err err, const uint16_t *failed, size_t count) {
    (void)failed;
    struct deleted *d = ctx;
    *d = (struct deleted){d->done + 1, err, count};
}

static struct deleted delete_ids(struct cache *c, const uint64_t *ids, size_t count) {
    struct cache_target targets[64];
    struct deleted d = {0};
    for (size_t i = 0; i < count; i++) targets[i] = (struct cache_target){TIER_USERS, ids[i]};
    cache_delete(c, view, targets, count, on_deleted, &d);
    RUN_UNTIL(loop, d.done);
    return d;
}

static void setup_kind(enum node_kind kind, const char *a, const char *b) {
    nodes[0].kind = nodes[1].kind = kind;
    snprintf(nodes[0].address, NODE_ADDRESS_MAX, "%s", env_address(a));
    snprintf(nodes[1].address, NODE_ADDRESS_MAX, "%s", env_address(b));
    generation = (uint32_t)random_u64(); /* keys of our own */
    may_fill = true;
    gone = hold_load = false;
    failures = loads = 0;
    version = 1;
    loop = loop_new();
    metrics = metrics_new();
    redis = redis_set_new(loop, 200, 10000);
    memcache = memcache_new(200, 10000);
    for (int i = 0; i < 2; i++) {
        const struct cache_options options = {
            .loop = loop, .redis = redis, .memcache = memcache, .metrics = metrics, .node_failed = node_failed};
        caches[i] = cache_new(&options);
        cache_set_loader(caches[i], TIER_USERS, load, NULL, 60000, 5000);
    }
}

static int setup_redis(void **state) {
    (void)state;
    setup_kind(NODE_REDIS, "FANFARE_TEST_REDIS_A", "FANFARE_TEST_REDIS_B");
    return 0;
}

static int setup_memcached(void **state) {
    (void)state;
    setup_kind(NODE_MEMCACHED, "FANFARE_TEST_MEMCACHED_A", "FANFARE_TEST_MEMCACHED_B");
    return 0;
}

static int teardown(void **state) {
    (void)state;
    cache_free(&caches[0]);
    cache_free(&caches[1]);
    redis_set_free(&redis);
    memcache_free(&memcache);
    metrics_free(&metrics);
    loop_free(&loop);
    return 0;
}

/* ---- Tests ---- */

static void a_page_is_filled_by_one_and_read_by_another(void **state) {
    (void)state;
    uint64_t ids[40];
    static struct got g;
    for (size_t i = 0; i < 40; i++) ids[i] = i < 38 ? i + 1 : 1000001 + i;
    get(caches[0], &g, ids, 40);
    assert_int_equal(loads, 1);
    settle();
    get(caches[1], &g, ids, 40);
    assert_int_equal(loads, 1);
    for (size_t i = 0; i < 40; i++) {
        assert_true(g.from_cache[i]);
        assert_int_equal(g.absent[i], i >= 38);
    }
    assert_string_equal(g.text[6], "object 7 version 1");
    assert_int_equal(failures, 0);
}

static void a_delete_is_seen_by_all(void **state) {
    (void)state;
    const uint64_t ids[] = {1, 2, 3, 1000005};
    static struct got g;
    get(caches[0], &g, ids, 4);
    settle();
    version = 2;
    struct deleted d = delete_ids(caches[1], ids, 4);
    assert_int_equal(d.err, ERR_OK);
    get(caches[0], &g, ids, 4);
    assert_false(g.from_cache[0]);
    assert_string_equal(g.text[1], "object 2 version 2");
    assert_int_equal(loads, 2);
}

static void race_fill_against_delete_of_another_daemon(void **state) {
    (void)state;
    const uint64_t ids[] = {1, 2};
    static struct got slow, fast;
    hold_load = true;
    ask(caches[0], &slow, ids, 2);
    RUN_UNTIL(loop, loads == 1); /* version 1 is read, placeholders stand */
    version = 2;
    assert_int_equal(delete_ids(caches[1], ids, 2).err, ERR_OK);
    hold_load = false;
    answer(&held);
    RUN_UNTIL(loop, slow.done);
    arena_fini(&slow.arena);
    settle();
    get(caches[1], &fast, ids, 2);
    assert_string_equal(fast.text[0], "object 1 version 2");
    assert_string_equal(fast.text[1], "object 2 version 2");
}

/* Our placeholder was deleted and somebody else's stands: our old value must not replace it. */
static void race_two_fillers(void **state) {
    (void)state;
    const uint64_t ids[] = {1, 2};
    static struct got first, second, after;
    hold_load = true;
    ask(caches[0], &first, ids, 2);
    RUN_UNTIL(loop, loads == 1);
    struct held old = held;
    version = 2;
    delete_ids(caches[1], ids, 2);
    ask(caches[1], &second, ids, 2);
    RUN_UNTIL(loop, loads == 2);
    struct held fresh = held;
    hold_load = false;
    answer(&old); /* swaps now, over the other's placeholder if it could */
    RUN_UNTIL(loop, first.done);
    settle();
    answer(&fresh);
    RUN_UNTIL(loop, second.done);
    settle();
    arena_fini(&first.arena);
    arena_fini(&second.arena);
    get(caches[0], &after, ids, 2);
    assert_true(after.from_cache[0] && after.from_cache[1]);
    assert_string_equal(after.text[0], "object 1 version 2");
    assert_string_equal(after.text[1], "object 2 version 2");
}

static void while_somebody_fills_others_read_the_primary(void **state) {
    (void)state;
    const uint64_t ids[] = {1};
    static struct got filler, reader;
    hold_load = true;
    ask(caches[0], &filler, ids, 1);
    RUN_UNTIL(loop, loads == 1);
    struct held first = held;
    hold_load = false;
    get(caches[1], &reader, ids, 1);
    assert_string_equal(reader.text[0], "object 1 version 1");
    assert_false(reader.from_cache[0]);
    answer(&first);
    RUN_UNTIL(loop, filler.done);
    arena_fini(&filler.arena);
    settle();
    get(caches[1], &reader, ids, 1);
    assert_true(reader.from_cache[0]);
}

static void raw_done(void *ctx, const struct cache_result *results, size_t count) {
    (void)count;
    *(enum err *)ctx = results[0].err;
}

static void another_format_is_a_miss(void **state) {
    (void)state;
    const uint64_t ids[] = {2};
    static struct got g;
    char key[CACHE_KEY_MAX];
    const struct cache_op op = {.key = str_of(key, cache_key(TIER_USERS, generation, 2, key)),
                                .value = STR("\x7f\x01from another version"),
                                .ttl_ms = 60000};
    enum err err = ERR_COUNT;
    if (nodes[0].kind == NODE_REDIS)
        cache_backend_redis.add(redis_set_get(redis, nodes[0].address), &op, 1, raw_done, &err);
    else
        cache_backend_memcached.add(memcache_node(memcache, loop, nodes[0].address), &op, 1, raw_done, &err);
    RUN_UNTIL(loop, err != ERR_COUNT);
    assert_int_equal(err, ERR_OK);
    get(caches[0], &g, ids, 1);
    assert_string_equal(g.text[0], "object 2 version 1");
    settle();
    get(caches[0], &g, ids, 1); /* it is out of the way now */
    settle();
    get(caches[1], &g, ids, 1);
    assert_true(g.from_cache[0]);
}

static void embargo_and_no_node_store_nothing(void **state) {
    (void)state;
    const uint64_t ids[] = {1, 2};
    static struct got g;
    may_fill = false;
    get(caches[0], &g, ids, 2);
    settle();
    gone = true;
    get(caches[0], &g, ids, 2);
    gone = false;
    get(caches[0], &g, ids, 2);
    assert_false(g.from_cache[0]);
    assert_int_equal(loads, 3);
}

static void a_node_that_is_down_is_slow_once_and_never_wrong(void **state) {
    (void)state;
    const uint64_t ids[] = {1, 2, 3, 4};
    static struct got g;
    snprintf(nodes[1].address, NODE_ADDRESS_MAX, "unix:/nonexistent/server.sock");
    get(caches[0], &g, ids, 4);
    assert_string_equal(g.text[0], "object 1 version 1");
    settle();
    assert_true(failures > 0);
    uint64_t start = clock_mono_ms();
    get(caches[0], &g, ids, 4);
    assert_true(clock_mono_ms() - start < 100);
    assert_false(g.from_cache[0]);
    assert_true(g.from_cache[1]);
    struct deleted d = delete_ids(caches[0], ids, 4);
    assert_true(d.err != ERR_OK);
    assert_int_equal(d.failed, 1);
}

#define ON(kind, f)                                                                                                    \
    { #f " (" #kind ")", f, setup_##kind, teardown, NULL }
#define BOTH(f) ON(redis, f), ON(memcached, f)
int main(void) {
    const struct CMUnitTest tests[] = {
        BOTH(a_page_is_filled_by_one_and_read_by_another),
        BOTH(a_delete_is_seen_by_all),
        BOTH(race_fill_against_delete_of_another_daemon),
        BOTH(race_two_fillers),
        BOTH(while_somebody_fills_others_read_the_primary),
        BOTH(another_format_is_a_miss),
        BOTH(embargo_and_no_node_store_nothing),
        BOTH(a_node_that_is_down_is_slow_once_and_never_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
