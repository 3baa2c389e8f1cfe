/*
 * A PostgreSQL connection in pipeline mode on the event loop.
 *
 *   pg_conn_send:  [Parse]  Bind  Execute  Sync      each statement with a Sync of its own
 *   answers:       [result NULL]  result NULL  PIPELINE_SYNC
 *
 * Invariants
 *   - A statement commits at its Sync, so its caller is told at PIPELINE_SYNC and not when its rows arrive: a failure
 *     at commit (a deferred constraint, a serialization conflict) comes between the two.
 *   - Callbacks run only from the loop's callbacks, when libpq stands between two statements. Whatever breaks inside
 *     pg_exec only marks the connection; the hook closes it.
 *   - A prepared statement is one pg_statement on one connection. When its Parse fails its mark is taken back, so the
 *     next call tries again.
 *
 * libpq 15 writes to the socket at every Sync (PQsendPipelineSync came with 17), so the flush of the hook only finds
 * what the socket would not take. Resolving a host name blocks: daemons name addresses or sockets.
 */
#include <stdio.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/store/pg_conn.h"

#define BACKOFF_MIN_MS     50
#define BACKOFF_MAX_MS     1000
#define CONNECT_TIMEOUT_MS 5000

void pg_call_complete(struct pg_call *call, enum err err) {
    struct pg_result result = {.res = call->result};
    if (call->done) call->done(call->ctx, err, call->result ? &result : NULL);
    PQclear(call->result);
    mem_free(call->params);
    mem_free(call);
}

/* ---- prepared statements ---- */

static bool is_prepared(const struct pg_conn *c, unsigned index) {
    return index / 64 < c->prepared_words && (c->prepared[index / 64] >> (index % 64) & 1);
}

static void set_prepared(struct pg_conn *c, unsigned index, bool prepared) {
    size_t words = index / 64 + 1;
    if (words > c->prepared_words) {
        c->prepared = mem_grow(c->prepared, words, sizeof *c->prepared);
        memset(c->prepared + c->prepared_words, 0, (words - c->prepared_words) * sizeof *c->prepared);
        c->prepared_words = words;
    }
    uint64_t bit = (uint64_t)1 << (index % 64);
    if (prepared)
        c->prepared[index / 64] |= bit;
    else
        c->prepared[index / 64] &= ~bit;
}

/* ---- sending ---- */

bool pg_conn_send(struct pg_conn *c, struct pg_call *call, const struct pg_params *params) {
    char name[64];
    snprintf(name, sizeof name, "f%u_%s", call->index, call->statement->name);
    bool prepare = !is_prepared(c, call->index);
    if ((prepare && !PQsendPrepare(c->conn, name, call->statement->sql, params->count, params->types)) ||
        !PQsendQueryPrepared(c->conn, name, params->count, params->values, params->lengths, params->formats, 1)) {
        /* Without its Sync nothing of it can commit. */
        c->broken = true;
        return false;
    }
    set_prepared(c, call->index, true);
    call->preparing = prepare;
    if (c->in_flight_count++ == 0) c->head_since_ms = loop_now_ms(c->pool->loop);
    c->pool->in_flight_count++;
    list_add_tail(&c->in_flight, &call->link);
    c->unsent = true;
    if (!PQpipelineSync(c->conn)) c->broken = true;
    return true;
}

void pg_conn_flush(struct pg_conn *c) {
    if (c->broken) {
        pg_conn_close(c, ERR_LOST);
        return;
    }
    if (!c->unsent || c->state != PG_CONN_UP) return;
    int left = PQflush(c->conn);
    if (left < 0) {
        pg_conn_close(c, ERR_LOST);
        return;
    }
    c->unsent = false; /* what the socket would not take waits for LOOP_WRITE */
    uint32_t events = left > 0 ? LOOP_READ | LOOP_WRITE : LOOP_READ;
    if (c->watch.events != events) loop_watch_events(&c->watch, events);
}

/* ---- answers ---- */

static bool state_is(const PGresult *res, const char *state) {
    const char *of = PQresultErrorField(res, PG_DIAG_SQLSTATE);
    return of && strncmp(of, state, strlen(state)) == 0;
}

static bool is_failure(const PGresult *res) {
    ExecStatusType status = PQresultStatus(res);
    return status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK && status != PGRES_EMPTY_QUERY;
}

/*
 * The server ended the statement and nothing of it remains: conflicts with other transactions (40), want of resources
 * (53), a lock not granted in time, its statement_timeout, a server that became a read-only standby, a name that was
 * prepared already.
 */
static enum err outcome(const PGresult *res) {
    static const char *const retry[] = {"40", "53", "55P03", "57014", "25006", "42P05"};
    if (!res || !is_failure(res)) return ERR_OK;
    for (size_t i = 0; i < ARRAY_LEN(retry); i++)
        if (state_is(res, retry[i])) return ERR_BUSY;
    return ERR_BACKEND;
}

/* Keeps the first failure of a statement, or else its rows. */
static void keep_result(struct pg_conn *c, struct pg_call *call, PGresult *res) {
    bool failure = is_failure(res);
    if (call->preparing) {
        call->preparing = false;
        if (failure && !state_is(res, "42P05")) set_prepared(c, call->index, false);
        if (!failure) {
            PQclear(res);
            return;
        }
    }
    if (failure && state_is(res, "26000")) set_prepared(c, call->index, false);
    /* "cached plan must not change result type" after a migration; a primary that became a standby: a new connection
     * mends both. */
    if (failure && (state_is(res, "0A000") || state_is(res, "25006"))) c->recycle = true;
    if (!call->result || (failure && !is_failure(call->result))) {
        PQclear(call->result);
        call->result = res;
        return;
    }
    PQclear(res);
}

static void answer_first(struct pg_conn *c) {
    struct list *first = list_pop(&c->in_flight);
    struct pg_call *call = CONTAINER_OF(first, struct pg_call, link);
    c->in_flight_count--;
    c->pool->in_flight_count--;
    c->head_since_ms = loop_now_ms(c->pool->loop);
    c->attempts = 0;
    pg_call_complete(call, outcome(call->result));
}

static void drain(struct pg_conn *c) {
    int ends = 0; /* NULLs in a row: one ends an answer, two mean that libpq knows of nothing in flight */
    while (!c->broken && !list_empty(&c->in_flight) && !PQisBusy(c->conn)) {
        PGresult *res = PQgetResult(c->conn);
        if (!res) {
            if (++ends > 1) c->broken = true;
            continue;
        }
        ends = 0;
        if (PQresultStatus(res) == PGRES_PIPELINE_SYNC) {
            PQclear(res);
            answer_first(c);
        } else {
            keep_result(c, CONTAINER_OF(c->in_flight.next, struct pg_call, link), res);
            if (PQstatus(c->conn) != CONNECTION_OK) return;
        }
    }
}

static void up_ready(struct pg_conn *c, uint32_t events) {
    bool alive = true;
    if (events & (LOOP_READ | LOOP_ERROR)) {
        alive = PQconsumeInput(c->conn);
        drain(c);
    }
    if (!alive || PQstatus(c->conn) != CONNECTION_OK) {
        pg_conn_close(c, ERR_LOST);
        return;
    }
    if (c->recycle && list_empty(&c->in_flight)) {
        pg_conn_close(c, ERR_LOST);
        return;
    }
    c->unsent = true;
    pg_pool_pump(c->pool); /* the hook flushes */
}

/* ---- connecting ---- */

static void ready(struct loop_watch *w, uint32_t events);

static void watch(struct pg_conn *c, uint32_t events) {
    c->watch = (struct loop_watch){.fd = PQsocket(c->conn), .events = events, .ready = ready};
    loop_watch(c->pool->loop, &c->watch);
}

static void connected(struct pg_conn *c) {
    loop_timer_stop(&c->timer);
    if (PQsetnonblocking(c->conn, 1) != 0 || !PQenterPipelineMode(c->conn)) {
        pg_conn_close(c, ERR_LOST);
        return;
    }
    c->state = PG_CONN_UP;
    c->pool->up_count++;
    watch(c, LOOP_READ);
    pg_pool_pump(c->pool);
}

/* libpq may close its socket and open another (the next host): it is watched anew at every step. */
static void connect_step(struct pg_conn *c) {
    loop_unwatch(&c->watch);
    switch (PQconnectPoll(c->conn)) {
    case PGRES_POLLING_READING:
        watch(c, LOOP_READ);
        break;
    case PGRES_POLLING_WRITING:
        watch(c, LOOP_WRITE);
        break;
    case PGRES_POLLING_OK:
        connected(c);
        break;
    default:
        pg_conn_close(c, ERR_LOST);
    }
}

static void ready(struct loop_watch *w, uint32_t events) {
    struct pg_conn *c = CONTAINER_OF(w, struct pg_conn, watch);
    if (c->state == PG_CONN_CONNECTING)
        connect_step(c);
    else
        up_ready(c, events);
}

static void ignore_notice(void *ctx, const char *message) {
    (void)ctx;
    (void)message;
}

void pg_conn_start(struct pg_conn *c) {
    struct pg_pool *p = c->pool;
    c->state = PG_CONN_CONNECTING;
    c->conn = PQconnectStartParams((const char *const *)p->keywords, (const char *const *)p->values, 0);
    if (!c->conn || PQstatus(c->conn) == CONNECTION_BAD || PQsocket(c->conn) < 0) {
        pg_conn_close(c, ERR_LOST);
        return;
    }
    PQsetNoticeProcessor(c->conn, ignore_notice, NULL);
    loop_timer_start(p->loop, &c->timer, CONNECT_TIMEOUT_MS);
    watch(c, LOOP_WRITE);
}

static void timer_fired(struct loop_timer *t) {
    struct pg_conn *c = CONTAINER_OF(t, struct pg_conn, timer);
    if (c->state == PG_CONN_CONNECTING)
        pg_conn_close(c, ERR_LOST);
    else if (c->state == PG_CONN_DOWN)
        pg_conn_start(c);
}

/* ---- coming and going ---- */

static uint64_t backoff_ms(unsigned attempts) {
    uint64_t most = attempts < 5 ? (uint64_t)BACKOFF_MIN_MS << attempts : BACKOFF_MAX_MS;
    if (most > BACKOFF_MAX_MS) most = BACKOFF_MAX_MS;
    return most / 2 + random_u64() % (most / 2 + 1);
}

/* Lets go of the connection; what was in flight is moved to ret_calls. */
static void disconnect(struct pg_conn *c, struct list *ret_calls) {
    struct pg_pool *p = c->pool;
    loop_timer_stop(&c->timer);
    loop_unwatch(&c->watch);
    if (c->state == PG_CONN_UP) p->up_count--;
    c->state = PG_CONN_DOWN;
    PQfinish(c->conn);
    c->conn = NULL;
    c->broken = c->recycle = c->unsent = false;
    if (c->prepared_words) memset(c->prepared, 0, c->prepared_words * sizeof *c->prepared);
    list_init(ret_calls);
    for (struct list *n; (n = list_pop(&c->in_flight));) list_add_tail(ret_calls, n);
    p->in_flight_count -= c->in_flight_count;
    c->in_flight_count = 0;
}

static void complete_all(struct list *calls, enum err err) {
    for (struct list *n; (n = list_pop(calls));) {
        struct pg_call *call = CONTAINER_OF(n, struct pg_call, link);
        PQclear(call->result); /* half an answer is none */
        call->result = NULL;
        pg_call_complete(call, err);
    }
}

void pg_conn_close(struct pg_conn *c, enum err err) {
    struct pg_pool *p = c->pool;
    bool was_up = c->state == PG_CONN_UP;
    struct list calls;
    if (c->conn && *PQerrorMessage(c->conn)) pg_pool_failed(p, PQerrorMessage(c->conn));
    disconnect(c, &calls);
    if (!p->closing) loop_timer_start(p->loop, &c->timer, backoff_ms(c->attempts));
    if (c->attempts < 10) c->attempts++;
    complete_all(&calls, err);
    if (was_up && p->up_count == 0) pg_pool_no_conn(p);
}

void pg_conn_init(struct pg_conn *c, struct pg_pool *pool) {
    *c = (struct pg_conn){.pool = pool};
    list_init(&c->in_flight);
    c->timer.fire = timer_fired;
}

void pg_conn_fini(struct pg_conn *c) {
    struct list calls;
    disconnect(c, &calls);
    complete_all(&calls, ERR_LOST);
    mem_free(c->prepared);
    c->prepared = NULL;
    c->prepared_words = 0;
}
