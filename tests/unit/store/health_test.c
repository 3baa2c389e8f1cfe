/* Decisions of node health, on a clock of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/store/health_judge.h"

static const struct health_limits LIMITS = {.fail_after_ms = 500, .readmit_after_ms = 2000};

static enum health_action action(const struct health_judge *j, uint64_t now) {
    return health_judge_action(j, &LIMITS, now, true);
}

/* Probes well every 100 ms from `from` on; returns when it is readmitted, or 0 before `until`. */
static uint64_t answer_until_readmitted(struct health_judge *j, uint64_t from, uint64_t until) {
    for (uint64_t now = from; now < until; now += 100) {
        health_judge_probe(j, now, true);
        if (action(j, now) == HEALTH_READMIT) return now;
    }
    return 0;
}

static void silence_ejects_after_the_limit(void **state) {
    (void)state;
    struct health_judge j = {0};
    assert_int_equal(action(&j, 0), HEALTH_NOTHING);
    health_judge_report(&j, 1000);
    for (uint64_t now = 1000; now < 1500; now += 50) {
        health_judge_probe(&j, now, false);
        health_judge_report(&j, now); /* further reports do not move the start */
        assert_int_equal(action(&j, now), HEALTH_NOTHING);
    }
    assert_int_equal(action(&j, 1500), HEALTH_EJECT);
    j.deciding = true;
    assert_int_equal(action(&j, 1600), HEALTH_NOTHING);
    j.deciding = false; /* it failed: asked for again */
    assert_int_equal(action(&j, 1700), HEALTH_EJECT);
}

static void an_answer_ends_the_suspicion(void **state) {
    (void)state;
    struct health_judge j = {0};
    health_judge_report(&j, 1000);
    health_judge_probe(&j, 1100, false);
    health_judge_probe(&j, 1450, true);
    assert_int_equal(action(&j, 1600), HEALTH_NOTHING);
    health_judge_report(&j, 1700); /* counted from here, not from the first one */
    assert_int_equal(action(&j, 2199), HEALTH_NOTHING);
    assert_int_equal(action(&j, 2200), HEALTH_EJECT);
}

static void reports_on_an_ejected_node_are_ignored(void **state) {
    (void)state;
    struct health_judge j = {0};
    health_judge_report(&j, 100);
    health_judge_state(&j, &LIMITS, 700, true);
    health_judge_report(&j, 800);
    assert_int_equal(action(&j, 10000), HEALTH_NOTHING);
    assert_false(j.suspected);
}

static void readmission_needs_answers_without_a_gap(void **state) {
    (void)state;
    struct health_judge j = {0};
    health_judge_state(&j, &LIMITS, 0, true);
    assert_int_equal(answer_until_readmitted(&j, 100, 1900), 0);
    health_judge_probe(&j, 1900, false);
    assert_int_equal(answer_until_readmitted(&j, 2000, 9000), 4000);
    assert_int_equal(health_judge_action(&j, &LIMITS, 9000, false), HEALTH_NOTHING); /* not the keeper */
    health_judge_state(&j, &LIMITS, 4100, false);
    assert_int_equal(action(&j, 9000), HEALTH_NOTHING);
}

static void delay_doubles_for_a_node_that_fails_again(void **state) {
    (void)state;
    struct health_judge j = {0};
    uint64_t now = 1000;
    static const uint64_t expected[] = {2000, 4000, 8000, 16000, 20000, 20000};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        health_judge_state(&j, &LIMITS, now, true);
        uint64_t readmitted = answer_until_readmitted(&j, now, now + 60000);
        assert_int_equal(readmitted - now, expected[i]);
        now = readmitted + 1000;
        health_judge_state(&j, &LIMITS, now, false);
        now += 5000;
    }
    now += HEALTH_AGAIN_MS + 30000; /* a long time well: it starts from the beginning */
    health_judge_state(&j, &LIMITS, now, true);
    assert_int_equal(answer_until_readmitted(&j, now, now + 60000) - now, 2000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(silence_ejects_after_the_limit),
        cmocka_unit_test(an_answer_ends_the_suspicion),
        cmocka_unit_test(reports_on_an_ejected_node_are_ignored),
        cmocka_unit_test(readmission_needs_answers_without_a_gap),
        cmocka_unit_test(delay_doubles_for_a_node_that_fails_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
