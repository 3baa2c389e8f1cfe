/* Texts of posts: real ones from a file, one a line, or made-up ones of the same lengths. One thread. */
#ifndef BENCH_TEXTS_H
#define BENCH_TEXTS_H

#include "common/base/buf.h"
#include "common/base/err.h"

struct texts {
    char **lines; /* (own) NULL: made up */
    size_t count;
    double mean_bytes;
};
/* path NULL: made up. Lines that are empty, no UTF-8 or longer than 5,000 characters are left out. ERR_IO with
 * *ret_message (own). */
enum err texts_init(struct texts *t, const char *path, char **ret_message);
void texts_fini(struct texts *t);
/* The n-th text, for ever the same: appends it. */
void texts_add(const struct texts *t, uint64_t n, struct buf *to);

#endif
