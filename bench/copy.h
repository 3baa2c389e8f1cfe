/* COPY of many rows: a buffer that is sent when it is full, and progress on stderr. Blocking, one thread. */
#ifndef BENCH_COPY_H
#define BENCH_COPY_H

#include "bench/bench.h"

struct copy {
    struct bench *bench; /* (ref) */
    const char *what;    /* (ref) table, for messages */
    struct buf rows;     /* (own) the row at work is appended here, without its line end */
    uint64_t done;
    bool failed;
};
/* False: why was printed. columns: "users (shard, id)". */
bool copy_begin(struct copy *k, struct bench *b, const char *what, const char *columns);
void copy_row(struct copy *k);                                       /* ends the row */
bool copy_end(struct copy *k);                                       /* false: why was printed */
void copy_ids(struct copy *k, const uint64_t *values, size_t count); /* a whole row of numbers */

#endif
