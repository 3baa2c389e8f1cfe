/*
 * One pipelined connection of a pool (pg.c owns the pool, pg_conn.c the connection). Private to the two.
 *
 *   DOWN --timer--> CONNECTING --ok--> UP --lost, stuck, recycled--> DOWN
 */
#ifndef STORE_PG_CONN_H
#define STORE_PG_CONN_H

#include "common/base/list.h"
#include "common/base/map.h"
#include "common/store/pg_internal.h"

/* A statement on its way. Owned by the list it is on: pool.waiting, then pg_conn.in_flight. */
struct pg_call {
    struct list link;
    const struct pg_statement *statement; /* (ref: static) */
    pg_done_fn *done;                     /* NULL: the caller was told ERR_TIMEOUT already; the answer is discarded */
    void *ctx;
    struct pg_params *params; /* (own) copy, only while waiting */
    PGresult *result;         /* (own) first failure, or the rows */
    uint64_t since_ms;        /* when it was called */
    unsigned index;           /* of the statement in the pool */
    bool preparing;           /* its next result answers a Parse that was sent ahead of it */
};

enum pg_conn_state { PG_CONN_DOWN, PG_CONN_CONNECTING, PG_CONN_UP };

struct pg_pool;
struct pg_conn {
    struct pg_pool *pool; /* (ref) */
    PGconn *conn;         /* (own) NULL while down */
    enum pg_conn_state state;
    bool broken;  /* to be closed by the next hook: nothing may be completed inside pg_exec */
    bool recycle; /* takes no new statements and reconnects when what is in flight has been answered */
    bool unsent;  /* to be flushed by the next hook */
    unsigned attempts;
    struct list in_flight; /* of struct pg_call, in the order sent */
    unsigned in_flight_count;
    uint64_t head_since_ms; /* since when the server has been working at the first of them */
    struct loop_watch watch;
    struct loop_timer timer; /* back-off while down, patience while connecting */
    uint64_t *prepared;      /* (own) bitmap by statement index */
    size_t prepared_words;
};

struct pg_pool {
    struct loop *loop; /* (ref) */
    struct pg_conn *conns;
    unsigned conn_count, up_count;
    unsigned depth, max_waiting;
    uint64_t timeout_ms;
    char **keywords, **values; /* (own) connection parameters, NULL-terminated */
    struct list waiting;       /* of struct pg_call, oldest first */
    unsigned waiting_count, in_flight_count;
    struct map statements; /* address -> (void *)(index + 1) */
    unsigned statement_count;
    struct loop_hook hook;
    struct loop_timer patience;
    bool closing;
    char *error; /* (own) why the last attempt to connect failed, or the last connection was lost */
};

void pg_conn_init(struct pg_conn *c, struct pg_pool *pool);
void pg_conn_fini(struct pg_conn *c);
void pg_conn_start(struct pg_conn *c); /* begins connecting */
/* Queues the statement on the connection, which then owns the call. False: it is broken, and the call is still the
 * caller's. */
bool pg_conn_send(struct pg_conn *c, struct pg_call *call, const struct pg_params *params);
void pg_conn_flush(struct pg_conn *c);
/* Completes what is in flight with err and starts again after the back-off. */
void pg_conn_close(struct pg_conn *c, enum err err);
/* Completes a call that is on no list and frees it. result: what the server said, or NULL. */
void pg_call_complete(struct pg_call *call, enum err err);

/* The pool's side. */
void pg_pool_pump(struct pg_pool *p);    /* sends what waits while there is room */
void pg_pool_no_conn(struct pg_pool *p); /* the last connection went down */
void pg_pool_failed(struct pg_pool *p, const char *message);

#endif
