/* Shared by placement.c (polling, views) and placement_change.c (changes of state). Private to the two. */
#ifndef STORE_PLACEMENT_INTERNAL_H
#define STORE_PLACEMENT_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "common/base/list.h"
#include "common/store/placement_table.h"

/*
 * What a change waits beyond the lease, ms. It covers the difference in rate between the monotonic clocks of two
 * machines over one lease (assumed below 1 %: NTP slews by at most 0.05 %), and a reader's step from the lease to the
 * view.
 */
#define PLACEMENT_MARGIN_MS 20

struct placement_view {
    atomic_uint refs;
    struct placement_table *tables[TIER_COUNT]; /* (own) a reference each */
    uint64_t fill_after_ms;                     /* monotonic: the end of the last fill embargo in it */
    atomic_bool settled;                        /* that is past: nobody need look at the clock for it any more */
};

/* A poll on its way. Outlives the placement when that is freed first. */
struct placement_poll {
    struct placement *placement; /* (ref) NULL: gone */
    uint64_t sent_ms;
};

struct placement {
    struct loop *loop;    /* (ref) main */
    struct pg_pool *pool; /* (ref) */
    struct loop_timer timer;
    struct placement_poll *poll; /* (own: its callback) NULL: none on its way */
    struct list changes;         /* of struct change (placement_change.c) */

    atomic_uint_least64_t lease_until_ms; /* monotonic */
    uint64_t ready_at_ms;                 /* monotonic, main loop writes under lock; 0: no view yet */
    pthread_mutex_t lock;
    struct placement_view *view;                /* (own) under lock */
    uint64_t db_ms, db_at_ms, db_round_trip_ms; /* PostgreSQL's clock, when that was (monotonic); under lock */
};

void placement_poll_now(struct placement *p);
void placement_changes_free(struct placement *p);

#endif
