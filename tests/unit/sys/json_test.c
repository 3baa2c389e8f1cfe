/* JSON: what is accepted, what is refused and how the refusal reads; the writers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/base/utf8.h"
#include "common/sys/json.h"

static struct json *parse(const char *text) {
    struct json *j = NULL;
    char why[160] = "";
    if (json_parse(str_c(text), &j, why) != ERR_OK) fail_msg("%s: %s", text, why);
    return j;
}

static void assert_refused(const char *text, size_t len, const char *why_has) {
    struct json *j = (struct json *)1;
    char why[160] = "";
    assert_int_equal(json_parse(str_of(text, len), &j, why), ERR_INVALID);
    assert_ptr_equal(j, (struct json *)1); /* untouched */
    assert_true(utf8_valid(why, strlen(why), NULL));
    for (const char *c = why; *c; c++) assert_true((unsigned char)*c >= 0x20 && *c != 0x7f);
    if (!strstr(why, why_has)) fail_msg("\"%s\" does not say \"%s\"", why, why_has);
}
#define REFUSED(literal, why_has) assert_refused("" literal, sizeof(literal) - 1, why_has)

static void test_values(void **state) {
    (void)state;
    CLEANUP(json_free)
    struct json *j = parse("{\"s\":\"a\\u0000b\",\"i\":-9007199254740993,\"r\":1.5,\"t\":true,\"f\":false,\"n\":null,"
                           "\"a\":[1,2],\"o\":{}}");
    assert_int_equal(json_type(j), JSON_OBJECT);
    assert_int_equal(json_length(j), 8);
    struct str s = json_string(json_member(j, "s"));
    assert_int_equal(s.len, 3);
    assert_memory_equal(s.data, "a\0b", 3);
    assert_int_equal(json_type(json_member(j, "i")), JSON_INT);
    assert_int_equal(json_int(json_member(j, "i")), -9007199254740993);
    assert_int_equal(json_type(json_member(j, "r")), JSON_REAL);
    assert_true(json_real(json_member(j, "r")) == 1.5);
    assert_true(json_real(json_member(j, "i")) < -9e15); /* of an int too */
    assert_int_equal(json_type(json_member(j, "t")), JSON_BOOL);
    assert_true(json_bool(json_member(j, "t")));
    assert_false(json_bool(json_member(j, "f")));
    assert_int_equal(json_type(json_member(j, "n")), JSON_NULL);
    const struct json *a = json_member(j, "a");
    assert_int_equal(json_type(a), JSON_ARRAY);
    assert_int_equal(json_length(a), 2);
    assert_int_equal(json_int(json_at(a, 1)), 2);
    assert_null(json_at(a, 2));
    assert_null(json_member(j, "absent"));
}

static void test_accessors_of_another_type(void **state) {
    (void)state;
    CLEANUP(json_free) struct json *j = parse("[\"12\", 12, null]");
    assert_int_equal(json_int(json_at(j, 0)), 0);
    assert_int_equal(json_string(json_at(j, 1)).len, 0);
    assert_false(json_bool(json_at(j, 1)));
    assert_int_equal(json_length(json_at(j, 2)), 0);
    assert_null(json_member(j, "x"));
}

/* The program's own json_real and json_string must not be the ones the library calls while it parses. */
static void test_reals_and_strings_come_from_the_library(void **state) {
    (void)state;
    CLEANUP(json_free) struct json *j = parse("[1e3, \"x\"]");
    assert_true(json_real(json_at(j, 0)) == 1000.0);
    assert_true(str_eq_c(json_string(json_at(j, 1)), "x"));
}

static void test_each(void **state) {
    (void)state;
    CLEANUP(json_free) struct json *j = parse("{\"a\":1,\"b\":2,\"c\":3}");
    void *iterator = NULL;
    struct str key;
    const struct json *value;
    int64_t sum = 0;
    size_t n = 0;
    while (json_each(j, &iterator, &key, &value)) {
        assert_int_equal(key.len, 1);
        assert_int_equal(json_int(value), key.data[0] - 'a' + 1);
        sum += json_int(value);
        n++;
    }
    assert_int_equal(n, 3);
    assert_int_equal(sum, 6);
    CLEANUP(json_free) struct json *empty = parse("{}");
    iterator = NULL;
    assert_false(json_each(empty, &iterator, &key, &value));
}

static void test_scalars_are_texts_too(void **state) {
    (void)state;
    CLEANUP(json_free) struct json *j = parse(" \"x\" ");
    assert_int_equal(json_type(j), JSON_STRING);
}

static void test_refusals(void **state) {
    (void)state;
    REFUSED("", "line 1, column 1");
    REFUSED("{\"a\":1,\n \"b\" 2}", "line 2, column");
    REFUSED("{\"a\":1,\"a\":2}", "duplicate");
    REFUSED("[1] x", "end of file expected");
    REFUSED("[1", "expected");
    REFUSED("{\"a\":\"\xff\"}", "line 1");
    REFUSED("{\"a\":\"\xed\xa0\x80\"}", "line 1"); /* a surrogate in UTF-8 */
    REFUSED("[\"\\ud800\"]", "line 1");
    REFUSED("[\"a\nb\"]", "line");
    REFUSED("[123456789012345678901234567890]", "too big");
    REFUSED("[1e999]", "overflow");
    REFUSED("[\"a\x7f\x01\"]", "control character 0x1");
    REFUSED("[01]", "line 1");
    REFUSED("[1,]", "line 1");
    REFUSED("[\0]", "line 1");
}

static void nest(char *to, size_t depth) {
    memset(to, '[', depth);
    memset(to + depth, ']', depth);
    to[2 * depth] = '\0';
}

static void test_depth(void **state) {
    (void)state;
    char text[20001];
    nest(text, 32);
    CLEANUP(json_free) struct json *j = parse(text);
    nest(text, 33);
    assert_refused(text, strlen(text), "column 33: nested too deep; at most 32");
    nest(text, 10000);
    assert_refused(text, strlen(text), "nested too deep");
    CLEANUP(json_free)
    struct json *k = parse("[\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[[[[[\"]"); /* in a string */
    assert_int_equal(json_length(k), 1);
}

/* Many siblings are not deep. */
static void test_width(void **state) {
    (void)state;
    CLEANUP(buf_fini) struct buf text = BUF_INIT;
    buf_add_c(&text, "[[]");
    for (int i = 1; i < 1000; i++) buf_add_c(&text, ",[{}]");
    buf_add_c(&text, "]");
    CLEANUP(json_free) struct json *j = parse(text.data);
    assert_int_equal(json_length(j), 1000);
}

static void test_why_is_utf8_and_short(void **state) {
    (void)state;
    CLEANUP(buf_fini) struct buf text = BUF_INIT;
    buf_add_c(&text, "[nul\xc3\xa4");
    for (int i = 0; i < 300; i++) buf_add_c(&text, "\xc3\xa4");
    assert_refused(text.data, text.len, "line 1");
}

static void test_writers(void **state) {
    (void)state;
    CLEANUP(buf_fini) struct buf b = BUF_INIT;
    json_write_string(&b, STR("a\"b\\c\n\x01\xc3\xa4"));
    buf_add_char(&b, ' ');
    json_write_id(&b, UINT64_MAX);
    buf_add_char(&b, ' ');
    json_write_time(&b, 1767323045678);
    assert_string_equal(b.data,
                        "\"a\\\"b\\\\c\\n\\u0001\xc3\xa4\" \"18446744073709551615\" \"2026-01-02T03:04:05.678Z\"");
    buf_clear(&b);
    json_write_string(&b, STR("nul\0inside"));
    struct json *j;
    char why[160];
    assert_int_equal(json_parse(buf_str(&b), &j, why), ERR_OK);
    assert_int_equal(json_string(j).len, 10);
    json_free(&j);
    assert_null(j);
    json_free(&j);
}

static void test_type_names(void **state) {
    (void)state;
    assert_string_equal(json_type_name(JSON_STRING), "a string");
    assert_string_equal(json_type_name(JSON_OBJECT), "an object");
    assert_string_equal(json_type_name(JSON_INT), "a whole number");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_accessors_of_another_type),
        cmocka_unit_test(test_reals_and_strings_come_from_the_library),
        cmocka_unit_test(test_each),
        cmocka_unit_test(test_scalars_are_texts_too),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_width),
        cmocka_unit_test(test_why_is_utf8_and_short),
        cmocka_unit_test(test_writers),
        cmocka_unit_test(test_type_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
