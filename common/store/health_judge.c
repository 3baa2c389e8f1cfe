/*
 * Decisions about one node.
 *
 *   active --report--> suspected --good probe--> active
 *                          `-- fail_after without one --> EJECT
 *   ejected --good probe--> answering --bad probe--> ejected
 *                          `-- readmit delay --> READMIT (keeper only)
 *
 * The delay doubles for a node that is ejected again soon: one that answers PING but fails under load, or that this
 * keeper reaches and another daemon does not, must not move its keys to and fro for ever.
 */
#include "common/store/health_judge.h"

static uint64_t next_delay(const struct health_judge *j, const struct health_limits *limits, uint64_t now_ms) {
    uint64_t most = limits->readmit_after_ms * HEALTH_MOST_TIMES;
    if (!j->ever || now_ms - j->ejected_ms > HEALTH_AGAIN_MS) return limits->readmit_after_ms;
    uint64_t doubled = j->readmit_delay_ms * 2;
    return doubled < most ? doubled : most;
}

void health_judge_state(struct health_judge *j, const struct health_limits *limits, uint64_t now_ms, bool ejected) {
    if (j->ejected == ejected) return;
    j->ejected = ejected;
    j->suspected = j->answering = false;
    if (!ejected) return;
    j->readmit_delay_ms = next_delay(j, limits, now_ms);
    j->ejected_ms = now_ms;
    j->ever = true;
}

void health_judge_report(struct health_judge *j, uint64_t now_ms) {
    if (j->ejected || j->suspected) return;
    j->suspected = true;
    j->since_ms = now_ms;
}

void health_judge_probe(struct health_judge *j, uint64_t now_ms, bool good) {
    if (!j->ejected) {
        if (good) j->suspected = false;
        return;
    }
    if (good && !j->answering) j->since_ms = now_ms;
    j->answering = good;
}

enum health_action health_judge_action(const struct health_judge *j, const struct health_limits *limits,
                                       uint64_t now_ms, bool keeper) {
    if (j->deciding) return HEALTH_NOTHING;
    if (j->suspected && now_ms - j->since_ms >= limits->fail_after_ms) return HEALTH_EJECT;
    if (j->ejected && keeper && j->answering && now_ms - j->since_ms >= j->readmit_delay_ms) return HEALTH_READMIT;
    return HEALTH_NOTHING;
}
