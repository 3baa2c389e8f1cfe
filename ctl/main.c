/*
 * fanfarectl's front: the table of commands, global options, and what the commands share. Every command is in a room of
 * its own.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/arena.h"
#include "common/base/mem.h"
#include "common/domain/id.h"
#include "common/service/shared_options.h"
#include "common/service/version.h"
#include "ctl/ctl.h"

static const struct command commands[] = {
    {"migrate", "[--schema DIR]", "Applies what is missing of the schema; safe to repeat.", command_migrate},
    {"user add", "HANDLE --name NAME [--password-file FILE]", "Makes a user; prints id and token as JSON.",
     command_user_add},
    {"token", "--user ID | --handle HANDLE [--ttl SECONDS]", "Prints an access token.", command_token},
    {"import-graph", "FILE [--directed|--mutual] [--names FILE] [--prefix TEXT] [--rejects FILE]",
     "Loads users and follows in bulk: 'follower followee' a line, plain or gzip.", command_import_graph},
    {"verify", "[--user ID | --sample N | --all] [--depth N] [--deep N] [--seed N] [--connections N]",
     "Compares what HTTP serves with the oracle.", command_verify},
    {"rebuild", "--user ID | --all", "Makes timelines cold; the next read rebuilds them.", command_rebuild},
    {"explain", "--reader ID --post ID", "Tells why a post is or is not in a feed.", command_explain},
    {"status", "", "Shows backlog, unconfirmed invalidations, cache nodes and the feed server's health.",
     command_status},
    {"node list", "", "Shows the cache nodes of each tier with their share of the slots.", command_node_list},
    {"node add", "TIER:NAME:KIND:ADDRESS[:WEIGHT]...",
     "Adds nodes, or changes their weight; only the slots that move start cold.", command_node_add},
    {"node remove", "TIER:NAME...", "Takes nodes out; only their slots start cold.", command_node_remove},
    {"node sync", "TIER:NAME:KIND:ADDRESS[:WEIGHT]...",
     "Makes these the nodes of the tiers named; every slot of these tiers starts cold.", command_node_sync},
};

static const struct command *current; /* for usage messages: the one command that this process runs */

static const struct option table[] = {
    SHARED_DATABASE_OPTIONS(struct ctl_options),
    SHARED_AUTH_OPTIONS(struct ctl_options, ""),
    SHARED_TIMELINE_OPTIONS(struct ctl_options),
    {.name = NULL},
};
static const struct option *const tables[] = {table, NULL};

static void print_help(FILE *to) {
    fputs("usage: fanfarectl [-c FILE] [--set section.name=value]... [--url URL] COMMAND ...\n\n"
          "-c FILE   options of the daemons (default: $FANFARE_CONFIG)\n"
          "--url URL of a feedd (default: $FANFARE_URL)\n\n",
          to);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        fprintf(to, "  %s %s\n        %s\n", commands[i].name, commands[i].usage, commands[i].help);
    fputs("\nexit codes: 0 done, 1 failed, 2 bad arguments or options, 3 verify found differences\n", to);
}

int ctl_usage(const char *reason, ...) {
    va_list args;
    va_start(args, reason);
    fputs("fanfarectl: ", stderr);
    vfprintf(stderr, reason, args);
    va_end(args);
    if (current)
        fprintf(stderr, "\nusage: fanfarectl %s %s\n", current->name, current->usage);
    else
        fputs("\nusage: fanfarectl [-c FILE] [--url URL] COMMAND ...   (fanfarectl --help lists the commands)\n",
              stderr);
    return EXIT_USAGE;
}

int ctl_fail(const char *reason, ...) {
    va_list args;
    va_start(args, reason);
    fputs("fanfarectl: ", stderr);
    vfprintf(stderr, reason, args);
    va_end(args);
    fputc('\n', stderr);
    return EXIT_FAILED;
}

bool ctl_database(struct ctl *c) {
    if (c->db) return true;
    CLEANUP(mem_free_charp) char *message = NULL;
    if (pg_sync_open(c->options.conninfo, &c->db, &message) == ERR_OK) return true;
    ctl_fail("cannot reach the database: %s", message);
    return false;
}

bool ctl_token(struct ctl *c, uint64_t user_id, struct buf *to) {
    if (!c->keys) {
        CLEANUP(mem_free_charp) char *message = NULL;
        if (jwt_keys_new(c->options.jwt_keys, c->options.jwt_issuer, &c->keys, &message) != ERR_OK) {
            ctl_fail("[auth] jwt_keys: %s (give the daemons' options file with -c or $FANFARE_CONFIG)", message);
            return false;
        }
    }
    uint64_t now = (uint64_t)time(NULL);
    if (jwt_sign(c->keys, user_id, now, now + (uint64_t)c->options.token_ttl_ms / 1000, to) == ERR_OK) return true;
    ctl_fail("[auth] jwt_keys: none of the keys can sign");
    return false;
}

bool ctl_url(const struct ctl *c) {
    if (c->url) return true;
    ctl_fail("no feed server named: give --url or set FANFARE_URL, such as http://127.0.0.1:8080");
    return false;
}

bool ctl_query(struct ctl *c, const char *sql, const struct pg_params *params, struct pg_result **ret) {
    CLEANUP(mem_free_charp) char *message = NULL;
    if (pg_sync_exec(c->db, sql, params, ret, &message) == ERR_OK) return true;
    ctl_fail("database: %s", message);
    return false;
}

bool ctl_id_argument(const char *option, const char *text, uint64_t *ret) {
    if (id_parse(str_c(text), ret)) return true;
    ctl_usage("%s: \"%s\" is no id; give a decimal number from 1 to %lld", option, text, (long long)ID_MAX);
    return false;
}

/* The command that the arguments name; *ret_words how many words its name has. */
static const struct command *find_command(int argc, char **argv, int *ret_words) {
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        const char *space = strchr(commands[i].name, ' ');
        size_t first = space ? (size_t)(space - commands[i].name) : strlen(commands[i].name);
        if (strlen(argv[0]) != first || strncmp(argv[0], commands[i].name, first) != 0) continue;
        if (space && (argc < 2 || strcmp(argv[1], space + 1) != 0)) continue;
        *ret_words = space ? 2 : 1;
        return &commands[i];
    }
    return NULL;
}

static int run_command(struct ctl *c, const char *const *sets, int argc, char **argv) {
    int words = 0;
    current = find_command(argc, argv, &words);
    if (!current)
        return ctl_usage("there is no command \"%s%s%s\"", argv[0], argc > 1 ? " " : "", argc > 1 ? argv[1] : "");
    struct config_source source = {.file = c->config, .sets = sets};
    CLEANUP(mem_free_charp) char *message = NULL;
    if (config_parse(tables, &source, &c->options, &message) != ERR_OK) {
        ctl_fail("%s%s", message, c->config ? "" : " (after make run or make up: . run/env)");
        return EXIT_USAGE;
    }
    int code = current->run(c, argc - words + 1, argv + words - 1);
    pg_sync_close(&c->db);
    jwt_keys_free(&c->keys);
    config_free(tables, &c->options);
    return code;
}

int main(int argc, char **argv) {
    struct ctl c = {.config = getenv("FANFARE_CONFIG"), .url = getenv("FANFARE_URL")};
    const char *sets[32] = {NULL};
    size_t set_count = 0;
    int i = 1;
    for (; i < argc && argv[i][0] == '-'; i++) {
        const char *a = argv[i];
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (!strcmp(a, "--help") || !strcmp(a, "-h")) return print_help(stdout), EXIT_DONE;
        if (!strcmp(a, "--version")) return puts("fanfarectl " FANFARE_VERSION), EXIT_DONE;
        if (!strcmp(a, "-c") || !strcmp(a, "--url") || !strcmp(a, "--set")) {
            if (!value) return ctl_usage("%s needs a value", a);
            if (!strcmp(a, "-c"))
                c.config = value;
            else if (!strcmp(a, "--url"))
                c.url = value;
            else if (set_count + 1 < ARRAY_LEN(sets))
                sets[set_count++] = value;
            else
                return ctl_usage("at most %zu --set", ARRAY_LEN(sets) - 1);
            i++;
            continue;
        }
        return ctl_usage("there is no option \"%s\"", a);
    }
    if (i == argc) return ctl_usage("no command given");
    return run_command(&c, sets, argc - i, argv + i);
}
