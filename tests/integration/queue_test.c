/* The fan-out queue against a real Redis (FANFARE_TEST_REDIS_A): what is added comes out once, and what a dead consumer
 * held comes out again. */
#include "tests/integration/store_env.h"

#include "common/base/mem.h"
#include "common/store/queue.h"

static struct {
    struct loop *loop;
    struct redis *redis, *second;
    struct queue *producer, *one, *two;
    struct arena arena;
} f;

struct answer {
    bool there;
    enum err err;
    uint64_t value;
    const struct queue_item *items;
    size_t count;
};

static void on_value(void *ctx, enum err err, uint64_t value) {
    *(struct answer *)ctx = (struct answer){.there = true, .err = err, .value = value};
}

static void on_items(void *ctx, enum err err, const struct queue_item *items, size_t count) {
    *(struct answer *)ctx = (struct answer){.there = true, .err = err, .items = items, .count = count};
}

static void on_reply(void *ctx, enum err err, const struct redis_reply *r) {
    uint64_t value = err == ERR_OK && redis_type(r) == REDIS_INT ? (uint64_t)redis_int(r) : 0;
    *(struct answer *)ctx = (struct answer){.there = true, .err = err, .value = value};
}

#define CALL(call)                                                                                                     \
    ({                                                                                                                 \
        struct answer a_ = {0};                                                                                        \
        assert_int_equal(call, ERR_OK);                                                                                \
        assert_false(a_.there);                                                                                        \
        RUN_UNTIL(f.loop, a_.there);                                                                                   \
        assert_int_equal(a_.err, ERR_OK);                                                                              \
        a_;                                                                                                            \
    })

static struct answer add(uint64_t first, size_t count) {
    struct job *jobs = ARENA_ARRAY(&f.arena, struct job, count);
    for (size_t i = 0; i < count; i++) jobs[i] = (struct job){first + i, 7, "00-trace"};
    return CALL(queue_add(f.producer, jobs, count, on_value, &a_));
}
static struct answer read_jobs(struct queue *q, unsigned max, uint64_t block) {
    return CALL(queue_read(q, max, block, &f.arena, on_items, &a_));
}
static struct answer claim(struct queue *q, uint64_t idle, unsigned max) {
    return CALL(queue_claim(q, idle, max, &f.arena, on_items, &a_));
}
static const struct queue_item **pointers(struct answer a) {
    const struct queue_item **p = ARENA_ARRAY(&f.arena, const struct queue_item *, a.count + 1);
    for (size_t i = 0; i < a.count; i++) p[i] = &a.items[i];
    return p;
}
static uint64_t length(void) {
    return CALL(queue_length(f.producer, on_value, &a_)).value;
}
static uint64_t oldest(void) {
    return CALL(queue_oldest(f.producer, on_value, &a_)).value;
}
static uint64_t ack(struct queue *q, struct answer a) {
    return CALL(queue_ack(q, pointers(a), a.count, on_value, &a_)).value;
}
static uint64_t command(size_t argc, const struct str *argv) {
    return CALL(redis_command(f.redis, on_reply, &a_, argc, argv)).value;
}

static int setup(void **state) {
    (void)state;
    const char *address = env_address("FANFARE_TEST_REDIS_A");
    f.loop = loop_new();
    f.redis = redis_new(f.loop, address, 3000, 10000);
    f.second = redis_new(f.loop, address, 3000, 10000);
    f.producer = queue_new(f.redis, NULL);
    f.one = queue_new(f.second, "one");
    f.two = queue_new(f.redis, "two");
    arena_init(&f.arena, 0);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    redis_free(&f.redis);
    redis_free(&f.second);
    queue_free(&f.producer);
    queue_free(&f.one);
    queue_free(&f.two);
    loop_free(&f.loop);
    arena_fini(&f.arena);
    return 0;
}

static int empty(void **state) {
    (void)state;
    command(2, (struct str[]){STR("DEL"), STR(QUEUE_STREAM)});
    return 0;
}

static void what_was_added_before_the_group_existed_comes_out(void **state) {
    (void)state;
    assert_int_equal(length(), 0);
    assert_int_equal(oldest(), 0);
    assert_int_equal(add(100, 3).value, 3);
    assert_int_equal(length(), 3);
    uint64_t now = clock_wall_ms();
    assert_in_range(oldest(), now - 5000, now + 5000);
    struct answer a = read_jobs(f.one, 2, 0);
    assert_int_equal(a.count, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_true(a.items[i].valid);
        assert_int_equal(a.items[i].job.post_id, 100 + i);
        assert_int_equal(a.items[i].job.author_id, 7);
        assert_string_equal(a.items[i].job.traceparent, "00-trace");
    }
    assert_int_equal(length(), 3); /* read is not done */
    assert_int_equal(ack(f.one, a), 2);
    assert_int_equal(length(), 1);
    assert_int_equal(ack(f.one, a), 0); /* again: harmless */
}

static void each_job_goes_to_one_consumer(void **state) {
    (void)state;
    add(1, 10);
    struct answer a = read_jobs(f.one, 6, 0), b = read_jobs(f.two, 6, 0), c = read_jobs(f.two, 6, 0);
    assert_int_equal(a.count, 6);
    assert_int_equal(b.count, 4);
    assert_int_equal(c.count, 0);
    assert_int_equal(b.items[0].job.post_id, 7);
}

static void a_blocked_read_wakes_when_a_job_comes(void **state) {
    (void)state;
    struct answer a = {0};
    uint64_t start = clock_mono_ms();
    assert_int_equal(read_jobs(f.one, 5, 30).count, 0); /* makes the group; times out with nothing */
    assert_true(clock_mono_ms() - start >= 20);
    assert_int_equal(queue_read(f.one, 5, 2000, &f.arena, on_items, &a), ERR_OK);
    env_run(f.loop, 50);
    assert_false(a.there);
    add(5, 1);
    RUN_UNTIL(f.loop, a.there);
    assert_int_equal(a.err, ERR_OK);
    assert_int_equal(a.count, 1);
    assert_int_equal(a.items[0].job.post_id, 5);
}

static void what_a_dead_consumer_held_is_claimed_once(void **state) {
    (void)state;
    add(1, 5);
    read_jobs(f.one, 5, 0);
    env_run(f.loop, 60);
    assert_int_equal(claim(f.two, 10000, 10).count, 0); /* not idle for long enough */
    struct answer some = claim(f.two, 50, 3), rest = claim(f.two, 0, 3), none = claim(f.two, 50, 3);
    assert_int_equal(some.count, 3);
    assert_int_equal(rest.count, 2); /* goes on where it stopped */
    assert_int_equal(none.count, 0);
    assert_int_equal(some.items[0].job.post_id, 1);
    assert_int_equal(rest.items[1].job.post_id, 5);
}

static void touched_jobs_stay(void **state) {
    (void)state;
    add(1, 2);
    struct answer held = read_jobs(f.one, 2, 0);
    env_run(f.loop, 120);
    held.count = 1;
    CALL(queue_touch(f.one, pointers(held), 1, on_value, &a_));
    struct answer got = claim(f.two, 100, 10);
    assert_int_equal(got.count, 1);
    assert_int_equal(got.items[0].job.post_id, 2);
}

static void a_lost_stream_is_an_empty_one(void **state) {
    (void)state;
    add(1, 2);
    struct answer held = read_jobs(f.one, 2, 0);
    struct answer waiting = {0};
    assert_int_equal(queue_read(f.one, 5, 2000, &f.arena, on_items, &waiting), ERR_OK);
    env_run(f.loop, 20);
    command(2, (struct str[]){STR("DEL"), STR(QUEUE_STREAM)});
    env_run(f.loop, 20);
    assert_int_equal(ack(f.two, held), 0);
    assert_int_equal(CALL(queue_touch(f.two, pointers(held), 2, on_value, &a_)).value, 0);
    assert_int_equal(claim(f.two, 1, 10).count, 0);
    assert_int_equal(length(), 0);
    add(9, 1);
    if (!waiting.there || waiting.count == 0) {
        RUN_UNTIL(f.loop, waiting.there);
        assert_int_equal(waiting.err, ERR_OK);
        if (!waiting.count) waiting = read_jobs(f.one, 5, 0);
    }
    assert_int_equal(waiting.count, 1);
    assert_int_equal(waiting.items[0].job.post_id, 9);
}

static void what_cannot_be_decoded_is_told_apart(void **state) {
    (void)state;
    command(5, (struct str[]){STR("XADD"), STR(QUEUE_STREAM), STR("*"), STR("j"), STR("junk")});
    command(5, (struct str[]){STR("XADD"), STR(QUEUE_STREAM), STR("*"), STR("other"), STR("field")});
    add(3, 1);
    struct answer a = read_jobs(f.one, 5, 0);
    assert_int_equal(a.count, 3);
    assert_false(a.items[0].valid);
    assert_false(a.items[1].valid);
    assert_true(a.items[2].valid);
    assert_int_equal(ack(f.one, a), 3);
}

static void thousands_at_once(void **state) {
    (void)state;
    assert_int_equal(add(1, 3000).value, 3000);
    struct answer a = read_jobs(f.one, 3000, 0);
    assert_int_equal(a.count, 3000);
    CALL(queue_touch(f.one, pointers(a), a.count, on_value, &a_));
    assert_int_equal(ack(f.one, a), 3000);
    assert_int_equal(length(), 0);
}

static void silent_consumers_that_hold_nothing_are_forgotten(void **state) {
    (void)state;
    add(1, 2);
    struct answer a = read_jobs(f.one, 1, 0);
    struct answer b = read_jobs(f.two, 1, 0);
    ack(f.one, a);
    env_run(f.loop, 30);
    assert_int_equal(CALL(queue_forget_consumers(f.producer, 10000, on_value, &a_)).value, 0);
    assert_int_equal(CALL(queue_forget_consumers(f.producer, 10, on_value, &a_)).value, 1); /* one; two holds a job */
    assert_int_equal(claim(f.one, 10, 5).count, 1);
    assert_int_equal(b.count, 1);
    empty(state);
    assert_int_equal(CALL(queue_forget_consumers(f.producer, 0, on_value, &a_)).value, 0);
}

static void a_queue_that_is_not_there_fails_the_call(void **state) {
    (void)state;
    struct redis *nobody = redis_new(f.loop, "unix:/nonexistent/queue.sock", 100, 100);
    struct queue *q = queue_new(nobody, "x");
    struct job j = {1, 2, ""};
    struct answer a = {0};
    enum err err = queue_add(q, &j, 1, on_value, &a);
    if (err == ERR_OK) {
        RUN_UNTIL(f.loop, a.there);
        err = a.err;
    }
    assert_int_not_equal(err, ERR_OK);
    redis_free(&nobody);
    queue_free(&q);
}

#define TEST(name) cmocka_unit_test_setup(name, empty)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(what_was_added_before_the_group_existed_comes_out),
        TEST(each_job_goes_to_one_consumer),
        TEST(a_blocked_read_wakes_when_a_job_comes),
        TEST(what_a_dead_consumer_held_is_claimed_once),
        TEST(touched_jobs_stay),
        TEST(a_lost_stream_is_an_empty_one),
        TEST(what_cannot_be_decoded_is_told_apart),
        TEST(thousands_at_once),
        TEST(silent_consumers_that_hold_nothing_are_forgotten),
        TEST(a_queue_that_is_not_there_fails_the_call),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
