/* Problems: RFC 9457 as JSON, codes that are unique, statuses that have a title; and when publishers are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/sys/json.h"
#include "feedd/backlog.h"
#include "feedd/problem.h"

static void test_json(void **state) {
    (void)state;
    CLEANUP(buf_fini) struct buf b = BUF_INIT;
    problem_write(PROBLEM_NOT_FOUND, STR("There is no \"such\" post.\n"), &b);
    struct json *j = NULL;
    char why[160];
    assert_int_equal(json_parse(buf_str(&b), &j, why), ERR_OK);
    assert_int_equal(json_length(j), 5);
    assert_true(str_eq_c(json_string(json_member(j, "type")), "about:blank"));
    assert_true(str_eq_c(json_string(json_member(j, "title")), "Not Found"));
    assert_int_equal(json_int(json_member(j, "status")), 404);
    assert_true(str_eq_c(json_string(json_member(j, "code")), "not_found"));
    assert_true(str_eq_c(json_string(json_member(j, "detail")), "There is no \"such\" post.\n"));
    json_free(&j);
}

static void test_table(void **state) {
    (void)state;
    for (int p = PROBLEM_NONE + 1; p < PROBLEM_COUNT; p++) {
        unsigned status = problem_status((enum problem)p);
        assert_true(status >= 400 && status < 600);
        assert_string_not_equal(problem_title(status), "Error");
        for (int q = PROBLEM_NONE + 1; q < p; q++)
            assert_string_not_equal(problem_code((enum problem)p), problem_code((enum problem)q));
    }
}

static void test_of_server(void **state) {
    (void)state;
    static const unsigned STATUSES[] = {400, 408, 413, 414, 431, 500, 503};
    for (size_t i = 0; i < sizeof(STATUSES) / sizeof(STATUSES[0]); i++)
        assert_int_equal(problem_status(problem_of_status(STATUSES[i])), STATUSES[i]);
    assert_int_equal(problem_of_status(501), PROBLEM_INTERNAL);
    assert_int_equal(problem_of_status(417), PROBLEM_BAD_REQUEST);
}

static void test_backlog_has_hysteresis(void **state) {
    (void)state;
    assert_false(backlog_overloaded(false, 1000, 1000));
    assert_true(backlog_overloaded(false, 1001, 1000));
    assert_true(backlog_overloaded(true, 800, 1000));
    assert_false(backlog_overloaded(true, 799, 1000));
    assert_false(backlog_overloaded(true, 0, 1));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_of_server),
        cmocka_unit_test(test_backlog_has_hysteresis),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
