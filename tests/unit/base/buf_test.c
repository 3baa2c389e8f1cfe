/* Buffer and borrowed strings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/mem.h"

static void numbers_are_parsed_strictly(void **state) {
    (void)state;
    uint64_t u = 42;
    int64_t i = 42;
    static const char *const bad[] = {
        "", " 1", "1 ", "+1", "-1", "0x1", "1a", "18446744073709551616", "99999999999999999999"};
    for (size_t n = 0; n < ARRAY_LEN(bad); n++) assert_false(str_u64(str_c(bad[n]), &u));
    assert_int_equal(u, 42);
    assert_true(str_u64(STR("18446744073709551615"), &u));
    assert_true(u == UINT64_MAX);
    assert_true(str_u64(STR("007"), &u));
    assert_int_equal(u, 7);
    assert_false(str_i64(STR("-"), &i));
    assert_false(str_i64(STR("--1"), &i));
    assert_false(str_i64(STR("9223372036854775808"), &i));
    assert_false(str_i64(STR("-9223372036854775809"), &i));
    assert_int_equal(i, 42);
    assert_true(str_i64(STR("-9223372036854775808"), &i));
    assert_true(i == INT64_MIN);
    assert_true(str_i64(STR("9223372036854775807"), &i));
    assert_true(i == INT64_MAX);
}

static void strings_compare(void **state) {
    (void)state;
    assert_true(str_eq(STR("ab"), str_of("abc", 2)));
    assert_false(str_eq(STR("ab"), STR("ac")));
    assert_true(str_eq(STR(""), str_of(NULL, 0)));
    assert_true(str_eq_c(STR("ab"), "ab"));
    assert_false(str_eq_c(STR("ab"), "abc"));
    assert_true(str_ieq_c(STR("Content-TYPE"), "content-type"));
    assert_false(str_ieq_c(STR("content"), "content-type"));
    assert_false(str_ieq_c(STR("content-type"), "content"));
    assert_false(str_ieq_c(str_of("a\0b", 3), "a"));
    assert_true(str_starts(STR("Bearer x"), "Bearer "));
    assert_false(str_starts(STR("Bea"), "Bearer "));
}

static void what_is_added_is_there_and_ends_in_nul(void **state) {
    (void)state;
    CLEANUP(buf_fini) struct buf b = BUF_INIT;
    assert_int_equal(buf_str(&b).len, 0);
    assert_non_null(buf_str(&b).data);
    buf_add(&b, "a\0b", 3);
    buf_add_c(&b, "-");
    buf_add_str(&b, STR("xyz"));
    buf_add_char(&b, '!');
    assert_int_equal(b.len, 8);
    assert_memory_equal(b.data, "a\0b-xyz!", 9);
    for (size_t i = 0; i < 10000; i++) { /* every length at which it could grow */
        buf_add_char(&b, 'x');
        assert_int_equal(b.data[b.len], 0);
        assert_true(b.cap > b.len);
    }
    buf_clear(&b);
    assert_int_equal(b.len, 0);
    assert_string_equal(b.data, "");
}

static void numbers_are_written(void **state) {
    (void)state;
    CLEANUP(buf_fini) struct buf b = BUF_INIT;
    buf_add_u64(&b, 0);
    buf_add_char(&b, ' ');
    buf_add_u64(&b, UINT64_MAX);
    buf_add_char(&b, ' ');
    buf_add_i64(&b, INT64_MIN);
    buf_add_char(&b, ' ');
    buf_add_i64(&b, INT64_MAX);
    assert_string_equal(b.data, "0 18446744073709551615 -9223372036854775808 9223372036854775807");
    buf_clear(&b);
    buf_add_be32(&b, 0x01020384);
    buf_add_be64(&b, UINT64_C(0x8102030405060708));
    assert_int_equal(b.len, 12);
    assert_memory_equal(b.data, "\x01\x02\x03\x84\x81\x02\x03\x04\x05\x06\x07\x08", 12);
    assert_int_equal(be32_load(b.data), 0x01020384);
    assert_true(be64_load(b.data + 4) == UINT64_C(0x8102030405060708));
}

static void formatting_grows(void **state) {
    (void)state;
    CLEANUP(buf_fini) struct buf b = BUF_INIT;
    for (int width = 1; width < 300; width++) {
        buf_clear(&b);
        buf_addf(&b, "<%*d>", width, 1);
        assert_int_equal(b.len, (size_t)width + 2);
        assert_int_equal(b.data[b.len - 1], '>');
        assert_int_equal(b.data[b.len], 0);
    }
}

static void front_drops_and_memory_is_handed_over(void **state) {
    (void)state;
    struct buf b = BUF_INIT;
    buf_drop_front(&b, 5);
    buf_add_c(&b, "hello world");
    buf_drop_front(&b, 0);
    buf_drop_front(&b, 6);
    assert_string_equal(b.data, "world");
    size_t len;
    char *taken = buf_take(&b, &len);
    assert_string_equal(taken, "world");
    assert_int_equal(len, 5);
    assert_null(b.data);
    mem_free(taken);
    taken = buf_take(&b, NULL);
    assert_string_equal(taken, "");
    mem_free(taken);
    buf_add_c(&b, "x");
    buf_drop_front(&b, 100);
    assert_int_equal(b.len, 0);
    buf_fini(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_parsed_strictly),
        cmocka_unit_test(strings_compare),
        cmocka_unit_test(what_is_added_is_there_and_ends_in_nul),
        cmocka_unit_test(numbers_are_written),
        cmocka_unit_test(formatting_grows),
        cmocka_unit_test(front_drops_and_memory_is_handed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
