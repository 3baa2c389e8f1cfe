/* The hashing pool, with the smallest cost: outcomes, the bound of the queue, and that every accepted job is completed
 * once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <time.h>

#include "common/base/mem.h"
#include "common/sys/password.h"

struct answer {
    struct loop *loop;
    int done, stop_at;
    enum err err;
    bool match;
    char hash[PASSWORD_HASH_MAX];
    int canceled;
};

static void note(void *ctx, enum err err, const char *hash, bool match) {
    struct answer *a = ctx;
    assert_true(strlen(hash) < sizeof a->hash);
    a->err = err;
    a->match = match;
    a->canceled += err == ERR_CANCELED;
    memcpy(a->hash, hash, strlen(hash) + 1);
    if (++a->done == a->stop_at) loop_stop(a->loop);
}

static struct password_pool *small_pool(unsigned threads, unsigned queue_max) {
    return password_pool_new(threads, queue_max, 1, 8192);
}

static void hash_now(struct password_pool *p, struct answer *a, struct str password) {
    a->stop_at = a->done + 1;
    assert_int_equal(password_hash(p, a->loop, password, note, a), ERR_OK);
    loop_run(a->loop);
}

static void verify_now(struct password_pool *p, struct answer *a, struct str password, const char *hash) {
    a->stop_at = a->done + 1;
    assert_int_equal(password_verify(p, a->loop, password, hash, note, a), ERR_OK);
    loop_run(a->loop);
    assert_string_equal(a->hash, "");
}

static void test_hash_and_verify(void **state) {
    (void)state;
    struct answer a = {.loop = loop_new()};
    struct password_pool *p = small_pool(2, 8);
    hash_now(p, &a, STR("correct horse\0battery"));
    assert_int_equal(a.err, ERR_OK);
    assert_memory_equal(a.hash, "$argon2id$v=19$m=8,t=1,p=1$", 27);
    char hash[PASSWORD_HASH_MAX];
    memcpy(hash, a.hash, sizeof hash);
    hash_now(p, &a, STR("correct horse\0battery"));
    assert_string_not_equal(a.hash, hash); /* salted */

    verify_now(p, &a, STR("correct horse\0battery"), hash);
    assert_int_equal(a.err, ERR_OK);
    assert_true(a.match);
    verify_now(p, &a, STR("correct horse"), hash);
    assert_int_equal(a.err, ERR_OK);
    assert_false(a.match);
    verify_now(p, &a, STR(""), hash);
    assert_false(a.match);
    password_pool_free(&p);
    assert_null(p);
    password_pool_free(&p);
    loop_free(&a.loop);
}

static void test_unknown_user_never_matches(void **state) {
    (void)state;
    struct answer a = {.loop = loop_new()};
    struct password_pool *p = small_pool(1, 8);
    verify_now(p, &a, STR("anything"), NULL);
    assert_int_equal(a.err, ERR_OK);
    assert_false(a.match);
    password_pool_free(&p);
    loop_free(&a.loop);
}

static uint64_t cpu_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Whoever asks cannot tell an unknown user from a wrong password by the time it takes. */
static void test_unknown_user_takes_as_long(void **state) {
    (void)state;
    struct answer a = {.loop = loop_new()};
    struct password_pool *p = password_pool_new(1, 8, 2, 8 << 20);
    hash_now(p, &a, STR("secret"));
    char hash[PASSWORD_HASH_MAX];
    memcpy(hash, a.hash, sizeof hash);
    uint64_t start = cpu_ns();
    verify_now(p, &a, STR("wrong"), hash);
    uint64_t known = cpu_ns() - start;
    start = cpu_ns();
    verify_now(p, &a, STR("wrong"), NULL);
    uint64_t unknown = cpu_ns() - start;
    assert_true(unknown * 4 > known && known * 4 > unknown);
    password_pool_free(&p);
    loop_free(&a.loop);
}

static void test_damaged_hashes(void **state) {
    (void)state;
    struct answer a = {.loop = loop_new()};
    struct password_pool *p = small_pool(1, 8);
    verify_now(p, &a, STR("x"), "$argon2id$v=19$m=8,t=1,p=1$broken");
    assert_int_equal(a.err, ERR_CORRUPT);
    assert_false(a.match);
    verify_now(p, &a, STR("x"), "");
    assert_false(a.match);
    char longest[PASSWORD_HASH_MAX + 1];
    memset(longest, 'a', PASSWORD_HASH_MAX);
    longest[PASSWORD_HASH_MAX] = '\0';
    assert_int_equal(password_verify(p, a.loop, STR("x"), longest, note, &a), ERR_INVALID);
    password_pool_free(&p);
    loop_free(&a.loop);
}

/* More than fits is refused at once; what was taken completes, all of it, also when the pool ends first. */
static void test_bound_and_cancel(void **state) {
    (void)state;
    struct answer a = {.loop = loop_new()};
    struct password_pool *p = password_pool_new(1, 4, 2, 32 << 20); /* slow enough that the queue fills */
    int taken = 0, refused = 0;
    for (int i = 0; i < 20; i++) {
        enum err err = password_hash(p, a.loop, STR("secret"), note, &a);
        taken += err == ERR_OK;
        refused += err == ERR_BUSY;
    }
    assert_int_equal(taken + refused, 20);
    assert_in_range(taken, 4, 6);
    assert_int_equal(a.done, 0); /* never before returning */
    password_pool_free(&p);
    a.stop_at = taken;
    loop_run(a.loop);
    assert_int_equal(a.done, taken);
    assert_in_range(a.canceled, 1, 4);
    loop_free(&a.loop);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hash_and_verify),
        cmocka_unit_test(test_unknown_user_never_matches),
        cmocka_unit_test(test_unknown_user_takes_as_long),
        cmocka_unit_test(test_damaged_hashes),
        cmocka_unit_test(test_bound_and_cancel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
