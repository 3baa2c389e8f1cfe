/* Watch: compares the placement with what was seen before and logs the difference. Nothing else depends on it. */
#include "fanoutd/watch.h"

#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/sys/log.h"

struct watch {
    struct placement *placement; /* (ref) */
    bool had_lease;
    uint64_t versions[TIER_COUNT];
    struct map states; /* node id -> state + 1 */
};

struct watch *watch_new(struct placement *placement) {
    struct watch *w = NEW(struct watch);
    w->placement = placement;
    return w;
}

void watch_free(struct watch **w) {
    if (!*w) return;
    map_fini(&(*w)->states);
    mem_free(*w);
    *w = NULL;
}

static const char *state_name(enum node_state s) {
    return s == NODE_ACTIVE ? "active" : s == NODE_EJECTED ? "ejected" : "removed";
}

static void look_at_node(struct watch *w, enum tier tier, const struct node *node, bool tell) {
    uintptr_t now = (uintptr_t)node->state + 1;
    uintptr_t before = (uintptr_t)map_put(&w->states, node->id, (void *)now);
    if (before == now || !tell || (!before && node->state == NODE_ACTIVE)) return;
    log_line(node->state == NODE_EJECTED ? LOG_WARN : LOG_INFO, "cache node %s: tier=%s node=%s address=%s",
             state_name(node->state), tier_name(tier), node->name, node->address);
}

void watch_look(struct watch *w, bool tell_nodes) {
    const struct placement_view *view = placement_acquire(w->placement);
    if (!view) {
        if (w->had_lease) log_warn("placement lease lapsed: PostgreSQL does not answer, nothing is delivered");
        w->had_lease = false;
        return;
    }
    if (!w->had_lease) log_info("placement lease held");
    w->had_lease = true;
    for (int t = 0; t < TIER_COUNT; t++) {
        enum tier tier = (enum tier)t;
        if (placement_version(view, tier) == w->versions[t]) continue;
        w->versions[t] = placement_version(view, tier);
        size_t count;
        const struct node *nodes = placement_nodes(view, tier, &count);
        for (size_t i = 0; i < count; i++) look_at_node(w, tier, &nodes[i], tell_nodes);
    }
    placement_release(view);
}
