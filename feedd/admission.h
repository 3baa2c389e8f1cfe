/*
 * Admission to the heavy pool: at most `limit` statements at once, a bounded number waits in order of arrival, none
 * longer than it says. One a worker, one thread. Rebuilds and deep pages go through the same one, so together they stay
 * inside the bound.
 */
#ifndef FEEDD_ADMISSION_H
#define FEEDD_ADMISSION_H

#include <stdbool.h>

#include "common/base/err.h"
#include "common/base/list.h"
#include "common/sys/loop.h"

struct admission {
    struct loop *loop; /* (ref) */
    unsigned limit;
    unsigned running;
    unsigned max_waiting;
    unsigned waiting_count;
    struct list waiting; /* tickets, oldest first */
    bool closed;
};

/* Embedded by who asks; stays where it is until it was let in or turned away. */
struct admission_ticket {
    /* ERR_OK: let in, a leave is owed. ERR_BUSY: waited too long. ERR_CANCELED: closed. From the loop, after
     * admission_enter. */
    void (*called)(struct admission_ticket *t, enum err err);
    struct admission *admission;
    struct list link;
    struct loop_timer timer;
};

enum admission_answer { ADMISSION_IN, ADMISSION_WAITS, ADMISSION_FULL };

void admission_init(struct admission *a, struct loop *loop, unsigned limit, unsigned max_waiting);
/* IN: let in at once. WAITS: t->called follows. FULL: too many wait, or closed. */
enum admission_answer admission_enter(struct admission *a, struct admission_ticket *t, uint64_t wait_ms);
/* The statement has ended: lets the next one in (its called runs inside). */
void admission_leave(struct admission *a);
/* Lets nobody in any more; who waits is called with ERR_CANCELED. */
void admission_close(struct admission *a);

#endif
