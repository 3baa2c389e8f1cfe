/*
 * Ring: consistent hashing of slots to named, weighted nodes. Pure.
 *
 * A key's slot is hash_u64(id) mod RING_SLOTS. A slot's owner is the live node with the highest weighted rendezvous
 * score (Thaler and Ravishankar 1998; weights after Schindelhauer and Schomaker 2005), which depends on the names only:
 * adding a node moves to it just its share, removing one moves just what it had, and every program computes the same
 * owners.
 */
#ifndef STORE_RING_H
#define STORE_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RING_SLOTS 4096
#define RING_NONE  UINT16_MAX

struct ring_node {
    const char *name;
    uint32_t weight; /* 0: takes no slots */
    bool live;
};

static inline uint16_t ring_slot_of_hash(uint64_t hash) {
    return (uint16_t)(hash & (RING_SLOTS - 1));
}
uint16_t ring_slot(uint64_t id);
/* owners[s] = index into nodes, or RING_NONE when no node is live. */
void ring_assign(const struct ring_node *nodes, size_t count, uint16_t owners[static RING_SLOTS]);
/* How many slots change owner. */
size_t ring_moved(const uint16_t before[static RING_SLOTS], const uint16_t after[static RING_SLOTS]);

#endif
