/*
 * Process metrics, under the names that every Prometheus client uses, read from the kernel when somebody asks.
 * What cannot be read keeps its last value.
 */
#include "common/service/process_metrics.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/service/version.h"

static const struct metric_family build_info = {"fanfare_build_info", METRIC_GAUGE,
                                                "Always 1; the label tells the version."};
static const struct metric_family cpu_seconds = {"process_cpu_seconds_total", METRIC_COUNTER_SECONDS,
                                                 "User and system CPU time spent, in seconds."};
static const struct metric_family resident_bytes = {"process_resident_memory_bytes", METRIC_GAUGE,
                                                    "Resident memory, in bytes."};
static const struct metric_family open_fds = {"process_open_fds", METRIC_GAUGE, "Open file descriptors."};
static const struct metric_family max_fds = {"process_max_fds", METRIC_GAUGE, "Most file descriptors allowed."};
static const struct metric_family start_time = {"process_start_time_seconds", METRIC_GAUGE,
                                                "Start of the process, in seconds since 1970."};

struct process_metrics {
    struct metric *cpu_seconds, *resident_bytes, *open_fds, *max_fds; /* (ref: metrics) */
};

static int64_t timeval_ns(struct timeval t) {
    return (int64_t)t.tv_sec * 1000000000 + (int64_t)t.tv_usec * 1000;
}

static void collect_memory(struct process_metrics *p) {
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f) return;
    char line[128] = ""; /* pages: total resident ... */
    int64_t resident;
    if (fgets(line, sizeof(line), f)) {
        const char *second = line + strcspn(line, " ");
        second += strspn(second, " ");
        if (str_i64(str_of(second, strcspn(second, " ")), &resident)) {
            metric_set(p->resident_bytes, resident * sysconf(_SC_PAGESIZE));
        }
    }
    fclose(f);
}

static void collect_descriptors(struct process_metrics *p) {
    DIR *dir = opendir("/proc/self/fd");
    if (!dir) return;
    int64_t count = -1; /* the directory's own */
    for (struct dirent *e; (e = readdir(dir));) count += e->d_name[0] != '.';
    closedir(dir);
    metric_set(p->open_fds, count);
}

static void collect(void *ctx) {
    struct process_metrics *p = ctx;
    struct rusage usage;
    struct rlimit limit;
    if (getrusage(RUSAGE_SELF, &usage) == 0)
        metric_set(p->cpu_seconds, timeval_ns(usage.ru_utime) + timeval_ns(usage.ru_stime));
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) metric_set(p->max_fds, (int64_t)limit.rlim_cur);
    collect_memory(p);
    collect_descriptors(p);
}

struct process_metrics *process_metrics_new(struct metrics *m) {
    struct process_metrics *p = NEW(struct process_metrics);
    metric_set(metrics_child(m, &build_info, "version=\"" FANFARE_VERSION "\""), 1);
    p->cpu_seconds = metrics_child(m, &cpu_seconds, "");
    p->resident_bytes = metrics_child(m, &resident_bytes, "");
    p->open_fds = metrics_child(m, &open_fds, "");
    p->max_fds = metrics_child(m, &max_fds, "");
    metric_set(metrics_child(m, &start_time, ""), (int64_t)(clock_wall_ms() / 1000));
    metrics_on_collect(m, collect, p);
    return p;
}

void process_metrics_free(struct process_metrics **p) {
    mem_free(*p);
    *p = NULL;
}
