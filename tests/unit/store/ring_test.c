/* Ring: balance, weights, least movement, and owners that never change between versions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/store/ring.h"

#define PINNED UINT64_C(0x92a569228bbc4f6d)

enum { MOST = 12 };

struct tier {
    struct ring_node nodes[MOST];
    char names[MOST][32];
    size_t count;
};

static void tier_make(struct tier *t, size_t count) {
    t->count = count;
    for (size_t i = 0; i < count; i++) {
        snprintf(t->names[i], sizeof(t->names[i]), "redis-%zu", i + 1);
        t->nodes[i] = (struct ring_node){t->names[i], 100, true};
    }
}

static void count_slots(const struct tier *t, size_t ret[static MOST]) {
    uint16_t owners[RING_SLOTS];
    memset(ret, 0, MOST * sizeof(*ret));
    ring_assign(t->nodes, t->count, owners);
    for (size_t s = 0; s < RING_SLOTS; s++) {
        assert_true(owners[s] < t->count);
        ret[owners[s]]++;
    }
}

/* Within four standard deviations of the share that the weight asks for. */
static void shares_fit(const struct tier *t) {
    size_t slots[MOST];
    double total = 0;
    count_slots(t, slots);
    for (size_t i = 0; i < t->count; i++) total += t->nodes[i].live ? t->nodes[i].weight : 0;
    for (size_t i = 0; i < t->count; i++) {
        double p = t->nodes[i].live ? t->nodes[i].weight / total : 0, off = (double)slots[i] - p * RING_SLOTS;
        assert_true(off * off <= 16 * RING_SLOTS * p * (1 - p) + 1e-9);
    }
}

static void slots_are_balanced(void **state) {
    (void)state;
    static const size_t sizes[] = {1, 2, 3, 10};
    for (size_t i = 0; i < 4; i++) {
        struct tier t;
        tier_make(&t, sizes[i]);
        shares_fit(&t);
    }
}

static void weights_are_kept(void **state) {
    (void)state;
    static const uint32_t weights[][4] = {
        {1, 2, 3, 4}, {100, 100, 1, 50}, {UINT32_MAX, UINT32_MAX, UINT32_MAX / 2, 1}, {7, 0, 7, 0}};
    for (size_t i = 0; i < 4; i++) {
        struct tier t;
        tier_make(&t, 4);
        for (size_t n = 0; n < 4; n++) t.nodes[n].weight = weights[i][n];
        shares_fit(&t);
    }
}

static void a_node_that_leaves_gives_only_what_it_had(void **state) {
    (void)state;
    for (size_t count = 2; count <= 10; count++) {
        struct tier t;
        uint16_t before[RING_SLOTS], after[RING_SLOTS];
        tier_make(&t, count);
        ring_assign(t.nodes, count, before);
        t.nodes[count / 2].live = false;
        ring_assign(t.nodes, count, after);
        size_t had = 0;
        for (size_t s = 0; s < RING_SLOTS; s++) {
            assert_true(after[s] != count / 2);
            had += before[s] == count / 2;
            if (before[s] != count / 2) assert_int_equal(after[s], before[s]);
        }
        assert_int_equal(ring_moved(before, after), had);
        assert_true(had > 0);
        t.nodes[count / 2].live = true; /* it returns: everything as it was */
        ring_assign(t.nodes, count, after);
        assert_int_equal(ring_moved(before, after), 0);
    }
}

static void more_weight_only_attracts(void **state) {
    (void)state;
    struct tier t;
    uint16_t before[RING_SLOTS], after[RING_SLOTS];
    tier_make(&t, 5);
    ring_assign(t.nodes, 5, before);
    t.nodes[2].weight = 150;
    ring_assign(t.nodes, 5, after);
    for (size_t s = 0; s < RING_SLOTS; s++) {
        if (before[s] != after[s]) assert_int_equal(after[s], 2);
    }
    assert_in_range(ring_moved(before, after), 200, 350); /* 1.5/5.5 - 1/5 of 4096 is 298 */
}

static void the_order_of_nodes_does_not_matter(void **state) {
    (void)state;
    struct tier t, reversed;
    uint16_t owners[RING_SLOTS], other[RING_SLOTS];
    tier_make(&t, 6);
    reversed = t;
    for (size_t i = 0; i < 6; i++) reversed.nodes[i] = t.nodes[5 - i];
    ring_assign(t.nodes, 6, owners);
    ring_assign(reversed.nodes, 6, other);
    for (size_t s = 0; s < RING_SLOTS; s++) assert_int_equal(owners[s], 5 - other[s]);
}

static void without_a_live_node_nobody_owns(void **state) {
    (void)state;
    struct tier t;
    uint16_t owners[RING_SLOTS];
    tier_make(&t, 2);
    t.nodes[0].live = false;
    t.nodes[1].weight = 0;
    ring_assign(t.nodes, 2, owners);
    for (size_t s = 0; s < RING_SLOTS; s++) assert_int_equal(owners[s], RING_NONE);
    ring_assign(NULL, 0, owners);
    for (size_t s = 0; s < RING_SLOTS; s++) assert_int_equal(owners[s], RING_NONE);
}

/* The published formula in floating point, wherever it is not too close a call for doubles. */
static void owners_have_the_highest_weighted_score(void **state) {
    (void)state;
    struct tier t;
    uint16_t owners[RING_SLOTS];
    tier_make(&t, 8);
    for (size_t i = 0; i < 8; i++) t.nodes[i].weight = (uint32_t)(i + 1);
    ring_assign(t.nodes, 8, owners);
    for (size_t s = 0; s < RING_SLOTS; s++) {
        double scores[8];
        for (size_t i = 0; i < 8; i++) {
            uint64_t hash = hash_u64(hash_bytes(t.names[i], strlen(t.names[i])) ^ hash_u64(s));
            scores[i] = (double)t.nodes[i].weight / -log(((double)hash + 0.5) * 0x1p-64);
        }
        for (size_t i = 0; i < 8; i++) assert_true(scores[i] <= scores[owners[s]] * (1 + 1e-6));
    }
}

/* Every program of every version must agree: the whole assignment of one weighted tier is pinned by its hash. */
static void owners_are_stable_for_ever(void **state) {
    (void)state;
    struct tier t;
    uint16_t owners[RING_SLOTS];
    unsigned char bytes[RING_SLOTS];
    tier_make(&t, 7);
    for (size_t i = 0; i < 7; i++) t.nodes[i].weight = (uint32_t)(i + 1) * 10;
    ring_assign(t.nodes, 7, owners);
    for (size_t s = 0; s < RING_SLOTS; s++) bytes[s] = (unsigned char)owners[s];
    uint64_t pin = hash_bytes(bytes, sizeof(bytes));
    if (pin != PINNED) print_message("assignment hash %#llx\n", (unsigned long long)pin);
    assert_true(pin == PINNED);
    assert_int_equal(ring_slot(1), hash_u64(1) & 4095);
    assert_int_equal(ring_slot_of_hash(UINT64_MAX), 4095);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_are_balanced),
        cmocka_unit_test(weights_are_kept),
        cmocka_unit_test(a_node_that_leaves_gives_only_what_it_had),
        cmocka_unit_test(more_weight_only_attracts),
        cmocka_unit_test(the_order_of_nodes_does_not_matter),
        cmocka_unit_test(without_a_live_node_nobody_owns),
        cmocka_unit_test(owners_have_the_highest_weighted_score),
        cmocka_unit_test(owners_are_stable_for_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
