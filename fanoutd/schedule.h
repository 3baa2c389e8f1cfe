/*
 * Schedule: the jobs a worker holds, and which of them the next round takes. Pure: no I/O, the caller brings the time.
 * One a worker.
 *
 *   added ----> small (first slice ahead) --pick--> in a round --+--> done (forgotten)
 *                 ^                                              +--> huge (more slices ahead) --pick--> in a round ...
 *                 |                                              +--> resting (failed; back-off) --> where it came from
 *
 * Fairness: a round takes small jobs first, in the order they came, within its budget of followers, and then at most
 * huge_slices slices of huge jobs, one each, round robin. So a huge author's job costs a small one at most huge_slices
 * slices a round in flight, however many followers it has, and still goes on in every round.
 */
#ifndef FANOUTD_SCHEDULE_H
#define FANOUTD_SCHEDULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/list.h"
#include "common/base/map.h"
#include "common/store/queue.h"

struct schedule_options {
    unsigned batch_jobs;      /* jobs a round */
    unsigned batch_followers; /* followers a round, by what is expected of small jobs */
    unsigned huge_slices;     /* slices of huge jobs a round */
    unsigned held_max;        /* jobs held */
};

struct held_job {     /* (own: schedule) */
    struct list link; /* of small, huge or resting; none while in a round */
    struct queue_item item;
    bool huge;
    bool in_round;
    unsigned failures; /* in a row */
    uint64_t due_ms;   /* resting until then */
};

struct schedule {
    struct schedule_options o;
    struct map jobs; /* post id -> struct held_job */
    struct list small, huge, resting;
    size_t small_count;
    double expected; /* followers of a job's first slice, moving average */
};

void schedule_init(struct schedule *s, const struct schedule_options *options);
void schedule_fini(struct schedule *s);

enum schedule_added {
    SCHEDULE_ADDED,
    SCHEDULE_KNOWN,     /* this very queue entry is held already */
    SCHEDULE_DUPLICATE, /* another entry for a post that is held: acknowledge it, the one held stands for both */
};
enum schedule_added schedule_add(struct schedule *s, const struct queue_item *item);

/* Jobs for a round that starts now, at most batch_jobs + huge_slices (room of ret). They are in the round until one of
 * the next three is called for each. */
size_t schedule_pick(struct schedule *s, uint64_t now_ms, struct held_job **ret);
void schedule_done(struct schedule *s, struct held_job *j); /* forgets and frees it */
void schedule_continue(struct schedule *s,
                       struct held_job *j); /* a slice is done, more are ahead: behind the other huge ones */
void schedule_retry(struct schedule *s, struct held_job *j, uint64_t now_ms); /* failed: rests 20 ms .. 2 s, growing */
void schedule_redo(struct schedule *s, struct held_job *j); /* nobody's fault (the placement changed): at once */

void schedule_learn(struct schedule *s, size_t followers); /* of a job's first slice */
/* How many more jobs to take from the queue now: keeps about two rounds of small jobs at hand, whatever number of huge
 * ones is held. */
unsigned schedule_wants(const struct schedule *s);
/* When a resting job is due (ms), UINT64_MAX when none rests. */
uint64_t schedule_next_due(const struct schedule *s);
static inline size_t schedule_held(const struct schedule *s) {
    return s->jobs.count;
}

#endif
