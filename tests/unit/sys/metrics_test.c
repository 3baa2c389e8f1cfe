/* Metrics: the text is what Prometheus reads; updates from many threads are all counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>

#include "common/base/mem.h"
#include "common/sys/metrics.h"

static const struct metric_family posts = {"fanfare_posts_total", METRIC_COUNTER, "Posts taken.\nSecond \\ line."};
static const struct metric_family depth = {"fanfare_queue_jobs", METRIC_GAUGE, "Jobs."};
static const struct metric_family wait = {"fanfare_wait_seconds", METRIC_HISTOGRAM, "Wait."};
static const struct metric_family cpu = {"fanfare_cpu_seconds_total", METRIC_COUNTER_SECONDS, "CPU."};

static size_t count(const char *text, const char *what) {
    size_t n = 0;
    for (; (text = strstr(text, what)); text++) n++;
    return n;
}

static void assert_has(const struct buf *text, const char *line) {
    if (count(text->data, line) != 1) fail_msg("\"%s\" is not there once in:\n%s", line, text->data);
}

static void test_counters_and_gauges(void **state) {
    (void)state;
    struct metrics *m = metrics_new();
    metric_add(metrics_child(m, &posts, "result=\"ok\""), 3);
    metric_set(metrics_child(m, &depth, ""), 7);
    metric_add(metrics_child(m, &posts, "result=\"busy\""), 1);
    metric_add(metrics_child(m, &posts, "result=\"ok\""), 2);
    metric_add(metrics_child(m, &depth, ""), -9);
    metric_add(metrics_child(m, &cpu, ""), 1500000000);
    CLEANUP(buf_fini) struct buf text = BUF_INIT;
    metrics_render(m, &text);
    assert_string_equal(text.data, "# HELP fanfare_posts_total Posts taken.\\nSecond \\\\ line.\n"
                                   "# TYPE fanfare_posts_total counter\n"
                                   "fanfare_posts_total{result=\"ok\"} 5\n"
                                   "fanfare_posts_total{result=\"busy\"} 1\n"
                                   "# HELP fanfare_queue_jobs Jobs.\n"
                                   "# TYPE fanfare_queue_jobs gauge\n"
                                   "fanfare_queue_jobs -2\n"
                                   "# HELP fanfare_cpu_seconds_total CPU.\n"
                                   "# TYPE fanfare_cpu_seconds_total counter\n"
                                   "fanfare_cpu_seconds_total 1.500000000\n");
    assert_int_equal(metric_value(metrics_child(m, &posts, "result=\"ok\"")), 5);
    metrics_free(&m);
    assert_null(m);
    metrics_free(&m);
}

static void test_histogram(void **state) {
    (void)state;
    struct metrics *m = metrics_new();
    struct metric *w = metrics_child(m, &wait, "node=\"a\"");
    metric_observe_ns(w, 0);
    metric_observe_ns(w, 100000); /* a bound belongs to its own bucket */
    metric_observe_ns(w, 100001);
    metric_observe_ns(w, 10000000000);
    metric_observe_ns(w, 10000000001);
    metric_observe_ns(metrics_child(m, &wait, ""), 1000000000);
    CLEANUP(buf_fini) struct buf text = BUF_INIT;
    metrics_render(m, &text);
    assert_int_equal(count(text.data, "# TYPE fanfare_wait_seconds histogram\n"), 1);
    assert_int_equal(count(text.data, "# HELP "), 1);
    assert_has(&text, "fanfare_wait_seconds_bucket{node=\"a\",le=\"0.0001\"} 2\n");
    assert_has(&text, "fanfare_wait_seconds_bucket{node=\"a\",le=\"0.00025\"} 3\n");
    assert_has(&text, "fanfare_wait_seconds_bucket{node=\"a\",le=\"5\"} 3\n");
    assert_has(&text, "fanfare_wait_seconds_bucket{node=\"a\",le=\"10\"} 4\n");
    assert_has(&text, "fanfare_wait_seconds_bucket{node=\"a\",le=\"+Inf\"} 5\n");
    assert_has(&text, "fanfare_wait_seconds_sum{node=\"a\"} 20.000200002\n");
    assert_has(&text, "fanfare_wait_seconds_count{node=\"a\"} 5\n");
    assert_has(&text, "fanfare_wait_seconds_bucket{le=\"0.5\"} 0\n");
    assert_has(&text, "fanfare_wait_seconds_bucket{le=\"1\"} 1\n");
    assert_has(&text, "fanfare_wait_seconds_sum 1.000000000\n");
    assert_has(&text, "fanfare_wait_seconds_count 1\n");
    assert_int_equal(metric_value(w), 5);
    metrics_free(&m);
}

struct derived {
    struct metrics *m;
    int64_t calls;
};

static void collect(void *ctx) {
    struct derived *d = ctx;
    metric_set(metrics_child(d->m, &depth, "made=\"late\""), ++d->calls);
}

static void test_collectors_run_before_each_rendering(void **state) {
    (void)state;
    struct derived d = {.m = metrics_new()};
    metrics_on_collect(d.m, collect, &d);
    CLEANUP(buf_fini) struct buf text = BUF_INIT;
    metrics_render(d.m, &text);
    assert_has(&text, "fanfare_queue_jobs{made=\"late\"} 1\n");
    buf_clear(&text);
    metrics_render(d.m, &text);
    assert_has(&text, "fanfare_queue_jobs{made=\"late\"} 2\n");
    metrics_free(&d.m);
}

enum { THREADS = 4, UPDATES = 20000 };

static void *update(void *arg) {
    for (int i = 0; i < UPDATES; i++) {
        metric_add(metrics_child(arg, &posts, i % 2 ? "x=\"1\"" : "x=\"0\""), 1);
        metric_observe_ns(metrics_child(arg, &wait, ""), 1000);
    }
    return NULL;
}

static void test_threads(void **state) {
    (void)state;
    struct metrics *m = metrics_new();
    pthread_t ids[THREADS];
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&ids[i], NULL, update, m), 0);
    CLEANUP(buf_fini) struct buf text = BUF_INIT;
    metrics_render(m, &text); /* meanwhile */
    for (int i = 0; i < THREADS; i++) pthread_join(ids[i], NULL);
    assert_int_equal(metric_value(metrics_child(m, &posts, "x=\"0\"")), THREADS * UPDATES / 2);
    assert_int_equal(metric_value(metrics_child(m, &posts, "x=\"1\"")), THREADS * UPDATES / 2);
    assert_int_equal(metric_value(metrics_child(m, &wait, "")), THREADS * UPDATES);
    metrics_free(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counters_and_gauges),
        cmocka_unit_test(test_histogram),
        cmocka_unit_test(test_collectors_run_before_each_rendering),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
