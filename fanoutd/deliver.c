/*
 * Delivery.
 *
 *   outlet (a node)      [delivery] [delivery]        one pipe, one window; deliveries of rounds queue up in order
 *                            |
 *         pump: chunk of pushes -> pipe -> lengths: resident, cold, refused, unknown
 *               late target -> script (timeline_insert_late)       target to give up -> timeline_delete
 *                            |
 *   what failed is collected; when all has been answered it is tried again after a back-off, until nothing is left or
 *   the placement has changed
 *
 * The lateness rule (domain/view.h) is kept here:
 *   - a target whose oldest entry is past half the allowed lateness is not pushed at the head but put in by the script;
 *   - a push that was answered when its post was older than the allowed lateness came too late to lie at the head: the
 *     timeline is deleted;
 *   - a push without an answer may still land; if it can't be repeated while young enough, the timeline is deleted as
 *     well. A node that refuses pushes (out of memory) loses the timelines concerned: a deleted timeline is rebuilt, a
 *     wrong one would be served.
 *
 * A node that is silent is ejected by health; one that answers but confirms nothing is ejected from here. Both show as
 * a new placement version.
 */
#include "fanoutd/deliver.h"

#include <string.h>

#include "common/base/mem.h"
#include "common/domain/id.h"
#include "common/store/redis_pipe.h"
#include "common/sys/failpoint.h"
#include "common/sys/log.h"

#define CHUNK_PUSHES   1000
#define SINGLES_MAX    256 /* scripts in flight a delivery */
#define REFUSALS_MAX   3   /* then the timeline is deleted */
#define RETRY_FIRST_MS 20
#define RETRY_LAST_MS  1000
#define LEASE_RETRY_MS 50

enum { TARGET_UNSURE = 1, TARGET_DELETE = 2 };

struct outlet {
    struct list link;
    struct outlets *outlets; /* (ref) */
    struct node node;        /* copy: views come and go */
    struct redis_pipe *pipe; /* (own) */
    struct list waiting;     /* deliveries with something to send */
    bool pumping;
    bool ejecting;
};

struct outlets {
    struct worker *w; /* (ref) */
    struct list list;
    struct list deliveries; /* all open ones */
    bool closing;
};

struct delivery {
    struct list link;                  /* outlet's waiting */
    struct list all_link;              /* outlets' deliveries */
    struct outlet *outlet;             /* (ref) */
    const struct plan_target *targets; /* (ref: round) */
    size_t count;
    uint64_t version;
    uint32_t *todo; /* (own) targets of this try; NULL: all */
    size_t todo_count, next;
    uint32_t *again; /* (own) targets of the next try */
    size_t again_count, again_cap;
    unsigned char *flags;     /* (own) a target; NULL while nothing went wrong */
    unsigned chunks, singles; /* in flight */
    unsigned tries;
    uint64_t failing_since_ms; /* 0: not failing */
    struct loop_timer retry;
    delivered_fn *done;
    void *ctx;
};

struct chunk {
    struct delivery *d;
    uint64_t oldest; /* id */
    uint32_t count;
    uint32_t targets[];
};

struct single {
    struct delivery *d;
    uint32_t target;
    bool delete;
};

static struct fanoutd *fanoutd_of(const struct delivery *d) {
    return d->outlet->outlets->w->fanoutd;
}

static void count(const struct delivery *d, enum delivery_result what, int64_t n) {
    metric_add(fanoutd_of(d)->metrics.deliveries[what], n);
}

/* The smallest id that is certainly younger than this age now. */
static uint64_t id_of_age(const struct delivery *d, uint64_t age_ms) {
    uint64_t error, now = placement_db_now_ms(fanoutd_of(d)->placement, &error) + error;
    return id_at_unix_ms(now > age_ms ? now - age_ms : 0);
}

static struct location location_of(const struct delivery *d, const struct plan_target *t) {
    return (struct location){&d->outlet->node, t->generation, true};
}

/* --- what has to be tried again --- */

static void try_again(struct delivery *d, uint32_t target, unsigned char flags) {
    if (d->again_count == d->again_cap) {
        d->again_cap = d->again_cap ? 2 * d->again_cap : 256;
        d->again = mem_grow(d->again, d->again_cap, sizeof(*d->again));
    }
    d->again[d->again_count++] = target;
    if (!flags) return;
    if (!d->flags) d->flags = mem_zalloc(d->count);
    d->flags[target] |= flags;
}

static unsigned char flags_of(const struct delivery *d, uint32_t target) {
    return d->flags ? d->flags[target] : 0;
}

static void refused(struct delivery *d, uint32_t target) {
    try_again(d, target, d->tries + 1 >= REFUSALS_MAX ? TARGET_DELETE : 0);
}

static void delivery_end(struct delivery *d, bool stale) {
    loop_timer_stop(&d->retry);
    list_del(&d->link);
    list_del(&d->all_link);
    d->done(d->ctx, stale);
    mem_free(d->todo);
    mem_free(d->again);
    mem_free(d->flags);
    mem_free(d);
}

static void pump(struct outlet *o);

static void on_retry(struct loop_timer *t) {
    struct delivery *d = CONTAINER_OF(t, struct delivery, retry);
    struct fanoutd *f = fanoutd_of(d);
    const struct placement_view *view = placement_acquire(f->placement);
    if (!view) {
        loop_timer_start(d->outlet->outlets->w->loop, &d->retry, LEASE_RETRY_MS);
        return;
    }
    bool stale = placement_version(view, TIER_TIMELINE) != d->version;
    placement_release(view);
    if (stale) {
        delivery_end(d, true);
        return;
    }
    mem_free(d->todo);
    d->todo = d->again;
    d->todo_count = d->again_count;
    d->again = NULL;
    d->again_count = d->again_cap = 0;
    d->next = 0;
    d->tries++;
    list_add_tail(&d->outlet->waiting, &d->link);
    pump(d->outlet);
}

static void on_ejected(void *ctx, enum err err) {
    struct outlet *o = ctx;
    o->ejecting = false;
    log_warn("timeline node confirmed no push, ejection asked for: node=%s result=%s", o->node.name, err_name(err));
}

static void eject_if_hopeless(struct delivery *d) {
    struct worker *w = d->outlet->outlets->w;
    uint64_t now = loop_now_ms(w->loop);
    if (!d->failing_since_ms) d->failing_since_ms = now ? now : 1;
    if (now - d->failing_since_ms < (uint64_t)w->fanoutd->opt->eject_after_ms || d->outlet->ejecting) return;
    d->outlet->ejecting = true;
    placement_set_state(w->fanoutd->placement, d->outlet->node.id, NODE_EJECTED, "pushes are not confirmed", w->loop,
                        on_ejected, d->outlet);
}

/* Called whenever something came back: ends the delivery, or the try. */
static void check(struct delivery *d) {
    if (list_linked(&d->link) || d->chunks || d->singles || d->retry.loop || d->outlet->outlets->closing) return;
    if (!d->again_count) {
        delivery_end(d, false);
        return;
    }
    eject_if_hopeless(d);
    uint64_t wait = (uint64_t)RETRY_FIRST_MS << (d->tries < 6 ? d->tries : 6);
    loop_timer_start(d->outlet->outlets->w->loop, &d->retry, wait < RETRY_LAST_MS ? wait : RETRY_LAST_MS);
}

static void report(struct delivery *d, enum err err, struct str text) {
    if (err == ERR_CANCELED) return;
    /* The very first connection may simply not be up yet. */
    if (d->tries || err != ERR_REFUSED) health_report(fanoutd_of(d)->health, d->outlet->node.id, err);
    if ((d->tries || err != ERR_REFUSED) && LOG_EVERY_MS(1000)) {
        log_warn("pushes not confirmed, trying again: node=%s err=%s text=\"%.*s\"", d->outlet->node.name,
                 err_name(err), (int)text.len, text.data ? text.data : "");
    }
}

/* --- pushes --- */

static void trim(struct delivery *d, const struct plan_target *t) {
    struct worker *w = d->outlet->outlets->w;
    struct location at = location_of(d, t);
    /* Nobody waits: if it gets lost, the next push sees the same length. */
    if (timeline_trim(w->timelines, &at, t->user_id, NULL, NULL) == ERR_OK) metric_add(w->fanoutd->metrics.trims, 1);
}

static void chunk_answered(struct chunk *c, const int32_t *lengths, size_t answered) {
    struct delivery *d = c->d;
    const struct fanoutd_options *o = fanoutd_of(d)->opt;
    int64_t trim_above = o->timeline_cap + o->timeline_slack + 1;
    uint64_t too_late = id_of_age(d, (uint64_t)o->lateness_ms);
    bool all_young = c->oldest >= too_late;
    int64_t resident = 0, cold = 0, refusals = 0;
    for (size_t i = 0; i < answered; i++) {
        const struct plan_target *t = &d->targets[c->targets[i]];
        if (lengths[i] > 0) {
            resident += t->entry_count;
            if (lengths[i] > trim_above) trim(d, t);
            if (!all_young && t->entries[0].post_id < too_late) try_again(d, c->targets[i], TARGET_DELETE);
        } else if (lengths[i] == 0) {
            cold += t->entry_count;
        } else {
            refusals += t->entry_count;
            refused(d, c->targets[i]);
        }
    }
    count(d, DELIVERY_RESIDENT, resident);
    count(d, DELIVERY_COLD, cold);
    if (refusals) count(d, DELIVERY_REFUSED, refusals);
}

static void on_pushed(void *ctx, enum err err, const int32_t *lengths, size_t answered, struct str text) {
    struct chunk *c = ctx;
    struct delivery *d = c->d;
    if (FAILPOINT("fanout.after_push")) {
        err = ERR_LOST;
        answered = 0;
    }
    if (err == ERR_OK) answered = c->count;
    chunk_answered(c, lengths, answered);
    for (size_t i = answered; i < c->count; i++) {
        count(d, DELIVERY_REFUSED, d->targets[c->targets[i]].entry_count);
        try_again(d, c->targets[i], TARGET_UNSURE);
    }
    if (err != ERR_OK) report(d, err, text);
    if (err == ERR_OK && text.len) report(d, ERR_BACKEND, text);
    mem_free(c);
    d->chunks--;
    struct outlet *o = d->outlet;
    check(d);
    pump(o);
}

/* --- one by one: late inserts and deletions --- */

static void on_single(void *ctx, enum err err, bool applied) {
    struct single *s = ctx;
    struct delivery *d = s->d;
    const struct plan_target *t = &d->targets[s->target];
    if (err == ERR_OK) {
        enum delivery_result what = !applied ? DELIVERY_COLD : s->delete ? DELIVERY_DROPPED : DELIVERY_LATE;
        count(d, what, t->entry_count);
    } else {
        count(d, DELIVERY_REFUSED, t->entry_count);
        if (err == ERR_BACKEND && !s->delete) {
            refused(d, s->target);
        } else {
            try_again(d, s->target, s->delete ? TARGET_DELETE : 0);
        }
        report(d, err, (struct str){0});
    }
    mem_free(s);
    d->singles--;
    struct outlet *o = d->outlet;
    check(d);
    pump(o);
}

static void send_single(struct delivery *d, uint32_t target, bool delete) {
    struct worker *w = d->outlet->outlets->w;
    const struct plan_target *t = &d->targets[target];
    struct location at = location_of(d, t);
    struct single *s = NEW(struct single);
    *s = (struct single){d, target, delete};
    enum err err = delete
                       ? timeline_delete(w->timelines, &at, t->user_id, on_single, s)
                       : timeline_insert_late(w->timelines, &at, t->user_id, t->entries, t->entry_count, on_single, s);
    if (err == ERR_OK) {
        d->singles++;
        return;
    }
    mem_free(s);
    count(d, DELIVERY_REFUSED, t->entry_count);
    try_again(d, target, delete ? TARGET_DELETE : 0);
    if (err != ERR_BUSY) report(d, err, (struct str){0});
}

/* --- the pump --- */

static uint32_t next_target(const struct delivery *d) {
    return d->todo ? d->todo[d->next] : (uint32_t)d->next;
}

/* Everything that is left of this try is tried again: the node is not connected. */
static void refuse_rest(struct delivery *d) {
    while (d->next < d->todo_count) {
        uint32_t target = next_target(d);
        count(d, DELIVERY_REFUSED, d->targets[target].entry_count);
        try_again(d, target, 0);
        d->next++;
    }
    report(d, ERR_REFUSED, (struct str){0});
}

static void push_one(struct delivery *d, struct chunk *c, struct redis_pipe_batch *batch, uint32_t target) {
    const struct plan_target *t = &d->targets[target];
    char key[CACHE_KEY_MAX];
    size_t len = cache_key(TIER_TIMELINE, t->generation, t->user_id, key);
    redis_pipe_push(batch, str_of(key, len), t->entries, t->entry_count);
    if (t->entries[0].post_id < c->oldest) c->oldest = t->entries[0].post_id;
    c->targets[c->count++] = target;
}

/* NULL: the node is not connected. */
static struct chunk *chunk_begin(struct delivery *d, size_t room, struct redis_pipe_batch **ret_batch) {
    struct chunk *c = mem_alloc(sizeof(*c) + room * sizeof(c->targets[0]));
    *c = (struct chunk){d, UINT64_MAX, 0};
    if (FAILPOINT("fanout.before_push") || redis_pipe_begin(d->outlet->pipe, on_pushed, c, ret_batch) != ERR_OK) {
        mem_free(c);
        return NULL;
    }
    d->chunks++;
    return c;
}

/* Sends up to room pushes of the delivery; singles go their own way. Returns false when it has to wait for singles to
 * come back. */
static bool send_chunk(struct delivery *d, size_t room) {
    uint64_t late = id_of_age(d, (uint64_t)fanoutd_of(d)->opt->lateness_ms / 2);
    struct redis_pipe_batch *batch = NULL;
    struct chunk *c = NULL; /* none without a push: an empty one would come straight back */
    bool full = false;
    for (; d->next < d->todo_count; d->next++) {
        uint32_t target = next_target(d);
        unsigned char flags = flags_of(d, target);
        if (d->targets[target].entries[0].post_id < late || flags & TARGET_DELETE) {
            full = d->singles >= SINGLES_MAX;
            if (full) break;
            send_single(d, target, flags != 0);
            continue;
        }
        if (FAILPOINT("fanout.drop_push")) continue;
        if (!c && !(c = chunk_begin(d, room, &batch))) {
            refuse_rest(d);
            return true;
        }
        push_one(d, c, batch, target);
        if (c->count == room) {
            d->next++;
            break;
        }
    }
    if (batch) redis_pipe_end(batch);
    return !full;
}

static void pump(struct outlet *o) {
    if (o->pumping) return;
    o->pumping = true;
    while (!list_empty(&o->waiting)) {
        struct delivery *d = CONTAINER_OF(o->waiting.next, struct delivery, link);
        bool go_on = true;
        if (redis_pipe_up(o->pipe)) {
            unsigned room = redis_pipe_room(o->pipe);
            if (!room) break;
            go_on = send_chunk(d, room < CHUNK_PUSHES ? room : CHUNK_PUSHES);
        } else {
            refuse_rest(d);
        }
        if (d->next == d->todo_count) {
            list_del(&d->link);
            check(d);
        }
        if (!go_on) break;
    }
    o->pumping = false;
}

static void on_room(void *ctx) {
    pump(ctx);
}

/* --- outlets --- */

static struct outlet *outlet_of(struct outlets *os, const struct node *node) {
    for (struct list *at = os->list.next; at != &os->list; at = at->next) {
        struct outlet *o = CONTAINER_OF(at, struct outlet, link);
        if (o->node.id == node->id && strcmp(o->node.address, node->address) == 0) return o;
    }
    const struct fanoutd_options *opt = os->w->fanoutd->opt;
    struct outlet *o = NEW(struct outlet);
    o->outlets = os;
    o->node = *node;
    list_init(&o->waiting);
    o->pipe = redis_pipe_new(os->w->loop, &(struct redis_pipe_options){
                                              .address = o->node.address,
                                              .timeout_ms = (uint64_t)opt->cache_timeout_ms,
                                              .window = (unsigned)opt->window,
                                              .on_room = on_room,
                                              .ctx = o,
                                          });
    list_add_tail(&os->list, &o->link);
    return o;
}

struct outlets *outlets_new(struct worker *w) {
    struct outlets *os = NEW(struct outlets);
    os->w = w;
    list_init(&os->list);
    list_init(&os->deliveries);
    return os;
}

static void forget(void *ctx, bool stale) {
    (void)ctx;
    (void)stale;
}

void outlets_free(struct outlets **osp) {
    struct outlets *os = *osp;
    if (!os) return;
    os->closing = true;
    /* Chunks in flight complete while the pipes are freed and still need their deliveries. */
    for (struct list *at = os->list.next; at != &os->list; at = at->next) {
        struct outlet *o = CONTAINER_OF(at, struct outlet, link);
        o->pumping = true; /* nothing more is sent */
        redis_pipe_free(&o->pipe);
    }
    redis_set_free(&os->w->redis);
    while (!list_empty(&os->deliveries)) {
        struct delivery *d = CONTAINER_OF(os->deliveries.next, struct delivery, all_link);
        d->done = forget;
        delivery_end(d, true);
    }
    while (!list_empty(&os->list)) mem_free(CONTAINER_OF(list_pop(&os->list), struct outlet, link));
    mem_free(os);
    *osp = NULL;
}

void deliver(struct outlets *os, const struct node *node, const struct plan_target *targets, size_t target_count,
             uint64_t version, delivered_fn *done, void *ctx) {
    struct delivery *d = NEW(struct delivery);
    d->outlet = outlet_of(os, node);
    d->targets = targets;
    d->count = d->todo_count = target_count;
    d->version = version;
    d->done = done;
    d->ctx = ctx;
    d->retry.fire = on_retry;
    list_add_tail(&os->deliveries, &d->all_link);
    list_add_tail(&d->outlet->waiting, &d->link);
    pump(d->outlet);
}
