/* fanoutd's options: names, defaults, limits, help. Nothing else. */
#include "fanoutd/options.h"

#include <stddef.h>

#include "common/service/shared_options.h"

#define AT(member) offsetof(struct fanoutd_options, member)

static const struct option OPTIONS[] = {
    SERVICE_OPTIONS("fanoutd"),
    {"fanoutd", "workers", OPTION_INT, AT(workers), "1", 1, 64, false, false,
     "Worker threads, each with connections of its own."},
    {"fanoutd", "batch_jobs", OPTION_INT, AT(batch_jobs), "128", 1, 1000, false, false, "Most jobs of one round."},
    {"fanoutd", "batch_followers", OPTION_INT, AT(batch_followers), "40000", 1, 1000000, false, false,
     "Followers that one round aims at; bounds its memory and how long a new job waits for a round in flight."},
    {"fanoutd", "slice", OPTION_INT, AT(slice), "5000", 1, 100000, false, false,
     "Followers of one job delivered before its position is saved."},
    {"fanoutd", "huge_slices", OPTION_INT, AT(huge_slices), "2", 1, 100, false, false,
     "Slices of jobs with more than one slice that a round takes behind the small ones."},
    {"fanoutd", "rounds", OPTION_INT, AT(rounds), "2", 1, 16, false, false,
     "Rounds in flight a worker, so that PostgreSQL and Redis work at the same time."},
    {"fanoutd", "held_max", OPTION_INT, AT(held_max), "10000", 1, 1000000, false, false,
     "Most jobs a worker holds; beyond, it stops reading the queue."},
    {"fanoutd", "window", OPTION_INT, AT(window), "4000", 1, 100000, false, false,
     "Pushes in flight a timeline node and worker."},
    {"fanoutd", "connections", OPTION_INT, AT(connections), "2", 1, 32, false, false,
     "Connections to PostgreSQL a worker."},
    {"fanoutd", "claim_idle", OPTION_DURATION, AT(claim_idle_ms), "15s", 1000, 3600000, false, false,
     "A job that its worker has neither finished nor touched for this long is taken over."},
    {"fanoutd", "sweep_age", OPTION_DURATION, AT(sweep_age_ms), "5s", 100, 3600000, false, false,
     "An outbox row older than this that the queue does not know is added to it again; at least feedd's queue "
     "timeout."},
    {"fanoutd", "eject_after", OPTION_DURATION, AT(eject_after_ms), "5s", 100, 3600000, false, false,
     "A timeline node that answers but has confirmed no push for this long is ejected."},
    SHARED_DATABASE_OPTIONS(struct fanoutd_options),
    SHARED_CACHE_OPTIONS(struct fanoutd_options),
    SHARED_QUEUE_OPTIONS(struct fanoutd_options),
    SHARED_TIMELINE_OPTIONS(struct fanoutd_options),
    {0},
};

const struct option *const FANOUTD_OPTIONS[] = {OPTIONS, NULL};
