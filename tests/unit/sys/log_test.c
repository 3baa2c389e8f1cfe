/* Log: one event is one line, whatever it holds; levels; quoting; floods. stderr is a pipe here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/sys/log.h"

static int saved_stderr, from_log;
static char text[8192];

static int capture(void **state) {
    (void)state;
    int ends[2];
    if (pipe2(ends, O_NONBLOCK) != 0) return -1;
    saved_stderr = dup(STDERR_FILENO);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    from_log = ends[0];
    log_set_level(LOG_INFO);
    return 0;
}

static int release(void **state) {
    (void)state;
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    close(from_log);
    clock_set_mono_source(NULL);
    return 0;
}

static const char *logged(void) {
    ssize_t n = read(from_log, text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

static void test_line(void **state) {
    (void)state;
    log_init("tester");
    errno = EPIPE;
    log_warn("something happened count=%d", 3);
    assert_int_equal(errno, EPIPE);
    const char *line = logged();
    assert_int_equal(line[10], 'T');
    assert_int_equal(line[23], 'Z');
    assert_string_equal(line + 24, " warn tester: something happened count=3\n");
}

static void test_level(void **state) {
    (void)state;
    log_debug("no");
    assert_string_equal(logged(), "");
    log_set_level(LOG_DEBUG);
    assert_int_equal(log_get_level(), LOG_DEBUG);
    log_debug("yes");
    assert_non_null(strstr(logged(), " debug tester: yes\n"));
    log_set_level(LOG_ERROR);
    log_warn("no");
    assert_string_equal(logged(), "");
    assert_int_equal(log_parse_level("debug"), LOG_DEBUG);
    assert_int_equal(log_parse_level("error"), LOG_ERROR);
    assert_int_equal(log_parse_level("Error"), -1);
    assert_int_equal(log_parse_level(""), -1);
}

static void test_stays_one_line(void **state) {
    (void)state;
    log_info("a\nb\r\tc\x1b[31m\x7f\xc3\xa4");
    const char *line = logged();
    assert_non_null(strstr(line, "a\\nb\\r\\tc\\x1b[31m\\x7f\xc3\xa4\n"));
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
}

static void test_is_cut(void **state) {
    (void)state;
    char big[5000];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    log_info("%s", big);
    const char *line = logged();
    size_t len = strlen(line);
    assert_in_range(len, 1900, 2000);
    assert_string_equal(line + len - 5, "x...\n");
    memset(big, '\n', sizeof big - 1); /* each becomes two */
    log_info("%s", big);
    line = logged();
    len = strlen(line);
    assert_in_range(len, 1900, 2000);
    assert_string_equal(line + len - 5, "n...\n");
}

static void assert_quoted(const char *bytes, size_t len, const char *wanted) {
    assert_string_equal(log_quote(&(struct log_quoted){{0}}, bytes, len), wanted);
}

static void test_quote(void **state) {
    (void)state;
    assert_quoted("plain/word-1", 12, "plain/word-1");
    assert_quoted("", 0, "\"\"");
    assert_quoted("two words", 9, "\"two words\"");
    assert_quoted("a\"b\\c=d", 7, "\"a\\\"b\\\\c=d\"");
    assert_quoted("nul\0x\n", 6, "\"nul\\x00x\\n\"");
    char big[1000];
    memset(big, '"', sizeof big);
    const char *quoted = log_quote(&(struct log_quoted){{0}}, big, sizeof big);
    size_t len = strlen(quoted);
    assert_in_range(len, 240, 255);
    assert_string_equal(quoted + len - 4, "...\"");
    memset(big, 1, sizeof big);
    assert_in_range(strlen(log_quote(&(struct log_quoted){{0}}, big, sizeof big)), 240, 255);
}

static uint64_t now_ns;
static uint64_t test_clock(void) {
    return now_ns;
}

static void test_allow(void **state) {
    (void)state;
    clock_set_mono_source(test_clock);
    uint64_t site = 0;
    now_ns = 0; /* just booted */
    assert_true(log_allow(&site, 1000));
    assert_false(log_allow(&site, 1000));
    now_ns = 999999999;
    assert_false(log_allow(&site, 1000));
    now_ns = 1000000000;
    assert_true(log_allow(&site, 1000));
    assert_false(log_allow(&site, 1000));
    int allowed = 0;
    for (int i = 0; i < 5; i++) allowed += LOG_EVERY_MS(1000);
    assert_int_equal(allowed, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_line, capture, release),
        cmocka_unit_test_setup_teardown(test_level, capture, release),
        cmocka_unit_test_setup_teardown(test_stays_one_line, capture, release),
        cmocka_unit_test_setup_teardown(test_is_cut, capture, release),
        cmocka_unit_test_setup_teardown(test_quote, capture, release),
        cmocka_unit_test_setup_teardown(test_allow, capture, release),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
