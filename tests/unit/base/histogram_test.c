/* Histogram: within 1/128 of the exact quantiles, merging, limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "common/base/hash.h"
#include "common/base/histogram.h"

static int ascending(const void *left, const void *right) {
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

static void quantiles_are_within_one_part_in_128(void **state) {
    (void)state;
    enum { N = 20000 };
    static uint64_t values[N];
    struct histogram *h = histogram_new();
    struct rng rng = {3};
    double sum = 0;
    for (size_t i = 0; i < N; i++) {
        values[i] = rng_next(&rng) >> (24 + rng_below(&rng, 40)); /* every magnitude below 2^40 */
        histogram_add(h, values[i]);
        sum += (double)values[i];
    }
    qsort(values, N, sizeof(values[0]), ascending);
    for (int q = 1; q <= 1000; q++) {
        uint64_t exact = values[(size_t)q * N / 1000 - 1], got = histogram_quantile(h, q / 1000.0);
        uint64_t next =
            values[(size_t)q * N / 1000 < N ? (size_t)q * N / 1000 : N - 1]; /* 0.001 * q may round up a rank */
        assert_true(got >= exact && got <= next + next / 128);
    }
    assert_int_equal(histogram_quantile(h, 1), values[N - 1]);
    assert_int_equal(histogram_max(h), values[N - 1]);
    assert_int_equal(histogram_count(h), N);
    double mean = histogram_mean(h);
    assert_true(mean > sum / N * 0.999999 && mean < sum / N * 1.000001);
    histogram_free(&h);
    assert_null(h);
    histogram_free(&h);
}

static void small_values_are_exact(void **state) {
    (void)state;
    struct histogram *h = histogram_new();
    for (uint64_t v = 0; v < 256; v++) histogram_add(h, v);
    for (unsigned v = 0; v < 256; v++) assert_int_equal(histogram_quantile(h, (v + 0.5) / 256), v);
    histogram_free(&h);
}

static void empty_and_odd_arguments(void **state) {
    (void)state;
    struct histogram *h = histogram_new();
    assert_int_equal(histogram_quantile(h, 0.5), 0);
    assert_int_equal(histogram_max(h), 0);
    assert_true(histogram_mean(h) == 0);
    histogram_add(h, 1000);
    assert_int_equal(histogram_quantile(h, -1), 1000);
    assert_int_equal(histogram_quantile(h, 7), 1000);
    histogram_add(h, 1000);
    assert_int_equal(histogram_quantile(h, 0.5), 1000); /* never above the largest, though its bucket reaches further */
    histogram_reset(h);
    assert_int_equal(histogram_count(h), 0);
    assert_int_equal(histogram_quantile(h, 1), 0);
    histogram_add(h, UINT64_MAX); /* counted as the largest value it knows */
    assert_int_equal(histogram_max(h), UINT64_C(1) << 40);
    assert_int_equal(histogram_quantile(h, 0.99), UINT64_C(1) << 40);
    histogram_free(&h);
}

static void merging_is_adding(void **state) {
    (void)state;
    struct histogram *a = histogram_new(), *b = histogram_new(), *both = histogram_new();
    struct rng rng = {5};
    for (int i = 0; i < 5000; i++) {
        uint64_t v = rng_below(&rng, 1000000);
        histogram_add(i % 3 ? a : b, v);
        histogram_add(both, v);
    }
    histogram_merge(a, b);
    assert_int_equal(histogram_count(a), histogram_count(both));
    assert_int_equal(histogram_max(a), histogram_max(both));
    assert_true(histogram_mean(a) == histogram_mean(both));
    for (int q = 0; q <= 100; q++) {
        assert_int_equal(histogram_quantile(a, q / 100.0), histogram_quantile(both, q / 100.0));
    }
    histogram_free(&a);
    histogram_free(&b);
    histogram_free(&both);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantiles_are_within_one_part_in_128),
        cmocka_unit_test(small_values_are_exact),
        cmocka_unit_test(empty_and_odd_arguments),
        cmocka_unit_test(merging_is_adding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
