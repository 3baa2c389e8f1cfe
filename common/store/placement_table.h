/*
 * One tier's placement table as a value: decoding, fill embargo, and what a change would move. Pure but for the memory.
 * Private to placement*.c and its test.
 */
#ifndef STORE_PLACEMENT_TABLE_H
#define STORE_PLACEMENT_TABLE_H

#include <stdatomic.h>

#include "common/base/buf.h"
#include "common/store/placement.h"

struct placement_slot {
    uint64_t fill_after_ms; /* monotonic: nothing is filled into it before */
    uint32_t generation;
    uint16_t node; /* index into nodes, or RING_NONE */
};

struct placement_table {
    atomic_uint refs;
    uint64_t version;
    size_t node_count;
    struct node *nodes; /* (own) ascending id */
    struct placement_slot slots[RING_SLOTS];
};

/* The form in which PostgreSQL sends it (schema: placement_nodes, placement_slots). ERR_CORRUPT: not that form. */
enum err placement_table_decode(uint64_t version, struct str nodes, struct str slots, struct placement_table **ret);
struct placement_table *placement_table_ref(struct placement_table *t);
void placement_table_unref(struct placement_table *t);                                 /* NULL is fine */
const struct node *placement_table_node(const struct placement_table *t, uint16_t id); /* or NULL */
/*
 * Sets the fill embargo: one lease from now_ms for every slot whose generation, node or address is not that of `before`
 * (NULL: for every slot); the others keep what they had there.
 */
void placement_table_embargo(struct placement_table *t, const struct placement_table *before, uint64_t now_ms);
/*
 * Slots that change owner if node_id (0: none) were in this state, and their owners' ids (0: nobody). Returns how many.
 */
size_t placement_table_plan(const struct placement_table *t, uint16_t node_id, enum node_state state,
                            int32_t ret_slots[static RING_SLOTS], int32_t ret_owners[static RING_SLOTS]);

#endif
