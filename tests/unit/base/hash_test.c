/* Hashing: values that placement depends on are pinned; generators are sound. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "common/base/hash.h"

/* XXH3_64bits with seed 0, from the reference implementation. A change here orphans every cache key there is. */
static void hashes_are_stable_for_ever(void **state) {
    (void)state;
    assert_true(hash_bytes("", 0) == UINT64_C(0x2d06800538d394c2));
    assert_true(hash_bytes("abc", 3) == UINT64_C(0x78af5f94892f3950));
    assert_true(hash_u64(0) == hash_bytes("\0\0\0\0\0\0\0\0", 8));
    assert_true(hash_u64(0x0102) == hash_bytes("\x02\x01\0\0\0\0\0\0", 8));
    assert_true(hash_u64(1) == UINT64_C(0x2fbc593564db792e));
    assert_true(hash_u64(UINT64_C(0x123456789abcdef)) == UINT64_C(0xb78df414284277a6));
}

static void nonces_differ_and_are_never_zero(void **state) {
    (void)state;
    uint64_t seen[1000];
    for (size_t i = 0; i < 1000; i++) {
        seen[i] = random_u64();
        assert_true(seen[i] != 0);
        for (size_t j = 0; j < i; j++) assert_true(seen[i] != seen[j]);
    }
}

/* splitmix64's published first outputs for seed 1234567. */
static void the_generator_is_reproducible(void **state) {
    (void)state;
    struct rng r = {1234567};
    assert_true(rng_next(&r) == UINT64_C(6457827717110365317));
    assert_true(rng_next(&r) == UINT64_C(3203168211198807973));
    assert_true(rng_next(&r) == UINT64_C(9817491932198370423));
}

static void bounded_numbers_are_uniform(void **state) {
    (void)state;
    struct rng r = {99};
    unsigned counts[10] = {0};
    for (int i = 0; i < 100000; i++) counts[rng_below(&r, 10)]++;
    for (int i = 0; i < 10; i++) assert_in_range(counts[i], 9500, 10500);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(rng_below(&r, 1), 0);
        assert_true(rng_below(&r, (UINT64_C(1) << 63) + 1) <= UINT64_C(1) << 63); /* every other draw is rejected */
    }
    double sum = 0;
    for (int i = 0; i < 100000; i++) {
        double d = rng_double(&r);
        assert_true(d >= 0 && d < 1);
        sum += d;
    }
    assert_true(sum > 49500 && sum < 50500);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hashes_are_stable_for_ever),
        cmocka_unit_test(nonces_differ_and_are_never_zero),
        cmocka_unit_test(the_generator_is_reproducible),
        cmocka_unit_test(bounded_numbers_are_uniform),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
