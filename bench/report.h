/* The JSON object that a command prints. One owner, one thread. Names are plain words; text is escaped. */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"

struct report {
    struct buf text;
    bool separate; /* a comma goes before the next member */
};
void report_init(struct report *r);
void report_fini(struct report *r);
void report_text(struct report *r, const char *name, const char *value);
void report_id(struct report *r, const char *name, uint64_t id); /* as a string */
void report_count(struct report *r, const char *name, uint64_t value);
void report_real(struct report *r, const char *name, double value); /* null unless finite */
void report_open(struct report *r, const char *name);               /* a nested object */
void report_close(struct report *r);
/* "name": value, "name_workload": "how many, how large, how warm, counted where" */
void report_figure(struct report *r, const char *name, double value, const char *workload, ...)
    __attribute__((format(printf, 4, 5)));
/* Ends the object and prints it on stdout, one line. */
void report_print(struct report *r);

#endif
