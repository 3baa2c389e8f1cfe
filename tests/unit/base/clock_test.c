/* Clocks: the replaced source, and RFC 3339 against gmtime. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/hash.h"

static uint64_t fake_ns(void) {
    return UINT64_C(5123456789);
}

static void a_test_owns_the_time(void **state) {
    (void)state;
    clock_set_mono_source(fake_ns);
    assert_int_equal(clock_mono_ns(), 5123456789);
    assert_int_equal(clock_mono_ms(), 5123);
    clock_set_mono_source(NULL);
    uint64_t before = clock_mono_ns();
    assert_true(before != 5123456789);
    assert_true(clock_mono_ns() >= before);
    uint64_t now = (uint64_t)time(NULL) * 1000;
    assert_true(clock_wall_ms() >= now && clock_wall_ms() < now + 60000);
}

static void format_matches(uint64_t ms) {
    char text[25], expected[64];
    struct tm tm;
    time_t seconds = (time_t)(ms / 1000);
    gmtime_r(&seconds, &tm);
    size_t len = strftime(expected, sizeof(expected), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(expected + len, sizeof(expected) - len, ".%03dZ", (int)(ms % 1000));
    clock_format_rfc3339(ms, text);
    assert_string_equal(text, expected);
}

static void times_are_formatted(void **state) {
    (void)state;
    char text[25];
    clock_format_rfc3339(0, text);
    assert_string_equal(text, "1970-01-01T00:00:00.000Z");
    clock_format_rfc3339(UINT64_C(1704067200000), text);
    assert_string_equal(text, "2024-01-01T00:00:00.000Z");
    clock_format_rfc3339(UINT64_C(1709251199999), text);
    assert_string_equal(text, "2024-02-29T23:59:59.999Z");
    struct rng rng = {7};
    for (int i = 0; i < 20000; i++) format_matches(rng_below(&rng, UINT64_C(253402300800000)));
    for (uint64_t day = 0; day < 366 * 140; day++) format_matches(day * 86400000); /* 1970 to 2110 */
}

static void beyond_year_9999_saturates(void **state) {
    (void)state;
    char text[25];
    clock_format_rfc3339(UINT64_C(253402300799999), text);
    assert_string_equal(text, "9999-12-31T23:59:59.999Z");
    clock_format_rfc3339(UINT64_MAX, text);
    assert_string_equal(text, "9999-12-31T23:59:59.999Z");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_test_owns_the_time),
        cmocka_unit_test(times_are_formatted),
        cmocka_unit_test(beyond_year_9999_saturates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
