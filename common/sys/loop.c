/*
 * Event loop on epoll, with a binary heap of timers and a lock-free list of posted tasks.
 *
 *   one turn:  hooks -> epoll_wait -> ready descriptors -> due timers -> posted tasks
 *
 * Invariants
 * - A callback may unwatch and free any watch: the rest of the batch is searched and its event taken out, so a freed
 *   watch is never touched. The search costs at most BATCH comparisons and happens only inside a batch.
 * - heap[t->heap_index] == t for every armed timer. One pass fires at most as many timers as were armed when it began,
 *   so a timer that restarts itself with delay 0 cannot hold up the loop.
 * - Posted tasks are pushed onto an atomic stack; only the push onto an empty stack writes the eventfd. The loop takes
 *   the stack as a whole and reverses it, which gives the order of posting.
 * - loop_stop is one atomic store and one write(2): safe in a signal handler.
 *
 * It does not own descriptors, does not spread work over threads, and knows nothing of the protocols above it.
 */
#include "common/sys/loop.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/mem.h"

enum { BATCH = 256, SIGNALS = 65 };

struct signal_handler {
    void (*fn)(void *ctx, int signo);
    void *ctx;
};

struct loop {
    int epoll_fd;
    int event_fd;
    int signal_fd; /* -1 until the first loop_on_signal */
    atomic_bool stop;
    bool again;
    uint64_t now_ms;

    struct epoll_event batch[BATCH];
    int batch_len, batch_at; /* batch_at < batch_len only while callbacks of a batch run */

    struct loop_timer **heap; /* (own) the array; timers (ref: their owners) */
    uint32_t timers, heap_cap;

    struct list hooks;
    _Atomic(struct loop_task *) tasks; /* newest first */

    struct loop_watch event_watch;
    struct loop_watch signal_watch;
    sigset_t signals;
    struct signal_handler handlers[SIGNALS];
};

static _Noreturn void die(const char *what) {
    fprintf(stderr, "loop: %s: %s\n", what, strerror(errno));
    abort();
}

static void wake(struct loop *l) {
    uint64_t one = 1;
    ssize_t written = write(l->event_fd, &one, sizeof one);
    (void)written; /* EAGAIN means that it is readable already */
}

static void event_ready(struct loop_watch *w, uint32_t events) {
    (void)events;
    uint64_t count;
    ssize_t got = read(w->fd, &count, sizeof count);
    (void)got;
}

struct loop *loop_new(void) {
    struct loop *l = NEW(struct loop);
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (l->epoll_fd < 0) die("epoll_create1");
    l->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (l->event_fd < 0) die("eventfd");
    l->signal_fd = -1;
    l->now_ms = clock_mono_ms();
    list_init(&l->hooks);
    sigemptyset(&l->signals);
    l->event_watch = (struct loop_watch){.fd = l->event_fd, .events = LOOP_READ, .ready = event_ready};
    loop_watch(l, &l->event_watch);
    return l;
}

void loop_free(struct loop **lp) {
    struct loop *l = *lp;
    if (!l) return;
    *lp = NULL;
    for (uint32_t i = 0; i < l->timers; i++) l->heap[i]->loop = NULL;
    mem_free(l->heap);
    if (l->signal_fd >= 0) close(l->signal_fd);
    close(l->event_fd);
    close(l->epoll_fd);
    mem_free(l);
}

uint64_t loop_now_ms(const struct loop *l) {
    return l->now_ms;
}

void loop_stop(struct loop *l) {
    int saved = errno;
    atomic_store(&l->stop, true);
    wake(l);
    errno = saved;
}

void loop_again(struct loop *l) {
    l->again = true;
}

/* Descriptors */

static uint32_t to_epoll(uint32_t events) {
    return (events & LOOP_READ ? (uint32_t)EPOLLIN : 0) | (events & LOOP_WRITE ? (uint32_t)EPOLLOUT : 0);
}

static uint32_t from_epoll(uint32_t events) {
    return (events & EPOLLIN ? LOOP_READ : 0) | (events & EPOLLOUT ? LOOP_WRITE : 0) |
           (events & (EPOLLERR | EPOLLHUP) ? LOOP_ERROR : 0);
}

void loop_watch(struct loop *l, struct loop_watch *w) {
    struct epoll_event e = {.events = to_epoll(w->events), .data.ptr = w};
    if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, w->fd, &e) < 0) die("epoll_ctl add");
    w->loop = l;
}

void loop_watch_events(struct loop_watch *w, uint32_t events) {
    if (w->events == events) return;
    w->events = events;
    struct epoll_event e = {.events = to_epoll(events), .data.ptr = w};
    if (epoll_ctl(w->loop->epoll_fd, EPOLL_CTL_MOD, w->fd, &e) < 0) die("epoll_ctl mod");
}

void loop_unwatch(struct loop_watch *w) {
    struct loop *l = w->loop;
    if (!l) return;
    w->loop = NULL;
    /* Fails when a client library has closed the descriptor already, and then there is nothing to remove. */
    epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
    for (int i = l->batch_at; i < l->batch_len; i++) {
        if (l->batch[i].data.ptr == w) l->batch[i].data.ptr = NULL;
    }
}

static void run_ready(struct loop *l, int count) {
    l->batch_len = count;
    for (l->batch_at = 0; l->batch_at < l->batch_len;) {
        struct epoll_event *e = &l->batch[l->batch_at++];
        struct loop_watch *w = e->data.ptr;
        if (!w) continue;
        uint32_t events =
            from_epoll(e->events) & (w->events | LOOP_ERROR); /* an earlier callback may have changed it */
        if (events) w->ready(w, events);
    }
    l->batch_len = l->batch_at = 0;
}

/* Timers */

static void heap_set(struct loop *l, uint32_t i, struct loop_timer *t) {
    l->heap[i] = t;
    t->heap_index = i;
}

static void heap_up(struct loop *l, uint32_t i) {
    struct loop_timer *t = l->heap[i];
    while (i > 0) {
        uint32_t parent = (i - 1) / 2;
        if (l->heap[parent]->due_ms <= t->due_ms) break;
        heap_set(l, i, l->heap[parent]);
        i = parent;
    }
    heap_set(l, i, t);
}

static void heap_down(struct loop *l, uint32_t i) {
    struct loop_timer *t = l->heap[i];
    for (;;) {
        uint32_t child = 2 * i + 1;
        if (child >= l->timers) break;
        if (child + 1 < l->timers && l->heap[child + 1]->due_ms < l->heap[child]->due_ms) child++;
        if (t->due_ms <= l->heap[child]->due_ms) break;
        heap_set(l, i, l->heap[child]);
        i = child;
    }
    heap_set(l, i, t);
}

void loop_timer_start(struct loop *l, struct loop_timer *t, uint64_t delay_ms) {
    /* The clock itself, not now_ms: a long callback must not make its timers fire early. */
    uint64_t now = clock_mono_ms();
    uint64_t due = delay_ms > UINT64_MAX - now ? UINT64_MAX : now + delay_ms;
    if (t->loop) {
        t->due_ms = due;
        heap_up(l, t->heap_index);
        heap_down(l, t->heap_index);
        return;
    }
    if (l->timers == l->heap_cap) {
        l->heap_cap = l->heap_cap ? l->heap_cap * 2 : 64;
        l->heap = mem_grow(l->heap, l->heap_cap, sizeof(struct loop_timer *));
    }
    t->loop = l;
    t->due_ms = due;
    l->heap[l->timers] = t;
    heap_up(l, l->timers++);
}

void loop_timer_stop(struct loop_timer *t) {
    struct loop *l = t->loop;
    if (!l) return;
    t->loop = NULL;
    uint32_t i = t->heap_index;
    struct loop_timer *last = l->heap[--l->timers];
    if (last == t) return;
    heap_set(l, i, last);
    heap_up(l, i);
    heap_down(l, last->heap_index);
}

static void run_timers(struct loop *l) {
    for (uint32_t left = l->timers; left > 0 && l->timers > 0; left--) {
        struct loop_timer *t = l->heap[0];
        if (t->due_ms > l->now_ms) return;
        loop_timer_stop(t);
        t->fire(t);
    }
}

/* Hooks */

void loop_hook_add(struct loop *l, struct loop_hook *h) {
    list_add_tail(&l->hooks, &h->link);
}

void loop_hook_add_first(struct loop *l, struct loop_hook *h) {
    list_add_head(&l->hooks, &h->link);
}

void loop_hook_del(struct loop_hook *h) {
    list_del(&h->link);
}

/* A bookmark keeps the place behind the running hook, which may remove any hook, itself too. */
static uint64_t run_hooks(struct loop *l) {
    uint64_t wait = UINT64_MAX;
    struct list bookmark;
    for (struct list *n = l->hooks.next; n != &l->hooks;) {
        struct loop_hook *h = CONTAINER_OF(n, struct loop_hook, link);
        list_add_head(n, &bookmark);
        uint64_t longest = h->run(h);
        if (longest < wait) wait = longest;
        n = bookmark.next;
        list_del(&bookmark);
    }
    return wait;
}

/* Tasks */

void loop_post(struct loop *l, struct loop_task *t) {
    struct loop_task *head = atomic_load_explicit(&l->tasks, memory_order_relaxed);
    do {
        t->next = head;
    } while (!atomic_compare_exchange_weak_explicit(&l->tasks, &head, t, memory_order_release, memory_order_relaxed));
    /* From here on t may have run and be freed. The loop that took the stack whole gets its next wake from its next
     * first. */
    if (!head) wake(l);
}

static void run_tasks(struct loop *l) {
    if (!atomic_load_explicit(&l->tasks, memory_order_relaxed)) return;
    struct loop_task *newest = atomic_exchange_explicit(&l->tasks, NULL, memory_order_acquire);
    struct loop_task *oldest = NULL;
    while (newest) {
        struct loop_task *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest) {
        struct loop_task *t = oldest;
        oldest = t->next; /* t may be gone or posted again after run */
        t->run(t);
    }
}

/* Signals */

static void signal_ready(struct loop_watch *w, uint32_t events) {
    (void)events;
    struct loop *l = CONTAINER_OF(w, struct loop, signal_watch);
    struct signalfd_siginfo info;
    while (read(w->fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo >= SIGNALS) continue;
        struct signal_handler *h = &l->handlers[info.ssi_signo];
        if (h->fn) h->fn(h->ctx, (int)info.ssi_signo);
    }
}

void loop_on_signal(struct loop *l, int signo, void (*fn)(void *ctx, int signo), void *ctx) {
    l->handlers[signo] = (struct signal_handler){fn, ctx};
    sigaddset(&l->signals, signo);
    int e = pthread_sigmask(SIG_BLOCK, &l->signals, NULL);
    if (e) {
        errno = e;
        die("pthread_sigmask");
    }
    int fd = signalfd(l->signal_fd, &l->signals, SFD_NONBLOCK | SFD_CLOEXEC);
    if (fd < 0) die("signalfd");
    if (l->signal_fd >= 0) return;
    l->signal_fd = fd;
    l->signal_watch = (struct loop_watch){.fd = fd, .events = LOOP_READ, .ready = signal_ready};
    loop_watch(l, &l->signal_watch);
}

/* The turn */

static int wait_ms(struct loop *l, uint64_t wait) {
    if (l->again || atomic_load_explicit(&l->tasks, memory_order_relaxed)) return 0;
    if (l->timers > 0) {
        uint64_t now = clock_mono_ms();
        uint64_t due = l->heap[0]->due_ms;
        uint64_t until = due > now ? due - now : 0;
        if (until < wait) wait = until;
    }
    if (wait == UINT64_MAX) return -1;
    return wait > INT_MAX ? INT_MAX : (int)wait;
}

void loop_run(struct loop *l) {
    while (!atomic_exchange(&l->stop, false)) {
        l->again = false;
        uint64_t wait = run_hooks(l);
        int count = epoll_wait(l->epoll_fd, l->batch, BATCH, wait_ms(l, wait));
        if (count < 0 && errno != EINTR) die("epoll_wait");
        l->now_ms = clock_mono_ms();
        if (count > 0) run_ready(l, count);
        run_timers(l);
        run_tasks(l);
    }
}
