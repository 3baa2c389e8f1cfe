/*
 * Redis link: one non-blocking stream connection that comes back by itself. Private to redis.c and redis_pipe.c: what
 * they share is how a connection is made, lost, retried and flushed; what they put on it is theirs.
 *
 *      +--------- delay: 0 or 50 ms .. 1 s, jitter ---------+
 *      v                                                    |
 *   CONNECTING --connected()--> CONNECTED --error, end, redis_link_break--> down()
 *      |                                                    ^
 *      +------ refused, no connection in time: down() ------+
 *
 * The owner embeds it and appends to `out` whenever it likes; the link writes once before each wait of the loop and
 * watches for writability only when the kernel did not take all of it. Belongs to the loop's thread.
 */
#ifndef STORE_REDIS_LINK_H
#define STORE_REDIS_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/sys/loop.h"

struct redis_link;

/* Any of them may call redis_link_break or redis_link_close. */
struct redis_link_ops {
    void (*connected)(struct redis_link *l);
    void (*bytes)(struct redis_link *l, const char *data, size_t len);
    /*
     * The connection, or the attempt, is over; `out` is already empty. True: nothing was owed, connect again at once.
     */
    bool (*down)(struct redis_link *l);
    /* After redis_link_close, when no function of the link is on the stack any more: free the owner now. */
    void (*release)(struct redis_link *l);
};

enum redis_link_state {
    REDIS_LINK_DOWN,
    REDIS_LINK_CONNECTING,
    REDIS_LINK_CONNECTED,
    REDIS_LINK_BROKEN, /* found broken where nobody may be told; down() follows in this turn */
    REDIS_LINK_CLOSED,
};

struct redis_link {
    const struct redis_link_ops *ops;
    struct loop *loop;
    struct loop_watch watch;
    struct loop_hook hook;
    struct loop_timer timer; /* end of a connection attempt, or of the delay before the next */
    struct buf out;          /* (own) the owner appends */
    size_t out_at;           /* written so far */
    char *address;           /* (own) */
    uint64_t connect_timeout_ms;
    enum redis_link_state state;
    unsigned failures; /* since the peer last proved alive */
    unsigned depth;    /* functions of the link on the stack */
};

/* Starts connecting. Calls nothing of ops before it returned. */
void redis_link_open(struct redis_link *l, struct loop *loop, const char *address, uint64_t connect_timeout_ms,
                     const struct redis_link_ops *ops);
/* Closes for good; calls release, at once or when the stack is unwound: touch nothing after it. down is not called. */
void redis_link_close(struct redis_link *l);
/* Drops the connection (protocol error, no answer); calls down; tries again after the delay. */
void redis_link_break(struct redis_link *l);
/* Between hold and unhold the owner's memory stays, whatever callbacks do. */
void redis_link_hold(struct redis_link *l);
void redis_link_unhold(struct redis_link *l);
/* The peer answered: the next loss starts with the shortest delay. */
void redis_link_alive(struct redis_link *l);
/* Connected, or connecting without having failed before: what is put in `out` has a fair chance to be sent. */
bool redis_link_open_for_writes(const struct redis_link *l);

#endif
