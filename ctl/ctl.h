/*
 * fanfarectl: the operator's tool. One command a call; it may block.
 *
 * Exit codes: 0 done, 1 failed (why is on stderr), 2 bad arguments (usage and a reason), 3 verify found differences.
 */
#ifndef CTL_CTL_H
#define CTL_CTL_H

#include <stdbool.h>

#include "common/store/pg.h"
#include "common/sys/config.h"
#include "common/sys/jwt.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_DIFFERENCES = 3 };

struct ctl_options { /* the parts of the daemons' file that the tool needs */
    char *conninfo;
    int64_t database_timeout_ms;
    char *jwt_keys;
    char *jwt_issuer;
    int64_t token_ttl_ms;
    int64_t timeline_cap;
    int64_t timeline_slack;
    int64_t timeline_ttl_ms;
    int64_t lateness_ms;
};

struct ctl {
    struct ctl_options options; /* (own) */
    const char *config;         /* (ref: arguments or environment) path of the options file, NULL when none */
    const char *url;            /* (ref: arguments or environment) of a feedd */
    struct pg_sync *db;         /* (own) opened by ctl_database */
    struct jwt_keys *keys;      /* (own) made by ctl_token */
};

struct command {
    const char *name;                                 /* one or two words */
    const char *usage;                                /* what follows the name */
    const char *help;                                 /* one sentence */
    int (*run)(struct ctl *c, int argc, char **argv); /* argv[0] is the last word of the name; returns an exit code */
};

/* Each prints why and returns false when it fails. */
bool ctl_database(struct ctl *c);
bool ctl_token(struct ctl *c, uint64_t user_id, struct buf *to); /* appends an access token */
bool ctl_url(const struct ctl *c);

/* "usage: ..." of the command at work and the reason, to stderr; returns EXIT_USAGE. */
int ctl_usage(const char *reason, ...) __attribute__((format(printf, 1, 2)));
/* "fanfarectl: ..." to stderr; returns EXIT_FAILED. */
int ctl_fail(const char *reason, ...) __attribute__((format(printf, 1, 2)));
/* Runs SQL with parameters; prints the server's message on failure. *ret (own) pg_result_free. */
bool ctl_query(struct ctl *c, const char *sql, const struct pg_params *params, struct pg_result **ret);
/* A decimal id argument; prints why not. */
bool ctl_id_argument(const char *option, const char *text, uint64_t *ret);

int command_import_graph(struct ctl *c, int argc, char **argv);
int command_verify(struct ctl *c, int argc, char **argv);
int command_explain(struct ctl *c, int argc, char **argv);
int command_rebuild(struct ctl *c, int argc, char **argv);
int command_status(struct ctl *c, int argc, char **argv);
int command_node_sync(struct ctl *c, int argc, char **argv);
int command_node_add(struct ctl *c, int argc, char **argv);
int command_node_remove(struct ctl *c, int argc, char **argv);
int command_node_list(struct ctl *c, int argc, char **argv);
int command_user_add(struct ctl *c, int argc, char **argv);
int command_token(struct ctl *c, int argc, char **argv);
int command_migrate(struct ctl *c, int argc, char **argv);

#endif
