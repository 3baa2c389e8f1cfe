/*
 * Cache backend on Redis.
 *
 *   get   MGET                          one command a batch
 *   add   SET key value NX PX ttl       one command an operation, pipelined
 *   swap  a script: compare the first 16 bytes with our placeholder, then SET
 *   del   UNLINK                        one command a batch; also takes timelines, whose keys have the same form
 *
 * A batch completes when its last command did. What is refused at once is told from the loop, not from the call.
 */
#include <stdio.h>

#include "common/base/mem.h"
#include "common/store/cache.h"
#include "common/store/cache_envelope.h"
#include "common/store/redis.h"

struct redis_batch {
    struct loop_task task; /* for a batch that had nothing to wait for */
    cache_done_fn *done;
    void *ctx;
    size_t open; /* commands not answered yet */
    size_t count;
    struct cache_result results[];
};
struct add_slot { /* one command of a batch of adds */
    struct redis_batch *batch;
    size_t index;
};

/*
 * Of several operations in one batch: replaces what is there only if it is still the placeholder named by the header.
 */
static struct redis_script swap_script = {
    .source = "local r = {}\n"
              "for i = 1, #KEYS do\n"
              "  local a = 3 * i - 2\n"
              "  r[i] = 0\n"
              "  if redis.call('GETRANGE', KEYS[i], 0, 15) == ARGV[a] then\n"
              "    if ARGV[a + 2] == '0' then redis.call('SET', KEYS[i], ARGV[a + 1])\n"
              "    else redis.call('SET', KEYS[i], ARGV[a + 1], 'PX', ARGV[a + 2]) end\n"
              "    r[i] = 1\n"
              "  end\n"
              "end\n"
              "return r\n",
};

static struct redis_batch *batch_new(size_t count, cache_done_fn *done, void *ctx) {
    struct redis_batch *b = mem_zalloc(sizeof(*b) + count * sizeof(b->results[0]));
    b->done = done;
    b->ctx = ctx;
    b->count = count;
    return b;
}

static void batch_finish(struct redis_batch *b) {
    b->done(b->ctx, b->results, b->count);
    mem_free(b);
}

static void batch_fill(struct redis_batch *b, enum err err) {
    for (size_t i = 0; i < b->count; i++) b->results[i] = (struct cache_result){.err = err};
}

static void batch_run(struct loop_task *t) {
    batch_finish(CONTAINER_OF(t, struct redis_batch, task));
}

static void batch_refuse(struct redis_batch *b, struct redis *r, enum err err) {
    batch_fill(b, err);
    b->task.run = batch_run;
    loop_post(redis_loop(r), &b->task);
}

static void get_done(void *ctx, enum err err, const struct redis_reply *reply) {
    struct redis_batch *b = ctx;
    if (err == ERR_OK && (redis_type(reply) != REDIS_LIST || redis_len(reply) != b->count)) err = ERR_PROTOCOL;
    if (err) batch_fill(b, err);
    for (size_t i = 0; !err && i < b->count; i++) {
        const struct redis_reply *value = redis_at(reply, i);
        bool there = redis_type(value) == REDIS_STRING;
        b->results[i].err = there ? ERR_OK : ERR_NOT_FOUND;
        if (there) b->results[i].value = redis_str(value);
    }
    batch_finish(b);
}

static struct str *command_of_keys(struct str name, const struct cache_op *ops, size_t count) {
    struct str *argv = NEW_ARRAY(struct str, count + 1);
    argv[0] = name;
    for (size_t i = 0; i < count; i++) argv[i + 1] = ops[i].key;
    return argv;
}

static void get(void *node, const struct cache_op *ops, size_t count, cache_done_fn *done, void *ctx) {
    struct redis_batch *b = batch_new(count, done, ctx);
    struct str *argv = command_of_keys(STR("MGET"), ops, count);
    enum err err = redis_command(node, get_done, b, count + 1, argv);
    mem_free(argv);
    if (err) batch_refuse(b, node, err);
}

static void del_done(void *ctx, enum err err, const struct redis_reply *reply) {
    if (err == ERR_OK && redis_type(reply) != REDIS_INT) err = ERR_PROTOCOL;
    batch_fill(ctx, err);
    batch_finish(ctx);
}

static void del(void *node, const struct cache_op *ops, size_t count, cache_done_fn *done, void *ctx) {
    struct redis_batch *b = batch_new(count, done, ctx);
    struct str *argv = command_of_keys(STR("UNLINK"), ops, count);
    enum err err = redis_command(node, del_done, b, count + 1, argv);
    mem_free(argv);
    if (err) batch_refuse(b, node, err);
}

static void add_done(void *ctx, enum err err, const struct redis_reply *reply) {
    struct add_slot *slot = ctx;
    struct redis_batch *b = slot->batch;
    if (err == ERR_OK && redis_type(reply) == REDIS_NIL) err = ERR_NOT_FOUND; /* somebody was first */
    b->results[slot->index].err = err;
    mem_free(slot);
    if (--b->open == 0) batch_finish(b);
}

static enum err add_one(struct redis *r, const struct cache_op *op, struct redis_batch *b, size_t index) {
    char ttl[24];
    int ttl_len = snprintf(ttl, sizeof(ttl), "%llu", (unsigned long long)op->ttl_ms);
    const struct str argv[] = {STR("SET"), op->key, op->value, STR("NX"), STR("PX"), str_of(ttl, (size_t)ttl_len)};
    struct add_slot *slot = NEW(struct add_slot);
    *slot = (struct add_slot){b, index};
    enum err err = redis_command(r, add_done, slot, op->ttl_ms ? 6 : 4, argv);
    if (err) mem_free(slot);
    return err;
}

static void add(void *node, const struct cache_op *ops, size_t count, cache_done_fn *done, void *ctx) {
    struct redis_batch *b = batch_new(count, done, ctx);
    for (size_t i = 0; i < count; i++) {
        b->results[i].err = add_one(node, &ops[i], b, i);
        if (!b->results[i].err) b->open++;
    }
    if (b->open) return;
    b->task.run = batch_run;
    loop_post(redis_loop(node), &b->task);
}

static void swap_done(void *ctx, enum err err, const struct redis_reply *reply) {
    struct redis_batch *b = ctx;
    if (err == ERR_OK && (redis_type(reply) != REDIS_LIST || redis_len(reply) != b->count)) err = ERR_PROTOCOL;
    if (err) batch_fill(b, err);
    for (size_t i = 0; !err && i < b->count; i++)
        b->results[i].err = redis_int(redis_at(reply, i)) == 1 ? ERR_OK : ERR_NOT_FOUND;
    batch_finish(b);
}

struct swap_text {
    unsigned char header[CACHE_ENVELOPE_BYTES];
    char ttl[24];
};

static void swap(void *node, const struct cache_op *ops, size_t count, cache_done_fn *done, void *ctx) {
    struct redis_batch *b = batch_new(count, done, ctx);
    struct swap_text *texts = NEW_ARRAY(struct swap_text, count);
    struct str *argv = NEW_ARRAY(struct str, 4 * count);
    for (size_t i = 0; i < count; i++) {
        envelope_encode(CACHE_PLACEHOLDER, ops[i].nonce, texts[i].header);
        int ttl_len = snprintf(texts[i].ttl, sizeof(texts[i].ttl), "%llu", (unsigned long long)ops[i].ttl_ms);
        argv[i] = ops[i].key;
        argv[count + 3 * i] = str_of((const char *)texts[i].header, sizeof(texts[i].header));
        argv[count + 3 * i + 1] = ops[i].value;
        argv[count + 3 * i + 2] = str_of(texts[i].ttl, (size_t)ttl_len);
    }
    enum err err = redis_eval(node, &swap_script, swap_done, b, count, 4 * count, argv);
    mem_free(argv);
    mem_free(texts);
    if (err) batch_refuse(b, node, err);
}

const struct cache_backend cache_backend_redis = {.name = "redis", .get = get, .add = add, .swap = swap, .del = del};
