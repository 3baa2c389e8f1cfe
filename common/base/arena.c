/*
 * Arena: a chain of blocks, of which only the first is carved further.
 *
 *     blocks -> [ordinary, being carved] -> [large, exact] -> [ordinary, full] -> ...
 *
 * A request that does not fit into a quarter of an ordinary block gets a block of its own behind the first one, so that
 * it does not waste the rest of the block in use. Reset keeps the first block when it is an ordinary one: a request or
 * job that fits into one block costs no malloc from the second round on.
 */
#include "common/base/arena.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

#define ARENA_ALIGN         16
#define ARENA_DEFAULT_BLOCK 4096

struct arena_block {
    struct arena_block *next;
    size_t size; /* bytes of data */
    size_t used;
    _Alignas(ARENA_ALIGN) unsigned char data[];
};

static struct arena_block *block_new(size_t size) {
    if (size > SIZE_MAX - sizeof(struct arena_block)) abort();
    struct arena_block *b = mem_alloc(sizeof(*b) + size);
    b->size = size;
    b->used = 0;
    b->next = NULL;
    return b;
}

static void blocks_free(struct arena_block *b) {
    while (b) {
        struct arena_block *next = b->next;
        mem_free(b);
        b = next;
    }
}

void arena_init(struct arena *a, size_t block_size) {
    if (block_size > SIZE_MAX / 2) abort();
    size_t size = block_size ? block_size : ARENA_DEFAULT_BLOCK;
    *a = (struct arena){.block_size = (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1)};
}

void arena_fini(struct arena *a) {
    blocks_free(a->blocks);
    a->blocks = NULL;
    a->total = 0;
}

void arena_reset(struct arena *a) {
    struct arena_block *keep = a->blocks;
    a->total = 0;
    if (!keep) return;
    blocks_free(keep->next);
    keep->next = NULL;
    keep->used = 0;
    if (keep->size == a->block_size) return;
    mem_free(keep);
    a->blocks = NULL;
}

/* A block for size bytes, placed so that a first block with room left stays the first. */
static struct arena_block *arena_grow(struct arena *a, size_t size) {
    bool large = size > a->block_size / 4;
    struct arena_block *b = block_new(large ? size : a->block_size);
    if (large && a->blocks) {
        b->next = a->blocks->next;
        a->blocks->next = b;
    } else {
        b->next = a->blocks;
        a->blocks = b;
    }
    return b;
}

void *arena_alloc(struct arena *a, size_t size) {
    if (size > SIZE_MAX - ARENA_ALIGN) abort();
    size_t room = (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    struct arena_block *b = a->blocks;
    if (!b || b->size - b->used < room) b = arena_grow(a, room);
    void *p = b->data + b->used;
    b->used += room;
    a->total += room;
    return p;
}

void *arena_array(struct arena *a, size_t count, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) abort();
    return arena_alloc(a, bytes);
}

void *arena_zalloc(struct arena *a, size_t size) {
    void *p = arena_alloc(a, size);
    memset(p, 0, size);
    return p;
}

void *arena_dup(struct arena *a, const void *bytes, size_t size) {
    void *p = arena_alloc(a, size);
    if (size) memcpy(p, bytes, size);
    return p;
}

char *arena_strndup(struct arena *a, const char *s, size_t size) {
    if (size == SIZE_MAX) abort();
    char *p = arena_alloc(a, size + 1);
    if (size) memcpy(p, s, size);
    p[size] = '\0';
    return p;
}

char *arena_printf(struct arena *a, const char *fmt, ...) {
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (len < 0) abort(); /* a bad format or an encoding error: a bug */
    char *p = arena_alloc(a, (size_t)len + 1);
    vsnprintf(p, (size_t)len + 1, fmt, again);
    va_end(again);
    return p;
}
