/*
 * raw-redis: Redis alone. The posts since a given one are pushed once more to all their followers' timelines, in the
 * order of the posts and of their follower lists, by a bare client in batches of 1,000: no plan, no coalescing, no
 * trims; only Redis' CPU counts. With --slack a second pass over the same trims each list to its cap when it has
 * outgrown cap + slack, as fanoutd does.
 *
 * The lists hold every entry twice afterwards and their marks are not raised by the trims: rebuild them before serving
 * from them.
 */
#include <stdio.h>

#include "bench/cpu.h"
#include "bench/idlists.h"
#include "bench/nodes.h"
#include "bench/report.h"
#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/domain/id.h"
#include "common/store/redis_pipe.h"

enum { BATCH = 1000, WINDOW = 4 * BATCH, NODES_MAX = 16 };

struct key { /* where a follower's timeline is */
    uint8_t node, len;
    char text[CACHE_KEY_MAX];
};
struct pass;
struct target { /* one node */
    struct pass *pass;
    struct redis_pipe *pipe;        /* (own) */
    struct redis_pipe_batch *batch; /* (ref: pipe) open */
    struct redis *side;             /* (ref: nodes) for trims */
    unsigned in_batch;
    uint64_t under_way;      /* batches */
    const struct key **keys; /* (own) of the pushes without an answer, a ring */
    size_t head, count;
};
struct pass {
    struct nodes *nodes;
    const struct idlists *followers;
    const struct entry *posts; /* (ref) ascending */
    size_t post_count;
    struct map *keys; /* (ref) user -> struct key (own) */
    struct target targets[NODES_MAX];
    unsigned target_count;
    size_t post, follower; /* the next push */
    int32_t trim_above;    /* 0: never */
    int64_t cap;
    uint64_t pushes, counted, trims;
    bool trimming, failed;
    enum err why;
    struct loop_timer turn;
};

static void on_lengths(void *ctx, enum err err, const int32_t *lengths, size_t answered, struct str error_text);

static void trim(struct pass *p, struct target *t, const struct key *k) {
    char last[24];
    int n = snprintf(last, sizeof(last), "%lld", (long long)p->cap - 1);
    const struct str argv[] = {STR("LTRIM"), str_of(k->text, k->len), STR("0"), str_of(last, (size_t)n)};
    if (redis_command(t->side, NULL, NULL, ARRAY_LEN(argv), argv) == ERR_OK) p->trims++;
}

static void end_batch(struct target *t) {
    struct redis_pipe_batch *b = t->batch;
    if (!b) return;
    t->batch = NULL;
    t->in_batch = 0;
    redis_pipe_end(b);
}

/* False: no room there now. */
static bool push(struct pass *p, const struct key *k, const struct entry *e) {
    struct target *t = &p->targets[k->node];
    if (t->count == WINDOW || !redis_pipe_room(t->pipe)) return false;
    if (!t->batch) {
        enum err err = redis_pipe_begin(t->pipe, on_lengths, t, &t->batch);
        if (err != ERR_OK) {
            p->failed = true;
            p->why = err;
            return false;
        }
        t->under_way++;
    }
    redis_pipe_push(t->batch, str_of(k->text, k->len), e, 1);
    t->keys[(t->head + t->count++) % WINDOW] = k;
    p->pushes++;
    if (++t->in_batch == BATCH) end_batch(t);
    return true;
}

/* Pushes until a node has no room, in order. */
static void pump(struct pass *p) {
    while (!p->failed && p->post < p->post_count) {
        const struct entry *e = &p->posts[p->post];
        const struct idlist *l = idlists_get(p->followers, e->author_id);
        for (; l && p->follower < l->count; p->follower++) {
            const struct key *k = map_get(p->keys, l->ids[p->follower]);
            if (k && !push(p, k, e)) return;
        }
        p->follower = 0;
        p->post++;
    }
    for (unsigned i = 0; i < p->target_count; i++) end_batch(&p->targets[i]);
}

static bool pass_over(const struct pass *p) {
    if (p->post < p->post_count && !p->failed) return false;
    for (unsigned i = 0; i < p->target_count; i++)
        if (p->targets[i].under_way) return false;
    return true;
}

static void on_turn(struct loop_timer *t) {
    struct pass *p = CONTAINER_OF(t, struct pass, turn);
    pump(p);
    if (p->failed)
        for (unsigned i = 0; i < p->target_count; i++) end_batch(&p->targets[i]);
    if (pass_over(p)) loop_stop(p->nodes->loop);
}

static void on_lengths(void *ctx, enum err err, const int32_t *lengths, size_t answered, struct str error_text) {
    struct target *t = ctx;
    struct pass *p = t->pass;
    (void)error_text;
    t->under_way--;
    for (size_t i = 0; i < answered; i++) {
        const struct key *k = t->keys[t->head];
        t->head = (t->head + 1) % WINDOW;
        t->count--;
        p->counted += lengths[i] > 0;
        if (p->trim_above && lengths[i] > p->trim_above) trim(p, t, k);
    }
    if (err != ERR_OK) {
        p->failed = true;
        p->why = err;
    }
    loop_timer_start(p->nodes->loop, &p->turn, 0);
}

/* ---- Set-up ---- */

static bool load_posts(struct bench *b, uint64_t since, uint64_t most, struct entry **ret, size_t *ret_count) {
    CLEANUP(arena_fini) struct arena a;
    arena_init(&a, 0);
    struct pg_params params;
    pg_params_init(&params, &a);
    pg_param_int8(&params, since);
    pg_param_int8(&params, most);
    CLEANUP(pg_result_free) struct pg_result *r = NULL;
    if (!bench_query(b, "SELECT id, author_id FROM posts WHERE id >= $1 ORDER BY id LIMIT $2", &params, &r))
        return false;
    size_t n = (size_t)pg_rows(r);
    if (!n) {
        bench_fail("there is no post since %llu", (unsigned long long)since);
        return false;
    }
    struct entry *posts = NEW_ARRAY(struct entry, n);
    for (size_t i = 0; i < n; i++) posts[i] = (struct entry){pg_int8(r, (int)i, 0), pg_int8(r, (int)i, 1)};
    *ret = posts;
    *ret_count = n;
    return true;
}

static unsigned target_of(struct pass *p, const struct node *node, const char **addresses) {
    for (unsigned i = 0; i < p->target_count; i++)
        if (addresses[i] == node->address) return i;
    addresses[p->target_count] = node->address;
    return p->target_count++;
}

/* A key for each follower of an author of these posts. */
static bool make_keys(struct pass *p, const struct placement_view *v, const char **addresses) {
    for (size_t i = 0; i < p->post_count; i++) {
        const struct idlist *l = idlists_get(p->followers, p->posts[i].author_id);
        for (size_t j = 0; l && j < l->count; j++) {
            struct location at;
            if (map_get(p->keys, l->ids[j])) continue;
            if (!placement_locate(v, TIER_TIMELINE, l->ids[j], &at) || p->target_count == NODES_MAX) return false;
            struct key *k = NEW(struct key);
            k->node = (uint8_t)target_of(p, at.node, addresses);
            k->len = (uint8_t)cache_key(TIER_TIMELINE, at.generation, l->ids[j], k->text);
            map_put(p->keys, l->ids[j], k);
        }
    }
    return true;
}

struct up {
    struct loop_timer timer;
    struct pass *pass;
    unsigned looks;
};

static void look_up(struct loop_timer *t) {
    struct up *u = CONTAINER_OF(t, struct up, timer);
    unsigned up = 0;
    for (unsigned i = 0; i < u->pass->target_count; i++) up += redis_pipe_up(u->pass->targets[i].pipe);
    if (up == u->pass->target_count || ++u->looks > 250)
        loop_stop(u->pass->nodes->loop);
    else
        loop_timer_start(u->pass->nodes->loop, t, 20);
}

static void connect_targets(struct pass *p, struct bench *b, const char *const *addresses) {
    for (unsigned i = 0; i < p->target_count; i++) {
        struct target *t = &p->targets[i];
        *t = (struct target){.pass = p, .keys = NEW_ARRAY(const struct key *, WINDOW)};
        t->side = redis_set_get(p->nodes->redis, addresses[i]);
        t->pipe = redis_pipe_new(p->nodes->loop,
                                 &(struct redis_pipe_options){.address = addresses[i],
                                                              .timeout_ms = (uint64_t)b->options.redis_timeout_ms,
                                                              .window = WINDOW});
    }
    struct up u = {.timer = {.fire = look_up}, .pass = p};
    loop_timer_start(p->nodes->loop, &u.timer, 0);
    loop_run(p->nodes->loop);
}

static bool run_pass(struct pass *p, const struct cpu_pids *pids, const char *what, struct cpu_usage *ret,
                     double *ret_s) {
    struct cpu_usage before, after;
    p->post = p->follower = 0;
    p->pushes = p->counted = p->trims = 0;
    p->turn.fire = on_turn;
    fprintf(stderr, "raw-redis: %s\n", what);
    uint64_t began = clock_mono_ns();
    bool whole = cpu_sample(pids, &before);
    loop_timer_start(p->nodes->loop, &p->turn, 0);
    loop_run(p->nodes->loop);
    loop_timer_stop(&p->turn);
    whole &= cpu_sample(pids, &after);
    *ret = cpu_since(&before, &after);
    *ret_s = (double)(clock_mono_ns() - began) / 1e9;
    if (p->failed)
        bench_fail("pushing failed: %s", err_text(p->why));
    else if (!whole)
        bench_fail("a server process named by --pid is gone");
    return !p->failed && whole;
}

static void report_pass(struct report *r, const struct pass *p, const char *figure, const struct cpu_usage *cpu,
                        double seconds) {
    double used = cpu->seconds[CPU_REDIS];
    report_figure(r, figure, used > 0 ? (double)p->counted / used : 0,
                  "LPUSHX of one 16-byte entry, %zu posts to all followers in the order of the posts, %zu keys, "
                  "batches of %d, window of %d a node, %u "
                  "nodes, %llu trims; counted when the answer was non-zero; CPU of Redis only, %.1f s",
                  p->post_count, p->keys->count, BATCH, WINDOW, p->target_count, (unsigned long long)p->trims, seconds);
}

static bool passes(struct pass *p, struct bench *b, const struct cpu_pids *pids, bool slack) {
    struct cpu_usage cpu;
    double seconds;
    struct report r;
    report_init(&r);
    bool good = run_pass(p, pids, "plain", &cpu, &seconds);
    if (good) {
        report_pass(&r, p, "redis_lpushx_per_cpu_s", &cpu, seconds);
        report_count(&r, "pushes", p->pushes);
        report_count(&r, "counted", p->counted);
        report_real(&r, "seconds", seconds);
        cpu_report(&r, pids, &cpu);
    }
    if (good && slack) {
        p->trim_above = (int32_t)(b->options.timeline_cap + b->options.timeline_slack);
        good = run_pass(p, pids, "trimmed with slack", &cpu, &seconds);
        if (good) report_pass(&r, p, "redis_lpushx_trimmed_per_cpu_s", &cpu, seconds);
    }
    if (good) report_print(&r);
    report_fini(&r);
    return good;
}

static bool measure(struct pass *p, struct bench *b, const struct cpu_pids *pids, bool slack) {
    const char *addresses[NODES_MAX];
    struct nodes nodes;
    if (!nodes_init(&nodes, b)) return false;
    p->nodes = &nodes;
    const struct placement_view *v = placement_acquire(nodes.placement);
    bool good = v && make_keys(p, v, addresses);
    if (good) {
        connect_targets(p, b, addresses);
        good = passes(p, b, pids, slack);
    } else {
        bench_fail("not every follower's timeline has a live node");
    }
    for (unsigned i = 0; i < p->target_count; i++) {
        redis_pipe_free(&p->targets[i].pipe);
        mem_free(p->targets[i].keys);
    }
    placement_release(v);
    nodes_fini(&nodes);
    p->nodes = NULL;
    return good;
}

int command_raw_redis(struct bench *b, int argc, char **argv) {
    const char *since_text = NULL;
    uint64_t count = 10000, since = 0;
    bool slack = false;
    struct cpu_pids pids = {.count = 0};
    const struct arg table[] = {
        {"--since-id", ARG_TEXT, &since_text, 0, 0, NULL, "first post; publish reports it as first_post_id"},
        {"--count", ARG_NUMBER, &count, 1, 1e9, NULL, "posts at most (10000)"},
        {"--slack", ARG_FLAG, &slack, 0, 0, NULL, "a second pass that trims as fanoutd does"},
        CPU_PID_ARG(&pids)};
    if (!bench_arguments(table, ARRAY_LEN(table), argc, argv)) return EXIT_USAGE;
    if (!since_text || !id_parse(str_c(since_text), &since)) return bench_usage("--since-id: give a post's id");
    if (!pids.count) return bench_usage("--pid redis=PID: name the Redis processes, their CPU is what is measured");
    struct map keys = MAP_INIT;
    struct idlists followers = {.by_owner = MAP_INIT};
    struct entry *posts = NULL;
    struct pass p = {.followers = &followers, .keys = &keys, .cap = b->options.timeline_cap};
    bool good = bench_database(b) && load_posts(b, since, count, &posts, &p.post_count) &&
                idlists_load(b, IDLISTS_FOLLOWERS, &followers);
    p.posts = posts;
    good = good && measure(&p, b, &pids, slack);
    size_t i = 0;
    for (struct map_entry *e; (e = map_next(&keys, &i));) mem_free(e->value);
    map_fini(&keys);
    idlists_fini(&followers);
    mem_free(posts);
    return good ? EXIT_MEASURED : EXIT_FAILED;
}
