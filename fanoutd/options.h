/* fanoutd's options. The table with defaults, limits and help is in options.c; sections shared with feedd have the same
 * names there. */
#ifndef FANOUTD_OPTIONS_H
#define FANOUTD_OPTIONS_H

#include "common/service/service.h"

struct fanoutd_options {
    struct service_options service; /* first */
    /* [fanoutd] */
    int64_t workers;
    int64_t batch_jobs;
    int64_t batch_followers;
    int64_t slice;
    int64_t huge_slices;
    int64_t rounds;
    int64_t held_max;
    int64_t window;
    int64_t connections; /* to PostgreSQL, a worker */
    int64_t claim_idle_ms;
    int64_t sweep_age_ms;
    int64_t eject_after_ms;
    /* [database] */
    char *conninfo;
    int64_t database_timeout_ms;
    /* [cache] */
    int64_t cache_timeout_ms;
    int64_t invalidate_deadline_ms;
    /* [queue] */
    char *queue_address;
    int64_t queue_timeout_ms;
    /* [timeline] shared with feedd */
    int64_t timeline_cap;
    int64_t timeline_slack;
    int64_t timeline_ttl_ms;
    int64_t lateness_ms;
};

extern const struct option *const FANOUTD_OPTIONS[];

#endif
