/*
 * PostgreSQL (the only users of libpq-fe.h: pg.c on the event loop, pg_sync.c for tools that may block).
 *
 * A pool belongs to one loop. Each connection runs in pipeline mode: up to `depth` statements are in flight on it, each
 * an implicit transaction of its own (its own Sync), so one that fails leaves its neighbours alone. Statements are
 * prepared on first use. Parameters and results are binary. What finds no room waits in a queue bounded by max_waiting
 * (ERR_BUSY beyond). A lost connection completes what it had in flight with ERR_LOST (uncertain), then reconnects with
 * back-off; while no connection is up, new calls get ERR_REFUSED.
 */
#ifndef STORE_PG_H
#define STORE_PG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/sys/loop.h"

struct pg_statement { /* static storage: its address is its identity */
    const char *name;
    const char *sql;
};

/* Parameters, in order, in the arena. At most 32. */
struct pg_params {
    struct arena *arena; /* (ref) */
    int count;
    const char *values[32];
    int lengths[32];
    int formats[32];
    unsigned types[32];
};
void pg_params_init(struct pg_params *p, struct arena *arena);
void pg_param_int8(struct pg_params *p, uint64_t v);
void pg_param_int4(struct pg_params *p, int32_t v);
void pg_param_bool(struct pg_params *p, bool v);
void pg_param_text(struct pg_params *p, struct str v); /* data NULL: SQL NULL */
void pg_param_bytes(struct pg_params *p, struct str v);
void pg_param_int8_array(struct pg_params *p, const uint64_t *v, size_t n);
void pg_param_int4_array(struct pg_params *p, const int32_t *v, size_t n);
void pg_param_text_array(struct pg_params *p, const struct str *v, size_t n); /* data NULL elements: NULL */
void pg_param_bytes_array(struct pg_params *p, const struct str *v, size_t n);

/* Rows, valid during the callback. Columns count from 0; a wrong type or size is a programming error and aborts. */
struct pg_result;
int pg_rows(const struct pg_result *r);
bool pg_null(const struct pg_result *r, int row, int column);
uint64_t pg_int8(const struct pg_result *r, int row, int column); /* also for int4 and int2 columns */
bool pg_bool(const struct pg_result *r, int row, int column);
struct str pg_text(const struct pg_result *r, int row, int column); /* also bytea; data NULL for NULL */
/* int8[] column: elements into the arena; *ret_count 0 for NULL. */
uint64_t *pg_int8_array(const struct pg_result *r, int row, int column, struct arena *arena, size_t *ret_count);
/* SQLSTATE of a failed statement, "" otherwise; and the server's message. */
const char *pg_sqlstate(const struct pg_result *r);
struct str pg_message(const struct pg_result *r);

/*
 * Exactly once a call, from the loop, after the statement's commit. ERR_OK: rows. ERR_BACKEND: the server refused the
 * statement (r has SQLSTATE and message). ERR_REFUSED, ERR_BUSY, ERR_CANCELED: not sent, r NULL; ERR_BUSY with r: the
 * server gave the statement up and it may be repeated (conflict, deadlock, lack of resources, its statement_timeout).
 * ERR_LOST, ERR_TIMEOUT: uncertain, r NULL.
 */
typedef void pg_done_fn(void *ctx, enum err err, const struct pg_result *r);

struct pg_pool_options {
    const char *conninfo; /* libpq connection string; name hosts by address or socket, looking up a name would block */
    unsigned connections;
    unsigned depth; /* statements in flight a connection; 1: no pipelining (heavy queries) */
    unsigned max_waiting;
    uint64_t timeout_ms; /* from call to result; a statement that runs for so long kills its connection */
    const char *application_name;
    /*
     * Every statement is made of look-ups by index. Generic plans are made once and kept while tables grow from empty,
     * and short-lived tables never have statistics that are right: so the planner gets no choice of scans and joins.
     */
    bool lookups_only;
};
struct pg_pool;
struct pg_pool *pg_pool_new(struct loop *loop, const struct pg_pool_options *options); /* connects in the background */
/* Completes what is open with ERR_CANCELED or ERR_LOST. Not from a callback of the pool. */
void pg_pool_free(struct pg_pool **p);
/* Never calls done before it returned. Parameters are copied. An error return means that done is not called. */
enum err pg_exec(struct pg_pool *p, const struct pg_statement *s, const struct pg_params *params, pg_done_fn *done,
                 void *ctx);
unsigned pg_pool_up(const struct pg_pool *p);      /* connections that are usable now */
unsigned pg_pool_waiting(const struct pg_pool *p); /* queued + in flight */
/* why the last attempt to connect failed or the last connection was lost, or "" */
const char *pg_pool_error(const struct pg_pool *p);

/* Blocking side, for fanfarectl, bench and tests. One thread. Failures carry libpq's message (own) in *ret_message. */
struct pg_sync;
enum err pg_sync_open(const char *conninfo, struct pg_sync **ret, char **ret_message);
void pg_sync_close(struct pg_sync **c);
enum err pg_sync_exec(struct pg_sync *c, const char *sql, const struct pg_params *params /* or NULL */,
                      struct pg_result **ret /* (own) pg_result_free; or NULL */, char **ret_message);
void pg_result_free(struct pg_result **r);
/* Several statements in one string, no parameters, no rows. */
enum err pg_sync_script(struct pg_sync *c, const char *sql, char **ret_message);
/* COPY ... FROM STDIN in text format: rows as complete lines. */
enum err pg_sync_copy_begin(struct pg_sync *c, const char *sql, char **ret_message);
enum err pg_sync_copy_data(struct pg_sync *c, struct str lines, char **ret_message);
enum err pg_sync_copy_end(struct pg_sync *c, char **ret_message);
/* COPY text escaping of one field. */
void pg_copy_escape(struct buf *to, struct str field);

#endif
