/*
 * Rebuilds of cold timelines: who flies, who joins, who is told what. What a step does is in rebuild_steps.c.
 *
 *   rebuild() --nobody flies--> flight: admission -> begin(nonce) -> query -> fill(nonce) -> gone
 *             --a flight------> joins it:    |          |          |         |
 *                                            +-- early -+---------- + - late -+
 *
 *   begin not applied  -> another process builds: all are told ELSEWHERE
 *   begin failed       -> the node does not answer: all are told NO_NODE
 *   query answered     -> the early ones get its entries at once; the place in the heavy pool is free again
 *   fill done or not   -> the late ones are told to read the timeline
 *
 * Why the late ones don't get the entries: a post committed, or a follow made, after the query's snapshot but before
 * the late caller began would be missing. The timeline was pushed to in the meantime (a post), or deleted (a follow),
 * so what it holds is right for them.
 *
 * Invariants: begin is confirmed before the query is sent, so a post that the snapshot misses is pushed. A place in the
 * heavy pool is held from admission to the query's answer. Callers are never told inside rebuild().
 */
#include "feedd/rebuild.h"

#include "common/base/hash.h"
#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/sys/failpoint.h"
#include "feedd/rebuild_steps.h"

struct rebuilds {
    struct loop *loop;
    struct rebuild_limits limits;
    const struct rebuild_steps *steps;
    void *world;
    struct admission admission;
    struct map by_user;  /* flights that take callers in */
    struct list flights; /* all */
};

struct waiter {
    struct list link;
    rebuild_done_fn *done;
    void *ctx;
};

struct flight {
    struct rebuilds *rebuilds;
    struct list link;
    uint64_t user_id;
    uint64_t nonce;
    struct node node;
    struct location at; /* its node is the copy above: the caller's view is not ours to keep */
    bool sent;          /* the query */
    struct list early, late;
    struct admission_ticket ticket;
    struct loop_task refusal;
    enum err refused;
    enum rebuild_outcome refused_outcome;
};

static void tell(struct list *waiters, enum err err, enum rebuild_outcome outcome, const struct entry *entries,
                 size_t count, uint64_t mark) {
    for (struct list *link; (link = list_pop(waiters));) {
        struct waiter w = *CONTAINER_OF(link, struct waiter, link);
        mem_free(CONTAINER_OF(link, struct waiter, link));
        w.done(w.ctx, err, outcome, entries, count, mark);
    }
}

static void free_when_idle(struct rebuilds *r) {
    if (!r->admission.closed || r->admission.running || !list_empty(&r->flights)) return;
    map_fini(&r->by_user);
    mem_free(r);
}

static void take_no_more(struct flight *f) {
    struct map *m = &f->rebuilds->by_user;
    if (map_get(m, f->user_id) == f) map_del(m, f->user_id);
}

static void flight_end(struct flight *f, enum err err, enum rebuild_outcome outcome) {
    struct rebuilds *r = f->rebuilds;
    take_no_more(f);
    tell(&f->early, err, outcome, NULL, 0, 0);
    tell(&f->late, err, outcome, NULL, 0, 0);
    list_del(&f->link);
    mem_free(f);
    free_when_idle(r);
}

/* Ends a flight that still has its place in the heavy pool. */
static void flight_give_up(struct flight *f, enum err err, enum rebuild_outcome outcome) {
    take_no_more(f);
    admission_leave(&f->rebuilds->admission);
    flight_end(f, err, outcome);
}

static void flight_refused(struct loop_task *task) {
    struct flight *f = CONTAINER_OF(task, struct flight, refusal);
    flight_end(f, f->refused, f->refused_outcome);
}

/* Ends it on a later turn; its place in the heavy pool, if it has one, is given back by the caller. */
static void flight_refuse(struct flight *f, enum err err, enum rebuild_outcome outcome) {
    f->refused = err;
    f->refused_outcome = outcome;
    take_no_more(f);
    loop_post(f->rebuilds->loop, &f->refusal);
}

static void node_failed(struct flight *f, enum err err) {
    f->rebuilds->steps->node_failed(f->rebuilds->world, f->node.id, err);
}

static void abandoned(void *ctx, enum err err, bool applied) {
    (void)ctx, (void)err, (void)applied; /* if it did not arrive, the building expires */
}

static void flight_abandon(struct flight *f) {
    struct rebuilds *r = f->rebuilds;
    if (!r->admission.closed) r->steps->abandon(r->world, &f->at, f->user_id, f->nonce, abandoned, NULL);
}

static void flight_filled(void *ctx, enum err err, bool applied) {
    struct flight *f = ctx;
    (void)applied; /* not applied: deleted meanwhile; whoever reads it now sees that and rebuilds */
    if (err) node_failed(f, err);
    flight_end(f, ERR_OK, REBUILD_REREAD);
}

static void flight_answered(void *ctx, enum err err, const struct entry *entries, size_t count) {
    struct flight *f = ctx;
    struct rebuilds *r = f->rebuilds;
    if (err || r->admission.closed) {
        flight_abandon(f);
        flight_give_up(f, err ? err : ERR_CANCELED, REBUILD_ENTRIES);
        return;
    }
    uint64_t mark = count < r->limits.cap ? 0 : entries[count - 1].post_id;
    bool filling = !FAILPOINT("rebuild.after_query"); /* as if the builder died: the building stays until it expires */
    if (filling) {
        err = r->steps->fill(r->world, &f->at, f->user_id, f->nonce, entries, count, mark, flight_filled, f);
        if (err) node_failed(f, err);
        filling = !err;
    }
    tell(&f->early, ERR_OK, REBUILD_ENTRIES, entries, count, mark);
    if (filling)
        admission_leave(&r->admission);
    else
        flight_give_up(f, ERR_OK, REBUILD_REREAD);
}

static void flight_begun(void *ctx, enum err err, bool applied) {
    struct flight *f = ctx;
    struct rebuilds *r = f->rebuilds;
    if (r->admission.closed) {
        flight_give_up(f, ERR_CANCELED, REBUILD_ENTRIES);
    } else if (err) {
        node_failed(f, err);
        flight_give_up(f, ERR_OK, REBUILD_NO_NODE);
    } else if (!applied) {
        flight_give_up(f, ERR_OK, REBUILD_ELSEWHERE);
    } else if (FAILPOINT("rebuild.after_begin")) { /* as if the builder died */
        flight_give_up(f, ERR_BUSY, REBUILD_ENTRIES);
    } else {
        f->sent = true;
        err = r->steps->query(r->world, f->user_id, r->limits.cap, flight_answered, f);
        if (!err) return;
        flight_abandon(f);
        flight_give_up(f, err, REBUILD_ENTRIES);
    }
}

static void flight_admitted(struct flight *f) {
    struct rebuilds *r = f->rebuilds;
    enum err err = r->steps->begin(r->world, &f->at, f->user_id, f->nonce, flight_begun, f);
    if (!err) return;
    node_failed(f, err);
    flight_refuse(f, ERR_OK, REBUILD_NO_NODE);
    admission_leave(&r->admission);
}

static void flight_called(struct admission_ticket *ticket, enum err err) {
    struct flight *f = CONTAINER_OF(ticket, struct flight, ticket);
    if (err)
        flight_end(f, err, REBUILD_ENTRIES);
    else
        flight_admitted(f);
}

static void flight_start(struct rebuilds *r, uint64_t user_id, const struct location *at, struct waiter *first) {
    struct flight *f = NEW(struct flight);
    f->rebuilds = r;
    f->user_id = user_id;
    f->nonce = random_u64();
    f->node = *at->node;
    f->at = (struct location){.node = &f->node, .generation = at->generation, .may_fill = at->may_fill};
    f->ticket.called = flight_called;
    f->refusal.run = flight_refused;
    list_init(&f->early);
    list_init(&f->late);
    list_add_tail(&f->early, &first->link);
    list_add_tail(&r->flights, &f->link);
    map_put(&r->by_user, user_id, f);
    switch (admission_enter(&r->admission, &f->ticket, r->limits.wait_ms)) {
    case ADMISSION_IN:
        flight_admitted(f);
        break;
    case ADMISSION_WAITS:
        break;
    case ADMISSION_FULL:
        flight_refuse(f, ERR_BUSY, REBUILD_ENTRIES);
        break;
    }
}

void rebuild(struct rebuilds *r, uint64_t user_id, const struct location *at, rebuild_done_fn *done, void *ctx) {
    struct waiter *w = NEW(struct waiter);
    w->done = done;
    w->ctx = ctx;
    struct flight *f = map_get(&r->by_user, user_id);
    if (f)
        list_add_tail(f->sent ? &f->late : &f->early, &w->link);
    else
        flight_start(r, user_id, at, w);
}

bool rebuild_running(const struct rebuilds *r, uint64_t user_id) {
    return map_get(&r->by_user, user_id) != NULL;
}

enum admission_answer heavy_enter(struct rebuilds *r, struct admission_ticket *t, uint64_t wait_ms) {
    return admission_enter(&r->admission, t, wait_ms);
}

void heavy_leave(struct rebuilds *r) {
    admission_leave(&r->admission);
    free_when_idle(r);
}

struct rebuilds *rebuilds_new_with(struct loop *loop, struct rebuild_limits limits, const struct rebuild_steps *steps,
                                   void *world) {
    struct rebuilds *r = NEW(struct rebuilds);
    r->loop = loop;
    r->limits = limits;
    r->steps = steps;
    r->world = world;
    admission_init(&r->admission, loop, limits.running, limits.max_waiting);
    list_init(&r->flights);
    return r;
}

void rebuilds_free(struct rebuilds **r) {
    struct rebuilds *gone = *r;
    *r = NULL;
    if (!gone) return;
    gone->admission.running++; /* ours, so that it is not freed under our feet */
    admission_close(&gone->admission);
    for (struct list *link = gone->flights.next; link != &gone->flights; link = link->next) {
        struct flight *f = CONTAINER_OF(link, struct flight, link);
        tell(&f->early, ERR_CANCELED, REBUILD_ENTRIES, NULL, 0, 0);
        tell(&f->late, ERR_CANCELED, REBUILD_ENTRIES, NULL, 0, 0);
    }
    gone->admission.running--;
    free_when_idle(gone);
}
