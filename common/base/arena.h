/* Arena: memory of one request or one job, freed all at once. One owner, one thread. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>

struct arena_block;
struct arena {
    struct arena_block *blocks; /* (own) newest first */
    size_t block_size;          /* bytes of an ordinary block */
    size_t total;               /* bytes handed out since the last reset */
};

void arena_init(struct arena *a, size_t block_size); /* allocates nothing yet; block_size 0 means 4096 */
void arena_fini(struct arena *a);                    /* frees everything; may be initialised again */
void arena_reset(struct arena *a);                   /* forgets all, keeps one ordinary block for reuse */
void *arena_alloc(struct arena *a, size_t size);     /* aligned to 16, uninitialised, lives until reset or fini */
void *arena_zalloc(struct arena *a, size_t size);
void *arena_array(struct arena *a, size_t count, size_t size); /* uninitialised; aborts when count * size overflows */
void *arena_dup(struct arena *a, const void *bytes, size_t size);
char *arena_strndup(struct arena *a, const char *s, size_t size); /* NUL-terminated */
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define ARENA_NEW(a, type)          ((type *)arena_zalloc((a), sizeof(type)))
#define ARENA_ARRAY(a, type, count) ((type *)arena_array((a), (count), sizeof(type)))

#endif
