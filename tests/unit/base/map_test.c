/* Map against a plain array as the model, through growth and many deletions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/map.h"

enum { KEYS = 500 };

static void behaves_like_the_model(void **state) {
    (void)state;
    static char values[KEYS][2];
    void *model[KEYS] = {0};
    size_t count = 0;
    struct map m = MAP_INIT;
    struct rng rng = {11};
    for (int step = 0; step < 200000; step++) {
        size_t k = rng_below(&rng, step / 1000 % 2 ? KEYS : 40); /* by turns dense and sparse */
        uint64_t key = k * UINT64_C(0x100000001);
        void *value = &values[k][rng_below(&rng, 2)];
        switch (rng_below(&rng, 3)) {
        case 0:
            assert_ptr_equal(map_put(&m, key, value), model[k]);
            count += !model[k];
            model[k] = value;
            break;
        case 1:
            assert_ptr_equal(map_del(&m, key), model[k]);
            count -= model[k] != NULL;
            model[k] = NULL;
            break;
        default:
            assert_ptr_equal(map_get(&m, key), model[k]);
        }
        assert_int_equal(m.count, count);
    }
    for (size_t k = 0; k < KEYS; k++) assert_ptr_equal(map_get(&m, k * UINT64_C(0x100000001)), model[k]);
    map_fini(&m);
}

static void walking_meets_each_once(void **state) {
    (void)state;
    static char value;
    struct map m = MAP_INIT;
    unsigned seen[100] = {0};
    size_t at = 0;
    assert_null(map_next(&m, &at));
    assert_null(map_get(&m, 0));
    assert_null(map_del(&m, 0));
    for (uint64_t k = 0; k < 100; k++) map_put(&m, k, &value); /* key 0 is a key */
    struct map_entry *e;
    for (size_t i = 0; (e = map_next(&m, &i));) seen[e->key]++;
    for (size_t k = 0; k < 100; k++) assert_int_equal(seen[k], 1);
    map_clear(&m);
    assert_int_equal(m.count, 0);
    assert_null(map_get(&m, 5));
    map_put(&m, 5, &value);
    assert_ptr_equal(map_get(&m, 5), &value);
    map_fini(&m);
    assert_null(m.entries);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(behaves_like_the_model),
        cmocka_unit_test(walking_meets_each_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
