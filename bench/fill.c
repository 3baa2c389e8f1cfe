/*
 * fill: makes timelines resident as their first reads would (begin with a nonce, fill with what the tables say), many
 * at a time, and tells what they cost in memory. Blocks and mutes are not looked at: the read is the gate, and
 * `fanfarectl verify` tells.
 *
 *   follows, posts -> entries of a reader, newest first, at most cap -> timeline_begin -> timeline_fill
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench/idlists.h"
#include "bench/nodes.h"
#include "bench/people.h"
#include "bench/report.h"
#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/store/timeline.h"

struct fill {
    struct nodes nodes;
    struct timelines *timelines; /* (own) */
    struct people people;
    struct idlists followees, posts;
    size_t cap, window;
    size_t next, under_way;
    size_t filled, already, failed;
    uint64_t entries;
    enum err why;          /* of the first failure */
    struct entry *scratch; /* (own) */
    size_t scratch_cap;
    struct loop_timer turn; /* starts what there is room for */
    bool quiet;
};
struct one { /* a timeline under way */
    struct fill *fill;
    uint64_t user, nonce;
};

static int newest_first(const void *a, const void *b) {
    const struct entry *x = a, *y = b;
    return x->post_id < y->post_id ? 1 : x->post_id > y->post_id ? -1 : 0;
}

static void add_posts(struct fill *f, uint64_t author, size_t *n) {
    const struct idlist *posts = idlists_get(&f->posts, author);
    size_t count = posts ? posts->count : 0;
    if (count > f->cap) count = f->cap;
    if (*n + count > f->scratch_cap) {
        f->scratch_cap = 2 * (*n + count);
        f->scratch = mem_grow(f->scratch, f->scratch_cap, sizeof(*f->scratch));
    }
    for (size_t i = 0; i < count; i++) f->scratch[(*n)++] = (struct entry){posts->ids[i], author};
}

/* The reader's entries into scratch; *ret_mark: complete for ids from here on. */
static size_t compute(struct fill *f, uint64_t user, uint64_t *ret_mark) {
    const struct idlist *followees = idlists_get(&f->followees, user);
    size_t n = 0;
    add_posts(f, user, &n);
    for (size_t i = 0; followees && i < followees->count; i++) add_posts(f, followees->ids[i], &n);
    qsort(f->scratch, n, sizeof(*f->scratch), newest_first);
    bool all = n < f->cap; /* an author's own list may have been cut at cap, but only when n reaches it too */
    if (n > f->cap) n = f->cap;
    *ret_mark = all ? 0 : f->scratch[n - 1].post_id;
    return n;
}

static void finish(struct one *o, size_t *counter) {
    struct fill *f = o->fill;
    (*counter)++;
    mem_free(o);
    f->under_way--;
    loop_timer_start(f->nodes.loop, &f->turn, 0);
}

static void fail(struct one *o, enum err err) {
    if (!o->fill->failed) o->fill->why = err;
    finish(o, &o->fill->failed);
}

static void on_filled(void *ctx, enum err err, bool applied) {
    struct one *o = ctx;
    if (err != ERR_OK)
        fail(o, err);
    else
        finish(o, applied ? &o->fill->filled : &o->fill->already);
}

static bool locate(const struct fill *f, uint64_t user, const struct placement_view **ret_view, struct location *ret) {
    *ret_view = placement_acquire(f->nodes.placement);
    if (*ret_view && placement_locate(*ret_view, TIER_TIMELINE, user, ret)) return true;
    placement_release(*ret_view);
    return false;
}

static void on_begun(void *ctx, enum err err, bool applied) {
    struct one *o = ctx;
    struct fill *f = o->fill;
    const struct placement_view *view;
    struct location at;
    if (err != ERR_OK) return fail(o, err);
    if (!applied) return finish(o, &f->already);
    if (!locate(f, o->user, &view, &at)) return fail(o, ERR_STALE);
    uint64_t mark;
    size_t n = compute(f, o->user, &mark);
    enum err e = timeline_fill(f->timelines, &at, o->user, o->nonce, f->scratch, n, mark, on_filled, o);
    placement_release(view);
    if (e != ERR_OK) return fail(o, e);
    f->entries += n;
}

static void start_one(struct fill *f, uint64_t user) {
    struct one *o = NEW(struct one);
    const struct placement_view *view;
    struct location at;
    *o = (struct one){f, user, random_u64()};
    f->under_way++;
    if (!locate(f, user, &view, &at)) return fail(o, ERR_STALE);
    enum err e = timeline_begin(f->timelines, &at, user, o->nonce, on_begun, o);
    placement_release(view);
    if (e != ERR_OK) fail(o, e);
}

static void on_turn(struct loop_timer *t) {
    struct fill *f = CONTAINER_OF(t, struct fill, turn);
    while (f->under_way < f->window && f->next < f->people.count) {
        start_one(f, f->people.list[f->next++].id);
        if (f->next % 10000 == 0 && !f->quiet)
            fprintf(stderr, "fill: %zu of %zu timelines\n", f->next, f->people.count);
    }
    if (!f->under_way && f->next == f->people.count) loop_stop(f->nodes.loop);
}

static bool run(struct fill *f, struct bench *b) {
    uint64_t before, after, began = clock_mono_ns();
    if (!nodes_used_memory(&f->nodes, &before)) return false;
    f->turn.fire = on_turn;
    loop_timer_start(f->nodes.loop, &f->turn, 0);
    loop_run(f->nodes.loop);
    loop_timer_stop(&f->turn);
    double seconds = (double)(clock_mono_ns() - began) / 1e9;
    if (f->failed) {
        bench_fail("%zu timelines could not be filled: %s", f->failed, err_text(f->why));
        return false;
    }
    if (!nodes_used_memory(&f->nodes, &after)) return false;
    struct report r;
    report_init(&r);
    report_count(&r, "filled", f->filled);
    report_count(&r, "resident_already", f->already);
    report_count(&r, "entries", f->entries);
    report_real(&r, "seconds", seconds);
    report_figure(
        &r, "timeline_bytes_per_entry", f->entries ? ((double)after - (double)before) / (double)f->entries : 0,
        "%zu timelines, %.0f entries on average, capped at %lld; used_memory of all timeline nodes after less before, "
        "keys, headers and the key table included",
        f->filled, f->filled ? (double)f->entries / (double)f->filled : 0, (long long)b->options.timeline_cap);
    report_print(&r);
    report_fini(&r);
    return true;
}

int command_fill(struct bench *b, int argc, char **argv) {
    const char *prefix = "bench_r";
    uint64_t window = 64;
    const struct arg table[] = {{"--prefix", ARG_TEXT, &prefix, 0, 0, NULL, "of the readers' handles (bench_r)"},
                                {"--window", ARG_NUMBER, &window, 1, 10000, NULL, "timelines under way (64)"}};
    if (!bench_arguments(table, ARRAY_LEN(table), argc, argv)) return EXIT_USAGE;
    struct fill f = {.cap = (size_t)b->options.timeline_cap, .window = window};
    bool good = people_load(b, prefix, &f.people) && idlists_load(b, IDLISTS_FOLLOWEES, &f.followees) &&
                idlists_load(b, IDLISTS_POSTS, &f.posts) && nodes_init(&f.nodes, b);
    if (good) {
        const struct timelines_options options = {.redis = f.nodes.redis,
                                                  .cap = (unsigned)b->options.timeline_cap,
                                                  .slack = (unsigned)b->options.timeline_slack,
                                                  .ttl_ms = (uint64_t)b->options.timeline_ttl_ms,
                                                  .building_ttl_ms = 30000,
                                                  .lateness_ms = (uint64_t)b->options.lateness_ms};
        f.timelines = timelines_new(&options);
        good = run(&f, b);
        timelines_free(&f.timelines);
        nodes_fini(&f.nodes);
    }
    idlists_fini(&f.followees);
    idlists_fini(&f.posts);
    people_fini(&f.people);
    mem_free(f.scratch);
    return good ? EXIT_MEASURED : EXIT_FAILED;
}
