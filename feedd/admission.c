/*
 * Admission to the heavy pool: a counter and a queue.
 *
 *   enter --running < limit--> in --leave--> the oldest ticket that waits is called, or the place is free
 *         --else, room------> waiting --its time is up--> called with ERR_BUSY
 *         --else------------> full
 *
 * Invariant: while anybody waits, running == limit. It knows nothing of what is done with a place.
 */
#include "feedd/admission.h"

#include "common/base/mem.h"

void admission_init(struct admission *a, struct loop *loop, unsigned limit, unsigned max_waiting) {
    *a = (struct admission){.loop = loop, .limit = limit, .max_waiting = max_waiting};
    list_init(&a->waiting);
}

static void call(struct admission_ticket *t, enum err err) {
    list_del(&t->link);
    loop_timer_stop(&t->timer);
    t->admission->waiting_count--;
    t->called(t, err);
}

static void waited_too_long(struct loop_timer *timer) {
    call(CONTAINER_OF(timer, struct admission_ticket, timer), ERR_BUSY);
}

enum admission_answer admission_enter(struct admission *a, struct admission_ticket *t, uint64_t wait_ms) {
    if (a->closed) return ADMISSION_FULL;
    if (a->running < a->limit) {
        a->running++;
        return ADMISSION_IN;
    }
    if (a->waiting_count >= a->max_waiting || wait_ms == 0) return ADMISSION_FULL;
    t->admission = a;
    t->timer = (struct loop_timer){.fire = waited_too_long};
    a->waiting_count++;
    list_add_tail(&a->waiting, &t->link);
    loop_timer_start(a->loop, &t->timer, wait_ms);
    return ADMISSION_WAITS;
}

static struct admission_ticket *oldest(struct admission *a) {
    return list_empty(&a->waiting) ? NULL : CONTAINER_OF(a->waiting.next, struct admission_ticket, link);
}

void admission_leave(struct admission *a) {
    struct admission_ticket *t = oldest(a);
    if (t)
        call(t, ERR_OK); /* the place changes hands: running stays as it is */
    else
        a->running--;
}

void admission_close(struct admission *a) {
    a->closed = true;
    for (struct admission_ticket *t; (t = oldest(a));) call(t, ERR_CANCELED);
}
