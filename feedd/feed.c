/*
 * Reading a feed: the state machine. What a page still needs is decided in feed_page.c; here it is fetched.
 *
 *   feed_read -> relations || timeline head
 *                    |
 *                    +- present  -> page_use -------------------------------+
 *                    +- absent   -> rebuild: entries -> page_use -----------+
 *                    +- building -> join ours, or read again in 10, 20,     |
 *                                   40.. ms, in the end the database        v
 *        +-------------------+------------------+------------------ what is needed? <-+
 *        | DONE              | WHOLE_LIST       | DATABASE          | HYDRATE         |
 *      answer         read all of the list    a page of it     multi-gets             |
 *                            +------------------+-------------------+-----------------+
 *
 * One step is in flight at a time, but for the first two. Each is bounded by a time limit of its own (cache, database,
 * admission). The request's deadline is looked at between steps: what is in flight writes into the request's arena and
 * must end before the answer.
 *
 * The relations are read by this very request, so what a call has hidden is not served by any request that starts after
 * it. Pages of the database are gated by their statement, which is at least as fresh. Nothing is kept from one request
 * to the next.
 */
#include "feedd/feed.h"

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/domain/id.h"
#include "common/sys/failpoint.h"
#include "feedd/feed_page.h"
#include "feedd/rebuild.h"

#define POLL_FIRST_MS  10
#define POLL_LAST_MS   320 /* 10 + 20 + .. + 320: some 600 ms in all */
#define REBUILDS_MAX   3   /* its timeline is deleted again and again: ask the database and store nothing */
#define SPARE          4   /* asked for beyond what is missing: some posts may be gone, and the end shows */
#define REFRESH_ONE_OF 16  /* reads that see to the timeline's residence */

/* The same as the oracle from `below` on, packed like a rebuild's answer. */
static const struct pg_statement DEEP_PAGE = {
    "feed_page", "SELECT string_agg(int8send(f.id) || int8send(f.author), ''::bytea) FROM ("
                 " SELECT p.id, a.author FROM"
                 "  (SELECT w.followee AS author FROM following AS w"
                 "   WHERE w.shard = shard_of($1) AND w.follower = $1 AND w.followee <> $1"
                 "   AND NOT EXISTS (SELECT FROM blocks AS b"
                 "                   WHERE b.shard = shard_of($1) AND b.blocker = $1 AND b.blocked = w.followee)"
                 "   AND NOT EXISTS (SELECT FROM blocked_by AS b"
                 "                   WHERE b.shard = shard_of($1) AND b.blocked = $1 AND b.blocker = w.followee)"
                 "   AND NOT EXISTS (SELECT FROM mutes AS m"
                 "                   WHERE m.shard = shard_of($1) AND m.muter = $1 AND m.muted = w.followee)"
                 "   UNION ALL SELECT $1) AS a"
                 "  CROSS JOIN LATERAL (SELECT id FROM posts WHERE shard = shard_of(a.author) AND author_id = a.author"
                 "   AND deleted_at IS NULL AND id < $2 ORDER BY id DESC LIMIT $3) AS p"
                 " ORDER BY p.id DESC LIMIT $3) AS f"};
static const struct pg_statement AUTHOR_PAGE = {
    "author_page",
    "SELECT string_agg(int8send(p.id) || int8send(p.author_id), ''::bytea) FROM ("
    " SELECT id, author_id FROM posts WHERE shard = shard_of($1) AND author_id = $1 AND deleted_at IS NULL AND id < $2"
    " AND NOT EXISTS (SELECT FROM blocks AS b WHERE b.shard = shard_of($4) AND b.blocker = $4 AND b.blocked = $1)"
    " AND NOT EXISTS (SELECT FROM blocked_by AS b WHERE b.shard = shard_of($4) AND b.blocked = $4 AND b.blocker = $1)"
    " ORDER BY id DESC LIMIT $3) AS p"};

const char *feed_source_name(enum feed_source s) {
    static const char *const NAMES[] = {"resident", "rebuild", "database"};
    return NAMES[s];
}

struct feed {
    struct worker *worker;             /* (ref) */
    struct rebuilds *rebuilds;         /* (ref: worker) */
    const struct placement_view *view; /* (own) released with the answer; NULL: no lease */
    struct location at;
    bool located;       /* `at` may be asked */
    uint64_t reader_id; /* or viewer */
    uint64_t author_id; /* this author's posts are read instead of a feed; 0: a feed */
    struct arena *arena;
    uint64_t deadline_ms;
    bool relations_open, timeline_open; /* steps in flight */
    enum err relations_err, timeline_err;
    struct relations relations;
    struct timeline_part part; /* last answer of the timeline */
    bool head_only;            /* it was asked for its head */
    unsigned rebuilds_made;
    uint64_t poll_ms;
    struct loop_timer poll;
    struct page page;
    uint64_t *posts, *authors; /* (ref: arena) candidates, limit + SPARE */
    bool hydrated_once;
    struct admission_ticket ticket;
    size_t asked; /* of the database, or of hydration */
    enum err refused;
    struct loop_task refusal;
    struct feed_page answer;
    feed_done_fn *done;
    void *ctx;
};

static void advance(struct feed *f);

static void finish(struct feed *f, enum err err) {
    placement_release(f->view);
    if (!err) {
        f->answer.items = f->page.items;
        f->answer.count = f->page.count;
        f->answer.next_before = page_next_before(&f->page);
    }
    f->done(f->ctx, err, err ? NULL : &f->answer);
}

static void deepen_source(struct feed *f, enum feed_source s) {
    if (s > f->answer.source) f->answer.source = s;
}

/* ---- timeline ---- */

static void rebuilt(void *ctx, enum err err, enum rebuild_outcome outcome, const struct entry *entries, size_t count,
                    uint64_t mark);

/* Where nothing may be stored a page of the database is read: it costs less than a rebuild. */
static void start_rebuild(struct feed *f) {
    if (!f->located || !f->at.may_fill || f->rebuilds_made == REBUILDS_MAX) {
        page_use_nothing(&f->page);
        advance(f);
        return;
    }
    deepen_source(f, FEED_REBUILD);
    f->rebuilds_made++;
    rebuild(f->rebuilds, f->reader_id, &f->at, rebuilt, f);
}

static void node_failed(struct feed *f, enum err err) {
    f->located = false;
    if (err == ERR_TIMEOUT || err == ERR_LOST || err == ERR_REFUSED)
        health_report(f->worker->feedd->health, f->at.node->id, err);
}

static void timeline_answered(void *ctx, enum err err, const struct timeline_part *part);

static enum err timeline_ask(struct feed *f, unsigned want, bool refresh) {
    f->head_only = want > 0;
    enum err err =
        timeline_read(f->worker->timelines, &f->at, f->reader_id, want, refresh, f->arena, timeline_answered, f);
    if (err) node_failed(f, err);
    f->timeline_open = !err;
    return err;
}

static void read_whole_list(struct feed *f) {
    if (loop_now_ms(f->worker->loop) >= f->deadline_ms)
        finish(f, ERR_BUSY);
    else if (!f->located || timeline_ask(f, 0, false))
        start_rebuild(f);
}

static void poll_due(struct loop_timer *timer) {
    read_whole_list(CONTAINER_OF(timer, struct feed, poll));
}

/* Somebody in another process is building it. */
static void read_later(struct feed *f) {
    deepen_source(f, FEED_REBUILD);
    if (f->poll_ms > POLL_LAST_MS) { /* he takes too long or died */
        f->located = false;
        start_rebuild(f);
        return;
    }
    f->poll.fire = poll_due;
    loop_timer_start(f->worker->loop, &f->poll, f->poll_ms);
    f->poll_ms *= 2;
}

static void rebuilt(void *ctx, enum err err, enum rebuild_outcome outcome, const struct entry *entries, size_t count,
                    uint64_t mark) {
    struct feed *f = ctx;
    if (err) {
        finish(f, err);
    } else if (outcome == REBUILD_REREAD) {
        read_whole_list(f);
    } else if (outcome == REBUILD_ELSEWHERE) {
        read_later(f);
    } else if (outcome == REBUILD_NO_NODE) {
        f->located = false;
        start_rebuild(f);
    } else {
        struct page_slice slice = {.entries = arena_dup(f->arena, entries, count * sizeof *entries),
                                   .count = count,
                                   .complete_from = mark,
                                   .whole = true};
        page_use(&f->page, &slice);
        advance(f);
    }
}

static void timeline_act(struct feed *f) {
    if (f->timeline_err) node_failed(f, f->timeline_err);
    if (!f->located || f->part.presence == TIMELINE_ABSENT) {
        start_rebuild(f);
        return;
    }
    if (f->part.presence == TIMELINE_IS_BUILDING) {
        if (rebuild_running(f->rebuilds, f->reader_id))
            start_rebuild(f);
        else
            read_later(f);
        return;
    }
    const struct view *v = &f->part.view;
    struct page_slice slice = {v->entries, v->count, v->complete_from, .whole = true};
    /* A head that was rebuilt while it was read proves nothing: all of the list, read at once, does. */
    if (f->head_only) slice.whole = v->whole && v->complete_from < ID_MAX;
    page_use(&f->page, &slice);
    advance(f);
}

static void first_steps_done(struct feed *f) {
    if (f->relations_open || f->timeline_open) return;
    if (f->relations_err)
        finish(f, f->relations_err);
    else
        timeline_act(f);
}

static void timeline_answered(void *ctx, enum err err, const struct timeline_part *part) {
    struct feed *f = ctx;
    f->timeline_open = false;
    f->timeline_err = err;
    if (!err) f->part = *part;
    first_steps_done(f);
}

static void relations_answered(void *ctx, enum err err, const struct relations *relations) {
    struct feed *f = ctx;
    f->relations_open = false;
    f->relations_err = err;
    if (!err) f->relations = *relations;
    first_steps_done(f);
}

/* ---- database ---- */

static void database_answered(void *ctx, enum err err, const struct pg_result *r) {
    struct feed *f = ctx;
    if (!f->author_id) heavy_leave(f->rebuilds);
    if (err) {
        finish(f, err);
        return;
    }
    size_t count;
    struct entry *entries = rebuild_unpack(pg_text(r, 0, 0), f->arena, &count);
    struct page_slice slice = {.entries = entries,
                               .count = count,
                               .complete_from = count < f->asked ? 0 : entries[count - 1].post_id,
                               .whole = true,
                               .gated = true};
    page_use(&f->page, &slice);
    advance(f);
}

static enum err database_send(struct feed *f) {
    f->asked = page_missing(&f->page) + SPARE;
    struct pg_params params;
    pg_params_init(&params, f->arena);
    pg_param_int8(&params, f->author_id ? f->author_id : f->reader_id);
    pg_param_int8(&params, f->page.below);
    pg_param_int8(&params, f->asked);
    if (!f->author_id) return pg_exec(f->worker->heavy, &DEEP_PAGE, &params, database_answered, f);
    pg_param_int8(&params, f->reader_id);
    return pg_exec(f->worker->fast, &AUTHOR_PAGE, &params, database_answered, f);
}

static void heavy_send(struct feed *f) {
    enum err err = database_send(f);
    if (!err) return;
    heavy_leave(f->rebuilds);
    finish(f, err);
}

static void heavy_called(struct admission_ticket *ticket, enum err err) {
    struct feed *f = CONTAINER_OF(ticket, struct feed, ticket);
    if (err)
        finish(f, err);
    else
        heavy_send(f);
}

static void read_database(struct feed *f, uint64_t left_ms) {
    deepen_source(f, FEED_DATABASE);
    if (f->author_id) {
        enum err err = database_send(f);
        if (err) finish(f, err);
        return;
    }
    f->ticket.called = heavy_called;
    switch (heavy_enter(f->rebuilds, &f->ticket, left_ms)) {
    case ADMISSION_IN:
        heavy_send(f);
        break;
    case ADMISSION_WAITS:
        break;
    case ADMISSION_FULL:
        finish(f, ERR_BUSY);
        break;
    }
}

/* ---- hydration ---- */

static void candidates_hydrated(void *ctx, enum err err, const struct hydrated *posts) {
    struct feed *f = ctx;
    if (err) {
        finish(f, err);
        return;
    }
    page_add(&f->page, posts, f->asked);
    advance(f);
}

/* Just what is missing at first, since posts are seldom gone; somewhat more when some were. */
static void hydrate_candidates(struct feed *f) {
    if (FAILPOINT("feed.before_hydrate")) {
        finish(f, ERR_BUSY);
        return;
    }
    size_t max = page_missing(&f->page) + (f->hydrated_once ? SPARE : 0);
    f->hydrated_once = true;
    f->asked = page_take(&f->page, f->posts, f->authors, max);
    hydrate_posts(f->worker, f->view, f->posts, f->authors, f->asked, f->arena, candidates_hydrated, f);
}

static void advance(struct feed *f) {
    enum page_need need = page_need(&f->page);
    uint64_t now = loop_now_ms(f->worker->loop);
    if (need == PAGE_DONE)
        finish(f, ERR_OK);
    else if (now >= f->deadline_ms)
        finish(f, ERR_BUSY);
    else if (need == PAGE_HYDRATE)
        hydrate_candidates(f);
    else if (need == PAGE_WHOLE_LIST)
        read_whole_list(f);
    else
        read_database(f, f->deadline_ms - now);
}

/* ---- the two doors ---- */

static struct feed *feed_new(struct worker *w, uint64_t reader_id, unsigned limit, struct arena *arena,
                             feed_done_fn *done, void *ctx) {
    struct feed *f = ARENA_NEW(arena, struct feed);
    f->worker = w;
    f->rebuilds = w->rebuilds;
    f->view = placement_acquire(w->feedd->placement);
    f->reader_id = reader_id;
    f->arena = arena;
    f->deadline_ms = loop_now_ms(w->loop) + (uint64_t)w->feedd->opt->request_deadline_ms;
    f->poll_ms = POLL_FIRST_MS;
    f->posts = ARENA_ARRAY(arena, uint64_t, limit + SPARE);
    f->authors = ARENA_ARRAY(arena, uint64_t, limit + SPARE);
    f->done = done;
    f->ctx = ctx;
    return f;
}

void feed_read(struct worker *w, uint64_t reader_id, uint64_t before, unsigned limit, struct arena *arena,
               feed_done_fn *done, void *ctx) {
    struct feed *f = feed_new(w, reader_id, limit, arena, done, ctx);
    f->located = f->view && placement_locate(f->view, TIER_TIMELINE, reader_id, &f->at);
    page_init(&f->page, &f->relations, before, limit, ARENA_ARRAY(arena, struct hydrated, limit));
    /* The fault that verification must notice: a block is ignored. */
    f->page.ignore_hidden = FAILPOINT("feed.ignore_block");
    f->relations_open = true;
    hydrate_relations(w, f->view, reader_id, arena, relations_answered, f);
    /* If it can't be asked, that shows when the relations are there. */
    unsigned want = before == ID_MAX ? limit + limit / 2 + 8 : 0;
    if (f->located) timeline_ask(f, want, random_u64() % REFRESH_ONE_OF == 0);
}

static void refused(struct loop_task *task) {
    struct feed *f = CONTAINER_OF(task, struct feed, refusal);
    finish(f, f->refused);
}

void author_posts_read(struct worker *w, uint64_t viewer_id, uint64_t author_id, uint64_t before, unsigned limit,
                       struct arena *arena, feed_done_fn *done, void *ctx) {
    struct feed *f = feed_new(w, viewer_id, limit, arena, done, ctx);
    f->author_id = author_id;
    f->answer.source = FEED_DATABASE;
    page_init(&f->page, NULL, before, limit, ARENA_ARRAY(arena, struct hydrated, limit));
    f->refused = database_send(f);
    if (!f->refused) return;
    f->refusal.run = refused;
    loop_post(w->loop, &f->refusal);
}
