/*
 * Placement tables as PostgreSQL sends them. The first byte says how many of the next are a pattern repeated over all
 * slots; the rest are the nodes. What decodes names only nodes that are there.
 */
#include <string.h>

#include "common/base/mem.h"
#include "common/store/placement_table.h"
#include "tests/fuzz/fuzz.h"

#define SLOT_BYTES 6

static void add_node(struct buf *to, unsigned id, const char *name, const char *address) {
    char head[6] = {0, (char)id, 0, 0, 0, 1};
    buf_add(to, head, sizeof(head));
    buf_add_be32(to, (uint32_t)(id & 1) << 16); /* kind, state active */
    buf_add_be32(to, (uint32_t)strlen(name));
    buf_add_c(to, name);
    buf_add_be32(to, (uint32_t)strlen(address));
    buf_add_c(to, address);
}

bool fuzz_seed(size_t index, struct buf *to) {
    static const char slots[] = {12, 0, 1, 0, 0, 0, 5, 0, 2, 0, 0, 0, 9};
    if (index >= 3) return false;
    if (index == 1) {
        buf_add(to, (const char[]){6, 0, 0, 0, 0, 0, 1}, 7); /* nobody's */
        return true;
    }
    buf_add(to, slots, sizeof(slots));
    add_node(to, 1, index == 0 ? "m1" : "a name of 64 bytes, one more than there is room for with its NUL",
             "127.0.0.1:11211");
    add_node(to, 2, "r2", "unix:/tmp/r");
    return true;
}

static void check(const struct placement_table *t) {
    for (size_t i = 0; i < t->node_count; i++) {
        const struct node *n = &t->nodes[i];
        FUZZ_CHECK(n->id && (i == 0 || n[-1].id < n->id) && placement_table_node(t, n->id) == n);
        FUZZ_CHECK(n->kind <= NODE_MEMCACHED && n->state <= NODE_REMOVED);
        FUZZ_CHECK(memchr(n->name, 0, sizeof(n->name)) && memchr(n->address, 0, sizeof(n->address)));
    }
    for (size_t i = 0; i < RING_SLOTS; i++) {
        FUZZ_CHECK(t->slots[i].node == RING_NONE || t->slots[i].node < t->node_count);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static char slots[RING_SLOTS * SLOT_BYTES];
    if (size < 1 || data[0] == 0 || size < 1u + data[0]) return 0;
    size_t pattern = data[0];
    for (size_t i = 0; i < sizeof(slots); i++) slots[i] = (char)data[1 + i % pattern];
    struct str nodes = str_of((const char *)data + 1 + pattern, size - 1 - pattern);
    struct placement_table *t = NULL;
    /* A pattern of odd length stands for an answer that is cut off. */
    struct str cut = str_of(slots, sizeof(slots) - (pattern & 1));
    enum err err = placement_table_decode(3, nodes, cut, &t);
    FUZZ_CHECK(err == ERR_OK || (err == ERR_CORRUPT && !t));
    if (err != ERR_OK) return 0;
    FUZZ_CHECK(!(pattern & 1));
    check(t);
    placement_table_unref(t);
    return 0;
}
