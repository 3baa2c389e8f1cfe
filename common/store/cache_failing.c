/* The cache backend that always fails: what a tier looks like when its node is gone. For tests and for running without
 * a tier. */
#include "common/base/mem.h"
#include "common/store/cache.h"

struct failing_batch {
    struct loop_task task;
    cache_done_fn *done;
    void *ctx;
    size_t count;
    struct cache_result results[];
};

static void failing_run(struct loop_task *t) {
    struct failing_batch *b = CONTAINER_OF(t, struct failing_batch, task);
    b->done(b->ctx, b->results, b->count);
    mem_free(b);
}

static void fail(void *node, const struct cache_op *ops, size_t count, cache_done_fn *done, void *ctx) {
    (void)ops;
    struct failing_batch *b = mem_zalloc(sizeof(*b) + count * sizeof(b->results[0]));
    *b = (struct failing_batch){.task.run = failing_run, .done = done, .ctx = ctx, .count = count};
    for (size_t i = 0; i < count; i++) b->results[i].err = ERR_TIMEOUT;
    loop_post(node, &b->task);
}

const struct cache_backend cache_backend_failing = {
    .name = "failing", .get = fail, .add = fail, .swap = fail, .del = fail};
