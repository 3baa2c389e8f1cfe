/* Placement and connections for commands that write timelines themselves. The lease is renewed while the loop runs. */
#include "bench/nodes.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"

enum { READY_MS = 15000, POLL_MS = 20, PENDING_MAX = 100000 };

struct wait {
    struct loop_timer timer;
    struct nodes *nodes;
    uint64_t until_ms;
};

static void look(struct loop_timer *t) {
    struct wait *w = CONTAINER_OF(t, struct wait, timer);
    if (placement_ready(w->nodes->placement) || clock_mono_ms() > w->until_ms)
        loop_stop(w->nodes->loop);
    else
        loop_timer_start(w->nodes->loop, t, POLL_MS);
}

bool nodes_init(struct nodes *n, struct bench *b) {
    n->loop = loop_new();
    n->pool = pg_pool_new(n->loop, &(struct pg_pool_options){.conninfo = b->options.conninfo,
                                                             .connections = 1,
                                                             .depth = 4,
                                                             .max_waiting = 64,
                                                             .timeout_ms = 5000,
                                                             .application_name = "fanfare-bench"});
    n->placement = placement_new(n->loop, n->pool);
    n->redis = redis_set_new(n->loop, (uint64_t)b->options.redis_timeout_ms, PENDING_MAX);
    struct wait w = {.timer = {.fire = look}, .nodes = n, .until_ms = clock_mono_ms() + READY_MS};
    loop_timer_start(n->loop, &w.timer, 0);
    loop_run(n->loop);
    loop_timer_stop(&w.timer);
    if (placement_ready(n->placement)) return true;
    bench_fail("no placement of cache nodes within %d s: %s", READY_MS / 1000, pg_pool_error(n->pool));
    nodes_fini(n);
    return false;
}

void nodes_fini(struct nodes *n) {
    placement_free(&n->placement);
    redis_set_free(&n->redis);
    pg_pool_free(&n->pool);
    loop_free(&n->loop);
}

struct memory {
    struct nodes *nodes;
    uint64_t bytes;
    size_t open;
    bool failed;
};

static void on_info(void *ctx, enum err err, const struct redis_reply *r) {
    struct memory *m = ctx;
    struct str text = err == ERR_OK ? redis_str(r) : STR("");
    const char *at = text.len ? memmem(text.data, text.len, "used_memory:", 12) : NULL;
    if (at)
        m->bytes += strtoull(at + 12, NULL, 10);
    else
        m->failed = true;
    if (--m->open == 0) loop_stop(m->nodes->loop);
}

bool nodes_used_memory(struct nodes *n, uint64_t *ret_bytes) {
    struct memory m = {.nodes = n};
    const struct placement_view *v = placement_acquire(n->placement);
    size_t count = 0;
    const struct node *list = v ? placement_nodes(v, TIER_TIMELINE, &count) : NULL;
    const struct str command[] = {STR("INFO"), STR("memory")};
    for (size_t i = 0; i < count; i++) {
        if (list[i].state != NODE_ACTIVE) continue;
        if (redis_command(redis_set_get(n->redis, list[i].address), on_info, &m, 2, command) == ERR_OK)
            m.open++;
        else
            m.failed = true;
    }
    if (m.open) loop_run(n->loop);
    placement_release(v);
    if (count && !m.failed) {
        *ret_bytes = m.bytes;
        return true;
    }
    bench_fail("cannot ask the timeline nodes for their memory");
    return false;
}
