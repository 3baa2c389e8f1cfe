/*
 * Generic cell rate algorithm over a fixed, set-associative table.
 *
 *   full_at: when the bucket will be full again (0 or past: it is full). Taking a token moves it by one interval; that
 * is allowed while full_at stays within burst * interval of now.
 *
 *   table: SHARDS locks, each over SETS sets of WAYS buckets. A key can only be in its own set. Invariant: no key twice
 * in a set.
 */
#include "feedd/limits.h"

#include <math.h>
#include <pthread.h>
#include <stddef.h>

#include "common/base/hash.h"
#include "common/base/mem.h"

#define SHARDS   64
#define SETS     256
#define WAYS     8
#define NS_PER_S 1000000000ull

struct bucket {
    uint64_t key;
    uint64_t full_at; /* ns; 0: free place */
};
struct shard {
    pthread_mutex_t lock;
    struct bucket buckets[LIMIT_KINDS][SETS][WAYS];
};
struct rate {
    uint64_t interval_ns; /* 0: no limit */
    uint64_t span_ns;     /* interval * burst */
    uint32_t burst;
};
struct limits {
    struct rate rates[LIMIT_KINDS];
    struct shard shards[SHARDS];
};

struct limits *limits_new(const struct limit_rate rates[static LIMIT_KINDS]) {
    struct limits *l = NEW(struct limits);
    for (int k = 0; k < LIMIT_KINDS; k++) {
        if (rates[k].per_s <= 0) continue;
        uint64_t interval = (uint64_t)ceil((double)NS_PER_S / rates[k].per_s);
        l->rates[k] = (struct rate){interval, interval * rates[k].burst, rates[k].burst};
    }
    for (int i = 0; i < SHARDS; i++) pthread_mutex_init(&l->shards[i].lock, NULL);
    return l;
}

void limits_free(struct limits **l) {
    if (!*l) return;
    for (int i = 0; i < SHARDS; i++) pthread_mutex_destroy(&(*l)->shards[i].lock);
    mem_free(*l);
    *l = NULL;
}

/* The key's bucket, or the place for it: free, else the one that is (or will first be) full. */
static struct bucket *bucket_of(struct bucket *set, uint64_t key) {
    struct bucket *victim = &set[0];
    for (int i = 0; i < WAYS; i++) {
        if (set[i].full_at && set[i].key == key) return &set[i];
        if (set[i].full_at < victim->full_at) victim = &set[i];
    }
    *victim = (struct bucket){.key = key};
    return victim;
}

static uint32_t seconds_up(uint64_t ns) {
    return (uint32_t)((ns + NS_PER_S - 1) / NS_PER_S);
}

struct limit_verdict limits_take(struct limits *l, enum limit_kind kind, uint64_t key, uint64_t now_ns) {
    if (kind >= LIMIT_KINDS || !l->rates[kind].interval_ns) return (struct limit_verdict){.allowed = true};
    const struct rate *rate = &l->rates[kind];
    uint64_t h = hash_u64(key);
    struct shard *shard = &l->shards[h % SHARDS];
    pthread_mutex_lock(&shard->lock);
    struct bucket *b = bucket_of(shard->buckets[kind][h / SHARDS % SETS], key);
    uint64_t full_at = b->full_at > now_ns ? b->full_at : now_ns;
    bool allowed = full_at + rate->interval_ns - now_ns <= rate->span_ns;
    if (allowed) full_at += rate->interval_ns;
    b->full_at = full_at;
    pthread_mutex_unlock(&shard->lock);

    uint64_t used = full_at - now_ns;
    uint64_t wait = allowed ? 0 : used + rate->interval_ns - rate->span_ns;
    return (struct limit_verdict){
        .limited = true,
        .allowed = allowed,
        .limit = rate->burst,
        .remaining = used >= rate->span_ns ? 0 : (uint32_t)((rate->span_ns - used) / rate->interval_ns),
        .reset_s = seconds_up(used),
        .retry_after_s = seconds_up(wait),
    };
}

const char *limit_kind_name(enum limit_kind kind) {
    static const char *const NAMES[] = {"posts", "reads", "sign_in", "handle", "none"};
    return NAMES[kind];
}
