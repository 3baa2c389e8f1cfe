/*
 * Assembly of one feed page. Pure: no I/O, no clock.
 *
 * A page is made from slices: the head of a timeline, the whole timeline, a rebuild's answer, a page of the database. A
 * slice proves that it holds every entry of the feed with id >= complete_from; what it holds below that is not used.
 * The page keeps `below`: everything with id >= below has been decided (served, gated out, gone, or at or above the
 * cursor), so slices may overlap and may be newer than one another.
 *
 *     page_init -> slice: page_use -> page_need -+- HYDRATE: page_take -> (hydrate) -> page_add -+
 *                    ^                           |                                             |
 *                    +--- WHOLE_LIST, DATABASE --+---<-----------------------------------------+
 *                                                +- DONE: items, page_next_before
 */
#ifndef FEEDD_FEED_PAGE_H
#define FEEDD_FEED_PAGE_H

#include "common/domain/entry.h"
#include "common/domain/relations.h"
#include "feedd/hydrate.h"

struct page_slice {
    const struct entry *entries; /* (ref) newest first, no duplicates */
    size_t count;
    uint64_t complete_from; /* 0: down to the end of the feed; ID_MAX: proves nothing */
    bool whole;             /* nothing more is to be had from where it came; what lies below is in the database */
    bool gated;             /* hidden, muted and not followed authors are left out already */
};

struct page {
    const struct relations *gate; /* (ref) */
    bool ignore_hidden;           /* planted fault: lets hidden authors pass */
    uint64_t below;
    unsigned limit;
    struct page_slice slice;
    size_t position;        /* in the slice */
    struct hydrated *items; /* (ref: caller's array of limit) newest first */
    size_t count;
    bool left_over; /* a post that exists did not fit any more */
};

enum page_need {
    PAGE_HYDRATE,    /* candidates are there: page_take */
    PAGE_WHOLE_LIST, /* the slice ends too early and its source has more */
    PAGE_DATABASE,   /* the feed goes on in the database, below page.below */
    PAGE_DONE        /* full, or the feed ended */
};

/* gate may be NULL when all slices are gated. before: only ids below it. */
void page_init(struct page *p, const struct relations *gate, uint64_t before, unsigned limit, struct hydrated *items);
void page_use(struct page *p, const struct page_slice *slice);
/* No slice, or no longer: the rest is in the database. */
void page_use_nothing(struct page *p);
enum page_need page_need(struct page *p);
/* How many posts are still wanted. */
size_t page_missing(const struct page *p);
/* The next candidates, at most max, newest first; returns how many. */
size_t page_take(struct page *p, uint64_t *ret_posts, uint64_t *ret_authors, size_t max);
/* What became of them: those that exist are items until the page is full. */
void page_add(struct page *p, const struct hydrated *posts, size_t count);
/* After PAGE_DONE: 0 when this is known to be the last page. */
uint64_t page_next_before(struct page *p);

#endif
