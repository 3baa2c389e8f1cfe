/* The Redis connection against a real server, and against servers that are not there, hang up or never answer. */
#include "tests/integration/store_env.h"

#include <sys/socket.h>
#include <sys/un.h>

#include "common/base/mem.h"
#include "common/store/redis.h"

static struct loop *loop;
static struct redis *redis;

struct got {
    unsigned done;
    enum err err;
    enum redis_type type;
    int64_t integer;
    size_t len;
    char text[64];
};

static void on_reply(void *ctx, enum err err, const struct redis_reply *reply) {
    struct got *g = ctx;
    g->done++;
    g->err = err;
    if (!reply) return;
    g->type = redis_type(reply);
    g->integer = redis_int(reply);
    g->len = redis_len(reply);
    struct str s = redis_str(reply);
    snprintf(g->text, sizeof(g->text), "%.*s", (int)s.len, s.data ? s.data : "");
}

#define COMMAND(got, ...)                                                                                              \
    redis_command(redis, on_reply, got, sizeof((struct str[]){__VA_ARGS__}) / sizeof(struct str),                      \
                  (struct str[]){__VA_ARGS__})

static int setup(void **state) {
    (void)state;
    loop = loop_new();
    redis = redis_new(loop, env_address("FANFARE_TEST_REDIS_A"), 500, 1000);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    redis_free(&redis);
    loop_free(&loop);
    return 0;
}

static void commands_before_the_connection_is_up_are_sent(void **state) {
    (void)state;
    struct got g = {0};
    assert_int_equal(COMMAND(&g, STR("FLUSHALL")), ERR_OK);
    assert_int_equal(g.done, 0);
    RUN_UNTIL(loop, g.done);
    assert_int_equal(g.err, ERR_OK);
    RUN_UNTIL(loop, redis_up(redis));
}

static void every_type_of_reply(void **state) {
    (void)state;
    struct got status = {0}, number = {0}, text = {0}, nil = {0}, list = {0}, error = {0};
    COMMAND(&status, STR("SET"), STR("t:k"), STR("v\0w"));
    COMMAND(&number, STR("INCRBY"), STR("t:n"), STR("7"));
    COMMAND(&text, STR("GET"), STR("t:k"));
    COMMAND(&nil, STR("GET"), STR("t:missing"));
    COMMAND(&list, STR("MGET"), STR("t:k"), STR("t:missing"), STR("t:n"));
    COMMAND(&error, STR("INCR"), STR("t:k"));
    RUN_UNTIL(loop, error.done);
    assert_int_equal(status.type, REDIS_STATUS);
    assert_string_equal(status.text, "OK");
    assert_int_equal(number.type, REDIS_INT);
    assert_true(number.integer >= 7);
    assert_int_equal(text.type, REDIS_STRING);
    assert_string_equal(text.text, "v"); /* printed up to the NUL */
    assert_int_equal(nil.type, REDIS_NIL);
    assert_int_equal(list.type, REDIS_LIST);
    assert_int_equal(list.len, 3);
    assert_int_equal(error.err, ERR_BACKEND);
    assert_true(strncmp(error.text, "ERR", 3) == 0);
}

static void on_nested(void *ctx, enum err err, const struct redis_reply *r) {
    unsigned *done = ctx;
    assert_int_equal(err, ERR_OK);
    assert_int_equal(redis_len(r), 3);
    assert_int_equal(redis_int(redis_at(r, 0)), 1);
    assert_int_equal(redis_len(redis_at(r, 1)), 2);
    assert_true(str_eq_c(redis_str(redis_at(redis_at(r, 1), 1)), "b"));
    assert_int_equal(redis_len(redis_at(r, 2)), 0);
    ++*done;
}

static struct redis_script nested = {.source = "return {1, {'a', 'b'}, {}}"};
static struct redis_script echo = {.source = "return {KEYS[1], ARGV[1]}"};

static void nested_replies(void **state) {
    (void)state;
    unsigned done = 0;
    for (int i = 0; i < 3; i++) assert_int_equal(redis_eval(redis, &nested, on_nested, &done, 0, 0, NULL), ERR_OK);
    RUN_UNTIL(loop, done == 3);
}

static void scripts_survive_a_flushed_script_cache(void **state) {
    (void)state;
    const struct str argv[] = {STR("t:key"), STR("arg")};
    struct got first = {0}, flushed = {0}, second = {0}, third = {0};
    redis_eval(redis, &echo, on_reply, &first, 1, 2, argv);
    COMMAND(&flushed, STR("SCRIPT"), STR("FLUSH"));
    redis_eval(redis, &echo, on_reply, &second, 1, 2, argv);
    RUN_UNTIL(loop, second.done);
    redis_eval(redis, &echo, on_reply, &third, 1, 2, argv);
    RUN_UNTIL(loop, third.done);
    assert_int_equal(first.err + second.err + third.err, ERR_OK);
    assert_int_equal(second.len, 2);
    assert_int_equal(second.done, 1);
}

static void many_pipelined_with_large_values(void **state) {
    (void)state;
    enum { N = 200, SIZE = 100000 };
    char *big = mem_zalloc(SIZE);
    memset(big, 'x', SIZE);
    static struct got sets[N], gets[N];
    memset(sets, 0, sizeof(sets));
    memset(gets, 0, sizeof(gets));
    redis_free(&redis); /* one that waits: 40 MB take a busy machine longer than the others' half second */
    redis = redis_new(loop, env_address("FANFARE_TEST_REDIS_A"), 20000, 1000);
    for (int i = 0; i < N; i++) {
        COMMAND(&sets[i], STR("SET"), STR("t:big"), str_of(big, SIZE));
        COMMAND(&gets[i], STR("GET"), STR("t:big"));
    }
    RUN_UNTIL(loop, gets[N - 1].done);
    for (int i = 0; i < N; i++) assert_true(sets[i].done == 1 && sets[i].err == ERR_OK && gets[i].type == REDIS_STRING);
    mem_free(big);
}

static void pending_is_bounded(void **state) {
    (void)state;
    struct got g = {0};
    unsigned admitted = 0;
    while (COMMAND(&g, STR("PING")) == ERR_OK) admitted++;
    assert_int_equal(admitted, 1000);
    assert_int_equal(COMMAND(&g, STR("PING")), ERR_BUSY);
    RUN_UNTIL(loop, g.done == 1000);
}

static void raw_commands_and_no_callback(void **state) {
    (void)state;
    struct got g = {0};
    assert_int_equal(redis_command_raw(redis, NULL, NULL, STR("*3\r\n$3\r\nSET\r\n$5\r\nt:raw\r\n$1\r\n1\r\n")),
                     ERR_OK);
    assert_int_equal(redis_command_raw(redis, on_reply, &g, STR("*2\r\n$3\r\nGET\r\n$5\r\nt:raw\r\n")), ERR_OK);
    RUN_UNTIL(loop, g.done);
    assert_string_equal(g.text, "1");
}

static void free_cancels(void **state) {
    (void)state;
    struct got g = {0};
    COMMAND(&g, STR("PING"));
    COMMAND(&g, STR("PING"));
    redis_free(&redis);
    assert_int_equal(g.done, 2);
    assert_int_equal(g.err, ERR_CANCELED);
}

static void on_reply_free(void *ctx, enum err err, const struct redis_reply *reply) {
    on_reply(ctx, err, reply);
    redis_free(&redis);
}

static void free_from_a_callback(void **state) {
    (void)state;
    struct got first = {0}, second = {0};
    const struct str ping = STR("PING");
    redis_command(redis, on_reply_free, &first, 1, &ping);
    redis_command(redis, on_reply, &second, 1, &ping);
    RUN_UNTIL(loop, first.done);
    assert_int_equal(first.err, ERR_OK);
    assert_int_equal(second.done, 1);
    assert_int_equal(second.err, ERR_CANCELED);
    assert_null(redis);
}

static void a_killed_connection_loses_what_was_sent_and_comes_back(void **state) {
    (void)state;
    struct got up = {0}, lost = {0}, back = {0};
    COMMAND(&up, STR("PING"));
    RUN_UNTIL(loop, up.done);
    COMMAND(&lost, STR("CLIENT"), STR("KILL"), STR("TYPE"), STR("normal"), STR("SKIPME"), STR("no"));
    COMMAND(&lost, STR("PING"));
    RUN_UNTIL(loop, lost.done == 2);
    assert_int_equal(lost.err, ERR_LOST);
    RUN_UNTIL(loop, redis_up(redis));
    assert_int_equal(COMMAND(&back, STR("PING")), ERR_OK);
    RUN_UNTIL(loop, back.done);
    assert_int_equal(back.err, ERR_OK);
}

static void nobody_there_refuses(void **state) {
    (void)state;
    redis_free(&redis);
    redis = redis_new(loop, "unix:/nonexistent/redis.sock", 200, 100);
    struct got g = {0};
    assert_int_equal(COMMAND(&g, STR("PING")), ERR_REFUSED);
    env_run(loop, 120);
    assert_int_equal(COMMAND(&g, STR("PING")), ERR_REFUSED);
    assert_false(redis_up(redis));
    assert_int_equal(g.done, 0);
}

/* A listener that never accepts: the kernel does, so the connection stands but nothing answers. */
static int deaf_listener(char path[static 64]) {
    snprintf(path, 64, "/tmp/fanfare-deaf-%d.sock", (int)getpid());
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    unlink(path);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(fd, 8), 0);
    return fd;
}

static void silence_times_out_what_is_in_flight_then_refuses(void **state) {
    (void)state;
    char path[64], address[80];
    int fd = deaf_listener(path);
    snprintf(address, sizeof(address), "unix:%s", path);
    redis_free(&redis);
    redis = redis_new(loop, address, 100, 100);
    struct got g = {0};
    assert_int_equal(COMMAND(&g, STR("PING")), ERR_OK);
    assert_int_equal(COMMAND(&g, STR("PING")), ERR_OK);
    uint64_t start = clock_mono_ms();
    RUN_UNTIL(loop, g.done == 2);
    assert_int_equal(g.err, ERR_TIMEOUT);
    assert_in_range(clock_mono_ms() - start, 90, 300);
    assert_int_equal(COMMAND(&g, STR("PING")), ERR_REFUSED);
    assert_false(redis_up(redis));
    close(fd);
    unlink(path);
}

static void a_set_has_one_connection_an_address(void **state) {
    (void)state;
    struct redis_set *set = redis_set_new(loop, 500, 100);
    const char *a = env_address("FANFARE_TEST_REDIS_A"), *b = env_address("FANFARE_TEST_REDIS_B");
    assert_ptr_equal(redis_set_get(set, a), redis_set_get(set, a));
    assert_ptr_not_equal(redis_set_get(set, a), redis_set_get(set, b));
    redis_set_free(&set);
    assert_null(set);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(commands_before_the_connection_is_up_are_sent),
        TEST(every_type_of_reply),
        TEST(nested_replies),
        TEST(scripts_survive_a_flushed_script_cache),
        TEST(many_pipelined_with_large_values),
        TEST(pending_is_bounded),
        TEST(raw_commands_and_no_callback),
        TEST(free_cancels),
        TEST(free_from_a_callback),
        TEST(a_killed_connection_loses_what_was_sent_and_comes_back),
        TEST(nobody_there_refuses),
        TEST(silence_times_out_what_is_in_flight_then_refuses),
        TEST(a_set_has_one_connection_an_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
