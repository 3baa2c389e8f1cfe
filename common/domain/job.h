/*
 * Fan-out job as it travels through the queue: a msgpack array [version, post_id, author_id, traceparent]. The truth of
 * a job is its outbox row (position included); the queue only says that there is one. Unknown versions decode to
 * ERR_CORRUPT.
 */
#ifndef DOMAIN_JOB_H
#define DOMAIN_JOB_H

#include "common/base/buf.h"
#include "common/base/err.h"

#define JOB_FORMAT          1
#define JOB_TRACEPARENT_MAX 55 /* W3C trace context, version 00 */

struct job {
    uint64_t post_id;
    uint64_t author_id;
    char traceparent[JOB_TRACEPARENT_MAX + 1]; /* "" when the request had none */
};

void job_encode(const struct job *j, struct buf *to); /* appends */
enum err job_decode(struct str bytes, struct job *ret);

#endif
