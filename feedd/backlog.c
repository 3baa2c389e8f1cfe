/*
 * The backlog is measured twice, because the queue is a hint: a queue that was lost reads as empty while the outbox is
 * full. A measure that does not answer keeps its last value for a second, then counts as 0; the other one goes on.
 */
#include "feedd/backlog.h"

#include "common/base/mem.h"
#include "feedd/metrics.h"

#define POLL_MS      100
#define OUTBOX_EVERY 10 /* polls */
#define STALE_POLLS  30

static const struct pg_statement OUTBOX_SQL = {"backlog_outbox",
                                               "SELECT count(*) FROM (SELECT FROM outbox LIMIT $1) AS o"};

struct measure {
    uint64_t value;
    unsigned age; /* polls since it was taken */
    bool asked;
};
struct backlog {
    struct feedd *feedd;
    struct loop *loop;
    struct redis *redis; /* (own) */
    struct queue *queue; /* (own) */
    struct loop_timer timer;
    unsigned polls;
    struct measure queued, outbox;
    bool overloaded;
};

bool backlog_overloaded(bool was, uint64_t jobs, uint64_t max) {
    return was ? jobs >= max - max / 5 : jobs > max;
}

static void measured(struct measure *m, enum err err, uint64_t value) {
    m->asked = false;
    if (err != ERR_OK) return;
    m->value = value;
    m->age = 0;
}

static void queue_measured(void *ctx, enum err err, uint64_t value) {
    struct backlog *b = ctx;
    measured(&b->queued, err, value);
}

static void outbox_measured(void *ctx, enum err err, const struct pg_result *r) {
    struct backlog *b = ctx;
    measured(&b->outbox, err, err == ERR_OK ? pg_int8(r, 0, 0) : 0);
}

static void ask_outbox(struct backlog *b) {
    struct arena arena;
    struct pg_params params;
    arena_init(&arena, 256);
    pg_params_init(&params, &arena);
    pg_param_int8(&params, (uint64_t)b->feedd->opt->backlog_max + 1);
    b->outbox.asked = pg_exec(b->feedd->control, &OUTBOX_SQL, &params, outbox_measured, b) == ERR_OK;
    arena_fini(&arena);
}

static uint64_t current(struct measure *m) {
    if (m->age < STALE_POLLS) m->age++;
    return m->age < STALE_POLLS ? m->value : 0;
}

static void poll(struct loop_timer *t) {
    struct backlog *b = CONTAINER_OF(t, struct backlog, timer);
    uint64_t queued = current(&b->queued);
    uint64_t outbox = current(&b->outbox);
    b->overloaded =
        backlog_overloaded(b->overloaded, queued > outbox ? queued : outbox, (uint64_t)b->feedd->opt->backlog_max);
    atomic_store_explicit(&b->feedd->overloaded, b->overloaded, memory_order_relaxed);
    feed_metrics_backlog(b->feedd->metrics, queued, outbox, b->overloaded);
    if (!b->queued.asked) b->queued.asked = queue_length(b->queue, queue_measured, b) == ERR_OK;
    if (b->polls++ % OUTBOX_EVERY == 0 && !b->outbox.asked) ask_outbox(b);
    loop_timer_start(b->loop, t, POLL_MS);
}

struct backlog *backlog_new(struct feedd *feedd, struct loop *loop) {
    struct backlog *b = NEW(struct backlog);
    b->feedd = feedd;
    b->loop = loop;
    b->redis = redis_new(loop, feedd->opt->queue_address, (uint64_t)feedd->opt->queue_timeout_ms, 16);
    b->queue = queue_new(b->redis, NULL);
    b->timer.fire = poll;
    loop_timer_start(loop, &b->timer, 0);
    return b;
}

void backlog_free(struct backlog **b) {
    if (!*b) return;
    loop_timer_stop(&(*b)->timer);
    queue_free(&(*b)->queue);
    redis_free(&(*b)->redis);
    mem_free(*b);
    *b = NULL;
}
