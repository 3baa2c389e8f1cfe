/*
 * The event loop: order, what callbacks may do to each other, and what may come from other threads and signal handlers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/sys/loop.h"

static int setup(void **state) {
    *state = loop_new();
    return 0;
}

static int teardown(void **state) {
    struct loop *l = *state;
    loop_free(&l);
    assert_null(l);
    return 0;
}

/* Timers */

enum { TIMERS = 500 };
struct timer_case {
    struct loop_timer timer;
    struct timers *all;
};
struct timers {
    struct timer_case cases[TIMERS];
    uint64_t last_due;
    int fired, expected;
};

static void note_timer(struct loop_timer *t) {
    struct timers *all = CONTAINER_OF(t, struct timer_case, timer)->all;
    assert_null(t->loop);
    assert_true(t->due_ms <= clock_mono_ms());
    assert_true(t->due_ms >= all->last_due);
    all->last_due = t->due_ms;
    all->fired++;
}

static void never(struct loop_timer *t) {
    (void)t;
    fail();
}

struct stopper {
    struct loop_timer timer;
    struct loop *loop;
};
static void stop_timer(struct loop_timer *t) {
    loop_stop(CONTAINER_OF(t, struct stopper, timer)->loop);
}

static void run_for(struct loop *l, uint64_t ms) {
    struct stopper s = {.timer.fire = stop_timer, .loop = l};
    loop_timer_start(l, &s.timer, ms);
    loop_run(l);
    loop_timer_stop(&s.timer);
}

static void timers_fire_in_order(void **state) {
    struct loop *l = *state;
    struct timers *all = NEW(struct timers);
    unsigned seed = 7;
    for (int i = 0; i < TIMERS; i++) {
        all->cases[i] = (struct timer_case){.timer.fire = note_timer, .all = all};
        loop_timer_start(l, &all->cases[i].timer, (uint64_t)(rand_r(&seed) % 20));
    }
    for (int i = 0; i < TIMERS; i++) {
        if (i % 3 == 0) loop_timer_stop(&all->cases[i].timer);
        if (i % 3 == 1) loop_timer_start(l, &all->cases[i].timer, (uint64_t)(rand_r(&seed) % 20));
        all->expected += i % 3 != 0;
    }
    run_for(l, 25);
    assert_int_equal(all->fired, all->expected);
    mem_free(all);
}

static void timer_is_never_early(void **state) {
    struct loop *l = *state;
    usleep(5000); /* now_ms is stale here */
    uint64_t before = clock_mono_ms();
    run_for(l, 10);
    assert_true(clock_mono_ms() >= before + 10);
}

struct again {
    struct loop_timer timer;
    struct loop_hook hook;
    struct loop *loop;
    int left, turns;
};

static uint64_t count_turn(struct loop_hook *h) {
    CONTAINER_OF(h, struct again, hook)->turns++;
    return UINT64_MAX;
}

static void fire_again(struct loop_timer *t) {
    struct again *a = CONTAINER_OF(t, struct again, timer);
    if (--a->left > 0) {
        loop_timer_start(a->loop, t, 0);
    } else {
        loop_stop(a->loop);
    }
}

static uint64_t frozen(void) {
    return 1000000;
}

/* With the clock standing still a timer that restarts itself is due for ever, yet each turn must end. */
static void self_restart_does_not_hold_the_loop(void **state) {
    (void)state;
    clock_set_mono_source(frozen);
    struct loop *l = loop_new();
    struct again a = {.timer.fire = fire_again, .hook.run = count_turn, .loop = l, .left = 1000};
    loop_hook_add(l, &a.hook);
    loop_timer_start(l, &a.timer, 0);
    loop_run(l);
    assert_int_equal(a.left, 0);
    assert_int_equal(a.turns, 1000); /* the others had their chance each time */
    loop_hook_del(&a.hook);
    loop_free(&l);
    clock_set_mono_source(NULL);
}

static void free_leaves_timers_idle(void **state) {
    (void)state;
    struct loop *l = loop_new();
    struct loop_timer t = {.fire = never};
    loop_timer_start(l, &t, 1000);
    loop_free(&l);
    assert_null(t.loop);
    loop_timer_stop(&t);
}

/* Descriptors */

struct end {
    struct loop_watch watch;
    struct loop *loop;
    struct end **other; /* unwatched and freed by whoever is first */
    uint32_t seen;
    int calls;
};

static void kill_other(struct loop_watch *w, uint32_t events) {
    struct end *e = CONTAINER_OF(w, struct end, watch);
    (void)events;
    e->calls++;
    struct loop *l = e->loop;
    if (*e->other) {
        loop_unwatch(&(*e->other)->watch);
        mem_free(*e->other);
        *e->other = NULL;
    }
    loop_stop(l);
}

/* Both are ready in one batch; whichever comes first frees the other. */
static void freed_watch_of_the_batch_is_not_touched(void **state) {
    struct loop *l = *state;
    int a[2], b[2];
    assert_int_equal(pipe(a), 0);
    assert_int_equal(pipe(b), 0);
    struct end *ends[2] = {NEW(struct end), NEW(struct end)};
    for (int i = 0; i < 2; i++) {
        *ends[i] = (struct end){.watch = {.fd = i ? b[0] : a[0], .events = LOOP_READ, .ready = kill_other},
                                .loop = l,
                                .other = &ends[1 - i]};
        loop_watch(l, &ends[i]->watch);
    }
    assert_int_equal(write(a[1], "x", 1), 1);
    assert_int_equal(write(b[1], "x", 1), 1);
    loop_run(l);
    assert_true(!ends[0] != !ends[1]);
    struct end *left = ends[0] ? ends[0] : ends[1];
    assert_int_equal(left->calls, 1);
    loop_unwatch(&left->watch);
    loop_unwatch(&left->watch);
    mem_free(left);
    for (int i = 0; i < 2; i++) {
        close(a[i]);
        close(b[i]);
    }
}

static void note_events(struct loop_watch *w, uint32_t events) {
    struct end *e = CONTAINER_OF(w, struct end, watch);
    e->seen |= events;
    e->calls++;
    loop_stop(e->loop);
}

static void events_and_hang_up(void **state) {
    struct loop *l = *state;
    int s[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
    struct end e = {.watch = {.fd = s[0], .events = LOOP_WRITE, .ready = note_events}, .loop = l};
    loop_watch(l, &e.watch);
    loop_run(l);
    assert_int_equal(e.seen, LOOP_WRITE);
    loop_watch_events(&e.watch, LOOP_READ);
    e.seen = 0;
    e.calls = 0;
    run_for(l, 3);
    assert_int_equal(e.calls, 0);
    assert_int_equal(write(s[1], "x", 1), 1);
    loop_run(l);
    assert_int_equal(e.seen, LOOP_READ);
    loop_watch_events(&e.watch, 0);
    e.seen = 0;
    close(s[1]);
    loop_run(l);
    assert_int_equal(e.seen, LOOP_ERROR);
    loop_unwatch(&e.watch);
    assert_null(e.watch.loop);
    close(s[0]);
}

/* Hooks */

struct hook_case {
    struct loop_hook hook;
    struct loop *loop;
    struct hook_case *victim;
    int id, runs;
    int *order, *at;
};
static uint64_t run_hook(struct loop_hook *h) {
    struct hook_case *c = CONTAINER_OF(h, struct hook_case, hook);
    c->order[(*c->at)++] = c->id;
    c->runs++;
    if (c->victim) loop_hook_del(&c->victim->hook);
    loop_stop(c->loop);
    return 0;
}

static void hooks_run_in_order_and_may_be_removed(void **state) {
    struct loop *l = *state;
    int order[16], at = 0;
    struct hook_case c[4];
    for (int i = 0; i < 4; i++) {
        c[i] = (struct hook_case){.hook.run = run_hook, .loop = l, .id = i, .order = order, .at = &at};
    }
    loop_hook_add(l, &c[1].hook);
    loop_hook_add(l, &c[2].hook);
    loop_hook_add(l, &c[3].hook);
    loop_hook_add_first(l, &c[0].hook);
    loop_run(l);
    assert_int_equal(at, 4);
    for (int i = 0; i < 4; i++) assert_int_equal(order[i], i);
    c[1].victim = &c[1]; /* itself */
    c[2].victim = &c[3]; /* the next one */
    loop_run(l);
    assert_int_equal(at, 7);
    loop_run(l);
    assert_int_equal(c[0].runs, 3);
    assert_int_equal(c[1].runs, 2);
    assert_int_equal(c[2].runs, 3);
    assert_int_equal(c[3].runs, 1);
    loop_hook_del(&c[0].hook);
    loop_hook_del(&c[2].hook);
    loop_hook_del(&c[2].hook);
}

struct again_hook {
    struct loop_hook hook;
    struct loop *loop;
    int turns;
};
static uint64_t ask_again(struct loop_hook *h) {
    struct again_hook *a = CONTAINER_OF(h, struct again_hook, hook);
    if (++a->turns < 3) {
        loop_again(a->loop);
    } else {
        loop_stop(a->loop);
    }
    return UINT64_MAX;
}

static void again_makes_a_turn_at_once(void **state) {
    struct loop *l = *state;
    struct again_hook a = {.hook.run = ask_again, .loop = l};
    loop_hook_add(l, &a.hook);
    alarm(5); /* a loop that sleeps here never wakes */
    loop_run(l);
    alarm(0);
    assert_int_equal(a.turns, 3);
    loop_hook_del(&a.hook);
}

/* Tasks */

enum { THREADS = 4, TASKS = 2000 };
struct task_case {
    struct loop_task task;
    struct tasks *all;
    int thread, number;
};
struct tasks {
    struct loop *loop;
    struct task_case cases[THREADS][TASKS];
    int next[THREADS];
    int ran;
};

static void run_task(struct loop_task *t) {
    struct task_case *c = CONTAINER_OF(t, struct task_case, task);
    assert_int_equal(c->number, c->all->next[c->thread]++);
    if (++c->all->ran == THREADS * TASKS) loop_stop(c->all->loop);
}

static void *post_all(void *arg) {
    struct task_case *mine = arg;
    for (int i = 0; i < TASKS; i++) loop_post(mine->all->loop, &mine[i].task);
    return NULL;
}

static void tasks_of_threads_run_in_order(void **state) {
    struct loop *l = *state;
    struct tasks *all = NEW(struct tasks);
    all->loop = l;
    pthread_t threads[THREADS];
    for (int t = 0; t < THREADS; t++) {
        for (int i = 0; i < TASKS; i++) {
            all->cases[t][i] = (struct task_case){.task.run = run_task, .all = all, .thread = t, .number = i};
        }
        assert_int_equal(pthread_create(&threads[t], NULL, post_all, all->cases[t]), 0);
    }
    loop_run(l);
    for (int t = 0; t < THREADS; t++) pthread_join(threads[t], NULL);
    assert_int_equal(all->ran, THREADS * TASKS);
    mem_free(all);
}

static void *stop_later(void *arg) {
    usleep(3000);
    loop_stop(arg);
    return NULL;
}

static void stop_from_a_thread(void **state) {
    struct loop *l = *state;
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, stop_later, l), 0);
    alarm(5);
    loop_run(l);
    alarm(0);
    pthread_join(t, NULL);
    loop_stop(l);
    loop_run(l); /* returns at once */
}

/* Signals */

static struct loop *loop_of_handler;
static void handler(int signo) {
    (void)signo;
    loop_stop(loop_of_handler);
}

static void *kill_later(void *arg) {
    usleep(3000);
    pthread_kill(*(pthread_t *)arg, SIGUSR1);
    return NULL;
}

static void stop_from_a_signal_handler(void **state) {
    loop_of_handler = *state;
    struct sigaction a = {.sa_handler = handler}, old;
    sigaction(SIGUSR1, &a, &old);
    pthread_t t, self = pthread_self();
    assert_int_equal(pthread_create(&t, NULL, kill_later, &self), 0);
    alarm(5);
    loop_run(*state);
    alarm(0);
    pthread_join(t, NULL);
    sigaction(SIGUSR1, &old, NULL);
}

struct seen_signals {
    struct loop *loop;
    int hup, term;
};
static void on_signal(void *ctx, int signo) {
    struct seen_signals *s = ctx;
    if (signo == SIGHUP) s->hup++;
    if (signo == SIGTERM) s->term++;
    if (s->hup && s->term) loop_stop(s->loop);
}

static void signals_are_callbacks(void **state) {
    struct seen_signals s = {.loop = *state};
    loop_on_signal(*state, SIGHUP, on_signal, &s);
    loop_on_signal(*state, SIGTERM, on_signal, &s);
    kill(getpid(), SIGHUP);
    kill(getpid(), SIGTERM);
    loop_run(*state);
    assert_int_equal(s.hup, 1);
    assert_int_equal(s.term, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(timers_fire_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(timer_is_never_early, setup, teardown),
        cmocka_unit_test(self_restart_does_not_hold_the_loop),
        cmocka_unit_test(free_leaves_timers_idle),
        cmocka_unit_test_setup_teardown(freed_watch_of_the_batch_is_not_touched, setup, teardown),
        cmocka_unit_test_setup_teardown(events_and_hang_up, setup, teardown),
        cmocka_unit_test_setup_teardown(hooks_run_in_order_and_may_be_removed, setup, teardown),
        cmocka_unit_test_setup_teardown(again_makes_a_turn_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(tasks_of_threads_run_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(stop_from_a_thread, setup, teardown),
        cmocka_unit_test_setup_teardown(stop_from_a_signal_handler, setup, teardown),
        cmocka_unit_test_setup_teardown(signals_are_callbacks, setup, teardown),
    };
    return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
