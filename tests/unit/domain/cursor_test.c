/* Cursors: known texts, strictness, kinds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/domain/cursor.h"
#include "common/domain/id.h"

static void known_texts(void **state) {
    (void)state;
    char text[CURSOR_TEXT_MAX];
    cursor_encode(CURSOR_FEED, 1, text);
    assert_string_equal(text, "ZjE");
    cursor_encode(CURSOR_POSTS, 12, text);
    assert_string_equal(text, "cDEy");
    cursor_encode(CURSOR_FEED, UINT64_MAX, text);
    assert_string_equal(text, "ZjE4NDQ2NzQ0MDczNzA5NTUxNjE1");
}

static void round_trip(void **state) {
    (void)state;
    static const char kinds[] = {CURSOR_FEED,      CURSOR_POSTS,  CURSOR_FOLLOWERS,
                                 CURSOR_FOLLOWING, CURSOR_BLOCKS, CURSOR_MUTES};
    struct rng rng = {5};
    for (int i = 0; i < 10000; i++) {
        uint64_t id = i ? (rng_next(&rng) >> (1 + rng_below(&rng, 62))) | 1 : ID_MAX, back = 0;
        char text[CURSOR_TEXT_MAX], kind = kinds[i % 6], other = kinds[(i + 1) % 6];
        cursor_encode(kind, id, text);
        assert_true(cursor_decode(kind, str_c(text), &back));
        assert_int_equal(back, id);
        assert_false(cursor_decode(other, str_c(text), &back));
    }
}

static void anything_else_is_refused(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",
        "Z",
        "Zg",
        "ZjE=",
        "ZjF", /* stray bits */
        "ZjE ",
        " ZjE",
        "Zj E",
        "ZjA",  /* id 0 */
        "ZjAx", /* leading zero */
        "ZjEh", /* not a digit */
        "Zi0x",
        "ZjE+",
        "ZjE/",
        "ZjEA",                         /* NUL behind */
        "ZjE4NDQ2NzQ0MDczNzA5NTUxNjE1", /* above ID_MAX */
        "ZjExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTEx",
    };
    uint64_t id = 42;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) assert_false(cursor_decode(CURSOR_FEED, str_c(bad[i]), &id));
    assert_false(cursor_decode(CURSOR_FEED, str_of("ZjE\0", 4), &id));
    assert_false(cursor_decode(CURSOR_FEED, str_of("\xff\xfe\xfd", 3), &id));
    assert_int_equal(id, 42);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_texts),
        cmocka_unit_test(round_trip),
        cmocka_unit_test(anything_else_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
