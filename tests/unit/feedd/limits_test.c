/* Token buckets: burst, refill, headers' numbers, separate kinds and keys, and a table that is too full. The test owns
 * the clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "feedd/limits.h"

#define S     1000000000ull
#define START (1000 * S)

static struct limits *make(double per_s, uint32_t burst) {
    return limits_new((struct limit_rate[LIMIT_KINDS]){
        [LIMIT_POSTS] = {per_s, burst}, [LIMIT_READS] = {0, 1}, [LIMIT_SIGN_IN] = {1, 1}});
}

static void test_burst_then_refill(void **state) {
    (void)state;
    struct limits *l = make(2, 3);
    for (uint32_t i = 0; i < 3; i++) {
        struct limit_verdict v = limits_take(l, LIMIT_POSTS, 7, START);
        assert_true(v.limited);
        assert_true(v.allowed);
        assert_int_equal(v.limit, 3);
        assert_int_equal(v.remaining, 2 - i);
        assert_int_equal(v.retry_after_s, 0);
    }
    struct limit_verdict v = limits_take(l, LIMIT_POSTS, 7, START);
    assert_false(v.allowed);
    assert_int_equal(v.remaining, 0);
    assert_int_equal(v.reset_s, 2); /* 1.5 s */
    assert_int_equal(v.retry_after_s, 1);
    assert_false(limits_take(l, LIMIT_POSTS, 7, START + S / 2 - 1).allowed);
    assert_true(limits_take(l, LIMIT_POSTS, 7, START + S / 2).allowed);
    assert_false(limits_take(l, LIMIT_POSTS, 7, START + S / 2).allowed);
    v = limits_take(l, LIMIT_POSTS, 7, START + 60 * S); /* full again, not fuller */
    assert_true(v.allowed);
    assert_int_equal(v.remaining, 2);
    limits_free(&l);
    assert_null(l);
}

static void test_refusals_cost_nothing(void **state) {
    (void)state;
    struct limits *l = make(1, 1);
    assert_true(limits_take(l, LIMIT_POSTS, 1, START).allowed);
    for (int i = 0; i < 100; i++) assert_false(limits_take(l, LIMIT_POSTS, 1, START + S / 2).allowed);
    assert_true(limits_take(l, LIMIT_POSTS, 1, START + S).allowed);
    limits_free(&l);
}

static void test_slow_rate_tells_the_wait(void **state) {
    (void)state;
    struct limits *l = make(0.1, 1);
    assert_true(limits_take(l, LIMIT_POSTS, 1, START).allowed);
    assert_int_equal(limits_take(l, LIMIT_POSTS, 1, START).retry_after_s, 10);
    assert_int_equal(limits_take(l, LIMIT_POSTS, 1, START + 4 * S).retry_after_s, 6);
    limits_free(&l);
}

static void test_keys_and_kinds_are_separate(void **state) {
    (void)state;
    struct limits *l = make(1, 1);
    assert_true(limits_take(l, LIMIT_POSTS, 1, START).allowed);
    assert_true(limits_take(l, LIMIT_POSTS, 2, START).allowed);
    assert_true(limits_take(l, LIMIT_SIGN_IN, 1, START).allowed);
    assert_false(limits_take(l, LIMIT_SIGN_IN, 1, START).allowed);
    for (int i = 0; i < 10; i++) { /* a rate of 0 is no limit */
        struct limit_verdict v = limits_take(l, LIMIT_READS, 1, START);
        assert_true(v.allowed);
        assert_false(v.limited);
    }
    assert_true(limits_take(l, LIMIT_NONE, 1, START).allowed);
    limits_free(&l);
}

/* Buckets that are full again are forgotten, those that are not are kept. */
static void test_full_buckets_make_room(void **state) {
    (void)state;
    struct limits *l = make(1, 1);
    for (uint64_t k = 1; k <= 300000; k++)
        (void)limits_take(l, LIMIT_POSTS, k, START); /* more than there is room for */
    uint64_t later = START + 100 * S;
    for (uint64_t k = 1; k <= 100; k++) assert_true(limits_take(l, LIMIT_POSTS, k, later).allowed);
    for (uint64_t k = 1000; k < 16000; k++) (void)limits_take(l, LIMIT_POSTS, k, later);
    for (uint64_t k = 1; k <= 100; k++) assert_false(limits_take(l, LIMIT_POSTS, k, later).allowed);
    limits_free(&l);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_burst_then_refill),        cmocka_unit_test(test_refusals_cost_nothing),
        cmocka_unit_test(test_slow_rate_tells_the_wait), cmocka_unit_test(test_keys_and_kinds_are_separate),
        cmocka_unit_test(test_full_buckets_make_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
