/*
 * A pool of pipelined PostgreSQL connections on one event loop: admission, the waiting queue, deadlines. A connection
 * is in pg_conn.c.
 *
 *   pg_exec -> a connection is up and has room   -> pg_conn_send, on the one with the least in flight
 *              all are full                      -> the waiting queue (bounded); pg_pool_pump sends the oldest later
 *              none is up                        -> ERR_REFUSED
 *
 * Deadlines
 *   - A waiting call past its deadline gets ERR_BUSY: it was never sent.
 *   - One in flight gets ERR_TIMEOUT; its answer is discarded when it comes. So a queue of answers that is merely slow
 *     costs callers their answers and not the pool its connections.
 *   - A connection whose first statement has been running for the whole timeout is closed: everything in flight on it
 *     gets ERR_TIMEOUT. The server itself ends that statement (statement_timeout a little above ours).
 */
#include "common/store/pg.h"

#include <string.h>

#include "common/base/mem.h"
#include "common/store/pg_conn.h"

/* ---- admission ---- */

static struct pg_conn *with_room(struct pg_pool *p) {
    struct pg_conn *best = NULL;
    for (unsigned i = 0; i < p->conn_count; i++) {
        struct pg_conn *c = &p->conns[i];
        if (c->state != PG_CONN_UP || c->broken || c->recycle || c->in_flight_count >= p->depth) continue;
        if (!best || c->in_flight_count < best->in_flight_count) best = c;
    }
    return best;
}

static unsigned statement_index(struct pg_pool *p, const struct pg_statement *s) {
    uint64_t key = (uint64_t)(uintptr_t)s;
    uintptr_t known = (uintptr_t)map_get(&p->statements, key);
    if (known) return (unsigned)(known - 1);
    map_put(&p->statements, key, (void *)(uintptr_t)(p->statement_count + 1));
    return p->statement_count++;
}

/* One allocation: the struct, then the values. */
static struct pg_params *copy_params(const struct pg_params *params) {
    size_t bytes = 0;
    for (int i = 0; i < params->count; i++) bytes += (size_t)params->lengths[i];
    struct pg_params *copy = mem_alloc(sizeof *copy + bytes);
    *copy = *params;
    copy->arena = NULL;
    char *at = (char *)(copy + 1);
    for (int i = 0; i < params->count; i++) {
        if (!params->values[i]) continue;
        memcpy(at, params->values[i], (size_t)params->lengths[i]);
        copy->values[i] = at;
        at += params->lengths[i];
    }
    return copy;
}

static void start_patience(struct pg_pool *p) {
    if (p->patience.loop) return;
    uint64_t step = p->timeout_ms / 10;
    loop_timer_start(p->loop, &p->patience, step < 10 ? 10 : step > 100 ? 100 : step);
}

enum err pg_exec(struct pg_pool *p, const struct pg_statement *s, const struct pg_params *params, pg_done_fn *done,
                 void *ctx) {
    static const struct pg_params none;
    if (!params) params = &none;
    if (p->closing) return ERR_CANCELED;
    if (p->up_count == 0) return ERR_REFUSED;
    struct pg_conn *c = list_empty(&p->waiting) ? with_room(p) : NULL;
    if (!c && p->waiting_count >= p->max_waiting) return ERR_BUSY;
    struct pg_call *call = NEW(struct pg_call);
    *call = (struct pg_call){
        .statement = s, .done = done, .ctx = ctx, .since_ms = loop_now_ms(p->loop), .index = statement_index(p, s)};
    while (c && !pg_conn_send(c, call, params)) c = with_room(p);
    if (!c) {
        call->params = copy_params(params);
        list_add_tail(&p->waiting, &call->link);
        p->waiting_count++;
    }
    start_patience(p);
    return ERR_OK;
}

static struct pg_call *pop_waiting(struct pg_pool *p) {
    struct list *n = list_pop(&p->waiting);
    if (!n) return NULL;
    p->waiting_count--;
    return CONTAINER_OF(n, struct pg_call, link);
}

void pg_pool_pump(struct pg_pool *p) {
    for (struct pg_conn *c; !list_empty(&p->waiting) && (c = with_room(p));) {
        struct pg_call *call = pop_waiting(p);
        if (!pg_conn_send(c, call, call->params)) {
            list_add_head(&p->waiting, &call->link);
            p->waiting_count++;
            continue; /* that connection is marked broken: with_room does not choose it again */
        }
        mem_free(call->params);
        call->params = NULL;
    }
}

static void complete_waiting(struct pg_pool *p, enum err err) {
    struct list calls;
    list_init(&calls);
    for (struct pg_call *call; (call = pop_waiting(p));) list_add_tail(&calls, &call->link);
    for (struct list *n; (n = list_pop(&calls));) pg_call_complete(CONTAINER_OF(n, struct pg_call, link), err);
}

void pg_pool_no_conn(struct pg_pool *p) {
    complete_waiting(p, ERR_REFUSED);
}

void pg_pool_failed(struct pg_pool *p, const char *message) {
    mem_free(p->error);
    p->error = mem_strdup(message);
    size_t length = strlen(p->error);
    while (length > 0 && p->error[length - 1] == '\n') p->error[--length] = 0;
}

const char *pg_pool_error(const struct pg_pool *p) {
    return p->error ? p->error : "";
}

/* ---- deadlines ---- */

static bool expired(const struct pg_pool *p, uint64_t since_ms) {
    return loop_now_ms(p->loop) - since_ms > p->timeout_ms;
}

static void check_conn(struct pg_pool *p, struct pg_conn *c) {
    if (c->state != PG_CONN_UP || list_empty(&c->in_flight)) return;
    if (expired(p, c->head_since_ms)) {
        pg_conn_close(c, ERR_TIMEOUT);
        return;
    }
    /* Callbacks may append to the list, nothing else. */
    for (struct list *n = c->in_flight.next; n != &c->in_flight; n = n->next) {
        struct pg_call *call = CONTAINER_OF(n, struct pg_call, link);
        if (!expired(p, call->since_ms)) break;
        pg_done_fn *done = call->done;
        call->done = NULL;
        if (done) done(call->ctx, ERR_TIMEOUT, NULL);
    }
}

static void check_deadlines(struct loop_timer *t) {
    struct pg_pool *p = CONTAINER_OF(t, struct pg_pool, patience);
    for (unsigned i = 0; i < p->conn_count; i++) check_conn(p, &p->conns[i]);
    while (!list_empty(&p->waiting)) {
        struct pg_call *call = CONTAINER_OF(p->waiting.next, struct pg_call, link);
        if (!expired(p, call->since_ms)) break;
        pg_call_complete(pop_waiting(p), ERR_BUSY);
    }
    if (pg_pool_waiting(p) > 0) start_patience(p);
}

static uint64_t flush_all(struct loop_hook *h) {
    struct pg_pool *p = CONTAINER_OF(h, struct pg_pool, hook);
    for (unsigned i = 0; i < p->conn_count; i++) pg_conn_flush(&p->conns[i]);
    /* Completing what a broken connection held may have sent something on another one. */
    for (unsigned i = 0; i < p->conn_count; i++)
        if (p->conns[i].broken || p->conns[i].unsent) return 0;
    return UINT64_MAX;
}

/* ---- the pool ---- */

/*
 * Connection parameters: the operator's, and ours; his `options` come last and win. None when conninfo cannot be
 * parsed.
 *
 * jit never pays for point queries. The generic plan does: with 16 partitions the planner thinks it dearer than it is
 * and would plan every execution anew (a point query on users: 0.127 ms with plan_cache_mode auto, 0.105 with custom
 * plans, 0.039 with the generic one, which prunes partitions when it starts).
 */
static void set_parameters(struct pg_pool *p, const struct pg_pool_options *o) {
    char *complaint = NULL;
    PQconninfoOption *options = PQconninfoParse(o->conninfo, &complaint);
    if (!options) {
        pg_pool_failed(p, complaint ? complaint : "invalid connection string");
        PQfreemem(complaint);
        return;
    }
    size_t count = 0, room = 4;
    const char *theirs = "";
    for (PQconninfoOption *i = options; i && i->keyword; i++) room++;
    p->keywords = mem_zalloc(room * sizeof *p->keywords);
    p->values = mem_zalloc(room * sizeof *p->values);
    for (PQconninfoOption *i = options; i && i->keyword; i++) {
        if (!i->val) continue;
        if (strcmp(i->keyword, "options") == 0) {
            theirs = i->val;
            continue;
        }
        if (strcmp(i->keyword, "application_name") == 0 || strcmp(i->keyword, "client_encoding") == 0) continue;
        p->keywords[count] = mem_strdup(i->keyword);
        p->values[count++] = mem_strdup(i->val);
    }
    p->keywords[count] = mem_strdup("application_name");
    p->values[count++] = mem_strdup(o->application_name ? o->application_name : "fanfare");
    p->keywords[count] = mem_strdup("client_encoding");
    p->values[count++] = mem_strdup("UTF8");
    p->keywords[count] = mem_strdup("options");
    const char *planner = o->lookups_only ? "-c enable_seqscan=off -c enable_bitmapscan=off -c enable_hashjoin=off -c "
                                            "enable_mergejoin=off "
                                          : "";
    p->values[count++] = mem_printf("-c jit=off -c plan_cache_mode=force_generic_plan %s-c statement_timeout=%llu %s",
                                    planner, (unsigned long long)(p->timeout_ms + p->timeout_ms / 10 + 100), theirs);
    PQconninfoFree(options);
}

struct pg_pool *pg_pool_new(struct loop *loop, const struct pg_pool_options *options) {
    struct pg_pool *p = NEW(struct pg_pool);
    p->loop = loop;
    p->conn_count = options->connections;
    p->depth = options->depth > 0 ? options->depth : 1;
    p->max_waiting = options->max_waiting;
    p->timeout_ms = options->timeout_ms;
    p->statements = MAP_INIT;
    list_init(&p->waiting);
    set_parameters(p, options);
    p->conns = mem_array(p->conn_count, sizeof *p->conns);
    p->hook.run = flush_all;
    p->patience.fire = check_deadlines;
    loop_hook_add(loop, &p->hook);
    for (unsigned i = 0; i < p->conn_count; i++) pg_conn_init(&p->conns[i], p);
    for (unsigned i = 0; p->keywords && i < p->conn_count; i++) pg_conn_start(&p->conns[i]);
    return p;
}

void pg_pool_free(struct pg_pool **pool) {
    struct pg_pool *p = *pool;
    if (!p) return;
    *pool = NULL;
    p->closing = true;
    loop_timer_stop(&p->patience);
    for (unsigned i = 0; i < p->conn_count; i++) pg_conn_fini(&p->conns[i]);
    complete_waiting(p, ERR_CANCELED);
    loop_hook_del(&p->hook);
    for (size_t i = 0; p->keywords && p->keywords[i]; i++) {
        mem_free(p->keywords[i]);
        mem_free(p->values[i]);
    }
    mem_free(p->keywords);
    mem_free(p->values);
    map_fini(&p->statements);
    mem_free(p->conns);
    mem_free(p->error);
    mem_free(p);
}

unsigned pg_pool_up(const struct pg_pool *p) {
    return p->up_count;
}

unsigned pg_pool_waiting(const struct pg_pool *p) {
    return p->waiting_count + p->in_flight_count;
}
