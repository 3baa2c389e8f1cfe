/*
 * The families, and the children that are hot enough to be kept. Requests are counted by route and status; a child is
 * made when a status is first answered and kept in a table of atomics, so that counting takes no lock.
 */
#include "feedd/metrics.h"

#include <stdatomic.h>
#include <stdio.h>

#include "common/base/mem.h"

enum family {
    REQUESTS,
    SECONDS,
    ABANDONED,
    LIMITED,
    SOURCE,
    REBUILDS,
    BATCHES,
    BATCH_POSTS,
    BATCH_SECONDS,
    BATCH_RETRIES,
    REFUSED,
    QUEUE_FAILED,
    BACKLOG,
    OVERLOADED,
    FAMILY_COUNT
};

static const struct metric_family FAMILIES[FAMILY_COUNT] = {
    [REQUESTS] = {"fanfare_http_requests_total", METRIC_COUNTER, "Requests answered, by route and status."},
    [SECONDS] = {"fanfare_http_request_seconds", METRIC_HISTOGRAM, "From the request line to the answer, by route."},
    [ABANDONED] = {"fanfare_http_abandoned_total", METRIC_COUNTER, "Requests whose client left before the answer."},
    [LIMITED] = {"fanfare_ratelimited_total", METRIC_COUNTER, "Requests refused by a token bucket, by kind."},
    [SOURCE] = {"fanfare_feed_source_total", METRIC_COUNTER,
                "Feed pages served, by the deepest place that was needed."},
    [REBUILDS] = {"fanfare_rebuilds_total", METRIC_COUNTER, "Cold timelines read anew from the database."},
    [BATCHES] = {"fanfare_publish_batches_total", METRIC_COUNTER, "Publish statements that committed."},
    [BATCH_POSTS] = {"fanfare_publish_batch_posts_total", METRIC_COUNTER, "Publish requests in these statements."},
    [BATCH_SECONDS] = {"fanfare_publish_statement_seconds", METRIC_HISTOGRAM,
                       "From sending a publish statement to its result."},
    [BATCH_RETRIES] = {"fanfare_publish_retried_alone_total", METRIC_COUNTER,
                       "Publish statements that failed and were done again post by post."},
    [REFUSED] = {"fanfare_publish_refused_total", METRIC_COUNTER,
                 "Publish requests refused because the fan-out backlog is past its bound."},
    [QUEUE_FAILED] = {"fanfare_publish_queue_failed_total", METRIC_COUNTER,
                      "Committed posts that the queue did not take; the sweeper adds them."},
    [BACKLOG] = {"fanfare_backlog_jobs", METRIC_GAUGE,
                 "Fan-out jobs not done, as the queue and the outbox (up to the bound) count them."},
    [OVERLOADED] = {"fanfare_overloaded", METRIC_GAUGE, "1 while publishers are refused because of the backlog."},
};

#define STATUS_MIN   200
#define STATUS_COUNT 400
#define ROUTES_MAX   64

struct feed_metrics {
    struct metrics *metrics;                                       /* (ref) children belong to it */
    struct metric *_Atomic requests[ROUTES_MAX + 1][STATUS_COUNT]; /* the last row: no route */
    struct metric *seconds[ROUTES_MAX];
    struct metric *limited[LIMIT_KINDS];
    struct metric *sources[FEED_DATABASE + 1];
    struct metric *plain[FAMILY_COUNT];
    struct metric *backlog_queue, *backlog_outbox;
};

static struct metric *labelled(struct feed_metrics *m, enum family f, const char *name, const char *value) {
    char labels[128];
    snprintf(labels, sizeof(labels), "%s=\"%s\"", name, value);
    return metrics_child(m->metrics, &FAMILIES[f], labels);
}

static void route_label(const struct route *route, char *to, size_t size) {
    snprintf(to, size, "%s %s", route_method_name(route->method), route->pattern);
}

struct feed_metrics *feed_metrics_new(struct metrics *metrics) {
    struct feed_metrics *m = NEW(struct feed_metrics);
    m->metrics = metrics;
    for (size_t i = 0; i < routes_count() && i < ROUTES_MAX; i++) {
        char label[96];
        route_label(routes_at(i), label, sizeof(label));
        m->seconds[i] = labelled(m, SECONDS, "route", label);
    }
    for (int k = 0; k < LIMIT_KINDS; k++)
        m->limited[k] = labelled(m, LIMITED, "kind", limit_kind_name((enum limit_kind)k));
    for (int s = 0; s <= FEED_DATABASE; s++)
        m->sources[s] = labelled(m, SOURCE, "source", feed_source_name((enum feed_source)s));
    static const enum family PLAIN[] = {ABANDONED,     REBUILDS, BATCHES,      BATCH_POSTS, BATCH_SECONDS,
                                        BATCH_RETRIES, REFUSED,  QUEUE_FAILED, OVERLOADED};
    for (size_t i = 0; i < ARRAY_LEN(PLAIN); i++) m->plain[PLAIN[i]] = metrics_child(metrics, &FAMILIES[PLAIN[i]], "");
    m->backlog_queue = labelled(m, BACKLOG, "in", "queue");
    m->backlog_outbox = labelled(m, BACKLOG, "in", "outbox");
    return m;
}

void feed_metrics_free(struct feed_metrics **m) {
    mem_free(*m);
    *m = NULL;
}

void feed_metrics_request(struct feed_metrics *m, const struct route *route, unsigned status, uint64_t ns) {
    size_t row = route ? route_index(route) : ROUTES_MAX;
    if (status < STATUS_MIN || status >= STATUS_MIN + STATUS_COUNT) return;
    struct metric *_Atomic *place = &m->requests[row][status - STATUS_MIN];
    struct metric *c = atomic_load_explicit(place, memory_order_acquire);
    if (!c) {
        char route_text[96] = "none";
        char labels[128];
        if (route) route_label(route, route_text, sizeof(route_text));
        snprintf(labels, sizeof(labels), "route=\"%s\",status=\"%u\"", route_text, status);
        c = metrics_child(m->metrics, &FAMILIES[REQUESTS], labels); /* the same one for every thread that races here */
        atomic_store_explicit(place, c, memory_order_release);
    }
    metric_add(c, 1);
    if (route) metric_observe_ns(m->seconds[row], ns);
}

void feed_metrics_abandoned(struct feed_metrics *m) {
    metric_add(m->plain[ABANDONED], 1);
}

void feed_metrics_limited(struct feed_metrics *m, enum limit_kind kind) {
    if (kind < LIMIT_KINDS) metric_add(m->limited[kind], 1);
}

void feed_metrics_source(struct feed_metrics *m, enum feed_source source) {
    metric_add(m->sources[source], 1);
}

void feed_metrics_rebuild(struct feed_metrics *m) {
    metric_add(m->plain[REBUILDS], 1);
}

void feed_metrics_batch(struct feed_metrics *m, size_t posts, uint64_t ns) {
    metric_add(m->plain[BATCHES], 1);
    metric_add(m->plain[BATCH_POSTS], (int64_t)posts);
    metric_observe_ns(m->plain[BATCH_SECONDS], ns);
}

void feed_metrics_batch_retried(struct feed_metrics *m) {
    metric_add(m->plain[BATCH_RETRIES], 1);
}

void feed_metrics_refused(struct feed_metrics *m) {
    metric_add(m->plain[REFUSED], 1);
}

void feed_metrics_queue_failed(struct feed_metrics *m, size_t jobs) {
    metric_add(m->plain[QUEUE_FAILED], (int64_t)jobs);
}

void feed_metrics_backlog(struct feed_metrics *m, uint64_t queue, uint64_t outbox, bool overloaded) {
    metric_set(m->backlog_queue, (int64_t)queue);
    metric_set(m->backlog_outbox, (int64_t)outbox);
    metric_set(m->plain[OVERLOADED], overloaded);
}
