/*
 * 64-bit ids: 41 bits milliseconds since 2024-01-01T00:00:00Z | 10 bits logical shard | 12 bits sequence; the sign bit
 * is 0.
 *
 * Minted by PostgreSQL in the statement that inserts (schema/: function mint_id). The shard of a post is its author's
 * shard, so the id tells in which partition every row about it lives. Id order is close to, but not, commit order.
 * In JSON ids are decimal strings. 0 is no id.
 */
#ifndef DOMAIN_ID_H
#define DOMAIN_ID_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"

#define ID_EPOCH_MS UINT64_C(1704067200000) /* 2024-01-01T00:00:00Z in Unix milliseconds */
#define ID_SHARDS   1024
#define ID_MAX      INT64_MAX
#define ID_TEXT_MAX 20 /* decimal digits and NUL */

static inline uint16_t id_shard(uint64_t id) {
    return (uint16_t)(id >> 12 & 0x3ff);
}
static inline uint64_t id_unix_ms(uint64_t id) {
    return (id >> 22) + ID_EPOCH_MS;
}
/* The smallest id that can be minted at or after this time (0 for times before the epoch). */
static inline uint64_t id_at_unix_ms(uint64_t unix_ms) {
    return unix_ms < ID_EPOCH_MS ? 0 : (unix_ms - ID_EPOCH_MS) << 22;
}
/* id + a span of milliseconds, saturating at ID_MAX. */
uint64_t id_plus_ms(uint64_t id, uint64_t ms);
/* Decimal, 1..ID_MAX, no leading zero; false leaves *ret alone. */
bool id_parse(struct str text, uint64_t *ret);

#endif
