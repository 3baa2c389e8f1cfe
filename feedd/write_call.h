/*
 * A call that changes what others may see: one write function of schema/0002_writes.sql, then its invalidation, then
 * the answer.
 */
#ifndef FEEDD_WRITE_CALL_H
#define FEEDD_WRITE_CALL_H

#include "feedd/request.h"

/* status: the function's word ("followed", ...), in r's arena. The write is committed and its invalidation applied.
 * Answers r. */
typedef void write_done_fn(struct request *r, struct str status);
/*
 * statement: SELECT status, invalidation, targets FROM <function>(...). On any failure r is answered here (503: the
 * call may be repeated, all of these are idempotent) and done is not called.
 */
void write_call(struct request *r, const struct pg_statement *statement, const struct pg_params *params,
                write_done_fn *done);

#endif
