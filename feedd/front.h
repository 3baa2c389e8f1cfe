/*
 * The front of one worker: its HTTP server's handler. Decides everything that does not depend on the call (route,
 * method, query, token, limits, content type, deadline), then hands the request to the route's handler. Worker's
 * thread, but front_open.
 */
#ifndef FEEDD_FRONT_H
#define FEEDD_FRONT_H

#include "feedd/request.h"

struct front *front_new(struct worker *w);
void front_free(
    struct front **f); /* frees requests that nobody will complete any more: after everything they wait for */
/* Fills in the handlers of an HTTP server. */
void front_http_options(struct front *f, struct http_options *options);
unsigned front_open(const struct front *f); /* requests under way, also those whose client left. Any thread. */

/* request.c's side: the end of a request; its deadline. */
void front_request_free(struct request *r);
void request_deadline_passed(struct loop_timer *t);

#endif
