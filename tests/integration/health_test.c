/*
 * Node health with real servers that are stopped (SIGSTOP) and go on (SIGCONT): ejected, readmitted, generations rise.
 */
#include "tests/integration/database.h"

#include <netdb.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/store/health.h"

static pid_t stopped; /* to be continued whatever happens */

static int dial(const char *address) {
    int fd = -1;
    if (strncmp(address, "unix:", 5) == 0) {
        struct sockaddr_un to = {.sun_family = AF_UNIX};
        snprintf(to.sun_path, sizeof to.sun_path, "%s", address + 5);
        fd = socket(AF_UNIX, SOCK_STREAM, 0);
        if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0) fail_msg("cannot connect to %s", address);
        return fd;
    }
    char host[128];
    const char *colon = strrchr(address, ':');
    assert_non_null(colon);
    snprintf(host, sizeof host, "%.*s", (int)(colon - address), address);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    if (getaddrinfo(host, colon + 1, &hints, &found) != 0) fail_msg("no such address: %s", address);
    fd = socket(found->ai_family, SOCK_STREAM, 0);
    if (connect(fd, found->ai_addr, found->ai_addrlen) != 0) fail_msg("cannot connect to %s", address);
    freeaddrinfo(found);
    return fd;
}

/* The server's own process id: `ask` it, and read the number after `label`. */
static pid_t pid_of(const char *address, const char *ask, const char *label) {
    int fd = dial(address);
    char answer[8192] = "";
    size_t length = 0;
    struct timeval patience = {.tv_sec = 2};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    assert_int_equal(write(fd, ask, strlen(ask)), strlen(ask));
    char *found = NULL;
    while (!found && length < sizeof answer - 1) {
        ssize_t got = read(fd, answer + length, sizeof answer - 1 - length);
        if (got <= 0) fail_msg("%s does not tell its pid", address);
        length += (size_t)got;
        answer[length] = 0;
        found = strstr(answer, label);
        if (found && !strchr(found, '\n')) found = NULL;
    }
    close(fd);
    assert_non_null(found);
    return (pid_t)atoi(found + strlen(label));
}

struct fixture {
    char *conninfo; /* (own) */
    struct pg_sync *db;
    struct loop *loop;
    struct pg_pool *pool;
    struct placement *placement;
    struct metrics *metrics;
    struct health *health;
    struct loop_timer guard;
};

static void too_slow(struct loop_timer *t) {
    (void)t;
    if (stopped > 0) kill(stopped, SIGCONT);
    fail_msg("not so within 15 s");
}

/* Node 1: the timeline tier's Redis; node 2: another; node 3: a memcached of the content tier. */
static void setup(struct fixture *f) {
    *f = (struct fixture){.guard = {.fire = too_slow}};
    f->conninfo = test_database("fanfare_health_test");
    f->db = test_open(f->conninfo);
    test_migrate(f->db);
    CLEANUP(mem_free_charp)
    char *nodes = mem_printf(
        "INSERT INTO cache_nodes (tier, name, kind, address) VALUES (0, 'ra', 'redis', '%s'), (0, 'rb', 'redis', '%s'),"
        " (1, 'ma', 'memcached', '%s')",
        test_env("FANFARE_TEST_REDIS_A"), test_env("FANFARE_TEST_REDIS_B"), test_env("FANFARE_TEST_MEMCACHED_A"));
    test_script(f->db, nodes);
    assert_int_equal(placement_rebalance_sync(f->db, TIER_TIMELINE, NULL, NULL), ERR_OK);
    assert_int_equal(placement_rebalance_sync(f->db, TIER_CONTENT, NULL, NULL), ERR_OK);
    f->loop = loop_new();
    struct pg_pool_options options = {
        .conninfo = f->conninfo, .connections = 2, .depth = 1, .max_waiting = 100, .timeout_ms = 2000};
    f->pool = pg_pool_new(f->loop, &options);
    f->placement = placement_new(f->loop, f->pool);
    f->metrics = metrics_new();
    struct health_options health = {.loop = f->loop,
                                    .placement = f->placement,
                                    .metrics = f->metrics,
                                    .probe_ms = 100,
                                    .probe_timeout_ms = 200,
                                    .fail_after_ms = 500,
                                    .readmit_after_ms = 1000};
    f->health = health_new(&health);
}

struct until {
    struct loop_timer timer;
    struct fixture *f;
    bool (*true_now)(struct fixture *f);
    uint64_t end_ms;
};

static void check_until(struct loop_timer *t) {
    struct until *u = CONTAINER_OF(t, struct until, timer);
    if (u->true_now ? u->true_now(u->f) : clock_mono_ms() >= u->end_ms)
        loop_stop(u->f->loop);
    else
        loop_timer_start(u->f->loop, t, 5);
}

static void run(struct fixture *f, struct until u) {
    u.f = f;
    u.timer.fire = check_until;
    loop_timer_start(f->loop, &u.timer, 0);
    loop_timer_start(f->loop, &f->guard, 15000);
    loop_run(f->loop);
    loop_timer_stop(&u.timer);
    loop_timer_stop(&f->guard);
}

static void run_until(struct fixture *f, bool (*true_now)(struct fixture *f)) {
    run(f, (struct until){.true_now = true_now});
}

static void run_for(struct fixture *f, uint64_t ms) {
    run(f, (struct until){.end_ms = clock_mono_ms() + ms});
}

static void teardown(struct fixture *f) {
    health_free(&f->health);
    placement_free(&f->placement);
    run_for(f, 5); /* what was posted finds them gone */
    pg_pool_free(&f->pool);
    loop_free(&f->loop);
    metrics_free(&f->metrics);
    pg_sync_close(&f->db);
    mem_free(f->conninfo);
}

static bool is_ready(struct fixture *f) {
    return placement_ready(f->placement);
}

static enum node_state state_of(struct fixture *f, enum tier tier, size_t index) {
    const struct placement_view *v = placement_acquire(f->placement);
    size_t count;
    enum node_state state = v ? placement_nodes(v, tier, &count)[index].state : NODE_REMOVED;
    placement_release(v);
    return state;
}

static bool redis_ejected(struct fixture *f) {
    return state_of(f, TIER_TIMELINE, 0) == NODE_EJECTED;
}

static bool redis_active(struct fixture *f) {
    return state_of(f, TIER_TIMELINE, 0) == NODE_ACTIVE;
}

static bool memcached_ejected(struct fixture *f) {
    return state_of(f, TIER_CONTENT, 0) == NODE_EJECTED;
}

static bool memcached_active(struct fixture *f) {
    return state_of(f, TIER_CONTENT, 0) == NODE_ACTIVE;
}

static void signal_server(pid_t pid, int signo) {
    assert_true(pid > 1);
    stopped = signo == SIGSTOP ? pid : 0;
    assert_int_equal(kill(pid, signo), 0);
}

static void stopped_redis_is_ejected_and_comes_back(void **state) {
    (void)state;
    struct fixture f;
    setup(&f);
    pid_t pid = pid_of(test_env("FANFARE_TEST_REDIS_A"), "INFO server\r\n", "process_id:");
    run_until(&f, is_ready);
    int64_t had = test_number(f.db, "SELECT count(*) FROM cache_slots WHERE node_id = 1");
    signal_server(pid, SIGSTOP);
    uint64_t began = clock_mono_ms();
    for (int i = 0; i < 1000; i++) health_report(f.health, 1, ERR_TIMEOUT);
    run_until(&f, redis_ejected);
    assert_in_range(clock_mono_ms() - began, 500, 1500);
    assert_int_equal(test_number(f.db, "SELECT count(*) FROM cache_slots WHERE node_id = 1"), 0);
    health_set_keeper(f.health, true);
    run_for(&f, 1500);
    assert_true(redis_ejected(&f)); /* still stopped */
    signal_server(pid, SIGCONT);
    began = clock_mono_ms();
    run_until(&f, redis_active);
    assert_in_range(clock_mono_ms() - began, 900, 2500);
    assert_int_equal(test_number(f.db, "SELECT count(*) FROM cache_slots WHERE node_id = 1 AND generation = 3"), had);
    run_for(&f, PLACEMENT_LEASE_MS + 100);
    CLEANUP(buf_fini) struct buf text = BUF_INIT;
    metrics_render(f.metrics, &text);
    assert_non_null(strstr(text.data, "fanfare_node_suspicions_total{tier=\"timeline\",node=\"ra\"} 1"));
    assert_non_null(strstr(text.data, "fanfare_node_ejections_total{tier=\"timeline\",node=\"ra\"} 1"));
    assert_non_null(strstr(text.data, "fanfare_node_readmissions_total{tier=\"timeline\",node=\"ra\"} 1"));
    teardown(&f);
}

static void stopped_memcached_is_ejected_and_comes_back(void **state) {
    (void)state;
    struct fixture f;
    setup(&f);
    pid_t pid = pid_of(test_env("FANFARE_TEST_MEMCACHED_A"), "stats\r\n", "STAT pid ");
    run_until(&f, is_ready);
    signal_server(pid, SIGSTOP);
    health_report(f.health, 3, ERR_LOST);
    run_until(&f, memcached_ejected);
    signal_server(pid, SIGCONT);
    run_for(&f, 1500);
    assert_true(memcached_ejected(&f)); /* nobody is the keeper */
    health_set_keeper(f.health, true);
    run_until(&f, memcached_active);
    teardown(&f);
}

static void healthy_node_survives_reports(void **state) {
    (void)state;
    struct fixture f;
    setup(&f);
    run_until(&f, is_ready);
    for (int i = 0; i < 20; i++) {
        health_report(f.health, 1, ERR_TIMEOUT);
        health_report(f.health, 3, ERR_TIMEOUT);
        health_report(f.health, 60000, ERR_TIMEOUT); /* no such node */
        run_for(&f, 60);
    }
    assert_true(redis_active(&f));
    assert_true(memcached_active(&f));
    assert_int_equal(test_number(f.db, "SELECT max(version) FROM cache_tiers"), 2);
    teardown(&f);
}

/* A port that nobody listens at: refused at once, ejected after the same time; freeing in the middle of it all. */
static void unreachable_node_is_ejected(void **state) {
    (void)state;
    struct fixture f;
    setup(&f);
    test_script(f.db, "UPDATE cache_nodes SET address = 'unix:/nonexistent/socket' WHERE id = 1;"
                      "UPDATE cache_tiers SET version = version + 1 WHERE id = 0");
    run_until(&f, is_ready);
    uint64_t began = clock_mono_ms();
    health_report(f.health, 1, ERR_REFUSED);
    run_until(&f, redis_ejected);
    assert_in_range(clock_mono_ms() - began, 500, 1500);
    health_report(f.health, 2, ERR_REFUSED);
    teardown(&f); /* a decision waits for its lease, a wake-up is posted */
}

static int continue_stopped(void **state) {
    (void)state;
    if (stopped > 0) kill(stopped, SIGCONT);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(stopped_redis_is_ejected_and_comes_back, continue_stopped),
        cmocka_unit_test_teardown(stopped_memcached_is_ejected_and_comes_back, continue_stopped),
        cmocka_unit_test_teardown(healthy_node_survives_reports, continue_stopped),
        cmocka_unit_test_teardown(unreachable_node_is_ejected, continue_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
