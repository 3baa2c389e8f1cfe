/* Timeline views: what a fetched part proves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdbool.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/domain/id.h"
#include "common/domain/view.h"

#define MS (UINT64_C(1) << 22)

static const struct timeline_header complete = {TIMELINE_COMPLETE, 9, 100 * MS};

static void a_whole_list_is_complete_down_to_its_mark(void **state) {
    (void)state;
    struct entry e[] = {{300 * MS, 1}, {200 * MS, 2}, {250 * MS, 3}, {200 * MS, 2}};
    struct view v = view_make(e, 4, true, complete, complete, 50);
    assert_int_equal(v.count, 3);
    assert_int_equal(v.entries[1].post_id, 250 * MS);
    assert_int_equal(v.complete_from, 100 * MS);
    assert_true(v.whole);
    v = view_make(e, 0, true, complete, complete, 50);
    assert_int_equal(v.count, 0);
    assert_int_equal(v.complete_from, 100 * MS); /* an empty timeline is knowledge too */
    struct timeline_header all = {TIMELINE_COMPLETE, 9, 0};
    assert_int_equal(view_make(e, 0, true, all, all, 50).complete_from, 0);
}

static void a_prefix_is_bounded_by_its_last_entry_in_list_order(void **state) {
    (void)state;
    struct entry e[] = {{300 * MS, 1}, {200 * MS, 2}, {250 * MS, 3}}; /* 200 was pushed late; 250 is the last */
    struct view v = view_make(e, 3, false, complete, complete, 20);
    assert_int_equal(v.complete_from, 270 * MS + 1);
    assert_int_equal(v.count, 3);
    assert_int_equal(v.entries[2].post_id, 200 * MS);
    assert_false(v.whole);
    struct entry low[] = {{300 * MS, 1}, {50 * MS, 2}};
    assert_int_equal(view_make(low, 2, false, complete, complete, 20).complete_from, 100 * MS); /* the mark is higher */
    struct entry huge[] = {{ID_MAX - 5, 1}};
    assert_int_equal(view_make(huge, 1, false, complete, complete, 20).complete_from, ID_MAX);
    assert_int_equal(view_make(huge, 1, false, complete, complete, 0).complete_from, ID_MAX - 4);
    assert_int_equal(view_make(huge, 0, false, complete, complete, 20).complete_from, ID_MAX);
}

static void the_mark_read_after_the_entries_counts(void **state) {
    (void)state;
    struct entry e[] = {{300 * MS, 1}};
    struct timeline_header trimmed = {TIMELINE_COMPLETE, 9, 280 * MS};
    assert_int_equal(view_make(e, 1, true, complete, trimmed, 20).complete_from, 280 * MS);
}

static void nothing_is_known_across_a_rebuild_or_while_building(void **state) {
    (void)state;
    struct timeline_header building = {TIMELINE_BUILDING, 9, 0}, other = {TIMELINE_COMPLETE, 10, 0};
    const struct timeline_header pairs[][2] = {
        {complete, other}, {other, complete}, {building, complete}, {complete, building}, {building, building}};
    for (size_t i = 0; i < 5; i++) {
        struct entry e[] = {{300 * MS, 1}, {200 * MS, 2}};
        struct view v = view_make(e, 2, true, pairs[i][0], pairs[i][1], 20);
        assert_int_equal(v.complete_from, ID_MAX);
        assert_int_equal(v.count, 2);
    }
}

/*
 * Plays the writer: pushes at the head while younger than W, ordered inserts after; then no prefix may claim too much.
 */
static void no_prefix_claims_more_than_it_holds(void **state) {
    (void)state;
    enum { POSTS = 60, W = 10 };
    struct rng rng = {31};
    for (int round = 0; round < 2000; round++) {
        uint64_t list[POSTS];
        size_t n = 0;
        uint64_t pending[POSTS];
        for (size_t i = 0; i < POSTS; i++) pending[i] = (100 + i) * MS + i;
        size_t left = POSTS;
        for (uint64_t now = 101; left; now++) {
            for (size_t i = 0; i < left;) {
                if (pending[i] >> 22 >= now || rng_below(&rng, 8)) { /* not there yet, or its job waits on */
                    i++;
                    continue;
                }
                uint64_t id = pending[i];
                memmove(pending + i, pending + i + 1, (--left - i) * sizeof(*pending));
                size_t at = 0;
                if (id_plus_ms(id, W) < now << 22) { /* late: leaves the whole list in order */
                    for (size_t j = 1; j < n; j++) {
                        uint64_t moving = list[j];
                        size_t k = j;
                        for (; k > 0 && list[k - 1] < moving; k--) list[k] = list[k - 1];
                        list[k] = moving;
                    }
                    while (at < n && list[at] > id) at++;
                }
                memmove(list + at + 1, list + at, (n - at) * sizeof(*list));
                list[at] = id;
                n++;
            }
            size_t prefix = n ? rng_below(&rng, n + 1) : 0;
            struct entry e[POSTS];
            for (size_t i = 0; i < prefix; i++) e[i] = (struct entry){list[i], 1};
            struct timeline_header all = {TIMELINE_COMPLETE, 9, 0};
            struct view v = view_make(e, prefix, false, all, all, W);
            for (size_t i = prefix; i < n; i++) assert_true(list[i] < v.complete_from);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_list_is_complete_down_to_its_mark),
        cmocka_unit_test(a_prefix_is_bounded_by_its_last_entry_in_list_order),
        cmocka_unit_test(the_mark_read_after_the_entries_counts),
        cmocka_unit_test(nothing_is_known_across_a_rebuild_or_while_building),
        cmocka_unit_test(no_prefix_claims_more_than_it_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
