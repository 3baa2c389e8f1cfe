/*
 * Fan-out plan: which entries go to which timeline on which node. Pure: no I/O, no clock, no allocation but the arena.
 *
 * Input: jobs (a post and a slice of its author's followers). Output: for every node a list of targets in ascending
 * user id, each with all entries that wait for this user in this batch (coalesced: one LPUSHX with several members,
 * oldest first so that the newest ends at the head). A user without a location (no live node) is counted as unplaced:
 * its timeline cannot exist, so nothing is owed to it.
 */
#ifndef DOMAIN_PLAN_H
#define DOMAIN_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/domain/entry.h"

struct plan_job {
    struct entry entry;
    const unsigned char *followers; /* (ref) packed big-endian 64-bit user ids, ascending */
    size_t follower_count;
    bool with_author; /* deliver to the author's own timeline as well (first slice) */
};

struct plan_location {
    uint16_t node; /* 0 .. node_count-1 */
    uint32_t generation;
};
/* False when the user has no live node. Must give the same answer for the same user during one plan. */
typedef bool plan_locate_fn(void *ctx, uint64_t user_id, struct plan_location *ret);

struct plan_target {
    uint64_t user_id;
    uint32_t generation;
    uint32_t entry_count;
    const struct entry *entries; /* (ref: arena) oldest first, no duplicates */
};
struct plan_node {
    struct plan_target *targets; /* (ref: arena) */
    size_t target_count;
    size_t entry_count; /* sum over targets */
};
struct plan {
    struct plan_node *nodes; /* (ref: arena) node_count of them */
    size_t node_count;
    size_t unplaced; /* deliveries with no live node */
};

void plan_build(const struct plan_job *jobs, size_t job_count, size_t node_count, plan_locate_fn *locate, void *ctx,
                struct arena *arena, struct plan *ret);

#endif
