/*
 * Views against a model of how timelines come about: posts are committed in id order and delivered after delays, at the
 * head while they are young, in front of the first smaller id once they are late; the list is trimmed and its mark
 * raised. Whatever part of it is then read, the view must hold every post that it claims to hold.
 *
 * The input only chooses: its bytes seed the generator, so every input is a case.
 */
#include <string.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/domain/id.h"
#include "common/domain/view.h"
#include "tests/fuzz/fuzz.h"

#define POSTS_MAX 60
#define LATENESS  20

struct model {
    uint64_t ids[POSTS_MAX], due[POSTS_MAX]; /* all posts of the feed; when each is delivered */
    size_t posts;
    struct entry list[2 * POSTS_MAX]; /* head first */
    size_t count;
    uint64_t mark;
};

bool fuzz_seed(size_t index, struct buf *to) {
    if (index >= 8) return false;
    buf_add_be64(to, index * 77);
    return true;
}

static void insert(struct model *m, size_t at, uint64_t id) {
    memmove(&m->list[at + 1], &m->list[at], (m->count - at) * sizeof(*m->list));
    m->list[at] = (struct entry){id, 1};
    m->count++;
}

static void deliver(struct model *m, uint64_t id, uint64_t now_ms) {
    size_t at = 0;
    if (now_ms - (id >> 22) >= LATENESS) {
        while (at < m->count && m->list[at].post_id >= id) at++;
    }
    insert(m, at, id);
}

static void trim(struct model *m, size_t cap) {
    while (m->count > cap) {
        uint64_t dropped = m->list[--m->count].post_id;
        if (m->mark <= dropped) m->mark = dropped + 1;
    }
}

static void make(struct model *m, struct rng *r) {
    uint64_t ms = 1000;
    m->posts = rng_below(r, POSTS_MAX);
    for (size_t i = 0; i < m->posts; i++) {
        ms += rng_below(r, 8);
        m->ids[i] = (ms << 22 | (i << 12)) + rng_below(r, 4096); /* of one ms: ascending, as the sequence is */
        m->due[i] = ms + (rng_below(r, 4) ? rng_below(r, LATENESS) : rng_below(r, 5 * LATENESS));
    }
    for (uint64_t now = 1000; now <= ms + 5 * LATENESS; now++) {
        for (size_t i = 0; i < m->posts; i++) {
            if (m->due[i] != now) continue;
            deliver(m, m->ids[i], now);
            if (rng_below(r, 10) == 0) deliver(m, m->ids[i], now); /* retried after a lost answer */
        }
        if (rng_below(r, 40) == 0) trim(m, 1 + rng_below(r, POSTS_MAX));
    }
}

static bool holds(const struct view *v, uint64_t id) {
    for (size_t i = 0; i < v->count; i++) {
        if (v->entries[i].post_id == id) return true;
    }
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct rng r = {hash_bytes(data, size)};
    struct model m = {0};
    make(&m, &r);
    bool whole = rng_below(&r, 3) == 0;
    size_t fetched = whole ? m.count : rng_below(&r, m.count + 1);
    struct timeline_header h = {TIMELINE_COMPLETE, 9, m.mark};
    struct view v = view_make(m.list, fetched, whole, h, h, LATENESS);
    for (size_t i = 0; i < m.posts; i++) {
        if (m.ids[i] >= v.complete_from) FUZZ_CHECK(holds(&v, m.ids[i]));
    }
    for (size_t i = 1; i < v.count; i++) FUZZ_CHECK(v.entries[i - 1].post_id > v.entries[i].post_id);
    if (whole) FUZZ_CHECK(v.complete_from == m.mark);
    if (!whole && fetched) FUZZ_CHECK(v.complete_from < ID_MAX);
    return 0;
}
