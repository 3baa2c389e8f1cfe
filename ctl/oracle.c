/*
 * The oracle's side of verify. A thread asks the database for the next batch while the last one is compared, so that
 * both work.
 */
#include "ctl/oracle.h"

#include <pthread.h>
#include <stdbool.h>

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/store/pg.h"

#define READY_MAX 2

struct oracle {
    char *conninfo; /* (own) */
    const uint64_t *ids;
    size_t count, batch;
    unsigned depth;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct oracle_batch *ready[READY_MAX]; /* (own) ring */
    size_t first, waiting;
    bool ended, stop;
};

void oracle_batch_free(struct oracle_batch **b) {
    if (!*b) return;
    for (size_t i = 0; i < (*b)->count; i++) mem_free((*b)->feeds[i].entries);
    mem_free((*b)->feeds);
    mem_free((*b)->failure);
    mem_free(*b);
    *b = NULL;
}

static void take_rows(struct oracle_batch *b, const struct pg_result *r) {
    for (int row = 0; row < pg_rows(r); row++) {
        struct oracle_feed *f = &b->feeds[pg_int8(r, row, 0) - 1];
        struct str packed = pg_text(r, row, 1);
        f->count = packed.len / ENTRY_BYTES;
        f->entries = NEW_ARRAY(struct entry, f->count + 1);
        for (size_t i = 0; i < f->count; i++) entry_decode(packed.data + i * ENTRY_BYTES, ENTRY_BYTES, &f->entries[i]);
    }
}

static struct oracle_batch *ask(struct pg_sync *db, const uint64_t *ids, size_t count, unsigned depth) {
    struct oracle_batch *b = NEW(struct oracle_batch);
    b->feeds = mem_zalloc((count + 1) * sizeof *b->feeds);
    b->count = count;
    for (size_t i = 0; i < count; i++) b->feeds[i].reader = ids[i];
    CLEANUP(arena_fini) struct arena a;
    arena_init(&a, 0);
    struct pg_params p;
    pg_params_init(&p, &a);
    pg_param_int8_array(&p, ids, count);
    pg_param_int4(&p, (int32_t)depth);
    CLEANUP(pg_result_free) struct pg_result *r = NULL;
    enum err e = pg_sync_exec(
        db,
        "SELECT w.n, string_agg(int8send(f.post_id) || int8send(f.author_id), ''::bytea ORDER BY f.post_id DESC) "
        "FROM oracle_feed($1, $2) f JOIN unnest($1) WITH ORDINALITY AS w (reader, n) USING (reader) GROUP BY w.n",
        &p, &r, &b->failure);
    if (e == ERR_OK) take_rows(b, r);
    return b;
}

/* Hands a batch over; false when nobody wants more. */
static bool deliver(struct oracle *o, struct oracle_batch *b) {
    pthread_mutex_lock(&o->lock);
    while (o->waiting == READY_MAX && !o->stop) pthread_cond_wait(&o->changed, &o->lock);
    bool wanted = !o->stop;
    if (wanted) o->ready[(o->first + o->waiting++) % READY_MAX] = b;
    pthread_cond_broadcast(&o->changed);
    pthread_mutex_unlock(&o->lock);
    if (!wanted) oracle_batch_free(&b);
    return wanted;
}

static void *run(void *ctx) {
    struct oracle *o = ctx;
    struct pg_sync *db = NULL;
    char *message = NULL;
    if (pg_sync_open(o->conninfo, &db, &message) != ERR_OK) {
        struct oracle_batch *b = NEW(struct oracle_batch);
        b->failure = message;
        deliver(o, b);
    } else {
        for (size_t from = 0; from < o->count; from += o->batch) {
            size_t n = o->count - from < o->batch ? o->count - from : o->batch;
            struct oracle_batch *b = ask(db, o->ids + from, n, o->depth);
            bool failed = b->failure != NULL;
            if (!deliver(o, b) || failed) break;
        }
    }
    pg_sync_close(&db);
    pthread_mutex_lock(&o->lock);
    o->ended = true;
    pthread_cond_broadcast(&o->changed);
    pthread_mutex_unlock(&o->lock);
    return NULL;
}

struct oracle *oracle_new(const char *conninfo, const uint64_t *ids, size_t count, size_t batch, unsigned depth) {
    struct oracle *o = NEW(struct oracle);
    o->conninfo = mem_strdup(conninfo);
    o->ids = ids;
    o->count = count;
    o->batch = batch;
    o->depth = depth;
    pthread_mutex_init(&o->lock, NULL);
    pthread_cond_init(&o->changed, NULL);
    pthread_create(&o->thread, NULL, run, o);
    return o;
}

struct oracle_batch *oracle_next(struct oracle *o) {
    pthread_mutex_lock(&o->lock);
    while (!o->waiting && !o->ended) pthread_cond_wait(&o->changed, &o->lock);
    struct oracle_batch *b = NULL;
    if (o->waiting) {
        b = o->ready[o->first];
        o->first = (o->first + 1) % READY_MAX;
        o->waiting--;
        pthread_cond_broadcast(&o->changed);
    }
    pthread_mutex_unlock(&o->lock);
    return b;
}

void oracle_free(struct oracle **op) {
    struct oracle *o = *op;
    if (!o) return;
    pthread_mutex_lock(&o->lock);
    o->stop = true;
    pthread_cond_broadcast(&o->changed);
    pthread_mutex_unlock(&o->lock);
    pthread_join(o->thread, NULL);
    while (o->waiting) {
        oracle_batch_free(&o->ready[o->first]);
        o->first = (o->first + 1) % READY_MAX;
        o->waiting--;
    }
    pthread_cond_destroy(&o->changed);
    pthread_mutex_destroy(&o->lock);
    mem_free(o->conninfo);
    mem_free(o);
    *op = NULL;
}
