/*
 * From the HTTP server to a handler.
 *
 *   /healthz /readyz /metrics -> the service's own endpoint
 *   route (404, 405) -> query (400) -> token (401) -> limits (429) -> content type (415) -> handler
 *
 * Invariant: every request made here is on `open` until front_request_free; the HTTP request's data is its struct
 * request, or NULL when it was answered.
 */
#include "feedd/front.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/sys/log.h"
#include "feedd/auth.h"
#include "feedd/metrics.h"
#include "feedd/routes.h"

/* The arena of a request holds a feed page in one block. Requests are reused with it: otherwise each page would take
 * from the allocator, and give back, what the next one needs. */
enum { ARENA_BLOCK = 32 * 1024, SPARES_MAX = 64 };

struct front {
    struct worker *worker;   /* (ref) */
    struct auth_cache *auth; /* (own) */
    struct list open;
    struct list spare; /* (own) requests for reuse */
    unsigned spares;
    atomic_uint open_count;
};

struct front *front_new(struct worker *w) {
    struct front *f = NEW(struct front);
    f->worker = w;
    f->auth = auth_cache_new(w->feedd->keys);
    list_init(&f->open);
    list_init(&f->spare);
    return f;
}

void front_free(struct front **f) {
    if (!*f) return;
    for (struct list *n; !list_empty(&(*f)->open);) {
        n = (*f)->open.next;
        front_request_free(CONTAINER_OF(n, struct request, link));
    }
    for (struct list *n; (n = list_pop(&(*f)->spare));) {
        struct request *r = CONTAINER_OF(n, struct request, link);
        arena_fini(&r->arena);
        mem_free(r);
    }
    auth_cache_free(&(*f)->auth);
    mem_free(*f);
    *f = NULL;
}

unsigned front_open(const struct front *f) {
    return atomic_load_explicit(&f->open_count, memory_order_relaxed);
}

void front_request_free(struct request *r) {
    struct front *f = r->front;
    loop_timer_stop(&r->deadline);
    list_del(&r->link);
    placement_release(r->view);
    json_free(&r->body);
    if (f->spares < SPARES_MAX) {
        f->spares++;
        arena_reset(&r->arena);
        list_add_head(&f->spare, &r->link);
    } else {
        arena_fini(&r->arena);
        mem_free(r);
    }
    atomic_fetch_sub_explicit(&f->open_count, 1, memory_order_relaxed);
}

static struct request *request_make(struct front *f, struct http_request *http, const struct route *route,
                                    uint64_t id) {
    struct request *r;
    struct list *spare = list_pop(&f->spare);
    if (spare) {
        f->spares--;
        r = CONTAINER_OF(spare, struct request, link);
        struct arena arena = r->arena;
        *r = (struct request){.arena = arena};
    } else {
        r = NEW(struct request);
        arena_init(&r->arena, ARENA_BLOCK);
    }
    r->front = f;
    r->worker = f->worker;
    r->route = route;
    r->http = http;
    r->id = id;
    r->started_ns = http_started_ns(http);
    r->deadline.fire = request_deadline_passed;
    list_add_tail(&f->open, &r->link);
    atomic_fetch_add_explicit(&f->open_count, 1, memory_order_relaxed);
    http_set_data(http, r);
    return r;
}

/* An error before there is a route. */
static void respond_problem(struct front *f, struct http_request *http, enum problem p, const char *detail) {
    CLEANUP(buf_fini) struct buf body = BUF_INIT;
    problem_write(p, str_c(detail), &body);
    feed_metrics_request(f->worker->feedd->metrics, NULL, problem_status(p), clock_mono_ns() - http_started_ns(http));
    http_respond(http, problem_status(p), PROBLEM_CONTENT_TYPE, &body);
}

static void respond_wrong_method(struct front *f, struct http_request *http, const char *allow) {
    http_add_header(http, "Allow", allow);
    respond_problem(f, http, PROBLEM_METHOD_NOT_ALLOWED, "This path does not know the method; see the header Allow.");
}

static bool respond_service(struct front *f, struct http_request *http) {
    struct str path = http_path(http);
    if (!str_eq_c(path, "/healthz") && !str_eq_c(path, "/readyz") && !str_eq_c(path, "/metrics")) return false;
    if (http_method(http) != HTTP_GET && http_method(http) != HTTP_HEAD) {
        respond_wrong_method(f, http, "GET, HEAD");
        return true;
    }
    unsigned status = 0;
    const char *type = NULL;
    CLEANUP(buf_fini) struct buf body = BUF_INIT;
    if (!service_endpoint(f->worker->feedd->service, path, &status, &type, &body)) return false;
    if (status == 503) http_add_header(http, "Retry-After", "1");
    http_respond(http, status, type, &body);
    return true;
}

struct query_check {
    const struct route *route;
    const char *seen[ROUTE_QUERY_MAX];
    char detail[200];
};

static void check_parameter(void *ctx, const char *name, const char *value) {
    struct query_check *q = ctx;
    (void)value;
    if (q->detail[0]) return;
    if (!route_allows_query(q->route, name)) {
        snprintf(q->detail, sizeof(q->detail), "There is a query parameter that is not known here; known are: %s%s%s.",
                 q->route->query[0] ? q->route->query[0] : "none", q->route->query[1] ? ", " : "",
                 q->route->query[1] ? q->route->query[1] : "");
        return;
    }
    for (int i = 0; i < ROUTE_QUERY_MAX; i++) {
        if (!q->route->query[i] || strcmp(q->route->query[i], name) != 0) continue;
        if (q->seen[i]) snprintf(q->detail, sizeof(q->detail), "Query parameter \"%s\" is given twice.", name);
        q->seen[i] = q->route->query[i];
    }
}

static bool check_query(struct request *r) {
    struct query_check q = {.route = r->route};
    http_query_each(r->http, check_parameter, &q);
    if (!q.detail[0]) return true;
    request_problem(r, PROBLEM_BAD_QUERY, "%s", q.detail);
    return false;
}

static bool check_token(struct request *r) {
    if (r->route->open) return true;
    const char *why = "";
    enum problem p =
        auth_check(r->front->auth, http_header(r->http, "Authorization"), clock_wall_ms() / 1000, &r->user_id, &why);
    if (p == PROBLEM_NONE) return true;
    request_problem(r, p, "%s", why);
    return false;
}

/*
 * Whom an open call is counted against: the other end of the connection; behind a proxy of ours ([feedd] behind_proxy)
 * the last address of X-Forwarded-For, which is the one that the proxy saw. The header is no evidence otherwise.
 */
static uint64_t client_key(const struct feedd *feedd, struct http_request *http) {
    struct str v = feedd->opt->behind_proxy ? http_header(http, "X-Forwarded-For") : (struct str){0};
    if (!v.data) {
        struct str peer = http_peer(http);
        return hash_bytes(peer.data, peer.len);
    }
    size_t start = v.len;
    while (start && v.data[start - 1] != ',') start--;
    while (start < v.len && v.data[start] == ' ') start++;
    return hash_bytes(v.data + start, v.len - start);
}

static bool check_limit(struct request *r) {
    struct feedd *feedd = r->worker->feedd;
    uint64_t key = r->route->open ? client_key(feedd, r->http) : r->user_id;
    r->verdict = limits_take(feedd->limits, r->route->limit, key, clock_mono_ns());
    if (r->verdict.allowed) return true;
    feed_metrics_limited(feedd->metrics, r->route->limit);
    request_problem(r, PROBLEM_RATE_LIMITED, "Too many calls; the next one is possible in %u s.",
                    r->verdict.retry_after_s);
    return false;
}

static bool check_content_type(struct request *r) {
    struct str type = http_header(r->http, "Content-Type");
    if (!r->route->body || !type.data) return true;
    size_t len = 0;
    while (len < type.len && type.data[len] != ';' && type.data[len] != ' ') len++;
    if (str_ieq_c(str_of(type.data, len), "application/json")) return true;
    request_problem(r, PROBLEM_UNSUPPORTED_MEDIA_TYPE, "The body must be application/json.");
    return false;
}

static void handle(void *ctx, struct http_request *http) {
    struct front *f = ctx;
    if (respond_service(f, http)) return;
    const struct route *route = NULL;
    uint64_t id = 0;
    char allow[ROUTE_ALLOW_MAX];
    switch (routes_find(http_method(http), http_path(http), &route, &id, allow)) {
    case ROUTE_NO_PATH:
        respond_problem(f, http, PROBLEM_NOT_FOUND, "There is nothing at this path.");
        return;
    case ROUTE_NO_METHOD:
        respond_wrong_method(f, http, allow);
        return;
    case ROUTE_FOUND:
        break;
    }
    struct request *r = request_make(f, http, route, id);
    if (!check_query(r) || !check_token(r) || !check_limit(r) || !check_content_type(r)) return;
    loop_timer_start(f->worker->loop, &r->deadline, (uint64_t)f->worker->feedd->opt->request_deadline_ms);
    route->handle(r);
}

static void abandoned(void *ctx, struct http_request *http) {
    struct front *f = ctx;
    struct request *r = http_data(http);
    if (!r) return;
    feed_metrics_abandoned(f->worker->feedd->metrics);
    r->http = NULL;
}

static void server_problem(void *ctx, unsigned status, const char *detail, struct buf *to,
                           const char **ret_content_type) {
    struct front *f = ctx;
    enum problem p = problem_of_status(status);
    feed_metrics_request(f->worker->feedd->metrics, NULL, status, 0);
    problem_write(p, str_c(detail), to);
    *ret_content_type = PROBLEM_CONTENT_TYPE;
}

void front_http_options(struct front *f, struct http_options *options) {
    options->handle = handle;
    options->abandoned = abandoned;
    options->problem = server_problem;
    options->ctx = f;
}
