/*
 * Schedule of one worker. See the header for the states and the rule of fairness.
 *
 * Invariants: a job is on exactly one list, or in a round; one post has one job. A job's size is not known before its
 * first slice was read, so the number of small jobs a round takes is the budget divided by what recent first slices
 * had.
 */
#include "fanoutd/schedule.h"

#include <string.h>

#include "common/base/mem.h"

#define REST_FIRST_MS     20
#define REST_LAST_MS      2000
#define EXPECTED_AT_START 200.0
#define EXPECTED_WEIGHT   (1.0 / 32)

void schedule_init(struct schedule *s, const struct schedule_options *options) {
    *s = (struct schedule){.o = *options, .expected = EXPECTED_AT_START};
    list_init(&s->small);
    list_init(&s->huge);
    list_init(&s->resting);
}

void schedule_fini(struct schedule *s) {
    struct map_entry *e;
    for (size_t i = 0; (e = map_next(&s->jobs, &i));) mem_free(e->value);
    map_fini(&s->jobs);
}

static struct held_job *job_of(struct list *link) {
    return CONTAINER_OF(link, struct held_job, link);
}

static void enqueue(struct schedule *s, struct held_job *j, bool front) {
    struct list *to = j->huge ? &s->huge : &s->small;
    if (!j->huge) s->small_count++;
    if (front) {
        list_add_head(to, &j->link);
    } else {
        list_add_tail(to, &j->link);
    }
}

enum schedule_added schedule_add(struct schedule *s, const struct queue_item *item) {
    struct held_job *j = map_get(&s->jobs, item->job.post_id);
    if (j) return strcmp(j->item.id, item->id) == 0 ? SCHEDULE_KNOWN : SCHEDULE_DUPLICATE;
    j = NEW(struct held_job);
    j->item = *item;
    map_put(&s->jobs, item->job.post_id, j);
    enqueue(s, j, false);
    return SCHEDULE_ADDED;
}

/* Those that have rested go to the front of where they came from: they were there before the others. */
static void wake(struct schedule *s, uint64_t now_ms) {
    for (struct list *at = s->resting.next, *next; at != &s->resting; at = next) {
        next = at->next;
        struct held_job *j = job_of(at);
        if (j->due_ms > now_ms) continue;
        list_del(at);
        enqueue(s, j, true);
    }
}

size_t schedule_pick(struct schedule *s, uint64_t now_ms, struct held_job **ret) {
    wake(s, now_ms);
    double fits = (double)s->o.batch_followers / (s->expected < 1 ? 1 : s->expected);
    size_t small_max = fits >= s->o.batch_jobs ? s->o.batch_jobs : fits < 1 ? 1 : (size_t)fits;
    size_t n = 0;
    while (n < small_max && !list_empty(&s->small)) {
        ret[n++] = job_of(list_pop(&s->small));
        s->small_count--;
    }
    for (unsigned i = 0; i < s->o.huge_slices && !list_empty(&s->huge); i++) ret[n++] = job_of(list_pop(&s->huge));
    for (size_t i = 0; i < n; i++) ret[i]->in_round = true;
    return n;
}

void schedule_done(struct schedule *s, struct held_job *j) {
    list_del(&j->link);
    map_del(&s->jobs, j->item.job.post_id);
    mem_free(j);
}

void schedule_continue(struct schedule *s, struct held_job *j) {
    j->in_round = false;
    j->failures = 0;
    j->huge = true;
    enqueue(s, j, false);
}

void schedule_retry(struct schedule *s, struct held_job *j, uint64_t now_ms) {
    uint64_t rest = (uint64_t)REST_FIRST_MS << (j->failures < 7 ? j->failures : 7);
    j->in_round = false;
    j->failures++;
    j->due_ms = now_ms + (rest < REST_LAST_MS ? rest : REST_LAST_MS);
    list_add_tail(&s->resting, &j->link);
}

void schedule_redo(struct schedule *s, struct held_job *j) {
    j->in_round = false;
    enqueue(s, j, true);
}

void schedule_learn(struct schedule *s, size_t followers) {
    s->expected += ((double)followers - s->expected) * EXPECTED_WEIGHT;
}

unsigned schedule_wants(const struct schedule *s) {
    size_t held = schedule_held(s), enough = 2 * (size_t)s->o.batch_jobs;
    if (held >= s->o.held_max || s->small_count >= enough) return 0;
    size_t wants = enough - s->small_count, room = s->o.held_max - held;
    return (unsigned)(wants < room ? wants : room);
}

uint64_t schedule_next_due(const struct schedule *s) {
    uint64_t due = UINT64_MAX;
    for (const struct list *at = s->resting.next; at != &s->resting; at = at->next) {
        const struct held_job *j = CONTAINER_OF(at, const struct held_job, link);
        if (j->due_ms < due) due = j->due_ms;
    }
    return due;
}
