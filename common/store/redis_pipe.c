/*
 * Bare Redis pipe, see redis_pipe.h.
 *
 *   batches   [ answered | sent or waiting in the link's buffer ] [ ... ] [ open: pushes are being added ]
 *               ^ replies are counted off here
 *
 * Invariants
 * - Pushes go into the stream in the order of batches, so only one batch is open at a time, and a reply belongs to the
 *   first push that has none yet.
 * - A batch leaves the list before its done is called. It completes when it is ended and all is answered, or the
 *   connection is lost; what has nothing to wait for is completed by a timer of no delay, never from within
 *   redis_pipe_end.
 * - A connection is greeted with PING; before its answer nothing is admitted.
 *
 * No retry: whether a push whose answer was lost is repeated or its timeline dropped is the deliverer's decision.
 */
#include "common/store/redis_pipe.h"

#include <string.h>

#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/store/redis_link.h"
#include "common/store/resp.h"

enum {
    LENGTHS_FIRST = 1024,
    OUT_BYTES_MAX = 8 * 1024 * 1024, /* unsent: no room beyond */
    FREE_BATCHES_MAX = 64,
};

struct redis_pipe_batch {
    struct list link;
    struct redis_pipe *pipe;
    redis_pipe_done_fn *done;
    void *ctx;
    int32_t *lengths; /* (own) answered of them are known */
    size_t pushed, answered, cap;
    struct buf error_text; /* (own) */
    enum err err;          /* the connection was lost while it was open */
    bool ended;
};

struct redis_pipe {
    struct redis_link link;
    struct redis_pipe_options options; /* address is the link's */
    struct loop *loop;
    struct list batches; /* oldest first */
    struct list spare;   /* for reuse */
    unsigned spare_count;
    struct redis_pipe_batch *open; /* (ref: batches) */
    size_t in_flight;              /* pushes without an answer */
    struct buf in;                 /* (own) the beginning of a reply that is not complete */
    struct loop_timer silence;     /* armed while something is owed */
    struct loop_timer settle;      /* batches that are complete without another answer */
    uint64_t heard_ms;             /* when the last bytes came, or the first thing since then became owed */
    bool greeting;                 /* PING is not answered yet */
    bool up;
    enum err why; /* of going down, when we did it */
};

static struct redis_pipe *of_link(struct redis_link *l) {
    return CONTAINER_OF(l, struct redis_pipe, link);
}

/* ---- Batches ---- */

static struct redis_pipe_batch *batch_new(struct redis_pipe *p) {
    struct list *spare = list_pop(&p->spare);
    if (!spare) return NEW(struct redis_pipe_batch);
    p->spare_count--;
    struct redis_pipe_batch *b = CONTAINER_OF(spare, struct redis_pipe_batch, link);
    b->pushed = b->answered = 0;
    b->ended = false;
    b->err = ERR_OK;
    buf_clear(&b->error_text);
    return b;
}

static void batch_free(struct redis_pipe_batch *b) {
    mem_free(b->lengths);
    buf_fini(&b->error_text);
    mem_free(b);
}

/* Off the list already. The pipe may be closed by its done. */
static void batch_complete(struct redis_pipe *p, struct redis_pipe_batch *b, enum err err) {
    b->done(b->ctx, err, b->lengths, b->answered, buf_str(&b->error_text));
    if (p->spare_count >= FREE_BATCHES_MAX || p->link.state == REDIS_LINK_CLOSED) {
        batch_free(b);
        return;
    }
    p->spare_count++;
    list_add_tail(&p->spare, &b->link);
}

static struct redis_pipe_batch *batch_first(struct redis_pipe *p) {
    return list_empty(&p->batches) ? NULL : CONTAINER_OF(p->batches.next, struct redis_pipe_batch, link);
}

static void complete_ready(struct redis_pipe *p) {
    for (struct redis_pipe_batch *b; (b = batch_first(p)) && b->ended;) {
        if (!b->err && b->answered < b->pushed) return;
        list_del(&b->link);
        batch_complete(p, b, b->err);
    }
}

static void settle_fire(struct loop_timer *t) {
    struct redis_pipe *p = CONTAINER_OF(t, struct redis_pipe, settle);
    redis_link_hold(&p->link);
    complete_ready(p);
    redis_link_unhold(&p->link);
}

/* The connection is gone: what is ended completes, what is still open waits for its end. */
static void fail_all(struct redis_pipe *p, enum err err) {
    p->in_flight = 0;
    buf_clear(&p->in);
    for (struct list *n = p->batches.next; n != &p->batches; n = n->next) {
        struct redis_pipe_batch *b = CONTAINER_OF(n, struct redis_pipe_batch, link);
        if (!b->err) b->err = err;
    }
    complete_ready(p);
}

/* ---- Silence ---- */

static bool owed(const struct redis_pipe *p) {
    return p->in_flight > 0 || p->greeting;
}

static void watch_silence(struct redis_pipe *p) {
    p->heard_ms = loop_now_ms(p->loop);
    if (!p->silence.loop) loop_timer_start(p->loop, &p->silence, p->options.timeout_ms);
}

static void silence_fire(struct loop_timer *t) {
    struct redis_pipe *p = CONTAINER_OF(t, struct redis_pipe, silence);
    if (!owed(p)) return;
    uint64_t due = p->heard_ms + p->options.timeout_ms, now = loop_now_ms(p->loop);
    if (now < due) {
        loop_timer_start(p->loop, &p->silence, due - now);
        return;
    }
    p->why = ERR_TIMEOUT;
    redis_link_break(&p->link);
}

/* ---- Connection ---- */

static void pipe_connected(struct redis_link *l) {
    struct redis_pipe *p = of_link(l);
    const struct str ping = STR("PING");
    resp_add_command(&l->out, 1, &ping);
    p->greeting = true;
    watch_silence(p);
}

static bool pipe_down(struct redis_link *l) {
    struct redis_pipe *p = of_link(l);
    bool idle = !owed(p);
    enum err err = p->why ? p->why : ERR_LOST;
    p->up = p->greeting = false;
    p->why = ERR_OK;
    fail_all(p, err);
    return idle;
}

static void answer_greeting(struct redis_pipe *p, const struct resp_reply *reply) {
    p->greeting = false;
    if (reply->kind != RESP_OTHER) { /* loading, or too many clients */
        p->why = ERR_LOST;
        return;
    }
    p->up = true;
    redis_link_alive(&p->link);
}

/* To the first push without an answer. False: nobody asked, or what was asked is not so answered. */
static bool answer_push(struct redis_pipe *p, const struct resp_reply *reply) {
    struct redis_pipe_batch *b = batch_first(p);
    while (b && b->answered == b->pushed) {
        struct list *next = b->link.next;
        b = next == &p->batches ? NULL : CONTAINER_OF(next, struct redis_pipe_batch, link);
    }
    if (!b || reply->kind == RESP_OTHER) return false;
    if (reply->kind == RESP_ERROR) {
        if (b->error_text.len == 0) buf_add_str(&b->error_text, reply->text);
        b->lengths[b->answered++] = -1;
    } else {
        b->lengths[b->answered++] = reply->integer > INT32_MAX ? INT32_MAX : (int32_t)reply->integer;
    }
    p->in_flight--;
    if (b->ended && b->answered == b->pushed) complete_ready(p);
    return true;
}

/* Returns the bytes taken, or -1 when the connection is at its end. */
static ptrdiff_t take_replies(struct redis_pipe *p, const char *data, size_t len) {
    size_t at = 0;
    while (at < len) {
        struct resp_reply reply;
        ptrdiff_t n = resp_decode(data + at, len - at, &reply);
        if (n == 0) break;
        bool fits = n > 0;
        if (fits && p->greeting)
            answer_greeting(p, &reply);
        else if (fits)
            fits = answer_push(p, &reply);
        if (p->link.state != REDIS_LINK_CONNECTED) return -1; /* a done ended it */
        if (!fits) p->why = ERR_PROTOCOL;
        if (p->why) {
            redis_link_break(&p->link);
            return -1;
        }
        at += (size_t)n;
    }
    return (ptrdiff_t)at;
}

static void pipe_bytes(struct redis_link *l, const char *data, size_t len) {
    struct redis_pipe *p = of_link(l);
    size_t before = p->in_flight;
    bool was_up = p->up;
    p->heard_ms = loop_now_ms(p->loop);
    bool joined = p->in.len > 0;
    if (joined) {
        buf_add(&p->in, data, len);
        data = p->in.data;
        len = p->in.len;
    }
    ptrdiff_t taken = take_replies(p, data, len);
    if (taken < 0) return;
    if (joined)
        buf_drop_front(&p->in, (size_t)taken);
    else if ((size_t)taken < len)
        buf_add(&p->in, data + taken, len - (size_t)taken);

    size_t half = p->options.window / 2;
    bool roomier = p->in_flight < before && (p->in_flight == 0 || (before > half && p->in_flight <= half));
    if (p->options.on_room && p->up && (roomier || !was_up)) p->options.on_room(p->options.ctx);
}

static void pipe_release(struct redis_link *l) {
    struct redis_pipe *p = of_link(l);
    for (struct list *n; (n = list_pop(&p->spare));) batch_free(CONTAINER_OF(n, struct redis_pipe_batch, link));
    buf_fini(&p->in);
    mem_free(p);
}

static const struct redis_link_ops link_ops = {
    .connected = pipe_connected,
    .bytes = pipe_bytes,
    .down = pipe_down,
    .release = pipe_release,
};

/* ---- The door ---- */

struct redis_pipe *redis_pipe_new(struct loop *loop, const struct redis_pipe_options *options) {
    struct redis_pipe *p = NEW(struct redis_pipe);
    p->options = *options;
    p->options.address = NULL;
    p->loop = loop;
    list_init(&p->batches);
    list_init(&p->spare);
    p->silence.fire = silence_fire;
    p->settle.fire = settle_fire;
    redis_link_open(&p->link, loop, options->address, options->timeout_ms, &link_ops);
    return p;
}

void redis_pipe_free(struct redis_pipe **pp) {
    struct redis_pipe *p = *pp;
    if (!p) return;
    *pp = NULL;
    loop_timer_stop(&p->silence);
    loop_timer_stop(&p->settle);
    p->up = false;
    redis_link_hold(&p->link);
    redis_link_close(&p->link);
    if (p->open) p->open->ended = true;
    p->open = NULL;
    fail_all(p, ERR_CANCELED);
    redis_link_unhold(&p->link);
}

bool redis_pipe_up(const struct redis_pipe *p) {
    return p->up;
}

unsigned redis_pipe_room(const struct redis_pipe *p) {
    if (!p->up || p->in_flight >= p->options.window || p->link.out.len - p->link.out_at > OUT_BYTES_MAX) return 0;
    return p->options.window - (unsigned)p->in_flight;
}

enum err redis_pipe_begin(struct redis_pipe *p, redis_pipe_done_fn *done, void *ctx, struct redis_pipe_batch **ret) {
    if (!p->up) return ERR_REFUSED;
    if (p->open) return ERR_BUSY;
    struct redis_pipe_batch *b = batch_new(p);
    b->pipe = p;
    b->done = done;
    b->ctx = ctx;
    list_add_tail(&p->batches, &b->link);
    p->open = b;
    *ret = b;
    return ERR_OK;
}

static char *put(char *to, const void *bytes, size_t len) {
    memcpy(to, bytes, len);
    return to + len;
}

static char *put_number(char *to, size_t v) {
    char digits[20];
    size_t at = sizeof(digits);
    do digits[--at] = (char)('0' + v % 10);
    while (v /= 10);
    return put(to, digits + at, sizeof(digits) - at);
}

static void encode_push(struct buf *to, struct str key, const struct entry *entries, size_t count) {
    buf_reserve(to, 80 + key.len + count * (ENTRY_BYTES + 7));
    char *at = to->data + to->len;
    *at++ = '*';
    at = put_number(at, count + 2);
    at = put(at, "\r\n$6\r\nLPUSHX\r\n$", 15);
    at = put_number(at, key.len);
    at = put(at, "\r\n", 2);
    at = put(at, key.data, key.len);
    for (size_t i = 0; i < count; i++) {
        at = put(at, "\r\n$16\r\n", 7);
        be64_store(at, entries[i].post_id);
        be64_store(at + 8, entries[i].author_id);
        at += ENTRY_BYTES;
    }
    at = put(at, "\r\n", 2);
    to->len = (size_t)(at - to->data);
}

void redis_pipe_push(struct redis_pipe_batch *b, struct str key, const struct entry *entries, size_t count) {
    struct redis_pipe *p = b->pipe;
    if (b->pushed == b->cap) {
        b->cap = b->cap ? 2 * b->cap : LENGTHS_FIRST;
        b->lengths = mem_grow(b->lengths, b->cap, sizeof(b->lengths[0]));
    }
    b->pushed++;
    if (b->err) return; /* the connection was lost since begin: said at the end */
    encode_push(&p->link.out, key, entries, count);
    if (p->in_flight++ == 0) watch_silence(p);
}

void redis_pipe_end(struct redis_pipe_batch *b) {
    struct redis_pipe *p = b->pipe;
    b->ended = true;
    p->open = NULL;
    if (b->err || b->answered == b->pushed) loop_timer_start(p->loop, &p->settle, 0);
}
