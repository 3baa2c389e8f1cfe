/*
 * A stream of HTTP requests, closed or open loop, and the tally of its answers.
 *
 *   closed: each connection sends its next request when its last was answered; latency counts from the sending
 *   open:   arrivals are scheduled in advance and sent whatever became of the ones before; latency counts from the
 * scheduled time, so that a slow server cannot hide (neither can this program: what it sends late counts as latency)
 *
 * One loop; everything on the loop's thread.
 */
#ifndef BENCH_STREAM_H
#define BENCH_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "bench/report.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/hash.h"
#include "common/base/histogram.h"
#include "common/sys/http_client.h"
#include "common/sys/loop.h"

struct tally {
    struct histogram *latency;  /* (own) ns, of answers below 400 */
    uint64_t sent;              /* first sendings */
    uint64_t good;              /* answers below 400 */
    uint64_t bytes;             /* of their bodies */
    uint64_t retries;           /* sendings after a 503, 429 or a lost connection */
    uint64_t given_up;          /* requests that ended without an answer below 400 */
    uint64_t status[600];       /* answers, those that were retried too */
    uint64_t bare_503;          /* 503 without Retry-After */
    uint64_t errors[ERR_COUNT]; /* no answer: why */
};
void tally_report(struct report *r, const struct tally *t);
void latency_report(struct report *r, const struct histogram *h); /* p50 p90 p99 p999 max mean, in ms */

struct stream_request { /* filled by next; memory is reused */
    const char *method;
    struct buf target, headers, body;
    uint64_t tag; /* the caller's */
};

struct stream_options {
    struct loop *loop;
    const char *url;
    unsigned connections;
    uint64_t count;    /* requests; 0: until next says no or time is up */
    uint64_t run_ms;   /* 0: no bound; what is under way then is still answered */
    bool retry;        /* sends a request again after 503, 429 (as told by Retry-After) or a lost connection */
    uint64_t retry_ms; /* no request is retried for longer; it is then given up */
    /* Open loop: ns after the start of arrival n (0, 1, ...), not falling; NULL: closed loop. */
    uint64_t (*due)(void *ctx, uint64_t n);
    bool (*next)(void *ctx, struct stream_request *r); /* false: no more */
    /* May be NULL. started_ns: scheduled (open) or first sent (closed). reply NULL: given up without one. */
    void (*answered)(void *ctx, const struct stream_request *r, const struct http_reply *reply, uint64_t started_ns,
                     uint64_t answered_ns);
    void (*finished)(void *ctx); /* all answered; NULL: stops the loop; may call anything but stream_free */
    void *ctx;
};

struct stream;
/* False: url is no address; why was printed. */
bool stream_new(const struct stream_options *options, struct stream **ret);
void stream_free(struct stream **s); /* not from a callback of the stream */
void stream_start(struct stream *s);
void stream_stop(struct stream *s); /* no further requests; what is under way is answered */
bool stream_done(const struct stream *s);
const struct tally *stream_tally(const struct stream *s);
uint64_t stream_elapsed_ns(const struct stream *s); /* start to the last answer, or until now */

/* Arrivals at a rate: exponential gaps, seeded; to be asked for in order. */
struct arrivals {
    double rate; /* a second */
    struct rng rng;
    double at_ns;
};
uint64_t arrivals_next(struct arrivals *a);

/* Once a second while it runs: "what: done, rate, p99, retries, errors" on stderr (a terminal: one line, else each 5
 * s). */
struct stream_progress {
    const char *what;
    const struct stream *stream; /* (ref) */
    struct loop_timer timer;
    uint64_t last_good, last_ns, ticks;
};
void stream_progress_start(struct stream_progress *p, struct loop *loop, const char *what, const struct stream *s);
void stream_progress_stop(struct stream_progress *p);

/* Runs the loop until this stream is finished, with progress. False: why was printed. */
bool stream_run(struct stream_options *options, const char *what, struct stream **ret);

#endif
