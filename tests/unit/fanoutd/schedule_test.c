/* The schedule: what the next round takes, and that a huge author never holds up small ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/hash.h"
#include "fanoutd/schedule.h"

static const struct schedule_options OPTIONS = {
    .batch_jobs = 8, .batch_followers = 4000, .huge_slices = 2, .held_max = 100};

static struct queue_item item(uint64_t post, const char *id) {
    struct queue_item i = {.job = {.post_id = post, .author_id = 1}, .valid = true};
    snprintf(i.id, sizeof(i.id), "%s", id);
    return i;
}

static enum schedule_added add(struct schedule *s, uint64_t post) {
    char id[24];
    snprintf(id, sizeof(id), "%d-0", (int)post);
    struct queue_item i = item(post, id);
    return schedule_add(s, &i);
}

static void one_post_is_held_once(void **state) {
    (void)state;
    struct schedule s;
    schedule_init(&s, &OPTIONS);
    struct queue_item first = item(7, "1-0"), other = item(7, "2-0");
    assert_int_equal(schedule_add(&s, &first), SCHEDULE_ADDED);
    assert_int_equal(schedule_add(&s, &first), SCHEDULE_KNOWN);
    assert_int_equal(schedule_add(&s, &other), SCHEDULE_DUPLICATE);
    struct held_job *round[10];
    assert_int_equal(schedule_pick(&s, 0, round), 1);
    assert_string_equal(round[0]->item.id, "1-0");
    assert_int_equal(schedule_add(&s, &other), SCHEDULE_DUPLICATE); /* in a round as well */
    schedule_done(&s, round[0]);
    assert_int_equal(schedule_add(&s, &other), SCHEDULE_ADDED);
    schedule_fini(&s);
}

static void first_come_first_served_up_to_the_batch(void **state) {
    (void)state;
    struct schedule s;
    schedule_init(&s, &OPTIONS);
    for (uint64_t p = 1; p <= 10; p++) add(&s, p);
    struct held_job *round[10];
    assert_int_equal(schedule_pick(&s, 0, round), 8);
    for (uint64_t p = 1; p <= 8; p++) assert_int_equal(round[p - 1]->item.job.post_id, p);
    assert_int_equal(schedule_pick(&s, 0, round), 2);
    assert_int_equal(round[0]->item.job.post_id, 9);
    assert_int_equal(schedule_pick(&s, 0, round), 0);
    schedule_fini(&s);
}

static void large_first_slices_make_small_rounds(void **state) {
    (void)state;
    struct schedule s;
    schedule_init(&s, &OPTIONS);
    for (uint64_t p = 1; p <= 20; p++) add(&s, p);
    for (int i = 0; i < 1000; i++) schedule_learn(&s, 2000);
    struct held_job *round[10];
    assert_in_range(schedule_pick(&s, 0, round), 1, 2); /* 4000 followers a round */
    for (int i = 0; i < 1000; i++) schedule_learn(&s, 1000000);
    assert_int_equal(schedule_pick(&s, 0, round), 1); /* never none */
    for (int i = 0; i < 1000; i++) schedule_learn(&s, 0);
    assert_int_equal(schedule_pick(&s, 0, round), 8);
    schedule_fini(&s);
}

static void huge_jobs_take_turns_behind_small_ones(void **state) {
    (void)state;
    struct schedule s;
    schedule_init(&s, &OPTIONS);
    struct held_job *round[10];
    for (uint64_t p = 101; p <= 103; p++) add(&s, p);
    assert_int_equal(schedule_pick(&s, 0, round), 3);
    for (int i = 0; i < 3; i++) schedule_continue(&s, round[i]);
    for (uint64_t p = 1; p <= 20; p++) add(&s, p);

    assert_int_equal(schedule_pick(&s, 0, round), 10); /* 8 small, 2 slices of huge ones */
    assert_int_equal(round[0]->item.job.post_id, 1);
    assert_int_equal(round[8]->item.job.post_id, 101);
    assert_int_equal(round[9]->item.job.post_id, 102);
    schedule_continue(&s, round[8]);
    schedule_continue(&s, round[9]);
    assert_int_equal(schedule_pick(&s, 0, round), 10);
    assert_int_equal(round[8]->item.job.post_id, 103);
    assert_int_equal(round[9]->item.job.post_id, 101);
    schedule_fini(&s);
}

/* With any number of huge jobs at hand a small one is in the very next round, and the huge ones go on. */
static void a_small_job_never_waits_for_huge_ones(void **state) {
    (void)state;
    struct schedule s;
    schedule_init(&s, &OPTIONS);
    struct held_job *round[10];
    for (uint64_t p = 1000; p < 1050; p++) {
        add(&s, p);
        assert_int_equal(schedule_pick(&s, 0, round), p < 1001 ? 1 : p == 1001 ? 2 : 3);
        for (size_t i = 0; i < (p < 1001 ? 1u : p == 1001 ? 2u : 3u); i++) schedule_continue(&s, round[i]);
    }
    unsigned turns[50] = {0};
    for (uint64_t p = 1; p <= 500; p++) {
        add(&s, p);
        size_t n = schedule_pick(&s, 0, round);
        assert_int_equal(n, 3);
        assert_int_equal(round[0]->item.job.post_id, p);
        schedule_done(&s, round[0]);
        for (size_t i = 1; i < n; i++) {
            turns[round[i]->item.job.post_id - 1000]++;
            schedule_continue(&s, round[i]);
        }
    }
    for (int i = 0; i < 50; i++) assert_in_range(turns[i], 19, 21); /* 500 rounds of 2 slices among 50 */
    schedule_fini(&s);
}

static void failures_rest_longer_and_longer(void **state) {
    (void)state;
    struct schedule s;
    schedule_init(&s, &OPTIONS);
    struct held_job *round[10];
    add(&s, 1);
    add(&s, 2);
    uint64_t now = 1000, last = 0;
    assert_int_equal(schedule_next_due(&s), UINT64_MAX);
    for (int i = 0; i < 12; i++) {
        size_t n = schedule_pick(&s, now, round);
        assert_int_equal(n, i ? 1 : 2);
        if (!i) schedule_done(&s, round[1]);
        schedule_retry(&s, round[0], now);
        uint64_t rest = schedule_next_due(&s) - now;
        assert_true(rest >= last && rest >= 20 && rest <= 2000);
        last = rest;
        assert_int_equal(schedule_pick(&s, now + rest - 1, round), 0);
        now += rest;
    }
    assert_int_equal(last, 2000);
    add(&s, 3);
    assert_int_equal(schedule_pick(&s, now, round), 2);
    assert_int_equal(round[0]->item.job.post_id, 1); /* it was there first */
    schedule_redo(&s, round[0]);
    schedule_done(&s, round[1]);
    assert_int_equal(schedule_pick(&s, now, round), 1);
    schedule_fini(&s);
}

static void intake_is_bounded_by_small_jobs_and_by_all(void **state) {
    (void)state;
    struct schedule s;
    schedule_init(&s, &OPTIONS);
    assert_int_equal(schedule_wants(&s), 16);
    for (uint64_t p = 1; p <= 10; p++) add(&s, p);
    assert_int_equal(schedule_wants(&s), 6);
    for (uint64_t p = 11; p <= 16; p++) add(&s, p);
    assert_int_equal(schedule_wants(&s), 0);
    struct held_job *round[10];
    size_t n;
    while (s.small_count && (n = schedule_pick(&s, 0, round))) {
        for (size_t i = 0; i < n; i++) schedule_continue(&s, round[i]);
    }
    assert_int_equal(schedule_wants(&s), 16); /* huge ones do not stop the intake */
    uint64_t p = 1000;
    while (schedule_held(&s) < 95) {
        for (unsigned i = 0; i < 5; i++) add(&s, p++);
        n = schedule_pick(&s, 0, round);
        for (size_t i = 0; i < n; i++) schedule_continue(&s, round[i]);
    }
    assert_in_range(schedule_wants(&s), 1, 5);      /* held_max 100 */
    for (unsigned i = 0; i < 10; i++) add(&s, p++); /* a claim and a read at once may bring more than was wanted */
    assert_int_equal(schedule_wants(&s), 0);
    schedule_fini(&s);
}

/* Whatever happens in whatever order, every job added is done in the end and none is in two rounds. */
static void nothing_is_lost(void **state) {
    (void)state;
    struct schedule s;
    schedule_init(&s, &OPTIONS);
    struct rng rng = {42};
    struct held_job *rounds[3][10];
    size_t counts[3] = {0};
    uint64_t now = 0, added = 0, done = 0, post = 1;
    for (int step = 0; step < 20000 || done < added; step++, now += 5) {
        if (step < 10000) {
            for (unsigned i = schedule_wants(&s); i > 0 && rng_below(&rng, 3); i--)
                added += add(&s, post++) == SCHEDULE_ADDED;
        }
        size_t r = rng_below(&rng, 3);
        if (!counts[r]) {
            counts[r] = schedule_pick(&s, now, rounds[r]);
            continue;
        }
        for (size_t i = 0; i < counts[r]; i++) {
            struct held_job *j = rounds[r][i];
            assert_true(j->in_round);
            switch (rng_below(&rng, 4)) {
            case 0:
                schedule_retry(&s, j, now);
                break;
            case 1:
                schedule_redo(&s, j);
                break;
            case 2:
                schedule_continue(&s, j);
                break;
            default:
                schedule_done(&s, j);
                done++;
            }
        }
        counts[r] = 0;
        assert_true(step < 10000000);
    }
    assert_int_equal(done, added);
    assert_true(added > 1000);
    assert_int_equal(schedule_held(&s), 0);
    assert_int_equal(s.small_count, 0);
    schedule_fini(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_post_is_held_once),
        cmocka_unit_test(first_come_first_served_up_to_the_batch),
        cmocka_unit_test(large_first_slices_make_small_rounds),
        cmocka_unit_test(huge_jobs_take_turns_behind_small_ones),
        cmocka_unit_test(a_small_job_never_waits_for_huge_ones),
        cmocka_unit_test(failures_rest_longer_and_longer),
        cmocka_unit_test(intake_is_bounded_by_small_jobs_and_by_all),
        cmocka_unit_test(nothing_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
