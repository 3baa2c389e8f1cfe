/* Fan-out plan against a plain model: every delivery once, in order, on the right node. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/domain/plan.h"

enum { USERS = 60 };

struct map_of_users {
    size_t node_count;
    unsigned calls[USERS + 1];
};

/* Users divisible by 7 have no live node, those by 11 one that is out of range. */
static bool locate(void *ctx, uint64_t user_id, struct plan_location *ret) {
    struct map_of_users *m = ctx;
    m->calls[user_id]++;
    if (user_id % 7 == 0) return false;
    *ret = (struct plan_location){(uint16_t)(user_id % 11 == 0 ? m->node_count : user_id % m->node_count),
                                  (uint32_t)user_id + 9};
    return true;
}

static bool placed(uint64_t user_id) {
    return user_id % 7 != 0 && user_id % 11 != 0;
}

static bool follows(const struct plan_job *job, uint64_t user) {
    for (size_t i = 0; i < job->follower_count; i++) {
        if (be64_load(job->followers + 8 * i) == user) return true;
    }
    return job->with_author && job->entry.author_id == user;
}

/* The entries that one user is owed, oldest first, by the plainest way there is. */
static size_t owed(const struct plan_job *jobs, size_t count, uint64_t user, uint64_t *posts) {
    size_t n = 0;
    for (uint64_t post = 1; post <= 40; post++) {
        bool any = false;
        for (size_t j = 0; j < count; j++) any |= jobs[j].entry.post_id == post && follows(&jobs[j], user);
        if (any) posts[n++] = post;
    }
    return n;
}

static const struct plan_target *find(const struct plan_node *node, uint64_t user) {
    for (size_t i = 0; i < node->target_count; i++) {
        if (node->targets[i].user_id == user) return &node->targets[i];
    }
    return NULL;
}

static void target_is(const struct plan_target *t, uint64_t user, const uint64_t *posts, size_t count) {
    assert_non_null(t);
    assert_int_equal(t->generation, user + 9);
    assert_int_equal(t->entry_count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(t->entries[i].post_id, posts[i]);
        assert_int_equal(t->entries[i].author_id, posts[i] % USERS + 1);
    }
}

static void check(const struct plan_job *jobs, size_t job_count, size_t node_count) {
    struct arena arena;
    struct plan plan;
    struct map_of_users m = {.node_count = node_count};
    size_t unplaced = 0, targets = 0, found = 0, entries = 0, counted = 0;
    arena_init(&arena, 0);
    plan_build(jobs, job_count, node_count, locate, &m, &arena, &plan);
    assert_int_equal(plan.node_count, node_count);
    for (uint64_t user = 1; user <= USERS; user++) {
        uint64_t posts[40];
        size_t count = owed(jobs, job_count, user, posts);
        assert_int_equal(m.calls[user], count > 0); /* located once, and only if there is something */
        if (!placed(user)) {
            unplaced += count;
        } else if (count) {
            target_is(find(&plan.nodes[user % node_count], user), user, posts, count);
            targets++;
            entries += count;
        }
    }
    for (size_t n = 0; n < node_count; n++) {
        found += plan.nodes[n].target_count;
        counted += plan.nodes[n].entry_count;
        for (size_t i = 1; i < plan.nodes[n].target_count; i++) {
            assert_true(plan.nodes[n].targets[i - 1].user_id < plan.nodes[n].targets[i].user_id);
        }
    }
    assert_int_equal(plan.unplaced, unplaced);
    assert_int_equal(found, targets);
    assert_int_equal(counted, entries);
    arena_fini(&arena);
}

/* A job of post p: its author is p % USERS + 1; each user follows with one chance in `sparse`. */
static struct plan_job make_job(struct rng *rng, uint64_t sparse, struct buf *followers) {
    uint64_t post = 1 + rng_below(rng, 40);
    for (uint64_t user = 1; user <= USERS; user++) {
        if (rng_below(rng, sparse) == 0) buf_add_be64(followers, user);
    }
    return (struct plan_job){
        .entry = {post, post % USERS + 1},
        .followers = (const unsigned char *)followers->data,
        .follower_count = followers->len / 8,
        .with_author = rng_below(rng, 2) == 0,
    };
}

static void random_plans_match_the_model(void **state) {
    (void)state;
    struct rng rng = {17};
    for (int round = 0; round < 1500; round++) {
        struct plan_job jobs[20];
        struct buf followers[20] = {BUF_INIT};
        size_t count = rng_below(&rng, 4) ? rng_below(&rng, 20) : 1, nodes = 1 + rng_below(&rng, 5);
        for (size_t j = 0; j < count; j++) jobs[j] = make_job(&rng, 1 + rng_below(&rng, 20), &followers[j]);
        check(jobs, count, nodes);
        for (size_t j = 0; j < 20; j++) buf_fini(&followers[j]);
    }
}

static void the_author_among_his_followers_gets_one_entry(void **state) {
    (void)state;
    struct buf followers = BUF_INIT;
    for (uint64_t user = 2; user <= 6; user++) buf_add_be64(&followers, user);
    struct plan_job jobs[] = {
        {{2, 3}, (const unsigned char *)followers.data, 5, true}, /* author 3 stands in the middle of the list */
        {{2, 3}, (const unsigned char *)followers.data, 5, true}, /* and the job was queued twice */
        {{1, 2}, NULL, 0, true},                                  /* no followers yet; older, though it comes last */
    };
    check(jobs, 1, 2);
    check(jobs, 2, 2);
    check(jobs, 3, 2);
    check(jobs, 0, 2);
    buf_fini(&followers);
}

static void lists_out_of_order_stay_within_bounds(void **state) {
    (void)state;
    struct rng rng = {23};
    for (int round = 0; round < 500; round++) {
        struct buf followers[4] = {BUF_INIT};
        struct plan_job jobs[4];
        size_t deliveries = 0;
        for (size_t j = 0; j < 4; j++) {
            for (uint64_t n = rng_below(&rng, 30); n; n--) buf_add_be64(&followers[j], 1 + rng_below(&rng, USERS));
            jobs[j] =
                (struct plan_job){{j + 1, j + 2}, (const unsigned char *)followers[j].data, followers[j].len / 8, true};
            deliveries += followers[j].len / 8 + 1;
        }
        struct arena arena;
        struct plan plan;
        struct map_of_users m = {.node_count = 3};
        arena_init(&arena, 0);
        plan_build(jobs, 4, 3, locate, &m, &arena, &plan);
        size_t all = plan.unplaced;
        for (size_t n = 0; n < 3; n++) all += plan.nodes[n].entry_count;
        assert_true(all <= deliveries);
        arena_fini(&arena);
        for (size_t j = 0; j < 4; j++) buf_fini(&followers[j]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_plans_match_the_model),
        cmocka_unit_test(the_author_among_his_followers_gets_one_entry),
        cmocka_unit_test(lists_out_of_order_stay_within_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
