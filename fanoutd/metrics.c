/* fanoutd's metric families and their children. Nothing else. */
#include "fanoutd/metrics.h"

#include <stdio.h>

static const struct metric_family JOBS = {"fanfare_fanout_jobs_total", METRIC_COUNTER,
                                          "Fan-out jobs that left a worker, by result."};
static const struct metric_family DELIVERIES = {"fanfare_fanout_deliveries_total", METRIC_COUNTER,
                                                "Entries delivered to timelines, by what became of them."};
static const struct metric_family ROUNDS = {"fanfare_fanout_rounds_total", METRIC_COUNTER, "Rounds finished."};
static const struct metric_family TRIMS = {"fanfare_fanout_trims_total", METRIC_COUNTER, "Timelines trimmed."};
static const struct metric_family LAG = {"fanfare_fanout_lag_seconds", METRIC_HISTOGRAM,
                                         "Time from a post's id to its last delivery, by PostgreSQL's clock."};
static const struct metric_family HELD = {"fanfare_fanout_held", METRIC_GAUGE, "Jobs that this process holds."};
static const struct metric_family BACKLOG = {"fanfare_fanout_backlog", METRIC_GAUGE, "Undone entries in the queue."};
static const struct metric_family SWEPT = {"fanfare_outbox_swept_total", METRIC_COUNTER,
                                           "Outbox rows added to the queue again."};
static const struct metric_family EXPIRED = {"fanfare_idempotency_keys_expired_total", METRIC_COUNTER,
                                             "Idempotency keys deleted after a day."};
static const struct metric_family KEEPER = {"fanfare_keeper", METRIC_GAUGE,
                                            "1 when this process is the keeper (sweeps, readmits nodes)."};

static const char *const JOB_NAMES[JOB_RESULTS] = {"done", "gone", "deleted", "invalid", "duplicate", "retried"};
static const char *const DELIVERY_NAMES[DELIVERY_RESULTS] = {"resident", "cold",     "late",
                                                             "refused",  "unplaced", "dropped"};

static struct metric *child(struct metrics *m, const struct metric_family *family, const char *result) {
    char labels[64];
    snprintf(labels, sizeof(labels), "result=\"%s\"", result);
    return metrics_child(m, family, labels);
}

void fanout_metrics_init(struct fanout_metrics *m, struct metrics *metrics) {
    for (int i = 0; i < JOB_RESULTS; i++) m->jobs[i] = child(metrics, &JOBS, JOB_NAMES[i]);
    for (int i = 0; i < DELIVERY_RESULTS; i++) m->deliveries[i] = child(metrics, &DELIVERIES, DELIVERY_NAMES[i]);
    m->rounds = metrics_child(metrics, &ROUNDS, "");
    m->trims = metrics_child(metrics, &TRIMS, "");
    m->lag = metrics_child(metrics, &LAG, "");
    m->held = metrics_child(metrics, &HELD, "");
    m->backlog = metrics_child(metrics, &BACKLOG, "");
    m->swept = metrics_child(metrics, &SWEPT, "");
    m->expired_keys = metrics_child(metrics, &EXPIRED, "");
    m->keeper = metrics_child(metrics, &KEEPER, "");
}
