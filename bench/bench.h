/*
 * fanfare-bench: load, and what it costs. One command a call; each prints one JSON object on stdout, figures with their
 * workload beside them ("x": 1, "x_workload": "..."), live progress goes to stderr.
 *
 * Exit codes: 0 measured, 1 failed (why is on stderr), 2 bad arguments (usage and a reason).
 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include "bench/args.h"
#include "common/store/pg.h"
#include "common/sys/jwt.h"

enum { EXIT_MEASURED = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct bench_options { /* the parts of the daemons' file that load needs */
    char *conninfo;
    char *jwt_keys;
    char *jwt_issuer;
    int64_t timeline_cap, timeline_slack;
    int64_t timeline_ttl_ms, lateness_ms;
    int64_t redis_timeout_ms;
};

struct bench {
    struct bench_options options; /* (own) */
    const char *config;           /* (ref: arguments or environment) path of the options file, NULL when none */
    const char *url;              /* (ref: arguments or environment) of a feedd, NULL when none */
    struct pg_sync *db;           /* (own) opened by bench_database */
    struct jwt_keys *keys;        /* (own) made by bench_keys */
};

struct bench_command {
    const char *name;
    const char *words;                                  /* what follows the options, "" when nothing */
    const char *help;                                   /* one sentence */
    int (*run)(struct bench *b, int argc, char **argv); /* argv[0] is the name; returns an exit code */
};

/* Each prints why and returns false when it fails. Blocking. */
bool bench_database(struct bench *b);
bool bench_keys(struct bench *b);
bool bench_url(const struct bench *b);
/* Runs SQL; rows in *ret (own) pg_result_free; ret and params may be NULL. */
bool bench_query(struct bench *b, const char *sql, const struct pg_params *params, struct pg_result **ret);
bool bench_script(struct bench *b, const char *sql);

/* Parses the command's arguments; false: usage and the reason were printed, the command ends with EXIT_USAGE. */
bool bench_arguments(const struct arg *table, unsigned count, int argc, char **argv);
/* "usage: ..." of the command at work and the reason, to stderr; returns EXIT_USAGE. */
int bench_usage(const char *reason, ...) __attribute__((format(printf, 1, 2)));
/* "fanfare-bench: ..." to stderr; returns EXIT_FAILED. */
int bench_fail(const char *reason, ...) __attribute__((format(printf, 1, 2)));

int command_dataset(struct bench *b, int argc, char **argv);
int command_fill(struct bench *b, int argc, char **argv);
int command_read(struct bench *b, int argc, char **argv);
int command_empty(struct bench *b, int argc, char **argv);
int command_empty_server(struct bench *b, int argc, char **argv);
int command_publish(struct bench *b, int argc, char **argv);
int command_visible(struct bench *b, int argc, char **argv);
int command_feed(struct bench *b, int argc, char **argv);
int command_raw_redis(struct bench *b, int argc, char **argv);
int command_raw_pg(struct bench *b, int argc, char **argv);
int command_history(struct bench *b, int argc, char **argv);
int command_load(struct bench *b, int argc, char **argv);

#endif
