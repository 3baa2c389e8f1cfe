/* Hash map from a 64-bit key to a pointer: open addressing, linear probing, xxHash-mixed. One owner, one thread. */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map_entry {
    uint64_t key;
    void *value; /* NULL marks a free place: values are never NULL */
};
struct map {
    struct map_entry *entries; /* (own) */
    size_t count;
    size_t cap; /* power of two, or 0 */
};
#define MAP_INIT ((struct map){0})

void map_fini(struct map *m);                            /* frees the table, not the values */
void *map_get(const struct map *m, uint64_t key);        /* NULL when absent */
void *map_put(struct map *m, uint64_t key, void *value); /* returns the value replaced, or NULL */
void *map_del(struct map *m, uint64_t key);              /* returns the value removed, or NULL */
void map_clear(struct map *m);
/* for (size_t i = 0; (e = map_next(m, &i));) ...; changing the map while walking is not allowed */
struct map_entry *map_next(const struct map *m, size_t *position);

#endif
