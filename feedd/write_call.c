/*
 * commit -> invalidate -> answer. A call whose invalidation is not confirmed answers 503: its row stays in
 * `invalidations` and the sweeper applies it; the client may repeat the call, which invalidates again.
 */
#include "feedd/write_call.h"

#include "common/sys/failpoint.h"

struct write {
    struct request *r; /* (ref) */
    write_done_fn *done;
    struct str status;
};

static void invalidated(void *ctx, enum err err) {
    struct write *w = ctx;
    if (FAILPOINT("feedd.write.after_invalidate")) err = ERR_TIMEOUT;
    if (err == ERR_OK)
        w->done(w->r, w->status);
    else
        request_problem(w->r, PROBLEM_NOT_CONFIRMED,
                        "The change is stored, but not every cache has confirmed it yet; repeat the call to be sure "
                        "that it shows.");
}

static void written(void *ctx, enum err err, const struct pg_result *result) {
    struct write *w = ctx;
    struct request *r = w->r;
    if (FAILPOINT("feedd.write.after_commit") && err == ERR_OK) err = ERR_LOST;
    if (err != ERR_OK) {
        request_fail_db(r, err, result, "the database");
        return;
    }
    struct str status = pg_text(result, 0, 0);
    w->status = str_of(arena_strndup(&r->arena, status.data, status.len), status.len);
    uint64_t row = pg_null(result, 0, 1) ? 0 : pg_int8(result, 0, 1);
    size_t count = 0;
    uint64_t *targets = pg_null(result, 0, 2) ? NULL : pg_int8_array(result, 0, 2, &r->arena, &count);
    if (row && !FAILPOINT("feedd.write.skip_invalidation"))
        invalidate_apply(r->worker->invalidator, row, targets, count, invalidated, w);
    else
        invalidated(w, ERR_OK);
}

void write_call(struct request *r, const struct pg_statement *statement, const struct pg_params *params,
                write_done_fn *done) {
    struct write *w = ARENA_NEW(&r->arena, struct write);
    w->r = r;
    w->done = done;
    enum err err =
        FAILPOINT("feedd.write.before_commit") ? ERR_REFUSED : pg_exec(r->worker->fast, statement, params, written, w);
    if (err != ERR_OK) request_fail(r, err, "the database");
}
