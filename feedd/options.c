/* feedd's options: one line each, with default, limits and what it does. The same file is read by the other daemons. */
#include "feedd/options.h"

#include "common/service/shared_options.h"

#define AT(member) offsetof(struct feedd_options, member)

static const struct option OPTIONS[] = {
    SERVICE_OPTIONS("feedd"),
    {"feedd", "address", OPTION_STRING, AT(address), "127.0.0.1", 0, 0, false, false, "Address that HTTP listens on."},
    {"feedd", "port", OPTION_INT, AT(port), "8080", 0, 65535, false, false,
     "Port that HTTP listens on; 0: any free one, written to the log."},
    {"feedd", "threads", OPTION_INT, AT(threads), "2", 1, 64, false, false,
     "Workers, each a thread with an event loop and connections of its own; one a CPU is right."},
    {"feedd", "max_connections", OPTION_INT, AT(max_connections), "10000", 1, 1000000, false, false,
     "HTTP connections a worker; further ones are closed at once."},
    {"feedd", "idle_timeout", OPTION_DURATION, AT(idle_timeout_ms), "30s", 1000, 3600000, false, false,
     "A connection without a byte for so long is closed; a request must arrive complete within it."},
    {"feedd", "max_body", OPTION_SIZE, AT(max_body), "128k", 1024, 16777216, false, false,
     "Largest request body in bytes; a larger one is answered 413."},
    {"feedd", "request_deadline", OPTION_DURATION, AT(request_deadline_ms), "5s", 100, 60000, false, false,
     "A request that has no answer after this is answered 503."},
    {"feedd", "fast_connections", OPTION_INT, AT(fast_connections), "4", 1, 256, false, false,
     "Connections a worker for point queries and writes (pipelined)."},
    {"feedd", "heavy_connections", OPTION_INT, AT(heavy_connections), "4", 1, 256, false, false,
     "Connections a worker for rebuilds and deep pages, one statement each: bounds how many run at once."},
    {"feedd", "content_ttl", OPTION_DURATION, AT(content_ttl_ms), "24h", 1000, 2592000000, false, false,
     "Life of cached posts, users, relations and counters."},
    {"feedd", "absent_ttl", OPTION_DURATION, AT(absent_ttl_ms), "30s", 100, 86400000, false, false,
     "Life of a cached \"there is no such thing\"."},
    {"feedd", "backlog_max", OPTION_INT, AT(backlog_max), "20000", 1, 100000000, false, false,
     "Jobs not yet fanned out before publishers are answered 503; they are let in again below 80 % of it."},
    {"feedd", "password_threads", OPTION_INT, AT(password_threads), "2", 1, 64, false, false,
     "Threads that hash passwords; each uses argon2_memory."},
    {"feedd", "password_queue", OPTION_INT, AT(password_queue), "64", 1, 10000, false, false,
     "Sign-ups and log-ins waiting for such a thread before further ones are answered 503."},
    {"feedd", "argon2_ops", OPTION_INT, AT(argon2_ops), "2", 1, 20, false, false,
     "Passes of argon2id over its memory."},
    {"feedd", "argon2_memory", OPTION_SIZE, AT(argon2_memory), "19M", 8192, 4294967296, false, false,
     "Memory of one argon2id hash."},
    {"feedd", "posts_per_s", OPTION_DOUBLE, AT(posts_per_s), "5", 0, 1000000, false, false,
     "Posts a second a user in the long run, and sign-ups and log-ins a second a client address; 0: no limit."},
    {"feedd", "posts_burst", OPTION_INT, AT(posts_burst), "20", 1, 1000000, false, false,
     "Of these, how many at once."},
    {"feedd", "reads_per_s", OPTION_DOUBLE, AT(reads_per_s), "50", 0, 1000000, false, false,
     "Calls a second a user in the long run, publishing aside; 0: no limit."},
    {"feedd", "reads_burst", OPTION_INT, AT(reads_burst), "200", 1, 1000000, false, false,
     "Of these, how many at once."},
    SHARED_DATABASE_OPTIONS(struct feedd_options),
    SHARED_CACHE_OPTIONS(struct feedd_options),
    SHARED_QUEUE_OPTIONS(struct feedd_options),
    SHARED_TIMELINE_OPTIONS(struct feedd_options),
    SHARED_AUTH_OPTIONS(struct feedd_options, NULL),
    {0},
};

const struct option *const FEEDD_OPTIONS[] = {OPTIONS, NULL};
