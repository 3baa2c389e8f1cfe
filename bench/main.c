/* fanfare-bench's front: the table of commands, global options, and what the commands share. Each command has a room of
 * its own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include "bench/front.h"
#include "common/base/mem.h"
#include "common/service/version.h"

static const struct bench_command COMMANDS[] = {
    {"load", "FILE", "Imports a graph with fanfarectl and tells how long it took.", command_load},
    {"dataset", "", "Makes the synthetic graph and its posts straight in PostgreSQL.", command_dataset},
    {"history", "", "Gives much-followed authors posts in the past.", command_history},
    {"fill", "", "Makes timelines resident, as their first reads would.", command_fill},
    {"read", "", "Reads feeds, closed or open loop.", command_read},
    {"empty", "", "The HTTP library alone: a handler with a fixed body, under the load of read.", command_empty},
    {"publish", "", "Publishes posts, closed or open loop; with --drain also the cost of their fan-out.",
     command_publish},
    {"visible", "", "Publish-to-visible lag, by reading followers' feeds.", command_visible},
    {"feed", "", "Posts of an activity trace with reads of active users beside them.", command_feed},
    {"raw-redis", "", "Redis alone: the pushes of these posts once more, by a bare client.", command_raw_redis},
    {"raw-pg", "", "PostgreSQL alone: the rows of a publish, one and many a transaction.", command_raw_pg},
    {"empty-server", "", "The server of `empty`; started by it.", command_empty_server},
};

static void print_help(FILE *to) {
    fputs("usage: fanfare-bench [-c FILE] [--set section.name=value]... [--url URL] COMMAND ...\n\n"
          "-c FILE   options of the daemons (default: $FANFARE_CONFIG)\n"
          "--url URL of a feedd (default: $FANFARE_URL)\n\n",
          to);
    for (size_t i = 0; i < ARRAY_LEN(COMMANDS); i++)
        fprintf(to, "  %s %s\n        %s\n", COMMANDS[i].name, COMMANDS[i].words, COMMANDS[i].help);
    fputs("\nCOMMAND --help lists its options. Exit codes: 0 measured, 1 failed, 2 bad arguments\n", to);
}

static int run_command(struct bench *b, const char *const *sets, int argc, char **argv) {
    const struct bench_command *found = NULL;
    for (size_t i = 0; i < ARRAY_LEN(COMMANDS); i++)
        if (!strcmp(COMMANDS[i].name, argv[0])) found = &COMMANDS[i];
    if (!found) return bench_usage("there is no command \"%s\"", argv[0]);
    front_set_command(found);
    struct config_source source = {.file = b->config, .sets = sets};
    CLEANUP(mem_free_charp) char *message = NULL;
    if (front_options(b, &source, &message) != ERR_OK) return bench_fail("%s", message);
    int code = found->run(b, argc, argv);
    front_close(b);
    return code;
}

int main(int argc, char **argv) {
    struct bench b = {.config = getenv("FANFARE_CONFIG"), .url = getenv("FANFARE_URL")};
    const char *sets[32] = {NULL};
    size_t set_count = 0;
    int i = 1;
    for (; i < argc && argv[i][0] == '-'; i++) {
        const char *a = argv[i];
        if (!strcmp(a, "--help") || !strcmp(a, "-h")) return print_help(stdout), EXIT_MEASURED;
        if (!strcmp(a, "--version")) return puts("fanfare-bench " FANFARE_VERSION), EXIT_MEASURED;
        if (strcmp(a, "-c") != 0 && strcmp(a, "--url") != 0 && strcmp(a, "--set") != 0)
            return bench_usage("there is no option \"%s\"", a);
        if (i + 1 == argc) return bench_usage("%s needs a value", a);
        const char *value = argv[++i];
        if (!strcmp(a, "-c"))
            b.config = value;
        else if (!strcmp(a, "--url"))
            b.url = value;
        else if (set_count + 1 < ARRAY_LEN(sets))
            sets[set_count++] = value;
        else
            return bench_usage("at most %zu --set", ARRAY_LEN(sets) - 1);
    }
    if (i == argc) return bench_usage("no command given");
    return run_command(&b, sets, argc - i, argv + i);
}
