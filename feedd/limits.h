/*
 * Token buckets, one a key (user, client address, handle) and kind, shared by all workers: GCRA, so a bucket is one
 * number, the time at which it will be full again. Memory is fixed at start. A bucket that is full needs no memory;
 * when a set of buckets has no room, the one that is fullest is forgotten, which only ever favours its user.
 */
#ifndef FEEDD_LIMITS_H
#define FEEDD_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

/* By user: posts, reads. By client address: sign-in (sign-up and log-in). By handle: log-ins. */
enum limit_kind { LIMIT_POSTS, LIMIT_READS, LIMIT_SIGN_IN, LIMIT_HANDLE, LIMIT_KINDS, LIMIT_NONE = LIMIT_KINDS };

struct limit_rate {
    double per_s;   /* tokens a second; 0: no limit */
    uint32_t burst; /* tokens a full bucket holds, >= 1 */
};
struct limit_verdict {
    bool limited; /* this kind has a limit: the rest is set */
    bool allowed; /* a token was taken */
    uint32_t limit;
    uint32_t remaining;
    uint32_t reset_s;       /* until the bucket is full, rounded up */
    uint32_t retry_after_s; /* until there is a token, rounded up, at least 1; 0 when allowed */
};

struct limits;
struct limits *limits_new(const struct limit_rate rates[static LIMIT_KINDS]);
void limits_free(struct limits **l);
/* now_ns: clock_mono_ns. Any thread; holds one of many locks for some nanoseconds. */
struct limit_verdict limits_take(struct limits *l, enum limit_kind kind, uint64_t key, uint64_t now_ns);
const char *limit_kind_name(enum limit_kind kind); /* "posts", "reads", "sign_in" */

#endif
