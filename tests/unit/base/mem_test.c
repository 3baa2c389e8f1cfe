/* Allocation that cannot fail: copies, empty sizes, and an overflow that ends the process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/mem.h"

static void copies(void **state) {
    (void)state;
    CLEANUP(mem_free_charp) char *text = mem_printf("%s %d", "n", 5);
    assert_string_equal(text, "n 5");
    CLEANUP(mem_free_charp) char *copy = mem_strdup(text);
    assert_string_equal(copy, text);
    CLEANUP(mem_free_charp) char *part = mem_strndup("abcdef", 3);
    assert_string_equal(part, "abc");
    char *bytes = mem_dup("a\0b", 3);
    assert_memory_equal(bytes, "a\0b", 3);
    mem_free_charp(&bytes);
    assert_null(bytes);
}

static void empty_sizes_can_be_freed(void **state) {
    (void)state;
    void *all[] = {mem_alloc(0), mem_zalloc(0), mem_array(0, 8), mem_grow(NULL, 0, 8), mem_dup(NULL, 0)};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        assert_non_null(all[i]);
        mem_free(all[i]);
    }
    mem_free(NULL);
}

static void zeroed_and_grown(void **state) {
    (void)state;
    unsigned *numbers = mem_zalloc(10 * sizeof(*numbers));
    for (unsigned i = 0; i < 10; i++) assert_int_equal(numbers[i], 0);
    for (unsigned i = 0; i < 10; i++) numbers[i] = i;
    numbers = mem_grow(numbers, 100000, sizeof(*numbers));
    for (unsigned i = 0; i < 10; i++) assert_int_equal(numbers[i], i);
    mem_free(numbers);
}

static void an_overflowing_size_aborts(void **state) {
    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(STDERR_FILENO);
        signal(SIGABRT, SIG_DFL);
        volatile size_t count = SIZE_MAX / 4;
        mem_free(mem_array(count, 8));
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies),
        cmocka_unit_test(empty_sizes_can_be_freed),
        cmocka_unit_test(zeroed_and_grown),
        cmocka_unit_test(an_overflowing_size_aborts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
