/*
 * Timeline entry and timeline header: what the elements of a timeline in Redis look like.
 *
 * A timeline is a list, newest pushes at the head, and its last element is the header, so entries, completeness mark
 * and nonce are lost together:
 *
 *     head                                                     tail
 *     [entry] [entry] [entry] ... [entry] [header]
 *
 *   entry   16 bytes: post id, author id (big-endian)
 *   header  24 bytes: format version (1), state (1), zero (6), nonce (8), mark (8), big-endian
 *
 * State building: pushes land, nothing may be served. State complete: every post of the feed with id >= mark is in the
 * list (mark 0: all of history). What lies below the mark is trusted by nobody. Another format version reads as a miss.
 */
#ifndef DOMAIN_ENTRY_H
#define DOMAIN_ENTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ENTRY_BYTES           16
#define TIMELINE_HEADER_BYTES 24
#define TIMELINE_FORMAT       1

struct entry {
    uint64_t post_id;
    uint64_t author_id;
};

enum timeline_state { TIMELINE_BUILDING = 1, TIMELINE_COMPLETE = 2 };

struct timeline_header {
    enum timeline_state state;
    uint64_t nonce; /* of the builder; a fill needs it */
    uint64_t mark;  /* complete for ids >= mark */
};

void entry_encode(struct entry e, unsigned char ret[static ENTRY_BYTES]);
bool entry_decode(const void *bytes, size_t len, struct entry *ret); /* false: not 16 bytes, or not ids (0, sign bit) */
void timeline_header_encode(struct timeline_header h, unsigned char ret[static TIMELINE_HEADER_BYTES]);
/* false: other size, format or state */
bool timeline_header_decode(const void *bytes, size_t len, struct timeline_header *ret);

/* Sorts newest first and drops duplicates of a post id, in place; returns the new count. O(n) when already in order. */
size_t entries_normalise(struct entry *entries, size_t count);

#endif
