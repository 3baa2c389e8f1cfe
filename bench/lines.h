/* Lines of a text file, plain or gzip (the bench tool's only user of zlib). Blocking, one thread. */
#ifndef BENCH_LINES_H
#define BENCH_LINES_H

#include <stdbool.h>

#include "common/base/buf.h"
#include "common/base/err.h"

struct lines;
/* ERR_IO with *ret_message (own). */
enum err lines_open(const char *path, struct lines **ret, char **ret_message);
void lines_close(struct lines **l);
/* False at the end. Without the line end; valid until the next call. Lines longer than 64 KB are skipped. */
bool lines_next(struct lines *l, struct str *ret);

/* One row of an activity trace: "unix_seconds a b kind", blanks or tabs between; false: not such a row. */
struct activity {
    uint64_t seconds;
    uint64_t actor, target; /* numbers of the graph's people */
};
bool activity_parse(struct str line, struct activity *ret);
/* All rows, in the order of the file (own, mem_free); rows that are none are counted in *ret_malformed. */
enum err activity_read(const char *path, struct activity **ret, size_t *ret_count, size_t *ret_malformed,
                       char **ret_message);

#endif
