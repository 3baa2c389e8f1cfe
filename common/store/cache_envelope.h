/* Envelope of a cached value, see cache.h: format (1) | kind (1) | zero (6) | nonce (8) | payload. Private to the cache
 * rooms. Pure. */
#ifndef STORE_CACHE_ENVELOPE_H
#define STORE_CACHE_ENVELOPE_H

#include <string.h>

#include "common/store/cache.h"

static inline void envelope_encode(enum cache_kind kind, uint64_t nonce,
                                   unsigned char ret[static CACHE_ENVELOPE_BYTES]) {
    memset(ret, 0, CACHE_ENVELOPE_BYTES);
    ret[0] = CACHE_FORMAT;
    ret[1] = (unsigned char)kind;
    be64_store(ret + 8, nonce);
}

/* False: another format, or not an envelope at all. */
static inline bool envelope_decode(struct str raw, enum cache_kind *ret_kind, struct str *ret_payload) {
    if (raw.len < CACHE_ENVELOPE_BYTES || raw.data[0] != CACHE_FORMAT) return false;
    if (raw.data[1] < CACHE_VALUE || raw.data[1] > CACHE_PLACEHOLDER) return false;
    *ret_kind = (enum cache_kind)raw.data[1];
    *ret_payload = str_of(raw.data + CACHE_ENVELOPE_BYTES, raw.len - CACHE_ENVELOPE_BYTES);
    return true;
}

static inline bool envelope_is_placeholder_of(struct str raw, uint64_t nonce) {
    unsigned char want[CACHE_ENVELOPE_BYTES];
    envelope_encode(CACHE_PLACEHOLDER, nonce, want);
    return raw.len >= sizeof(want) && memcmp(raw.data, want, sizeof(want)) == 0;
}

#endif
