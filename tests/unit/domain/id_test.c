/* Ids: parts, time bounds, strict parsing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/mem.h"
#include "common/domain/id.h"
#include <cmocka.h>

static void parts(void **state) {
    (void)state;
    uint64_t id = UINT64_C(1000) << 22 | UINT64_C(777) << 12 | 4095;
    assert_int_equal(id_shard(id), 777);
    assert_int_equal(id_unix_ms(id), ID_EPOCH_MS + 1000);
    assert_int_equal(id_at_unix_ms(ID_EPOCH_MS + 1000), UINT64_C(1000) << 22);
    assert_int_equal(id_at_unix_ms(ID_EPOCH_MS - 1), 0);
    assert_int_equal(id_at_unix_ms(0), 0);
}

static void adding_time_saturates(void **state) {
    (void)state;
    uint64_t id = UINT64_C(5) << 22 | 123;
    assert_int_equal(id_plus_ms(id, 0), id);
    assert_int_equal(id_plus_ms(id, 7), (UINT64_C(12) << 22) + 123);
    assert_int_equal(id_plus_ms(ID_MAX, 0), ID_MAX);
    assert_int_equal(id_plus_ms(ID_MAX - 1, 1), ID_MAX);
    assert_int_equal(id_plus_ms(UINT64_MAX, 1), ID_MAX);
    assert_int_equal(id_plus_ms(1, UINT64_MAX), ID_MAX);
    uint64_t most = ((uint64_t)ID_MAX - 123) >> 22;
    assert_int_equal(id_plus_ms(123, most), (most << 22) + 123);
    assert_int_equal(id_plus_ms(123, most + 1), ID_MAX);
}

static void parsing_is_strict(void **state) {
    (void)state;
    static const char *const bad[] = {"",
                                      "0",
                                      "01",
                                      "-1",
                                      "+1",
                                      " 1",
                                      "1 ",
                                      "9223372036854775808",
                                      "18446744073709551615",
                                      "10000000000000000000000",
                                      "1x"};
    uint64_t id = 42;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) assert_false(id_parse(str_c(bad[i]), &id));
    assert_int_equal(id, 42);
    assert_true(id_parse(STR("9223372036854775807"), &id));
    assert_int_equal(id, ID_MAX);
    assert_true(id_parse(STR("1"), &id));
    assert_int_equal(id, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts),
        cmocka_unit_test(adding_time_saturates),
        cmocka_unit_test(parsing_is_strict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
