/* Who publishes what: publish requests of a stream, each with an Idempotency-Key of its own, and the ids that were
 * acknowledged. */
#ifndef BENCH_AUTHORS_H
#define BENCH_AUTHORS_H

#include "bench/people.h"
#include "bench/stream.h"
#include "bench/texts.h"

struct authors {
    struct people people;
    struct texts texts;
    struct rng rng;
    uint64_t run; /* in the keys: no two runs use the same */
    uint64_t published;
    uint64_t *ids; /* (own) of 201 answers, in the order of the answers */
    size_t id_count, id_cap;
};
/* posts: file of texts or NULL. False: why was printed. people are to be loaded by the caller. */
bool authors_init(struct authors *a, const char *posts, uint64_t seed);
void authors_fini(struct authors *a);
/* The request: the author's text number `published`. */
void authors_request(struct authors *a, struct person *who, struct stream_request *to);
/* Remembers the id of a 201; returns it, 0 when the answer is none. */
uint64_t authors_answered(struct authors *a, const struct http_reply *reply);
/*
 * How many acknowledged posts the tables do not have, and how many ids were acknowledged twice. False: why was printed.
 */
bool authors_check(const struct authors *a, struct bench *b, uint64_t *ret_missing, uint64_t *ret_twice);

#endif
