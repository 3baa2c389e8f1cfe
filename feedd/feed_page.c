/*
 * Assembly of one feed page (pure; the picture is in the header).
 *
 * Invariants: items are strictly descending and below the cursor; every entry of the feed with id >= below is decided;
 * a page is shorter than its limit only when the feed ends.
 */
#include "feedd/feed_page.h"

#include "common/domain/id.h"

void page_init(struct page *p, const struct relations *gate, uint64_t before, unsigned limit, struct hydrated *items) {
    *p = (struct page){.gate = gate, .below = before, .limit = limit, .items = items};
    page_use_nothing(p);
}

void page_use_nothing(struct page *p) {
    p->slice = (struct page_slice){.complete_from = ID_MAX, .whole = true, .gated = true};
    p->position = 0;
}

void page_use(struct page *p, const struct page_slice *slice) {
    p->slice = *slice;
    size_t low = 0, high = slice->count; /* the first entry below `below`; ids descend */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (slice->entries[middle].post_id >= p->below)
            low = middle + 1;
        else
            high = middle;
    }
    p->position = low;
}

static bool admits(const struct page *p, uint64_t author_id) {
    if (p->slice.gated) return true;
    if (p->ignore_hidden && relations_hides(p->gate, author_id)) return true;
    return relations_admits(p->gate, author_id);
}

/* Moves on to the next candidate; NULL when the slice proves no more. */
static const struct entry *peek(struct page *p) {
    const struct page_slice *s = &p->slice;
    for (; p->position < s->count; p->position++) {
        const struct entry *e = &s->entries[p->position];
        if (e->post_id < s->complete_from) break;
        if (admits(p, e->author_id)) return e;
    }
    if (s->complete_from < p->below) p->below = s->complete_from;
    return NULL;
}

enum page_need page_need(struct page *p) {
    if (p->count == p->limit) return PAGE_DONE;
    if (peek(p)) return PAGE_HYDRATE;
    if (p->slice.complete_from == 0) return PAGE_DONE;
    return p->slice.whole ? PAGE_DATABASE : PAGE_WHOLE_LIST;
}

size_t page_missing(const struct page *p) {
    return p->limit - p->count;
}

size_t page_take(struct page *p, uint64_t *ret_posts, uint64_t *ret_authors, size_t max) {
    size_t n = 0;
    const struct entry *e;
    while (n < max && (e = peek(p))) {
        ret_posts[n] = e->post_id;
        ret_authors[n] = e->author_id;
        n++;
        p->below = e->post_id;
        p->position++;
    }
    return n;
}

void page_add(struct page *p, const struct hydrated *posts, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (!posts[i].exists) continue;
        if (p->count == p->limit) {
            p->left_over = true;
            return;
        }
        p->items[p->count++] = posts[i];
    }
}

uint64_t page_next_before(struct page *p) {
    if (p->count < p->limit) return 0;
    if (!p->left_over && !peek(p) && p->slice.complete_from == 0) return 0;
    return p->items[p->count - 1].post.post_id;
}
