/* The delivery pipe against a real server: results of every push in order, refusals, losses, the window. */
#include "tests/integration/store_env.h"

#include "common/base/mem.h"
#include "common/store/redis.h"
#include "common/store/redis_pipe.h"

static struct loop *loop;
static struct redis *control;
static struct redis_pipe *pipe_;
static unsigned rooms;

struct got {
    unsigned done;
    enum err err;
    size_t answered;
    int32_t lengths[4096];
    char error[80];
};

static void on_batch(void *ctx, enum err err, const int32_t *lengths, size_t answered, struct str error) {
    struct got *g = ctx;
    g->done++;
    g->err = err;
    g->answered = answered;
    if (answered) memcpy(g->lengths, lengths, answered * sizeof(*lengths));
    snprintf(g->error, sizeof(g->error), "%.*s", (int)error.len, error.data);
}

static void on_room(void *ctx) {
    (void)ctx;
    rooms++;
}

static void on_control(void *ctx, enum err err, const struct redis_reply *r) {
    (void)r;
    if (ctx) *(enum err *)ctx = err;
}

static void run_command(size_t argc, const struct str *argv) {
    enum err err = ERR_COUNT;
    assert_int_equal(redis_command(control, on_control, &err, argc, argv), ERR_OK);
    RUN_UNTIL(loop, err != ERR_COUNT);
}
#define CONTROL(...) run_command(sizeof((struct str[]){__VA_ARGS__}) / sizeof(struct str), (struct str[]){__VA_ARGS__})

static int setup(void **state) {
    (void)state;
    loop = loop_new();
    rooms = 0;
    control = redis_new(loop, env_address("FANFARE_TEST_REDIS_A"), 500, 100);
    const struct redis_pipe_options options = {
        .address = env_address("FANFARE_TEST_REDIS_A"), .timeout_ms = 300, .window = 2000, .on_room = on_room};
    pipe_ = redis_pipe_new(loop, &options);
    CONTROL(STR("FLUSHALL"));
    RUN_UNTIL(loop, redis_pipe_up(pipe_));
    assert_true(rooms >= 1); /* told when it came up */
    return 0;
}

static int teardown(void **state) {
    (void)state;
    redis_pipe_free(&pipe_);
    redis_free(&control);
    loop_free(&loop);
    return 0;
}

static struct got *batch(const char *const *keys, size_t count) {
    struct got *g = test_calloc(1, sizeof(*g));
    struct redis_pipe_batch *b;
    const struct entry entries[] = {{1, 10}, {2, 20}};
    assert_int_equal(redis_pipe_begin(pipe_, on_batch, g, &b), ERR_OK);
    for (size_t i = 0; i < count; i++) redis_pipe_push(b, str_c(keys[i]), entries, 1 + i % 2);
    redis_pipe_end(b);
    assert_int_equal(g->done, 0);
    return g;
}

static void lengths_in_order_and_zero_where_nobody_lives(void **state) {
    (void)state;
    CONTROL(STR("RPUSH"), STR("t:a"), STR("h"));
    const char *const keys[] = {"t:a", "t:a", "t:gone", "t:a"};
    struct got *g = batch(keys, 4);
    RUN_UNTIL(loop, g->done);
    assert_int_equal(g->err, ERR_OK);
    assert_int_equal(g->answered, 4);
    const int32_t want[] = {2, 4, 0, 6};
    assert_memory_equal(g->lengths, want, sizeof(want));
    test_free(g);
}

static void on_entry(void *ctx, enum err err, const struct redis_reply *r) {
    bool *seen = ctx;
    static const unsigned char newest[] = {0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 20};
    assert_int_equal(err, ERR_OK);
    assert_memory_equal(redis_str(r).data, newest, sizeof(newest));
    *seen = true;
}

static void the_last_entry_ends_at_the_head(void **state) {
    (void)state;
    CONTROL(STR("RPUSH"), STR("t:b"), STR("h"));
    const char *const keys[] = {"t:gone", "t:b"};
    struct got *g = batch(keys, 2);
    bool seen = false;
    RUN_UNTIL(loop, g->done);
    const struct str argv[] = {STR("LINDEX"), STR("t:b"), STR("0")};
    redis_command(control, on_entry, &seen, 3, argv);
    RUN_UNTIL(loop, seen);
    test_free(g);
}

static void a_refused_push_is_told_and_its_neighbours_are_done(void **state) {
    (void)state;
    CONTROL(STR("RPUSH"), STR("t:a"), STR("h"));
    CONTROL(STR("SET"), STR("t:string"), STR("x"));
    const char *const keys[] = {"t:a", "t:string", "t:a"};
    struct got *g = batch(keys, 3);
    RUN_UNTIL(loop, g->done);
    assert_int_equal(g->err, ERR_OK);
    assert_int_equal(g->lengths[0], 2);
    assert_int_equal(g->lengths[1], -1);
    assert_int_equal(g->lengths[2], 3);
    assert_true(strncmp(g->error, "WRONGTYPE", 9) == 0);
    test_free(g);
}

static void out_of_memory_is_a_refusal(void **state) {
    (void)state;
    CONTROL(STR("RPUSH"), STR("t:a"), STR("h"));
    CONTROL(STR("CONFIG"), STR("SET"), STR("maxmemory"), STR("1"));
    const char *const keys[] = {"t:a"};
    struct got *g = batch(keys, 1);
    RUN_UNTIL(loop, g->done);
    CONTROL(STR("CONFIG"), STR("SET"), STR("maxmemory"), STR("0"));
    assert_int_equal(g->lengths[0], -1);
    assert_true(strncmp(g->error, "OOM", 3) == 0);
    test_free(g);
}

static void an_empty_batch_completes(void **state) {
    (void)state;
    struct got *g = batch(NULL, 0);
    RUN_UNTIL(loop, g->done);
    assert_int_equal(g->err, ERR_OK);
    assert_int_equal(g->answered, 0);
    test_free(g);
}

static void the_window_closes_and_opens(void **state) {
    (void)state;
    struct got *g = test_calloc(1, sizeof(*g));
    struct redis_pipe_batch *b, *other;
    const struct entry e = {1, 2};
    unsigned before = rooms;
    assert_int_equal(redis_pipe_room(pipe_), 2000);
    assert_int_equal(redis_pipe_begin(pipe_, on_batch, g, &b), ERR_OK);
    assert_int_equal(redis_pipe_begin(pipe_, on_batch, g, &other), ERR_BUSY);
    for (unsigned i = 0; i < 2000; i++) redis_pipe_push(b, STR("t:w"), &e, 1);
    redis_pipe_end(b);
    assert_int_equal(redis_pipe_room(pipe_), 0);
    RUN_UNTIL(loop, g->done);
    assert_int_equal(g->answered, 2000);
    assert_int_equal(redis_pipe_room(pipe_), 2000);
    assert_true(rooms > before);
    test_free(g);
}

static void a_lost_connection_fails_batches_and_comes_back(void **state) {
    (void)state;
    const struct str kill_all[] = {STR("CLIENT"), STR("KILL"), STR("TYPE"), STR("normal")};
    const char *const keys[] = {"t:a", "t:b"};
    struct redis_pipe_batch *open;
    struct got spans = {0};
    const struct entry e = {1, 2};
    assert_int_equal(redis_pipe_begin(pipe_, on_batch, &spans, &open), ERR_OK);
    run_command(4, kill_all);
    env_run(loop, 50); /* lost, and probably up again */
    redis_pipe_push(open, STR("t:a"), &e, 1);
    redis_pipe_end(open); /* was open over the loss: nothing of it is known */
    RUN_UNTIL(loop, spans.done);
    assert_int_equal(spans.err, ERR_LOST);
    assert_int_equal(spans.answered, 0);
    RUN_UNTIL(loop, redis_pipe_up(pipe_));
    struct got *g = batch(keys, 2);
    RUN_UNTIL(loop, g->done);
    assert_int_equal(g->err, ERR_OK);
    test_free(g);
}

static void silence_times_out(void **state) {
    (void)state;
    const char *const keys[] = {"t:a", "t:b"};
    CONTROL(STR("CLIENT"), STR("PAUSE"), STR("700"), STR("ALL"));
    struct got *g = batch(keys, 2);
    uint64_t start = clock_mono_ms();
    RUN_UNTIL(loop, g->done);
    assert_int_equal(g->err, ERR_TIMEOUT);
    assert_int_equal(g->answered, 0);
    assert_in_range(clock_mono_ms() - start, 280, 600);
    struct redis_pipe_batch *b;
    assert_int_equal(redis_pipe_begin(pipe_, on_batch, g, &b), ERR_REFUSED);
    assert_int_equal(redis_pipe_room(pipe_), 0);
    RUN_UNTIL(loop, redis_pipe_up(pipe_));
    test_free(g);
}

static void free_cancels(void **state) {
    (void)state;
    const char *const keys[] = {"t:a", "t:b"};
    struct got *g = batch(keys, 2);
    redis_pipe_free(&pipe_);
    assert_int_equal(g->done, 1);
    assert_int_equal(g->err, ERR_CANCELED);
    test_free(g);
}

static void on_batch_free(void *ctx, enum err err, const int32_t *lengths, size_t answered, struct str error) {
    on_batch(ctx, err, lengths, answered, error);
    redis_pipe_free(&pipe_);
}

static void free_from_a_callback(void **state) {
    (void)state;
    struct got first = {0}, second = {0};
    struct redis_pipe_batch *b;
    const struct entry e = {1, 2};
    assert_int_equal(redis_pipe_begin(pipe_, on_batch_free, &first, &b), ERR_OK);
    redis_pipe_push(b, STR("t:a"), &e, 1);
    redis_pipe_end(b);
    assert_int_equal(redis_pipe_begin(pipe_, on_batch, &second, &b), ERR_OK);
    redis_pipe_push(b, STR("t:a"), &e, 1);
    redis_pipe_end(b);
    RUN_UNTIL(loop, first.done);
    assert_int_equal(second.done, 1);
    assert_int_equal(second.err, ERR_CANCELED);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(lengths_in_order_and_zero_where_nobody_lives),
        TEST(the_last_entry_ends_at_the_head),
        TEST(a_refused_push_is_told_and_its_neighbours_are_done),
        TEST(out_of_memory_is_a_refusal),
        TEST(an_empty_batch_completes),
        TEST(the_window_closes_and_opens),
        TEST(a_lost_connection_fails_batches_and_comes_back),
        TEST(silence_times_out),
        TEST(free_cancels),
        TEST(free_from_a_callback),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
