/*
 * The daemon skeleton: arguments, options, log, signals, reload, drain, health and metrics endpoint. A daemon's main is a
 * table and a few functions.
 *
 *   daemon [-c FILE] [--set section.name=value]... [--check] [--print-config] [--help-options] [--version]
 *
 *   start -> ready -> (SIGHUP: reload)* -> SIGTERM/SIGINT: drain -> stop
 *
 * The service owns the main loop; daemons with more threads make their own loops. SIGTERM a second time, or drain_timeout,
 * ends at once. Exit codes: 0 ended as asked, 1 failed while running, 2 bad arguments or options, 3 could not start.
 */
#ifndef SERVICE_SERVICE_H
#define SERVICE_SERVICE_H

#include <stdbool.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/sys/config.h"
#include "common/sys/loop.h"
#include "common/sys/metrics.h"

struct service {
    struct loop *loop;
    struct metrics *metrics;
    const void *options; /* the daemon's options struct */
    void *state;         /* the daemon's own, set by start */
};

struct service_def {
    const char *name; /* "fanoutd" */
    const struct option *const *tables; /* NULL-terminated; the first is SERVICE_OPTIONS' users' choice */
    size_t options_size;                /* of the options struct, which begins with struct service_options */
    enum err (*start)(struct service *s, char **ret_message); /* message (own) says what, why, and what to do */
    bool (*ready)(struct service *s, struct buf *why_not);    /* for /readyz; appends the reason when not */
    void (*reload)(struct service *s, const void *new_options); /* may be NULL */
    bool (*drain)(struct service *s); /* called each 10 ms after SIGTERM until it returns true */
    void (*stop)(struct service *s);  /* frees everything */
};

/* Every options struct begins with this one; table SERVICE_OPTION_TABLE(struct type, member) fills it. */
struct service_options {
    char *log_level;
    char *admin_address;    /* "" : no admin endpoint */
    int64_t admin_port;
    int64_t drain_timeout_ms;
};
#define SERVICE_OPTIONS(section_name)                                                                                  \
    {section_name, "log_level", OPTION_STRING, offsetof(struct service_options, log_level), "info", 0, 0, false, true, \
     "Least severe level that is logged: debug, info, warn, error."},                                                  \
        {section_name, "admin_address", OPTION_STRING, offsetof(struct service_options, admin_address), "127.0.0.1",   \
         0, 0, false, false, "Address of the admin endpoint (/healthz, /readyz, /metrics); empty: none."},             \
        {section_name, "admin_port", OPTION_INT, offsetof(struct service_options, admin_port), "0", 0, 65535, false,   \
         false, "Port of the admin endpoint; 0: any free one, written to the log."},                                   \
        {section_name, "drain_timeout", OPTION_DURATION, offsetof(struct service_options, drain_timeout_ms), "10s", 0, \
         600000, false, false, "How long SIGTERM waits for what is in flight."}

int service_main(int argc, char **argv, const struct service_def *def);

/* Appends the answers of /healthz ("ok"), /readyz and /metrics; false when path is none of them. For daemons with an HTTP side of their own. */
bool service_endpoint(struct service *s, struct str path, unsigned *ret_status, const char **ret_content_type, struct buf *to);

#endif
