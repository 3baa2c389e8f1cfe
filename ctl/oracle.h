/* The oracle's side of verify: feeds as plain SQL has them (schema/0003_oracle.sql), batch by batch, read ahead by a
 * thread. */
#ifndef CTL_ORACLE_H
#define CTL_ORACLE_H

#include <stddef.h>
#include <stdint.h>

#include "common/domain/entry.h"

struct oracle_feed {
    uint64_t reader;
    struct entry *entries; /* (own: batch) newest first */
    size_t count;
};
struct oracle_batch {
    struct oracle_feed *feeds; /* (own) in the order of the ids asked for */
    size_t count;
    char *failure; /* (own) the database's message, or NULL */
};
void oracle_batch_free(struct oracle_batch **b);

struct oracle;
/* A connection of its own, and a thread that keeps up to two batches ready. ids: (ref) until oracle_free. depth:
 * entries a feed. */
struct oracle *oracle_new(const char *conninfo, const uint64_t *ids, size_t count, size_t batch, unsigned depth);
void oracle_free(struct oracle **o); /* ends the thread */
/* The next batch (own), waiting for it; NULL after the last. */
struct oracle_batch *oracle_next(struct oracle *o);

#endif
