/*
 * Placement: the poller, the lease and the views.
 *
 *   timer -> poll sent at t, with the versions we have -> versions, and nodes and slots of the tiers that changed
 *         -> a new view if any changed (the other tiers' tables are shared) -> lease until t + PLACEMENT_LEASE_MS
 *
 * Invariants
 *   - One statement reads versions, nodes and slots, so from one snapshot: no table is ever a mixture of two versions.
 *   - A snapshot is taken after its poll was sent. So whoever commits a change after that snapshot, and waits one lease
 *     from then, waits longer than any lease that was granted on the old table.
 *   - This needs monotonic clocks that run at the same rate on all machines, to within PLACEMENT_MARGIN_MS a lease; it
 *     does not need them to show the same time. A machine that was suspended must not go on as if no time had passed:
 *     daemons run on servers.
 *   - A view never changes. The lease is the placement's, not the view's: it is asked when the view is taken. A writer
 *     takes its view after its commit; then whoever fills under a later table reads what it wrote.
 *   - The pool has a depth of 1 and two connections or more: a change that waits for a lock must not hold up polls.
 */
#include "common/store/placement.h"

#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/store/placement_internal.h"

#define FIRST_POLL_MS 20 /* until there is a view */

static const char *const TIER_NAMES[TIER_COUNT] = {"timeline", "content", "users", "graph", "actions", "counters"};
static const char TIER_LETTERS[TIER_COUNT] = {'t', 'c', 'u', 'g', 'a', 'n'};

const char *tier_name(enum tier t) {
    return TIER_NAMES[t];
}

/* ---- views ---- */

static struct placement_view *view_of(struct placement_table *const tables[TIER_COUNT]) {
    struct placement_view *v = NEW(struct placement_view);
    atomic_init(&v->refs, 1);
    atomic_init(&v->settled, false);
    for (int t = 0; t < TIER_COUNT; t++) {
        v->tables[t] = placement_table_ref(tables[t]);
        for (size_t i = 0; i < RING_SLOTS; i++)
            if (v->fill_after_ms < tables[t]->slots[i].fill_after_ms)
                v->fill_after_ms = tables[t]->slots[i].fill_after_ms;
    }
    return v;
}

void placement_release(const struct placement_view *v) {
    struct placement_view *view = (struct placement_view *)v;
    if (!view || atomic_fetch_sub_explicit(&view->refs, 1, memory_order_acq_rel) != 1) return;
    for (int t = 0; t < TIER_COUNT; t++) placement_table_unref(view->tables[t]);
    mem_free(view);
}

const struct placement_view *placement_acquire(struct placement *p) {
    if (clock_mono_ms() >= atomic_load_explicit(&p->lease_until_ms, memory_order_acquire)) return NULL;
    pthread_mutex_lock(&p->lock);
    struct placement_view *v = p->view;
    if (v) atomic_fetch_add_explicit(&v->refs, 1, memory_order_relaxed);
    pthread_mutex_unlock(&p->lock);
    return v;
}

uint64_t placement_version(const struct placement_view *v, enum tier t) {
    return v->tables[t]->version;
}

/* A page asks this some 60 times: the clock is read only until the last embargo of the view is over. */
static bool may_fill(const struct placement_view *v, const struct placement_slot *slot) {
    struct placement_view *view = (struct placement_view *)v;
    if (atomic_load_explicit(&view->settled, memory_order_relaxed)) return true;
    uint64_t now = clock_mono_ms();
    if (now >= v->fill_after_ms) atomic_store_explicit(&view->settled, true, memory_order_relaxed);
    return now >= slot->fill_after_ms;
}

bool placement_locate(const struct placement_view *v, enum tier t, uint64_t id, struct location *ret) {
    const struct placement_table *table = v->tables[t];
    const struct placement_slot *slot = &table->slots[ring_slot(id)];
    if (slot->node == RING_NONE) return false;
    *ret = (struct location){
        .node = &table->nodes[slot->node], .generation = slot->generation, .may_fill = may_fill(v, slot)};
    return true;
}

/* A slot was first seen here not before the commit that moved it, and no lease granted before that commit is longer. */
uint64_t placement_unsettled_ms(const struct placement_view *v, enum tier t, uint64_t id) {
    uint64_t settled = v->tables[t]->slots[ring_slot(id)].fill_after_ms + PLACEMENT_MARGIN_MS, now = clock_mono_ms();
    return settled > now ? settled - now : 0;
}

const struct node *placement_nodes(const struct placement_view *v, enum tier t, size_t *ret_count) {
    *ret_count = v->tables[t]->node_count;
    return v->tables[t]->nodes;
}

bool placement_ready(const struct placement *p) {
    struct placement *shared = (struct placement *)p;
    uint64_t now = clock_mono_ms();
    if (now >= atomic_load_explicit(&shared->lease_until_ms, memory_order_acquire)) return false;
    pthread_mutex_lock(&shared->lock);
    bool ready = p->ready_at_ms > 0 && now >= p->ready_at_ms;
    pthread_mutex_unlock(&shared->lock);
    return ready;
}

uint64_t placement_db_now_ms(const struct placement *p, uint64_t *ret_error_ms) {
    struct placement *shared = (struct placement *)p;
    pthread_mutex_lock(&shared->lock);
    uint64_t at = p->db_at_ms, then = p->db_ms, round_trip = p->db_round_trip_ms;
    pthread_mutex_unlock(&shared->lock);
    if (at == 0) { /* never heard of it */
        *ret_error_ms = UINT64_MAX;
        return clock_wall_ms();
    }
    uint64_t age = clock_mono_ms() - at;
    *ret_error_ms = round_trip / 2 + 1 + age;
    return then + age;
}

/* Decimal, from the end, two digits a step: every object of every page has a key. Returns where the text begins. */
static char *digits_before(char *end, uint64_t v) {
    static const char PAIRS[] =
        "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748"
        "49505152535455565758596061626364656667686970717273747576777879808182838485868788899091929394959697"
        "9899";
    for (; v >= 100; v /= 100) memcpy(end -= 2, PAIRS + 2 * (v % 100), 2);
    if (v >= 10) {
        memcpy(end -= 2, PAIRS + 2 * v, 2);
        return end;
    }
    *--end = (char)('0' + v);
    return end;
}

size_t cache_key(enum tier t, uint32_t generation, uint64_t id, char ret[static CACHE_KEY_MAX]) {
    char text[CACHE_KEY_MAX], *end = text + sizeof(text);
    char *at = digits_before(end, id);
    *--at = ':';
    at = digits_before(at, generation);
    *--at = ':';
    *--at = TIER_LETTERS[t];
    size_t length = (size_t)(end - at);
    memcpy(ret, at, length);
    ret[length] = 0;
    return length;
}

/* ---- polling ---- */

static const struct pg_statement POLL = {"placement_poll",
                                         "SELECT t.version, (extract(epoch FROM clock_timestamp()) * 1000)::bigint,"
                                         "       CASE WHEN t.version <> k.known THEN placement_nodes(t.id) END,"
                                         "       CASE WHEN t.version <> k.known THEN placement_slots(t.id) END"
                                         "  FROM unnest($1::bigint[]) WITH ORDINALITY AS k (known, n)"
                                         "  JOIN cache_tiers t ON t.id = k.n - 1 ORDER BY t.id"};

/* Tables as the answer has them, a reference each. False: the answer is older than what we have, or no table can be
 * made of it. */
static bool tables_of(const struct placement *p, const struct pg_result *r, uint64_t now_ms,
                      struct placement_table *ret[TIER_COUNT]) {
    for (int t = 0; t < TIER_COUNT; t++) {
        struct placement_table *have = p->view ? p->view->tables[t] : NULL;
        uint64_t version = pg_int8(r, t, 0);
        if (have && version < have->version) return false;
        if (have && version == have->version) {
            ret[t] = placement_table_ref(have);
            continue;
        }
        if (pg_null(r, t, 2) || pg_null(r, t, 3)) return false;
        if (placement_table_decode(version, pg_text(r, t, 2), pg_text(r, t, 3), &ret[t]) != ERR_OK) return false;
        placement_table_embargo(ret[t], have, now_ms);
    }
    return true;
}

static bool same_tables(const struct placement_view *v, struct placement_table *const tables[TIER_COUNT]) {
    return v && memcmp(v->tables, tables, sizeof v->tables) == 0;
}

/* The view first, then the lease: nobody takes the old view under the new lease. */
static void adopt(struct placement *p, uint64_t sent_ms, uint64_t now_ms, uint64_t db_ms,
                  struct placement_table *const tables[TIER_COUNT]) {
    struct placement_view *old = NULL;
    pthread_mutex_lock(&p->lock);
    if (!same_tables(p->view, tables)) {
        old = p->view;
        p->view = view_of(tables);
    }
    if (p->ready_at_ms == 0) p->ready_at_ms = now_ms + PLACEMENT_LEASE_MS;
    p->db_round_trip_ms = now_ms - sent_ms;
    p->db_at_ms = now_ms;
    p->db_ms = db_ms + p->db_round_trip_ms / 2;
    pthread_mutex_unlock(&p->lock);
    atomic_store_explicit(&p->lease_until_ms, sent_ms + PLACEMENT_LEASE_MS, memory_order_release);
    placement_release(old);
}

static void polled(void *ctx, enum err err, const struct pg_result *r) {
    struct placement_poll *poll = ctx;
    struct placement *p = poll->placement;
    if (p) {
        p->poll = NULL;
        uint64_t now = clock_mono_ms();
        struct placement_table *tables[TIER_COUNT] = {0};
        if (err == ERR_OK && pg_rows(r) == TIER_COUNT && tables_of(p, r, now, tables))
            adopt(p, poll->sent_ms, now, pg_int8(r, 0, 1), tables);
        for (int t = 0; t < TIER_COUNT; t++) placement_table_unref(tables[t]);
    }
    mem_free(poll);
}

void placement_poll_now(struct placement *p) {
    if (p->poll) return;
    uint64_t known[TIER_COUNT];
    for (int t = 0; t < TIER_COUNT; t++) known[t] = p->view ? p->view->tables[t]->version : 0;
    struct arena arena;
    struct pg_params params;
    arena_init(&arena, 512);
    pg_params_init(&params, &arena);
    pg_param_int8_array(&params, known, TIER_COUNT);
    struct placement_poll *poll = NEW(struct placement_poll);
    *poll = (struct placement_poll){.placement = p, .sent_ms = clock_mono_ms()};
    if (pg_exec(p->pool, &POLL, &params, polled, poll) == ERR_OK)
        p->poll = poll;
    else
        mem_free(poll);
    arena_fini(&arena);
}

static void tick(struct loop_timer *t) {
    struct placement *p = CONTAINER_OF(t, struct placement, timer);
    placement_poll_now(p);
    loop_timer_start(p->loop, t, p->view ? PLACEMENT_POLL_MS : FIRST_POLL_MS);
}

struct placement *placement_new(struct loop *loop, struct pg_pool *pool) {
    struct placement *p = NEW(struct placement);
    p->loop = loop;
    p->pool = pool;
    p->timer.fire = tick;
    list_init(&p->changes);
    atomic_init(&p->lease_until_ms, 0);
    pthread_mutex_init(&p->lock, NULL);
    loop_timer_start(loop, &p->timer, 0);
    return p;
}

void placement_free(struct placement **placement) {
    struct placement *p = *placement;
    if (!p) return;
    *placement = NULL;
    loop_timer_stop(&p->timer);
    if (p->poll) p->poll->placement = NULL;
    placement_changes_free(p);
    placement_release(p->view);
    pthread_mutex_destroy(&p->lock);
    mem_free(p);
}
