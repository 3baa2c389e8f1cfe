/* The decisions of node health: pure functions of events and the time. Private to health*.c and the test. */
#ifndef STORE_HEALTH_JUDGE_H
#define STORE_HEALTH_JUDGE_H

#include <stdbool.h>
#include <stdint.h>

#define HEALTH_AGAIN_MS   (10 * 60 * 1000) /* ejected again within this time: it waits twice as long */
#define HEALTH_MOST_TIMES 10               /* the longest wait, in readmit_after_ms */

struct health_limits {
    uint64_t fail_after_ms, readmit_after_ms;
};

enum health_action { HEALTH_NOTHING, HEALTH_EJECT, HEALTH_READMIT };

struct health_judge {
    bool ejected;
    bool suspected;            /* active, but an operation failed and no probe was answered since */
    bool answering;            /* ejected, but every probe since since_ms was answered */
    bool deciding;             /* the last action is on its way */
    bool ever;                 /* was ejected before, at ejected_ms */
    uint64_t since_ms;         /* of suspected or answering */
    uint64_t ejected_ms;       /* when it was last seen to become ejected */
    uint64_t readmit_delay_ms; /* how long it must answer */
};

/* The placement table as this daemon sees it. */
void health_judge_state(struct health_judge *j, const struct health_limits *limits, uint64_t now_ms, bool ejected);
/* An operation failed. */
void health_judge_report(struct health_judge *j, uint64_t now_ms);
/* A probe was answered well and in time, or was not. */
void health_judge_probe(struct health_judge *j, uint64_t now_ms, bool good);
/* What is to be done now; the caller sets deciding while it does so. */
enum health_action health_judge_action(const struct health_judge *j, const struct health_limits *limits,
                                       uint64_t now_ms, bool keeper);

#endif
