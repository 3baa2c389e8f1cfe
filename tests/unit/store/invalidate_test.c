/* Invalidation: what is retried, ejected, answered and when a row goes. Cache, placement and database are replaced at
 * link time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/store/invalidate.h"

static struct loop *loop;
static struct metrics *metrics;
static struct invalidator *invalidator;

/* ---- Placement ---- */

static bool lease;
static unsigned ejections;
static enum err ejection_err;
static bool hold_ejection;
struct ejecting {
    struct loop_task task;
    placement_done_fn *done;
    void *ctx;
};
static struct ejecting ejecting[8];

const struct placement_view *placement_acquire(struct placement *p) {
    (void)p;
    return lease ? (const struct placement_view *)&lease : NULL;
}

void placement_release(const struct placement_view *v) {
    (void)v;
}

static uint64_t unsettled_ms; /* of every slot */

uint64_t placement_unsettled_ms(const struct placement_view *v, enum tier t, uint64_t id) {
    assert_non_null(v);
    (void)id;
    return t == TIER_TIMELINE ? unsettled_ms : 0;
}

static uint16_t broken_node; /* fails deletes until it is ejected */

static void ejection_run(struct loop_task *t) {
    struct ejecting *e = CONTAINER_OF(t, struct ejecting, task);
    if (!ejection_err) broken_node = 0;
    e->done(e->ctx, ejection_err);
}

void placement_set_state(struct placement *p, uint16_t node_id, enum node_state state, const char *why, struct loop *on,
                         placement_done_fn *done, void *ctx) {
    (void)p, (void)why;
    assert_int_equal(node_id, 3);
    assert_int_equal(state, NODE_EJECTED);
    struct ejecting *e = &ejecting[ejections++];
    *e = (struct ejecting){.task.run = ejection_run, .done = done, .ctx = ctx};
    if (!hold_ejection) loop_post(on, &e->task);
}

/* ---- Cache ---- */

static unsigned deletes;
static size_t deleted_targets;
static struct cache_target last_target;
struct deleting {
    struct loop_task task;
    cache_deleted_fn *done;
    void *ctx;
    enum err err;
};

static void deleting_run(struct loop_task *t) {
    struct deleting *d = CONTAINER_OF(t, struct deleting, task);
    const uint16_t failed = broken_node;
    enum err err = d->err ? d->err : failed ? ERR_TIMEOUT : ERR_OK;
    d->done(d->ctx, err, &failed, !d->err && failed ? 1 : 0);
    mem_free(d);
}

void cache_delete(struct cache *c, const struct placement_view *view, const struct cache_target *targets, size_t count,
                  cache_deleted_fn *done, void *ctx) {
    (void)c;
    struct deleting *d = NEW(struct deleting);
    *d = (struct deleting){.task.run = deleting_run, .done = done, .ctx = ctx, .err = view ? ERR_OK : ERR_STALE};
    deletes++;
    deleted_targets += count;
    if (count) last_target = targets[count - 1];
    loop_post(loop, &d->task);
}

/* ---- Database ---- */

static unsigned statements, selects;
static size_t row_bytes;
static enum err pg_err;
static const uint64_t (*select_rows)[4]; /* row id, three targets' words */
static int select_count;
struct executing {
    struct loop_task task;
    pg_done_fn *done;
    void *ctx;
};

static void executing_run(struct loop_task *t) {
    struct executing *e = CONTAINER_OF(t, struct executing, task);
    e->done(e->ctx, pg_err, (const struct pg_result *)&select_count);
    mem_free(e);
}

enum err pg_exec(struct pg_pool *p, const struct pg_statement *s, const struct pg_params *params, pg_done_fn *done,
                 void *ctx) {
    (void)p;
    if (strstr(s->sql, "SELECT id")) {
        selects++;
    } else {
        statements++;
        row_bytes = (size_t)params->lengths[1];
    }
    struct executing *e = NEW(struct executing);
    *e = (struct executing){.task.run = executing_run, .done = done, .ctx = ctx};
    loop_post(loop, &e->task);
    return ERR_OK;
}

int pg_rows(const struct pg_result *r) {
    (void)r;
    return select_count;
}

uint64_t pg_int8(const struct pg_result *r, int row, int column) {
    (void)r, (void)column;
    return select_rows[row][0];
}

uint64_t *pg_int8_array(const struct pg_result *r, int row, int column, struct arena *arena, size_t *ret_count) {
    (void)r, (void)column;
    *ret_count = 2;
    return arena_dup(arena, &select_rows[row][1], 2 * sizeof(uint64_t));
}

/* ---- Driving ---- */

struct answer {
    unsigned done;
    enum err err;
};
static void answered(void *ctx, enum err err) {
    struct answer *a = ctx;
    a->done++;
    a->err = err;
}

static void stop(struct loop_timer *t) {
    (void)t;
    loop_stop(loop);
}

static void run(uint64_t ms) {
    struct loop_timer t = {.fire = stop};
    loop_timer_start(loop, &t, ms);
    loop_run(loop);
}

static int setup(void **state) {
    (void)state;
    lease = true;
    ejections = deletes = statements = selects = 0;
    deleted_targets = row_bytes = 0;
    ejection_err = pg_err = ERR_OK;
    hold_ejection = false;
    broken_node = 0;
    unsettled_ms = 0;
    loop = loop_new();
    metrics = metrics_new();
    invalidator = invalidator_new(loop, NULL, NULL, NULL, metrics, 200);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    invalidator_free(&invalidator);
    run(5);
    metrics_free(&metrics);
    loop_free(&loop);
    return 0;
}

static const uint64_t targets[] = {TIER_GRAPH, 11, TIER_TIMELINE, 12};

static void confirmed_at_once_and_the_row_goes_later(void **state) {
    (void)state;
    struct answer a = {0};
    invalidate_apply(invalidator, 1, targets, 4, answered, &a);
    assert_int_equal(a.done, 0);
    run(5);
    assert_int_equal(a.done, 1);
    assert_int_equal(a.err, ERR_OK);
    assert_int_equal(deleted_targets, 2);
    assert_int_equal(last_target.tier, TIER_TIMELINE);
    assert_int_equal(last_target.id, 12);
    assert_int_equal(statements, 0);
    run(70);
    assert_int_equal(statements, 1);
}

static void rows_go_in_batches(void **state) {
    (void)state;
    struct answer a = {0};
    for (uint64_t row = 1; row <= 150; row++) invalidate_apply(invalidator, row, targets, 4, answered, &a);
    run(5);
    assert_int_equal(a.done, 150);
    assert_int_equal(statements, 1); /* a hundred did not wait */
    assert_true(row_bytes > 800 && row_bytes < 1300);
    run(70);
    assert_int_equal(statements, 2);
    assert_true(row_bytes > 400 && row_bytes < 700);
}

static void row_zero_has_nothing_to_apply(void **state) {
    (void)state;
    struct answer a = {0};
    invalidate_apply(invalidator, 0, NULL, 0, answered, &a);
    assert_int_equal(a.done, 0);
    lease = false;
    run(5);
    assert_int_equal(a.done, 1);
    assert_int_equal(a.err, ERR_OK);
    assert_int_equal(deletes, 0);
    run(70);
    assert_int_equal(statements, 0);
}

static void a_node_that_does_not_confirm_is_ejected_then_applied_again(void **state) {
    (void)state;
    struct answer a = {0};
    broken_node = 3;
    invalidate_apply(invalidator, 1, targets, 4, answered, &a);
    run(10);
    assert_int_equal(ejections, 1);
    assert_int_equal(deletes, 2);
    assert_int_equal(a.err, ERR_OK);
    assert_int_equal(a.done, 1);
}

static void one_ejection_for_all_who_wait_for_it(void **state) {
    (void)state;
    struct answer a = {0};
    broken_node = 3;
    hold_ejection = true;
    for (uint64_t row = 1; row <= 10; row++) invalidate_apply(invalidator, row, targets, 4, answered, &a);
    run(10);
    assert_int_equal(ejections, 1);
    assert_int_equal(a.done, 0); /* nobody is answered before it holds */
    loop_post(loop, &ejecting[0].task);
    run(10);
    assert_int_equal(a.done, 10);
    assert_int_equal(a.err, ERR_OK);
}

static void what_cannot_be_confirmed_in_time_is_busy_and_keeps_its_row(void **state) {
    (void)state;
    struct answer a = {0};
    broken_node = 3;
    hold_ejection = true;
    uint64_t start = clock_mono_ms();
    invalidate_apply(invalidator, 1, targets, 4, answered, &a);
    while (!a.done) run(5);
    assert_int_equal(a.err, ERR_BUSY);
    assert_in_range(clock_mono_ms() - start, 190, 400);
    loop_post(loop, &ejecting[0].task); /* the ejection ends after the answer */
    run(70);
    assert_int_equal(a.done, 1);
    assert_int_equal(statements, 0);
    assert_int_equal(deletes, 1);
}

static void an_ejection_that_fails_is_tried_again(void **state) {
    (void)state;
    struct answer a = {0};
    broken_node = 3;
    ejection_err = ERR_REFUSED;
    invalidate_apply(invalidator, 1, targets, 4, answered, &a);
    run(10);
    assert_int_equal(a.done, 0);
    ejection_err = ERR_OK;
    run(60);
    assert_int_equal(a.done, 1);
    assert_int_equal(a.err, ERR_OK);
    assert_int_equal(ejections, 2);
}

static void no_lease_waits_for_one(void **state) {
    (void)state;
    struct answer a = {0};
    lease = false;
    invalidate_apply(invalidator, 1, targets, 4, answered, &a);
    run(30);
    assert_int_equal(a.done, 0);
    lease = true;
    run(50);
    assert_int_equal(a.done, 1);
    assert_int_equal(a.err, ERR_OK);
    assert_int_equal(ejections, 0);
}

/* Others may still read a target where it was before: the call must not return before that is over. */
static void a_slot_that_has_just_moved_is_waited_for(void **state) {
    (void)state;
    struct answer a = {0};
    unsettled_ms = 60;
    uint64_t start = clock_mono_ms();
    invalidate_apply(invalidator, 1, targets, 4, answered, &a);
    run(30);
    assert_int_equal(deletes, 1); /* at once */
    assert_int_equal(a.done, 0);
    while (!a.done) run(5);
    assert_int_equal(a.err, ERR_OK);
    assert_in_range(clock_mono_ms() - start, 60, 150);
    assert_int_equal(deletes, 1);
    unsettled_ms = 1000; /* beyond the deadline */
    struct answer late = {0};
    invalidate_apply(invalidator, 2, targets, 4, answered, &late);
    while (!late.done) run(5);
    assert_int_equal(late.err, ERR_BUSY);
}

static void a_tier_of_another_version_is_passed_over(void **state) {
    (void)state;
    struct answer a = {0};
    const uint64_t odd[] = {99, 1, TIER_CONTENT, 2, 7};
    invalidate_apply(invalidator, 1, odd, 5, answered, &a);
    run(5);
    assert_int_equal(a.err, ERR_OK);
    assert_int_equal(deleted_targets, 1);
}

static void a_sweep_applies_and_deletes(void **state) {
    (void)state;
    static const uint64_t rows[][4] = {{5, TIER_GRAPH, 1, 0}, {6, TIER_USERS, 2, 0}};
    struct answer a = {0}, full = {0}, none = {0};
    select_rows = rows;
    select_count = 2;
    invalidate_sweep(invalidator, 1000, 10, answered, &a);
    run(5);
    assert_int_equal(a.done, 1);
    assert_int_equal(a.err, ERR_OK);
    assert_int_equal(deleted_targets, 2);
    assert_int_equal(statements, 1);
    invalidate_sweep(invalidator, 1000, 2, answered, &full);
    run(5);
    assert_int_equal(full.err, ERR_BUSY); /* there may be more */
    select_count = 0;
    invalidate_sweep(invalidator, 1000, 2, answered, &none);
    run(5);
    assert_int_equal(none.err, ERR_OK);
}

static void a_sweep_keeps_what_was_not_confirmed(void **state) {
    (void)state;
    static const uint64_t rows[][4] = {{5, TIER_GRAPH, 1, 0}};
    struct answer a = {0};
    select_rows = rows;
    select_count = 1;
    lease = false;
    invalidate_sweep(invalidator, 1000, 10, answered, &a);
    run(300);
    assert_int_equal(a.done, 1);
    assert_int_equal(a.err, ERR_BUSY);
    assert_int_equal(statements, 0);
}

static void free_cancels(void **state) {
    (void)state;
    static const uint64_t rows[][4] = {{5, TIER_GRAPH, 1, 0}};
    struct answer waits = {0}, ejects = {0}, sweeps = {0}, selects_ = {0};
    select_rows = rows;
    select_count = 1;
    hold_ejection = true;
    broken_node = 3;
    invalidate_apply(invalidator, 2, targets, 4, answered, &ejects);
    invalidate_sweep(invalidator, 1000, 10, answered, &sweeps);
    run(10);
    invalidate_apply(invalidator, 1, targets, 4, answered, &waits);
    invalidate_sweep(invalidator, 1000, 10, answered, &selects_);
    invalidator_free(&invalidator);
    assert_int_equal(waits.done + ejects.done + sweeps.done + selects_.done, 4);
    assert_int_equal(waits.err, ERR_CANCELED);
    assert_int_equal(ejects.err, ERR_CANCELED);
    assert_int_equal(sweeps.err, ERR_CANCELED);
    loop_post(loop, &ejecting[0].task);
    run(10);
    assert_int_equal(waits.done + ejects.done + sweeps.done + selects_.done, 4);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(confirmed_at_once_and_the_row_goes_later),
        TEST(rows_go_in_batches),
        TEST(row_zero_has_nothing_to_apply),
        TEST(a_node_that_does_not_confirm_is_ejected_then_applied_again),
        TEST(one_ejection_for_all_who_wait_for_it),
        TEST(what_cannot_be_confirmed_in_time_is_busy_and_keeps_its_row),
        TEST(an_ejection_that_fails_is_tried_again),
        TEST(no_lease_waits_for_one),
        TEST(a_slot_that_has_just_moved_is_waited_for),
        TEST(a_tier_of_another_version_is_passed_over),
        TEST(a_sweep_applies_and_deletes),
        TEST(a_sweep_keeps_what_was_not_confirmed),
        TEST(free_cancels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
