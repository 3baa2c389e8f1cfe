/*
 * The daemon skeleton: arguments, options, log, signals, reload, drain, health and metrics endpoint. A daemon's main is
 * a table and a few functions.
 *
 *   daemon [-c FILE] [--set section.name=value]... [--check] [--print-config] [--help-options] [--version]
 *
 *   start -> ready -> (SIGHUP: reload)* -> SIGTERM/SIGINT: drain -> stop
 *
 * The service owns the main loop; daemons with more threads make their own loops. SIGTERM a second time, or
 * drain_timeout, ends at once. Exit codes: 0 ended as asked, 1 failed while running, 2 bad arguments or options, 3
 * could not start.
 *
 * start, reload, drain and stop run on the main thread; ready and service_endpoint on the thread that asks. The service
 * ignores SIGPIPE, raises the descriptor limit to what is allowed, and tells systemd (NOTIFY_SOCKET) when ready is
 * first true.
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
    /* the daemon's options struct; after a reload another one, the old ones stay valid until the end */
    const void *options;
    void *state; /* the daemon's own, set by start */
};

struct service_def {
    const char *name;                   /* "fanoutd" */
    const struct option *const *tables; /* NULL-terminated; the first is SERVICE_OPTIONS' users' choice */
    size_t options_size;                /* of the options struct, which begins with struct service_options */
    /* message (own) says what, why, and what to do. stop is called only after a start that succeeded. */
    enum err (*start)(struct service *s, char **ret_message);
    /* for /readyz; appends the reason when not; NULL: always */
    bool (*ready)(struct service *s, struct buf *why_not);
    /*
     * Something reloadable changed (what is not keeps its value, with a warning). s->options is still the old. May be
     * NULL.
     */
    void (*reload)(struct service *s, const void *new_options);
    /* called each 10 ms after SIGTERM until it returns true; NULL: nothing to wait for */
    bool (*drain)(struct service *s);
    void (*stop)(struct service *s); /* frees everything */
};

/* Every options struct begins with this one; table SERVICE_OPTION_TABLE(struct type, member) fills it. */
struct service_options {
    char *log_level;
    char *admin_address; /* "" : no admin endpoint */
    int64_t admin_port;
    int64_t drain_timeout_ms;
};
/* Left as it is: clang-format would put each field of these rows on a line of its own. */
/* clang-format off */
#define SERVICE_OPTIONS(section_name)                                                                                  \
    {section_name, "log_level", OPTION_STRING, offsetof(struct service_options, log_level), "info", 0, 0, false, true, \
     "Least severe level that is logged: debug, info, warn, error."},                                                  \
        {section_name, "admin_address", OPTION_STRING, offsetof(struct service_options, admin_address), "127.0.0.1",   \
         0, 0, false, false, "Address of the admin endpoint (/healthz, /readyz, /metrics); empty: none."},             \
        {section_name, "admin_port", OPTION_INT, offsetof(struct service_options, admin_port), "0", 0, 65535, false,   \
         false, "Port of the admin endpoint; 0: any free one, written to the log."},                                   \
        {section_name, "drain_timeout", OPTION_DURATION, offsetof(struct service_options, drain_timeout_ms), "10s", 0, \
         600000, false, false, "How long SIGTERM waits for what is in flight."}
/* clang-format on */

/* Appends one reason for not being ready; several are joined by "; ". */
void service_reason(struct buf *why_not, const char *reason);

int service_main(int argc, char **argv, const struct service_def *def);

/* Something broke that the daemon cannot go on without: logs why, stops at once, exit code 1. Any thread. */
void service_fail(struct service *s, const char *why);
/* Asks for the same drain and stop as SIGTERM. Any thread. */
void service_stop(struct service *s);
bool service_draining(const struct service *s); /* any thread */

/* Appends the answers of /healthz ("ok"), /readyz and /metrics; false when path is none of them. For daemons with an
 * HTTP side of their own; the caller has checked that the method is GET or HEAD. Any thread. */
bool service_endpoint(struct service *s, struct str path, unsigned *ret_status, const char **ret_content_type,
                      struct buf *to);

#endif
