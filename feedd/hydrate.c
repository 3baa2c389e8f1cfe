/*
 * Hydration: multi-gets to the content, users and counters tiers, and the records they answer put together.
 *
 *   posts ----+
 *   counts ---+--> join --> authors that the hints did not name (rare) --> done
 *   authors --+   (by the hints)
 *
 * One fetch reads one tier. A record that does not decode (another format left by another version) is a miss, never a
 * failure: its keys are deleted and read again, so that the tier fills it afresh; if that fails, the primary is asked
 * past the tier.
 *
 * A post is served only with its author: a post whose author is not there does not exist. No row of counters means
 * none.
 */
#include "feedd/hydrate.h"

#include "common/base/hash.h"
#include "common/base/mem.h"

/* ---- one tier ---- */

struct fetch {
    struct worker *worker;
    const struct placement_view *view; /* (ref: caller, until done) */
    struct arena *arena;
    enum tier tier;
    uint64_t *ids; /* (ref: arena) */
    size_t count;
    size_t *places; /* (ref: arena) which objects these ids are; NULL: 0, 1, 2... */
    bool past_tier; /* the last resort */
    bool again;
    /* Takes one object's payload (data NULL: absent). ERR_CORRUPT: it could not be used. */
    enum err (*take)(void *ctx, size_t place, struct str payload);
    void (*done)(void *ctx, enum err err);
    void *ctx;
};

static void fetch_values(void *ctx, enum err err, const struct cache_value *values);

static void fetch_send(struct fetch *f) {
    cache_get(f->worker->cache, f->past_tier ? NULL : f->view, f->tier, f->ids, f->count, f->arena, fetch_values, f);
}

static void corrupt_deleted(void *ctx, enum err err, const uint16_t *failed_nodes, size_t failed_count) {
    struct fetch *f = ctx;
    (void)failed_nodes, (void)failed_count;
    if (err) f->past_tier = true;
    fetch_send(f);
}

static void fetch_again(struct fetch *f, const size_t *corrupt, size_t count) {
    size_t *places = ARENA_ARRAY(f->arena, size_t, count);
    for (size_t i = 0; i < count; i++) {
        places[i] = f->places ? f->places[corrupt[i]] : corrupt[i];
        f->ids[i] = f->ids[corrupt[i]]; /* corrupt ascends: never overwrites one still needed */
    }
    f->places = places;
    f->count = count;
    if (f->again || !f->view) {
        f->past_tier = true;
        fetch_send(f);
        return;
    }
    f->again = true;
    struct cache_target *targets = ARENA_ARRAY(f->arena, struct cache_target, count);
    for (size_t i = 0; i < count; i++) targets[i] = (struct cache_target){f->tier, f->ids[i]};
    cache_delete(f->worker->cache, f->view, targets, count, corrupt_deleted, f);
}

static void fetch_values(void *ctx, enum err err, const struct cache_value *values) {
    struct fetch *f = ctx;
    if (err) {
        f->done(f->ctx, err);
        return;
    }
    size_t *corrupt = NULL, corrupt_count = 0;
    for (size_t i = 0; i < f->count; i++) {
        if (!f->take(f->ctx, f->places ? f->places[i] : i, values[i].payload)) continue;
        if (!corrupt) corrupt = ARENA_ARRAY(f->arena, size_t, f->count);
        corrupt[corrupt_count++] = i;
    }
    if (corrupt_count == 0)
        f->done(f->ctx, ERR_OK);
    else if (f->past_tier)
        f->done(f->ctx, ERR_CORRUPT);
    else
        fetch_again(f, corrupt, corrupt_count);
}

/* ---- ids without duplicates, each with its record ---- */

struct authors {
    uint64_t *ids; /* (ref: arena) distinct */
    struct user_record *records;
    bool *exist;
    size_t count;
    uint32_t *table; /* open addressing: index into ids + 1; 0: free */
    size_t mask;
};

static void authors_init(struct authors *a, struct arena *arena, size_t max) {
    size_t cap = 16;
    while (cap < max * 2) cap *= 2;
    a->ids = ARENA_ARRAY(arena, uint64_t, max);
    a->records = ARENA_ARRAY(arena, struct user_record, max);
    a->exist = arena_zalloc(arena, max * sizeof(bool));
    a->table = arena_zalloc(arena, cap * sizeof(uint32_t));
    a->mask = cap - 1;
    a->count = 0;
}

static uint32_t *authors_place(const struct authors *a, uint64_t id) {
    for (size_t at = hash_u64(id) & a->mask;; at = (at + 1) & a->mask)
        if (a->table[at] == 0 || a->ids[a->table[at] - 1] == id) return &a->table[at];
}

static void authors_add(struct authors *a, uint64_t id) {
    uint32_t *place = authors_place(a, id);
    if (*place) return;
    a->ids[a->count++] = id;
    *place = (uint32_t)a->count;
}

static bool authors_known(const struct authors *a, uint64_t id) {
    return *authors_place(a, id) != 0;
}

static const struct user_record *authors_get(const struct authors *a, uint64_t id) {
    uint32_t index = *authors_place(a, id);
    return index && a->exist[index - 1] ? &a->records[index - 1] : NULL;
}

/* ---- posts ---- */

struct hydration {
    struct worker *worker;
    const struct placement_view *view;
    struct arena *arena;
    const uint64_t *ids; /* (ref: arena, copied) */
    size_t count;
    struct hydrated *posts;
    struct authors authors;
    size_t author_base; /* authors asked for before the fetch in hand */
    struct fetch post_fetch, count_fetch, author_fetch;
    unsigned open; /* fetches of this round */
    bool last_round;
    enum err err;
    struct loop_task nothing; /* answers when nothing was asked */
    hydrated_fn *done;
    void *ctx;
};

static enum err take_post(void *ctx, size_t place, struct str payload) {
    struct hydration *h = ctx;
    struct hydrated *p = &h->posts[place];
    p->exists = false;
    if (!payload.data) return ERR_OK;
    enum err err = post_record_decode(h->ids[place], payload, &p->post);
    p->exists = !err;
    return err;
}

static enum err take_counts(void *ctx, size_t place, struct str payload) {
    struct hydration *h = ctx;
    if (!payload.data) return ERR_OK;
    return counts_record_decode(payload, &h->posts[place].counts);
}

static enum err take_author(void *ctx, size_t place, struct str payload) {
    struct hydration *h = ctx;
    size_t index = h->author_base + place;
    h->authors.exist[index] = false;
    if (!payload.data) return ERR_OK;
    enum err err = user_record_decode(h->authors.ids[index], payload, &h->authors.records[index]);
    h->authors.exist[index] = !err;
    return err;
}

static void round_part_done(void *ctx, enum err err);

static struct fetch fetch_of(struct hydration *h, enum tier tier, const uint64_t *ids, size_t count,
                             enum err (*take)(void *ctx, size_t place, struct str payload)) {
    return (struct fetch){.worker = h->worker,
                          .view = h->view,
                          .arena = h->arena,
                          .tier = tier,
                          .ids = arena_dup(h->arena, ids, count * sizeof *ids),
                          .count = count,
                          .take = take,
                          .done = round_part_done,
                          .ctx = h};
}

static void finish(struct hydration *h) {
    for (size_t i = 0; i < h->count && !h->err; i++) {
        struct hydrated *p = &h->posts[i];
        if (!p->exists) continue;
        const struct user_record *author = authors_get(&h->authors, p->post.author_id);
        if (author)
            p->author = *author;
        else
            p->exists = false;
    }
    h->done(h->ctx, h->err, h->err ? NULL : h->posts);
}

static void round_part_done(void *ctx, enum err err) {
    struct hydration *h = ctx;
    if (err) h->err = err;
    if (--h->open) return;
    if (!h->last_round && !h->err) {
        h->last_round = true;
        h->author_base = h->authors.count;
        for (size_t i = 0; i < h->count; i++)
            if (h->posts[i].exists && !authors_known(&h->authors, h->posts[i].post.author_id))
                authors_add(&h->authors, h->posts[i].post.author_id);
        size_t unknown = h->authors.count - h->author_base;
        if (unknown) {
            h->open = 1;
            h->author_fetch = fetch_of(h, TIER_USERS, h->authors.ids + h->author_base, unknown, take_author);
            fetch_send(&h->author_fetch);
            return;
        }
    }
    finish(h);
}

static void nothing_asked(struct loop_task *task) {
    struct hydration *h = CONTAINER_OF(task, struct hydration, nothing);
    h->done(h->ctx, ERR_OK, h->posts);
}

void hydrate_posts(struct worker *w, const struct placement_view *view, const uint64_t *ids,
                   const uint64_t *author_hints, size_t n, struct arena *arena, hydrated_fn *done, void *ctx) {
    struct hydration *h = ARENA_NEW(arena, struct hydration);
    h->worker = w;
    h->view = view;
    h->arena = arena;
    h->ids = arena_dup(arena, ids, n * sizeof *ids);
    h->count = n;
    h->posts = arena_zalloc(arena, n * sizeof *h->posts);
    h->done = done;
    h->ctx = ctx;
    if (n == 0) {
        h->nothing.run = nothing_asked;
        loop_post(w->loop, &h->nothing);
        return;
    }
    authors_init(&h->authors, arena, 2 * n); /* each post may name one by its hint and another by its record */
    for (size_t i = 0; author_hints && i < n; i++)
        if (author_hints[i]) authors_add(&h->authors, author_hints[i]);
    h->post_fetch = fetch_of(h, TIER_CONTENT, ids, n, take_post);
    h->count_fetch = fetch_of(h, TIER_COUNTERS, ids, n, take_counts);
    h->open = 2;
    if (h->authors.count) {
        h->author_fetch = fetch_of(h, TIER_USERS, h->authors.ids, h->authors.count, take_author);
        h->open = 3;
        fetch_send(&h->author_fetch);
    }
    fetch_send(&h->post_fetch);
    fetch_send(&h->count_fetch);
}

/* ---- one user, one reader's relations ---- */

struct one {
    struct fetch fetch;
    uint64_t id;
    bool exists;
    struct user_record user;
    struct relations relations;
    user_done_fn *user_done;
    relations_done_fn *relations_done;
    void *ctx;
};

static struct one *one_new(struct worker *w, const struct placement_view *view, enum tier tier, uint64_t id,
                           struct arena *arena, void *ctx) {
    struct one *o = ARENA_NEW(arena, struct one);
    o->id = id;
    o->ctx = ctx;
    o->fetch = (struct fetch){.worker = w, .view = view, .arena = arena, .tier = tier, .count = 1, .ctx = o};
    o->fetch.ids = arena_dup(arena, &id, sizeof id);
    return o;
}

static enum err take_user(void *ctx, size_t place, struct str payload) {
    struct one *o = ctx;
    (void)place;
    o->exists = false;
    if (!payload.data) return ERR_OK;
    enum err err = user_record_decode(o->id, payload, &o->user);
    o->exists = !err;
    return err;
}

static void user_fetched(void *ctx, enum err err) {
    struct one *o = ctx;
    o->user_done(o->ctx, err, !err && o->exists, !err && o->exists ? &o->user : NULL);
}

void hydrate_user(struct worker *w, const struct placement_view *view, uint64_t user_id, struct arena *arena,
                  user_done_fn *done, void *ctx) {
    struct one *o = one_new(w, view, TIER_USERS, user_id, arena, ctx);
    o->user_done = done;
    o->fetch.take = take_user;
    o->fetch.done = user_fetched;
    fetch_send(&o->fetch);
}

static enum err take_relations(void *ctx, size_t place, struct str payload) {
    struct one *o = ctx;
    (void)place;
    o->relations = (struct relations){.reader_id = o->id};
    return payload.data ? relations_decode(o->id, payload, &o->relations) : ERR_OK;
}

static void relations_fetched(void *ctx, enum err err) {
    struct one *o = ctx;
    o->relations_done(o->ctx, err, err ? NULL : &o->relations);
}

void hydrate_relations(struct worker *w, const struct placement_view *view, uint64_t reader_id, struct arena *arena,
                       relations_done_fn *done, void *ctx) {
    struct one *o = one_new(w, view, TIER_GRAPH, reader_id, arena, ctx);
    o->relations_done = done;
    o->fetch.take = take_relations;
    o->fetch.done = relations_fetched;
    fetch_send(&o->fetch);
}
