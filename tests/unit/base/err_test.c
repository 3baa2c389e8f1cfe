/* Error table: every code has a name, a text and a class; unknown ones read as internal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "common/base/err.h"

static void every_code_is_described(void **state) {
    (void)state;
    for (int e = 0; e < ERR_COUNT; e++) {
        assert_true(strncmp(err_name((enum err)e), "ERR_", 4) == 0);
        assert_true(strlen(err_text((enum err)e)) > 0);
        assert_true((err_class((enum err)e) == ERR_CLASS_NONE) == (e == ERR_OK));
    }
    assert_string_equal(err_name(ERR_TIMEOUT), "ERR_TIMEOUT");
    assert_int_equal(err_class(ERR_BUSY), ERR_CLASS_RETRY);
    assert_int_equal(err_class(ERR_INVALID), ERR_CLASS_DEFINITE);
    assert_int_equal(err_class(ERR_LOST), ERR_CLASS_UNCERTAIN);
    assert_int_equal(err_class(ERR_CORRUPT), ERR_CLASS_BROKEN);
}

static void unknown_codes_are_internal(void **state) {
    (void)state;
    static const int unknown[] = {-1, ERR_COUNT, 1000000};
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal(err_name((enum err)unknown[i]), "ERR_INTERNAL");
        assert_string_equal(err_text((enum err)unknown[i]), "internal error");
        assert_int_equal(err_class((enum err)unknown[i]), ERR_CLASS_BROKEN);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_is_described),
        cmocka_unit_test(unknown_codes_are_internal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
