/* feedd's options. The table with defaults, limits and help is in options.c. */
#ifndef FEEDD_OPTIONS_H
#define FEEDD_OPTIONS_H

#include "common/service/service.h"

struct feedd_options {
    struct service_options service; /* first */
    char *address;
    int64_t port;
    int64_t threads;
    int64_t max_connections;
    int64_t idle_timeout_ms;
    int64_t max_body;
    bool behind_proxy;
    int64_t request_deadline_ms;
    /* [database] */
    char *conninfo;
    int64_t fast_connections;  /* a thread */
    int64_t heavy_connections; /* a thread */
    int64_t database_timeout_ms;
    /* [cache] */
    int64_t cache_timeout_ms;
    int64_t content_ttl_ms;
    int64_t absent_ttl_ms;
    int64_t invalidate_deadline_ms;
    /* [queue] */
    char *queue_address;
    int64_t queue_timeout_ms;
    int64_t backlog_max; /* jobs */
    /* [timeline] shared with fanoutd */
    int64_t timeline_cap;
    int64_t timeline_slack;
    int64_t timeline_ttl_ms;
    int64_t lateness_ms;
    /* [auth] */
    char *jwt_keys;
    char *jwt_issuer;
    int64_t token_ttl_ms;
    int64_t password_threads;
    int64_t password_queue;
    int64_t argon2_ops;
    int64_t argon2_memory;
    /* [limits] token buckets a user */
    double sign_ins_per_s;
    int64_t sign_ins_burst;
    double posts_per_s;
    int64_t posts_burst;
    double reads_per_s;
    int64_t reads_burst;
};

extern const struct option *const FEEDD_OPTIONS[];

#endif
