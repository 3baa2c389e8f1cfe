/*
 * Timelines on Redis lists: commands and scripts out, parts and steps back. The steps themselves are in
 * timeline_scripts.c.
 *
 *   read a prefix   LINDEX -1 | LRANGE 0 want-1 | PTTL | LINDEX -1      four commands in one round trip, not atomic:
 * the header is read on both sides, and a rebuild or a trim in between shows in them read the whole  LRANGE 0 -1 | PTTL
 * atomic, the header is its last element
 *
 * The residence is not extended at each read: only once an eighth of it has passed, by a script that leaves building
 * timelines their short life. So a warm read costs Redis no write.
 *
 * What cannot be decoded is a miss. An element that is neither entry nor header can only come from outside; the key is
 * deleted so that the next read rebuilds it.
 *
 * Does not: decide who may see what, talk to the database, retry.
 */
#include "common/store/timeline.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/domain/id.h"
#include "common/store/timeline_scripts.h"

struct timelines {
    struct timelines_options o;
    /* Of its own, not static: the digest is computed on first use, and there is one of us a thread. */
    struct redis_script begin, fill, abandon, late, trim, refresh;
};

struct timelines *timelines_new(const struct timelines_options *options) {
    struct timelines *t = NEW(struct timelines);
    t->o = *options;
    t->begin.source = TIMELINE_BEGIN_LUA;
    t->fill.source = TIMELINE_FILL_LUA;
    t->abandon.source = TIMELINE_ABANDON_LUA;
    t->late.source = TIMELINE_LATE_LUA;
    t->trim.source = TIMELINE_TRIM_LUA;
    t->refresh.source = TIMELINE_REFRESH_LUA;
    return t;
}

void timelines_free(struct timelines **t) {
    mem_free(*t);
    *t = NULL;
}

/* A command's first words, with room for their text. */
struct target {
    struct redis *redis;
    char key_text[CACHE_KEY_MAX];
    struct str key;
};

static void target_init(struct target *g, struct timelines *t, const struct location *at, uint64_t user_id) {
    g->redis = redis_set_get(t->o.redis, at->node->address);
    g->key = str_of(g->key_text, cache_key(TIER_TIMELINE, at->generation, user_id, g->key_text));
}

struct number {
    char text[24];
};

static struct str number(struct number *n, uint64_t v) {
    return str_of(n->text, (size_t)snprintf(n->text, sizeof(n->text), "%" PRIu64, v));
}

/* --- reading --- */

struct read_op {
    timeline_read_fn *done;
    void *ctx;
    struct timelines *t; /* (ref) */
    struct arena *arena; /* (ref: caller) */
    struct target target;
    unsigned waiting; /* commands without an answer */
    bool orphan;      /* the caller was told of an error: finish in silence */
    bool refresh;
    bool whole_wanted;
    enum err err;
    bool corrupt; /* an element that is neither entry nor header */
    bool seen[2]; /* headers found: before, after */
    struct timeline_header header[2];
    struct entry *entries; /* (ref: arena) */
    size_t count;
    bool whole;
    int64_t ttl_ms; /* left; negative: none */
};

static enum timeline_presence read_presence(const struct read_op *op) {
    if (op->corrupt || !op->seen[0] || !op->seen[1]) return TIMELINE_ABSENT;
    if (op->header[0].state == TIMELINE_BUILDING || op->header[1].state == TIMELINE_BUILDING)
        return TIMELINE_IS_BUILDING;
    return TIMELINE_PRESENT;
}

/* Nobody waits for these two: if they fail, the next read does it again. */
static void read_after_care(struct read_op *op, enum timeline_presence presence) {
    struct timelines *t = op->t;
    if (op->corrupt) {
        redis_command(op->target.redis, NULL, NULL, 2, (struct str[]){STR("DEL"), op->target.key});
    } else if (op->refresh && presence == TIMELINE_PRESENT && op->ttl_ms < (int64_t)(t->o.ttl_ms - t->o.ttl_ms / 8)) {
        struct number ttl;
        redis_eval(op->target.redis, &t->refresh, NULL, NULL, 1, 2,
                   (struct str[]){op->target.key, number(&ttl, t->o.ttl_ms)});
    }
}

static void read_finish(struct read_op *op) {
    if (op->orphan) {
        mem_free(op);
        return;
    }
    struct timeline_part part = {0};
    if (op->err == ERR_OK) {
        part.presence = read_presence(op);
        if (part.presence == TIMELINE_PRESENT) {
            part.view =
                view_make(op->entries, op->count, op->whole, op->header[0], op->header[1], op->t->o.lateness_ms);
        }
        read_after_care(op, part.presence);
    }
    op->done(op->ctx, op->err, op->err == ERR_OK ? &part : NULL);
    mem_free(op);
}

/* True when r is an answer to look at; counts it in any case. */
static bool read_answer(struct read_op *op, enum err err) {
    op->waiting--;
    if (err != ERR_OK && op->err == ERR_OK) op->err = err;
    return err == ERR_OK && !op->orphan;
}

static void read_header(struct read_op *op, int which, const struct redis_reply *r) {
    struct str s = redis_type(r) == REDIS_STRING ? redis_str(r) : (struct str){0};
    op->seen[which] = s.data && timeline_header_decode(s.data, s.len, &op->header[which]);
}

static void on_header_before(void *ctx, enum err err, const struct redis_reply *r) {
    struct read_op *op = ctx;
    if (read_answer(op, err)) read_header(op, 0, r);
    if (!op->waiting) read_finish(op);
}

static void on_header_after(void *ctx, enum err err, const struct redis_reply *r) {
    struct read_op *op = ctx;
    if (read_answer(op, err)) read_header(op, 1, r);
    if (!op->waiting) read_finish(op);
}

static void on_ttl(void *ctx, enum err err, const struct redis_reply *r) {
    struct read_op *op = ctx;
    if (read_answer(op, err)) op->ttl_ms = redis_int(r);
    if (!op->waiting) read_finish(op);
}

static void on_range(void *ctx, enum err err, const struct redis_reply *r) {
    struct read_op *op = ctx;
    if (read_answer(op, err)) {
        size_t n = redis_len(r);
        op->entries = ARENA_ARRAY(op->arena, struct entry, n ? n : 1);
        for (size_t i = 0; i < n; i++) {
            struct str s = redis_str(redis_at(r, i));
            if (entry_decode(s.data, s.len, &op->entries[op->count])) {
                op->count++;
            } else if (i == n - 1 && s.len == TIMELINE_HEADER_BYTES) {
                op->whole = true;
                if (op->whole_wanted) { /* one answer, so one header stands for both sides */
                    read_header(op, 0, redis_at(r, i));
                    op->header[1] = op->header[0];
                    op->seen[1] = op->seen[0];
                }
            } else {
                op->corrupt = true;
            }
        }
    }
    if (!op->waiting) read_finish(op);
}

static enum err read_send(struct read_op *op, redis_done_fn *fn, size_t argc, const struct str *argv) {
    enum err err = redis_command(op->target.redis, fn, op, argc, argv);
    if (err == ERR_OK) op->waiting++;
    return err;
}

static enum err read_send_all(struct read_op *op, unsigned want) {
    struct str key = op->target.key;
    const struct str last[] = {STR("LINDEX"), key, STR("-1")};
    struct number end;
    const struct str range[] = {STR("LRANGE"), key, STR("0"), want ? number(&end, want - 1) : STR("-1")};
    enum err err = want ? read_send(op, on_header_before, 3, last) : ERR_OK;
    if (err == ERR_OK) err = read_send(op, on_range, 4, range);
    if (err == ERR_OK && op->refresh) err = read_send(op, on_ttl, 2, (struct str[]){STR("PTTL"), key});
    if (err == ERR_OK && want) err = read_send(op, on_header_after, 3, last);
    return err;
}

enum err timeline_read(struct timelines *t, const struct location *at, uint64_t user_id, unsigned want, bool refresh,
                       struct arena *arena, timeline_read_fn *done, void *ctx) {
    struct read_op *op = NEW(struct read_op);
    target_init(&op->target, t, at, user_id);
    op->t = t;
    op->arena = arena;
    op->done = done;
    op->ctx = ctx;
    op->refresh = refresh;
    op->whole_wanted = want == 0;
    enum err err = read_send_all(op, want);
    if (err == ERR_OK) return ERR_OK;
    op->orphan = true;
    if (!op->waiting) mem_free(op);
    return err;
}

/* --- steps --- */

struct step {
    timeline_step_fn *done;
    void *ctx;
};

static void on_step(void *ctx, enum err err, const struct redis_reply *r) {
    struct step *s = ctx;
    if (s->done) s->done(s->ctx, err, err == ERR_OK && redis_int(r) > 0);
    mem_free(s);
}

static enum err step_eval(const struct target *g, struct redis_script *script, size_t argc, const struct str *argv,
                          timeline_step_fn *done, void *ctx) {
    struct step *s = NEW(struct step);
    *s = (struct step){done, ctx};
    enum err err = redis_eval(g->redis, script, on_step, s, 1, argc, argv);
    if (err != ERR_OK) mem_free(s);
    return err;
}

struct header_text {
    unsigned char bytes[TIMELINE_HEADER_BYTES];
};

static struct str header(struct header_text *h, enum timeline_state state, uint64_t nonce, uint64_t mark) {
    timeline_header_encode((struct timeline_header){state, nonce, mark}, h->bytes);
    return str_of((const char *)h->bytes, sizeof(h->bytes));
}

/* A building's header never changes, so builder and script compare all of it. */
static struct str building(struct header_text *h, uint64_t nonce) {
    return header(h, TIMELINE_BUILDING, nonce, ID_MAX);
}

enum err timeline_begin(struct timelines *t, const struct location *at, uint64_t user_id, uint64_t nonce,
                        timeline_step_fn *done, void *ctx) {
    struct target g;
    target_init(&g, t, at, user_id);
    struct header_text h;
    struct number ttl;
    return step_eval(&g, &t->begin, 3, (struct str[]){g.key, building(&h, nonce), number(&ttl, t->o.building_ttl_ms)},
                     done, ctx);
}

/* argv of a script whose last arguments are entries: (own by the caller) one block with the arguments and the entries'
 * bytes. */
static struct str *entries_argv(size_t fixed, const struct entry *entries, size_t count) {
    size_t argc = fixed + count;
    struct str *argv = mem_array(1, argc * sizeof(struct str) + count * ENTRY_BYTES);
    unsigned char *bytes = (unsigned char *)(argv + argc);
    for (size_t i = 0; i < count; i++, bytes += ENTRY_BYTES) {
        entry_encode(entries[i], bytes);
        argv[fixed + i] = str_of((const char *)bytes, ENTRY_BYTES);
    }
    return argv;
}

enum err timeline_fill(struct timelines *t, const struct location *at, uint64_t user_id, uint64_t nonce,
                       const struct entry *entries, size_t count, uint64_t mark, timeline_step_fn *done, void *ctx) {
    struct target g;
    target_init(&g, t, at, user_id);
    struct header_text before, after;
    struct number ttl, cap;
    struct str *argv = entries_argv(5, entries, count);
    argv[0] = g.key;
    argv[1] = building(&before, nonce);
    argv[2] = header(&after, TIMELINE_COMPLETE, nonce, mark);
    argv[3] = number(&ttl, t->o.ttl_ms);
    argv[4] = number(&cap, t->o.cap);
    enum err err = step_eval(&g, &t->fill, 5 + count, argv, done, ctx);
    mem_free(argv);
    return err;
}

enum err timeline_abandon(struct timelines *t, const struct location *at, uint64_t user_id, uint64_t nonce,
                          timeline_step_fn *done, void *ctx) {
    struct target g;
    target_init(&g, t, at, user_id);
    struct header_text h;
    return step_eval(&g, &t->abandon, 2, (struct str[]){g.key, building(&h, nonce)}, done, ctx);
}

enum err timeline_insert_late(struct timelines *t, const struct location *at, uint64_t user_id,
                              const struct entry *entries, size_t count, timeline_step_fn *done, void *ctx) {
    struct target g;
    target_init(&g, t, at, user_id);
    struct number cap, slack;
    struct str *argv = entries_argv(3, entries, count);
    argv[0] = g.key;
    argv[1] = number(&cap, t->o.cap);
    argv[2] = number(&slack, t->o.slack);
    enum err err = step_eval(&g, &t->late, 3 + count, argv, done, ctx);
    mem_free(argv);
    return err;
}

enum err timeline_trim(struct timelines *t, const struct location *at, uint64_t user_id, timeline_step_fn *done,
                       void *ctx) {
    struct target g;
    target_init(&g, t, at, user_id);
    struct number cap, slack;
    return step_eval(&g, &t->trim, 3, (struct str[]){g.key, number(&cap, t->o.cap), number(&slack, t->o.slack)}, done,
                     ctx);
}

enum err timeline_delete(struct timelines *t, const struct location *at, uint64_t user_id, timeline_step_fn *done,
                         void *ctx) {
    struct target g;
    target_init(&g, t, at, user_id);
    struct step *s = NEW(struct step);
    *s = (struct step){done, ctx};
    enum err err = redis_command(g.redis, on_step, s, 2, (struct str[]){STR("DEL"), g.key});
    if (err != ERR_OK) mem_free(s);
    return err;
}
