/*
 * Timeline view: what a reader may conclude from the part of a timeline that it fetched. Pure.
 *
 * Posts are pushed at the head as jobs are delivered, so list order is almost, not exactly, id order. fanoutd keeps
 * this invariant ("allowed lateness", W): an id is pushed at the head only while it is younger than W; an older one is
 * put in by a script that puts it before the first entry with a smaller id. So every entry at a position after p has
 *
 *     id <= id(p) + W
 *
 * and of a prefix 0..k-1 the ids greater than id(k-1) + W are known to be all there are. Fetching the whole list needs
 * no such bound. The mark bounds both (entry.h).
 */
#ifndef DOMAIN_VIEW_H
#define DOMAIN_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/domain/entry.h"

struct view {
    struct entry *entries; /* (ref: caller's array) newest first, no duplicates */
    size_t count;
    uint64_t complete_from; /* every feed entry with id >= complete_from is among entries; ID_MAX: nothing is known */
    bool whole;             /* the whole list was fetched: fetching more of it can't lower complete_from */
};

/*
 * entries: fetched[0..count), in list order, headers excluded; sorted in place. whole: the fetch covered the whole
 * list. before, after: headers read before and after the entries; different nonces (rebuilt meanwhile) or a building
 * state give a view that knows nothing. lateness_ms: W.
 */
struct view view_make(struct entry *entries, size_t count, bool whole, struct timeline_header before,
                      struct timeline_header after, uint64_t lateness_ms);

#endif
