/* The synthetic graph. User ids are minted as of January 2024, one a millisecond, so that no two are alike. */
#include "bench/synthetic.h"

#include <math.h>

#include "bench/zipf.h"
#include "common/base/mem.h"
#include "common/domain/id.h"

enum { VARIED_MIN = 50, VARIED_MAX = 1000 };

static uint64_t *make_users(uint64_t count, uint64_t first_ms, struct rng *r) {
    uint64_t *ids = NEW_ARRAY(uint64_t, count + 1);
    for (uint64_t i = 0; i < count; i++)
        ids[i] = id_at_unix_ms(ID_EPOCH_MS + first_ms + i) | rng_below(r, ID_SHARDS) << 12;
    return ids;
}

static void add_follow(struct synthetic *g, uint64_t follower, uint64_t followee) {
    g->follows[g->follow_count++] = (struct follow){follower, followee};
}

/* A pack of shuffled readers; a hand that would straddle two shuffles could hold a reader twice, so it is dealt from a
 * new one. */
struct pack {
    size_t *order; /* (own) */
    size_t at, n;
    struct rng *rng;
};

static void deal(struct synthetic *g, struct pack *p, uint64_t count, uint64_t author) {
    if (p->at + count > p->n) {
        shuffle_order(p->order, p->n, p->rng);
        p->at = 0;
    }
    for (uint64_t i = 0; i < count; i++) add_follow(g, g->readers[p->order[p->at++]], author);
}

static uint64_t varied_followers(const struct synthetic_size *s, uint64_t i) {
    uint64_t most = s->readers < VARIED_MAX ? s->readers : VARIED_MAX;
    uint64_t least = most < VARIED_MIN ? most : VARIED_MIN;
    double share = s->varied > 1 ? (double)i / (double)(s->varied - 1) : 1;
    return (uint64_t)llround((double)least * pow((double)most / (double)least, share));
}

void synthetic_init(struct synthetic *g, const struct synthetic_size *size) {
    struct rng r = {.state = size->seed};
    *g = (struct synthetic){.size = *size};
    uint64_t first = 86400000;
    g->readers = make_users(size->readers, first, &r);
    g->authors = make_users(size->authors, first + size->readers, &r);
    g->varied = make_users(size->varied, first + size->readers + size->authors, &r);
    g->follows = NEW_ARRAY(struct follow, size->authors * size->followers + size->varied * VARIED_MAX + 1);
    struct pack p = {.order = NEW_ARRAY(size_t, size->readers), .at = size->readers, .n = size->readers, .rng = &r};
    for (uint64_t i = 0; i < size->authors; i++) deal(g, &p, size->followers, g->authors[i]);
    for (uint64_t i = 0; i < size->varied; i++) deal(g, &p, varied_followers(size, i), g->varied[i]);
    mem_free(p.order);
}

void synthetic_fini(struct synthetic *g) {
    mem_free(g->readers);
    mem_free(g->authors);
    mem_free(g->varied);
    mem_free(g->follows);
    *g = (struct synthetic){0};
}

uint64_t synthetic_post_id(const struct synthetic *g, uint64_t author, uint64_t k, uint64_t end_ms, uint64_t span_ms) {
    struct rng r = {.state = g->size.seed ^ hash_u64(author + k * 0x9e3779b97f4a7c15)};
    uint64_t step = span_ms / g->size.posts;
    uint64_t ms = end_ms - span_ms + k * step + rng_below(&r, step ? step : 1);
    return id_at_unix_ms(ms) | (uint64_t)id_shard(author) << 12 | rng_below(&r, 4096);
}

int follow_by_key(const void *a, const void *b) {
    const struct follow *x = a, *y = b;
    uint16_t s = id_shard(x->follower), t = id_shard(y->follower);
    if (s != t) return s < t ? -1 : 1;
    if (x->follower != y->follower) return x->follower < y->follower ? -1 : 1;
    return x->followee < y->followee ? -1 : x->followee > y->followee;
}
