/* Drives a loop from a test, and plays a client at the level of bytes. */
#ifndef TESTS_UNIT_SYS_PUMP_H
#define TESTS_UNIT_SYS_PUMP_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/sys/loop.h"

struct pump {
    struct loop_timer timer;
    struct loop *loop;
};

static inline void pump_stop(struct loop_timer *t) {
    loop_stop(CONTAINER_OF(t, struct pump, timer)->loop);
}

static inline void pump(struct loop *l, uint64_t ms) {
    struct pump p = {.timer.fire = pump_stop, .loop = l};
    loop_timer_start(l, &p.timer, ms);
    loop_run(l);
    loop_timer_stop(&p.timer);
}

static inline int dial(uint16_t port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (connect(fd, (struct sockaddr *)&in, sizeof in) == 0) return fd;
    close(fd);
    return -1;
}

static inline void say(int fd, const char *text) {
    ssize_t n = send(fd, text, strlen(text), MSG_NOSIGNAL);
    (void)n;
}

enum heard { HEARD_SOME, HEARD_END, HEARD_RESET };

/* Takes what is there. */
static inline enum heard listen_in(int fd, struct buf *to) {
    for (;;) {
        char bytes[4096];
        ssize_t n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (n > 0) {
            buf_add(to, bytes, (size_t)n);
            continue;
        }
        if (n == 0) return HEARD_END;
        return errno == EAGAIN ? HEARD_SOME : HEARD_RESET;
    }
}

/* Runs the loop until `until` was heard (NULL: until the end of the stream); false after ms. */
static inline bool hear(struct loop *l, int fd, struct buf *to, const char *until, uint64_t ms) {
    uint64_t end = clock_mono_ms() + ms;
    for (;;) {
        enum heard h = listen_in(fd, to);
        if (until && to->data && strstr(to->data, until)) return true;
        if (h != HEARD_SOME) return !until;
        if (clock_mono_ms() >= end) return false;
        pump(l, 2);
    }
}

#endif
