/* Lists of ids by id, loaded from the tables in one statement: followers of authors, followees of readers, posts of
 * authors. */
#ifndef BENCH_IDLISTS_H
#define BENCH_IDLISTS_H

#include "bench/bench.h"
#include "common/base/map.h"

struct idlist {
    uint64_t owner;
    size_t count;
    uint64_t ids[];
};
struct idlists {
    struct map by_owner; /* owner -> struct idlist (own) */
    uint64_t total;      /* ids in all lists */
};
#define IDLISTS_FOLLOWERS                                                                                              \
    "SELECT followee, string_agg(int8send(follower), ''::bytea ORDER BY follower) FROM followers GROUP BY followee"
#define IDLISTS_FOLLOWEES "SELECT follower, string_agg(int8send(followee), ''::bytea) FROM following GROUP BY follower"
#define IDLISTS_POSTS                                                                                                  \
    "SELECT author_id, string_agg(int8send(id), ''::bytea ORDER BY id DESC) FROM posts WHERE deleted_at IS NULL "      \
    "GROUP BY author_id"
/* sql: rows of (owner, ids as 8 big-endian bytes each). Blocking; false: why was printed. */
bool idlists_load(struct bench *b, const char *sql, struct idlists *ret);
void idlists_fini(struct idlists *l);
const struct idlist *idlists_get(const struct idlists *l, uint64_t owner); /* NULL: empty */

#endif
