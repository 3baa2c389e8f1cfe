/* One node's probe: a socket of its own, one question at a time. Private to health*.c. Loop thread. */
#ifndef STORE_HEALTH_PROBE_H
#define STORE_HEALTH_PROBE_H

#include "common/store/placement.h"

struct health_probe {
    struct loop *loop; /* (ref) */
    enum node_kind kind;
    const char *address; /* (ref: owner) */
    /* An answer came: good when it is the one that a healthy server gives. Not called for what health_probe_ask reports
     * itself. */
    void (*answered)(struct health_probe *p, bool good);
    int fd; /* -1: not connected */
    bool connecting, asked;
    uint64_t asked_ms;
    struct loop_watch watch;
    char answer[64];
    size_t answer_len;
};

void health_probe_init(struct health_probe *p, struct loop *loop, enum node_kind kind, const char *address,
                       void (*answered)(struct health_probe *p, bool good));
/* Asks, connecting first if need be. False: it cannot be asked (that is an answer too). Only while not asked. */
bool health_probe_ask(struct health_probe *p);
void health_probe_close(struct health_probe *p);

#endif
