/*
 * The daemon's life: what main.c hands to service_main. Main loop's thread, but feedd_ready, which any thread may call.
 */
#ifndef FEEDD_FEEDD_H
#define FEEDD_FEEDD_H

#include "common/service/service.h"
#include "feedd/worker.h"

enum err feedd_start(struct service *s, char **ret_message);
bool feedd_ready(struct service *s, struct buf *why_not);
bool feedd_drain(struct service *s);
void feedd_stop(struct service *s);

struct front;
/*
 * One worker (worker.c). worker_init makes its parts on the calling thread, http server first, so that a port that is
 * taken is told at once; port 0 picks any free one, *ret_port is what it got. worker_run starts the thread. worker_fini
 * stops the loop and joins when it is running, and frees.
 */
enum err worker_init(struct worker *w, struct feedd *feedd, struct front **ret_front, uint16_t port, uint16_t *ret_port,
                     char **ret_message);
void worker_run(struct worker *w);
/* Ends the thread and everything but the loop, which shared parts may still post to; worker_fini frees that, last. */
void worker_stop(struct worker *w, struct front **front, bool running);
void worker_fini(struct worker *w);

#endif
