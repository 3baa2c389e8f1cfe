/*
 * Node health: turns failed operations into ejections, and ejected nodes that answer again into readmissions.
 *
 *   failure reported -> probe the node on a connection of our own (PING / version) each probe_ms
 *        an answer within probe_timeout_ms  -> forget the suspicion
 *        fail_after_ms without an answer    -> placement_set_state(EJECTED)
 *   keeper only (one elected daemon): ejected nodes are probed each probe_ms
 *        answering for readmit_after_ms without a gap -> placement_set_state(ACTIVE); the delay doubles (to ten times)
 *        for a node that was ejected again within ten minutes
 *
 * Lives on the main loop; reports come from any thread and cost one atomic when the node is already suspected.
 */
#ifndef STORE_HEALTH_H
#define STORE_HEALTH_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/store/placement.h"
#include "common/sys/loop.h"
#include "common/sys/metrics.h"

struct health;
struct health_options {
    struct loop *loop;
    struct placement *placement; /* (ref) */
    struct metrics *metrics;     /* (ref) */
    uint64_t probe_ms;           /* 100 */
    uint64_t probe_timeout_ms;   /* 200 */
    uint64_t fail_after_ms;      /* 500 */
    uint64_t readmit_after_ms;   /* 2000 */
};
struct health *health_new(const struct health_options *options);
void health_free(struct health **h);
void health_report(struct health *h, uint16_t node_id, enum err err); /* any thread */
void health_set_keeper(struct health *h, bool keeper);                /* main loop */

#endif
