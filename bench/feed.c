/*
 * feed: the mixed run. Posts of an activity trace (the actor of each row writes one), or at a rate by the people of the
 * trace; feeds read by active people beside it, Zipf.
 *
 *   --speed F   open loop: posts at the trace's own times divided by F, --reads-per-post reads a post, arrivals
 *               scheduled in advance
 *   --rate R    open loop: R posts a second, reads as above
 *   neither     posts as fast as they are taken on --connections, reads as fast as they are answered on
 *               --read-connections until the last post is
 */
#include <stdio.h>

#include "bench/authors.h"
#include "bench/drain.h"
#include "bench/lines.h"
#include "bench/readers.h"
#include "common/base/clock.h"
#include "common/base/mem.h"

struct feed {
    struct readers_options readers_options;
    const char *posts;
    uint64_t count, connections, read_connections, reads_per_post, drain_s, patience_s;
    double speed, rate;
    bool drain;
    struct fanoutds fanoutds;
    struct loop *loop;
    struct activity *trace; /* (own) rows whose actor is a user */
    size_t trace_count;
    struct authors authors;
    struct readers readers;
    struct arrivals post_arrivals, read_arrivals;
    struct stream *post_stream, *read_stream; /* (own) */
    uint64_t post_seconds_ns;
};

static bool next_post(void *ctx, struct stream_request *to) {
    struct feed *f = ctx;
    if (f->authors.published == f->trace_count) return false;
    authors_request(&f->authors, people_find(&f->authors.people, f->trace[f->authors.published].actor), to);
    return true;
}

static bool next_read(void *ctx, struct stream_request *to) {
    return readers_next(&((struct feed *)ctx)->readers, to);
}

static uint64_t due_post(void *ctx, uint64_t n) {
    struct feed *f = ctx;
    if (f->rate > 0) return arrivals_next(&f->post_arrivals);
    if (n >= f->trace_count) n = f->trace_count - 1;
    /* The trace has whole seconds: rows of one second are spread over it. */
    size_t first = n, last = n;
    while (first > 0 && f->trace[first - 1].seconds == f->trace[n].seconds) first--;
    while (last + 1 < f->trace_count && f->trace[last + 1].seconds == f->trace[n].seconds) last++;
    double within = (double)(n - first) / (double)(last - first + 1);
    return (uint64_t)(((double)(f->trace[n].seconds - f->trace[0].seconds) + within) / f->speed * 1e9);
}

static uint64_t due_read(void *ctx, uint64_t n) {
    (void)n;
    return arrivals_next(&((struct feed *)ctx)->read_arrivals);
}

static void post_answered(void *ctx, const struct stream_request *r, const struct http_reply *reply,
                          uint64_t started_ns, uint64_t answered_ns) {
    (void)r;
    (void)started_ns;
    (void)answered_ns;
    authors_answered(&((struct feed *)ctx)->authors, reply);
}

static void check_end(struct feed *f) {
    if (stream_done(f->post_stream) && stream_done(f->read_stream)) loop_stop(f->loop);
}

static void posts_finished(void *ctx) {
    struct feed *f = ctx;
    f->post_seconds_ns = stream_elapsed_ns(f->post_stream);
    stream_stop(f->read_stream);
    check_end(f);
}

static void reads_finished(void *ctx) {
    check_end(ctx);
}

static bool paced(const struct feed *f) {
    return f->rate > 0 || f->speed > 0;
}

/* Posts a second on average, for the rate of reads. */
static double mean_rate(const struct feed *f) {
    if (f->rate > 0) return f->rate;
    double seconds = (double)(f->trace[f->trace_count - 1].seconds - f->trace[0].seconds + 1) / f->speed;
    return (double)f->trace_count / seconds;
}

static bool load_trace(struct feed *f) {
    CLEANUP(mem_free_charp) char *message = NULL;
    size_t n, malformed, kept = 0;
    if (activity_read(f->readers_options.activity, &f->trace, &n, &malformed, &message) != ERR_OK) {
        bench_fail("%s", message);
        return false;
    }
    for (size_t i = 0; i < n && kept < f->count; i++)
        if (people_find(&f->authors.people, f->trace[i].actor)) f->trace[kept++] = f->trace[i];
    f->trace_count = kept;
    if (malformed) fprintf(stderr, "feed: %zu rows of the trace are malformed\n", malformed);
    if (!kept) bench_fail("no actor of the trace is a user with the prefix %s", f->readers_options.prefix);
    return kept > 0;
}

static bool run(struct feed *f, const char *url) {
    struct stream_options posts = {.loop = f->loop,
                                   .url = url,
                                   .connections = (unsigned)f->connections,
                                   .retry = true,
                                   .retry_ms = f->patience_s * 1000,
                                   .due = paced(f) ? due_post : NULL,
                                   .next = next_post,
                                   .answered = post_answered,
                                   .finished = posts_finished,
                                   .ctx = f};
    struct stream_options reads = {.loop = f->loop,
                                   .url = url,
                                   .connections = (unsigned)f->read_connections,
                                   .retry = true,
                                   .retry_ms = f->patience_s * 1000,
                                   .due = paced(f) ? due_read : NULL,
                                   .next = next_read,
                                   .finished = reads_finished,
                                   .ctx = f};
    if (paced(f)) f->read_arrivals.rate = mean_rate(f) * (double)f->reads_per_post;
    if (!stream_new(&posts, &f->post_stream) || !stream_new(&reads, &f->read_stream)) return false;
    struct stream_progress p, q;
    stream_progress_start(&p, f->loop, "posts", f->post_stream);
    stream_progress_start(&q, f->loop, "reads", f->read_stream);
    stream_start(f->read_stream);
    stream_start(f->post_stream);
    loop_run(f->loop);
    stream_progress_stop(&p);
    stream_progress_stop(&q);
    return true;
}

static void report(const struct feed *f, uint64_t left, double drain_s, uint64_t missing, uint64_t twice) {
    const struct tally *posts = stream_tally(f->post_stream), *reads = stream_tally(f->read_stream);
    double seconds = (double)f->post_seconds_ns / 1e9;
    char how[200];
    if (f->rate > 0)
        snprintf(how, sizeof(how), "open loop at %g posts/s", f->rate);
    else if (f->speed > 0)
        snprintf(how, sizeof(how), "open loop at the trace's times, %g times as fast", f->speed);
    else
        snprintf(how, sizeof(how), "as fast as taken on %llu connections", (unsigned long long)f->connections);
    struct report r;
    report_init(&r);
    report_figure(&r, "posts_per_s", (double)posts->good / seconds,
                  "%zu posts in the order of the trace %s, %s, while %zu active people read pages of %llu on %llu "
                  "connections, Zipf",
                  f->trace_count, f->readers_options.activity, how, f->readers.people.count,
                  (unsigned long long)f->readers_options.limit, (unsigned long long)f->read_connections);
    report_figure(&r, "reads_per_s", (double)reads->good / seconds, "beside these posts; %.1f reads a post",
                  posts->good ? (double)reads->good / (double)posts->good : 0);
    report_real(&r, "seconds", seconds);
    report_count(&r, "acknowledged", f->authors.id_count);
    report_count(&r, "acknowledged_missing", missing);
    report_count(&r, "acknowledged_twice", twice);
    report_real(&r, "drain_seconds", drain_s);
    report_count(&r, "outbox_left", left);
    report_open(&r, "publish");
    tally_report(&r, posts);
    report_close(&r);
    report_open(&r, "read");
    tally_report(&r, reads);
    report_close(&r);
    report_print(&r);
    report_fini(&r);
}

static bool measure(struct feed *f, struct bench *b) {
    uint64_t left = 0, missing, twice;
    if (!run(f, b->url)) return false;
    uint64_t began = clock_mono_ns();
    if (f->drain && !drain_wait(b, &f->fanoutds, f->drain_s * 1000, &left)) return false;
    double drain_s = (double)(clock_mono_ns() - began) / 1e9;
    if (!authors_check(&f->authors, b, &missing, &twice)) return false;
    report(f, left, drain_s, missing, twice);
    return true;
}

static void fini(struct feed *f) {
    stream_free(&f->post_stream);
    stream_free(&f->read_stream);
    loop_free(&f->loop);
    readers_fini(&f->readers);
    authors_fini(&f->authors);
    mem_free(f->trace);
}

int command_feed(struct bench *b, int argc, char **argv) {
    struct feed f = {.readers_options = READERS_DEFAULTS,
                     .count = 50000,
                     .connections = 64,
                     .read_connections = 32,
                     .reads_per_post = 10,
                     .drain_s = 600,
                     .patience_s = 300};
    f.readers_options.prefix = "u";
    const struct arg table[] = {
        READERS_ARGS(&f.readers_options),
        {"--posts", ARG_TEXT, &f.posts, 0, 0, NULL, "file of texts, one a line (made up)"},
        {"--count", ARG_NUMBER, &f.count, 1, 1e9, NULL, "posts at most (50000)"},
        {"--speed", ARG_REAL, &f.speed, 0, 1e6, NULL, "open loop, times the speed of the trace"},
        {"--rate", ARG_REAL, &f.rate, 0, 1e6, NULL, "open loop, posts a second"},
        {"--reads-per-post", ARG_NUMBER, &f.reads_per_post, 0, 1000, NULL, "in an open loop (10)"},
        {"--connections", ARG_NUMBER, &f.connections, 1, 10000, NULL, "for posts (64)"},
        {"--read-connections", ARG_NUMBER, &f.read_connections, 1, 10000, NULL, "for reads (32)"},
        {"--patience", ARG_NUMBER, &f.patience_s, 1, 3600, NULL, "seconds that one request is retried (300)"},
        {"--drain", ARG_FLAG, &f.drain, 0, 0, NULL, "waits until all is fanned out"},
        {"--drain-seconds", ARG_NUMBER, &f.drain_s, 1, 86400, NULL, "and for how long at most (600)"},
        {"--fanoutd", ARG_EACH, &f.fanoutds, 0, 0, fanoutd_argument, "admin URL of a fanoutd; repeat"}};
    if (!bench_arguments(table, ARRAY_LEN(table), argc, argv)) return EXIT_USAGE;
    if (!f.readers_options.activity) return bench_usage("--activity: name a trace of rows 'unix_seconds a b kind'");
    if (f.speed > 0 && f.rate > 0) return bench_usage("--speed and --rate exclude each other");
    if (!bench_url(b)) return EXIT_FAILED;
    f.loop = loop_new();
    f.post_arrivals = (struct arrivals){.rate = f.rate, .rng = {.state = f.readers_options.seed + 1}};
    f.read_arrivals.rng.state = f.readers_options.seed + 2;
    bool good = authors_init(&f.authors, f.posts, f.readers_options.seed) &&
                people_load(b, f.readers_options.prefix, &f.authors.people) && load_trace(&f) &&
                readers_init(&f.readers, b, &f.readers_options) && measure(&f, b);
    fini(&f);
    return good ? EXIT_MEASURED : EXIT_FAILED;
}
