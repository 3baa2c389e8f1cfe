/* The command line of every daemon: one set of switches, one usage text. All settings are options (config.h), not
 * switches. */
#include "common/service/arguments.h"

#include <getopt.h>

#include "common/base/mem.h"

enum { SWITCH_SET = 256 };

static const struct option switches[] = {
    {"config", required_argument, NULL, 'c'},
    {"set", required_argument, NULL, SWITCH_SET},
    {"check", no_argument, NULL, SWITCH_SET + MODE_CHECK},
    {"print-config", no_argument, NULL, SWITCH_SET + MODE_PRINT_CONFIG},
    {"help", no_argument, NULL, 'h'},
    {"help-options", no_argument, NULL, SWITCH_SET + MODE_HELP_OPTIONS},
    {"version", no_argument, NULL, SWITCH_SET + MODE_VERSION},
    {0},
};

void arguments_print_usage(const char *name, struct buf *to) {
    buf_addf(
        to,
        "usage: %s [-c FILE] [--set section.name=value]... [--check | --print-config]\n"
        "  -c, --config FILE         read options from this INI file\n"
        "      --set section.name=V  set one option; stronger than FANFARE_SECTION_NAME in the environment, which\n"
        "                            is stronger than the file\n"
        "      --check               check the options and end\n"
        "      --print-config        print the options in force and end (secrets are not shown)\n"
        "      --help-options        describe all options and end\n"
        "      --version             print the version and end\n"
        "exit codes: 0 ended as asked, 1 failed while running, 2 bad arguments or options, 3 could not start\n",
        name);
}

void arguments_fini(struct arguments *a) {
    mem_free(a->sets);
    *a = (struct arguments){0};
}

enum err arguments_parse(int argc, char **argv, struct arguments *ret, char **ret_message) {
    struct arguments a = {.sets = mem_zalloc(((size_t)argc + 1) * sizeof *a.sets)};
    size_t sets = 0;
    int c;
    char *problem = NULL;
    optind = 0; /* from the start, also when called again */
    opterr = 0;
    while (!problem && (c = getopt_long(argc, argv, "+:c:h", switches, NULL)) != -1) {
        if (c == 'c')
            a.file = optarg;
        else if (c == SWITCH_SET)
            a.sets[sets++] = optarg;
        else if (c == 'h')
            a.mode = MODE_HELP;
        else if (c == ':')
            problem = mem_printf("%s needs a value", argv[optind - 1]);
        else if (c == '?')
            problem = mem_printf("%s is not understood", argv[optind - 1]);
        else
            a.mode = (enum arguments_mode)(c - SWITCH_SET);
    }
    if (!problem && optind < argc) problem = mem_printf("%s is not understood", argv[optind]);
    if (problem) {
        arguments_fini(&a);
        *ret_message = problem;
        return ERR_INVALID;
    }
    *ret = a;
    return ERR_OK;
}
