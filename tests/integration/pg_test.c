/* PostgreSQL pool and blocking connection against a real server (FANFARE_TEST_PG). */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/store/pg.h"

static const char *conninfo(void) {
    const char *value = getenv("FANFARE_TEST_PG");
    if (!value || !*value) fail_msg("FANFARE_TEST_PG must hold the connection string of a PostgreSQL superuser");
    return value;
}

struct fixture {
    struct loop *loop;
    struct pg_pool *pool;
    struct arena arena;
    struct loop_timer guard;
    unsigned waiting; /* calls that have not completed */
};

/* One expected answer. */
struct answer {
    struct fixture *f;
    unsigned calls;
    enum err err;
    int rows;
    uint64_t value;
    char state[6];
    void (*check)(const struct pg_result *r);
};

static void too_slow(struct loop_timer *t) {
    (void)t;
    fail_msg("no answer within 10 s");
}

static struct fixture *setup(unsigned connections, unsigned depth, unsigned max_waiting, uint64_t timeout_ms) {
    struct fixture *f = NEW(struct fixture);
    arena_init(&f->arena, 0);
    f->loop = loop_new();
    struct pg_pool_options options = {.conninfo = conninfo(),
                                      .connections = connections,
                                      .depth = depth,
                                      .max_waiting = max_waiting,
                                      .timeout_ms = timeout_ms,
                                      .application_name = "pg_test"};
    f->pool = pg_pool_new(f->loop, &options);
    f->guard.fire = too_slow;
    return f;
}

static void teardown(struct fixture *f) {
    pg_pool_free(&f->pool);
    loop_timer_stop(&f->guard);
    loop_free(&f->loop);
    arena_fini(&f->arena);
    mem_free(f);
}

struct until {
    struct loop_timer timer;
    struct fixture *f;
    bool (*true_now)(struct fixture *f);
};

static void check_until(struct loop_timer *t) {
    struct until *u = CONTAINER_OF(t, struct until, timer);
    if (u->true_now(u->f))
        loop_stop(u->f->loop);
    else
        loop_timer_start(u->f->loop, t, 2);
}

static void run_until(struct fixture *f, bool (*true_now)(struct fixture *f)) {
    struct until u = {.timer = {.fire = check_until}, .f = f, .true_now = true_now};
    loop_timer_start(f->loop, &u.timer, 0);
    loop_timer_start(f->loop, &f->guard, 10000);
    loop_run(f->loop);
    loop_timer_stop(&u.timer);
    loop_timer_stop(&f->guard);
}

static bool one_up(struct fixture *f) {
    return pg_pool_up(f->pool) >= 1;
}

static bool two_up(struct fixture *f) {
    return pg_pool_up(f->pool) >= 2;
}

static bool none_up(struct fixture *f) {
    return pg_pool_up(f->pool) == 0;
}

static bool all_answered(struct fixture *f) {
    return f->waiting == 0;
}

static void answered(void *ctx, enum err err, const struct pg_result *r) {
    struct answer *a = ctx;
    a->calls++;
    a->err = err;
    a->f->waiting--;
    if (!r) return;
    a->rows = pg_rows(r);
    snprintf(a->state, sizeof a->state, "%s", pg_sqlstate(r));
    if (a->check)
        a->check(r);
    else if (a->rows > 0 && !pg_null(r, 0, 0))
        a->value = pg_int8(r, 0, 0);
}

static void exec(struct fixture *f, const struct pg_statement *s, const struct pg_params *params, struct answer *a) {
    a->f = f;
    f->waiting++;
    assert_int_equal(pg_exec(f->pool, s, params, answered, a), ERR_OK);
    assert_int_equal(a->calls, 0);
}

static const struct pg_statement ECHO_INT = {"echo_int", "SELECT $1::bigint"};
static const struct pg_statement SLEEP = {"sleep", "SELECT 1::bigint FROM pg_sleep($1::bigint / 1000.0)"};
static const struct pg_statement PID = {"pid", "SELECT pg_backend_pid()"};

static void ping(struct fixture *f, uint64_t value, struct answer *a) {
    struct pg_params params;
    pg_params_init(&params, &f->arena);
    pg_param_int8(&params, value);
    exec(f, &ECHO_INT, &params, a);
}

static void check_types(const struct pg_result *r) {
    struct arena arena;
    arena_init(&arena, 0);
    size_t n = 99;
    assert_int_equal(pg_int8(r, 0, 0), UINT64_C(0x7122334455667788));
    assert_int_equal((int64_t)pg_int8(r, 0, 1), -7);
    assert_true(pg_bool(r, 0, 2));
    assert_true(str_eq_c(pg_text(r, 0, 3), "h\xc3\xa9llo"));
    assert_true(pg_null(r, 0, 4));
    assert_null(pg_text(r, 0, 4).data);
    assert_true(str_eq(pg_text(r, 0, 5), str_of("\0\1\2", 3)));
    uint64_t *ids = pg_int8_array(r, 0, 6, &arena, &n);
    assert_int_equal(n, 3);
    assert_int_equal(ids[0], 1);
    assert_int_equal(ids[2], INT64_MAX);
    pg_int8_array(r, 0, 7, &arena, &n);
    assert_int_equal(n, 0);
    assert_true(str_eq_c(pg_text(r, 0, 8), "{10,-20}"));
    assert_true(str_eq_c(pg_text(r, 0, 9), "{a,NULL,\"\"}"));
    assert_true(str_eq_c(pg_text(r, 0, 10), "{\"\\\\x00ff\",NULL}"));
    pg_int8_array(r, 0, 11, &arena, &n);
    assert_int_equal(n, 0);
    assert_int_equal((int64_t)pg_int8(r, 0, 12), -3);
    arena_fini(&arena);
}

static void every_type_goes_both_ways(void **state) {
    (void)state;
    static const struct pg_statement TYPES = {
        "types",
        "SELECT $1::bigint, $2::integer, $3::boolean, $4::text, $5::text, $6::bytea, $7::bigint[], $8::bigint[], "
        "($9::integer[])::text, ($10::text[])::text, ($11::bytea[])::text, NULL::bigint[], (-3)::smallint"};
    struct fixture *f = setup(1, 4, 4, 2000);
    run_until(f, one_up);
    struct pg_params p;
    pg_params_init(&p, &f->arena);
    pg_param_int8(&p, UINT64_C(0x7122334455667788));
    pg_param_int4(&p, -7);
    pg_param_bool(&p, true);
    pg_param_text(&p, STR("h\xc3\xa9llo"));
    pg_param_text(&p, (struct str){0});
    pg_param_bytes(&p, str_of("\0\1\2", 3));
    pg_param_int8_array(&p, (uint64_t[]){1, 2, INT64_MAX}, 3);
    pg_param_int8_array(&p, NULL, 0);
    pg_param_int4_array(&p, (int32_t[]){10, -20}, 2);
    pg_param_text_array(&p, (struct str[]){STR("a"), {0}, STR("")}, 3);
    pg_param_bytes_array(&p, (struct str[]){str_of("\0\xff", 2), {0}}, 2);
    struct answer a = {.check = check_types};
    exec(f, &TYPES, &p, &a);
    run_until(f, all_answered);
    assert_int_equal(a.err, ERR_OK);
    assert_int_equal(a.rows, 1);
    teardown(f);
}

static void failure_leaves_neighbours_alone(void **state) {
    (void)state;
    static const struct pg_statement INSERT = {"insert", "INSERT INTO pg_test_rows VALUES ($1::bigint)"};
    struct pg_sync *db;
    assert_int_equal(pg_sync_open(conninfo(), &db, NULL), ERR_OK);
    assert_int_equal(
        pg_sync_script(db, "DROP TABLE IF EXISTS pg_test_rows; CREATE TABLE pg_test_rows (id bigint PRIMARY KEY)",
                       NULL),
        ERR_OK);
    struct fixture *f = setup(1, 32, 64, 2000);
    run_until(f, one_up);
    struct answer a[20] = {0};
    for (uint64_t i = 0; i < 20; i++) {
        struct pg_params p;
        pg_params_init(&p, &f->arena);
        pg_param_int8(&p, i % 5 == 4 ? 1 : 100 + i); /* 9, 14, 19 repeat the row of 4 */
        exec(f, &INSERT, &p, &a[i]);
    }
    run_until(f, all_answered);
    for (int i = 0; i < 20; i++) {
        bool repeated = i > 4 && i % 5 == 4;
        assert_int_equal(a[i].calls, 1);
        assert_int_equal(a[i].err, repeated ? ERR_BACKEND : ERR_OK);
        assert_string_equal(a[i].state, repeated ? "23505" : "");
    }
    struct pg_result *rows;
    assert_int_equal(pg_sync_exec(db, "SELECT count(*) FROM pg_test_rows", NULL, &rows, NULL), ERR_OK);
    assert_int_equal(pg_int8(rows, 0, 0), 17);
    pg_result_free(&rows);
    assert_int_equal(pg_sync_script(db, "DROP TABLE pg_test_rows", NULL), ERR_OK);
    pg_sync_close(&db);
    teardown(f);
}

/* A deferred constraint fails at the commit, after the statement's own completion: its caller must not have been told
 * ERR_OK. */
static void failure_at_commit_is_reported(void **state) {
    (void)state;
    static const struct pg_statement INSERT = {"insert_deferred", "INSERT INTO pg_test_deferred VALUES ($1::bigint)"};
    struct pg_sync *db;
    assert_int_equal(pg_sync_open(conninfo(), &db, NULL), ERR_OK);
    assert_int_equal(pg_sync_script(db,
                                    "DROP TABLE IF EXISTS pg_test_deferred;"
                                    "CREATE TABLE pg_test_deferred (id bigint UNIQUE DEFERRABLE INITIALLY DEFERRED);"
                                    "INSERT INTO pg_test_deferred VALUES (1)",
                                    NULL),
                     ERR_OK);
    struct fixture *f = setup(1, 32, 64, 2000);
    run_until(f, one_up);
    struct answer a[3] = {0};
    for (uint64_t i = 0; i < 3; i++) {
        struct pg_params p;
        pg_params_init(&p, &f->arena);
        pg_param_int8(&p, i); /* 1 is there */
        exec(f, &INSERT, &p, &a[i]);
    }
    run_until(f, all_answered);
    assert_int_equal(a[0].err, ERR_OK);
    assert_int_equal(a[1].err, ERR_BACKEND);
    assert_string_equal(a[1].state, "23505");
    assert_int_equal(a[2].err, ERR_OK);
    assert_int_equal(pg_sync_script(db, "DROP TABLE pg_test_deferred", NULL), ERR_OK);
    pg_sync_close(&db);
    teardown(f);
}

static void failed_preparation_is_tried_again(void **state) {
    (void)state;
    static const struct pg_statement LATE = {"late", "SELECT id FROM pg_test_late"};
    struct fixture *f = setup(1, 8, 8, 2000);
    run_until(f, one_up);
    struct answer a[4] = {0};
    for (int i = 0; i < 3; i++) exec(f, &LATE, NULL, &a[i]);
    run_until(f, all_answered);
    for (int i = 0; i < 3; i++) assert_int_equal(a[i].err, ERR_BACKEND);
    assert_string_equal(a[0].state, "42P01");
    struct pg_sync *db;
    assert_int_equal(pg_sync_open(conninfo(), &db, NULL), ERR_OK);
    assert_int_equal(
        pg_sync_script(db, "CREATE TABLE pg_test_late (id bigint); INSERT INTO pg_test_late VALUES (5)", NULL), ERR_OK);
    exec(f, &LATE, NULL, &a[3]);
    run_until(f, all_answered);
    assert_int_equal(a[3].err, ERR_OK);
    assert_int_equal(a[3].value, 5);
    /* Its row type changes under the plan: one failure, then a new connection knows the new one. */
    assert_int_equal(pg_sync_script(db, "ALTER TABLE pg_test_late ALTER id TYPE integer", NULL), ERR_OK);
    struct answer changed = {0};
    exec(f, &LATE, NULL, &changed);
    run_until(f, all_answered);
    assert_int_equal(changed.err, ERR_BACKEND);
    assert_string_equal(changed.state, "0A000");
    run_until(f, none_up);
    run_until(f, one_up);
    struct answer again = {0};
    exec(f, &LATE, NULL, &again);
    run_until(f, all_answered);
    assert_int_equal(again.err, ERR_OK);
    assert_int_equal(again.value, 5);
    assert_int_equal(pg_sync_script(db, "DROP TABLE pg_test_late", NULL), ERR_OK);
    pg_sync_close(&db);
    teardown(f);
}

static void room_is_bounded_and_order_kept(void **state) {
    (void)state;
    struct fixture *f = setup(1, 2, 3, 2000);
    run_until(f, one_up);
    struct answer a[6] = {0};
    for (uint64_t i = 0; i < 5; i++) ping(f, i, &a[i]);
    assert_int_equal(pg_pool_waiting(f->pool), 5);
    struct pg_params p;
    pg_params_init(&p, &f->arena);
    pg_param_int8(&p, 5);
    assert_int_equal(pg_exec(f->pool, &ECHO_INT, &p, answered, &a[5]), ERR_BUSY);
    arena_reset(&f->arena); /* parameters were copied */
    memset(arena_alloc(&f->arena, 2000), 0x5a, 2000);
    run_until(f, all_answered);
    for (uint64_t i = 0; i < 5; i++) {
        assert_int_equal(a[i].err, ERR_OK);
        assert_int_equal(a[i].value, i);
    }
    assert_int_equal(a[5].calls, 0);
    assert_int_equal(pg_pool_waiting(f->pool), 0);
    teardown(f);
}

static void stuck_statement_costs_its_connection(void **state) {
    (void)state;
    struct fixture *f = setup(1, 2, 10, 300);
    run_until(f, one_up);
    struct answer slow = {0}, behind = {0}, queued = {0}, after = {0};
    struct pg_params p;
    pg_params_init(&p, &f->arena);
    pg_param_int8(&p, 5000);
    uint64_t began = clock_mono_ms();
    exec(f, &SLEEP, &p, &slow);
    ping(f, 1, &behind);
    ping(f, 2, &queued);
    run_until(f, all_answered);
    uint64_t took = clock_mono_ms() - began;
    assert_in_range(took, 290, 900);
    assert_int_equal(slow.err, ERR_TIMEOUT);
    assert_int_equal(behind.err, ERR_TIMEOUT);
    assert_true(err_class(queued.err) == ERR_CLASS_RETRY); /* never sent */
    assert_int_equal(pg_pool_up(f->pool), 0);
    assert_int_equal(pg_exec(f->pool, &PID, NULL, answered, &after), ERR_REFUSED);
    run_until(f, one_up);
    ping(f, 3, &after);
    run_until(f, all_answered);
    assert_int_equal(after.value, 3);
    teardown(f);
}

/* Ten statements of 60 ms behind one another: the late ones are given up, the connection stays. */
static void slow_queue_keeps_its_connection(void **state) {
    (void)state;
    struct fixture *f = setup(1, 10, 10, 300);
    run_until(f, one_up);
    struct answer pid = {0}, pid_after = {0}, a[10] = {0};
    exec(f, &PID, NULL, &pid);
    run_until(f, all_answered);
    for (int i = 0; i < 10; i++) {
        struct pg_params p;
        pg_params_init(&p, &f->arena);
        pg_param_int8(&p, 60);
        exec(f, &SLEEP, &p, &a[i]);
    }
    run_until(f, all_answered);
    assert_int_equal(a[0].err, ERR_OK);
    assert_int_equal(a[9].err, ERR_TIMEOUT);
    struct answer late = {0};
    ping(f, 9, &late); /* waits behind answers nobody wants any more */
    run_until(f, all_answered);
    exec(f, &PID, NULL, &pid_after);
    run_until(f, all_answered);
    assert_int_equal(pid_after.value, pid.value);
    for (int i = 0; i < 10; i++) assert_int_equal(a[i].calls, 1);
    teardown(f);
}

static void killed_backend_is_uncertain_and_replaced(void **state) {
    (void)state;
    struct fixture *f = setup(2, 4, 10, 3000);
    run_until(f, two_up);
    struct answer asleep[2] = {0};
    for (int i = 0; i < 2; i++) {
        struct pg_params p;
        pg_params_init(&p, &f->arena);
        pg_param_int8(&p, 2500);
        exec(f, &SLEEP, &p, &asleep[i]);
    }
    struct pg_sync *db;
    assert_int_equal(pg_sync_open(conninfo(), &db, NULL), ERR_OK);
    uint64_t began = clock_mono_ms();
    for (int killed = 0; killed < 2;) {
        struct pg_result *rows;
        assert_int_equal(pg_sync_exec(db,
                                      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = "
                                      "'pg_test' AND state = 'active' AND query LIKE '%pg_sleep%'",
                                      NULL, &rows, NULL),
                         ERR_OK);
        killed += pg_rows(rows);
        pg_result_free(&rows);
        assert_true(clock_mono_ms() - began < 5000);
        loop_timer_start(f->loop, &f->guard, 10000); /* let the statements go out */
        run_until(f, one_up);
    }
    run_until(f, all_answered);
    assert_int_equal(asleep[0].err, ERR_LOST);
    assert_int_equal(asleep[1].err, ERR_LOST);
    assert_true(strlen(pg_pool_error(f->pool)) > 0);
    run_until(f, two_up);
    struct answer after = {0};
    ping(f, 77, &after);
    run_until(f, all_answered);
    assert_int_equal(after.value, 77);
    pg_sync_close(&db);
    teardown(f);
}

static void unreachable_server_refuses(void **state) {
    (void)state;
    struct loop *loop = loop_new();
    static const char *const conninfos[] = {"host=/nonexistent dbname=x", "this is no conninfo"};
    for (size_t i = 0; i < ARRAY_LEN(conninfos); i++) {
        struct pg_pool_options options = {
            .conninfo = conninfos[i], .connections = 2, .depth = 2, .max_waiting = 2, .timeout_ms = 100};
        struct pg_pool *pool = pg_pool_new(loop, &options);
        assert_int_equal(pg_exec(pool, &PID, NULL, answered, NULL), ERR_REFUSED);
        assert_true(strlen(pg_pool_error(pool)) > 0);
        pg_pool_free(&pool);
    }
    loop_free(&loop);
}

static void freeing_completes_what_is_open(void **state) {
    (void)state;
    struct fixture *f = setup(1, 1, 10, 2000);
    run_until(f, one_up);
    struct answer sent = {0}, queued = {0};
    ping(f, 1, &sent);
    ping(f, 2, &queued);
    teardown(f);
    assert_int_equal(sent.calls, 1);
    assert_int_equal(sent.err, ERR_LOST);
    assert_int_equal(queued.calls, 1);
    assert_int_equal(queued.err, ERR_CANCELED);
}

/* Answers that start calls, 3,000 in flight over two connections, large results that fill the socket's buffers. */
struct chain {
    struct fixture *f;
    unsigned left;
    unsigned failures;
    struct arena arena;
};
static const struct pg_statement LARGE = {"large", "SELECT repeat('x', $1::integer), $2::text"};

static void chain_next(void *ctx, enum err err, const struct pg_result *r) {
    struct chain *c = ctx;
    if (r && (err != ERR_OK || pg_text(r, 0, 0).len != 3000 || pg_text(r, 0, 1).len != 5000)) c->failures++;
    if (err != ERR_OK) c->failures++;
    if (c->left-- == 0) {
        c->f->waiting--;
        return;
    }
    static char filler[5000];
    memset(filler, 'y', sizeof filler);
    struct pg_params p;
    arena_reset(&c->arena);
    pg_params_init(&p, &c->arena);
    pg_param_int4(&p, 3000);
    pg_param_text(&p, str_of(filler, sizeof filler));
    assert_int_equal(pg_exec(c->f->pool, &LARGE, &p, chain_next, c), ERR_OK);
}

static void callbacks_may_call(void **state) {
    (void)state;
    struct fixture *f = setup(2, 64, 1000, 5000);
    run_until(f, two_up);
    struct chain chains[300] = {0};
    for (int i = 0; i < 300; i++) {
        chains[i] = (struct chain){.f = f, .left = 10};
        arena_init(&chains[i].arena, 8192);
        f->waiting++;
        chain_next(&chains[i], ERR_OK, NULL);
    }
    run_until(f, all_answered);
    for (int i = 0; i < 300; i++) {
        assert_int_equal(chains[i].failures, 0);
        arena_fini(&chains[i].arena);
    }
    teardown(f);
}

static void copy_takes_any_text(void **state) {
    (void)state;
    struct pg_sync *db;
    assert_int_equal(pg_sync_open(conninfo(), &db, NULL), ERR_OK);
    assert_int_equal(pg_sync_script(db, "CREATE TEMP TABLE t (id bigint, body text)", NULL), ERR_OK);
    assert_int_equal(pg_sync_copy_begin(db, "COPY t FROM STDIN", NULL), ERR_OK);
    CLEANUP(buf_fini) struct buf line = BUF_INIT;
    buf_add_c(&line, "1\t");
    pg_copy_escape(&line, STR("tab\t back\\slash \\N line\nend\r"));
    buf_add_c(&line, "\n");
    assert_int_equal(pg_sync_copy_data(db, buf_str(&line), NULL), ERR_OK);
    assert_int_equal(pg_sync_copy_end(db, NULL), ERR_OK);
    struct pg_result *rows;
    assert_int_equal(pg_sync_exec(db, "SELECT body FROM t", NULL, &rows, NULL), ERR_OK);
    assert_true(str_eq_c(pg_text(rows, 0, 0), "tab\t back\\slash \\N line\nend\r"));
    pg_result_free(&rows);
    char *message = NULL;
    assert_int_equal(pg_sync_copy_begin(db, "COPY t FROM STDIN", NULL), ERR_OK);
    assert_int_equal(pg_sync_copy_data(db, STR("not a number\tx\n"), NULL), ERR_OK);
    assert_int_equal(pg_sync_copy_end(db, &message), ERR_BACKEND);
    assert_non_null(strstr(message, "bigint"));
    mem_free(message);
    assert_int_equal(pg_sync_script(db, "nonsense", &message), ERR_BACKEND);
    assert_non_null(strstr(message, "nonsense"));
    mem_free(message);
    pg_sync_close(&db);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_goes_both_ways),
        cmocka_unit_test(failure_leaves_neighbours_alone),
        cmocka_unit_test(failure_at_commit_is_reported),
        cmocka_unit_test(failed_preparation_is_tried_again),
        cmocka_unit_test(room_is_bounded_and_order_kept),
        cmocka_unit_test(stuck_statement_costs_its_connection),
        cmocka_unit_test(slow_queue_keeps_its_connection),
        cmocka_unit_test(killed_backend_is_uncertain_and_replaced),
        cmocka_unit_test(unreachable_server_refuses),
        cmocka_unit_test(freeing_completes_what_is_open),
        cmocka_unit_test(callbacks_may_call),
        cmocka_unit_test(copy_takes_any_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
