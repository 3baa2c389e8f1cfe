/*
 * Map from a 64-bit key to a pointer: open addressing, linear probing, at most three quarters full. Deletion shifts
 * followers back instead of leaving tombstones, so probes stay as short as if the key had never been there.
 */
#include "common/base/map.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/mem.h"

void map_fini(struct map *m) {
    mem_free(m->entries);
    *m = MAP_INIT;
}

/* The key's place, or the free one where it would go. cap > 0 and never full. */
static size_t place_of(const struct map *m, uint64_t key) {
    size_t mask = m->cap - 1, i = (size_t)hash_u64(key) & mask;
    while (m->entries[i].value && m->entries[i].key != key) i = (i + 1) & mask;
    return i;
}

static void map_grow(struct map *m) {
    struct map old = *m;
    m->cap = old.cap ? old.cap * 2 : 16;
    m->entries = mem_array(m->cap, sizeof(*m->entries));
    memset(m->entries, 0, m->cap * sizeof(*m->entries));
    for (size_t i = 0; i < old.cap; i++) {
        if (old.entries[i].value) m->entries[place_of(m, old.entries[i].key)] = old.entries[i];
    }
    mem_free(old.entries);
}

void *map_get(const struct map *m, uint64_t key) {
    return m->count ? m->entries[place_of(m, key)].value : NULL;
}

void *map_put(struct map *m, uint64_t key, void *value) {
    if (!value) abort(); /* NULL would read as a free place */
    if (m->count >= m->cap - m->cap / 4) map_grow(m);
    struct map_entry *e = &m->entries[place_of(m, key)];
    void *replaced = e->value;
    if (!replaced) m->count++;
    *e = (struct map_entry){key, value};
    return replaced;
}

void *map_del(struct map *m, uint64_t key) {
    if (!m->count) return NULL;
    size_t mask = m->cap - 1, hole = place_of(m, key);
    void *removed = m->entries[hole].value;
    if (!removed) return NULL;
    m->count--;
    for (size_t i = (hole + 1) & mask; m->entries[i].value; i = (i + 1) & mask) {
        size_t home = (size_t)hash_u64(m->entries[i].key) & mask;
        if (((i - home) & mask) < ((i - hole) & mask)) continue; /* it may not move before its home */
        m->entries[hole] = m->entries[i];
        hole = i;
    }
    m->entries[hole] = (struct map_entry){0};
    return removed;
}

void map_clear(struct map *m) {
    if (m->cap) memset(m->entries, 0, m->cap * sizeof(*m->entries));
    m->count = 0;
}

struct map_entry *map_next(const struct map *m, size_t *position) {
    while (*position < m->cap) {
        struct map_entry *e = &m->entries[(*position)++];
        if (e->value) return e;
    }
    return NULL;
}
