/* What the integration tests of the stores share: where the servers are, and turning a loop until something is true. */
#ifndef TESTS_STORE_ENV_H
#define TESTS_STORE_ENV_H

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/sys/loop.h"

static inline const char *env_address(const char *name) {
    const char *value = getenv(name);
    if (value && *value) return value;
    fprintf(stderr, "%s is not set: the address of a server of the test's own (host:port or unix:/path)\n", name);
    exit(1);
}

struct env_turn {
    struct loop_timer timer;
    struct loop *loop;
};

static inline void env_stop(struct loop_timer *t) {
    loop_stop(((struct env_turn *)(void *)t)->loop);
}

/* Runs the loop for about ms milliseconds. */
static inline void env_run(struct loop *loop, uint64_t ms) {
    struct env_turn t = {.timer.fire = env_stop, .loop = loop};
    loop_timer_start(loop, &t.timer, ms);
    loop_run(loop);
}

/* Turns the loop until the expression holds; fails the test after five seconds. */
#define RUN_UNTIL(loop, expression)                                                                                    \
    do {                                                                                                               \
        uint64_t until_ = clock_mono_ms() + 5000;                                                                      \
        while (!(expression)) {                                                                                        \
            env_run((loop), 1);                                                                                        \
            if (clock_mono_ms() > until_) fail_msg("not within 5 s: %s", #expression);                                 \
        }                                                                                                              \
    } while (0)

#endif
