/* load: fanfarectl import-graph as a child process, timed from its start to its end: reading, cleaning, COPY, ANALYZE,
 * all of it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/bench.h"
#include "bench/lines.h"
#include "bench/report.h"
#include "common/base/clock.h"
#include "common/base/mem.h"

static bool count_rows(const char *path, uint64_t *ret) {
    CLEANUP(mem_free_charp) char *message = NULL;
    CLEANUP(lines_close) struct lines *l = NULL;
    if (lines_open(path, &l, &message) != ERR_OK) {
        bench_fail("%s", message);
        return false;
    }
    uint64_t n = 0;
    for (struct str line; lines_next(l, &line);) n++;
    *ret = n;
    return true;
}

/* Runs it with its output on our stderr: stdout is for the report. */
static bool run(char *const *argv) {
    pid_t pid = fork();
    if (pid == 0) {
        dup2(STDERR_FILENO, STDOUT_FILENO);
        execv(argv[0], argv);
        fprintf(stderr, "fanfare-bench: cannot run %s: %s\n", argv[0], strerror(errno));
        _exit(127);
    }
    int status = -1;
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
    if (pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0) return true;
    bench_fail("%s import-graph failed", argv[0]);
    return false;
}

/* fanfarectl beside this program. (own) */
static char *beside(const char *name) {
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
    path[n > 0 ? n : 0] = 0;
    char *slash = strrchr(path, '/');
    if (slash) slash[1] = 0;
    return mem_printf("%s%s", path, name);
}

int command_load(struct bench *b, int argc, char **argv) {
    const char *file = NULL, *names = NULL, *prefix = "u";
    bool mutual = false;
    const struct arg table[] = {{"FILE", ARG_WORD, &file, 0, 0, NULL, "rows 'follower followee', plain or gzip"},
                                {"--names", ARG_TEXT, &names, 0, 0, NULL, "file of display names"},
                                {"--prefix", ARG_TEXT, &prefix, 0, 0, NULL, "of the handles (u)"},
                                {"--mutual", ARG_FLAG, &mutual, 0, 0, NULL, "each row goes both ways"}};
    if (!bench_arguments(table, ARRAY_LEN(table), argc, argv)) return EXIT_USAGE;
    if (!file) return bench_usage("name a graph file");
    if (!b->config) return bench_usage("the importer needs the daemons' options: give -c FILE or set FANFARE_CONFIG");
    uint64_t rows;
    if (!count_rows(file, &rows)) return EXIT_FAILED;
    CLEANUP(mem_free_charp) char *program = beside("fanfarectl");
    const char *args[16] = {program,    "-c",  b->config, "import-graph", file, mutual ? "--mutual" : "--directed",
                            "--prefix", prefix};
    if (names) {
        args[8] = "--names";
        args[9] = names;
    }
    uint64_t began = clock_mono_ns();
    if (!run((char *const *)args)) return EXIT_FAILED;
    double seconds = (double)(clock_mono_ns() - began) / 1e9;
    struct report r;
    report_init(&r);
    report_figure(&r, "import_seconds", seconds, "%llu rows of %s%s, names %s, from the start of fanfarectl to its end",
                  (unsigned long long)rows, file, mutual ? ", both ways" : "", names ? names : "made up");
    report_figure(&r, "import_rows_per_s", (double)rows / seconds, "the same run, rows of the file a second");
    report_count(&r, "rows", rows);
    report_print(&r);
    report_fini(&r);
    return EXIT_MEASURED;
}
