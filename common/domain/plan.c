/*
 * Fan-out plan. Runs for every delivery, so it is linear passes over flat arrays:
 *
 *   jobs in post id order      -> one ascending run of (user, job) each       load
 *   k runs                     -> one ascending run, by rounds of merging     merge (none for a single job)
 *   neighbours of one user     -> a target with its entries, located once     group
 *   targets                    -> the arrays of their nodes                   scatter (none for a single node)
 *
 * Invariants: merging is stable and the runs lie in post id order, so a user's entries come out oldest first and the
 * same post twice comes out side by side, where it is dropped. A follower list out of order (it never should be) costs
 * coalescing, never memory safety: a user may then get several targets.
 */
#include "common/domain/plan.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"

struct delivery {
    uint64_t user_id;
    size_t job; /* index into the ordered jobs */
};

struct runs {
    struct delivery *items;
    size_t *starts; /* count + 1 of them: run i is items[starts[i]] .. items[starts[i + 1] - 1] */
    size_t count;
};

static int by_post(const void *left, const void *right) {
    const struct plan_job *a = left, *b = right;
    return (a->entry.post_id > b->entry.post_id) - (a->entry.post_id < b->entry.post_id);
}

/* The jobs, oldest post first; the caller's array when it is so already. */
static const struct plan_job *order_jobs(const struct plan_job *jobs, size_t count, struct arena *arena) {
    size_t ordered = 1;
    while (ordered < count && jobs[ordered - 1].entry.post_id <= jobs[ordered].entry.post_id) ordered++;
    if (ordered >= count) return jobs;
    struct plan_job *sorted = ARENA_ARRAY(arena, struct plan_job, count);
    memcpy(sorted, jobs, count * sizeof(*sorted));
    qsort(sorted, count, sizeof(*sorted), by_post);
    return sorted;
}

/* One job's run: its followers, and the author in his place (twice the same is dropped by collect). Returns the end. */
static struct delivery *load_job(const struct plan_job *job, size_t index, struct delivery *to) {
    const unsigned char *at = job->followers, *end = at + job->follower_count * 8;
    uint64_t author = job->entry.author_id;
    if (job->with_author) {
        for (; at < end && be64_load(at) < author; at += 8) *to++ = (struct delivery){be64_load(at), index};
        *to++ = (struct delivery){author, index};
    }
    for (; at < end; at += 8) *to++ = (struct delivery){be64_load(at), index};
    return to;
}

static struct runs load(const struct plan_job *jobs, size_t job_count, struct arena *arena) {
    size_t most = 0;
    for (size_t i = 0; i < job_count; i++) {
        size_t some;
        if (__builtin_add_overflow(jobs[i].follower_count, jobs[i].with_author, &some) ||
            __builtin_add_overflow(most, some, &most)) {
            abort();
        }
    }
    struct runs r = {ARENA_ARRAY(arena, struct delivery, most), ARENA_ARRAY(arena, size_t, job_count + 1), 0};
    struct delivery *to = r.items;
    for (size_t i = 0; i < job_count; i++) {
        r.starts[r.count] = (size_t)(to - r.items);
        struct delivery *end = load_job(&jobs[i], i, to);
        if (end > to) r.count++;
        to = end;
    }
    r.starts[r.count] = (size_t)(to - r.items);
    return r;
}

/* Stable; no branch depends on which side is smaller, since that cannot be predicted. */
static void merge_two(const struct delivery *a, const struct delivery *a_end, const struct delivery *b,
                      const struct delivery *b_end, struct delivery *to) {
    while (a < a_end && b < b_end) {
        size_t second = b->user_id < a->user_id;
        const struct delivery *from[2] = {a, b};
        *to++ = *from[second];
        a += 1 - second;
        b += second;
    }
    memcpy(to, a, (size_t)(a_end - a) * sizeof(*to));
    to += a_end - a;
    memcpy(to, b, (size_t)(b_end - b) * sizeof(*to));
}

/* Merges neighbouring runs, round by round, until one is left. Returns the number of items. */
static size_t merge(struct runs *r, struct arena *arena) {
    size_t total = r->starts[r->count];
    struct delivery *spare = r->count > 1 ? ARENA_ARRAY(arena, struct delivery, total) : NULL;
    while (r->count > 1) {
        size_t merged = 0;
        for (size_t i = 0; i < r->count; i += 2) {
            size_t from = r->starts[i], middle = r->starts[i + 1];
            size_t to = i + 1 < r->count ? r->starts[i + 2] : middle;
            merge_two(r->items + from, r->items + middle, r->items + middle, r->items + to, spare + from);
            r->starts[merged++] = from;
        }
        r->starts[merged] = total;
        r->count = merged;
        struct delivery *items = r->items;
        r->items = spare;
        spare = items;
    }
    return total;
}

/* Entries of one user's deliveries, duplicates dropped. entries is the room for count of them. */
static uint32_t collect(const struct plan_job *jobs, const struct delivery *d, size_t count, struct entry *entries) {
    uint32_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        struct entry e = jobs[d[i].job].entry;
        if (kept == 0 || entries[kept - 1].post_id != e.post_id) entries[kept++] = e;
    }
    return kept;
}

struct grouping {
    struct plan_target *targets;
    uint16_t *nodes; /* of each target */
    size_t count;
};

static struct grouping group(const struct plan_job *jobs, const struct delivery *items, size_t total,
                             plan_locate_fn *locate, void *ctx, struct arena *arena, struct plan *plan) {
    struct grouping g = {ARENA_ARRAY(arena, struct plan_target, total), ARENA_ARRAY(arena, uint16_t, total), 0};
    struct entry *entries = ARENA_ARRAY(arena, struct entry, total);
    for (size_t i = 0, next; i < total; i = next) {
        uint64_t user = items[i].user_id;
        for (next = i + 1; next < total && items[next].user_id == user; next++) {
        }
        uint32_t count = collect(jobs, items + i, next - i, entries);
        struct plan_location where;
        if (!locate(ctx, user, &where) || where.node >= plan->node_count) {
            plan->unplaced += count;
            continue;
        }
        g.targets[g.count] = (struct plan_target){user, where.generation, count, entries};
        entries += count;
        g.nodes[g.count++] = where.node;
        plan->nodes[where.node].target_count++;
        plan->nodes[where.node].entry_count += count;
    }
    return g;
}

static void scatter(const struct grouping *g, struct arena *arena, struct plan *plan) {
    if (plan->node_count == 1) {
        plan->nodes[0].targets = g->targets;
        return;
    }
    struct plan_target *room = ARENA_ARRAY(arena, struct plan_target, g->count);
    struct plan_target **ends = ARENA_ARRAY(arena, struct plan_target *, plan->node_count);
    for (size_t n = 0; n < plan->node_count; n++) {
        plan->nodes[n].targets = ends[n] = room;
        room += plan->nodes[n].target_count;
    }
    for (size_t i = 0; i < g->count; i++) *ends[g->nodes[i]]++ = g->targets[i];
}

void plan_build(const struct plan_job *jobs, size_t job_count, size_t node_count, plan_locate_fn *locate, void *ctx,
                struct arena *arena, struct plan *ret) {
    struct plan plan = {.nodes = ARENA_ARRAY(arena, struct plan_node, node_count), .node_count = node_count};
    for (size_t n = 0; n < node_count; n++) plan.nodes[n] = (struct plan_node){0};
    const struct plan_job *ordered = order_jobs(jobs, job_count, arena);
    struct runs runs = load(ordered, job_count, arena);
    size_t total = merge(&runs, arena);
    struct grouping g = group(ordered, runs.items, total, locate, ctx, arena, &plan);
    scatter(&g, arena, &plan);
    *ret = plan;
}
