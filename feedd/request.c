/*
 * Requests: reading what came, answering once, and living until the answer.
 *
 * Invariants: r->http is the only way to the client and is NULL when there is none; finish() is the only place that
 * frees. The deadline answers the client early and leaves r to its handler.
 */
#include "feedd/request.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/domain/cursor.h"
#include "common/domain/id.h"
#include "common/sys/log.h"
#include "feedd/feed.h"
#include "feedd/front.h"
#include "feedd/metrics.h"
#include "feedd/routes.h"

bool request_gone(const struct request *r) {
    return !r->http;
}

void request_set_header(struct request *r, const char *name, const char *value) {
    if (r->http) http_add_header(r->http, name, value);
}

static void set_number(struct request *r, const char *name, uint64_t n) {
    char text[24];
    snprintf(text, sizeof(text), "%llu", (unsigned long long)n);
    request_set_header(r, name, text);
}

/* Sends the answer if somebody still waits for it. */
static void answer(struct request *r, unsigned status, const char *type, struct buf *body) {
    if (!r->http) return;
    if (r->verdict.limited) {
        set_number(r, "RateLimit-Limit", r->verdict.limit);
        set_number(r, "RateLimit-Remaining", r->verdict.remaining);
        set_number(r, "RateLimit-Reset", r->verdict.reset_s);
    }
    feed_metrics_request(r->worker->feedd->metrics, r->route, status, clock_mono_ns() - r->started_ns);
    struct http_request *http = r->http;
    r->http = NULL;
    http_set_data(http, NULL);
    http_respond(http, status, type, body);
}

static void send_problem(struct request *r, enum problem p, struct str detail) {
    if (!r->http) return;
    unsigned status = problem_status(p);
    if (status == 503) set_number(r, "Retry-After", 1);
    if (status == 429) set_number(r, "Retry-After", r->verdict.retry_after_s);
    if (status == 401)
        request_set_header(r, "WWW-Authenticate",
                           p == PROBLEM_BAD_TOKEN || p == PROBLEM_TOKEN_EXPIRED
                               ? "Bearer realm=\"fanfare\", error=\"invalid_token\""
                               : "Bearer realm=\"fanfare\"");
    CLEANUP(buf_fini) struct buf body = BUF_INIT;
    problem_write(p, detail, &body);
    answer(r, status, PROBLEM_CONTENT_TYPE, &body);
}

void request_json(struct request *r, unsigned status, struct buf *body) {
    answer(r, status, "application/json", body);
    buf_fini(body);
    front_request_free(r);
}

void request_empty(struct request *r, unsigned status) {
    CLEANUP(buf_fini) struct buf none = BUF_INIT;
    answer(r, status, NULL, &none);
    front_request_free(r);
}

void request_problem(struct request *r, enum problem p, const char *fmt, ...) {
    char detail[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(detail, sizeof(detail), fmt, args);
    va_end(args);
    send_problem(r, p, str_c(detail));
    front_request_free(r);
}

void request_deadline_passed(struct loop_timer *t) {
    struct request *r = CONTAINER_OF(t, struct request, deadline);
    send_problem(r, PROBLEM_OUTCOME_UNKNOWN,
                 STR("There was no answer in time. What the call should do may or may not have happened; it is safe to "
                     "repeat it "
                     "(when publishing: with the same Idempotency-Key)."));
}

bool sqlstate_is_transient(const char *sqlstate) {
    static const char *const CLASSES[] = {"08", "25", "40", "53", "55", "57", "58"};
    for (size_t i = 0; i < ARRAY_LEN(CLASSES); i++)
        if (strncmp(sqlstate, CLASSES[i], 2) == 0) return true;
    return sqlstate[0] == '\0';
}

static void fail_503(struct request *r, enum err err, const char *what) {
    if (!request_gone(r) && LOG_EVERY_MS(1000))
        log_warn("request failed route=\"%s\" what=\"%s\" err=%s", r->route->pattern, what, err_name(err));
    if (err == ERR_BUSY)
        request_problem(r, PROBLEM_BUSY, "Too much is waiting for %s; try again shortly.", what);
    else
        request_problem(r, PROBLEM_UNAVAILABLE, "%s did not answer (%s); try again shortly.", what, err_text(err));
}

void request_fail(struct request *r, enum err err, const char *what) {
    enum err_class class = err_class(err);
    bool bug = class == ERR_CLASS_DEFINITE || err == ERR_INTERNAL || err == ERR_CORRUPT;
    if (!bug) {
        fail_503(r, err, what);
        return;
    }
    if (LOG_EVERY_MS(100))
        log_error("request failed route=\"%s\" what=\"%s\" err=%s", r->route->pattern, what, err_name(err));
    request_problem(r, PROBLEM_INTERNAL, "Something is wrong on our side; it has been logged.");
}

void request_fail_db(struct request *r, enum err err, const struct pg_result *result, const char *what) {
    if (err != ERR_BACKEND || !result || sqlstate_is_transient(pg_sqlstate(result))) {
        request_fail(r, err, what);
        return;
    }
    struct str message = pg_message(result);
    if (LOG_EVERY_MS(100))
        log_error("statement failed route=\"%s\" what=\"%s\" sqlstate=%s message=\"%.*s\"", r->route->pattern, what,
                  pg_sqlstate(result), (int)message.len, message.data);
    request_problem(r, PROBLEM_INTERNAL, "Something is wrong on our side; it has been logged.");
}

bool request_body(struct request *r, const struct body_member *members, size_t count, struct body_value *values) {
    char detail[BODY_DETAIL_MAX];
    enum problem p = body_parse(http_body(r->http), members, count, values, &r->body, detail);
    if (p == PROBLEM_NONE) return true;
    request_problem(r, p, "%s", detail);
    return false;
}

bool request_page(struct request *r, char cursor_kind, unsigned *ret_limit, uint64_t *ret_last) {
    struct str limit = http_query(r->http, "limit");
    uint64_t n = FEED_LIMIT_DEFAULT;
    if (limit.data && (!str_u64(limit, &n) || n < 1 || n > FEED_LIMIT_MAX)) {
        request_problem(r, PROBLEM_BAD_QUERY, "Query parameter \"limit\" must be a number from 1 to %d.",
                        FEED_LIMIT_MAX);
        return false;
    }
    struct str cursor = http_query(r->http, "cursor");
    uint64_t last = 0;
    if (cursor.data && !cursor_decode(cursor_kind, cursor, &last)) {
        request_problem(r, PROBLEM_BAD_CURSOR,
                        "Query parameter \"cursor\" is not a cursor of this list; take it from \"next\".");
        return false;
    }
    *ret_limit = (unsigned)n;
    *ret_last = last;
    return true;
}

struct str request_header(struct request *r, const char *name) {
    struct str v = http_header(r->http, name);
    return v.data ? str_of(arena_strndup(&r->arena, v.data, v.len), v.len) : v;
}

const struct placement_view *request_view(struct request *r) {
    if (!r->view_taken) r->view = placement_acquire(r->worker->feedd->placement);
    r->view_taken = true;
    return r->view;
}

const struct placement_view *request_view_of_id(struct request *r) {
    struct feedd *feedd = r->worker->feedd;
    uint64_t error, now = placement_db_now_ms(feedd->placement, &error);
    uint64_t commits_within = 2 * (uint64_t)feedd->opt->database_timeout_ms; /* the server ends a statement before */
    if (error > now || id_unix_ms(r->id) + commits_within > now - error) return NULL;
    return request_view(r);
}

void page_begin(struct buf *to) {
    buf_add_c(to, "{\"items\":[");
}

void page_item(struct buf *to, size_t index) {
    if (index) buf_add_char(to, ',');
}

void page_end(struct buf *to, char cursor_kind, uint64_t next) {
    if (!next) {
        buf_add_c(to, "],\"next\":null}");
        return;
    }
    char cursor[CURSOR_TEXT_MAX];
    cursor_encode(cursor_kind, next, cursor);
    buf_addf(to, "],\"next\":\"%s\"}", cursor);
}
