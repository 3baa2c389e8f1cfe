/*
 * Loads from the primary, shared by those who may share them. The rule: a load may serve a request only if its read of
 * the database starts after the request began; otherwise a request that starts after a delete returned could be given
 * what was read before it.
 *
 *   flight_join(id)   no flight            -> queued; issued at the end of this turn, with all others of the tier in
 * one call queued               -> joins: the read is still to come issued               -> waits for the next: queued
 * again when the one in the air has landed
 *
 * So an object has at most one load in the air and one queued on a loop, however many ask.
 */
#include "common/base/mem.h"
#include "common/store/cache_internal.h"

enum { LOAD_IDS_MAX = 1000 };

struct flight {
    struct list link; /* in queued while not issued */
    uint64_t id;
    bool issued;
    struct flight_waiter *waiters; /* of the load that is queued or issued */
    struct flight_waiter *next;    /* of the one after it */
};

struct load {
    struct cache *cache;
    enum tier tier;
    size_t count;
    struct flight **flights; /* (own) */
    uint64_t *ids;           /* (own) */
};

static void load_free(struct load *l) {
    mem_free(l->flights);
    mem_free(l->ids);
    mem_free(l);
}

static void flight_queue(struct cache *c, enum tier t, struct flight *f) {
    f->issued = false;
    list_add_tail(&c->queued[t], &f->link);
    if (!c->flight_timer.loop) loop_timer_start(c->options.loop, &c->flight_timer, 0);
}

/* Lands one flight's waiters; returns them, for settling. */
static struct flight_waiter *flight_land(struct load *l, struct flight *f, enum err err, struct str value) {
    struct flight_waiter *landed = f->waiters;
    f->waiters = f->next;
    f->next = NULL;
    if (f->waiters) {
        flight_queue(l->cache, l->tier, f);
    } else {
        map_del(&l->cache->flights[l->tier], f->id);
        mem_free(f);
    }
    for (struct flight_waiter *w = landed; w; w = w->next) w->landed(w, err, value);
    return landed;
}

static void load_loaded(void *ctx, enum err err, const struct str *values) {
    struct load *l = ctx;
    struct cache *c = l->cache;
    if (!c->closed) {
        struct flight_waiter **landed = NEW_ARRAY(struct flight_waiter *, l->count);
        for (size_t i = 0; i < l->count; i++)
            landed[i] = flight_land(l, l->flights[i], err, err ? str_of(NULL, 0) : values[i]);
        for (size_t i = 0; i < l->count; i++) {
            for (struct flight_waiter *w = landed[i], *next; w && !c->closed; w = next) {
                next = w->next;
                w->settled(w);
            }
        }
        mem_free(landed);
    }
    load_free(l);
    cache_unref(c);
}

static void tier_issue(struct cache *c, enum tier t) {
    struct load *l = NEW(struct load);
    *l = (struct load){.cache = c, .tier = t};
    l->flights = NEW_ARRAY(struct flight *, LOAD_IDS_MAX);
    l->ids = NEW_ARRAY(uint64_t, LOAD_IDS_MAX);
    while (l->count < LOAD_IDS_MAX && !list_empty(&c->queued[t])) {
        struct flight *f = CONTAINER_OF(list_pop(&c->queued[t]), struct flight, link);
        f->issued = true;
        l->flights[l->count] = f;
        l->ids[l->count++] = f->id;
    }
    c->refs++;
    c->loaders[t].load(c->loaders[t].ctx, l->ids, l->count, load_loaded, l);
}

static void flights_fire(struct loop_timer *timer) {
    struct cache *c = CONTAINER_OF(timer, struct cache, flight_timer);
    c->refs++; /* a loader may answer at once, and its answer may end us */
    for (int t = 0; t < TIER_COUNT && !c->closed; t++) {
        while (!c->closed && !list_empty(&c->queued[t])) tier_issue(c, (enum tier)t);
    }
    cache_unref(c);
}

void flights_init(struct cache *c) {
    c->flight_timer.fire = flights_fire;
    for (int t = 0; t < TIER_COUNT; t++) list_init(&c->queued[t]);
}

void flights_close(struct cache *c) {
    loop_timer_stop(&c->flight_timer);
    for (int t = 0; t < TIER_COUNT; t++) {
        size_t at = 0;
        for (struct map_entry *e; (e = map_next(&c->flights[t], &at));) mem_free(e->value);
        map_fini(&c->flights[t]);
        list_init(&c->queued[t]);
    }
}

void flight_join(struct cache *c, enum tier t, struct flight_waiter *w) {
    struct flight *f = map_get(&c->flights[t], w->id);
    if (!f) {
        f = NEW(struct flight);
        f->id = w->id;
        map_put(&c->flights[t], w->id, f);
        flight_queue(c, t, f);
    }
    struct flight_waiter **list = f->issued ? &f->next : &f->waiters;
    w->next = *list;
    *list = w;
}
