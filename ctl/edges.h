/*
 * Edge list of an import: what the file says, made clean. Rows that cannot be taken are kept with a reason, never
 * dropped in silence.
 *
 * Users are known by the file's own numbers here; `people` is the ascending list of all that occur, and edges name them
 * by index.
 */
#ifndef CTL_EDGES_H
#define CTL_EDGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"

enum reject { REJECT_MALFORMED, REJECT_SELF, REJECT_DUPLICATE, REJECT_CAP, REJECT_COUNT };
const char *reject_text(enum reject r);

struct edge {
    uint64_t follower, followee; /* the file's numbers; after edges_index: indexes into people */
    uint64_t line;
};
struct edges {
    struct edge *rows; /* (own) */
    size_t count, cap;
    uint64_t *people; /* (own) ascending, unique */
    size_t people_count;
    uint64_t rejected[REJECT_COUNT];
    uint64_t lines;
};

/*
 * Called once for each row that is not taken. text: the line as it stands in the file (malformed) or the two numbers.
 */
typedef void reject_fn(void *ctx, enum reject why, uint64_t line, const char *text);

/* Reads "a b" lines (blank or tab between, # comments and empty lines skipped), plain or gzip; mutual: each row both
 * ways. */
enum err edges_read(struct edges *e, const char *path, bool mutual, reject_fn *reject, void *ctx, char **ret_message);
/* Sorts, drops repeats, applies the cap on followees per person, makes people and turns numbers into indexes. */
void edges_index(struct edges *e, unsigned cap_followees, reject_fn *reject, void *ctx);
void edges_fini(struct edges *e);

#endif
