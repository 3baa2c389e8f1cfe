/*
 * Codec of timeline elements, and putting fetched entries in order. A list is nearly always in order already (late ids
 * are rare), so normalising first looks, then tries a few moves, and sorts only a list that is really out of order.
 */
#include "common/domain/entry.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/domain/id.h"

static bool is_id(uint64_t v) {
    return v != 0 && v <= ID_MAX;
}

void entry_encode(struct entry e, unsigned char ret[static ENTRY_BYTES]) {
    be64_store(ret, e.post_id);
    be64_store(ret + 8, e.author_id);
}

bool entry_decode(const void *bytes, size_t len, struct entry *ret) {
    if (len != ENTRY_BYTES) return false;
    struct entry e = {.post_id = be64_load(bytes), .author_id = be64_load((const unsigned char *)bytes + 8)};
    if (!is_id(e.post_id) || !is_id(e.author_id)) return false;
    *ret = e;
    return true;
}

void timeline_header_encode(struct timeline_header h, unsigned char ret[static TIMELINE_HEADER_BYTES]) {
    memset(ret, 0, 8);
    ret[0] = TIMELINE_FORMAT;
    ret[1] = (unsigned char)h.state;
    be64_store(ret + 8, h.nonce);
    be64_store(ret + 16, h.mark);
}

bool timeline_header_decode(const void *bytes, size_t len, struct timeline_header *ret) {
    const unsigned char *b = bytes;
    static const unsigned char zero[6];
    if (len != TIMELINE_HEADER_BYTES || b[0] != TIMELINE_FORMAT || memcmp(b + 2, zero, sizeof(zero)) != 0) return false;
    if (b[1] != TIMELINE_BUILDING && b[1] != TIMELINE_COMPLETE) return false;
    *ret = (struct timeline_header){(enum timeline_state)b[1], be64_load(b + 8), be64_load(b + 16)};
    return true;
}

/* Newest first; entries of the same post (only corrupt data has two authors for one) in a fixed order. */
static int compare(const void *left, const void *right) {
    const struct entry *a = left, *b = right;
    if (a->post_id != b->post_id) return a->post_id > b->post_id ? -1 : 1;
    return (a->author_id > b->author_id) - (a->author_id < b->author_id);
}

/* Insertion sort that gives up (leaving a permutation) after so many moves. */
static bool sort_nearly_sorted(struct entry *e, size_t count, size_t moves) {
    for (size_t i = 1; i < count; i++) {
        struct entry late = e[i];
        size_t at = i;
        while (at > 0 && compare(&e[at - 1], &late) > 0) {
            e[at] = e[at - 1];
            at--;
            if (moves-- == 0) {
                e[at] = late;
                return false;
            }
        }
        e[at] = late;
    }
    return true;
}

size_t entries_normalise(struct entry *entries, size_t count) {
    size_t ordered = 1;
    while (ordered < count && entries[ordered - 1].post_id > entries[ordered].post_id) ordered++;
    if (ordered >= count) return count;
    if (!sort_nearly_sorted(entries, count, 8 * count)) qsort(entries, count, sizeof(*entries), compare);
    size_t kept = 1;
    for (size_t i = 1; i < count; i++) {
        if (entries[i].post_id != entries[kept - 1].post_id) entries[kept++] = entries[i];
    }
    return kept;
}
