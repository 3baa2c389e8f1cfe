/* The rules of rebuilds, with the steps played by the test: who joins, who is told what, how many run at once. */
#include "feedd/rebuild_steps.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "feedd/rebuild.h"

/* ---- a world that answers when it is told to ---- */

enum step_kind { BEGIN = 1, QUERY, FILL, ABANDON };

struct step {
    enum step_kind kind;
    uint64_t user_id, nonce, mark;
    size_t count;
    timeline_step_fn *done;
    rebuild_entries_fn *answered;
    void *ctx;
};

struct world {
    struct step steps[64];
    size_t count;
    enum err fails[5]; /* by kind: refused at once */
    unsigned failed_nodes;
};

static enum err record(void *ctx, struct step s) {
    struct world *w = ctx;
    if (w->fails[s.kind]) return w->fails[s.kind];
    assert_true(w->count < ARRAY_LEN(w->steps));
    w->steps[w->count++] = s;
    return ERR_OK;
}

static enum err begin(void *w, const struct location *at, uint64_t user, uint64_t nonce, timeline_step_fn *done,
                      void *ctx) {
    assert_int_equal(at->node->id, 3);
    return record(w, (struct step){.kind = BEGIN, .user_id = user, .nonce = nonce, .done = done, .ctx = ctx});
}
static enum err query(void *w, uint64_t user, unsigned cap, rebuild_entries_fn *done, void *ctx) {
    assert_int_equal(cap, 4);
    return record(w, (struct step){.kind = QUERY, .user_id = user, .answered = done, .ctx = ctx});
}
static enum err fill(void *w, const struct location *at, uint64_t user, uint64_t nonce, const struct entry *entries,
                     size_t count, uint64_t mark, timeline_step_fn *done, void *ctx) {
    (void)at, (void)entries;
    return record(w, (struct step){FILL, user, nonce, mark, count, done, NULL, ctx});
}
static enum err abandon(void *w, const struct location *at, uint64_t user, uint64_t nonce, timeline_step_fn *done,
                        void *ctx) {
    (void)at;
    return record(w, (struct step){.kind = ABANDON, .user_id = user, .nonce = nonce, .done = done, .ctx = ctx});
}
static void node_failed(void *ctx, uint16_t node_id, enum err err) {
    struct world *w = ctx;
    assert_int_equal(node_id, 3);
    assert_int_not_equal(err, ERR_OK);
    w->failed_nodes++;
}
static const struct rebuild_steps STEPS = {begin, query, fill, abandon, node_failed};

/* ---- callers ---- */

struct caller {
    unsigned times;
    enum err err;
    enum rebuild_outcome outcome;
    size_t count;
    uint64_t first, mark;
};

static void told(void *ctx, enum err err, enum rebuild_outcome outcome, const struct entry *entries, size_t count,
                 uint64_t mark) {
    struct caller *c = ctx;
    c->times++;
    c->err = err;
    c->outcome = outcome;
    c->count = count;
    c->first = count ? entries[0].post_id : 0;
    c->mark = mark;
}

#define EXPECT_TOLD(c, error, what)                                                                                    \
    do {                                                                                                               \
        assert_int_equal((c).times, 1);                                                                                \
        assert_int_equal((c).err, error);                                                                              \
        if (!(error)) assert_int_equal((c).outcome, what);                                                             \
    } while (0)

static uint64_t fake_now_ns = 1000000000;
static uint64_t fake_now(void) {
    return fake_now_ns;
}

struct stage {
    struct loop *loop;
    struct world world;
    struct rebuilds *rebuilds;
    struct node node;
    struct location at;
};

static int raise(void **state) {
    clock_set_mono_source(fake_now);
    struct stage *s = NEW(struct stage);
    s->loop = loop_new();
    struct rebuild_limits limits = {.running = 2, .max_waiting = 3, .wait_ms = 1000, .cap = 4};
    s->rebuilds = rebuilds_new_with(s->loop, limits, &STEPS, &s->world);
    s->node.id = 3;
    s->at = (struct location){.node = &s->node, .generation = 1, .may_fill = true};
    *state = s;
    return 0;
}

static int strike(void **state) {
    struct stage *s = *state;
    rebuilds_free(&s->rebuilds);
    loop_free(&s->loop);
    mem_free(s);
    clock_set_mono_source(NULL);
    return 0;
}

static void call(struct stage *s, uint64_t user, struct caller *c) {
    rebuild(s->rebuilds, user, &s->at, told, c);
}

static struct step *last(struct stage *s, enum step_kind kind) {
    assert_true(s->world.count > 0);
    struct step *p = &s->world.steps[s->world.count - 1];
    assert_int_equal(p->kind, kind);
    return p;
}

static void answer(struct step *s, enum err err, bool applied) {
    s->done(s->ctx, err, applied);
}

static const struct entry FOUR[] = {{40, 1}, {30, 1}, {20, 1}, {10, 1}};
static void answer_query(struct step *s, enum err err, size_t count) {
    s->answered(s->ctx, err, err ? NULL : FOUR, err ? 0 : count);
}

static void stop_loop(struct loop_task *t);
struct stopper {
    struct loop_task task;
    struct loop *loop;
};
static void stop_loop(struct loop_task *t) {
    loop_stop(CONTAINER_OF(t, struct stopper, task)->loop);
}

/* One turn: due timers and posted tasks. */
static void turn(struct stage *s) {
    struct stopper stopper = {.task = {.run = stop_loop}, .loop = s->loop};
    loop_post(s->loop, &stopper.task);
    loop_run(s->loop);
}

/* ---- tests ---- */

static void one_flight_serves_who_came_before_its_query(void **state) {
    struct stage *s = *state;
    struct caller a = {0}, b = {0}, late = {0}, later = {0};
    call(s, 7, &a);
    call(s, 7, &b);
    assert_int_equal(s->world.count, 1);
    uint64_t nonce = last(s, BEGIN)->nonce;
    answer(last(s, BEGIN), ERR_OK, true);
    struct step *q = last(s, QUERY);
    call(s, 7, &late); /* its query has been sent */
    answer_query(q, ERR_OK, 3);
    EXPECT_TOLD(a, ERR_OK, REBUILD_ENTRIES);
    EXPECT_TOLD(b, ERR_OK, REBUILD_ENTRIES);
    assert_int_equal(a.count, 3);
    assert_int_equal(a.first, 40);
    assert_int_equal(a.mark, 0); /* fewer than the cap: all of history */
    assert_int_equal(late.times, 0);
    call(s, 7, &later); /* while it is being filled */
    assert_true(rebuild_running(s->rebuilds, 7));
    struct step *f = last(s, FILL);
    assert_int_equal(f->nonce, nonce);
    assert_int_equal(f->count, 3);
    answer(f, ERR_OK, true);
    EXPECT_TOLD(late, ERR_OK, REBUILD_REREAD);
    EXPECT_TOLD(later, ERR_OK, REBUILD_REREAD);
    assert_false(rebuild_running(s->rebuilds, 7));
    assert_int_equal(s->world.count, 3);
}

static void a_full_answer_is_marked_at_its_last_entry(void **state) {
    struct stage *s = *state;
    struct caller a = {0};
    call(s, 7, &a);
    answer(last(s, BEGIN), ERR_OK, true);
    answer_query(last(s, QUERY), ERR_OK, 4);
    assert_int_equal(a.mark, 10);
    assert_int_equal(last(s, FILL)->mark, 10);
    answer(last(s, FILL), ERR_OK, false); /* deleted meanwhile: nothing to do about it */
    assert_false(rebuild_running(s->rebuilds, 7));
}

static void nobody_queries_before_begin_is_confirmed(void **state) {
    struct stage *s = *state;
    struct caller a = {0};
    call(s, 7, &a);
    turn(s);
    assert_int_equal(s->world.count, 1);
    answer(last(s, BEGIN), ERR_OK, true);
    answer_query(last(s, QUERY), ERR_OK, 1);
    answer(last(s, FILL), ERR_OK, true);
}

static void another_process_builds(void **state) {
    struct stage *s = *state;
    struct caller a = {0}, b = {0};
    call(s, 7, &a);
    call(s, 7, &b);
    answer(last(s, BEGIN), ERR_OK, false);
    EXPECT_TOLD(a, ERR_OK, REBUILD_ELSEWHERE);
    EXPECT_TOLD(b, ERR_OK, REBUILD_ELSEWHERE);
    assert_int_equal(s->world.count, 1);
}

static void a_node_that_fails_is_told_and_passed_by(void **state) {
    struct stage *s = *state;
    struct caller a = {0}, b = {0};
    call(s, 7, &a);
    answer(last(s, BEGIN), ERR_TIMEOUT, false);
    EXPECT_TOLD(a, ERR_OK, REBUILD_NO_NODE);
    s->world.fails[BEGIN] = ERR_REFUSED;
    call(s, 7, &b);
    assert_int_equal(b.times, 0); /* never inside the call */
    turn(s);
    EXPECT_TOLD(b, ERR_OK, REBUILD_NO_NODE);
    assert_int_equal(s->world.failed_nodes, 2);
}

static void a_failed_query_abandons_the_building(void **state) {
    struct stage *s = *state;
    struct caller a = {0}, late = {0};
    call(s, 7, &a);
    uint64_t nonce = last(s, BEGIN)->nonce;
    answer(last(s, BEGIN), ERR_OK, true);
    struct step *q = last(s, QUERY);
    call(s, 7, &late);
    answer_query(q, ERR_LOST, 0);
    EXPECT_TOLD(a, ERR_LOST, 0);
    EXPECT_TOLD(late, ERR_LOST, 0);
    assert_int_equal(last(s, ABANDON)->nonce, nonce);
    answer(last(s, ABANDON), ERR_OK, true);
    assert_false(rebuild_running(s->rebuilds, 7));
}

static void a_fill_that_fails_still_ends_the_wait(void **state) {
    struct stage *s = *state;
    struct caller a = {0}, late = {0}, refused = {0};
    call(s, 7, &a);
    answer(last(s, BEGIN), ERR_OK, true);
    struct step *q = last(s, QUERY);
    call(s, 7, &late);
    answer_query(q, ERR_OK, 2);
    answer(last(s, FILL), ERR_TIMEOUT, false);
    EXPECT_TOLD(late, ERR_OK, REBUILD_REREAD);
    assert_int_equal(s->world.failed_nodes, 1);
    s->world.fails[FILL] = ERR_REFUSED;
    call(s, 8, &refused);
    answer(last(s, BEGIN), ERR_OK, true);
    answer_query(last(s, QUERY), ERR_OK, 2);
    EXPECT_TOLD(refused, ERR_OK, REBUILD_ENTRIES);
    assert_false(rebuild_running(s->rebuilds, 8));
}

static void only_so_many_at_once_and_so_many_wait(void **state) {
    struct stage *s = *state;
    struct caller c[7] = {{0}};
    for (size_t i = 0; i < 6; i++) call(s, 100 + i, &c[i]);
    assert_int_equal(s->world.count, 2);
    assert_int_equal(c[5].times, 0);
    turn(s);
    EXPECT_TOLD(c[5], ERR_BUSY, 0); /* the fourth that would wait */
    struct step *first = &s->world.steps[0];
    answer(first, ERR_OK, true);
    call(s, 102, &c[6]); /* joins one that waits for its place */
    answer_query(last(s, QUERY), ERR_OK, 1);
    assert_int_equal(last(s, BEGIN)->user_id,
                     102); /* the oldest that waits, as soon as the query answered: the fill needs no place */
    answer(last(s, BEGIN), ERR_OK, true);
    answer_query(last(s, QUERY), ERR_OK, 1);
    EXPECT_TOLD(c[2], ERR_OK, REBUILD_ENTRIES);
    EXPECT_TOLD(c[6], ERR_OK, REBUILD_ENTRIES);
    fake_now_ns += 1001 * 1000000ull;
    turn(s);
    EXPECT_TOLD(c[4], ERR_BUSY, 0);  /* waited too long */
    assert_int_equal(c[3].times, 0); /* has its place */
    for (size_t i = 0; i < s->world.count; i++)
        if (s->world.steps[i].kind == FILL) answer(&s->world.steps[i], ERR_OK, true);
    answer(&s->world.steps[1], ERR_OK, false);
    answer(last(s, BEGIN), ERR_OK, false);
    EXPECT_TOLD(c[3], ERR_OK, REBUILD_ELSEWHERE);
}

static void count_in(struct admission_ticket *t, enum err err) {
    (void)t;
    assert_int_equal(err, ERR_OK);
}

static void deep_pages_share_the_bound(void **state) {
    struct stage *s = *state;
    struct admission_ticket one = {.called = count_in}, two = {.called = count_in};
    struct caller a = {0};
    assert_int_equal(heavy_enter(s->rebuilds, &one, 100), ADMISSION_IN);
    assert_int_equal(heavy_enter(s->rebuilds, &two, 100), ADMISSION_IN);
    call(s, 7, &a);
    assert_int_equal(s->world.count, 0);
    heavy_leave(s->rebuilds);
    answer(last(s, BEGIN), ERR_OK, false);
    EXPECT_TOLD(a, ERR_OK, REBUILD_ELSEWHERE);
    heavy_leave(s->rebuilds);
}

static void a_query_that_is_not_taken(void **state) {
    struct stage *s = *state;
    struct caller a = {0};
    s->world.fails[QUERY] = ERR_REFUSED;
    call(s, 7, &a);
    answer(last(s, BEGIN), ERR_OK, true);
    EXPECT_TOLD(a, ERR_REFUSED, 0);
    answer(last(s, ABANDON), ERR_OK, true);
    struct admission_ticket t = {.called = count_in};
    assert_int_equal(heavy_enter(s->rebuilds, &t, 0), ADMISSION_IN); /* both places are free again */
    assert_int_equal(heavy_enter(s->rebuilds, &t, 0), ADMISSION_IN);
    assert_int_equal(heavy_enter(s->rebuilds, &t, 0), ADMISSION_FULL);
    heavy_leave(s->rebuilds);
    heavy_leave(s->rebuilds);
}

static void freeing_tells_everybody_and_survives_late_answers(void **state) {
    struct stage *s = *state;
    struct caller c[4] = {{0}};
    for (size_t i = 0; i < 3; i++) call(s, 100 + i, &c[i]); /* the third waits */
    answer(&s->world.steps[0], ERR_OK, true);
    call(s, 100, &c[3]);
    struct step query_step = *last(s, QUERY), begin_step = s->world.steps[1];
    rebuilds_free(&s->rebuilds);
    assert_null(s->rebuilds);
    for (size_t i = 0; i < 4; i++) EXPECT_TOLD(c[i], ERR_CANCELED, 0);
    answer_query(&query_step, ERR_CANCELED, 0);
    answer(&begin_step, ERR_OK, true);
    for (size_t i = 0; i < 4; i++) assert_int_equal(c[i].times, 1);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, raise, strike)
    const struct CMUnitTest tests[] = {
        TEST(one_flight_serves_who_came_before_its_query),
        TEST(a_full_answer_is_marked_at_its_last_entry),
        TEST(nobody_queries_before_begin_is_confirmed),
        TEST(another_process_builds),
        TEST(a_node_that_fails_is_told_and_passed_by),
        TEST(a_failed_query_abandons_the_building),
        TEST(a_fill_that_fails_still_ends_the_wait),
        TEST(only_so_many_at_once_and_so_many_wait),
        TEST(deep_pages_share_the_bound),
        TEST(a_query_that_is_not_taken),
        TEST(freeing_tells_everybody_and_survives_late_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
