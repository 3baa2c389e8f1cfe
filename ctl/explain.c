/*
 * explain: why a post is or is not in a feed. It follows the same way as a read (database facts first, then what the
 * timeline holds) and tells each step; it changes nothing.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/domain/id.h"
#include "common/store/placement.h"
#include "common/store/ring.h"
#include "common/store/timeline.h"
#include "ctl/arguments.h"
#include "ctl/ctl.h"

struct facts {
    uint64_t reader, post, author;
    bool exists, deleted, follows, mutes, blocks, blocked, queued, reader_exists;
    uint64_t position; /* of the job, when queued */
};

static bool read_facts(struct ctl *c, struct facts *f) {
    CLEANUP(arena_fini) struct arena a;
    arena_init(&a, 0);
    struct pg_params p;
    pg_params_init(&p, &a);
    pg_param_int8(&p, f->reader);
    pg_param_int8(&p, f->post);
    CLEANUP(pg_result_free) struct pg_result *r = NULL;
    if (!ctl_query(
            c,
            "SELECT p.author_id, p.deleted_at IS NOT NULL, "
            "EXISTS (SELECT FROM following WHERE shard = shard_of($1) AND follower = $1 AND followee = p.author_id), "
            "EXISTS (SELECT FROM mutes WHERE shard = shard_of($1) AND muter = $1 AND muted = p.author_id), "
            "EXISTS (SELECT FROM blocks WHERE shard = shard_of($1) AND blocker = $1 AND blocked = p.author_id), "
            "EXISTS (SELECT FROM blocked_by WHERE shard = shard_of($1) AND blocked = $1 AND blocker = p.author_id), "
            "(SELECT position FROM outbox WHERE shard = shard_of($2) AND post_id = $2), "
            "EXISTS (SELECT FROM users WHERE shard = shard_of($1) AND id = $1) "
            "FROM posts p WHERE p.shard = shard_of($2) AND p.id = $2",
            &p, &r))
        return false;
    if (!pg_rows(r)) return true;
    f->exists = true;
    f->author = pg_int8(r, 0, 0);
    f->deleted = pg_bool(r, 0, 1);
    f->follows = pg_bool(r, 0, 2);
    f->mutes = pg_bool(r, 0, 3);
    f->blocks = pg_bool(r, 0, 4);
    f->blocked = pg_bool(r, 0, 5);
    f->queued = !pg_null(r, 0, 6);
    if (f->queued) f->position = pg_int8(r, 0, 6);
    f->reader_exists = pg_bool(r, 0, 7);
    return true;
}

/* The reason that keeps it out, from the tables alone; NULL: it belongs in. */
static const char *kept_out(const struct facts *f) {
    if (!f->exists) return "there is no such post";
    if (!f->reader_exists) return "there is no such reader";
    if (f->deleted) return "the post was deleted";
    if (f->blocks) return "the reader blocks the author";
    if (f->blocked) return "the author blocks the reader";
    if (f->mutes && f->author != f->reader) return "the reader mutes the author";
    if (!f->follows && f->author != f->reader) return "the reader does not follow the author";
    return NULL;
}

struct look {
    struct loop *loop;
    struct loop_timer deadline;
    enum err err;
    bool done;
    enum timeline_presence presence;
    size_t count, position; /* position: index of the post, or SIZE_MAX */
    uint64_t complete_from;
    uint64_t post;
};

static void on_timeline(void *ctx, enum err err, const struct timeline_part *part) {
    struct look *l = ctx;
    l->done = true;
    l->err = err;
    l->position = SIZE_MAX;
    if (err == ERR_OK) {
        l->presence = part->presence;
        l->count = part->view.count;
        l->complete_from = part->view.complete_from;
        for (size_t i = 0; part->presence == TIMELINE_PRESENT && i < part->view.count; i++)
            if (part->view.entries[i].post_id == l->post) l->position = i;
    }
    loop_stop(l->loop);
}

static void on_deadline(struct loop_timer *t) {
    loop_stop(CONTAINER_OF(t, struct look, deadline)->loop);
}

static void tell_timeline(const struct look *l, const struct facts *f) {
    if (!l->done || l->err != ERR_OK) {
        printf("timeline: the node does not answer (%s); reads go to the database\n",
               l->done ? err_text(l->err) : "no answer in 2 s");
    } else if (l->presence == TIMELINE_ABSENT) {
        puts("timeline: cold; the next read rebuilds it from the database");
    } else if (l->presence == TIMELINE_IS_BUILDING) {
        puts("timeline: being rebuilt at this moment");
    } else if (l->position != SIZE_MAX) {
        printf("timeline: resident, %zu entries; pushed: entry %zu from the top\n", l->count, l->position);
    } else if (f->post < l->complete_from) {
        printf("timeline: resident, %zu entries, complete from id %" PRIu64
               " on; the post is beyond the window and comes from the database\n",
               l->count, l->complete_from);
    } else {
        printf("timeline: resident, %zu entries, complete from id %" PRIu64 " on; the post is not in it%s\n", l->count,
               l->complete_from, f->queued ? " yet (queued)" : ": this is an error, run fanfarectl verify --user");
    }
}

static void ask_timeline(struct ctl *c, const struct facts *f, const struct node *node, uint32_t generation) {
    struct look l = {.loop = loop_new(), .post = f->post, .deadline.fire = on_deadline};
    CLEANUP(arena_fini) struct arena a;
    arena_init(&a, 1 << 16);
    struct redis_set *set = redis_set_new(l.loop, 1500, 16);
    struct timelines_options o = {.redis = set,
                                  .cap = (unsigned)c->options.timeline_cap,
                                  .slack = (unsigned)c->options.timeline_slack,
                                  .ttl_ms = (uint64_t)c->options.timeline_ttl_ms,
                                  .building_ttl_ms = 10000,
                                  .lateness_ms = (uint64_t)c->options.lateness_ms};
    struct timelines *t = timelines_new(&o);
    struct location at = {.node = node, .generation = generation};
    struct redis *redis = redis_set_get(set, node->address);
    loop_timer_start(l.loop, &l.deadline, 100); /* a turn to connect in */
    while (!redis_up(redis) && l.deadline.loop) loop_run(l.loop);
    loop_timer_start(l.loop, &l.deadline, 2000);
    enum err e = timeline_read(t, &at, f->reader, 0, false, &a, on_timeline, &l);
    if (e == ERR_OK)
        loop_run(l.loop);
    else
        l = (struct look){.loop = l.loop, .done = true, .err = e};
    loop_timer_stop(&l.deadline);
    tell_timeline(&l, f);
    timelines_free(&t);
    redis_set_free(&set);
    loop_free(&l.loop);
}

static bool look_into_timeline(struct ctl *c, const struct facts *f) {
    CLEANUP(arena_fini) struct arena a;
    arena_init(&a, 0);
    struct pg_params p;
    pg_params_init(&p, &a);
    pg_param_int4(&p, ring_slot(f->reader));
    CLEANUP(pg_result_free) struct pg_result *r = NULL;
    if (!ctl_query(c,
                   "SELECT n.name, n.address, s.generation FROM cache_slots s JOIN cache_nodes n ON n.id = s.node_id "
                   "WHERE s.tier = 0 AND s.slot = $1",
                   &p, &r))
        return false;
    if (!pg_rows(r)) {
        puts("timeline: no live node for it; reads go to the database");
        return true;
    }
    struct node node = {.kind = NODE_REDIS};
    struct str name = pg_text(r, 0, 0), address = pg_text(r, 0, 1);
    snprintf(node.name, sizeof node.name, "%.*s", (int)name.len, name.data);
    snprintf(node.address, sizeof node.address, "%.*s", (int)address.len, address.data);
    printf("placement: slot %u, node %s (%s), generation %" PRIu64 "\n", ring_slot(f->reader), node.name, node.address,
           pg_int8(r, 0, 2));
    ask_timeline(c, f, &node, (uint32_t)pg_int8(r, 0, 2));
    return true;
}

int command_explain(struct ctl *c, int argc, char **argv) {
    const char *reader = NULL, *post = NULL;
    const struct argument table[] = {ARGUMENT_TEXT("--reader", &reader), ARGUMENT_TEXT("--post", &post)};
    if (!arguments_parse(table, ARRAY_LEN(table), argc, argv)) return EXIT_USAGE;
    if (!reader || !post) return ctl_usage("give --reader and --post");
    struct facts f = {0};
    if (!ctl_id_argument("--reader", reader, &f.reader) || !ctl_id_argument("--post", post, &f.post)) return EXIT_USAGE;
    if (!ctl_database(c) || !read_facts(c, &f)) return EXIT_FAILED;
    const char *why_not = kept_out(&f);
    printf("%s: %s\n", why_not ? "not in the feed" : "in the feed",
           why_not                ? why_not
           : f.author == f.reader ? "it is the reader's own post"
                                  : "the reader follows the author");
    if (!f.exists || !f.reader_exists) return EXIT_DONE;
    char when[25];
    clock_format_rfc3339(id_unix_ms(f.post), when);
    printf("post: %" PRIu64 " by %" PRIu64 ", %s%s\n", f.post, f.author, when, f.deleted ? ", deleted" : "");
    if (f.queued)
        printf("fan-out: queued, delivered up to follower %" PRIu64 " (this reader is %s)\n", f.position,
               f.position >= f.reader ? "among them" : "still to come");
    else
        puts("fan-out: done");
    return look_into_timeline(c, &f) ? EXIT_DONE : EXIT_FAILED;
}
