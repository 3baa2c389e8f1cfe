/* Arguments of a command, from one table: options with a value ("--rate 100"), flags, and words. Pure. */
#ifndef BENCH_ARGS_H
#define BENCH_ARGS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"

enum arg_kind {
    ARG_TEXT,   /* const char ** */
    ARG_NUMBER, /* uint64_t *, from min to max */
    ARG_REAL,   /* double *, from min to max */
    ARG_FLAG,   /* bool * */
    ARG_EACH,   /* arg_each_fn, called for each use */
    ARG_WORD,   /* const char **, without a name */
};
/* False: the value is no good, and why was appended. */
typedef bool arg_each_fn(void *to, const char *value, struct buf *ret_why);

struct arg {
    const char *name; /* "--rate"; of a word: what it stands for */
    enum arg_kind kind;
    void *to;
    double min, max;
    arg_each_fn *each;
    const char *help; /* a few words, the default included */
};

/* ERR_INVALID: the reason, naming the argument and what would be right, was appended. argv[0] is skipped. */
enum err args_parse(const struct arg *table, unsigned count, int argc, char **argv, struct buf *ret_why);
void args_print(const struct arg *table, unsigned count, struct buf *to); /* one indented line an argument */

#endif
