/*
 * POST /v1/me/feed: checks what was sent, hands it to the publisher, and answers with the post as everybody will see
 * it.
 *
 * The backlog is looked at before the database is touched: while fan-out is behind its bound, publishers are told to
 * come back.
 */
#include "feedd/handlers.h"

#include <string.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/domain/content.h"
#include "feedd/metrics.h"
#include "feedd/publish.h"
#include "feedd/request.h"

#define KEY_MAX  255
#define TEXT_MAX 5000

enum { TEXT, IN_REPLY_TO, MEMBER_COUNT };
static const struct body_member POST_BODY[MEMBER_COUNT] = {
    [TEXT] = {"text", BODY_TEXT, true, false, 1, TEXT_MAX},
    [IN_REPLY_TO] = {"in_reply_to", BODY_ID, false, true, 0, 0},
};

static void respond_post(struct request *r, const struct publish_item *item, const struct publish_result *result) {
    bool replayed = result->status == PUBLISH_REPLAYED;
    struct str text = replayed ? result->text : item->text;
    uint64_t in_reply_to = replayed ? result->in_reply_to : item->in_reply_to;
    CLEANUP(buf_fini) struct buf record = BUF_INIT;
    post_record_encode(result->post_id, item->author_id, text, in_reply_to, &record);
    struct post_record post;
    if (post_record_decode(result->post_id, buf_str(&record), &post) != ERR_OK) {
        request_fail(r, ERR_INTERNAL, "encoding the post");
        return;
    }
    struct user_record author = {item->author_id, result->author_json};
    struct buf body = BUF_INIT;
    post_write_json(&post, &author, (struct counts_record){0}, &body);
    request_set_header(r, "Location", arena_printf(&r->arena, "/v1/posts/%llu", (unsigned long long)result->post_id));
    if (replayed) request_set_header(r, "Idempotency-Replayed", "true");
    request_json(r, 201, &body);
}

static void outcome_unknown(struct request *r) {
    request_problem(r, PROBLEM_OUTCOME_UNKNOWN,
                    "The database did not answer: the post may or may not be published. Repeat the call with the same "
                    "Idempotency-Key%s.",
                    ((struct publish_item *)r->data)->key.data ? "" : " (this one had none: read your posts first)");
}

static void published(void *ctx, enum err err, const struct publish_result *result, const struct pg_result *failed) {
    struct request *r = ctx;
    const struct publish_item *item = r->data;
    if (err != ERR_OK) {
        if (err_class(err) == ERR_CLASS_UNCERTAIN)
            outcome_unknown(r);
        else
            request_fail_db(r, err, failed, "the database");
        return;
    }
    switch (result->status) {
    case PUBLISH_CREATED:
    case PUBLISH_REPLAYED:
        respond_post(r, item, result);
        break;
    case PUBLISH_KEY_REUSED:
        request_problem(r, PROBLEM_KEY_REUSED, "This Idempotency-Key was used with another body.");
        break;
    case PUBLISH_UNKNOWN_AUTHOR:
        request_problem(r, PROBLEM_BAD_TOKEN, "The user of this token does not exist.");
        break;
    case PUBLISH_UNKNOWN_POST:
        request_problem(r, PROBLEM_UNKNOWN_POST, "The post of \"in_reply_to\" does not exist.");
        break;
    case PUBLISH_CONFLICT:
        request_fail(r, ERR_BUSY, "this Idempotency-Key");
        break;
    }
}

static bool nobody_waits(void *ctx) {
    return request_gone(ctx);
}

/* 1..255 visible ASCII characters. False: answered. */
static bool read_key(struct request *r, struct publish_item *item) {
    item->key = request_header(r, "Idempotency-Key");
    if (!item->key.data) return true;
    bool good = item->key.len >= 1 && item->key.len <= KEY_MAX;
    for (size_t i = 0; good && i < item->key.len; i++) good = item->key.data[i] > ' ' && item->key.data[i] <= '~';
    if (!good)
        request_problem(r, PROBLEM_BAD_HEADER, "Idempotency-Key must be 1 to %d visible ASCII characters.", KEY_MAX);
    return good;
}

/*
 * "00-<32 hex>-<16 hex>-<2 hex>" in lower case, as W3C trace context has it; anything else is as if it were not there.
 */
static void read_traceparent(struct request *r, struct publish_item *item) {
    static const char SHAPE[] = "00-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx-xxxxxxxxxxxxxxxx-xx";
    struct str v = request_header(r, "traceparent");
    if (!v.data || v.len != JOB_TRACEPARENT_MAX) return;
    for (size_t i = 0; i < v.len; i++) {
        bool hex = (v.data[i] >= '0' && v.data[i] <= '9') || (v.data[i] >= 'a' && v.data[i] <= 'f');
        if (SHAPE[i] == 'x' ? !hex : v.data[i] != SHAPE[i]) return;
    }
    memcpy(item->traceparent, v.data, v.len);
}

static uint64_t request_hash(const struct publish_item *item) {
    CLEANUP(buf_fini) struct buf b = BUF_INIT;
    buf_add_be64(&b, item->in_reply_to);
    buf_add_str(&b, item->text);
    return hash_bytes(b.data, b.len);
}

void feed_post(struct request *r) {
    struct feedd *feedd = r->worker->feedd;
    if (atomic_load_explicit(&feedd->overloaded, memory_order_relaxed)) {
        feed_metrics_refused(feedd->metrics);
        request_problem(r, PROBLEM_OVERLOADED, "Too many posts wait for delivery; try again shortly.");
        return;
    }
    struct publish_item *item = ARENA_NEW(&r->arena, struct publish_item);
    r->data = item;
    struct body_value v[MEMBER_COUNT];
    if (!read_key(r, item) || !request_body(r, POST_BODY, MEMBER_COUNT, v)) return;
    read_traceparent(r, item);
    item->author_id = r->user_id;
    item->text = v[TEXT].text;
    item->in_reply_to = v[IN_REPLY_TO].id;
    item->request_hash = request_hash(item);
    item->gone = nobody_waits;
    item->done = published;
    item->ctx = r;
    enum err err = publisher_add(r->worker->publisher, item);
    if (err != ERR_OK) request_fail(r, err, "publishing");
}
