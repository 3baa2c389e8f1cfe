/* UTF-8 validation: every code point, and every way to be malformed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/utf8.h"

static size_t encode(uint32_t point, char to[4]) {
    if (point < 0x80) return to[0] = (char)point, 1;
    size_t len = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = len - 1; i > 0; i--, point >>= 6) to[i] = (char)(0x80 | (point & 0x3f));
    to[0] = (char)(lead[len] | point);
    return len;
}

static void every_code_point(void **state) {
    (void)state;
    for (uint32_t point = 0; point < 0x200000; point++) {
        char text[4];
        size_t len = encode(point, text), points = 99;
        bool good = point <= 0x10ffff && !(point >= 0xd800 && point <= 0xdfff);
        assert_true(utf8_valid(text, len, &points) == good);
        assert_int_equal(points, good ? 1 : 99);
        for (size_t cut = 1; cut < len; cut++) assert_false(utf8_valid(text, cut, NULL)); /* cut short */
    }
}

static void malformed(void **state) {
    (void)state;
    static const char *const bad[] = {"\x80",
                                      "\xbf",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xe0\x80\x80",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xf0\x80\x80\x80",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xff",
                                      "\xfe",
                                      "\xc3(",
                                      "\xe2\x82(",
                                      "\xf0\x9f\x98(",
                                      "a\xc3",
                                      "abcdefgh\xff",
                                      "abcdefghabcdefg\xe2"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) assert_false(utf8_valid(bad[i], strlen(bad[i]), NULL));
}

static void points_are_counted_at_any_offset(void **state) {
    (void)state;
    size_t points = 99;
    assert_true(utf8_valid(NULL, 0, &points));
    assert_int_equal(points, 0);
    assert_true(utf8_valid("a\0b", 3, &points)); /* NUL is well-formed */
    assert_int_equal(points, 3);
    for (size_t ascii = 0; ascii < 40; ascii++) {
        char text[64];
        memset(text, 'x', sizeof(text));
        memcpy(text + ascii, "\xf0\x9f\x98\x80", 4);
        assert_true(utf8_valid(text, 50, &points));
        assert_int_equal(points, 47);
        text[ascii + 3] = 'x';
        assert_false(utf8_valid(text, 50, &points));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_point),
        cmocka_unit_test(malformed),
        cmocka_unit_test(points_are_counted_at_any_offset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
