/* What fanoutd counts. Children are made at start; updates from any thread. */
#ifndef FANOUTD_METRICS_H
#define FANOUTD_METRICS_H

#include "common/sys/metrics.h"

enum job_result { JOB_DONE, JOB_GONE, JOB_DELETED, JOB_INVALID, JOB_DUPLICATE, JOB_RETRIED, JOB_RESULTS };
enum delivery_result {
    DELIVERY_RESIDENT,
    DELIVERY_COLD,
    DELIVERY_LATE,     /* put in by the late script */
    DELIVERY_REFUSED,  /* by the node, or unconfirmed: tried again */
    DELIVERY_UNPLACED, /* no live node */
    DELIVERY_DROPPED,  /* the timeline was deleted instead */
    DELIVERY_RESULTS
};

struct fanout_metrics {
    struct metric *jobs[JOB_RESULTS];
    struct metric *deliveries[DELIVERY_RESULTS];
    struct metric *rounds;
    struct metric *trims;
    struct metric *lag;
    struct metric *held;
    struct metric *backlog;
    struct metric *swept;
    struct metric *expired_keys;
    struct metric *keeper;
};

void fanout_metrics_init(struct fanout_metrics *m, struct metrics *metrics);

#endif
