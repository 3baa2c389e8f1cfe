/*
 * Relations as packed bytes. Decoding checks format and sizes (so no look-up can leave the bytes) but not the order of
 * the ids, which would cost a pass over up to thousands of them a read: the order is the encoder's promise, and the
 * bytes only come from the database by way of our own encoder. Out of order, a look-up may miss an id; it never reads
 * out of bounds.
 */
#include "common/domain/relations.h"

#include <string.h>

#define HEADER_BYTES 32
#define ID_BYTES     8

void relations_encode(struct str followees, struct str hidden, struct str muted, struct buf *to) {
    static const unsigned char version[8] = {RELATIONS_FORMAT};
    buf_reserve(to, HEADER_BYTES + followees.len + hidden.len + muted.len);
    buf_add(to, version, sizeof(version));
    buf_add_be64(to, followees.len / ID_BYTES);
    buf_add_be64(to, hidden.len / ID_BYTES);
    buf_add_be64(to, muted.len / ID_BYTES);
    buf_add(to, followees.data, followees.len / ID_BYTES * ID_BYTES);
    buf_add(to, hidden.data, hidden.len / ID_BYTES * ID_BYTES);
    buf_add(to, muted.data, muted.len / ID_BYTES * ID_BYTES);
}

enum err relations_decode(uint64_t reader_id, struct str bytes, struct relations *ret) {
    static const unsigned char version[8] = {RELATIONS_FORMAT};
    if (bytes.len < HEADER_BYTES || memcmp(bytes.data, version, sizeof(version)) != 0) return ERR_CORRUPT;
    if (bytes.len % ID_BYTES != 0) return ERR_CORRUPT;
    const unsigned char *at = (const unsigned char *)bytes.data;
    uint64_t left = (bytes.len - HEADER_BYTES) / ID_BYTES, counts[3];
    for (size_t i = 0; i < 3; i++) {
        counts[i] = be64_load(at + 8 + 8 * i);
        if (counts[i] > left) return ERR_CORRUPT; /* compared with what is left: no sum that could overflow */
        left -= counts[i];
    }
    if (left != 0) return ERR_CORRUPT;
    const unsigned char *followees = at + HEADER_BYTES;
    const unsigned char *hidden = followees + counts[0] * ID_BYTES;
    const unsigned char *muted = hidden + counts[1] * ID_BYTES;
    *ret = (struct relations){reader_id, followees, counts[0], hidden, counts[1], muted, counts[2]};
    return ERR_OK;
}

static bool contains(const unsigned char *ids, size_t count, uint64_t id) {
    size_t from = 0;
    while (count) {
        size_t half = count / 2;
        uint64_t middle = be64_load(ids + (from + half) * ID_BYTES);
        if (middle == id) return true;
        if (middle < id) {
            from += half + 1;
            count -= half + 1;
        } else {
            count = half;
        }
    }
    return false;
}

bool relations_follows(const struct relations *r, uint64_t user_id) {
    return contains(r->followees, r->followee_count, user_id);
}

bool relations_hides(const struct relations *r, uint64_t user_id) {
    return contains(r->hidden, r->hidden_count, user_id);
}

bool relations_mutes(const struct relations *r, uint64_t user_id) {
    return contains(r->muted, r->muted_count, user_id);
}

bool relations_admits(const struct relations *r, uint64_t author_id) {
    if (author_id == r->reader_id) return true;
    return relations_follows(r, author_id) && !relations_hides(r, author_id) && !relations_mutes(r, author_id);
}
