/*
 * read: feeds as readers would read them, and what a read costs the servers.
 *
 *   [--warm: each reader once] -> CPU -> draws for --seconds, closed loop or at --rate -> CPU
 */
#include <stdio.h>
#include <time.h>

#include "bench/cpu.h"
#include "bench/readers.h"
#include "common/base/mem.h"

struct read {
    struct readers_options readers;
    uint64_t connections, seconds;
    double rate;
    bool warm, once;
    const char *ids;
    struct cpu_pids pids;
};
struct source { /* what the stream asks */
    struct readers readers;
    struct arrivals arrivals;
};

static bool next(void *ctx, struct stream_request *to) {
    struct source *s = ctx;
    return readers_next(&s->readers, to);
}

static uint64_t due(void *ctx, uint64_t n) {
    struct source *s = ctx;
    (void)n;
    return arrivals_next(&s->arrivals);
}

static void report(const struct read *q, const struct source *s, const struct stream *stream,
                   const struct cpu_usage *cpu) {
    const struct tally *t = stream_tally(stream);
    double seconds = (double)stream_elapsed_ns(stream) / 1e9, used = cpu_total(cpu, CPU_SERVERS);
    char how[160];
    if (q->rate > 0)
        snprintf(how, sizeof(how), "open loop at %g reads/s", q->rate);
    else
        snprintf(how, sizeof(how), "closed loop, %llu connections", (unsigned long long)q->connections);
    struct report r;
    report_init(&r);
    report_real(&r, "seconds", seconds);
    report_count(&r, "readers", s->readers.people.count);
    tally_report(&r, t);
    report_figure(&r, "reads_per_s", (double)t->good / seconds, "%s, load and servers on the same machine", how);
    cpu_report(&r, &q->pids, cpu);
    if (q->pids.count)
        report_figure(&r, "reads_per_cpu_s", used > 0 ? (double)t->good / used : 0,
                      "pages of %llu hydrated items, %.0f bytes of body on average, %s over %zu readers, %s, %s, %.0f "
                      "s; CPU summed "
                      "over all server processes named, the load's own not counted",
                      (unsigned long long)q->readers.limit, t->good ? (double)t->bytes / (double)t->good : 0,
                      q->once ? "each once" : "Zipf", s->readers.people.count,
                      q->warm ? "every feed read once before" : "no reads before", how, seconds);
    report_print(&r);
    report_fini(&r);
}

static bool run(struct read *q, struct source *s, struct loop *loop, const char *url) {
    struct stream *stream = NULL;
    struct stream_options o = {.loop = loop,
                               .url = url,
                               .connections = (unsigned)q->connections,
                               .next = next,
                               .retry = true,
                               .retry_ms = 60000,
                               .ctx = s};
    if (q->warm) {
        readers_again(&s->readers, true);
        if (!stream_run(&o, "warming", &stream)) return false;
        stream_free(&stream);
    }
    readers_again(&s->readers, q->once);
    o.run_ms = q->once ? 0 : q->seconds * 1000;
    o.due = q->rate > 0 && !q->once ? due : NULL;
    struct cpu_usage before, after;
    bool whole = cpu_sample(&q->pids, &before);
    if (!stream_run(&o, "read", &stream)) return false;
    whole &= cpu_sample(&q->pids, &after);
    struct cpu_usage cpu = cpu_since(&before, &after);
    bool good = stream_tally(stream)->good > 0 && whole;
    if (!whole)
        bench_fail("a server process named by --pid is gone");
    else if (!good)
        bench_fail("no read was answered");
    else
        report(q, s, stream, &cpu);
    stream_free(&stream);
    return good;
}

int command_read(struct bench *b, int argc, char **argv) {
    struct read q = {.readers = READERS_DEFAULTS, .connections = 64, .seconds = 20};
    const struct arg table[] = {READERS_ARGS(&q.readers),
                                {"--connections", ARG_NUMBER, &q.connections, 1, 10000, NULL, "at most (64)"},
                                {"--seconds", ARG_NUMBER, &q.seconds, 1, 86400, NULL, "of measuring (20)"},
                                {"--rate", ARG_REAL, &q.rate, 0, 1e6, NULL, "open loop, reads a second (closed loop)"},
                                {"--warm", ARG_FLAG, &q.warm, 0, 0, NULL, "reads every feed once before"},
                                {"--once", ARG_FLAG, &q.once, 0, 0, NULL, "reads every feed once instead of drawing"},
                                {"--ids-to", ARG_TEXT, &q.ids, 0, 0, NULL, "file that gets the readers' ids"},
                                CPU_PID_ARG(&q.pids)};
    if (!bench_arguments(table, ARRAY_LEN(table), argc, argv)) return EXIT_USAGE;
    if (!bench_url(b)) return EXIT_FAILED;
    struct source s = {.arrivals = {.rate = q.rate, .rng = {.state = q.readers.seed + 1}}};
    if (!readers_init(&s.readers, b, &q.readers)) return EXIT_FAILED;
    struct loop *loop = loop_new();
    bool good = (!q.ids || readers_write_ids(&s.readers, q.ids)) && run(&q, &s, loop, b->url);
    loop_free(&loop);
    readers_fini(&s.readers);
    return good ? EXIT_MEASURED : EXIT_FAILED;
}
