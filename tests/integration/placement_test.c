/* Placement against a real PostgreSQL: views, lease, changes of state, many daemons at once. */
#include "tests/integration/database.h"

#include <pthread.h>

#include "common/base/clock.h"
#include "common/store/placement.h"

static char *conninfo; /* (own) of the test's database */

/* A daemon: its loop, its pool, its placement. */
struct daemon {
    struct loop *loop;
    struct pg_pool *pool;
    struct placement *placement;
    struct loop_timer guard;
};

static void too_slow(struct loop_timer *t) {
    (void)t;
    fail_msg("not so within 15 s");
}

static void daemon_start(struct daemon *d) {
    *d = (struct daemon){.loop = loop_new(), .guard = {.fire = too_slow}};
    struct pg_pool_options options = {.conninfo = conninfo,
                                      .connections = 2,
                                      .depth = 1,
                                      .max_waiting = 100,
                                      .timeout_ms = 2000,
                                      .application_name = "placement_test"};
    d->pool = pg_pool_new(d->loop, &options);
    d->placement = placement_new(d->loop, d->pool);
}

static void daemon_stop(struct daemon *d) {
    placement_free(&d->placement);
    pg_pool_free(&d->pool);
    loop_free(&d->loop);
}

struct until {
    struct loop_timer timer;
    struct daemon *daemon;
    bool (*true_now)(struct daemon *d, void *ctx);
    void *ctx;
};

static void check_until(struct loop_timer *t) {
    struct until *u = CONTAINER_OF(t, struct until, timer);
    if (u->true_now(u->daemon, u->ctx))
        loop_stop(u->daemon->loop);
    else
        loop_timer_start(u->daemon->loop, t, 2);
}

static void run_until(struct daemon *d, bool (*true_now)(struct daemon *d, void *ctx), void *ctx) {
    struct until u = {.timer = {.fire = check_until}, .daemon = d, .true_now = true_now, .ctx = ctx};
    loop_timer_start(d->loop, &u.timer, 0);
    loop_timer_start(d->loop, &d->guard, 15000);
    loop_run(d->loop);
    loop_timer_stop(&u.timer);
    loop_timer_stop(&d->guard);
}

static bool is_ready(struct daemon *d, void *ctx) {
    (void)ctx;
    return placement_ready(d->placement);
}

static bool has_view(struct daemon *d, void *ctx) {
    (void)ctx;
    const struct placement_view *v = placement_acquire(d->placement);
    placement_release(v);
    return v != NULL;
}

static bool has_no_view(struct daemon *d, void *ctx) {
    return !has_view(d, ctx);
}

struct answer {
    unsigned calls;
    enum err err;
    uint64_t at_ms;
};

static void answered(void *ctx, enum err err) {
    struct answer *a = ctx;
    a->calls++;
    a->err = err;
    a->at_ms = clock_mono_ms();
}

static bool is_answered(struct daemon *d, void *ctx) {
    (void)d;
    return ((struct answer *)ctx)->calls > 0;
}

/* Three Redis nodes in the timeline tier, ids 1 to 3; nobody connects to them. */
static struct pg_sync *fresh_database(void) {
    conninfo = test_database("fanfare_placement_test");
    struct pg_sync *db = test_open(conninfo);
    test_migrate(db);
    test_script(db, "INSERT INTO cache_nodes (tier, name, kind, address) VALUES (0, 'r1', 'redis', '127.0.0.1:1'),"
                    "(0, 'r2', 'redis', '127.0.0.1:2'), (0, 'r3', 'redis', 'unix:/nowhere')");
    size_t moved = 0;
    assert_int_equal(placement_rebalance_sync(db, TIER_TIMELINE, &moved, NULL), ERR_OK);
    assert_int_equal(moved, RING_SLOTS);
    return db;
}

static void done_with(struct pg_sync *db) {
    pg_sync_close(&db);
    mem_free(conninfo);
}

static void rebalance_is_repeatable(void **state) {
    (void)state;
    struct pg_sync *db = fresh_database();
    size_t moved = 99;
    assert_int_equal(placement_rebalance_sync(db, TIER_TIMELINE, &moved, NULL), ERR_OK);
    assert_int_equal(moved, 0);
    assert_int_equal(test_number(db, "SELECT max(generation) FROM cache_slots WHERE tier = 0"), 1);
    test_script(db, "INSERT INTO cache_nodes (tier, name, kind, address) VALUES (0, 'r4', 'redis', '127.0.0.1:4')");
    assert_int_equal(placement_rebalance_sync(db, TIER_TIMELINE, &moved, NULL), ERR_OK);
    assert_in_range(moved, RING_SLOTS / 4 - 200, RING_SLOTS / 4 + 200);
    assert_int_equal(test_number(db, "SELECT count(*) FROM cache_slots WHERE tier = 0 AND generation = 2"), moved);
    assert_int_equal(test_number(db, "SELECT count(*) FROM cache_slots WHERE tier = 0 AND node_id = 4"), moved);
    assert_int_equal(test_number(db, "SELECT count(*) FROM cache_slots WHERE tier > 0 AND generation > 0"), 0);
    done_with(db);
}

static void views_show_the_table(void **state) {
    (void)state;
    struct pg_sync *db = fresh_database();
    struct daemon d;
    daemon_start(&d);
    assert_null(placement_acquire(d.placement));
    run_until(&d, has_view, NULL);
    assert_false(placement_ready(d.placement)); /* the start embargo */
    const struct placement_view *v = placement_acquire(d.placement);
    size_t nodes;
    const struct node *list = placement_nodes(v, TIER_TIMELINE, &nodes);
    assert_int_equal(nodes, 3);
    assert_string_equal(list[2].address, "unix:/nowhere");
    struct location where;
    assert_false(placement_locate(v, TIER_CONTENT, 5, &where)); /* that tier has no node */
    for (uint64_t id = 1; id < 200; id++) {
        assert_true(placement_locate(v, TIER_TIMELINE, id, &where));
        assert_false(where.may_fill);
        assert_int_equal(where.generation, 1);
        char sql[120];
        snprintf(sql, sizeof sql, "SELECT node_id FROM cache_slots WHERE tier = 0 AND slot = %u", ring_slot(id));
        assert_int_equal(where.node->id, test_number(db, sql));
    }
    run_until(&d, is_ready, NULL);
    assert_true(placement_locate(v, TIER_TIMELINE, 1, &where));
    assert_true(where.may_fill);
    uint64_t error, db_now = placement_db_now_ms(d.placement, &error);
    assert_true(error < 1000);
    assert_in_range(db_now, clock_wall_ms() - error - 2, clock_wall_ms() + error + 2);
    placement_release(v);
    daemon_stop(&d);
    done_with(db);
}

static void lease_lapses_when_the_database_is_silent(void **state) {
    (void)state;
    struct pg_sync *db = fresh_database();
    struct daemon d;
    daemon_start(&d);
    run_until(&d, is_ready, NULL);
    const struct placement_view *v = placement_acquire(d.placement);
    test_script(db, "BEGIN; LOCK TABLE cache_tiers IN ACCESS EXCLUSIVE MODE"); /* polls hang */
    uint64_t began = clock_mono_ms();
    run_until(&d, has_no_view, NULL);
    assert_in_range(clock_mono_ms() - began, PLACEMENT_LEASE_MS - PLACEMENT_POLL_MS - 50, PLACEMENT_LEASE_MS + 20);
    struct location where;
    assert_true(placement_locate(v, TIER_TIMELINE, 1, &where)); /* whoever has it may finish */
    placement_release(v);
    test_script(db, "COMMIT");
    run_until(&d, is_ready, NULL); /* the same table: no new embargo */
    v = placement_acquire(d.placement);
    assert_true(placement_locate(v, TIER_TIMELINE, 1, &where));
    assert_true(where.may_fill);
    placement_release(v);
    daemon_stop(&d);
    done_with(db);
}

static bool ejected_in_view(struct daemon *d, void *ctx) {
    (void)ctx;
    const struct placement_view *v = placement_acquire(d->placement);
    size_t nodes;
    bool ejected = v && placement_nodes(v, TIER_TIMELINE, &nodes)[1].state == NODE_EJECTED;
    placement_release(v);
    return ejected;
}

static void ejection_waits_out_the_lease(void **state) {
    (void)state;
    struct pg_sync *db = fresh_database();
    struct daemon d;
    daemon_start(&d);
    run_until(&d, is_ready, NULL);
    int64_t had = test_number(db, "SELECT count(*) FROM cache_slots WHERE tier = 0 AND node_id = 2");
    struct answer a = {0}, joined = {0}, again = {0}, unknown = {0}, back = {0};
    uint64_t began = clock_mono_ms();
    placement_set_state(d.placement, 2, NODE_EJECTED, "test", d.loop, answered, &a);
    placement_set_state(d.placement, 2, NODE_EJECTED, "test", d.loop, answered, &joined);
    run_until(&d, ejected_in_view, NULL);
    assert_int_equal(a.calls, 0); /* seen here, but not yet everywhere */
    assert_true(clock_mono_ms() - began < PLACEMENT_LEASE_MS);
    const struct placement_view *v = placement_acquire(d.placement);
    struct location where;
    int held_back = 0;
    for (uint64_t id = 1; id < 500; id++) {
        assert_true(placement_locate(v, TIER_TIMELINE, id, &where));
        assert_int_not_equal(where.node->id, 2);
        assert_int_equal(where.may_fill, where.generation == 1); /* moved slots are under embargo, the others are not */
        held_back += !where.may_fill;
    }
    assert_true(held_back > 50);
    placement_release(v);
    run_until(&d, is_answered, &a);
    run_until(&d, is_answered, &joined);
    assert_int_equal(a.err, ERR_OK);
    assert_int_equal(joined.err, ERR_OK);
    assert_true(a.at_ms - began >= PLACEMENT_LEASE_MS);
    assert_int_equal(test_number(db, "SELECT version FROM cache_tiers WHERE id = 0"), 3); /* once for the two */
    assert_int_equal(test_number(db, "SELECT count(*) FROM cache_slots WHERE tier = 0 AND generation = 2"), had);
    CLEANUP(mem_free_charp) char *why = test_text(db, "SELECT state || ' ' || why FROM cache_nodes WHERE id = 2");
    assert_string_equal(why, "ejected test");

    placement_set_state(d.placement, 77, NODE_EJECTED, "test", d.loop, answered, &unknown);
    run_until(&d, is_answered, &unknown);
    assert_int_equal(unknown.err, ERR_NOT_FOUND);

    test_script(db, "UPDATE cache_nodes SET changed_at = changed_at - interval '1 minute'");
    began = clock_mono_ms();
    placement_set_state(d.placement, 2, NODE_EJECTED, "test", d.loop, answered, &again);
    run_until(&d, is_answered, &again);
    assert_int_equal(again.err, ERR_OK);
    assert_true(again.at_ms - began < 500); /* long so: nothing to wait for */
    assert_int_equal(test_number(db, "SELECT version FROM cache_tiers WHERE id = 0"), 3);

    placement_set_state(d.placement, 2, NODE_ACTIVE, "test", d.loop, answered, &back);
    run_until(&d, is_answered, &back);
    assert_int_equal(back.err, ERR_OK);
    assert_int_equal(
        test_number(db, "SELECT count(*) FROM cache_slots WHERE tier = 0 AND node_id = 2 AND generation = 3"), had);
    daemon_stop(&d);
    done_with(db);
}

/* A daemon in a thread of its own that has nodes 1, 2 and 3 ejected and readmitted, in an order of its own. */
struct rival {
    pthread_t thread;
    unsigned seed;
    unsigned failures;
};

static void *rival_run(void *arg) {
    struct rival *r = arg;
    struct daemon d;
    daemon_start(&d);
    run_until(&d, has_view, NULL);
    for (unsigned i = 0; i < 3; i++) {
        struct answer out = {0}, in = {0};
        uint16_t node = (uint16_t)(1 + (r->seed + i) % 3);
        placement_set_state(d.placement, node, NODE_EJECTED, "rival", d.loop, answered, &out);
        placement_set_state(d.placement, (uint16_t)(node % 3 + 1), NODE_ACTIVE, "rival", d.loop, answered, &in);
        run_until(&d, is_answered, &out);
        run_until(&d, is_answered, &in);
        r->failures += (out.err != ERR_OK) + (in.err != ERR_OK);
    }
    daemon_stop(&d);
    return NULL;
}

static void many_daemons_may_change_at_once(void **state) {
    (void)state;
    struct pg_sync *db = fresh_database();
    struct rival rivals[4] = {0};
    for (unsigned i = 0; i < 4; i++) {
        rivals[i].seed = i;
        pthread_create(&rivals[i].thread, NULL, rival_run, &rivals[i]);
    }
    for (unsigned i = 0; i < 4; i++) {
        pthread_join(rivals[i].thread, NULL);
        assert_int_equal(rivals[i].failures, 0);
    }
    size_t moved = 99; /* whatever the order was: owners are those of the states */
    assert_int_equal(placement_rebalance_sync(db, TIER_TIMELINE, &moved, NULL), ERR_OK);
    assert_int_equal(moved, 0);
    done_with(db);
}

static void freeing_completes_changes(void **state) {
    (void)state;
    struct pg_sync *db = fresh_database();
    struct daemon d;
    daemon_start(&d);
    run_until(&d, is_ready, NULL);
    struct answer a = {0};
    placement_set_state(d.placement, 2, NODE_EJECTED, "test", d.loop, answered, &a);
    run_until(&d, ejected_in_view, NULL);
    placement_free(&d.placement);
    run_until(&d, is_answered, &a);
    assert_int_equal(a.err, ERR_CANCELED);
    assert_int_equal(a.calls, 1);
    pg_pool_free(&d.pool);
    loop_free(&d.loop);
    done_with(db);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rebalance_is_repeatable),
        cmocka_unit_test(views_show_the_table),
        cmocka_unit_test(lease_lapses_when_the_database_is_silent),
        cmocka_unit_test(ejection_waits_out_the_lease),
        cmocka_unit_test(many_daemons_may_change_at_once),
        cmocka_unit_test(freeing_completes_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
