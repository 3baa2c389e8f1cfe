/*
 * Metrics: families -> children, rendered as Prometheus text (format 0.0.4).
 *
 *   metrics --> family (name) --> child (label set) --> child ...
 *
 * Children are never removed, so a pointer once given stays good without a lock; the lock guards the lists only.
 * Updates are relaxed: a reading may be torn between the children (a count one ahead of its sum), never within a
 * number; within a histogram the rendered count is the sum of the rendered buckets, so the text is always consistent
 * with itself.
 *
 * It does not bound the number of label sets: a label never takes its value from a client.
 */
#include "common/sys/metrics.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

static const struct {
    uint64_t ns;
    const char *text;
} bounds[] = {{100000, "0.0001"},  {250000, "0.00025"}, {500000, "0.0005"},  {1000000, "0.001"},
              {2500000, "0.0025"}, {5000000, "0.005"},  {10000000, "0.01"},  {25000000, "0.025"},
              {50000000, "0.05"},  {100000000, "0.1"},  {250000000, "0.25"}, {500000000, "0.5"},
              {1000000000, "1"},   {2500000000, "2.5"}, {5000000000, "5"},   {10000000000, "10"}};
#define BUCKETS (ARRAY_LEN(bounds) + 1) /* the last one has no bound */

struct metric {
    struct metric *next; /* (own) younger sibling */
    char *labels;        /* (own) */
    enum metric_kind kind;
    _Atomic int64_t value;     /* of a histogram: sum in ns */
    _Atomic uint64_t *buckets; /* (own) NULL unless a histogram */
};

struct family {
    struct family *next; /* (own) */
    char *name, *help;   /* (own) */
    enum metric_kind kind;
    struct metric *children, **last;
};

struct collector {
    struct collector *next; /* (own) */
    void (*fn)(void *ctx);
    void *ctx;
};

struct metrics {
    pthread_mutex_t lock;        /* guards the lists */
    pthread_mutex_t render_lock; /* one rendering at a time: collectors need no lock of their own */
    struct family *families, **last_family;
    struct collector *collectors, **last_collector;
};

struct metrics *metrics_new(void) {
    struct metrics *m = NEW(struct metrics);
    pthread_mutex_init(&m->lock, NULL);
    pthread_mutex_init(&m->render_lock, NULL);
    m->last_family = &m->families;
    m->last_collector = &m->collectors;
    return m;
}

static void child_free(struct metric *c) {
    mem_free(c->labels);
    mem_free((void *)c->buckets);
    mem_free(c);
}

static void family_free(struct family *f) {
    for (struct metric *c = f->children, *next; c; c = next) {
        next = c->next;
        child_free(c);
    }
    mem_free(f->name);
    mem_free(f->help);
    mem_free(f);
}

void metrics_free(struct metrics **m) {
    if (!*m) return;
    for (struct family *f = (*m)->families, *next; f; f = next) {
        next = f->next;
        family_free(f);
    }
    for (struct collector *c = (*m)->collectors, *next; c; c = next) {
        next = c->next;
        mem_free(c);
    }
    pthread_mutex_destroy(&(*m)->lock);
    pthread_mutex_destroy(&(*m)->render_lock);
    mem_free(*m);
    *m = NULL;
}

static struct family *find_family(struct metrics *m, const struct metric_family *wanted) {
    for (struct family *f = m->families; f; f = f->next)
        if (strcmp(f->name, wanted->name) == 0) {
            if (f->kind != wanted->kind) abort(); /* two tables of one program disagree */
            return f;
        }
    struct family *f = NEW(struct family);
    f->name = mem_strdup(wanted->name);
    f->help = mem_strdup(wanted->help);
    f->kind = wanted->kind;
    f->last = &f->children;
    *m->last_family = f;
    m->last_family = &f->next;
    return f;
}

static struct metric *find_child(struct family *f, const char *labels) {
    for (struct metric *c = f->children; c; c = c->next)
        if (strcmp(c->labels, labels) == 0) return c;
    struct metric *c = NEW(struct metric);
    c->labels = mem_strdup(labels);
    c->kind = f->kind;
    if (f->kind == METRIC_HISTOGRAM) c->buckets = mem_zalloc(BUCKETS * sizeof *c->buckets);
    *f->last = c;
    f->last = &c->next;
    return c;
}

struct metric *metrics_child(struct metrics *m, const struct metric_family *family, const char *labels) {
    pthread_mutex_lock(&m->lock);
    struct metric *c = find_child(find_family(m, family), labels);
    pthread_mutex_unlock(&m->lock);
    return c;
}

void metric_add(struct metric *c, int64_t delta) {
    atomic_fetch_add_explicit(&c->value, delta, memory_order_relaxed);
}

void metric_set(struct metric *c, int64_t value) {
    atomic_store_explicit(&c->value, value, memory_order_relaxed);
}

int64_t metric_value(const struct metric *c) {
    if (!c->buckets) return atomic_load_explicit(&c->value, memory_order_relaxed);
    uint64_t count = 0;
    for (size_t i = 0; i < BUCKETS; i++) count += atomic_load_explicit(&c->buckets[i], memory_order_relaxed);
    return (int64_t)count;
}

void metric_observe_ns(struct metric *c, uint64_t ns) {
    size_t i = 0;
    while (i < ARRAY_LEN(bounds) && ns > bounds[i].ns) i++;
    atomic_fetch_add_explicit(&c->buckets[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&c->value, (int64_t)ns, memory_order_relaxed);
}

void metrics_on_collect(struct metrics *m, void (*fn)(void *ctx), void *ctx) {
    struct collector *c = NEW(struct collector);
    *c = (struct collector){.fn = fn, .ctx = ctx};
    pthread_mutex_lock(&m->lock);
    *m->last_collector = c;
    m->last_collector = &c->next;
    pthread_mutex_unlock(&m->lock);
}

static void render_help(const struct family *f, struct buf *to) {
    static const char *const types[] = {[METRIC_COUNTER] = "counter",
                                        [METRIC_GAUGE] = "gauge",
                                        [METRIC_HISTOGRAM] = "histogram",
                                        [METRIC_COUNTER_SECONDS] = "counter"};
    buf_addf(to, "# HELP %s ", f->name);
    for (const char *c = f->help; *c; c++) {
        if (*c == '\\') buf_add_char(to, '\\');
        if (*c == '\n')
            buf_add_c(to, "\\n");
        else
            buf_add_char(to, *c);
    }
    buf_addf(to, "\n# TYPE %s %s\n", f->name, types[f->kind]);
}

static void add_seconds(struct buf *to, int64_t ns) {
    buf_addf(to, "%lld.%09lld\n", (long long)(ns / 1000000000), (long long)(ns % 1000000000));
}

static void render_histogram(const struct family *f, const struct metric *c, struct buf *to) {
    const char *comma = c->labels[0] ? "," : "", *open = c->labels[0] ? "{" : "", *close = c->labels[0] ? "}" : "";
    uint64_t count = 0;
    int64_t sum = atomic_load_explicit(&c->value, memory_order_relaxed);
    for (size_t i = 0; i < BUCKETS; i++) {
        count += atomic_load_explicit(&c->buckets[i], memory_order_relaxed);
        buf_addf(to, "%s_bucket{%s%sle=\"%s\"} %llu\n", f->name, c->labels, comma,
                 i < ARRAY_LEN(bounds) ? bounds[i].text : "+Inf", (unsigned long long)count);
    }
    buf_addf(to, "%s_sum%s%s%s ", f->name, open, c->labels, close);
    add_seconds(to, sum);
    buf_addf(to, "%s_count%s%s%s %llu\n", f->name, open, c->labels, close, (unsigned long long)count);
}

static void render_plain(const struct family *f, const struct metric *c, struct buf *to) {
    buf_addf(to, c->labels[0] ? "%s{%s} " : "%s%s ", f->name, c->labels);
    if (f->kind == METRIC_COUNTER_SECONDS)
        add_seconds(to, metric_value(c));
    else
        buf_addf(to, "%lld\n", (long long)metric_value(c));
}

void metrics_render(struct metrics *m, struct buf *to) {
    pthread_mutex_lock(&m->render_lock);
    pthread_mutex_lock(&m->lock);
    struct collector *collector = m->collectors;
    pthread_mutex_unlock(&m->lock);
    while (collector) { /* without the list lock: they may make children, or add themselves at the end */
        collector->fn(collector->ctx);
        pthread_mutex_lock(&m->lock);
        collector = collector->next;
        pthread_mutex_unlock(&m->lock);
    }
    pthread_mutex_lock(&m->lock);
    for (const struct family *f = m->families; f; f = f->next) {
        render_help(f, to);
        for (const struct metric *c = f->children; c; c = c->next)
            f->kind == METRIC_HISTOGRAM ? render_histogram(f, c, to) : render_plain(f, c, to);
    }
    pthread_mutex_unlock(&m->lock);
    pthread_mutex_unlock(&m->render_lock);
}
