/*
 * Event loop: epoll, timers, cross-thread tasks. One loop per thread; nothing that runs on it blocks.
 *
 *   one iteration:  run hooks -> epoll_wait(until the next timer) -> ready descriptors -> due timers -> posted tasks
 *
 * Hooks run before each wait: that is where the HTTP server runs its state machines and every backend flushes once what
 * this iteration queued for it. Everything but loop_post and loop_stop belongs to the loop's own thread.
 */
#ifndef SYS_LOOP_H
#define SYS_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/base/list.h"

struct loop;

enum { LOOP_READ = 1, LOOP_WRITE = 2, LOOP_ERROR = 4 }; /* ERROR (and hang-up) is always reported */

struct loop *loop_new(void);     /* aborts when the process has no descriptor left */
void loop_free(struct loop **l); /* after its watches, hooks and tasks are gone; timers left over become idle */
void loop_run(struct loop *l);   /* until loop_stop; may be run again */
void loop_stop(
    struct loop *l); /* any thread, also from a signal handler; before loop_run it makes that return at once */
void loop_again(
    struct loop *l); /* the coming wait does not block: what a hook queued for an earlier hook is taken up at once */
uint64_t loop_now_ms(const struct loop *l); /* monotonic, refreshed once an iteration */

/* Watched descriptor: embed it; the owner keeps the fd and closes it after loop_unwatch. Level-triggered. */
struct loop_watch {
    int fd;
    uint32_t events;
    void (*ready)(struct loop_watch *w, uint32_t events); /* may unwatch and free any watch, its own too */
    struct loop *loop;                                    /* NULL while not watched */
};
void loop_watch(struct loop *l, struct loop_watch *w); /* w->fd, events, ready set by the caller */
void loop_watch_events(struct loop_watch *w, uint32_t events);
void loop_unwatch(struct loop_watch *w); /* no ready callback after this; harmless when not watched */

/* Timer: embed it. Fires once, then is idle; restart it from its own callback for a period. O(log n). */
struct loop_timer {
    void (*fire)(struct loop_timer *t);
    struct loop *loop; /* NULL while idle */
    uint64_t due_ms;
    uint32_t heap_index;
};
void loop_timer_start(struct loop *l, struct loop_timer *t, uint64_t delay_ms); /* t->fire set; restarts when armed */
void loop_timer_stop(struct loop_timer *t);                                     /* harmless when idle */

/* Hook: run once before every wait. Returns the longest time to wait in ms (or UINT64_MAX): 0 asks for an immediate
 * turn. */
struct loop_hook {
    uint64_t (*run)(struct loop_hook *h);
    struct list link;
};
void loop_hook_add(struct loop *l, struct loop_hook *h);
void loop_hook_add_first(struct loop *l, struct loop_hook *h); /* for what makes work for the others: the HTTP server */
void loop_hook_del(struct loop_hook *h);

/* Task: handed to the loop from any thread; run(t) is called once on the loop's thread, in the order of posting. */
struct loop_task {
    void (*run)(struct loop_task *t);
    struct loop_task *next; /* the loop's */
};
void loop_post(struct loop *l, struct loop_task *t);

/* Signals as callbacks on this loop (signalfd; blocks them for the process: call before any thread starts). */
void loop_on_signal(struct loop *l, int signo, void (*fn)(void *ctx, int signo), void *ctx);

#endif
