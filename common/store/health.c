/*
 * Node health: gathers reports, asks the nodes in question, and asks placement for what health_judge.c decides.
 *
 *   health_report (any thread) -> a bit a node; the first one wakes the main loop
 *   tick (probe_ms, main loop) -> nodes as in the placement view -> probes of the suspected (and, for the keeper, of
 * the ejected) ones -> judge -> placement_set_state
 *
 * Invariants
 *   - A bit is set from a report until the suspicion is over, so that a flood of failures costs an atomic load each.
 *   - What outlives a call (a posted wake-up, a change on its way) is an object of its own that may find health gone.
 */
#include "common/store/health.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/store/health_judge.h"
#include "common/store/health_probe.h"

#define NODE_IDS   65536
#define GIVE_UP_MS 2000 /* a question without an answer for so long: a new connection */

struct hnode {
    struct list link;
    uint16_t id;
    enum tier tier;
    enum node_kind kind;
    char name[NODE_NAME_MAX], address[NODE_ADDRESS_MAX];
    struct health *health; /* (ref) */
    struct health_judge judge;
    struct health_probe probe;
    bool late; /* the question on its way was counted as not answered */
    bool seen; /* in the view of this tick */
};

/* A change of state on its way. */
struct decision {
    struct list link;
    struct health *health; /* (ref) NULL: gone */
    uint16_t node_id;
    enum health_action action;
};

struct wake {
    struct loop_task task;
    struct health *health; /* (ref) NULL: gone */
};

struct health {
    struct health_options options;
    struct health_limits limits;
    bool keeper;
    struct loop_timer timer;
    struct list nodes;     /* of struct hnode (own) */
    struct list decisions; /* of struct decision (own: their callback) */
    struct wake *wake;     /* (own: its task while posted) */
    atomic_bool posted;
    _Atomic uint64_t suspected[NODE_IDS / 64];
};

static const struct metric_family SUSPICIONS = {"fanfare_node_suspicions_total", METRIC_COUNTER,
                                                "Times a node was probed because an operation on it failed"};
static const struct metric_family EJECTIONS = {"fanfare_node_ejections_total", METRIC_COUNTER,
                                               "Times this daemon had a node ejected"};
static const struct metric_family READMISSIONS = {"fanfare_node_readmissions_total", METRIC_COUNTER,
                                                  "Times this daemon had a node readmitted"};

static void count(const struct hnode *n, const struct metric_family *family) {
    char labels[NODE_NAME_MAX + 64];
    snprintf(labels, sizeof labels, "tier=\"%s\",node=\"%s\"", tier_name(n->tier), n->name);
    metric_add(metrics_child(n->health->options.metrics, family, labels), 1);
}

/* ---- reports ---- */

void health_report(struct health *h, uint16_t node_id, enum err err) {
    if (err == ERR_OK || err == ERR_BUSY || err == ERR_STALE || err == ERR_CANCELED) return; /* not the node's doing */
    _Atomic uint64_t *word = &h->suspected[node_id / 64];
    uint64_t bit = (uint64_t)1 << (node_id % 64);
    if (atomic_load_explicit(word, memory_order_relaxed) & bit) return;
    if (atomic_fetch_or_explicit(word, bit, memory_order_acq_rel) & bit) return;
    if (!atomic_exchange(&h->posted, true)) loop_post(h->options.loop, &h->wake->task);
}

static void clear_bit(struct health *h, uint16_t node_id) {
    atomic_fetch_and(&h->suspected[node_id / 64], ~((uint64_t)1 << (node_id % 64)));
}

static bool bit_set(struct health *h, uint16_t node_id) {
    return atomic_load(&h->suspected[node_id / 64]) >> (node_id % 64) & 1;
}

/* ---- probing ---- */

static void judge(struct hnode *n, bool good) {
    health_judge_probe(&n->judge, loop_now_ms(n->health->options.loop), good);
    if (good) clear_bit(n->health, n->id);
}

static void answered(struct health_probe *p, bool good) {
    struct hnode *n = CONTAINER_OF(p, struct hnode, probe);
    bool late = n->late;
    n->late = false;
    if (!late) judge(n, good);
}

static void probe(struct hnode *n) {
    struct health *h = n->health;
    uint64_t now = loop_now_ms(h->options.loop);
    if (!n->judge.suspected && !(h->keeper && n->judge.ejected)) {
        health_probe_close(&n->probe);
        return;
    }
    if (n->probe.asked) {
        uint64_t age = now - n->probe.asked_ms;
        if (age >= h->options.probe_timeout_ms) {
            n->late = true;
            judge(n, false);
        }
        if (age < GIVE_UP_MS) return;
        health_probe_close(&n->probe);
    }
    n->late = false;
    if (!health_probe_ask(&n->probe)) judge(n, false);
}

/* ---- decisions ---- */

static struct hnode *find(struct health *h, uint16_t id) {
    for (struct list *l = h->nodes.next; l != &h->nodes; l = l->next) {
        struct hnode *n = CONTAINER_OF(l, struct hnode, link);
        if (n->id == id) return n;
    }
    return NULL;
}

static void decided(void *ctx, enum err err) {
    struct decision *d = ctx;
    struct health *h = d->health;
    if (h) {
        struct hnode *n = find(h, d->node_id);
        list_del(&d->link);
        if (n) n->judge.deciding = false;
        if (n && err == ERR_OK) count(n, d->action == HEALTH_EJECT ? &EJECTIONS : &READMISSIONS);
    }
    mem_free(d);
}

static void act(struct hnode *n) {
    struct health *h = n->health;
    enum health_action action = health_judge_action(&n->judge, &h->limits, loop_now_ms(h->options.loop), h->keeper);
    if (action == HEALTH_NOTHING) return;
    struct decision *d = NEW(struct decision);
    *d = (struct decision){.health = h, .node_id = n->id, .action = action};
    list_add_tail(&h->decisions, &d->link);
    n->judge.deciding = true;
    bool eject = action == HEALTH_EJECT;
    placement_set_state(h->options.placement, n->id, eject ? NODE_EJECTED : NODE_ACTIVE,
                        eject ? "does not answer" : "answers again", h->options.loop, decided, d);
}

/* ---- nodes ---- */

static void drop(struct hnode *n) {
    list_del(&n->link);
    health_probe_close(&n->probe);
    clear_bit(n->health, n->id);
    mem_free(n);
}

static struct hnode *adopt(struct health *h, enum tier tier, const struct node *node) {
    struct hnode *n = find(h, node->id);
    if (n && n->kind == node->kind && strcmp(n->address, node->address) == 0) return n;
    if (n) drop(n);
    n = NEW(struct hnode);
    n->id = node->id;
    n->tier = tier;
    n->kind = node->kind;
    n->health = h;
    memcpy(n->name, node->name, sizeof n->name);
    memcpy(n->address, node->address, sizeof n->address);
    health_probe_init(&n->probe, h->options.loop, n->kind, n->address, answered);
    list_add_tail(&h->nodes, &n->link);
    return n;
}

static void see(struct health *h, enum tier tier, const struct node *node) {
    if (node->state == NODE_REMOVED) return;
    struct hnode *n = adopt(h, tier, node);
    uint64_t now = loop_now_ms(h->options.loop);
    n->seen = true;
    if (!n->judge.ejected && node->state == NODE_EJECTED) clear_bit(h, n->id);
    health_judge_state(&n->judge, &h->limits, now, node->state == NODE_EJECTED);
    if (n->judge.ejected || n->judge.suspected || !bit_set(h, n->id)) return;
    health_judge_report(&n->judge, now);
    count(n, &SUSPICIONS);
}

/* Nodes as the table has them; without a lease what was known last stands. */
static void see_nodes(struct health *h) {
    const struct placement_view *view = placement_acquire(h->options.placement);
    if (!view) return;
    for (struct list *l = h->nodes.next; l != &h->nodes; l = l->next) CONTAINER_OF(l, struct hnode, link)->seen = false;
    for (int t = 0; t < TIER_COUNT; t++) {
        size_t nodes;
        const struct node *list = placement_nodes(view, (enum tier)t, &nodes);
        for (size_t i = 0; i < nodes; i++) see(h, (enum tier)t, &list[i]);
    }
    placement_release(view);
    for (struct list *l = h->nodes.next, *next; l != &h->nodes; l = next) {
        next = l->next;
        struct hnode *n = CONTAINER_OF(l, struct hnode, link);
        if (!n->seen) drop(n);
    }
}

static void tick(struct loop_timer *t) {
    struct health *h = CONTAINER_OF(t, struct health, timer);
    see_nodes(h);
    for (struct list *l = h->nodes.next; l != &h->nodes; l = l->next) {
        struct hnode *n = CONTAINER_OF(l, struct hnode, link);
        probe(n);
        act(n);
    }
    loop_timer_start(h->options.loop, t, h->options.probe_ms);
}

static void woken(struct loop_task *t) {
    struct wake *w = CONTAINER_OF(t, struct wake, task);
    if (!w->health) {
        mem_free(w);
        return;
    }
    atomic_store(&w->health->posted, false);
    loop_timer_start(w->health->options.loop, &w->health->timer, 0);
}

void health_set_keeper(struct health *h, bool keeper) {
    h->keeper = keeper;
}

struct health *health_new(const struct health_options *options) {
    struct health *h = NEW(struct health);
    h->options = *options;
    h->limits = (struct health_limits){options->fail_after_ms, options->readmit_after_ms};
    h->timer.fire = tick;
    list_init(&h->nodes);
    list_init(&h->decisions);
    h->wake = NEW(struct wake);
    *h->wake = (struct wake){.task = {.run = woken}, .health = h};
    loop_timer_start(options->loop, &h->timer, options->probe_ms);
    return h;
}

void health_free(struct health **health) {
    struct health *h = *health;
    if (!h) return;
    *health = NULL;
    loop_timer_stop(&h->timer);
    while (!list_empty(&h->nodes)) drop(CONTAINER_OF(h->nodes.next, struct hnode, link));
    for (struct list *n; (n = list_pop(&h->decisions));) CONTAINER_OF(n, struct decision, link)->health = NULL;
    if (atomic_load(&h->posted))
        h->wake->health = NULL;
    else
        mem_free(h->wake);
    mem_free(h);
}
