/*
 * publish: posts by authors drawn at random, as fast as they are taken (closed loop) or at a rate; with --drain until
 * all of it is fanned out, and what that cost.
 *
 *   counters, CPU -> posts -> (outbox and queue empty) -> CPU, counters
 */
#include <stdio.h>

#include "bench/authors.h"
#include "bench/cpu.h"
#include "bench/drain.h"
#include "common/base/clock.h"
#include "common/base/mem.h"

enum { FANOUT_CPU = CPU_BIT(CPU_FANOUTD) | CPU_BIT(CPU_REDIS) | CPU_BIT(CPU_POSTGRES) };

struct publish {
    const char *prefix, *posts;
    uint64_t connections, count, seed, drain_s;
    double rate;
    bool drain;
    struct fanoutds fanoutds;
    struct cpu_pids pids;
    struct authors authors;
    struct arrivals arrivals;
};
struct measured {
    struct cpu_usage publishing, all;
    double publish_s, all_s;
    double resident, others; /* deliveries */
    uint64_t left;           /* outbox rows when patience ended */
    uint64_t missing, twice;
};

static bool next(void *ctx, struct stream_request *to) {
    struct publish *p = ctx;
    struct people *people = &p->authors.people;
    authors_request(&p->authors, &people->list[rng_below(&p->authors.rng, people->count)], to);
    return true;
}

static uint64_t due(void *ctx, uint64_t n) {
    (void)n;
    return arrivals_next(&((struct publish *)ctx)->arrivals);
}

static void answered(void *ctx, const struct stream_request *r, const struct http_reply *reply, uint64_t started_ns,
                     uint64_t answered_ns) {
    (void)r;
    (void)started_ns;
    (void)answered_ns;
    authors_answered(&((struct publish *)ctx)->authors, reply);
}

static void report_fanout(struct report *r, const struct publish *p, const struct measured *m) {
    double used = cpu_total(&m->all, FANOUT_CPU);
    report_real(r, "seconds_to_drained", m->all_s);
    report_count(r, "outbox_left", m->left);
    report_real(r, "deliveries", m->resident);
    report_real(r, "deliveries_to_no_resident_timeline", m->others);
    cpu_report(r, &p->pids, &m->all);
    report_figure(r, "deliveries_per_s", m->resident / m->all_s,
                  "first post to drained, publishing and load on the same machine");
    report_figure(r, "deliveries_per_cpu_s", used > 0 ? m->resident / used : 0,
                  "%llu posts as fast as taken by authors drawn at random of %zu, %.1f deliveries to resident "
                  "timelines a post (LPUSHX "
                  "answered non-zero); CPU of fanoutd, Redis and PostgreSQL from the first post to an empty outbox, so "
                  "the inserts of "
                  "publishing are in it",
                  (unsigned long long)p->count, p->authors.people.count,
                  p->authors.id_count ? m->resident / (double)p->authors.id_count : 0);
}

static void report(const struct publish *p, const struct stream *s, const struct measured *m) {
    const struct tally *t = stream_tally(s);
    uint64_t first = 0;
    for (size_t i = 0; i < p->authors.id_count; i++)
        if (!first || p->authors.ids[i] < first) first = p->authors.ids[i];
    struct report r;
    report_init(&r);
    tally_report(&r, t);
    report_id(&r, "first_post_id", first);
    report_count(&r, "acknowledged", p->authors.id_count);
    report_count(&r, "acknowledged_missing", m->missing);
    report_count(&r, "acknowledged_twice", m->twice);
    report_count(&r, "status_503", t->status[503]);
    report_real(&r, "seconds", m->publish_s);
    report_figure(
        &r, "posts_per_s", (double)t->good / m->publish_s,
        "%llu posts of %.0f bytes on average, authors drawn at random of %zu, %s, %llu connections, Idempotency-Key on "
        "each; first request to last answer, fan-out going on beside it; load and servers on the same machine",
        (unsigned long long)t->good, p->authors.texts.mean_bytes, p->authors.people.count,
        p->rate > 0 ? "open loop" : "closed loop", (unsigned long long)p->connections);
    report_open(&r, "cpu_while_publishing");
    cpu_report(&r, &p->pids, &m->publishing);
    report_close(&r);
    if (p->drain) report_fanout(&r, p, m);
    report_print(&r);
    report_fini(&r);
}

static bool drain(struct publish *p, struct bench *b, struct measured *m) {
    if (!p->drain) return true;
    return drain_wait(b, &p->fanoutds, p->drain_s * 1000, &m->left);
}

static bool run(struct publish *p, struct bench *b, struct loop *loop) {
    static const char family[] = "fanfare_fanout_deliveries_total";
    struct measured m = {0};
    struct cpu_usage before, published, after;
    struct stream *s = NULL;
    struct stream_options o = {.loop = loop,
                               .url = b->url,
                               .connections = (unsigned)p->connections,
                               .count = p->count,
                               .retry = true,
                               .retry_ms = 120000,
                               .due = p->rate > 0 ? due : NULL,
                               .next = next,
                               .answered = answered,
                               .ctx = p};
    double resident = fanoutds_sum(&p->fanoutds, family, "result=\"resident\""),
           all = fanoutds_sum(&p->fanoutds, family, NULL);
    uint64_t began = clock_mono_ns();
    bool whole = cpu_sample(&p->pids, &before);
    if (!stream_run(&o, "publish", &s)) return false;
    whole &= cpu_sample(&p->pids, &published);
    bool good = drain(p, b, &m);
    m.all_s = (double)(clock_mono_ns() - began) / 1e9;
    whole &= cpu_sample(&p->pids, &after);
    m.resident = fanoutds_sum(&p->fanoutds, family, "result=\"resident\"") - resident;
    m.others = fanoutds_sum(&p->fanoutds, family, NULL) - all - m.resident;
    m.publish_s = (double)stream_elapsed_ns(s) / 1e9;
    m.publishing = cpu_since(&before, &published);
    m.all = cpu_since(&before, &after);
    good = good && authors_check(&p->authors, b, &m.missing, &m.twice);
    if (good && !whole) bench_fail("a server process named by --pid is gone");
    if (good && whole) report(p, s, &m);
    stream_free(&s);
    return good && whole;
}

int command_publish(struct bench *b, int argc, char **argv) {
    struct publish p = {.prefix = "bench_a", .connections = 64, .count = 10000, .seed = 1, .drain_s = 120};
    const struct arg table[] = {
        {"--prefix", ARG_TEXT, &p.prefix, 0, 0, NULL, "of the authors' handles (bench_a)"},
        {"--posts", ARG_TEXT, &p.posts, 0, 0, NULL, "file of texts, one a line (made up)"},
        {"--count", ARG_NUMBER, &p.count, 1, 1e9, NULL, "posts (10000)"},
        {"--connections", ARG_NUMBER, &p.connections, 1, 10000, NULL, "at most (64)"},
        {"--rate", ARG_REAL, &p.rate, 0, 1e6, NULL, "open loop, posts a second (closed loop)"},
        {"--seed", ARG_NUMBER, &p.seed, 0, 1e15, NULL, "of the draws (1)"},
        {"--drain", ARG_FLAG, &p.drain, 0, 0, NULL, "waits until all is fanned out"},
        {"--drain-seconds", ARG_NUMBER, &p.drain_s, 1, 86400, NULL, "and for how long at most (120)"},
        {"--fanoutd", ARG_EACH, &p.fanoutds, 0, 0, fanoutd_argument,
         "admin URL of a fanoutd, for its counters; repeat"},
        CPU_PID_ARG(&p.pids)};
    if (!bench_arguments(table, ARRAY_LEN(table), argc, argv)) return EXIT_USAGE;
    p.arrivals = (struct arrivals){.rate = p.rate, .rng = {.state = p.seed + 1}};
    if (!bench_url(b)) return EXIT_FAILED;
    struct loop *loop = loop_new();
    bool good = authors_init(&p.authors, p.posts, p.seed) && people_load(b, p.prefix, &p.authors.people);
    if (good) {
        people_sign_all(&p.authors.people);
        good = run(&p, b, loop);
    }
    authors_fini(&p.authors);
    loop_free(&loop);
    return good ? EXIT_MEASURED : EXIT_FAILED;
}
