/*
 * CPU accounting. A process that ends between two looks moves from "live child" to "reaped by its parent", so the sum
 * over parent and children loses nothing; only a named process that ends is lost, and that is told.
 */
#include "bench/cpu.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/base/mem.h"

static const char *const NAMES[CPU_CLASSES] = {"feedd", "fanoutd", "redis", "memcached", "postgres", "other"};

const char *cpu_class_name(enum cpu_class c) {
    return NAMES[c];
}

bool cpu_pid_argument(void *to, const char *value, struct buf *ret_why) {
    struct cpu_pids *pids = to;
    const char *equals = strchr(value, '=');
    uint64_t pid;
    if (!equals || !str_u64(str_c(equals + 1), &pid) || !pid || pid > INT32_MAX) {
        buf_addf(ret_why, "\"%s\" is not CLASS=PID, such as feedd=123", value);
        return false;
    }
    if (pids->count == CPU_PIDS_MAX) {
        buf_addf(ret_why, "at most %d processes", CPU_PIDS_MAX);
        return false;
    }
    for (int c = 0; c < CPU_CLASSES; c++) {
        if (strlen(NAMES[c]) != (size_t)(equals - value) || strncmp(NAMES[c], value, strlen(NAMES[c])) != 0) continue;
        pids->list[pids->count].class = (enum cpu_class)c;
        pids->list[pids->count++].pid = (int)pid;
        return true;
    }
    buf_addf(ret_why, "\"%s\": the class is feedd, fanoutd, redis, memcached, postgres or other", value);
    return false;
}

/* The n-th word (from 1) of a line of words as a number. */
static bool word_number(const char *line, unsigned n, int64_t *ret) {
    for (;; n--) {
        line += strspn(line, " ");
        size_t len = strcspn(line, " \n");
        if (n == 1 || len == 0) return str_i64(str_of(line, len), ret);
        line += len;
    }
}

/* proc(5): "pid (name) state ppid ...". The name may hold blanks and brackets, so fields count from the last ')'. */
bool cpu_parse_stat(const char *line, struct cpu_stat *ret) {
    enum { PARENT = 2, UTIME = 12, STIME, CUTIME, CSTIME };
    const char *rest = strrchr(line, ')');
    int64_t pid, parent, utime, stime, cutime, cstime;
    if (!rest++ || !word_number(line, 1, &pid) || !word_number(rest, PARENT, &parent)) return false;
    if (!word_number(rest, UTIME, &utime) || !word_number(rest, STIME, &stime)) return false;
    if (!word_number(rest, CUTIME, &cutime) || !word_number(rest, CSTIME, &cstime)) return false;
    *ret = (struct cpu_stat){.pid = (int)pid,
                             .parent = (int)parent,
                             .own = (uint64_t)(utime + stime),
                             .reaped = (uint64_t)(cutime + cstime)};
    return true;
}

static bool read_stat(const char *pid, struct cpu_stat *ret) {
    char path[300], line[1024];
    snprintf(path, sizeof(path), "/proc/%s/stat", pid);
    FILE *f = fopen(path, "re");
    if (!f) return false;
    bool good = fgets(line, sizeof(line), f) && cpu_parse_stat(line, ret);
    fclose(f);
    return good;
}

/* Adds one process of the table to the class that it, or its parent, was named for. */
static void account(const struct cpu_pids *pids, const struct cpu_stat *s, double tick, bool *found,
                    struct cpu_usage *to) {
    for (unsigned i = 0; i < pids->count; i++) {
        double *seconds = &to->seconds[pids->list[i].class];
        if (pids->list[i].pid == s->pid) {
            found[i] = true;
            *seconds += (double)(s->own + s->reaped) * tick;
        } else if (pids->list[i].pid == s->parent) {
            *seconds += (double)(s->own + s->reaped) * tick;
        }
    }
}

bool cpu_sample(const struct cpu_pids *pids, struct cpu_usage *ret) {
    struct cpu_usage u = {.self = 0};
    bool found[CPU_PIDS_MAX] = {false};
    double tick = 1.0 / (double)sysconf(_SC_CLK_TCK);
    DIR *proc = pids->count ? opendir("/proc") : NULL;
    for (struct dirent *e; proc && (e = readdir(proc));) {
        struct cpu_stat s;
        if (e->d_name[0] < '0' || e->d_name[0] > '9' || !read_stat(e->d_name, &s)) continue;
        account(pids, &s, tick, found, &u);
    }
    if (proc) closedir(proc);
    struct rusage self;
    getrusage(RUSAGE_SELF, &self);
    u.self = (double)(self.ru_utime.tv_sec + self.ru_stime.tv_sec) +
             (double)(self.ru_utime.tv_usec + self.ru_stime.tv_usec) / 1e6;
    *ret = u;
    for (unsigned i = 0; i < pids->count; i++)
        if (!found[i]) return false;
    return true;
}

struct cpu_usage cpu_since(const struct cpu_usage *before, const struct cpu_usage *after) {
    struct cpu_usage u = {.self = after->self - before->self};
    for (int c = 0; c < CPU_CLASSES; c++) u.seconds[c] = after->seconds[c] - before->seconds[c];
    return u;
}

double cpu_total(const struct cpu_usage *u, unsigned classes) {
    double sum = 0;
    for (unsigned c = 0; c < CPU_CLASSES; c++)
        if (classes & CPU_BIT(c)) sum += u->seconds[c];
    return sum;
}

void cpu_report(struct report *r, const struct cpu_pids *pids, const struct cpu_usage *u) {
    unsigned named = 0;
    for (unsigned i = 0; i < pids->count; i++) named |= CPU_BIT(pids->list[i].class);
    report_open(r, "cpu_seconds");
    for (unsigned c = 0; c < CPU_CLASSES; c++)
        if (named & CPU_BIT(c)) report_real(r, NAMES[c], u->seconds[c]);
    report_real(r, "load", u->self);
    report_close(r);
}
