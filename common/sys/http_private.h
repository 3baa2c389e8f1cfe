/*
 * What the rooms of the HTTP server share; nobody else includes it (it shows microhttpd.h).
 *
 *   http.c           daemon, listening socket, turns of the loop, MHD's callbacks
 *   http_request.c   one request: what the handler reads of it, and its answer
 *   http_deadline.c  phases of a connection, their deadlines, answers written past MHD
 */
#ifndef SYS_HTTP_PRIVATE_H
#define SYS_HTTP_PRIVATE_H

#include <microhttpd.h>

#include "common/base/list.h"
#include "common/sys/http.h"

/* Where a connection is; each phase but HANDED has a deadline in idle timeouts (http_deadline.c). */
enum http_phase {
    HTTP_PHASE_NEW,     /* accepted, no request line yet */
    HTTP_PHASE_READING, /* request line seen, header or body missing */
    HTTP_PHASE_HANDED,  /* with the handler, which has a deadline of its own */
    HTTP_PHASE_SENDING, /* answered, not all taken by the client */
    HTTP_PHASE_KEPT,    /* answered; the next request line has not come */
    HTTP_PHASES
};

struct http_conn {
    struct http_server *server;   /* (ref) */
    struct http_request *request; /* (ref) the one being read, handled or answered, or NULL */
    struct list link;             /* in server->phases[phase], oldest first; on no list once cut */
    uint64_t since_ms;
    int fd; /* MHD's */
    enum http_phase phase;
};

struct http_header {
    struct http_header *next;
    const char *name, *value;
};

struct http_param {
    const char *name;
    struct str value;
};

struct http_request {
    struct http_server *server;        /* (ref) NULL once the server is gone */
    struct http_conn *conn;            /* (ref) NULL once the exchange is over */
    struct MHD_Connection *connection; /* (MHD's) as above */
    struct list link;                  /* in server->handed, ->orphans or ->spare */
    enum http_method method;
    bool begun;         /* the header was looked at */
    bool refused;       /* answered past MHD; whatever still comes is thrown away */
    bool handed;        /* given to the handler */
    bool answered;      /* http_respond was called */
    bool suspended;     /* in MHD, until answered */
    unsigned discarded; /* bytes thrown away since it was refused */
    struct str target, path, query;
    struct http_param *params; /* decoded on first use */
    size_t param_count;
    struct http_header *headers; /* extra ones of the answer */
    struct buf body;
    uint64_t started_ns;
    void *data;
    struct arena arena;
};

struct http_server {
    struct loop *loop; /* (ref) */
    struct http_options options;
    struct MHD_Daemon *daemon; /* (own) */
    int listen_fd;             /* MHD's while it accepts; -1 once drained */
    uint16_t port;
    bool draining;
    bool due;             /* MHD_run is due in this turn */
    uint64_t next_run_ms; /* when it is due without any event */
    unsigned connections, in_flight;
    struct loop_watch watch; /* MHD's epoll descriptor */
    struct loop_hook hook;
    struct loop_timer timer; /* looks at the deadlines */
    struct list phases[HTTP_PHASES];
    struct list handed;  /* requests without an answer */
    struct list orphans; /* the client is gone, and nobody asked to be told */
    struct list spare;   /* request objects for reuse */
    unsigned spares;
};

/* http_request.c */
struct http_request *http_request_new(struct http_server *s, struct http_conn *c, struct MHD_Connection *connection,
                                      const char *target);
void http_request_release(struct http_request *r); /* back to the spares, or freed */
void http_request_free(struct http_request *r);
void http_request_hand_out(struct http_request *r); /* answered or suspended after it */

/* http_deadline.c */
void http_phase_set(struct http_conn *c, enum http_phase phase);
void http_deadlines_start(struct http_server *s);
/*
 * Writes a whole answer to the socket and ends our side of it. Only while MHD has sent nothing of an answer of its own:
 * that is, until the request was handed out.
 */
void http_refuse(struct http_request *r, unsigned status, const char *detail);

#endif
