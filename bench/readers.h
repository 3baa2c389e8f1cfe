/*
 * Who reads: the people of a handle prefix, or of these those that are active in a trace; drawn by Zipf's law in a
 * shuffled order, or each once. Makes the requests of a stream (stream.h).
 */
#ifndef BENCH_READERS_H
#define BENCH_READERS_H

#include "bench/people.h"
#include "bench/stream.h"
#include "bench/zipf.h"

struct readers_options {
    const char *prefix;
    const char *activity;   /* trace whose actors and targets are the active people; NULL: everybody */
    uint64_t activity_rows; /* only its first so many rows; 0: all */
    double zipf;
    uint64_t limit; /* items a page */
    uint64_t seed;
    bool once; /* each reader once instead of drawing */
};
#define READERS_ARGS(o)                                                                                                \
    {"--prefix", ARG_TEXT, &(o)->prefix, 0, 0, NULL, "of the readers' handles (bench_r)"},                             \
        {"--activity", ARG_TEXT, &(o)->activity, 0, 0, NULL, "trace: read only as the people in it"},                  \
        {"--activity-rows", ARG_NUMBER, &(o)->activity_rows, 0, 1e9, NULL, "of it for that, from its start (0: all)"}, \
        {"--zipf", ARG_REAL, &(o)->zipf, 0, 10, NULL, "exponent of the draw (1.0)"},                                   \
        {"--limit", ARG_NUMBER, &(o)->limit, 1, 100, NULL, "items a page (20)"}, {                                     \
        "--seed", ARG_NUMBER, &(o)->seed, 0, 1e15, NULL, "of the draws (1)"                                            \
    }
#define READERS_DEFAULTS                                                                                               \
    { .prefix = "bench_r", .zipf = 1.0, .limit = 20, .seed = 1 }

struct readers {
    struct people people;
    struct readers_options options;
    char *target;  /* (own) */
    size_t *order; /* (own) rank -> index */
    struct zipf zipf;
    struct rng rng;
    size_t next; /* of once */
};
/* Loads, signs all tokens. Blocking. False: why was printed. */
bool readers_init(struct readers *r, struct bench *b, const struct readers_options *options);
void readers_fini(struct readers *r);
bool readers_next(void *readers, struct stream_request *to); /* as stream_options.next */
void readers_again(struct readers *r, bool once);            /* starts over */
/* Their ids, one a line. False: why was printed. */
bool readers_write_ids(const struct readers *r, const char *path);

#endif
