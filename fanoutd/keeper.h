/*
 * Keeper: the housekeeping that one fanoutd does for all. The one that holds a PostgreSQL advisory lock is it; every
 * step is idempotent, so two of them for a moment do no harm. On the main loop.
 */
#ifndef FANOUTD_KEEPER_H
#define FANOUTD_KEEPER_H

#include "fanoutd/worker.h"

struct keeper *keeper_new(struct fanoutd *d);
void keeper_free(struct keeper **k);
void keeper_stop(struct keeper *k);           /* begins nothing more; lets go of the lock */
bool keeper_queue_up(const struct keeper *k); /* the queue's Redis is connected */

#endif
