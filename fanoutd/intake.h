/*
 * Intake: a worker's side of the queue. Reads new jobs while the schedule wants some, takes over those of dead workers,
 * keeps those held long, acknowledges those done. One a worker, on its loop.
 */
#ifndef FANOUTD_INTAKE_H
#define FANOUTD_INTAKE_H

#include "fanoutd/worker.h"

struct intake *intake_new(struct worker *w);
void intake_free(struct intake **in);
void intake_wants(struct intake *in); /* reads on if the schedule has room again */
void intake_stop(struct intake *in);  /* no more reads; what a read in flight still brings stays with the queue */
/* Acknowledges and deletes; nobody waits for it: an entry that stays is claimed by somebody who finds its row gone. */
void intake_ack(struct intake *in, const struct queue_item *const *items, size_t count);

#endif
