/* Typed bodies: what is refused, as what, and what the sentence says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "feedd/body.h"

enum { TEXT, NAME, HANDLE, PICTURE, REPLY, COUNT };
static const struct body_member MEMBERS[COUNT] = {
    [TEXT] = {"text", BODY_TEXT, true, false, 1, 5},         [NAME] = {"name", BODY_LINE, false, false, 1, 10},
    [HANDLE] = {"handle", BODY_HANDLE, false, false, 3, 30}, [PICTURE] = {"picture", BODY_URL, false, true, 1, 500},
    [REPLY] = {"in_reply_to", BODY_ID, false, true, 0, 0},
};
static struct body_value values[COUNT];
static char detail[BODY_DETAIL_MAX];
static struct json *root;

static enum problem parse_bytes(struct str text) {
    json_free(&root);
    detail[0] = '\0';
    return body_parse(text, MEMBERS, COUNT, values, &root, detail);
}

static enum problem parse(const char *text) {
    return parse_bytes(str_c(text));
}

static void says(const char *part) {
    if (!strstr(detail, part)) fail_msg("\"%s\" does not say \"%s\"", detail, part);
}

static void test_good(void **state) {
    (void)state;
    assert_int_equal(parse("{\"text\":\"h\\u00e9llo\",\"picture\":null,\"in_reply_to\":\"42\",\"handle\":\"a_9\"}"),
                     PROBLEM_NONE);
    assert_true(str_eq_c(values[TEXT].text, "h\xc3\xa9llo"));
    assert_true(values[PICTURE].present && values[PICTURE].null);
    assert_int_equal(values[REPLY].id, 42);
    assert_false(values[NAME].present);
    assert_int_equal(parse("{\"text\":\"\\ud83d\\ude00\\ud83d\\ude00\\ud83d\\ude00\\ud83d\\ude00\\ud83d\\ude00\"}"),
                     PROBLEM_NONE);
    assert_int_equal(values[TEXT].text.len, 20); /* 5 code points */
}

static void test_shape(void **state) {
    (void)state;
    assert_int_equal(parse(""), PROBLEM_BAD_JSON);
    assert_int_equal(parse("{\"text\":"), PROBLEM_BAD_JSON);
    says("not JSON");
    assert_int_equal(parse("{\"text\":\"a\",\"text\":\"b\"}"), PROBLEM_BAD_JSON);
    assert_int_equal(parse("[1]"), PROBLEM_WRONG_TYPE);
    says("an array");
    assert_int_equal(parse("{\"text\":\"a\",\"txet\":1}"), PROBLEM_UNKNOWN_MEMBER);
    says("\"txet\"");
    assert_int_equal(parse("{}"), PROBLEM_MISSING_MEMBER);
    says("\"text\" is missing");
    assert_int_equal(parse("{\"text\":1}"), PROBLEM_WRONG_TYPE);
    says("must be a string, not");
    assert_int_equal(parse("{\"text\":null}"), PROBLEM_WRONG_TYPE);
    assert_int_equal(parse("{\"text\":\"a\",\"picture\":false}"), PROBLEM_WRONG_TYPE);
    says("or null");
}

static void test_unicode(void **state) {
    (void)state;
    assert_int_equal(parse("{\"text\":\"\xff\"}"), PROBLEM_BAD_UTF8);
    assert_int_equal(parse("{\"text\":\"\xc0\xaf\"}"), PROBLEM_BAD_UTF8);
    assert_int_not_equal(parse("{\"text\":\"\\ud800\"}"), PROBLEM_NONE); /* half a pair */
    assert_int_equal(parse("{\"text\":\"a\\u0000b\"}"), PROBLEM_BAD_VALUE);
    says("U+0000");
    static const char RAW[] = "{\"text\":\"a\0b\"}";
    assert_int_not_equal(parse_bytes(str_of(RAW, sizeof(RAW) - 1)), PROBLEM_NONE);
}

static void test_values(void **state) {
    (void)state;
    assert_int_equal(parse("{\"text\":\"\"}"), PROBLEM_TOO_SHORT);
    assert_int_equal(parse("{\"text\":\"sixsix\"}"), PROBLEM_TOO_LONG);
    says("has 6 characters; at most 5");
    assert_int_equal(parse("{\"text\":\" \\n\\t\\u00a0\\u3000\"}"), PROBLEM_TOO_SHORT);
    says("blank");
    assert_int_equal(parse("{\"text\":\"a\",\"name\":\"a\\nb\"}"), PROBLEM_BAD_VALUE);
    assert_int_equal(parse("{\"text\":\"a\",\"name\":\"a\\u0085b\"}"), PROBLEM_BAD_VALUE);
    assert_int_equal(parse("{\"text\":\"a\",\"handle\":\"ab\"}"), PROBLEM_TOO_SHORT);
    assert_int_equal(parse("{\"text\":\"a\",\"handle\":\"Abc\"}"), PROBLEM_BAD_VALUE);
    says("a-z, 0-9 and _");
    assert_int_equal(parse("{\"text\":\"a\",\"in_reply_to\":\"x\"}"), PROBLEM_BAD_VALUE);
    assert_int_equal(parse("{\"text\":\"a\",\"in_reply_to\":\"0\"}"), PROBLEM_BAD_VALUE);
}

static void test_urls(void **state) {
    (void)state;
    static const struct {
        const char *url;
        enum problem expect;
    } CASES[] = {
        {"https://example.org/a.png", PROBLEM_NONE},
        {"http://[::1]:80/x?y#z", PROBLEM_NONE},
        {"ftp://example.org/", PROBLEM_BAD_VALUE},
        {"javascript:alert(1)", PROBLEM_BAD_VALUE},
        {"https://", PROBLEM_BAD_VALUE},
        {"https:///x", PROBLEM_BAD_VALUE},
        {"https://a b", PROBLEM_BAD_VALUE},
        {"https://a/<x>", PROBLEM_BAD_VALUE},
        {"https://\xc3\xa9.org/", PROBLEM_BAD_VALUE},
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        char text[200];
        snprintf(text, sizeof(text), "{\"text\":\"a\",\"picture\":\"%s\"}", CASES[i].url);
        assert_int_equal(parse(text), CASES[i].expect);
    }
}

static void test_hostile_names_do_not_reach_the_message(void **state) {
    (void)state;
    char text[4000] = "{\"text\":\"a\",\"";
    memset(text + strlen(text), 'n', 3000);
    strcat(text, "\":1}");
    assert_int_equal(parse(text), PROBLEM_UNKNOWN_MEMBER);
    assert_true(strlen(detail) < 120);
    assert_int_equal(parse("{\"text\":\"a\",\"x\\u0001y\":1}"), PROBLEM_UNKNOWN_MEMBER);
    says("\"x\"");
}

static int teardown(void **state) {
    (void)state;
    json_free(&root);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),    cmocka_unit_test(test_shape),
        cmocka_unit_test(test_unicode), cmocka_unit_test(test_values),
        cmocka_unit_test(test_urls),    cmocka_unit_test(test_hostile_names_do_not_reach_the_message),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
