/*
 * A round: some jobs, one slice of followers each, one way through PostgreSQL, the timelines and back. On its worker's
 * loop.
 */
#ifndef FANOUTD_ROUND_H
#define FANOUTD_ROUND_H

#include "fanoutd/worker.h"

/* Picks jobs and starts; false when there is nothing to do. The worker's turn is called when the round has ended. */
bool round_start(struct worker *w);
/*
 * Frees those kept for reuse. Rounds in flight must have been cut off (pool and outlets freed): they are freed as well.
 */
void rounds_free(struct worker *w);

#endif
