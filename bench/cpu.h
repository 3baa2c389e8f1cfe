/*
 * CPU time of the server's processes, by class, from /proc: user + system time of each process named, of its children
 * that were waited for, and of its live children (PostgreSQL's backends). Blocking only on /proc. One thread.
 */
#ifndef BENCH_CPU_H
#define BENCH_CPU_H

#include <stdbool.h>
#include <stdint.h>

#include "bench/args.h"
#include "bench/report.h"

enum cpu_class { CPU_FEEDD, CPU_FANOUTD, CPU_REDIS, CPU_MEMCACHED, CPU_POSTGRES, CPU_OTHER, CPU_CLASSES };
const char *cpu_class_name(enum cpu_class c);

#define CPU_PIDS_MAX 64
struct cpu_pids {
    struct {
        enum cpu_class class;
        int pid;
    } list[CPU_PIDS_MAX];
    unsigned count;
};
arg_each_fn cpu_pid_argument; /* of --pid: "feedd=123" into a struct cpu_pids */
#define CPU_PID_ARG(pids)                                                                                              \
    { "--pid", ARG_EACH, (pids), 0, 0, cpu_pid_argument, "CLASS=PID of a server process to account for; repeat" }

struct cpu_usage {
    double seconds[CPU_CLASSES];
    double self; /* of this process: the load, not counted */
};
/* False: a process is gone; its class is then short. */
bool cpu_sample(const struct cpu_pids *pids, struct cpu_usage *ret);
struct cpu_usage cpu_since(const struct cpu_usage *before, const struct cpu_usage *after);
double cpu_total(const struct cpu_usage *u, unsigned classes); /* classes: bit mask of 1 << class */
#define CPU_BIT(c)  (1u << (c))
#define CPU_SERVERS (CPU_BIT(CPU_OTHER) - 1) /* all but CPU_OTHER */
/* "cpu_seconds": {"feedd": 1.2, ..., "load": 3.4}; classes without a process are left out. */
void cpu_report(struct report *r, const struct cpu_pids *pids, const struct cpu_usage *u);

/* One line of /proc/PID/stat; the name in brackets may hold anything. Times in clock ticks. */
struct cpu_stat {
    int pid, parent;
    uint64_t own, reaped;
};
bool cpu_parse_stat(const char *line, struct cpu_stat *ret);

#endif
