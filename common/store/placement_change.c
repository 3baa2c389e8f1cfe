/*
 * Changing a node's state, from any daemon.
 *
 *   placement_set_state (any thread) -> main loop: join a change to the same state, or begin one
 *     READ    the tier's table, one snapshot            the state is so already: HOLD for what may be left of its lease
 *     CHANGE  state and new owners, if the version is still the one read; moved meanwhile: READ again
 *     HOLD    one lease and the margin after the commit -> done, on the loop of each caller
 *
 * PostgreSQL decides: any number of daemons may change the same table at once, one of them wins each version and the
 * others compute again. Every step may be repeated, so an uncertain answer is answered by READ.
 */
#include <stdio.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/store/placement_internal.h"

#define ATTEMPTS 20
#define RETRY_MS 25
/* After so long a state found in the table holds everywhere: its commit cannot have lingered that much after
 * changed_at. */
#define SETTLED_MS 10000
#define WHY_MAX    200

struct waiter {
    struct list link;
    struct loop_task task; /* first to the main loop, then to the caller's */
    struct placement *placement;
    struct loop *loop;
    placement_done_fn *done;
    void *ctx;
    enum err err;
    uint16_t node_id;
    enum node_state state;
    char why[WHY_MAX];
};

struct change {
    struct list link;            /* placement.changes */
    struct placement *placement; /* (ref) NULL: gone, and the change goes with its callback */
    struct list waiters;
    struct loop_timer timer; /* retry or hold */
    bool asking;             /* a statement is on its way */
    unsigned attempts;
    uint16_t node_id;
    enum node_state state;
    char why[WHY_MAX];
};

static const char *const STATES[] = {"active", "ejected", "removed"};

static const struct pg_statement READ = {
    "placement_read", "SELECT t.id, t.version, placement_nodes(t.id), placement_slots(t.id),"
                      "       (extract(epoch FROM clock_timestamp() - n.changed_at) * 1000)::bigint"
                      "  FROM cache_nodes n JOIN cache_tiers t ON t.id = n.tier WHERE n.id = $1::integer"};

static const struct pg_statement CHANGE = {
    "placement_change",
    "SELECT change_placement($1::integer::smallint, $2::bigint, $3::integer::smallint, $4, $5, $6, $7)"};

static void read_table(struct change *c);

/* ---- the end ---- */

static void tell_waiter(struct loop_task *t) {
    struct waiter *w = CONTAINER_OF(t, struct waiter, task);
    w->done(w->ctx, w->err);
    mem_free(w);
}

static void finish(struct change *c, enum err err) {
    list_del(&c->link);
    loop_timer_stop(&c->timer);
    for (struct list *n; (n = list_pop(&c->waiters));) {
        struct waiter *w = CONTAINER_OF(n, struct waiter, link);
        w->err = err;
        w->task.run = tell_waiter;
        loop_post(w->loop, &w->task);
    }
    if (c->asking)
        c->placement = NULL;
    else
        mem_free(c);
}

static void held(struct loop_timer *t) {
    finish(CONTAINER_OF(t, struct change, timer), ERR_OK);
}

static void hold(struct change *c, uint64_t ms) {
    c->timer.fire = held;
    loop_timer_start(c->placement->loop, &c->timer, ms);
    placement_poll_now(c->placement);
}

static void retry_fired(struct loop_timer *t) {
    read_table(CONTAINER_OF(t, struct change, timer));
}

static void retry(struct change *c, enum err why) {
    if (++c->attempts >= ATTEMPTS) {
        finish(c, why);
        return;
    }
    c->timer.fire = retry_fired;
    loop_timer_start(c->placement->loop, &c->timer, random_u64() % RETRY_MS);
}

/* True: the change is still wanted. */
static bool answered(struct change *c) {
    c->asking = false;
    if (c->placement) return true;
    mem_free(c);
    return false;
}

/* ---- the steps ---- */

static void ask(struct change *c, const struct pg_statement *s, const struct pg_params *params, pg_done_fn *done) {
    enum err err = pg_exec(c->placement->pool, s, params, done, c);
    if (err == ERR_OK)
        c->asking = true;
    else
        finish(c, err);
}

static void changed(void *ctx, enum err err, const struct pg_result *r) {
    struct change *c = ctx;
    if (!answered(c)) return;
    if (err == ERR_BACKEND)
        finish(c, err);
    else if (err == ERR_OK && pg_bool(r, 0, 0))
        hold(c, PLACEMENT_LEASE_MS + PLACEMENT_MARGIN_MS);
    else
        retry(c, err == ERR_OK ? ERR_BUSY : err);
}

static void commit(struct change *c, uint64_t tier, const struct placement_table *t) {
    int32_t *slots = NEW_ARRAY(int32_t, RING_SLOTS), *owners = NEW_ARRAY(int32_t, RING_SLOTS);
    size_t count = placement_table_plan(t, c->node_id, c->state, slots, owners);
    struct arena arena;
    struct pg_params params;
    arena_init(&arena, 16384);
    pg_params_init(&params, &arena);
    pg_param_int4(&params, (int32_t)tier);
    pg_param_int8(&params, t->version);
    pg_param_int4(&params, c->node_id);
    pg_param_text(&params, str_c(STATES[c->state]));
    pg_param_text(&params, str_c(c->why));
    pg_param_int4_array(&params, slots, count);
    pg_param_int4_array(&params, owners, count);
    ask(c, &CHANGE, &params, changed);
    arena_fini(&arena);
    mem_free(slots);
    mem_free(owners);
}

static void have_table(void *ctx, enum err err, const struct pg_result *r) {
    struct change *c = ctx;
    if (!answered(c)) return;
    if (err == ERR_BACKEND || (err == ERR_OK && pg_rows(r) == 0)) {
        finish(c, err == ERR_OK ? ERR_NOT_FOUND : err);
        return;
    }
    if (err != ERR_OK) {
        retry(c, err);
        return;
    }
    struct placement_table *t;
    err = placement_table_decode(pg_int8(r, 0, 1), pg_text(r, 0, 2), pg_text(r, 0, 3), &t);
    if (err != ERR_OK) {
        finish(c, err);
        return;
    }
    if (placement_table_node(t, c->node_id)->state == c->state)
        hold(c, pg_int8(r, 0, 4) >= SETTLED_MS ? 0 : PLACEMENT_LEASE_MS + PLACEMENT_MARGIN_MS);
    else
        commit(c, pg_int8(r, 0, 0), t);
    placement_table_unref(t);
}

static void read_table(struct change *c) {
    struct arena arena;
    struct pg_params params;
    arena_init(&arena, 64);
    pg_params_init(&params, &arena);
    pg_param_int4(&params, c->node_id);
    ask(c, &READ, &params, have_table);
    arena_fini(&arena);
}

/* ---- the beginning ---- */

static void begin(struct loop_task *task) {
    struct waiter *w = CONTAINER_OF(task, struct waiter, task);
    struct placement *p = w->placement;
    for (struct list *n = p->changes.next; n != &p->changes; n = n->next) {
        struct change *other = CONTAINER_OF(n, struct change, link);
        if (other->node_id != w->node_id || other->state != w->state) continue;
        list_add_tail(&other->waiters, &w->link);
        return;
    }
    struct change *c = NEW(struct change);
    *c = (struct change){.placement = p, .node_id = w->node_id, .state = w->state};
    memcpy(c->why, w->why, sizeof c->why);
    list_init(&c->waiters);
    list_add_tail(&c->waiters, &w->link);
    list_add_tail(&p->changes, &c->link);
    read_table(c);
}

void placement_set_state(struct placement *p, uint16_t node_id, enum node_state state, const char *why,
                         struct loop *loop, placement_done_fn *done, void *ctx) {
    struct waiter *w = NEW(struct waiter);
    *w = (struct waiter){.task = {.run = begin},
                         .placement = p,
                         .loop = loop,
                         .done = done,
                         .ctx = ctx,
                         .node_id = node_id,
                         .state = state};
    snprintf(w->why, sizeof w->why, "%s", why ? why : "");
    loop_post(p->loop, &w->task);
}

void placement_changes_free(struct placement *p) {
    while (!list_empty(&p->changes)) finish(CONTAINER_OF(p->changes.next, struct change, link), ERR_CANCELED);
}
