/* Arena: alignment, large blocks, reuse after reset, growth of the total. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/hash.h"

static void memory_is_aligned_and_disjoint(void **state) {
    (void)state;
    struct arena a;
    arena_init(&a, 256);
    struct rng rng = {1};
    unsigned char *parts[200];
    size_t sizes[200];
    for (size_t i = 0; i < 200; i++) {
        sizes[i] = rng_below(&rng, 300); /* small ones, and some larger than a block */
        parts[i] = arena_alloc(&a, sizes[i]);
        assert_int_equal((uintptr_t)parts[i] % 16, 0);
        memset(parts[i], (int)i, sizes[i]);
    }
    for (size_t i = 0; i < 200; i++) {
        for (size_t j = 0; j < sizes[i]; j++) assert_int_equal(parts[i][j], i);
    }
    arena_fini(&a);
    assert_null(a.blocks);
}

static void reset_keeps_one_ordinary_block(void **state) {
    (void)state;
    struct arena a;
    arena_init(&a, 1024);
    void *first = arena_alloc(&a, 100);
    arena_alloc(&a, 5000); /* a block of its own: the first one stays in use */
    void *second = arena_alloc(&a, 100);
    assert_ptr_equal((char *)first + 112, second);
    assert_int_equal(a.total, 112 + 5008 + 112);
    arena_reset(&a);
    assert_int_equal(a.total, 0);
    assert_ptr_equal(arena_alloc(&a, 100), first);
    arena_fini(&a);
    arena_alloc(&a, 8); /* may be used again after fini */
    arena_fini(&a);
}

static void reset_drops_a_large_first_block(void **state) {
    (void)state;
    struct arena a;
    arena_init(&a, 0);
    assert_int_equal(a.block_size, 4096);
    arena_alloc(&a, 1 << 20);
    arena_reset(&a);
    assert_null(a.blocks);
    arena_reset(&a); /* nothing there: nothing happens */
    arena_fini(&a);
}

static void copies_and_text(void **state) {
    (void)state;
    struct arena a;
    arena_init(&a, 64);
    assert_string_equal(arena_strndup(&a, "hello world", 5), "hello");
    assert_string_equal(arena_strndup(&a, NULL, 0), "");
    assert_memory_equal(arena_dup(&a, "a\0b", 3), "a\0b", 3);
    assert_string_equal(arena_printf(&a, "%s-%d-%0200d", "x", 7, 1) + 0, arena_printf(&a, "x-7-%0200d", 1));
    const unsigned char *zero = arena_zalloc(&a, 100);
    for (size_t i = 0; i < 100; i++) assert_int_equal(zero[i], 0);
    uint64_t *numbers = ARENA_ARRAY(&a, uint64_t, 10);
    for (size_t i = 0; i < 10; i++) numbers[i] = i;
    arena_fini(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_aligned_and_disjoint),
        cmocka_unit_test(reset_keeps_one_ordinary_block),
        cmocka_unit_test(reset_drops_a_large_first_block),
        cmocka_unit_test(copies_and_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
