/*
 * Page assembly against a model: whatever slices a feed is cut into, however many posts vanish in hydration, pages read
 * one after another are the feed.
 */
#include "feedd/feed_page.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/domain/id.h"

#define FOLLOWED 7
#define HIDDEN   8
#define MUTED    9
#define STRANGER 10
#define READER   1

static struct buf relations_bytes;
static struct relations gate;

static int set_up(void **state) {
    (void)state;
    unsigned char followees[24], hidden[8], muted[8];
    be64_store(followees, FOLLOWED);
    be64_store(followees + 8, HIDDEN); /* still followed, as in a cached value that is a moment old */
    be64_store(followees + 16, MUTED);
    be64_store(hidden, HIDDEN);
    be64_store(muted, MUTED);
    relations_encode(str_of((char *)followees, 24), str_of((char *)hidden, 8), str_of((char *)muted, 8),
                     &relations_bytes);
    return relations_decode(READER, buf_str(&relations_bytes), &gate) ? -1 : 0;
}

static int tear_down(void **state) {
    (void)state;
    buf_fini(&relations_bytes);
    return 0;
}

static struct hydrated existing(uint64_t id) {
    return (struct hydrated){.exists = true, .post.post_id = id};
}

/* Takes and adds up to max candidates; all exist. */
static size_t serve(struct page *p, size_t max) {
    uint64_t posts[64], authors[64];
    size_t n = page_take(p, posts, authors, max);
    for (size_t i = 0; i < n; i++) {
        struct hydrated h = existing(posts[i]);
        page_add(p, &h, 1);
    }
    return n;
}

static void expect_items(const struct page *p, size_t count, const uint64_t *ids) {
    assert_int_equal(p->count, count);
    for (size_t i = 0; i < count; i++) assert_int_equal(p->items[i].post.post_id, ids[i]);
}

static void gate_and_cursor_decide(void **state) {
    (void)state;
    const struct entry entries[] = {{90, FOLLOWED}, {80, HIDDEN}, {70, MUTED},
                                    {60, STRANGER}, {50, READER}, {40, FOLLOWED}};
    struct hydrated items[10];
    struct page p;
    page_init(&p, &gate, 90, 10, items);
    page_use(&p, &(struct page_slice){entries, 6, 0, true, false});
    assert_int_equal(page_need(&p), PAGE_HYDRATE);
    assert_int_equal(serve(&p, 64), 2);
    assert_int_equal(page_need(&p), PAGE_DONE);
    expect_items(&p, 2, (uint64_t[]){50, 40});
    assert_int_equal(page_next_before(&p), 0);
}

static void a_planted_fault_lets_hidden_pass(void **state) {
    (void)state;
    const struct entry entries[] = {{90, FOLLOWED}, {80, HIDDEN}, {70, MUTED}};
    struct hydrated items[10];
    struct page p;
    page_init(&p, &gate, ID_MAX, 10, items);
    p.ignore_hidden = true;
    page_use(&p, &(struct page_slice){entries, 3, 0, true, false});
    serve(&p, 64);
    expect_items(&p, 2, (uint64_t[]){90, 80});
}

static void nothing_below_complete_from_is_used(void **state) {
    (void)state;
    const struct entry entries[] = {{90, FOLLOWED}, {80, FOLLOWED}, {70, FOLLOWED}, {60, FOLLOWED}};
    struct hydrated items[10];
    struct page p;
    page_init(&p, &gate, ID_MAX, 10, items);
    page_use(&p, &(struct page_slice){entries, 4, 75, false, false});
    assert_int_equal(serve(&p, 64), 2);
    assert_int_equal(page_need(&p), PAGE_WHOLE_LIST);
    assert_int_equal(p.below, 75);
    page_use(&p, &(struct page_slice){entries, 4, 70, true, false});
    assert_int_equal(serve(&p, 64), 1);
    assert_int_equal(page_need(&p), PAGE_DATABASE);
    assert_int_equal(p.below, 70);
    const struct entry deep[] = {{65, FOLLOWED}, {60, FOLLOWED}};
    page_use(&p, &(struct page_slice){deep, 2, 0, true, true});
    serve(&p, 64);
    assert_int_equal(page_need(&p), PAGE_DONE);
    expect_items(&p, 5, (uint64_t[]){90, 80, 70, 65, 60});
}

static void a_newer_slice_adds_nothing_above(void **state) {
    (void)state;
    const struct entry head[] = {{90, FOLLOWED}, {80, FOLLOWED}};
    const struct entry whole[] = {{99, FOLLOWED}, {90, FOLLOWED}, {85, FOLLOWED}, {80, FOLLOWED}, {70, FOLLOWED}};
    struct hydrated items[10];
    struct page p;
    page_init(&p, &gate, ID_MAX, 10, items);
    page_use(&p, &(struct page_slice){head, 2, 80, false, false});
    serve(&p, 64);
    assert_int_equal(page_need(&p), PAGE_WHOLE_LIST);
    page_use(&p, &(struct page_slice){whole, 5, 0, true, false});
    serve(&p, 64);
    assert_int_equal(page_need(&p), PAGE_DONE);
    expect_items(&p, 3, (uint64_t[]){90, 80, 70});
}

static void no_slice_is_the_database(void **state) {
    (void)state;
    struct hydrated items[10];
    struct page p;
    page_init(&p, NULL, 1000, 10, items);
    assert_int_equal(page_need(&p), PAGE_DATABASE);
    assert_int_equal(p.below, 1000);
    page_use(&p, &(struct page_slice){NULL, 0, 0, true, true});
    assert_int_equal(page_need(&p), PAGE_DONE);
    assert_int_equal(page_next_before(&p), 0);
}

static void full_page_knows_whether_more_may_follow(void **state) {
    (void)state;
    const struct entry entries[] = {{90, FOLLOWED}, {80, FOLLOWED}, {70, MUTED}};
    struct hydrated items[2];
    struct page p;
    page_init(&p, &gate, ID_MAX, 2, items);
    page_use(&p, &(struct page_slice){entries, 3, 0, true, false});
    serve(&p, 2);
    assert_int_equal(page_need(&p), PAGE_DONE);
    assert_int_equal(page_next_before(&p), 0); /* what is left is gated out, and it is the end */

    page_init(&p, &gate, ID_MAX, 2, items);
    page_use(&p, &(struct page_slice){entries, 3, 60, true, false});
    serve(&p, 2);
    assert_int_equal(page_next_before(&p), 80); /* the database may have more */

    page_init(&p, &gate, ID_MAX, 1, items);
    page_use(&p, &(struct page_slice){entries, 2, 0, true, false});
    serve(&p, 2); /* both hydrated, one fits */
    assert_int_equal(page_need(&p), PAGE_DONE);
    assert_int_equal(page_next_before(&p), 90);
}

/* ---- the model ---- */

#define MODEL_MAX 120

struct model {
    struct entry all[MODEL_MAX]; /* as tables have it, newest first */
    bool gone[MODEL_MAX];        /* deleted, and still listed in the timeline */
    size_t count;
};

static const uint64_t AUTHORS[] = {READER, FOLLOWED, HIDDEN, MUTED, STRANGER};

static bool is_gone(const struct model *m, uint64_t id) {
    for (size_t i = 0; i < m->count; i++)
        if (m->all[i].post_id == id) return m->gone[i];
    return true;
}

static void model_make(struct model *m, struct rng *r) {
    m->count = rng_below(r, MODEL_MAX + 1);
    uint64_t id = 1000000;
    for (size_t i = 0; i < m->count; i++) {
        id -= 1 + rng_below(r, 5);
        m->all[i] = (struct entry){id, AUTHORS[rng_below(r, ARRAY_LEN(AUTHORS))]};
        m->gone[i] = rng_below(r, 4) == 0;
    }
}

/* What the tables say: admitted, not gone, below the cursor. */
static size_t model_feed(const struct model *m, uint64_t before, uint64_t *ret_ids) {
    size_t n = 0;
    for (size_t i = 0; i < m->count; i++)
        if (m->all[i].post_id < before && !m->gone[i] &&
            (m->all[i].author_id == READER || m->all[i].author_id == FOLLOWED))
            ret_ids[n++] = m->all[i].post_id;
    return n;
}

/* A slice of the timeline: the first `length` entries and a bound that they prove. */
static struct page_slice model_timeline(const struct model *m, struct rng *r, size_t length, bool whole) {
    struct page_slice s = {.entries = m->all, .count = length, .whole = whole};
    if (whole && length == m->count && rng_below(r, 2)) return s; /* all of history */
    size_t known = rng_below(r, length + 1);
    s.complete_from =
        known == 0 ? ID_MAX
                   : m->all[known - 1].post_id -
                         (known < m->count ? rng_below(r, m->all[known - 1].post_id - m->all[known].post_id) : 0);
    return s;
}

static struct page_slice model_database(const struct model *m, uint64_t below, size_t asked, struct entry *room) {
    uint64_t ids[MODEL_MAX];
    size_t n = model_feed(m, below, ids);
    if (n > asked) n = asked;
    for (size_t i = 0; i < n; i++) room[i] = (struct entry){ids[i], FOLLOWED};
    return (struct page_slice){room, n, n < asked ? 0 : ids[n - 1], true, true};
}

static uint64_t read_page(const struct model *m, struct rng *r, uint64_t before, unsigned limit, uint64_t *ret_ids,
                          size_t *ret_count) {
    struct hydrated items[MODEL_MAX];
    struct entry room[MODEL_MAX];
    struct page p;
    page_init(&p, &gate, before, limit, items);
    size_t cap = rng_below(r, m->count + 1);
    struct page_slice head = model_timeline(m, r, rng_below(r, cap + 1), false);
    page_use(&p, &head);
    for (int steps = 0;; steps++) {
        assert_true(steps < 1000);
        enum page_need need = page_need(&p);
        if (need == PAGE_DONE) break;
        if (need == PAGE_HYDRATE) {
            uint64_t posts[MODEL_MAX], authors[MODEL_MAX];
            struct hydrated found[MODEL_MAX];
            size_t n = page_take(&p, posts, authors, 1 + rng_below(r, page_missing(&p) + 4));
            assert_true(n > 0);
            for (size_t i = 0; i < n; i++)
                found[i] = (struct hydrated){!is_gone(m, posts[i]), {.post_id = posts[i]}, {0}, {0}};
            page_add(&p, found, n);
        } else if (need == PAGE_WHOLE_LIST) {
            struct page_slice whole = model_timeline(m, r, cap, true);
            page_use(&p, &whole);
        } else {
            struct page_slice deep = model_database(m, p.below, page_missing(&p) + rng_below(r, 4), room);
            page_use(&p, &deep);
        }
    }
    for (size_t i = 0; i < p.count; i++) ret_ids[i] = items[i].post.post_id;
    *ret_count = p.count;
    return page_next_before(&p);
}

static void pages_are_the_feed_whatever_they_are_made_of(void **state) {
    (void)state;
    struct rng r = {20240101};
    for (int round = 0; round < 20000; round++) {
        struct model m;
        model_make(&m, &r);
        uint64_t expected[MODEL_MAX], got[MODEL_MAX];
        size_t expected_count = model_feed(&m, ID_MAX, expected), served = 0;
        unsigned limit = 1 + (unsigned)rng_below(&r, 30);
        for (uint64_t before = ID_MAX; before;) {
            size_t count;
            uint64_t next = read_page(&m, &r, before, limit, got, &count);
            assert_true(served + count <= expected_count);
            assert_memory_equal(got, expected + served, count * sizeof *got);
            served += count;
            assert_true(next == 0 || (count == limit && next == got[count - 1])); /* pages are full but the last */
            before = next;
        }
        assert_int_equal(served, expected_count);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gate_and_cursor_decide),
        cmocka_unit_test(a_planted_fault_lets_hidden_pass),
        cmocka_unit_test(nothing_below_complete_from_is_used),
        cmocka_unit_test(a_newer_slice_adds_nothing_above),
        cmocka_unit_test(no_slice_is_the_database),
        cmocka_unit_test(full_page_knows_whether_more_may_follow),
        cmocka_unit_test(pages_are_the_feed_whatever_they_are_made_of),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
