/* JSON escaping: exactly what RFC 8259 demands, no more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "common/base/json_escape.h"
#include "common/base/mem.h"

static void escapes_to(struct str text, const char *expected) {
    CLEANUP(buf_fini) struct buf b = BUF_INIT;
    buf_add_c(&b, "x"); /* it appends */
    json_escape(&b, text);
    assert_string_equal(b.data, expected);
}

static void what_must_be_escaped_is(void **state) {
    (void)state;
    escapes_to(STR("a\"b\\c/d"), "xa\\\"b\\\\c/d");
    escapes_to(STR("\b\f\n\r\t"), "x\\b\\f\\n\\r\\t");
    escapes_to(str_of("\0\x01\x1f\x0b", 4), "x\\u0000\\u0001\\u001f\\u000b");
    escapes_to(STR("\""), "x\\\"");
    escapes_to(STR(""), "x");
    escapes_to(str_of(NULL, 0), "x");
}

static void everything_else_passes(void **state) {
    (void)state;
    escapes_to(STR("\x7f"), "x\x7f");
    escapes_to(STR("h\xc3\xa9llo \xf0\x9f\x98\x80 \xe2\x80\xa8\xe2\x80\xa9"),
               "xh\xc3\xa9llo \xf0\x9f\x98\x80 \xe2\x80\xa8\xe2\x80\xa9");
    for (int c = 0x20; c < 0x100; c++) {
        if (c == '"' || c == '\\') continue;
        char text[] = {(char)c, 0}, expected[] = {'x', (char)c, 0};
        escapes_to(str_c(text), expected);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_must_be_escaped_is),
        cmocka_unit_test(everything_else_passes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
