/* Placement tables: decoding what the database sends, the fill embargo, what a change moves, keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/store/placement_table.h"

static void add16(struct buf *b, unsigned v) {
    buf_add_char(b, (char)(v >> 8));
    buf_add_char(b, (char)v);
}

static void add_text(struct buf *b, const char *text) {
    buf_add_be32(b, (uint32_t)strlen(text));
    buf_add_c(b, text);
}

static void add_node(struct buf *b, unsigned id, uint32_t weight, unsigned kind, unsigned state, const char *name,
                     const char *address) {
    add16(b, id);
    buf_add_be32(b, weight);
    add16(b, kind);
    add16(b, state);
    add_text(b, name);
    add_text(b, address);
}

static void add_slots(struct buf *b, const unsigned owners[RING_SLOTS], const uint32_t generations[RING_SLOTS]) {
    for (size_t i = 0; i < RING_SLOTS; i++) {
        add16(b, owners[i]);
        buf_add_be32(b, generations[i]);
    }
}

struct fixture {
    unsigned owners[RING_SLOTS];
    uint32_t generations[RING_SLOTS];
    struct buf nodes, slots;
};

static void fini(struct fixture *f) {
    buf_fini(&f->nodes);
    buf_fini(&f->slots);
}

static enum err decode(struct fixture *f, struct placement_table **ret) {
    buf_clear(&f->slots);
    add_slots(&f->slots, f->owners, f->generations);
    return placement_table_decode(7, buf_str(&f->nodes), buf_str(&f->slots), ret);
}

static void decodes_nodes_and_slots(void **state) {
    (void)state;
    CLEANUP(fini) struct fixture f = {0};
    add_node(&f.nodes, 3, 100, 0, 0, "r1", "unix:/tmp/r1.sock");
    add_node(&f.nodes, 300, 50, 1, 1, "m\xc3\xa9", "127.0.0.1:11211");
    f.owners[0] = 300;
    f.owners[1] = 3;
    f.generations[1] = 4000000000u;
    struct placement_table *t = NULL;
    assert_int_equal(decode(&f, &t), ERR_OK);
    assert_int_equal(t->version, 7);
    assert_int_equal(t->node_count, 2);
    assert_string_equal(t->nodes[0].address, "unix:/tmp/r1.sock");
    assert_string_equal(t->nodes[1].name, "m\xc3\xa9");
    assert_int_equal(t->nodes[1].kind, NODE_MEMCACHED);
    assert_int_equal(t->nodes[1].state, NODE_EJECTED);
    assert_int_equal(t->nodes[1].weight, 50);
    assert_int_equal(t->slots[0].node, 1);
    assert_int_equal(t->slots[1].node, 0);
    assert_int_equal(t->slots[1].generation, 4000000000u);
    assert_int_equal(t->slots[2].node, RING_NONE);
    assert_ptr_equal(placement_table_node(t, 300), &t->nodes[1]);
    assert_null(placement_table_node(t, 4));
    placement_table_unref(t);
}

static void refuses_what_is_not_that_form(void **state) {
    (void)state;
    CLEANUP(fini) struct fixture f = {0};
    add_node(&f.nodes, 3, 100, 0, 0, "r1", "127.0.0.1:1");
    add_node(&f.nodes, 4, 100, 0, 0, "r2", "127.0.0.1:2");
    struct placement_table *t = NULL;
    assert_int_equal(decode(&f, &t), ERR_OK);
    placement_table_unref(t);
    struct buf whole = f.nodes;
    for (size_t cut = 1; cut < whole.len; cut++) { /* every cut but the one between the nodes */
        enum err err = placement_table_decode(7, str_of(whole.data, cut), buf_str(&f.slots), &t);
        assert_int_equal(err, cut == whole.len / 2 ? ERR_OK : ERR_CORRUPT);
        if (err == ERR_OK) placement_table_unref(t);
    }
    assert_int_equal(placement_table_decode(7, buf_str(&whole), str_of(f.slots.data, f.slots.len - 6), &t),
                     ERR_CORRUPT);
    f.owners[9] = 5; /* no such node */
    assert_int_equal(decode(&f, &t), ERR_CORRUPT);
    f.owners[9] = 0;
    char long_name[NODE_NAME_MAX + 1];
    memset(long_name, 'n', NODE_NAME_MAX);
    long_name[NODE_NAME_MAX] = 0;
    add_node(&f.nodes, 5, 100, 0, 0, long_name, "127.0.0.1:2");
    assert_int_equal(decode(&f, &t), ERR_CORRUPT);
    buf_clear(&f.nodes);
    add_node(&f.nodes, 5, 100, 0, 3, "r", "127.0.0.1:2");
    assert_int_equal(decode(&f, &t), ERR_CORRUPT);
}

static void embargo_covers_what_changed(void **state) {
    (void)state;
    CLEANUP(fini) struct fixture f = {0};
    add_node(&f.nodes, 1, 100, 0, 0, "a", "127.0.0.1:1");
    add_node(&f.nodes, 2, 100, 0, 0, "b", "127.0.0.1:2");
    for (size_t i = 0; i < RING_SLOTS; i++) f.owners[i] = 1 + i % 2;
    struct placement_table *first, *second, *third;
    assert_int_equal(decode(&f, &first), ERR_OK);
    placement_table_embargo(first, NULL, 10000);
    for (size_t i = 0; i < RING_SLOTS; i++) assert_int_equal(first->slots[i].fill_after_ms, 10000 + PLACEMENT_LEASE_MS);
    f.owners[4] = 2;
    f.generations[4] = 1;
    f.generations[6] = 2; /* away and back: the same owner, another generation */
    assert_int_equal(decode(&f, &second), ERR_OK);
    placement_table_embargo(second, first, 50000);
    for (size_t i = 0; i < RING_SLOTS; i++)
        assert_int_equal(second->slots[i].fill_after_ms, (i == 4 || i == 6 ? 50000 : 10000) + PLACEMENT_LEASE_MS);
    buf_clear(&f.nodes); /* b lives elsewhere now */
    add_node(&f.nodes, 1, 100, 0, 0, "a", "127.0.0.1:1");
    add_node(&f.nodes, 2, 100, 0, 0, "b", "127.0.0.1:3");
    assert_int_equal(decode(&f, &third), ERR_OK);
    placement_table_embargo(third, second, 90000);
    assert_int_equal(third->slots[0].fill_after_ms, 10000 + PLACEMENT_LEASE_MS);
    assert_int_equal(third->slots[6].fill_after_ms, 50000 + PLACEMENT_LEASE_MS);
    assert_int_equal(third->slots[1].fill_after_ms, 90000 + PLACEMENT_LEASE_MS);
    placement_table_unref(first);
    placement_table_unref(second);
    placement_table_unref(third);
}

/* Applies a plan to the fixture, as the database does. */
static void apply(struct fixture *f, const int32_t *slots, const int32_t *owners, size_t count) {
    for (size_t i = 0; i < count; i++) {
        f->owners[slots[i]] = (unsigned)owners[i];
        f->generations[slots[i]]++;
    }
}

static void plan_moves_only_what_it_must(void **state) {
    (void)state;
    CLEANUP(fini) struct fixture f = {0};
    static int32_t slots[RING_SLOTS], owners[RING_SLOTS];
    for (unsigned i = 0; i < 4; i++) {
        char name[] = {(char)('a' + i), 0};
        add_node(&f.nodes, 10 + i, 100, 0, 0, name, "127.0.0.1:1");
    }
    struct placement_table *t;
    assert_int_equal(decode(&f, &t), ERR_OK);
    assert_int_equal(placement_table_plan(t, 0, NODE_ACTIVE, slots, owners), RING_SLOTS); /* nobody owned any */
    apply(&f, slots, owners, RING_SLOTS);
    placement_table_unref(t);

    assert_int_equal(decode(&f, &t), ERR_OK);
    assert_int_equal(placement_table_plan(t, 0, NODE_ACTIVE, slots, owners), 0);
    assert_int_equal(placement_table_plan(t, 12, NODE_ACTIVE, slots, owners), 0); /* it is so already */
    size_t moved = placement_table_plan(t, 12, NODE_EJECTED, slots, owners);
    assert_in_range(moved, RING_SLOTS / 4 - 200, RING_SLOTS / 4 + 200);
    for (size_t i = 0; i < moved; i++) {
        assert_int_equal(f.owners[slots[i]], 12);
        assert_in_range(owners[i], 10, 13);
        assert_int_not_equal(owners[i], 12);
    }
    placement_table_unref(t);

    buf_clear(&f.nodes); /* the last live one goes: nobody owns anything */
    add_node(&f.nodes, 10, 100, 0, 0, "a", "127.0.0.1:1");
    add_node(&f.nodes, 11, 100, 0, 1, "b", "127.0.0.1:1");
    for (size_t i = 0; i < RING_SLOTS; i++) f.owners[i] = 10;
    assert_int_equal(decode(&f, &t), ERR_OK);
    assert_int_equal(placement_table_plan(t, 10, NODE_EJECTED, slots, owners), RING_SLOTS);
    for (size_t i = 0; i < RING_SLOTS; i++) assert_int_equal(owners[i], 0);
    placement_table_unref(t);
}

static void keys_tell_tier_generation_and_id(void **state) {
    (void)state;
    char key[CACHE_KEY_MAX], expected[CACHE_KEY_MAX];
    static const char letters[] = "tcugan";
    for (int t = 0; t < TIER_COUNT; t++) {
        size_t length = cache_key((enum tier)t, 0, 0, key);
        snprintf(expected, sizeof expected, "%c:0:0", letters[t]);
        assert_string_equal(key, expected);
        assert_int_equal(length, strlen(expected));
    }
    size_t longest = cache_key(TIER_TIMELINE, UINT32_MAX, UINT64_MAX, key);
    assert_int_equal(longest, strlen(key));
    assert_string_equal(key, "t:4294967295:18446744073709551615");
    cache_key(TIER_GRAPH, 10, 1002003, key);
    assert_string_equal(key, "g:10:1002003");
    assert_string_equal(tier_name(TIER_COUNTERS), "counters");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_nodes_and_slots),          cmocka_unit_test(refuses_what_is_not_that_form),
        cmocka_unit_test(embargo_covers_what_changed),      cmocka_unit_test(plan_moves_only_what_it_must),
        cmocka_unit_test(keys_tell_tier_generation_and_id),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
