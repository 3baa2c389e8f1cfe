/*
 * The coherence of the cache tier, against a fake node whose answers the test holds back and releases. The races are
 * named after what they prove. Placement is replaced at link time: every object is on the node that the test says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/store/cache.h"
#include "common/store/cache_envelope.h"

/* ---- A placement of one node ---- */

static struct node the_node = {.id = 7, .kind = NODE_REDIS};
static bool may_fill, placed;
static const struct placement_view *const view = (const struct placement_view *)&the_node;

const char *tier_name(enum tier t) {
    return t == TIER_CONTENT ? "content" : "other";
}

bool placement_locate(const struct placement_view *v, enum tier t, uint64_t id, struct location *ret) {
    (void)v, (void)t, (void)id;
    *ret = (struct location){&the_node, 1, may_fill};
    return placed;
}

size_t cache_key(enum tier t, uint32_t generation, uint64_t id, char ret[static CACHE_KEY_MAX]) {
    return (size_t)snprintf(ret, CACHE_KEY_MAX, "%d:%u:%llu", (int)t, generation, (unsigned long long)id);
}

/* ---- A node in memory ---- */

enum kind { GET, ADD, SWAP, DEL, KINDS };
struct stored {
    char key[CACHE_KEY_MAX];
    struct buf value;
    bool there;
};
struct fake_op {
    char key[CACHE_KEY_MAX];
    struct buf value;
    uint64_t nonce, ttl_ms;
};
struct fake_batch {
    struct loop_task task;
    enum kind kind;
    size_t count;
    struct fake_op ops[64];
    cache_done_fn *done;
    void *ctx;
    struct fake_batch *next;
};
static struct loop *loop;
static struct cache *cache;
static struct metrics *metrics;
static struct stored stored[64];
static size_t stored_count;
static bool hold[KINDS];
static struct fake_batch *held;
static enum err node_err;
static unsigned calls[KINDS], failures;
static uint64_t last_ttl_ms;

static struct stored *find(const char *key) {
    for (size_t i = 0; i < stored_count; i++)
        if (strcmp(stored[i].key, key) == 0) return &stored[i];
    struct stored *s = &stored[stored_count++];
    snprintf(s->key, sizeof(s->key), "%s", key);
    return s;
}

static void put(struct stored *s, struct str value) {
    buf_clear(&s->value);
    buf_add_str(&s->value, value);
    s->there = true;
}

static struct cache_result apply(enum kind kind, struct fake_op *op) {
    struct stored *s = find(op->key);
    if (node_err) return (struct cache_result){.err = node_err};
    switch (kind) {
    case GET:
        return s->there ? (struct cache_result){.value = buf_str(&s->value)}
                        : (struct cache_result){.err = ERR_NOT_FOUND};
    case ADD:
        if (s->there) return (struct cache_result){.err = ERR_NOT_FOUND};
        put(s, buf_str(&op->value));
        break;
    case SWAP:
        if (!s->there || !envelope_is_placeholder_of(buf_str(&s->value), op->nonce))
            return (struct cache_result){.err = ERR_NOT_FOUND};
        put(s, buf_str(&op->value));
        last_ttl_ms = op->ttl_ms;
        break;
    default:
        s->there = false;
    }
    return (struct cache_result){.err = ERR_OK};
}

static void batch_run(struct loop_task *t) {
    struct fake_batch *b = CONTAINER_OF(t, struct fake_batch, task);
    struct cache_result results[64];
    for (size_t i = 0; i < b->count; i++) results[i] = apply(b->kind, &b->ops[i]);
    b->done(b->ctx, results, b->count);
    for (size_t i = 0; i < b->count; i++) buf_fini(&b->ops[i].value);
    mem_free(b);
}

static void submit(enum kind kind, const struct cache_op *ops, size_t count, cache_done_fn *done, void *ctx) {
    struct fake_batch *b = NEW(struct fake_batch);
    *b = (struct fake_batch){.task.run = batch_run, .kind = kind, .count = count, .done = done, .ctx = ctx};
    for (size_t i = 0; i < count; i++) {
        snprintf(b->ops[i].key, CACHE_KEY_MAX, "%.*s", (int)ops[i].key.len, ops[i].key.data);
        buf_add_str(&b->ops[i].value, ops[i].value);
        b->ops[i].nonce = ops[i].nonce;
        b->ops[i].ttl_ms = ops[i].ttl_ms;
    }
    calls[kind]++;
    if (hold[kind]) {
        b->next = held;
        held = b;
    } else {
        loop_post(loop, &b->task);
    }
}
static void fake_get(void *n, const struct cache_op *o, size_t c, cache_done_fn *d, void *x) {
    (void)n, submit(GET, o, c, d, x);
}
static void fake_add(void *n, const struct cache_op *o, size_t c, cache_done_fn *d, void *x) {
    (void)n, submit(ADD, o, c, d, x);
}
static void fake_swap(void *n, const struct cache_op *o, size_t c, cache_done_fn *d, void *x) {
    (void)n, submit(SWAP, o, c, d, x);
}
static void fake_del(void *n, const struct cache_op *o, size_t c, cache_done_fn *d, void *x) {
    (void)n, submit(DEL, o, c, d, x);
}
static const struct cache_backend fake = {"fake", fake_get, fake_add, fake_swap, fake_del};
static const struct cache_backend *backend;

static const struct cache_backend *reach(void *ctx, const struct node *node, void **ret) {
    (void)ctx, (void)node;
    *ret = loop;
    return backend;
}

static void node_failed(void *ctx, uint16_t id, enum err err) {
    (void)ctx, (void)err;
    assert_int_equal(id, 7);
    failures++;
}

/* ---- A primary: object id has the text primary_text, odd hundreds do not exist ---- */

static const char *primary_text;
static bool hold_load;
static unsigned loads;
static size_t loaded_ids;
struct held_load {
    cache_loaded_fn *loaded;
    void *ctx;
    uint64_t ids[64];
    size_t count;
    const char *text; /* as it was when the read was made */
};
static struct held_load held_loads[16];
static size_t held_load_count;
static enum err load_err;

static void answer_load(struct held_load *l) {
    struct str values[64];
    for (size_t i = 0; i < l->count; i++) values[i] = l->ids[i] >= 100 ? str_of(NULL, 0) : str_c(l->text);
    l->loaded(l->ctx, load_err, load_err ? NULL : values);
}

static void load(void *ctx, const uint64_t *ids, size_t count, cache_loaded_fn *loaded, void *loaded_ctx) {
    (void)ctx;
    struct held_load l = {.loaded = loaded, .ctx = loaded_ctx, .count = count, .text = primary_text};
    memcpy(l.ids, ids, count * sizeof(*ids));
    loads++;
    loaded_ids += count;
    if (hold_load)
        held_loads[held_load_count++] = l;
    else
        answer_load(&l);
}

static void answer_loads(void) {
    size_t n = held_load_count;
    held_load_count = 0;
    struct held_load now[16];
    memcpy(now, held_loads, sizeof(now));
    for (size_t i = 0; i < n; i++) answer_load(&now[i]);
}

/* ---- Driving ---- */

static void stop(struct loop_timer *t) {
    loop_stop(t->loop ? t->loop : loop);
}

/* Runs what is ready now: enough turns for several hand-overs through tasks. */
static void turn(void) {
    struct loop_timer t = {.fire = stop};
    loop_timer_start(loop, &t, 3);
    loop_run(loop);
}

static void release(void) {
    memset(hold, 0, sizeof(hold));
    while (held) {
        struct fake_batch *b = held;
        held = b->next;
        loop_post(loop, &b->task);
    }
    turn();
}

struct answer {
    struct arena arena;
    unsigned done;
    enum err err;
    char text[8][32];
    bool absent[8], from_cache[8];
    size_t count;
};

static void answered(void *ctx, enum err err, const struct cache_value *values) {
    struct answer *a = ctx;
    a->done++;
    a->err = err;
    for (size_t i = 0; !err && i < a->count; i++) {
        a->absent[i] = values[i].payload.data == NULL;
        a->from_cache[i] = values[i].from_cache;
        snprintf(a->text[i], sizeof(a->text[i]), "%.*s", (int)values[i].payload.len, values[i].payload.data);
    }
}

static void ask(struct answer *a, const struct placement_view *v, const uint64_t *ids, size_t count) {
    memset(a, 0, sizeof(*a));
    arena_init(&a->arena, 0);
    a->count = count;
    cache_get(cache, v, TIER_CONTENT, ids, count, &a->arena, answered, a);
    assert_int_equal(a->done, 0);
}

static struct answer get_one(uint64_t id) {
    struct answer a;
    ask(&a, view, &id, 1);
    turn();
    assert_int_equal(a.done, 1);
    assert_int_equal(a.err, ERR_OK);
    arena_fini(&a.arena);
    return a;
}

struct deleted {
    unsigned done;
    enum err err;
    size_t failed;
    uint16_t node;
};
static void on_deleted(void *ctx, enum err err, const uint16_t *nodes, size_t count) {
    struct deleted *d = ctx;
    d->done++;
    d->err = err;
    d->failed = count;
    if (count) d->node = nodes[0];
}

static struct deleted delete_one(const struct placement_view *v, uint64_t id) {
    struct deleted d = {0};
    const struct cache_target target = {TIER_CONTENT, id};
    cache_delete(cache, v, &target, 1, on_deleted, &d);
    assert_int_equal(d.done, 0);
    turn();
    assert_int_equal(d.done, 1);
    return d;
}

static bool holds(uint64_t id) {
    char key[CACHE_KEY_MAX];
    cache_key(TIER_CONTENT, 1, id, key);
    return find(key)->there;
}

static int setup(void **state) {
    (void)state;
    for (size_t i = 0; i < stored_count; i++) buf_fini(&stored[i].value);
    memset(stored, 0, sizeof(stored));
    memset(hold, 0, sizeof(hold));
    memset(calls, 0, sizeof(calls));
    stored_count = held_load_count = loaded_ids = 0;
    loads = failures = 0;
    hold_load = false;
    node_err = load_err = ERR_OK;
    primary_text = "one";
    may_fill = placed = true;
    backend = &fake;
    loop = loop_new();
    metrics = metrics_new();
    const struct cache_options options = {.loop = loop, .metrics = metrics, .node_failed = node_failed, .reach = reach};
    cache = cache_new(&options);
    cache_set_loader(cache, TIER_CONTENT, load, NULL, 60000, 5000);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    cache_free(&cache);
    release();
    answer_loads();
    metrics_free(&metrics);
    loop_free(&loop);
    for (size_t i = 0; i < stored_count; i++) buf_fini(&stored[i].value);
    stored_count = 0;
    return 0;
}

/* ---- Tests ---- */

static void miss_fills_then_hits(void **state) {
    (void)state;
    struct answer first = get_one(1);
    assert_string_equal(first.text[0], "one");
    assert_false(first.from_cache[0]);
    assert_in_range(last_ttl_ms, 54000, 60000);
    struct answer second = get_one(1);
    assert_string_equal(second.text[0], "one");
    assert_true(second.from_cache[0]);
    assert_int_equal(loads, 1);
}

static void absent_objects_are_remembered(void **state) {
    (void)state;
    assert_true(get_one(100).absent[0]);
    assert_in_range(last_ttl_ms, 4500, 5000);
    struct answer again = get_one(100);
    assert_true(again.absent[0] && again.from_cache[0]);
    assert_int_equal(loads, 1);
}

static void one_load_for_all_misses_of_a_request(void **state) {
    (void)state;
    get_one(2);
    const uint64_t ids[] = {1, 2, 100, 3, 1};
    struct answer a;
    ask(&a, view, ids, 5);
    turn();
    assert_int_equal(a.done, 1);
    assert_int_equal(loads, 2);
    assert_int_equal(loaded_ids, 4);
    assert_string_equal(a.text[0], "one");
    assert_true(a.from_cache[1]);
    assert_true(a.absent[2]);
    assert_string_equal(a.text[3], "one");
    assert_string_equal(a.text[4], "one");
    arena_fini(&a.arena);
}

static void race_fill_against_delete_stores_nothing(void **state) {
    (void)state;
    const uint64_t id = 1;
    struct answer a;
    hold_load = true;
    ask(&a, view, &id, 1);
    turn();
    assert_true(holds(1)); /* the placeholder; "one" is read */
    primary_text = "two";  /* the write commits, then deletes */
    assert_int_equal(delete_one(view, 1).err, ERR_OK);
    answer_loads();
    turn();
    assert_string_equal(a.text[0], "one"); /* it began before the delete returned */
    assert_false(holds(1));
    hold_load = false;
    assert_string_equal(get_one(1).text[0], "two");
    arena_fini(&a.arena);
}

static void race_delete_between_read_and_swap(void **state) {
    (void)state;
    hold[SWAP] = true;
    assert_string_equal(get_one(1).text[0], "one"); /* answered without waiting for the swap */
    primary_text = "two";
    assert_int_equal(delete_one(view, 1).err, ERR_OK);
    release();
    assert_false(holds(1));
    assert_string_equal(get_one(1).text[0], "two");
}

/* Delete, then a second filler's placeholder: the first one's value must not get over it. */
static void race_two_fillers_only_the_living_placeholder_stores(void **state) {
    (void)state;
    const uint64_t id = 1;
    struct answer a;
    hold[SWAP] = true;
    assert_string_equal(get_one(1).text[0], "one");
    primary_text = "two";
    delete_one(view, 1);
    hold_load = true;
    ask(&a, view, &id, 1);
    turn();
    assert_true(holds(1)); /* the second's placeholder */
    release();             /* the first's swap comes now */
    answer_loads();
    turn();
    assert_string_equal(a.text[0], "two");
    hold_load = false;
    struct answer after = get_one(1);
    assert_string_equal(after.text[0], "two");
    assert_true(after.from_cache[0]);
    arena_fini(&a.arena);
}

/* A request that begins after a delete returned must not be given what was read before the delete. */
static void race_late_request_does_not_join_an_older_read(void **state) {
    (void)state;
    const uint64_t id = 1;
    struct answer before, after;
    hold_load = true;
    ask(&before, view, &id, 1);
    turn();
    primary_text = "two";
    delete_one(view, 1);
    ask(&after, view, &id, 1);
    turn();
    assert_int_equal(loads, 1); /* one in the air, one waiting */
    answer_loads();
    turn();
    assert_int_equal(before.done, 1);
    assert_int_equal(after.done, 0);
    answer_loads();
    turn();
    assert_string_equal(before.text[0], "one");
    assert_string_equal(after.text[0], "two");
    assert_int_equal(loads, 2);
    arena_fini(&before.arena);
    arena_fini(&after.arena);
}

static void requests_of_one_turn_share_one_load(void **state) {
    (void)state;
    const uint64_t id = 1;
    struct answer a[8];
    for (size_t i = 0; i < 8; i++) ask(&a[i], view, &id, 1);
    turn();
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(a[i].done, 1);
        assert_string_equal(a[i].text[0], "one");
        arena_fini(&a[i].arena);
    }
    assert_int_equal(loaded_ids, 1);
}

static void somebody_elses_placeholder_is_loaded_but_not_stored(void **state) {
    (void)state;
    unsigned char placeholder[CACHE_ENVELOPE_BYTES];
    envelope_encode(CACHE_PLACEHOLDER, 4711, placeholder);
    put(find("1:1:1"), str_of((const char *)placeholder, sizeof(placeholder)));
    assert_string_equal(get_one(1).text[0], "one");
    assert_int_equal(calls[ADD] + calls[SWAP], 0);
    assert_true(envelope_is_placeholder_of(buf_str(&find("1:1:1")->value), 4711));
}

/* Between our get and our add somebody else's placeholder came: theirs to fill. */
static void a_lost_add_is_loaded_but_not_offered(void **state) {
    (void)state;
    const uint64_t id = 1;
    struct answer a;
    unsigned char placeholder[CACHE_ENVELOPE_BYTES];
    hold[ADD] = true;
    ask(&a, view, &id, 1);
    turn();
    envelope_encode(CACHE_PLACEHOLDER, 4711, placeholder);
    put(find("1:1:1"), str_of((const char *)placeholder, sizeof(placeholder)));
    release();
    assert_int_equal(a.done, 1);
    assert_string_equal(a.text[0], "one");
    assert_int_equal(calls[SWAP], 0);
    arena_fini(&a.arena);
}

static void another_format_is_a_miss_and_goes_away(void **state) {
    (void)state;
    const char *strange[] = {"\x63\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0old", "", "\x01",
                             "\x01\x09\0\0\0\0\0\0\0\0\0\0\0\0\0\0x"};
    const size_t lens[] = {19, 0, 1, 17};
    for (size_t i = 0; i < ARRAY_LEN(strange); i++) {
        put(find("1:1:1"), str_of(strange[i], lens[i]));
        struct answer a = get_one(1);
        assert_string_equal(a.text[0], "one");
        assert_false(a.from_cache[0]);
        assert_false(holds(1));
    }
}

static void node_down_is_answered_from_the_primary(void **state) {
    (void)state;
    backend = &cache_backend_failing;
    assert_string_equal(get_one(1).text[0], "one");
    assert_int_equal(failures, 1);
    struct deleted d = delete_one(view, 1);
    assert_int_equal(d.err, ERR_TIMEOUT);
    assert_int_equal(d.failed, 1);
    assert_int_equal(d.node, 7);
}

static void a_full_queue_of_ours_is_no_fault_of_the_node(void **state) {
    (void)state;
    node_err = ERR_BUSY;
    assert_string_equal(get_one(1).text[0], "one");
    struct deleted d = delete_one(view, 1);
    assert_int_equal(d.err, ERR_BUSY);
    assert_int_equal(d.failed, 0);
    assert_int_equal(failures, 0);
}

static void no_lease_reads_the_primary_and_refuses_to_delete(void **state) {
    (void)state;
    const uint64_t id = 1;
    struct answer a;
    ask(&a, NULL, &id, 1);
    turn();
    assert_string_equal(a.text[0], "one");
    assert_int_equal(calls[GET] + calls[ADD], 0);
    assert_int_equal(delete_one(NULL, 1).err, ERR_STALE);
    arena_fini(&a.arena);
}

static void no_live_node_owes_nothing(void **state) {
    (void)state;
    placed = false;
    assert_string_equal(get_one(1).text[0], "one");
    assert_int_equal(delete_one(view, 1).err, ERR_OK);
    assert_int_equal(calls[GET] + calls[DEL], 0);
}

static void embargo_reads_but_does_not_fill(void **state) {
    (void)state;
    may_fill = false;
    assert_string_equal(get_one(1).text[0], "one");
    assert_int_equal(calls[GET], 1);
    assert_int_equal(calls[ADD] + calls[SWAP], 0);
    assert_false(holds(1));
}

static void a_failed_load_fails_the_request_and_stores_nothing(void **state) {
    (void)state;
    const uint64_t id = 1;
    struct answer a;
    load_err = ERR_TIMEOUT;
    ask(&a, view, &id, 1);
    turn();
    assert_int_equal(a.done, 1);
    assert_int_equal(a.err, ERR_TIMEOUT);
    assert_int_equal(calls[SWAP], 0);
    arena_fini(&a.arena);
}

static void nothing_asked_is_answered_later(void **state) {
    (void)state;
    struct answer a;
    ask(&a, view, NULL, 0);
    turn();
    assert_int_equal(a.done, 1);
    assert_int_equal(a.err, ERR_OK);
    arena_fini(&a.arena);
}

static void free_cancels_what_is_open(void **state) {
    (void)state;
    const uint64_t id = 1, other = 2;
    struct answer waits_for_node, waits_for_load;
    struct deleted d = {0};
    hold_load = true;
    ask(&waits_for_load, view, &other, 1);
    turn();
    hold[GET] = hold[DEL] = true;
    ask(&waits_for_node, view, &id, 1);
    const struct cache_target target = {TIER_CONTENT, 1};
    cache_delete(cache, view, &target, 1, on_deleted, &d);
    cache_free(&cache);
    assert_int_equal(waits_for_node.err, ERR_CANCELED);
    assert_int_equal(waits_for_load.err, ERR_CANCELED);
    assert_int_equal(d.err, ERR_CANCELED);
    arena_fini(&waits_for_node.arena);
    arena_fini(&waits_for_load.arena);
    release();
    answer_loads();
    assert_int_equal(waits_for_node.done + waits_for_load.done + d.done, 3);
}

static void metrics_tell_results(void **state) {
    (void)state;
    get_one(1);
    get_one(1);
    delete_one(view, 1);
    CLEANUP(buf_fini) struct buf text = BUF_INIT;
    metrics_render(metrics, &text);
    assert_non_null(strstr(text.data, "fanfare_cache_requests_total{tier=\"content\",result=\"miss\"} 1\n"));
    assert_non_null(strstr(text.data, "fanfare_cache_requests_total{tier=\"content\",result=\"hit\"} 1\n"));
    assert_non_null(strstr(text.data, "fanfare_cache_fills_total{tier=\"content\",result=\"stored\"} 1\n"));
    assert_non_null(strstr(text.data, "fanfare_cache_deletes_total{tier=\"content\",result=\"ok\"} 1\n"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(miss_fills_then_hits),
        TEST(absent_objects_are_remembered),
        TEST(one_load_for_all_misses_of_a_request),
        TEST(race_fill_against_delete_stores_nothing),
        TEST(race_delete_between_read_and_swap),
        TEST(race_two_fillers_only_the_living_placeholder_stores),
        TEST(race_late_request_does_not_join_an_older_read),
        TEST(requests_of_one_turn_share_one_load),
        TEST(somebody_elses_placeholder_is_loaded_but_not_stored),
        TEST(a_lost_add_is_loaded_but_not_offered),
        TEST(another_format_is_a_miss_and_goes_away),
        TEST(node_down_is_answered_from_the_primary),
        TEST(a_full_queue_of_ours_is_no_fault_of_the_node),
        TEST(no_lease_reads_the_primary_and_refuses_to_delete),
        TEST(no_live_node_owes_nothing),
        TEST(embargo_reads_but_does_not_fill),
        TEST(a_failed_load_fails_the_request_and_stores_nothing),
        TEST(nothing_asked_is_answered_later),
        TEST(free_cancels_what_is_open),
        TEST(metrics_tell_results),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
