/* What Prometheus expects to know of any process: CPU, memory, descriptors, start time; and the version. */
#ifndef SERVICE_PROCESS_METRICS_H
#define SERVICE_PROCESS_METRICS_H

#include "common/sys/metrics.h"

struct process_metrics;
/* Registers and collects them with each rendering of m. Free after m's last rendering. */
struct process_metrics *process_metrics_new(struct metrics *m);
void process_metrics_free(struct process_metrics **p);

#endif
