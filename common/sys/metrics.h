/*
 * Metrics in Prometheus text format. A daemon declares its families in one table; children (label sets) are made at
 * start or on first use. Updates are relaxed atomics: any thread, no lock. Reading renders all of it.
 */
#ifndef SYS_METRICS_H
#define SYS_METRICS_H

#include <stdint.h>

#include "common/base/buf.h"

enum metric_kind {
    METRIC_COUNTER,
    METRIC_GAUGE,
    METRIC_HISTOGRAM,      /* of seconds, fixed buckets 100 us .. 10 s */
    METRIC_COUNTER_SECONDS /* added in nanoseconds, shown in seconds */
};

struct metric_family {
    const char *name; /* fanfare_..., unit last, _total for counters */
    enum metric_kind kind;
    const char *help;
};

struct metrics;
struct metric;

struct metrics *metrics_new(void);
void metrics_free(struct metrics **m); /* with all children; nobody may update any more */
/*
 * The child with this label set ("tier=\"content\",node=\"m1\"", or ""), made on first use. Lives as long as m. Takes a
 * lock: keep it.
 */
struct metric *metrics_child(struct metrics *m, const struct metric_family *family, const char *labels);
void metric_add(struct metric *c, int64_t delta);      /* counter, gauge */
void metric_set(struct metric *c, int64_t value);      /* gauge; a counter that is kept elsewhere */
int64_t metric_value(const struct metric *c);          /* counter, gauge; of a histogram: how many were observed */
void metric_observe_ns(struct metric *c, uint64_t ns); /* histogram */
/*
 * Called before rendering, from the thread that renders (one at a time), to refresh gauges that are derived. May make
 * children.
 */
void metrics_on_collect(struct metrics *m, void (*fn)(void *ctx), void *ctx);
void metrics_render(struct metrics *m, struct buf *to);

#endif
