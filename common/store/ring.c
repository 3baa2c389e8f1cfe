/*
 * Ring: weighted rendezvous hashing of slots to nodes, in integers.
 *
 * Node i's draw for slot s is a uniform 64-bit hash h of its name and the slot. The weighted score -w / ln(h / 2^64) is
 * the highest exactly where L = -log2(h / 2^64) divided by w is the lowest, and L_i / w_i < L_j / w_j is compared by
 * cross multiplication. L is computed in fixed point by squaring: log() of two C libraries may differ in the last bit,
 * and two programs that disagree about an owner would write where nobody reads.
 *
 * Names are unique within a tier (the database sees to it); equal scores fall to the lower name, so that the order in
 * which nodes are listed does not matter.
 */
#include "common/store/ring.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/mem.h"

#define LOG_BITS 32 /* fraction bits of L */

uint16_t ring_slot(uint64_t id) {
    return ring_slot_of_hash(hash_u64(id));
}

/* -log2(h / 2^64) * 2^32, from 1 to 64 * 2^32; the uniform draw is (h | 1) / 2^64, never 0 and never 1. */
static uint64_t minus_log2(uint64_t hash) {
    uint64_t x = hash | 1;
    unsigned zeros = (unsigned)__builtin_clzll(x);
    x <<= zeros; /* mantissa in [1, 2), 63 fraction bits */
    uint64_t fraction = 0;
    for (unsigned i = 0; i < LOG_BITS; i++) {
        unsigned __int128 square = (unsigned __int128)x * x; /* in [1, 4), 126 fraction bits */
        unsigned carry = (unsigned)(square >> 127);
        fraction = fraction << 1 | carry;
        x = (uint64_t)(square >> (63 + carry));
    }
    return ((uint64_t)(zeros + 1) << LOG_BITS) - fraction;
}

/* One candidate for one slot. */
struct draw {
    uint64_t log;
    uint32_t weight;
    uint16_t node;
};

static bool beats(const struct ring_node *nodes, struct draw a, struct draw b) {
    unsigned __int128 left = (unsigned __int128)a.log * b.weight, right = (unsigned __int128)b.log * a.weight;
    if (left != right) return left < right;
    return strcmp(nodes[a.node].name, nodes[b.node].name) < 0;
}

static bool takes_part(const struct ring_node *n) {
    return n->live && n->weight > 0;
}

void ring_assign(const struct ring_node *nodes, size_t count, uint16_t owners[static RING_SLOTS]) {
    if (count > RING_NONE) abort(); /* indexes are 16 bits; a tier has tens of nodes */
    uint64_t *names = NEW_ARRAY(uint64_t, count);
    for (size_t i = 0; i < count; i++) names[i] = hash_bytes(nodes[i].name, strlen(nodes[i].name));
    for (size_t slot = 0; slot < RING_SLOTS; slot++) {
        uint64_t slot_hash = hash_u64(slot);
        struct draw best = {.node = RING_NONE};
        for (size_t i = 0; i < count; i++) {
            if (!takes_part(&nodes[i])) continue;
            struct draw d = {minus_log2(hash_u64(names[i] ^ slot_hash)), nodes[i].weight, (uint16_t)i};
            if (best.node == RING_NONE || beats(nodes, d, best)) best = d;
        }
        owners[slot] = best.node;
    }
    mem_free(names);
}

size_t ring_moved(const uint16_t before[static RING_SLOTS], const uint16_t after[static RING_SLOTS]) {
    size_t moved = 0;
    for (size_t slot = 0; slot < RING_SLOTS; slot++) moved += before[slot] != after[slot];
    return moved;
}
