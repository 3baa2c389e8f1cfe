/*
 * The publisher: see publish.h for the flow.
 *
 * Invariants: an item is on `waiting` or in exactly one batch; `in_flight` counts batches; a batch is freed when the
 * last of its items was completed. A statement that fails as a whole (ERR_BACKEND: nothing happened) is done again post
 * by post, once, so that a post that the database cannot take fails nobody else. An uncertain outcome (lost, timeout)
 * is never repeated here: the client decides, with its key.
 */
#include "feedd/publish.h"

#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/sys/failpoint.h"
#include "feedd/metrics.h"

static const struct pg_statement PUBLISH_SQL = {
    "publish_posts", "SELECT ordinal, status, post_id, author_json, invalidation, first_text, first_reply "
                     "FROM publish_posts($1, $2, $3, $4, $5, $6)"};
enum { ORDINAL, STATUS, POST_ID, AUTHOR_JSON, INVALIDATION, FIRST_TEXT, FIRST_REPLY };

struct publisher {
    struct worker *worker; /* (ref) */
    struct loop_hook hook;
    struct list waiting;
    size_t waiting_count;
    unsigned in_flight;
};
struct batch {
    struct publisher *publisher;
    struct arena arena; /* parameters, and what results refer to */
    struct publish_item *items[PUBLISH_BATCH_MAX];
    size_t count;
    size_t open; /* items not completed */
    uint64_t sent_ns;
};
/* A reply whose target's counters are being invalidated. */
struct reply_wait {
    struct batch *batch;
    struct publish_item *item;
};

static bool same_key(const struct publish_item *a, const struct publish_item *b) {
    return a->author_id == b->author_id && a->key.data && b->key.data && str_eq(a->key, b->key);
}

static bool fits(struct publish_item *const *batch, size_t count, const struct publish_item *item) {
    if (count && (item->alone || batch[0]->alone)) return false;
    for (size_t i = 0; item->key.data && i < count; i++)
        if (same_key(batch[i], item)) return false;
    return true;
}

size_t publish_take(struct list *waiting, struct publish_item *batch[static PUBLISH_BATCH_MAX]) {
    size_t count = 0;
    for (struct list *n = waiting->next, *next; n != waiting && count < PUBLISH_BATCH_MAX; n = next) {
        next = n->next;
        struct publish_item *item = CONTAINER_OF(n, struct publish_item, link);
        if (!fits(batch, count, item)) continue;
        list_del(n);
        batch[count++] = item;
        if (item->alone) break;
    }
    return count;
}

static void complete(struct batch *b, struct publish_item *item, enum err err, const struct pg_result *failed) {
    item->done(item->ctx, err, err == ERR_OK ? &item->result : NULL, failed);
    if (--b->open) return;
    arena_fini(&b->arena);
    mem_free(b);
}

static void complete_all(struct batch *b, enum err err, const struct pg_result *failed) {
    for (size_t i = 0, n = b->count; i < n; i++) complete(b, b->items[i], err, failed); /* the last one frees b */
}

static struct str keep(struct batch *b, struct str s) {
    return s.data ? str_of(arena_strndup(&b->arena, s.data, s.len), s.len) : s;
}

static enum publish_status status_of(struct str word) {
    static const char *const WORDS[] = {"created", "replayed", "key_reused", "unknown_author", "unknown_post"};
    for (size_t i = 0; i < ARRAY_LEN(WORDS); i++)
        if (str_eq_c(word, WORDS[i])) return (enum publish_status)i;
    return PUBLISH_CONFLICT;
}

static uint64_t int8_or_0(const struct pg_result *r, int row, int column) {
    return pg_null(r, row, column) ? 0 : pg_int8(r, row, column);
}

static void read_row(struct batch *b, const struct pg_result *r, int row, struct publish_item *item) {
    item->result = (struct publish_result){
        .status = status_of(pg_text(r, row, STATUS)),
        .post_id = int8_or_0(r, row, POST_ID),
        .author_json = keep(b, pg_text(r, row, AUTHOR_JSON)),
        .text = keep(b, pg_text(r, row, FIRST_TEXT)),
        .in_reply_to = int8_or_0(r, row, FIRST_REPLY),
    };
}

struct queued {
    struct publisher *publisher;
    size_t jobs;
};

static void queued(void *ctx, enum err err, uint64_t added) {
    struct queued *q = ctx;
    (void)FAILPOINT("feedd.publish.after_queue");
    if (err != ERR_OK || added < q->jobs)
        feed_metrics_queue_failed(q->publisher->worker->feedd->metrics, q->jobs - (err == ERR_OK ? added : 0));
    mem_free(q);
}

/* Tells the queue about what was created. A hint only. */
static void queue_created(struct batch *b) {
    struct job jobs[PUBLISH_BATCH_MAX];
    size_t n = 0;
    for (size_t i = 0; i < b->count; i++) {
        const struct publish_item *item = b->items[i];
        if (item->result.status != PUBLISH_CREATED) continue;
        jobs[n] = (struct job){.post_id = item->result.post_id, .author_id = item->author_id};
        memcpy(jobs[n++].traceparent, item->traceparent, sizeof(item->traceparent));
    }
    if (!n) return;
    struct queued *q = NEW(struct queued);
    *q = (struct queued){b->publisher, n};
    enum err err = queue_add(b->publisher->worker->queue, jobs, n, queued, q);
    if (err != ERR_OK) queued(q, err, 0);
}

static void reply_invalidated(void *ctx, enum err err) {
    struct reply_wait *w = ctx;
    (void)err; /* the post is there; a count that no cache confirmed is the sweeper's */
    complete(w->batch, w->item, ERR_OK, NULL);
}

static void finish_item(struct batch *b, struct publish_item *item, uint64_t invalidation) {
    if (!invalidation || item->result.status != PUBLISH_CREATED) {
        complete(b, item, ERR_OK, NULL);
        return;
    }
    struct reply_wait *w = ARENA_NEW(&b->arena, struct reply_wait);
    *w = (struct reply_wait){b, item};
    uint64_t *targets = ARENA_ARRAY(&b->arena, uint64_t, 2);
    targets[0] = TIER_COUNTERS;
    targets[1] = item->in_reply_to;
    invalidate_apply(b->publisher->worker->invalidator, invalidation, targets, 2, reply_invalidated, w);
}

static void committed(struct batch *b, const struct pg_result *r) {
    uint64_t invalidations[PUBLISH_BATCH_MAX] = {0};
    for (int row = 0; row < pg_rows(r); row++) {
        size_t i = (size_t)pg_int8(r, row, ORDINAL) - 1;
        read_row(b, r, row, b->items[i]);
        invalidations[i] = int8_or_0(r, row, INVALIDATION);
    }
    queue_created(b);
    for (size_t i = 0, n = b->count; i < n; i++) finish_item(b, b->items[i], invalidations[i]);
}

/* Nothing happened: each goes again by itself, before what came later. */
static void again_alone(struct batch *b) {
    struct publisher *p = b->publisher;
    feed_metrics_batch_retried(p->worker->feedd->metrics);
    for (size_t i = b->count; i-- > 0;) {
        b->items[i]->alone = true;
        list_add_head(&p->waiting, &b->items[i]->link);
        p->waiting_count++;
    }
    arena_fini(&b->arena);
    mem_free(b);
}

static void published(void *ctx, enum err err, const struct pg_result *r) {
    struct batch *b = ctx;
    struct publisher *p = b->publisher;
    p->in_flight--;
    if (FAILPOINT("feedd.publish.after_commit") && err == ERR_OK) err = ERR_LOST;
    if (err == ERR_OK && pg_rows(r) != (int)b->count) err = ERR_INTERNAL;
    if (err == ERR_OK) {
        feed_metrics_batch(p->worker->feedd->metrics, b->count, clock_mono_ns() - b->sent_ns);
        committed(b, r);
    } else if (err == ERR_BACKEND && b->count > 1) {
        again_alone(b);
    } else {
        complete_all(b, err, r);
    }
}

static void batch_params(struct batch *b, struct pg_params *params) {
    struct arena *a = &b->arena;
    uint64_t *authors = ARENA_ARRAY(a, uint64_t, b->count);
    uint64_t *hashes = ARENA_ARRAY(a, uint64_t, b->count);
    struct str *texts = ARENA_ARRAY(a, struct str, b->count);
    uint64_t *replies = ARENA_ARRAY(a, uint64_t, b->count);
    struct str *keys = ARENA_ARRAY(a, struct str, b->count);
    struct str *traces = ARENA_ARRAY(a, struct str, b->count);
    for (size_t i = 0; i < b->count; i++) {
        const struct publish_item *item = b->items[i];
        authors[i] = item->author_id;
        hashes[i] = item->request_hash;
        texts[i] = item->text;
        replies[i] = item->in_reply_to;
        keys[i] = item->key;
        traces[i] = item->traceparent[0] ? str_c(item->traceparent) : (struct str){0};
    }
    pg_params_init(params, a);
    pg_param_int8_array(params, authors, b->count);
    pg_param_text_array(params, texts, b->count);
    pg_param_int8_array(params, replies, b->count);
    pg_param_text_array(params, keys, b->count);
    pg_param_int8_array(params, hashes, b->count);
    pg_param_text_array(params, traces, b->count);
}

static void send_batch(struct publisher *p, struct batch *b) {
    struct pg_params params;
    arena_init(&b->arena, 16384);
    batch_params(b, &params);
    b->publisher = p;
    b->open = b->count;
    b->sent_ns = clock_mono_ns();
    enum err err = FAILPOINT("feedd.publish.before_commit")
                       ? ERR_REFUSED
                       : pg_exec(p->worker->fast, &PUBLISH_SQL, &params, published, b);
    if (err == ERR_OK)
        p->in_flight++;
    else
        complete_all(b, err, NULL);
}

/* Completes what nobody waits for; true: it did. */
static bool drop_if_gone(struct publish_item *item) {
    if (!item->gone || !item->gone(item->ctx)) return false;
    item->done(item->ctx, ERR_CANCELED, NULL, NULL);
    return true;
}

static uint64_t flush(struct loop_hook *hook) {
    struct publisher *p = CONTAINER_OF(hook, struct publisher, hook);
    while (!list_empty(&p->waiting) && p->in_flight < PUBLISH_IN_FLIGHT_MAX) {
        struct batch *b = NEW(struct batch);
        size_t taken = publish_take(&p->waiting, b->items);
        p->waiting_count -= taken;
        for (size_t i = 0; i < taken; i++)
            if (!drop_if_gone(b->items[i])) b->items[b->count++] = b->items[i];
        if (b->count)
            send_batch(p, b);
        else
            mem_free(b);
    }
    return UINT64_MAX;
}

struct publisher *publisher_new(struct worker *w) {
    struct publisher *p = NEW(struct publisher);
    p->worker = w;
    list_init(&p->waiting);
    p->hook.run = flush;
    loop_hook_add(w->loop, &p->hook);
    return p;
}

void publisher_free(struct publisher **p) {
    if (!*p) return;
    loop_hook_del(&(*p)->hook);
    for (struct list *n; (n = list_pop(&(*p)->waiting));) {
        struct publish_item *item = CONTAINER_OF(n, struct publish_item, link);
        item->done(item->ctx, ERR_CANCELED, NULL, NULL);
    }
    mem_free(*p);
    *p = NULL;
}

enum err publisher_add(struct publisher *p, struct publish_item *item) {
    if (p->waiting_count >= PUBLISH_WAITING_MAX) return ERR_BUSY;
    item->publisher = p;
    item->alone = false;
    list_add_tail(&p->waiting, &item->link);
    p->waiting_count++;
    return ERR_OK;
}
