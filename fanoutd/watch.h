/*
 * Watch: log lines for what happens to the cache tier. Nodes are ejected and readmitted by whoever notices first; the
 * placement table is where all of it shows, so each fanoutd tells of its own lease and the keeper of the nodes. Main
 * loop only.
 */
#ifndef FANOUTD_WATCH_H
#define FANOUTD_WATCH_H

#include <stdbool.h>

#include "common/store/placement.h"

struct watch;
struct watch *watch_new(struct placement *placement); /* (ref: caller) */
void watch_free(struct watch **w);
/* To be called about once a second. tell_nodes: this process is the keeper. */
void watch_look(struct watch *w, bool tell_nodes);

#endif
