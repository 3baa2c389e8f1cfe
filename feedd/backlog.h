/*
 * Back-pressure: watches the fan-out backlog (queue length each 100 ms, outbox rows each second) on the main loop and
 * sets feedd->overloaded when the greater of the two passes the bound; it is cleared below 80 % of it.
 */
#ifndef FEEDD_BACKLOG_H
#define FEEDD_BACKLOG_H

#include "feedd/worker.h"

struct backlog;
struct backlog *backlog_new(struct feedd *feedd, struct loop *loop);
void backlog_free(struct backlog **b);
/* Pure: whether publishers are refused from now on. */
bool backlog_overloaded(bool was, uint64_t jobs, uint64_t max);

#endif
