/*
 * Fan-out queue: a Redis stream with one consumer group (Redis Streams: XADD, XREADGROUP, XACK, XDEL, XAUTOCLAIM). It
 * only says that there is a job: the outbox row is the truth, so losing the stream loses nothing, and a job may be
 * queued twice. One per loop.
 */
#ifndef STORE_QUEUE_H
#define STORE_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/err.h"
#include "common/domain/job.h"
#include "common/store/redis.h"

#define QUEUE_STREAM "fanfare:jobs"
#define QUEUE_GROUP  "fanoutd"
#define QUEUE_ID_MAX 44

struct queue;
/*
 * redis: a connection of its own when the caller reads with block (a blocked read holds up the connection). consumer:
 * unique name, NULL for producers.
 */
struct queue *queue_new(struct redis *redis, const char *consumer);
void queue_free(struct queue **q);

typedef void queue_done_fn(void *ctx, enum err err, uint64_t value);
/* For all calls: an error return means that done is not called; done never runs before the call returned; count > 0. */
/* Adds jobs in one batch; value: how many were added. */
enum err queue_add(struct queue *q, const struct job *jobs, size_t count, queue_done_fn *done, void *ctx);
/* value: undone entries (those done are deleted from the stream). */
enum err queue_length(struct queue *q, queue_done_fn *done, void *ctx);
/* value: Unix ms of the oldest undone entry by Redis' clock, 0 when there is none. */
enum err queue_oldest(struct queue *q, queue_done_fn *done, void *ctx);

struct queue_item {
    char id[QUEUE_ID_MAX];
    struct job job;
    bool valid; /* false: it could not be decoded; acknowledge and count it */
};
typedef void queue_items_fn(void *ctx, enum err err, const struct queue_item *items, size_t count);
/*
 * New jobs for this consumer; waits up to block_ms when there is none (0: no wait). Makes stream and group when they
 * are missing.
 */
enum err queue_read(struct queue *q, unsigned max, uint64_t block_ms, struct arena *arena, queue_items_fn *done,
                    void *ctx);
/* Takes over jobs that another consumer has held for idle_ms without finishing or touching them. */
enum err queue_claim(struct queue *q, uint64_t idle_ms, unsigned max, struct arena *arena, queue_items_fn *done,
                     void *ctx);
/* Keeps long jobs ours: resets their idle time. */
enum err queue_touch(struct queue *q, const struct queue_item *const *items, size_t count, queue_done_fn *done,
                     void *ctx);
/* Acknowledges and deletes. */
enum err queue_ack(struct queue *q, const struct queue_item *const *items, size_t count, queue_done_fn *done,
                   void *ctx);
/*
 * Housekeeping: forgets consumers that hold nothing and have been silent for idle_ms; value: how many. A consumer name
 * is never used again by another process.
 */
enum err queue_forget_consumers(struct queue *q, uint64_t idle_ms, queue_done_fn *done, void *ctx);

#endif
