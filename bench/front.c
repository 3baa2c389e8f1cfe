/* Options of the daemons' file, messages, and the database connection that every command may ask for. */
#include "bench/front.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/mem.h"

static const struct bench_command *current;
static const struct arg *current_args;
static unsigned current_arg_count;

#define AT(member) offsetof(struct bench_options, member)
static const struct option OPTIONS[] = {
    {"database", "conninfo", OPTION_STRING, AT(conninfo), "dbname=fanfare", 0, 0, true, false,
     "libpq connection string of PostgreSQL."},
    {"auth", "jwt_keys", OPTION_STRING, AT(jwt_keys), "", 0, 0, true, false, "Token keys, as feedd has them."},
    {"auth", "jwt_issuer", OPTION_STRING, AT(jwt_issuer), "fanfare", 0, 0, false, false, "Issuer of tokens."},
    {"timeline", "cap", OPTION_INT, AT(timeline_cap), "800", 1, 100000, false, false, "Entries kept."},
    {"timeline", "slack", OPTION_INT, AT(timeline_slack), "100", 1, 100000, false, false, "Entries above the cap."},
    {"timeline", "ttl", OPTION_DURATION, AT(timeline_ttl_ms), "7d", 1000, INT64_C(31536000000), false, false,
     "Residence."},
    {"timeline", "lateness", OPTION_DURATION, AT(lateness_ms), "60s", 100, 86400000, false, false, "Allowed lateness."},
    {.name = NULL},
};
/* A server that is being loaded to its limit may be slow; the load waits rather than lose its connection. */
static const struct option OWN[] = {
    {"bench", "redis_timeout", OPTION_DURATION, AT(redis_timeout_ms), "30s", 100, 600000, false, false,
     "Longest silence of a Redis that owes an answer."},
    {.name = NULL},
};
static const struct option *const TABLES[] = {OPTIONS, OWN, NULL};

void front_set_command(const struct bench_command *c) {
    current = c;
}

enum err front_options(struct bench *b, const struct config_source *source, char **ret_message) {
    return config_parse(TABLES, source, &b->options, ret_message);
}

void front_close(struct bench *b) {
    pg_sync_close(&b->db);
    jwt_keys_free(&b->keys);
    config_free(TABLES, &b->options);
}

static void print_usage(FILE *to) {
    if (!current) {
        fputs("usage: fanfare-bench [-c FILE] [--url URL] COMMAND ...   (fanfare-bench --help lists the commands)\n",
              to);
        return;
    }
    CLEANUP(buf_fini) struct buf text = BUF_INIT;
    buf_addf(&text, "usage: fanfare-bench %s %s%s[OPTION]...\n%s\n", current->name, current->words,
             *current->words ? " " : "", current->help);
    args_print(current_args, current_arg_count, &text);
    fputs(text.data, to);
}

int bench_usage(const char *reason, ...) {
    va_list args;
    va_start(args, reason);
    fputs("fanfare-bench: ", stderr);
    vfprintf(stderr, reason, args);
    va_end(args);
    fputc('\n', stderr);
    print_usage(stderr);
    return EXIT_USAGE;
}

int bench_fail(const char *reason, ...) {
    va_list args;
    va_start(args, reason);
    fputs("fanfare-bench: ", stderr);
    vfprintf(stderr, reason, args);
    va_end(args);
    fputc('\n', stderr);
    return EXIT_FAILED;
}

bool bench_arguments(const struct arg *table, unsigned count, int argc, char **argv) {
    current_args = table;
    current_arg_count = count;
    if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))) {
        print_usage(stdout);
        exit(EXIT_MEASURED);
    }
    CLEANUP(buf_fini) struct buf why = BUF_INIT;
    bool good = args_parse(table, count, argc, argv, &why) == ERR_OK;
    if (!good) bench_usage("%s", why.data);
    return good;
}

bool bench_database(struct bench *b) {
    if (b->db) return true;
    CLEANUP(mem_free_charp) char *message = NULL;
    if (pg_sync_open(b->options.conninfo, &b->db, &message) == ERR_OK) return true;
    bench_fail("cannot reach the database: %s", message);
    return false;
}

bool bench_keys(struct bench *b) {
    if (b->keys) return true;
    CLEANUP(mem_free_charp) char *message = NULL;
    if (jwt_keys_new(b->options.jwt_keys, b->options.jwt_issuer, &b->keys, &message) != ERR_OK) {
        bench_fail("[auth] jwt_keys: %s (give the daemons' options file with -c or $FANFARE_CONFIG)", message);
        return false;
    }
    CLEANUP(buf_fini) struct buf token = BUF_INIT;
    uint64_t now = (uint64_t)time(NULL);
    if (jwt_sign(b->keys, 1, now, now + 1, &token) == ERR_OK) return true;
    bench_fail("[auth] jwt_keys: none of the keys can sign");
    return false;
}

bool bench_url(const struct bench *b) {
    if (b->url) return true;
    bench_fail("no feed server named: give --url or set FANFARE_URL, such as http://127.0.0.1:8080");
    return false;
}

bool bench_query(struct bench *b, const char *sql, const struct pg_params *params, struct pg_result **ret) {
    CLEANUP(mem_free_charp) char *message = NULL;
    if (pg_sync_exec(b->db, sql, params, ret, &message) == ERR_OK) return true;
    bench_fail("database: %s", message);
    return false;
}

bool bench_script(struct bench *b, const char *sql) {
    CLEANUP(mem_free_charp) char *message = NULL;
    if (pg_sync_script(b->db, sql, &message) == ERR_OK) return true;
    bench_fail("database: %s", message);
    return false;
}
