/* The memcached backend through its store threads: real servers, one that is stopped, one that is not there, many
 * loops. */
#include "tests/integration/store_env.h"

#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "common/base/arena.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/store/cache_envelope.h"
#include "common/store/memcache.h"

static struct loop *loop;
static struct memcache *memcache;
static struct memcache_node *node;
static const struct cache_backend *const backend = &cache_backend_memcached;

enum { RESULTS_MAX = 1000 };
struct got {
    unsigned done;
    size_t count;
    enum err err[RESULTS_MAX];
    char text[RESULTS_MAX][24];
    size_t len[RESULTS_MAX];
};

static void on_results(void *ctx, const struct cache_result *results, size_t count) {
    struct got *g = ctx;
    g->done++;
    g->count = count;
    for (size_t i = 0; i < count; i++) {
        g->err[i] = results[i].err;
        g->len[i] = results[i].value.len;
        snprintf(g->text[i], sizeof(g->text[i]), "%.*s", (int)results[i].value.len,
                 results[i].value.data ? results[i].value.data : "");
    }
}

static int setup(void **state) {
    (void)state;
    loop = loop_new();
    memcache = memcache_new(150, 100000);
    node = memcache_node(memcache, loop, env_address("FANFARE_TEST_MEMCACHED_A"));
    return 0;
}

static int teardown(void **state) {
    (void)state;
    memcache_free(&memcache);
    loop_free(&loop);
    return 0;
}

static struct str unique_key(void) {
    static char key[CACHE_KEY_MAX];
    snprintf(key, sizeof(key), "t:%llu", (unsigned long long)random_u64());
    return str_c(key);
}

static void envelope(enum cache_kind kind, uint64_t nonce, struct buf *to) {
    unsigned char bytes[CACHE_ENVELOPE_BYTES];
    envelope_encode(kind, nonce, bytes);
    buf_add(to, bytes, sizeof(bytes));
}

static enum err one(void (*fn)(void *, const struct cache_op *, size_t, cache_done_fn *, void *),
                    const struct cache_op *op, struct got *g) {
    g->done = 0;
    fn(node, op, 1, on_results, g);
    assert_int_equal(g->done, 0);
    RUN_UNTIL(loop, g->done);
    assert_int_equal(g->done, 1);
    return g->err[0];
}

static void add_get_swap_delete(void **state) {
    (void)state;
    static struct got g;
    CLEANUP(buf_fini) struct buf mine = BUF_INIT, value = BUF_INIT;
    envelope(CACHE_PLACEHOLDER, 11, &mine);
    envelope(CACHE_VALUE, 0, &value);
    buf_add_c(&value, "payload");
    struct cache_op op = {.key = unique_key(), .value = buf_str(&mine), .ttl_ms = 3000};
    assert_int_equal(one(backend->get, &op, &g), ERR_NOT_FOUND);
    assert_int_equal(one(backend->add, &op, &g), ERR_OK);
    assert_int_equal(one(backend->add, &op, &g), ERR_NOT_FOUND); /* somebody was first */
    op.value = buf_str(&value);
    op.nonce = 12;
    assert_int_equal(one(backend->swap, &op, &g), ERR_NOT_FOUND); /* not the placeholder that is there */
    op.nonce = 11;
    assert_int_equal(one(backend->swap, &op, &g), ERR_OK);
    assert_int_equal(one(backend->swap, &op, &g), ERR_NOT_FOUND); /* a value is no placeholder */
    assert_int_equal(one(backend->get, &op, &g), ERR_OK);
    assert_int_equal(g.len[0], value.len);
    assert_int_equal(one(backend->del, &op, &g), ERR_OK);
    assert_int_equal(one(backend->del, &op, &g), ERR_OK); /* a key not there is fine */
    assert_int_equal(one(backend->swap, &op, &g), ERR_NOT_FOUND);
    assert_int_equal(one(backend->get, &op, &g), ERR_NOT_FOUND);
}

static void a_value_too_large_is_not_stored_and_harms_nobody(void **state) {
    (void)state;
    static struct got g;
    CLEANUP(buf_fini) struct buf big = BUF_INIT;
    buf_reserve(&big, 2 << 20);
    memset(big.data, 'x', 2 << 20);
    big.len = 2 << 20;
    struct cache_op op = {.key = unique_key(), .value = buf_str(&big), .ttl_ms = 3000};
    assert_int_equal(one(backend->add, &op, &g), ERR_NOT_FOUND);
    op.value = STR("small");
    assert_int_equal(one(backend->add, &op, &g), ERR_OK);
    assert_int_equal(one(backend->get, &op, &g), ERR_OK);
    assert_string_equal(g.text[0], "small");
}

static void many_batches_of_gets_each_get_their_own(void **state) {
    (void)state;
    enum { BATCHES = 100, KEYS = 30 };
    static char keys[KEYS][CACHE_KEY_MAX];
    static struct got got[BATCHES];
    struct cache_op ops[KEYS] = {0};
    memset(got, 0, sizeof(got));
    struct str prefix = unique_key();
    for (int i = 0; i < KEYS; i++) {
        int len = snprintf(keys[i], CACHE_KEY_MAX, "%.*s:%d", (int)prefix.len, prefix.data, i);
        ops[i] = (struct cache_op){.key = str_of(keys[i], (size_t)len), .value = str_of(keys[i], (size_t)len)};
        struct got g = {0};
        if (i % 3) assert_int_equal(one(backend->add, &ops[i], &g), ERR_OK);
    }
    for (int b = 0; b < BATCHES; b++) backend->get(node, ops + b % 7, KEYS - 7, on_results, &got[b]);
    RUN_UNTIL(loop, got[BATCHES - 1].done);
    for (int b = 0; b < BATCHES; b++) {
        assert_int_equal(got[b].done, 1);
        for (int i = 0; i < KEYS - 7; i++) {
            bool there = (i + b % 7) % 3;
            assert_int_equal(got[b].err[i], there ? ERR_OK : ERR_NOT_FOUND);
            if (there) assert_int_equal(got[b].len[i], ops[i + b % 7].key.len);
            if (there) assert_memory_equal(got[b].text[i], ops[i + b % 7].key.data, 20);
        }
    }
}

static void the_same_key_twice_in_a_batch(void **state) {
    (void)state;
    static struct got g;
    struct cache_op op = {.key = unique_key(), .value = STR("v")};
    assert_int_equal(one(backend->add, &op, &g), ERR_OK);
    struct cache_op twice[] = {op, {.key = STR("t:never")}, op};
    memset(&g, 0, sizeof(g));
    backend->get(node, twice, 3, on_results, &g);
    RUN_UNTIL(loop, g.done);
    assert_int_equal(g.err[0], ERR_OK);
    assert_int_equal(g.err[1], ERR_NOT_FOUND);
    assert_int_equal(g.err[2], ERR_OK);
}

static void a_thousand_keys(void **state) {
    (void)state;
    static struct got g;
    static char keys[1000][CACHE_KEY_MAX];
    static struct cache_op ops[1000];
    for (int i = 0; i < 1000; i++) {
        int len = snprintf(keys[i], CACHE_KEY_MAX, "t:thousand:of:them:%d", i);
        ops[i] = (struct cache_op){.key = str_of(keys[i], (size_t)len), .value = STR("v")};
    }
    memset(&g, 0, sizeof(g));
    backend->add(node, ops, 1000, on_results, &g);
    backend->get(node, ops, 1000, on_results, &g);
    RUN_UNTIL(loop, g.done == 2);
    memset(&g, 0, sizeof(g));
    backend->get(node, ops, 1000, on_results, &g);
    RUN_UNTIL(loop, g.done);
    for (int i = 0; i < 1000; i++) assert_int_equal(g.err[i], ERR_OK);
}

static void nobody_there_fails_fast(void **state) {
    (void)state;
    static struct got g;
    node = memcache_node(memcache, loop, "unix:/nonexistent/memcached.sock");
    struct cache_op op = {.key = STR("t:x")};
    uint64_t start = clock_mono_ms();
    enum err err = one(backend->get, &op, &g);
    assert_true(err != ERR_OK && err != ERR_NOT_FOUND);
    err = one(backend->del, &op, &g);
    assert_int_equal(err, ERR_REFUSED);
    assert_true(clock_mono_ms() - start < 100);
}

/* Accepts nothing and says nothing: as a stopped server looks. */
static int deaf_listener(char path[static 64]) {
    snprintf(path, 64, "/tmp/fanfare-deaf-mc-%d.sock", (int)getpid());
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    unlink(path);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(fd, 8), 0);
    return fd;
}

static void silence_times_out_once_then_refuses_without_waiting(void **state) {
    (void)state;
    static struct got g, more[20];
    char path[64], address[80];
    int fd = deaf_listener(path);
    snprintf(address, sizeof(address), "unix:%s", path);
    node = memcache_node(memcache, loop, address);
    memset(more, 0, sizeof(more));
    const struct cache_op ops[] = {{.key = STR("t:x")}, {.key = STR("t:y")}, {.key = STR("t:z")}};
    uint64_t start = clock_mono_ms();
    backend->del(node, ops, 3, on_results, &g);
    for (size_t i = 0; i < 20; i++) backend->del(node, ops, 3, on_results, &more[i]);
    RUN_UNTIL(loop, more[19].done);
    uint64_t took = clock_mono_ms() - start;
    assert_int_equal(g.err[0], ERR_TIMEOUT);
    assert_int_equal(g.err[2], ERR_REFUSED);
    assert_in_range(took, 100, 600);
    close(fd);
    unlink(path);
}

static void comes_back_after_the_break(void **state) {
    (void)state;
    static struct got g;
    char path[64], address[80];
    int fd = deaf_listener(path);
    snprintf(address, sizeof(address), "unix:%s", path);
    node = memcache_node(memcache, loop, address);
    struct cache_op op = {.key = STR("t:x")};
    assert_int_equal(one(backend->get, &op, &g), ERR_TIMEOUT);
    close(fd);
    unlink(path);
    const char *real = env_address("FANFARE_TEST_MEMCACHED_A");
    assert_true(strncmp(real, "unix:", 5) == 0 ? symlink(real + 5, path) == 0 : true);
    env_run(loop, 150);
    if (strncmp(real, "unix:", 5) == 0) assert_int_equal(one(backend->get, &op, &g), ERR_NOT_FOUND);
    unlink(path);
}

static void waiting_is_bounded(void **state) {
    (void)state;
    static struct got g[30];
    char path[64], address[80];
    int fd = deaf_listener(path);
    snprintf(address, sizeof(address), "unix:%s", path);
    memcache_free(&memcache);
    memcache = memcache_new(150, 10);
    node = memcache_node(memcache, loop, address);
    memset(g, 0, sizeof(g));
    struct cache_op op = {.key = STR("t:bound")};
    backend->del(node, &op, 1, on_results, &g[0]);
    env_run(loop, 20); /* the thread waits for its answer now */
    for (int i = 1; i < 10; i++) backend->del(node, &op, 1, on_results, &g[i]);
    env_run(loop, 1);
    for (int i = 10; i < 30; i++) backend->del(node, &op, 1, on_results, &g[i]);
    RUN_UNTIL(loop, g[29].done);
    RUN_UNTIL(loop, g[9].done);
    assert_int_equal(g[0].err[0], ERR_TIMEOUT);
    for (int i = 1; i < 10; i++) assert_int_equal(g[i].err[0], ERR_REFUSED);
    for (int i = 10; i < 30; i++) assert_true(g[i].done == 1 && g[i].err[0] == ERR_BUSY);
    close(fd);
    unlink(path);
}

static void free_cancels_what_the_loop_never_handed_over(void **state) {
    (void)state;
    static struct got g;
    memset(&g, 0, sizeof(g));
    struct cache_op op = {.key = STR("t:x")};
    backend->get(node, &op, 1, on_results, &g);
    memcache_free(&memcache);
    assert_int_equal(g.done, 1);
    assert_int_equal(g.err[0], ERR_CANCELED);
}

enum { LOOPS = 4, ROUNDS = 300 };
struct worker {
    pthread_t thread;
    struct loop *loop;
    unsigned rounds;
};
static void on_round(void *ctx, const struct cache_result *results, size_t count) {
    struct got *g = ctx;
    g->done++;
    for (size_t i = 0; i < count; i++) g->err[i] = results[i].err;
}

static void *work(void *arg) {
    struct worker *w = arg;
    struct loop *mine = w->loop = loop_new();
    struct memcache_node *n = memcache_node(memcache, mine, env_address("FANFARE_TEST_MEMCACHED_A"));
    struct got *g = mem_zalloc(sizeof(*g));
    char key[CACHE_KEY_MAX];
    for (int i = 0; i < ROUNDS; i++) {
        int len = snprintf(key, sizeof(key), "t:loops:%p:%d", arg, i);
        struct cache_op op = {.key = str_of(key, (size_t)len), .value = STR("value"), .ttl_ms = 3000};
        g->done = 0;
        backend->add(n, &op, 1, on_round, g);
        while (!g->done) env_run(mine, 0);
        g->done = 0;
        backend->get(n, &op, 1, on_round, g);
        while (!g->done) env_run(mine, 0);
        w->rounds += g->err[0] == ERR_OK;
    }
    mem_free(g);
    return NULL;
}

static void several_loops_share_the_threads(void **state) {
    (void)state;
    struct worker workers[LOOPS] = {0};
    for (int i = 0; i < LOOPS; i++) pthread_create(&workers[i].thread, NULL, work, &workers[i]);
    for (int i = 0; i < LOOPS; i++) {
        pthread_join(workers[i].thread, NULL);
        assert_int_equal(workers[i].rounds, ROUNDS);
    }
    memcache_free(&memcache); /* before the loops that it may be waking */
    for (int i = 0; i < LOOPS; i++) loop_free(&workers[i].loop);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(add_get_swap_delete),
        TEST(a_value_too_large_is_not_stored_and_harms_nobody),
        TEST(many_batches_of_gets_each_get_their_own),
        TEST(the_same_key_twice_in_a_batch),
        TEST(a_thousand_keys),
        TEST(nobody_there_fails_fast),
        TEST(silence_times_out_once_then_refuses_without_waiting),
        TEST(comes_back_after_the_break),
        TEST(waiting_is_bounded),
        TEST(free_cancels_what_the_loop_never_handed_over),
        TEST(several_loops_share_the_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
