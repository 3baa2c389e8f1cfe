/*
 * Publishing: requests that are ready together share one statement (schema/0005_publish.sql), one commit, one queue
 * batch. One a worker.
 *
 *   publisher_add x n -> (end of this loop turn) -> one statement of up to 100 posts, at most 2 in flight -> commit
 *     -> queue_add of all created posts, not waited for: the outbox row is the truth, the sweeper adds what the queue
 * did not take
 *     -> a reply's target: its counters are invalidated -> done of each
 *
 * Nothing waits to be batched: while statements are in flight, what comes gathers.
 */
#ifndef FEEDD_PUBLISH_H
#define FEEDD_PUBLISH_H

#include "common/base/list.h"
#include "common/domain/job.h"
#include "feedd/worker.h"

#define PUBLISH_BATCH_MAX     100
#define PUBLISH_IN_FLIGHT_MAX 2
#define PUBLISH_WAITING_MAX   4000

enum publish_status {
    PUBLISH_CREATED,
    PUBLISH_REPLAYED,
    PUBLISH_KEY_REUSED,
    PUBLISH_UNKNOWN_AUTHOR,
    PUBLISH_UNKNOWN_POST,
    PUBLISH_CONFLICT /* its key was in use, and gone when it was looked up: nothing happened */
};
struct publish_result {
    enum publish_status status;
    uint64_t post_id;       /* created, replayed */
    struct str author_json; /* created, replayed */
    struct str text;        /* replayed: as first published */
    uint64_t in_reply_to;   /* replayed; 0: none */
};
/* result: valid during the call, NULL unless ERR_OK. ERR_LOST, ERR_TIMEOUT: it may have been published. failed: the
 * statement's answer to ERR_BACKEND, else NULL. */
typedef void publish_done_fn(void *ctx, enum err err, const struct publish_result *result,
                             const struct pg_result *failed);

/* One post to publish. (own: caller) Stays valid until done, which is called exactly once. */
struct publish_item {
    uint64_t author_id;
    struct str text;      /* (ref) valid UTF-8 without NUL */
    uint64_t in_reply_to; /* 0: none */
    struct str key;       /* (ref) Idempotency-Key; data NULL: none */
    uint64_t request_hash;
    char traceparent[JOB_TRACEPARENT_MAX + 1];
    bool (*gone)(void *ctx); /* nobody waits any more: it need not be sent. May be NULL */
    publish_done_fn *done;
    void *ctx;
    /* the publisher's */
    struct publisher *publisher;
    struct list link;
    bool alone; /* its batch failed: it goes by itself */
    struct publish_result result;
};

struct publisher;
/* Before the worker's pools and queue are made (its hook has to run before theirs), which it uses through w. */
struct publisher *publisher_new(struct worker *w);
void publisher_free(struct publisher **p); /* waiting items complete with ERR_CANCELED; after the pool is freed */
/* ERR_BUSY: too many wait; done is not called then. Else done is called later, never from here. */
enum err publisher_add(struct publisher *p, struct publish_item *item);

/*
 * Takes the next batch off `waiting` into batch (pure; for tests): up to PUBLISH_BATCH_MAX items, never two with the
 * same author and key, an item that goes alone by itself. What is passed over keeps its order.
 */
size_t publish_take(struct list *waiting, struct publish_item *batch[static PUBLISH_BATCH_MAX]);

#endif
