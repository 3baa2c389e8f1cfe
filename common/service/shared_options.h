/*
 * Options that several daemons share, one definition each: where they disagreed, what one pushes the other could not
 * trust. A program puts the macros it needs into its table; T is its options struct, with members of these names.
 */
#ifndef SERVICE_SHARED_OPTIONS_H
#define SERVICE_SHARED_OPTIONS_H

#include <stddef.h>

#include "common/sys/config.h"

/* char *conninfo; int64_t database_timeout_ms; */
#define SHARED_DATABASE_OPTIONS(T)                                                                                     \
    {"database",                                                                                                       \
     "conninfo",                                                                                                       \
     OPTION_STRING,                                                                                                    \
     offsetof(T, conninfo),                                                                                            \
     NULL,                                                                                                             \
     0,                                                                                                                \
     0,                                                                                                                \
     true,                                                                                                             \
     false,                                                                                                            \
     "libpq connection string of the primary, such as \"host=/run/postgresql dbname=fanfare\"."},                      \
    {                                                                                                                  \
        "database", "timeout", OPTION_DURATION, offsetof(T, database_timeout_ms), "5s", 10, 600000, false, false,      \
            "A statement without an answer for so long is given up, with its connection."                              \
    }

/* int64_t cache_timeout_ms, invalidate_deadline_ms; */
#define SHARED_CACHE_OPTIONS(T)                                                                                        \
    {"cache",         "timeout",                                                                                       \
     OPTION_DURATION, offsetof(T, cache_timeout_ms),                                                                   \
     "200ms",         1,                                                                                               \
     60000,           false,                                                                                           \
     false,           "A cache node that owes an answer for so long has failed that operation."},                      \
    {                                                                                                                  \
        "cache", "invalidate_deadline", OPTION_DURATION, offsetof(T, invalidate_deadline_ms), "3s", 100, 60000, false, \
            false,                                                                                                     \
            "A write whose invalidation is not confirmed in this time, failed nodes being ejected, is answered 503."   \
    }

/* char *queue_address; int64_t queue_timeout_ms; */
#define SHARED_QUEUE_OPTIONS(T)                                                                                        \
    {"queue",                                                                                                          \
     "address",                                                                                                        \
     OPTION_STRING,                                                                                                    \
     offsetof(T, queue_address),                                                                                       \
     NULL,                                                                                                             \
     0,                                                                                                                \
     0,                                                                                                                \
     false,                                                                                                            \
     false,                                                                                                            \
     "Redis that holds the fan-out queue: host:port or unix:/path."},                                                  \
    {                                                                                                                  \
        "queue", "timeout", OPTION_DURATION, offsetof(T, queue_timeout_ms), "1s", 10, 60000, false, false,             \
            "The queue failed when it does not answer for so long; jobs are then added later by the sweeper."          \
    }

/* int64_t timeline_cap, timeline_slack, timeline_ttl_ms, lateness_ms; */
#define SHARED_TIMELINE_OPTIONS(T)                                                                                     \
    {"timeline", "cap",                                                                                                \
     OPTION_INT, offsetof(T, timeline_cap),                                                                            \
     "800",      1,                                                                                                    \
     100000,     false,                                                                                                \
     false,      "Entries kept in a resident timeline."},                                                              \
        {"timeline", "slack",                                                                                          \
         OPTION_INT, offsetof(T, timeline_slack),                                                                      \
         "100",      1,                                                                                                \
         100000,     false,                                                                                            \
         false,      "A timeline is trimmed to its cap when it is longer than cap + slack."},                          \
        {"timeline",                                                                                                   \
         "ttl",                                                                                                        \
         OPTION_DURATION,                                                                                              \
         offsetof(T, timeline_ttl_ms),                                                                                 \
         "7d",                                                                                                         \
         1000,                                                                                                         \
         INT64_C(31536000000),                                                                                         \
         false,                                                                                                        \
         false,                                                                                                        \
         "A timeline that nobody reads for so long goes cold."},                                                       \
    {                                                                                                                  \
        "timeline", "lateness", OPTION_DURATION, offsetof(T, lateness_ms), "60s", 1000, 86400000, false, false,        \
            "Posts younger than half of this are pushed at the head of timelines, older ones are put in in order; "    \
            "the "                                                                                                     \
            "same for all daemons (docs/design/0001-allowed-lateness.md)."                                             \
    }

/* char *jwt_keys, *jwt_issuer; int64_t token_ttl_ms; keys: NULL when the program cannot do without, "" when it can. */
#define SHARED_AUTH_OPTIONS(T, keys)                                                                                   \
    {"auth",                                                                                                           \
     "jwt_keys",                                                                                                       \
     OPTION_STRING,                                                                                                    \
     offsetof(T, jwt_keys),                                                                                            \
     keys,                                                                                                             \
     0,                                                                                                                \
     0,                                                                                                                \
     true,                                                                                                             \
     false,                                                                                                            \
     "Token keys, comma-separated \"kid:alg:base64url\" (alg hs256, ed25519 or ed25519-public); the first that can "   \
     "sign signs."},                                                                                                   \
        {"auth",                                                                                                       \
         "jwt_issuer",                                                                                                 \
         OPTION_STRING,                                                                                                \
         offsetof(T, jwt_issuer),                                                                                      \
         "fanfare",                                                                                                    \
         0,                                                                                                            \
         0,                                                                                                            \
         false,                                                                                                        \
         false,                                                                                                        \
         "Issuer (iss) of tokens made and accepted."},                                                                 \
    {                                                                                                                  \
        "auth", "token_ttl", OPTION_DURATION, offsetof(T, token_ttl_ms), "24h", 1000, INT64_C(31536000000), false,     \
            false, "Life of a token."                                                                                  \
    }

#endif
