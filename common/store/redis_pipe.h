/*
 * Bare Redis pipe for deliveries: commands are encoded straight into one buffer, integer replies are counted straight
 * out of the stream. No allocation a command, no formatting: that is where the cost of a delivery lies.
 *
 *   redis_pipe_push() x n  ->  one write an iteration  ->  replies in order -> done(batch)
 *
 * A batch is a run of pushes closed by redis_pipe_end; it completes once, with the result of every push. The window
 * bounds bytes and pushes in flight: redis_pipe_room says how many pushes may be added now; on_room is called when
 * there is room again.
 */
#ifndef STORE_REDIS_PIPE_H
#define STORE_REDIS_PIPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/domain/plan.h"
#include "common/sys/loop.h"

struct redis_pipe;
struct redis_pipe_options {
    const char *address;
    /* without a byte of answer while something is owed: the connection is closed, batches get ERR_TIMEOUT */
    uint64_t timeout_ms;
    unsigned window;            /* pushes in flight */
    void (*on_room)(void *ctx); /* may be NULL */
    void *ctx;
};
struct redis_pipe *redis_pipe_new(struct loop *loop, const struct redis_pipe_options *options);
void redis_pipe_free(struct redis_pipe **p); /* open batches complete with ERR_CANCELED */
bool redis_pipe_up(const struct redis_pipe *p);
unsigned redis_pipe_room(const struct redis_pipe *p);

struct redis_pipe_batch; /* (own: the pipe, until done returns) */
/*
 * lengths[i]: list length after push i, 0 when the timeline is not resident, -1 when Redis refused it (OOM, READONLY,
 * WRONGTYPE, ...; error_text has the first refusal). err ERR_OK: all answered. Otherwise only the first `answered`
 * lengths are known; the rest is uncertain.
 */
typedef void redis_pipe_done_fn(void *ctx, enum err err, const int32_t *lengths, size_t answered,
                                struct str error_text);
/* ERR_REFUSED while the connection is down. */
enum err redis_pipe_begin(struct redis_pipe *p, redis_pipe_done_fn *done, void *ctx, struct redis_pipe_batch **ret);
/* LPUSHX key entry... ; key as made by cache_key(). Entries oldest first. */
void redis_pipe_push(struct redis_pipe_batch *b, struct str key, const struct entry *entries, size_t count);
void redis_pipe_end(struct redis_pipe_batch *b);

#endif
