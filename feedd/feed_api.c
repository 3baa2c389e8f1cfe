/* Feeds over HTTP: my feed, and one author's posts. Where the posts come from is feed.c's matter. */
#include "feedd/handlers.h"

#include "common/base/mem.h"
#include "common/domain/cursor.h"
#include "common/domain/id.h"
#include "feedd/feed.h"
#include "feedd/metrics.h"
#include "feedd/request.h"

#define POST_JSON_ESTIMATE 512 /* bytes: saves the buffer's first growths */

static void respond_page(struct request *r, char cursor_kind, const struct feed_page *page) {
    struct buf body = BUF_INIT;
    buf_reserve(&body, 64 + page->count * POST_JSON_ESTIMATE);
    page_begin(&body);
    for (size_t i = 0; i < page->count; i++) {
        page_item(&body, i);
        post_write_json(&page->items[i].post, &page->items[i].author, page->items[i].counts, &body);
    }
    page_end(&body, cursor_kind, page->next_before);
    request_json(r, 200, &body);
}

static void feed_done(void *ctx, enum err err, const struct feed_page *page) {
    struct request *r = ctx;
    if (err != ERR_OK) {
        request_fail(r, err, "reading the feed");
        return;
    }
    feed_metrics_source(r->worker->feedd->metrics, page->source);
    request_set_header(r, "Fanfare-Source", feed_source_name(page->source));
    respond_page(r, CURSOR_FEED, page);
}

void feed_get(struct request *r) {
    unsigned limit = 0;
    uint64_t last = 0;
    if (request_page(r, CURSOR_FEED, &limit, &last))
        feed_read(r->worker, r->user_id, last ? last : ID_MAX, limit, &r->arena, feed_done, r);
}

static void author_known(void *ctx, enum err err, bool exists, const struct user_record *user) {
    static const struct feed_page EMPTY = {0};
    struct request *r = ctx;
    (void)user;
    if (err != ERR_OK)
        request_fail(r, err, "reading the user");
    else if (!exists)
        request_problem(r, PROBLEM_NOT_FOUND, "There is no such user.");
    else
        respond_page(r, CURSOR_POSTS, &EMPTY);
}

static void author_feed_done(void *ctx, enum err err, const struct feed_page *page) {
    struct request *r = ctx;
    if (err == ERR_OK && page->count)
        respond_page(r, CURSOR_POSTS, page);
    else if (err == ERR_OK || err == ERR_NOT_FOUND) /* nobody, or nothing to see */
        hydrate_user(r->worker, request_view_of_id(r), r->id, &r->arena, author_known, r);
    else
        request_fail(r, err, "reading the posts");
}

void author_feed_get(struct request *r) {
    unsigned limit = 0;
    uint64_t last = 0;
    if (!request_page(r, CURSOR_POSTS, &limit, &last)) return;
    author_posts_read(r->worker, r->user_id, r->id, last ? last : ID_MAX, limit, &r->arena, author_feed_done, r);
}
