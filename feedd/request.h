/*
 * One API request under way. It outlives its client: when the client leaves or the deadline passes, the handler's work
 * goes on and only the answer is dropped.
 *
 *   front makes it (routed, authenticated, counted against the limits) -> route's handler -> ... -> exactly one
 * request_* answer, which frees it
 *
 * Worker's thread only. Everything a handler remembers goes into r->arena.
 */
#ifndef FEEDD_REQUEST_H
#define FEEDD_REQUEST_H

#include "common/base/arena.h"
#include "common/base/list.h"
#include "common/store/pg.h"
#include "common/store/placement.h"
#include "feedd/body.h"
#include "feedd/limits.h"
#include "feedd/worker.h"

struct front;
struct route;
struct request {
    struct front *front;               /* (ref) */
    struct worker *worker;             /* (ref) */
    const struct route *route;         /* (ref: static) */
    struct http_request *http;         /* (ref) NULL once the client left or was answered */
    struct arena arena;                /* (own) */
    struct json *body;                 /* (own) parsed body, NULL when there is none */
    const struct placement_view *view; /* (own, counted) taken by request_view */
    struct limit_verdict verdict;      /* for the RateLimit headers */
    struct loop_timer deadline;
    struct list link; /* front's open requests */
    uint64_t user_id; /* who asks; 0 on open routes */
    uint64_t id;      /* {id} of the path; 0: the route has none */
    uint64_t started_ns;
    void *data; /* (ref: arena) the handler's own */
    bool view_taken;
};

/* Reads and checks the body. False: the client has been answered, r is gone. */
bool request_body(struct request *r, const struct body_member *members, size_t count, struct body_value *values);
/*
 * Query parameters limit (1..200) and cursor (of this kind); *ret_last 0: from the start. False: answered, r is gone.
 */
bool request_page(struct request *r, char cursor_kind, unsigned *ret_limit, uint64_t *ret_last);
/* A request header, copied into the arena; data NULL when absent. Before the first asynchronous step. */
struct str request_header(struct request *r, const char *name);
/* The placement as it is at the first call; NULL when the lease has lapsed. The same one for the whole request. */
const struct placement_view *request_view(struct request *r);
/*
 * The view for asking about the id of the path; NULL, so the database, while an object of this id may yet be committed:
 * otherwise whoever guesses an id to come could have the tiers remember, and feeds be told, that there is no such
 * thing.
 */
const struct placement_view *request_view_of_id(struct request *r);
/* Nobody waits for the answer any more. */
bool request_gone(const struct request *r);

void request_set_header(struct request *r, const char *name, const char *value);
/* The answers: each once a request, and frees it. request_json takes the memory of body. */
void request_json(struct request *r, unsigned status, struct buf *body);
void request_empty(struct request *r, unsigned status);
void request_problem(struct request *r, enum problem p, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* What failed, by the error's class: 503 with Retry-After when it may work later, 500 and a line in the log when it is
 * a bug. */
void request_fail(struct request *r, enum err err, const char *what);
/* The same for a statement; result may be NULL. */
void request_fail_db(struct request *r, enum err err, const struct pg_result *result, const char *what);

/* True when this SQLSTATE says that the database is going, coming, full or busy, not that the statement is wrong. */
bool sqlstate_is_transient(const char *sqlstate);

/* {"items":[ ... ],"next":...}: call page_begin, write items each after page_item, page_end. next 0: the end. */
void page_begin(struct buf *to);
void page_item(struct buf *to, size_t index);
void page_end(struct buf *to, char cursor_kind, uint64_t next);

#endif
