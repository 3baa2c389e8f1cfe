/*
 * Fan-out queue on a Redis stream. One stream, one consumer group; each worker is a consumer.
 *
 *   producers  XADD fanfare:jobs * j <msgpack>       no MAXLEN: a stream that drops its oldest would hide a backlog;
 *                                                    feedd bounds it (503)
 *   worker     XREADGROUP ... >  |  XAUTOCLAIM from dead ones  |  XCLAIM JUSTID to keep what it holds  |
 *              XACK + XDEL when done
 *
 * The group is made by whoever is told NOGROUP, from entry 0, so that what was added before the group existed is seen;
 * the call is then repeated once. Done entries are deleted, so XLEN counts what is undone and the first entry is the
 * oldest undone one.
 *
 * Does not: keep jobs. The outbox does; whatever the stream forgets is added again by the sweeper.
 */
#include "common/store/queue.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"

#define IDS_A_COMMAND 500

struct queue {
    struct redis *redis;           /* (ref) */
    char *consumer;                /* (own) NULL for producers */
    char claim_from[QUEUE_ID_MAX]; /* where the next queue_claim goes on */
    struct redis_script forget;
};

/* Consumers that hold nothing and have not called for ARGV[2] ms are gone for good: names are never used again. */
static const char FORGET_LUA[] = "local n = 0\n"
                                 "if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end\n"
                                 "local consumers = redis.pcall('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])\n"
                                 "if consumers.err then return 0 end\n"
                                 "for _, c in ipairs(consumers) do\n"
                                 "  local f = {}\n"
                                 "  for i = 1, #c, 2 do f[c[i]] = c[i + 1] end\n"
                                 "  if f.pending == 0 and f.idle > tonumber(ARGV[2]) then\n"
                                 "    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], f.name)\n"
                                 "    n = n + 1\n"
                                 "  end\n"
                                 "end\n"
                                 "return n\n";

struct queue *queue_new(struct redis *redis, const char *consumer) {
    struct queue *q = NEW(struct queue);
    q->redis = redis;
    q->consumer = consumer ? mem_strdup(consumer) : NULL;
    q->forget.source = FORGET_LUA;
    strcpy(q->claim_from, "0-0");
    return q;
}

void queue_free(struct queue **q) {
    if (!*q) return;
    mem_free((*q)->consumer);
    mem_free(*q);
    *q = NULL;
}

struct number {
    char text[24];
};

static struct str number(struct number *n, uint64_t v) {
    return str_of(n->text, (size_t)snprintf(n->text, sizeof(n->text), "%" PRIu64, v));
}

/* --- calls that give a number: any count of commands, one completion --- */

struct tally {
    queue_done_fn *done;
    void *ctx;
    size_t waiting;
    enum err err;
    uint64_t value;
    uint64_t (*value_of)(const struct redis_reply *r);
};

static uint64_t value_one(const struct redis_reply *r) {
    (void)r;
    return 1;
}

static uint64_t value_none(const struct redis_reply *r) {
    (void)r;
    return 0;
}

static uint64_t value_int(const struct redis_reply *r) {
    int64_t v = redis_type(r) == REDIS_INT ? redis_int(r) : 0;
    return v > 0 ? (uint64_t)v : 0;
}

/* First element of the first entry's id, "<ms>-<seq>". */
static uint64_t value_oldest(const struct redis_reply *r) {
    if (redis_type(r) != REDIS_LIST || redis_len(r) == 0) return 0;
    const struct redis_reply *entry = redis_at(r, 0);
    if (redis_type(entry) != REDIS_LIST || redis_len(entry) == 0) return 0;
    struct str id = redis_str(redis_at(entry, 0));
    const char *dash = id.data ? memchr(id.data, '-', id.len) : NULL;
    uint64_t ms = 0;
    if (dash) str_u64(str_of(id.data, (size_t)(dash - id.data)), &ms);
    return ms;
}

static void tally_end(struct tally *t) {
    if (t->done) t->done(t->ctx, t->err, t->value);
    mem_free(t);
}

static void on_value(struct tally *t, enum err err, uint64_t value) {
    if (err != ERR_OK && t->err == ERR_OK) t->err = err;
    if (err == ERR_OK) t->value += value;
    if (--t->waiting == 0) tally_end(t);
}

static void on_counted(void *ctx, enum err err, const struct redis_reply *r) {
    struct tally *t = ctx;
    on_value(t, err, err == ERR_OK ? t->value_of(r) : 0);
}

/* Without the group nobody holds anything: there is nothing to acknowledge or to touch. */
static void on_uncounted(void *ctx, enum err err, const struct redis_reply *r) {
    bool no_group = err == ERR_BACKEND && r && str_starts(redis_str(r), "NOGROUP");
    on_value(ctx, no_group ? ERR_OK : err, 0);
}

static struct tally *tally_new(queue_done_fn *done, void *ctx, uint64_t (*value_of)(const struct redis_reply *r)) {
    struct tally *t = NEW(struct tally);
    t->done = done;
    t->ctx = ctx;
    t->value_of = value_of;
    return t;
}

/*
 * Sends one command of a tally. Once one was refused the rest would be as well: its error is the answer, and what was
 * sent before it completes with that error. Only when nothing was sent does the caller's call itself fail.
 */
static void tally_send(struct tally *t, struct redis *redis, bool counted, size_t argc, const struct str *argv) {
    if (t->err != ERR_OK) return;
    t->err = redis_command(redis, counted ? on_counted : on_uncounted, t, argc, argv);
    if (t->err == ERR_OK) t->waiting++;
}

static enum err tally_sent(struct tally *t) {
    if (t->waiting) return ERR_OK;
    enum err err = t->err;
    mem_free(t);
    return err;
}

enum err queue_add(struct queue *q, const struct job *jobs, size_t count, queue_done_fn *done, void *ctx) {
    if (count == 0) return ERR_INVALID;
    struct tally *t = tally_new(done, ctx, value_one);
    CLEANUP(buf_fini) struct buf b = BUF_INIT;
    for (size_t i = 0; i < count; i++) {
        buf_clear(&b);
        job_encode(&jobs[i], &b);
        tally_send(t, q->redis, true, 5,
                   (struct str[]){STR("XADD"), STR(QUEUE_STREAM), STR("*"), STR("j"), buf_str(&b)});
    }
    return tally_sent(t);
}

enum err queue_length(struct queue *q, queue_done_fn *done, void *ctx) {
    struct tally *t = tally_new(done, ctx, value_int);
    tally_send(t, q->redis, true, 2, (struct str[]){STR("XLEN"), STR(QUEUE_STREAM)});
    return tally_sent(t);
}

enum err queue_oldest(struct queue *q, queue_done_fn *done, void *ctx) {
    struct tally *t = tally_new(done, ctx, value_oldest);
    const struct str argv[] = {STR("XRANGE"), STR(QUEUE_STREAM), STR("-"), STR("+"), STR("COUNT"), STR("1")};
    tally_send(t, q->redis, true, ARRAY_LEN(argv), argv);
    return tally_sent(t);
}

/* Commands of the form: fixed words, then entry ids, in pieces. */
static void tally_send_ids(struct tally *t, struct redis *redis, bool counted, size_t fixed, struct str *argv,
                           const struct queue_item *const *items, size_t count, const struct str *tail, size_t tails) {
    for (size_t from = 0; from < count; from += IDS_A_COMMAND) {
        size_t n = count - from < IDS_A_COMMAND ? count - from : IDS_A_COMMAND;
        for (size_t i = 0; i < n; i++) argv[fixed + i] = str_c(items[from + i]->id);
        for (size_t i = 0; i < tails; i++) argv[fixed + n + i] = tail[i];
        tally_send(t, redis, counted, fixed + n + tails, argv);
    }
}

enum err queue_touch(struct queue *q, const struct queue_item *const *items, size_t count, queue_done_fn *done,
                     void *ctx) {
    if (count == 0) return ERR_INVALID;
    struct tally *t = tally_new(done, ctx, value_none);
    struct str argv[IDS_A_COMMAND + 6] = {STR("XCLAIM"), STR(QUEUE_STREAM), STR(QUEUE_GROUP), str_c(q->consumer),
                                          STR("0")};
    tally_send_ids(t, q->redis, false, 5, argv, items, count, (struct str[]){STR("JUSTID")}, 1);
    return tally_sent(t);
}

enum err queue_ack(struct queue *q, const struct queue_item *const *items, size_t count, queue_done_fn *done,
                   void *ctx) {
    if (count == 0) return ERR_INVALID;
    struct tally *t = tally_new(done, ctx, value_int);
    struct str argv[IDS_A_COMMAND + 3] = {STR("XACK"), STR(QUEUE_STREAM), STR(QUEUE_GROUP)};
    tally_send_ids(t, q->redis, false, 3, argv, items, count, NULL, 0);
    argv[0] = STR("XDEL");
    tally_send_ids(t, q->redis, true, 2, argv, items, count, NULL, 0);
    return tally_sent(t);
}

enum err queue_forget_consumers(struct queue *q, uint64_t idle_ms, queue_done_fn *done, void *ctx) {
    struct tally *t = tally_new(done, ctx, value_int);
    struct number idle;
    t->err = redis_eval(q->redis, &q->forget, on_counted, t, 1, 3,
                        (struct str[]){STR(QUEUE_STREAM), STR(QUEUE_GROUP), number(&idle, idle_ms)});
    if (t->err == ERR_OK) t->waiting++;
    return tally_sent(t);
}

/* --- calls that give jobs --- */

struct take {
    struct queue *q; /* (ref) */
    queue_items_fn *done;
    void *ctx;
    struct arena *arena; /* (ref: caller) */
    bool claim;          /* else a read */
    bool repeated;       /* the group was made already */
    unsigned max;
    uint64_t ms; /* block (read), idle (claim) */
};

static void on_taken(void *ctx, enum err err, const struct redis_reply *r);

static enum err take_send(struct take *t) {
    struct queue *q = t->q;
    struct number max, ms;
    struct str count = number(&max, t->max), time = number(&ms, t->ms);
    if (t->claim) {
        const struct str argv[] = {STR("XAUTOCLAIM"),
                                   STR(QUEUE_STREAM),
                                   STR(QUEUE_GROUP),
                                   str_c(q->consumer),
                                   time,
                                   str_c(q->claim_from),
                                   STR("COUNT"),
                                   count};
        return redis_command(q->redis, on_taken, t, ARRAY_LEN(argv), argv);
    }
    struct str argv[11] = {STR("XREADGROUP"), STR("GROUP"), STR(QUEUE_GROUP), str_c(q->consumer), STR("COUNT"), count};
    size_t n = 6;
    if (t->ms) {
        argv[n++] = STR("BLOCK");
        argv[n++] = time;
    }
    argv[n++] = STR("STREAMS");
    argv[n++] = STR(QUEUE_STREAM);
    argv[n++] = STR(">");
    return redis_command(q->redis, on_taken, t, n, argv);
}

/* An entry is [id, [field, value, ...]]; claimed ones that were deleted meanwhile come as nil or with nil for the
 * fields. */
static bool item_parse(const struct redis_reply *entry, struct queue_item *ret) {
    if (redis_type(entry) != REDIS_LIST || redis_len(entry) < 2) return false;
    struct str id = redis_str(redis_at(entry, 0));
    const struct redis_reply *fields = redis_at(entry, 1);
    if (!id.data || id.len >= sizeof(ret->id) || redis_type(fields) != REDIS_LIST) return false;
    memset(ret, 0, sizeof(*ret));
    memcpy(ret->id, id.data, id.len);
    for (size_t i = 0; i + 1 < redis_len(fields); i += 2) {
        if (str_eq_c(redis_str(redis_at(fields, i)), "j")) {
            ret->valid = job_decode(redis_str(redis_at(fields, i + 1)), &ret->job) == ERR_OK;
        }
    }
    return true;
}

static void take_give(struct take *t, const struct redis_reply *entries) {
    size_t n = entries && redis_type(entries) == REDIS_LIST ? redis_len(entries) : 0, count = 0;
    struct queue_item *items = n ? ARENA_ARRAY(t->arena, struct queue_item, n) : NULL;
    for (size_t i = 0; i < n; i++) {
        if (item_parse(redis_at(entries, i), &items[count])) count++;
    }
    t->done(t->ctx, ERR_OK, items, count);
    mem_free(t);
}

static void take_fail(struct take *t, enum err err) {
    t->done(t->ctx, err, NULL, 0);
    mem_free(t);
}

static void on_group_made(void *ctx, enum err err, const struct redis_reply *r) {
    struct take *t = ctx;
    /* BUSYGROUP: somebody else made it at the same time. */
    if (err == ERR_BACKEND && r && str_starts(redis_str(r), "BUSYGROUP")) err = ERR_OK;
    t->repeated = true;
    if (err == ERR_OK) err = take_send(t);
    if (err != ERR_OK) take_fail(t, err);
}

static void take_make_group(struct take *t) {
    const struct str argv[] = {STR("XGROUP"),    STR("CREATE"), STR(QUEUE_STREAM),
                               STR(QUEUE_GROUP), STR("0"),      STR("MKSTREAM")};
    enum err err = redis_command(t->q->redis, on_group_made, t, ARRAY_LEN(argv), argv);
    if (err != ERR_OK) take_fail(t, err);
}

/* A read answers nil or [[stream, entries]]; a claim [next start, entries, deleted ids]. */
static void on_taken(void *ctx, enum err err, const struct redis_reply *r) {
    struct take *t = ctx;
    if (err == ERR_BACKEND && r) {
        /* A stream that is deleted under a blocked read answers UNBLOCKED (or NOGROUP, depending on how). */
        if (!t->repeated && str_starts(redis_str(r), "NOGROUP")) return take_make_group(t);
        if (str_starts(redis_str(r), "UNBLOCKED")) return take_give(t, NULL);
    }
    if (err != ERR_OK) return take_fail(t, err);
    if (redis_type(r) == REDIS_NIL || redis_len(r) == 0) return take_give(t, NULL);
    if (!t->claim) return take_give(t, redis_len(redis_at(r, 0)) == 2 ? redis_at(redis_at(r, 0), 1) : NULL);
    if (redis_len(r) < 2) return take_fail(t, ERR_PROTOCOL);
    struct str next = redis_str(redis_at(r, 0));
    if (next.data && next.len < sizeof(t->q->claim_from)) {
        memcpy(t->q->claim_from, next.data, next.len);
        t->q->claim_from[next.len] = 0;
    }
    take_give(t, redis_at(r, 1));
}

static enum err take(struct take t) {
    struct take *own = mem_dup(&t, sizeof(t));
    enum err err = take_send(own);
    if (err != ERR_OK) mem_free(own);
    return err;
}

enum err queue_read(struct queue *q, unsigned max, uint64_t block_ms, struct arena *arena, queue_items_fn *done,
                    void *ctx) {
    return take((struct take){q, done, ctx, arena, .max = max, .ms = block_ms});
}

enum err queue_claim(struct queue *q, uint64_t idle_ms, unsigned max, struct arena *arena, queue_items_fn *done,
                     void *ctx) {
    return take((struct take){q, done, ctx, arena, .claim = true, .max = max, .ms = idle_ms});
}
