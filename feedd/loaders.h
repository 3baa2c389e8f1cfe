/* Loaders: how each cache tier is filled from PostgreSQL (content, users, graph, counters). */
#ifndef FEEDD_LOADERS_H
#define FEEDD_LOADERS_H

#include "feedd/worker.h"

void loaders_register(struct worker *w); /* sets the loaders of w->cache; they use w->fast */

#endif
