/*
 * Redis connection on an event loop, see redis.h. The only user of hiredis.
 *
 *   redis_command -> resp encoder -> link's buffer -> one write before each wait
 *   bytes -> hiredis' reader, building replies in an arena -> the oldest pending command's done
 *
 * Of hiredis only the parser is used: its asynchronous context frees itself inside callbacks and allocates for every
 * command and every element of a reply; a ring of pending commands beside a plain socket is less code and has nothing
 * to free early.
 *
 * Invariants
 * - Replies come in the order of commands: the ring of pending commands is the whole bookkeeping.
 * - A command leaves the ring before its done is called, so it is called once, whatever done does (also redis_free).
 * - Each connection is greeted with PING. Until it is answered the connection does not count as up; a server that
 *   accepts but is stopped, or is still loading, is tried again with growing delays like one that does not accept.
 *
 * No AUTH, no TLS, no pub/sub, no blocking commands (they would look like a silent server).
 */
#include "common/store/redis.h"

#include <hiredis/read.h>
#include <stdio.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/mem.h"
#include "common/store/redis_link.h"
#include "common/store/resp.h"
#include "common/store/sha1.h"

enum { READER_KEEP_BYTES = 64 * 1024, PENDING_FIRST = 64, REPLY_ARENA_BYTES = 16 * 1024 };

struct redis_reply {
    enum redis_type type;
    size_t len; /* of text or items */
    int64_t integer;
    union {
        const char *text;
        struct redis_reply *items;
    };
};

struct pending {
    redis_done_fn *done; /* may be NULL */
    void *ctx;
    uint64_t since_ms;
};

struct known_script {
    const struct redis_script *script;
    char sha1[SHA1_HEX_CHARS + 1];
    bool loaded; /* was sent in full on this connection */
};

struct redis {
    struct redis_link link;
    struct loop *loop;
    struct loop_timer timer; /* when the oldest pending command is too old; armed whenever one is pending */
    redisReader *reader;     /* (own) one a connection */
    struct arena arena;      /* the reply being read */
    struct pending *pending; /* (own) ring, a power of two */
    size_t pending_cap, pending_head, pending_count;
    struct known_script *scripts; /* (own) */
    size_t script_count;
    uint64_t timeout_ms;
    unsigned max_pending;
    bool up;      /* PING was answered on this connection */
    bool sent;    /* this connection was established, so commands may have reached the server */
    enum err why; /* of going down, when we did it */
};

/* An EVALSHA in flight: what is needed to repeat it in full. */
struct eval_call {
    struct redis *redis;
    const struct redis_script *script;
    redis_done_fn *done;
    void *ctx;
    size_t argc;     /* of EVALSHA or EVAL */
    struct buf rest; /* (own) encoded arguments after the script */
};

/* ---- Replies, built by hiredis' reader straight into our own form ---- */

static struct redis_reply *reply_place(const redisReadTask *task, enum redis_type type) {
    struct redis_reply *r;
    if (task->parent)
        r = &((struct redis_reply *)task->parent->obj)->items[task->idx];
    else
        r = arena_alloc(task->privdata, sizeof(*r));
    *r = (struct redis_reply){.type = type};
    return r;
}

static void *reply_string(const redisReadTask *task, char *text, size_t len) {
    enum redis_type type = task->type == REDIS_REPLY_ERROR    ? REDIS_ERROR_REPLY
                           : task->type == REDIS_REPLY_STATUS ? REDIS_STATUS
                                                              : REDIS_STRING;
    struct redis_reply *r = reply_place(task, type);
    r->text = arena_strndup(task->privdata, text, len);
    r->len = len;
    return r;
}

static void *reply_array(const redisReadTask *task, int count) {
    struct redis_reply *r = reply_place(task, REDIS_LIST);
    r->items = ARENA_ARRAY((struct arena *)task->privdata, struct redis_reply, (size_t)count);
    r->len = (size_t)count;
    return r;
}

static void *reply_integer(const redisReadTask *task, long long v) {
    struct redis_reply *r = reply_place(task, REDIS_INT);
    r->integer = v;
    return r;
}

static void *reply_nil(const redisReadTask *task) {
    return reply_place(task, REDIS_NIL);
}

static void reply_free(void *reply) {
    (void)reply; /* the arena's */
}

static redisReplyObjectFunctions reply_functions = {
    .createString = reply_string,
    .createArray = reply_array,
    .createInteger = reply_integer,
    .createNil = reply_nil,
    .freeObject = reply_free,
};

enum redis_type redis_type(const struct redis_reply *r) {
    return r->type;
}

struct str redis_str(const struct redis_reply *r) {
    bool is_text = r->type == REDIS_STRING || r->type == REDIS_STATUS || r->type == REDIS_ERROR_REPLY;
    return is_text ? str_of(r->text, r->len) : str_of(NULL, 0);
}

int64_t redis_int(const struct redis_reply *r) {
    return r->integer;
}

size_t redis_len(const struct redis_reply *r) {
    return r->type == REDIS_LIST ? r->len : 0;
}

const struct redis_reply *redis_at(const struct redis_reply *r, size_t index) {
    return &r->items[index];
}

/* ---- Pending commands ---- */

static void pending_push(struct redis *r, redis_done_fn *done, void *ctx) {
    if (r->pending_count == r->pending_cap) {
        size_t cap = r->pending_cap ? 2 * r->pending_cap : PENDING_FIRST;
        struct pending *grown = NEW_ARRAY(struct pending, cap);
        for (size_t i = 0; i < r->pending_count; i++)
            grown[i] = r->pending[(r->pending_head + i) & (r->pending_cap - 1)];
        mem_free(r->pending);
        r->pending = grown;
        r->pending_cap = cap;
        r->pending_head = 0;
    }
    size_t at = (r->pending_head + r->pending_count) & (r->pending_cap - 1);
    r->pending[at] = (struct pending){done, ctx, loop_now_ms(r->loop)};
    if (r->pending_count++ == 0 && !r->timer.loop) loop_timer_start(r->loop, &r->timer, r->timeout_ms);
}

static struct pending pending_pop(struct redis *r) {
    struct pending p = r->pending[r->pending_head];
    r->pending_head = (r->pending_head + 1) & (r->pending_cap - 1);
    r->pending_count--;
    return p;
}

/* Completes what is open now; what a callback may add meanwhile is refused because the link takes nothing. */
static void pending_fail(struct redis *r, enum err err) {
    while (r->pending_count) {
        struct pending p = pending_pop(r);
        if (p.done) p.done(p.ctx, err, NULL);
    }
}

/* The timer runs lazily: it is not moved at every answer, but looks at the oldest when it fires. */
static void redis_fire(struct loop_timer *t) {
    struct redis *r = CONTAINER_OF(t, struct redis, timer);
    if (r->pending_count == 0) return;
    uint64_t due = r->pending[r->pending_head].since_ms + r->timeout_ms;
    uint64_t now = loop_now_ms(r->loop);
    if (now < due) {
        loop_timer_start(r->loop, &r->timer, due - now);
        return;
    }
    r->why = ERR_TIMEOUT;
    redis_link_break(&r->link);
}

/* ---- Connection ---- */

static void ping_done(void *ctx, enum err err, const struct redis_reply *reply) {
    struct redis *r = ctx;
    (void)reply;
    if (err == ERR_OK) {
        r->up = true;
        redis_link_alive(&r->link);
    } else if (err == ERR_BACKEND) {
        redis_link_break(&r->link); /* loading, or too many clients: not up */
    }
}

/* For the next connection: commands may be added before it is established. */
static void redis_prepare(struct redis *r) {
    redisReaderFree(r->reader);
    arena_reset(&r->arena);
    r->reader = redisReaderCreateWithFunctions(&reply_functions);
    r->reader->privdata = &r->arena;
    r->reader->maxbuf = READER_KEEP_BYTES;
    for (size_t i = 0; i < r->script_count; i++) r->scripts[i].loaded = false;
    r->up = r->sent = false;
    r->why = ERR_OK;
}

static void redis_greet(struct redis *r) {
    const struct str ping = STR("PING");
    resp_add_command(&r->link.out, 1, &ping);
    pending_push(r, ping_done, r);
}

static struct redis *of_link(struct redis_link *l) {
    return CONTAINER_OF(l, struct redis, link);
}

static void redis_connected(struct redis_link *l) {
    of_link(l)->sent = true;
    redis_greet(of_link(l));
}

static void redis_bytes(struct redis_link *l, const char *data, size_t len) {
    struct redis *r = of_link(l);
    void *reply = NULL;
    int status = redisReaderFeed(r->reader, data, len);
    while (status == REDIS_OK) {
        status = redisReaderGetReply(r->reader, &reply);
        if (status != REDIS_OK || !reply) break;
        if (r->pending_count == 0) { /* nobody asked: "max number of clients reached" */
            status = REDIS_ERR;
            break;
        }
        struct pending p = pending_pop(r);
        enum err err = ((struct redis_reply *)reply)->type == REDIS_ERROR_REPLY ? ERR_BACKEND : ERR_OK;
        if (p.done) p.done(p.ctx, err, reply);
        if (l->state != REDIS_LINK_CONNECTED) return; /* the callback ended it */
        arena_reset(&r->arena);
    }
    if (status == REDIS_OK) return;
    r->why = ERR_PROTOCOL;
    redis_link_break(l);
}

static bool redis_down(struct redis_link *l) {
    struct redis *r = of_link(l);
    bool idle = r->pending_count == 0;
    enum err err = r->why ? r->why : r->sent ? ERR_LOST : ERR_REFUSED;
    redis_prepare(r);
    pending_fail(r, err);
    return idle;
}

static void redis_release(struct redis_link *l) {
    struct redis *r = of_link(l);
    redisReaderFree(r->reader);
    arena_fini(&r->arena);
    mem_free(r->pending);
    mem_free(r->scripts);
    mem_free(r);
}

static const struct redis_link_ops link_ops = {
    .connected = redis_connected,
    .bytes = redis_bytes,
    .down = redis_down,
    .release = redis_release,
};

struct redis *redis_new(struct loop *loop, const char *address, uint64_t timeout_ms, unsigned max_pending) {
    struct redis *r = NEW(struct redis);
    r->loop = loop;
    r->timeout_ms = timeout_ms;
    r->max_pending = max_pending;
    r->timer.fire = redis_fire;
    arena_init(&r->arena, REPLY_ARENA_BYTES);
    redis_prepare(r);
    redis_link_open(&r->link, loop, address, timeout_ms, &link_ops);
    return r;
}

void redis_free(struct redis **rp) {
    struct redis *r = *rp;
    if (!r) return;
    *rp = NULL;
    loop_timer_stop(&r->timer);
    redis_link_hold(&r->link);
    redis_link_close(&r->link);
    pending_fail(r, ERR_CANCELED);
    redis_link_unhold(&r->link);
}

bool redis_up(const struct redis *r) {
    return r->up;
}

struct loop *redis_loop(const struct redis *r) {
    return r->loop;
}

/* ---- Commands ---- */

static enum err redis_admit(const struct redis *r) {
    if (!redis_link_open_for_writes(&r->link)) return ERR_REFUSED;
    return r->pending_count < r->max_pending ? ERR_OK : ERR_BUSY;
}

enum err redis_command(struct redis *r, redis_done_fn *done, void *ctx, size_t argc, const struct str *argv) {
    enum err err = redis_admit(r);
    if (err) return err;
    resp_add_command(&r->link.out, argc, argv);
    pending_push(r, done, ctx);
    return ERR_OK;
}

enum err redis_command_raw(struct redis *r, redis_done_fn *done, void *ctx, struct str resp) {
    enum err err = redis_admit(r);
    if (err) return err;
    buf_add_str(&r->link.out, resp);
    pending_push(r, done, ctx);
    return ERR_OK;
}

static struct known_script *script_know(struct redis *r, const struct redis_script *s) {
    for (size_t i = 0; i < r->script_count; i++)
        if (r->scripts[i].script == s) return &r->scripts[i];
    r->scripts = mem_grow(r->scripts, r->script_count + 1, sizeof(*r->scripts));
    struct known_script *known = &r->scripts[r->script_count++];
    known->script = s;
    known->loaded = false;
    sha1_hex(str_c(s->source), known->sha1);
    return known;
}

static void eval_done(void *ctx, enum err err, const struct redis_reply *reply) {
    struct eval_call *call = ctx;
    struct redis *r = call->redis;
    /* NOSCRIPT: nothing ran; the script cache was flushed under us. Beyond max_pending for once: the command was
     * admitted. */
    if (err == ERR_BACKEND && call->rest.len && str_starts(redis_str(reply), "NOSCRIPT") &&
        r->link.state == REDIS_LINK_CONNECTED) {
        resp_add_array(&r->link.out, call->argc);
        resp_add_bulk(&r->link.out, STR("EVAL"));
        resp_add_bulk(&r->link.out, str_c(call->script->source));
        buf_add_str(&r->link.out, buf_str(&call->rest));
        buf_fini(&call->rest); /* once */
        pending_push(r, eval_done, call);
        return;
    }
    redis_done_fn *done = call->done;
    void *done_ctx = call->ctx;
    buf_fini(&call->rest);
    mem_free(call);
    if (done) done(done_ctx, err, reply);
}

enum err redis_eval(struct redis *r, struct redis_script *s, redis_done_fn *done, void *ctx, size_t key_count,
                    size_t argc, const struct str *argv) {
    enum err err = redis_admit(r);
    if (err) return err;
    struct known_script *known = script_know(r, s);
    struct buf rest = BUF_INIT;
    char count[24];
    int count_len = snprintf(count, sizeof(count), "%zu", key_count);
    resp_add_bulk(&rest, str_of(count, (size_t)count_len));
    for (size_t i = 0; i < argc; i++) resp_add_bulk(&rest, argv[i]);

    resp_add_array(&r->link.out, argc + 3);
    resp_add_bulk(&r->link.out, known->loaded ? STR("EVALSHA") : STR("EVAL"));
    resp_add_bulk(&r->link.out, known->loaded ? str_of(known->sha1, SHA1_HEX_CHARS) : str_c(s->source));
    buf_add_str(&r->link.out, buf_str(&rest));
    if (!known->loaded) { /* the first on a connection is EVAL itself: no answer of it can be NOSCRIPT */
        known->loaded = true;
        buf_fini(&rest);
        pending_push(r, done, ctx);
        return ERR_OK;
    }
    struct eval_call *call = NEW(struct eval_call);
    *call = (struct eval_call){.redis = r, .script = s, .done = done, .ctx = ctx, .argc = argc + 3, .rest = rest};
    pending_push(r, eval_done, call);
    return ERR_OK;
}

/* ---- Connections of a loop, by address ---- */

struct redis_set {
    struct loop *loop;
    uint64_t timeout_ms;
    unsigned max_pending;
    size_t count;
    struct redis **items; /* (own) a handful: the nodes of the placement */
};

struct redis_set *redis_set_new(struct loop *loop, uint64_t timeout_ms, unsigned max_pending) {
    struct redis_set *s = NEW(struct redis_set);
    *s = (struct redis_set){.loop = loop, .timeout_ms = timeout_ms, .max_pending = max_pending};
    return s;
}

void redis_set_free(struct redis_set **sp) {
    struct redis_set *s = *sp;
    if (!s) return;
    *sp = NULL;
    for (size_t i = 0; i < s->count; i++) redis_free(&s->items[i]);
    mem_free(s->items);
    mem_free(s);
}

struct redis *redis_set_get(struct redis_set *s, const char *address) {
    for (size_t i = 0; i < s->count; i++)
        if (strcmp(s->items[i]->link.address, address) == 0) return s->items[i];
    s->items = mem_grow(s->items, s->count + 1, sizeof(struct redis *));
    s->items[s->count] = redis_new(s->loop, address, s->timeout_ms, s->max_pending);
    return s->items[s->count++];
}
