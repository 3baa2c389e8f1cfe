/* feedd's own metrics, one table in metrics.c. Any thread. */
#ifndef FEEDD_METRICS_H
#define FEEDD_METRICS_H

#include "common/sys/metrics.h"
#include "feedd/feed.h"
#include "feedd/limits.h"
#include "feedd/routes.h"

struct feed_metrics;
struct feed_metrics *feed_metrics_new(struct metrics *metrics);
void feed_metrics_free(struct feed_metrics **m);

/* route NULL: none was found. */
void feed_metrics_request(struct feed_metrics *m, const struct route *route, unsigned status, uint64_t ns);
void feed_metrics_abandoned(struct feed_metrics *m);
void feed_metrics_limited(struct feed_metrics *m, enum limit_kind kind);
void feed_metrics_source(struct feed_metrics *m, enum feed_source source);
void feed_metrics_rebuild(struct feed_metrics *m); /* the database was asked for a timeline's entries */
void feed_metrics_batch(struct feed_metrics *m, size_t posts, uint64_t ns);
void feed_metrics_batch_retried(struct feed_metrics *m);
void feed_metrics_refused(struct feed_metrics *m); /* a publisher, for the backlog */
void feed_metrics_queue_failed(struct feed_metrics *m, size_t jobs);
void feed_metrics_backlog(struct feed_metrics *m, uint64_t queue, uint64_t outbox, bool overloaded);

#endif
