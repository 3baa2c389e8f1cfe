/*
 * Relations of one reader: the gate of every read. Which authors' posts may be in the feed, which users are hidden.
 *
 * Encoded (and cached) as: version 1 byte, zero 7 bytes, followee count 8 bytes, hidden count 8 bytes, muted count 8
 * bytes, then three ascending arrays of big-endian 64-bit user ids: followees; hidden (blocked in either direction);
 * muted by the reader. The decoded form borrows the bytes and answers by binary search, so a cached value is used as it
 * came.
 */
#ifndef DOMAIN_RELATIONS_H
#define DOMAIN_RELATIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"

#define RELATIONS_FORMAT 1

struct relations {
    uint64_t reader_id;
    const unsigned char *followees; /* (ref: encoded bytes), packed big-endian */
    size_t followee_count;
    const unsigned char *hidden;
    size_t hidden_count;
    const unsigned char *muted;
    size_t muted_count;
};

/* Three packed arrays, ascending, len a multiple of 8. Appends. */
void relations_encode(struct str followees, struct str hidden, struct str muted, struct buf *to);
/* ERR_CORRUPT; checks sizes and format */
enum err relations_decode(uint64_t reader_id, struct str bytes, struct relations *ret);
bool relations_follows(const struct relations *r, uint64_t user_id);
bool relations_hides(const struct relations *r, uint64_t user_id); /* blocked, either way */
bool relations_mutes(const struct relations *r, uint64_t user_id);
/* The gate of the feed: self, or followed and neither hidden nor muted. */
bool relations_admits(const struct relations *r, uint64_t author_id);

#endif
