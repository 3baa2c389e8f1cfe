/* Users that load is made of: those whose handle is a prefix and a number. One owner, one thread. */
#ifndef BENCH_PEOPLE_H
#define BENCH_PEOPLE_H

#include "bench/bench.h"
#include "common/base/map.h"

struct person {
    uint64_t id;
    uint64_t number; /* of the handle */
    char *header;    /* (own) "Authorization: Bearer ...\r\n", made by people_header */
};
struct people {
    struct bench *bench; /* (ref) signs */
    struct person *list; /* (own) by number */
    size_t count;
    struct map by_number; /* number + 1 -> struct person */
};
/* Blocking; false: why was printed (also when there is nobody). */
bool people_load(struct bench *b, const char *prefix, struct people *ret);
/* Only those with at most max_followers and at least min_followers followers. */
bool people_load_followed(struct bench *b, const char *prefix, uint64_t min_followers, uint64_t max_followers,
                          struct people *ret);
void people_fini(struct people *p);
struct person *people_find(const struct people *p, uint64_t number); /* NULL: nobody */
/* Lines of the request header; signs a token on the first call. */
struct str people_header(struct people *p, struct person *who);
void people_sign_all(struct people *p); /* so that signing costs nothing during the run */
/* Keeps the people for whom keep[i] is set. */
void people_keep(struct people *p, const bool *keep);

#endif
