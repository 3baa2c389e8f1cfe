/*
 * Placement tables: see the header. A table never changes once it is part of a view; the next version is a new table,
 * and tiers that did not change share theirs between views.
 */
#include "common/store/placement_table.h"

#include <string.h>

#include "common/base/mem.h"

#define SLOT_BYTES      6
#define NODE_HEAD_BYTES 14 /* up to and with the length of the name */

/* ---- decoding ---- */

static uint16_t be16_load(const char *p) {
    return (uint16_t)((unsigned)(unsigned char)p[0] << 8 | (unsigned char)p[1]);
}

static bool take(struct str *from, size_t length, const char **ret) {
    if (from->len < length) return false;
    *ret = from->data;
    from->data += length;
    from->len -= length;
    return true;
}

static bool decode_text(struct str *from, size_t length, size_t room, char *ret) {
    const char *text;
    if (length >= room || !take(from, length, &text)) return false;
    memcpy(ret, text, length);
    ret[length] = 0;
    return true;
}

static bool decode_node(struct str *from, struct node *ret) {
    const char *head, *length;
    if (!take(from, NODE_HEAD_BYTES, &head)) return false;
    uint16_t kind = be16_load(head + 6), state = be16_load(head + 8);
    if (kind > NODE_MEMCACHED || state > NODE_REMOVED) return false;
    ret->id = be16_load(head);
    ret->weight = be32_load(head + 2);
    ret->kind = (enum node_kind)kind;
    ret->state = (enum node_state)state;
    return ret->id > 0 && decode_text(from, be32_load(head + 10), sizeof ret->name, ret->name) &&
           take(from, 4, &length) && decode_text(from, be32_load(length), sizeof ret->address, ret->address);
}

static bool decode_nodes(struct placement_table *t, struct str from) {
    size_t room = 0;
    while (from.len > 0) {
        if (t->node_count == room) t->nodes = mem_grow(t->nodes, room = room ? room * 2 : 8, sizeof *t->nodes);
        struct node *node = &t->nodes[t->node_count];
        if (!decode_node(&from, node)) return false;
        if (t->node_count++ > 0 && node[-1].id >= node->id) return false;
    }
    return t->node_count < RING_NONE;
}

static bool decode_slots(struct placement_table *t, struct str from) {
    if (from.len != (size_t)RING_SLOTS * SLOT_BYTES) return false;
    for (size_t i = 0; i < RING_SLOTS; i++, from.data += SLOT_BYTES) {
        uint16_t id = be16_load(from.data);
        const struct node *node = id > 0 ? placement_table_node(t, id) : NULL;
        if (id > 0 && !node) return false;
        t->slots[i].node = node ? (uint16_t)(node - t->nodes) : RING_NONE;
        t->slots[i].generation = be32_load(from.data + 2);
    }
    return true;
}

enum err placement_table_decode(uint64_t version, struct str nodes, struct str slots, struct placement_table **ret) {
    struct placement_table *t = NEW(struct placement_table);
    atomic_init(&t->refs, 1);
    t->version = version;
    if (!decode_nodes(t, nodes) || !decode_slots(t, slots)) {
        placement_table_unref(t);
        return ERR_CORRUPT;
    }
    *ret = t;
    return ERR_OK;
}

struct placement_table *placement_table_ref(struct placement_table *t) {
    atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
    return t;
}

void placement_table_unref(struct placement_table *t) {
    if (!t || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1) return;
    mem_free(t->nodes);
    mem_free(t);
}

const struct node *placement_table_node(const struct placement_table *t, uint16_t id) {
    size_t low = 0, high = t->node_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (t->nodes[middle].id == id) return &t->nodes[middle];
        if (t->nodes[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* ---- decisions ---- */

static bool same_place(const struct placement_table *a, const struct placement_table *b, size_t slot) {
    const struct placement_slot *s = &a->slots[slot], *t = &b->slots[slot];
    if (s->generation != t->generation) return false;
    if (s->node == RING_NONE || t->node == RING_NONE) return s->node == t->node;
    const struct node *n = &a->nodes[s->node], *m = &b->nodes[t->node];
    return n->id == m->id && n->kind == m->kind && strcmp(n->address, m->address) == 0;
}

void placement_table_embargo(struct placement_table *t, const struct placement_table *before, uint64_t now_ms) {
    for (size_t i = 0; i < RING_SLOTS; i++)
        t->slots[i].fill_after_ms =
            before && same_place(t, before, i) ? before->slots[i].fill_after_ms : now_ms + PLACEMENT_LEASE_MS;
}

size_t placement_table_plan(const struct placement_table *t, uint16_t node_id, enum node_state state,
                            int32_t ret_slots[static RING_SLOTS], int32_t ret_owners[static RING_SLOTS]) {
    struct ring_node *ring = NEW_ARRAY(struct ring_node, t->node_count + 1);
    for (size_t i = 0; i < t->node_count; i++) {
        const struct node *n = &t->nodes[i];
        enum node_state as = n->id == node_id ? state : n->state;
        ring[i] = (struct ring_node){.name = n->name, .weight = n->weight, .live = as == NODE_ACTIVE};
    }
    uint16_t *owners = NEW_ARRAY(uint16_t, RING_SLOTS);
    ring_assign(ring, t->node_count, owners);
    size_t moved = 0;
    for (size_t i = 0; i < RING_SLOTS; i++) {
        if (owners[i] == t->slots[i].node) continue;
        ret_slots[moved] = (int32_t)i;
        ret_owners[moved++] = owners[i] == RING_NONE ? 0 : t->nodes[owners[i]].id;
    }
    mem_free(owners);
    mem_free(ring);
    return moved;
}
