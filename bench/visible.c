/*
 * visible: how long after it was sent a post shows in its author's followers' feeds.
 *
 *   post sent (scheduled in advance) -> 201 -> 20 followers, spread over the author's list, are read at once and then
 *   every --poll-ms until the post's id is in the page -> lag = that answer's arrival - the time the post was scheduled
 *   for
 *
 * A lag is therefore too long by up to one poll interval and the read itself, never too short.
 */
#include <stdio.h>
#include <string.h>

#include "bench/authors.h"
#include "bench/cpu.h"
#include "bench/idlists.h"
#include "common/base/clock.h"
#include "common/base/mem.h"

enum { PATIENCE_MS = 10000, PAGE_LIMIT = 5, READ_TIMEOUT_MS = 10000, WAITING_MAX = 100000 };

struct visible {
    const char *prefix, *posts;
    uint64_t max_followers, seconds, polled, poll_ms, connections, seed;
    double rate;
    struct cpu_pids pids;
    struct loop *loop;
    struct authors authors;
    struct idlists followers;
    struct people readers; /* signs for followers; list is empty */
    struct map tokens;     /* follower id -> struct person (own) */
    struct http_client *http;
    struct arrivals arrivals;
    struct histogram *lag, *poll; /* ns */
    uint64_t open, polls, unseen, errors;
    bool published; /* the stream of posts is finished */
};
struct poll { /* one follower waiting for one post */
    struct visible *v;
    struct person *reader;
    char needle[32]; /* "123" with its quotes */
    uint64_t scheduled_ns, asked_ns;
    struct loop_timer timer;
};

static void check_end(struct visible *v) {
    if (v->published && !v->open) loop_stop(v->loop);
}

static void poll_end(struct poll *p) {
    struct visible *v = p->v;
    mem_free(p);
    v->open--;
    check_end(v);
}

static void ask(struct poll *p);

static void on_timer(struct loop_timer *t) {
    ask(CONTAINER_OF(t, struct poll, timer));
}

static void poll_later(struct poll *p) {
    struct visible *v = p->v;
    if (clock_mono_ns() - p->scheduled_ns > (uint64_t)PATIENCE_MS * 1000000) {
        v->unseen++;
        poll_end(p);
        return;
    }
    p->timer.fire = on_timer;
    loop_timer_start(v->loop, &p->timer, v->poll_ms);
}

static void on_page(void *ctx, enum err err, const struct http_reply *reply) {
    struct poll *p = ctx;
    struct visible *v = p->v;
    uint64_t now = clock_mono_ns();
    if (err == ERR_CANCELED) return;
    if (err != ERR_OK || reply->status != 200) {
        v->errors++;
        poll_later(p);
        return;
    }
    histogram_add(v->poll, now - p->asked_ns);
    if (!memmem(reply->body.data, reply->body.len, p->needle, strlen(p->needle))) {
        poll_later(p);
        return;
    }
    histogram_add(v->lag, now - p->scheduled_ns);
    poll_end(p);
}

static void ask(struct poll *p) {
    struct visible *v = p->v;
    char target[64];
    snprintf(target, sizeof(target), "/v1/me/feed?limit=%d", PAGE_LIMIT);
    p->asked_ns = clock_mono_ns();
    v->polls++;
    if (http_client_send(v->http, "GET", target, people_header(&v->readers, p->reader), STR(""), READ_TIMEOUT_MS,
                         on_page, p) == ERR_OK)
        return;
    v->errors++;
    poll_later(p);
}

static struct person *reader_of(struct visible *v, uint64_t id) {
    struct person *who = map_get(&v->tokens, id);
    if (who) return who;
    who = NEW(struct person);
    who->id = id;
    map_put(&v->tokens, id, who);
    return who;
}

/* Starts polling of followers at spread positions of the list. */
static void start_polls(struct visible *v, uint64_t author, uint64_t post, uint64_t scheduled_ns) {
    const struct idlist *list = idlists_get(&v->followers, author);
    size_t n = list ? list->count : 0, polled = v->polled < n ? v->polled : n;
    for (size_t i = 0; i < polled; i++) {
        struct poll *p = NEW(struct poll);
        *p = (struct poll){.v = v,
                           .reader = reader_of(v, list->ids[polled > 1 ? i * (n - 1) / (polled - 1) : 0]),
                           .scheduled_ns = scheduled_ns};
        snprintf(p->needle, sizeof(p->needle), "\"%llu\"", (unsigned long long)post);
        v->open++;
        ask(p);
    }
}

static bool next(void *ctx, struct stream_request *to) {
    struct visible *v = ctx;
    struct people *people = &v->authors.people;
    struct person *who = &people->list[rng_below(&v->authors.rng, people->count)];
    authors_request(&v->authors, who, to);
    to->tag = who->id;
    return true;
}

static uint64_t due(void *ctx, uint64_t n) {
    (void)n;
    return arrivals_next(&((struct visible *)ctx)->arrivals);
}

static void answered(void *ctx, const struct stream_request *r, const struct http_reply *reply, uint64_t started_ns,
                     uint64_t answered_ns) {
    struct visible *v = ctx;
    (void)answered_ns;
    uint64_t post = authors_answered(&v->authors, reply);
    if (post) start_polls(v, r->tag, post, started_ns);
}

static void finished(void *ctx) {
    struct visible *v = ctx;
    v->published = true;
    check_end(v);
}

static void report(const struct visible *v, const struct stream *s, const struct cpu_usage *cpu) {
    char how[400];
    snprintf(how, sizeof(how),
             "open loop, %g posts/s for %llu s by %zu authors of up to %llu followers, %llu followers a post at spread "
             "positions read from "
             "the 201 on and then every %llu ms (limit=%d) until the post is there; from the time the post was "
             "scheduled for; resolution: "
             "one interval and one read",
             v->rate, (unsigned long long)v->seconds, v->authors.people.count, (unsigned long long)v->max_followers,
             (unsigned long long)v->polled, (unsigned long long)v->poll_ms, PAGE_LIMIT);
    struct report r;
    report_init(&r);
    report_figure(&r, "publish_visible_p50_ms", (double)histogram_quantile(v->lag, 0.5) / 1e6, "%s", how);
    report_figure(&r, "publish_visible_p99_ms", (double)histogram_quantile(v->lag, 0.99) / 1e6, "%s", how);
    report_count(&r, "seen", histogram_count(v->lag));
    report_count(&r, "unseen_after_10_s", v->unseen);
    report_open(&r, "lag");
    latency_report(&r, v->lag);
    report_close(&r);
    report_count(&r, "polls", v->polls);
    report_count(&r, "poll_errors", v->errors);
    report_open(&r, "poll_latency");
    latency_report(&r, v->poll);
    report_close(&r);
    report_open(&r, "publish");
    tally_report(&r, stream_tally(s));
    report_close(&r);
    cpu_report(&r, &v->pids, cpu);
    report_print(&r);
    report_fini(&r);
}

static bool run(struct visible *v, const char *url) {
    struct stream *s = NULL;
    struct stream_options o = {.loop = v->loop,
                               .url = url,
                               .connections = 32,
                               .run_ms = v->seconds * 1000,
                               .retry = true,
                               .retry_ms = 10000,
                               .due = due,
                               .next = next,
                               .answered = answered,
                               .finished = finished,
                               .ctx = v};
    struct cpu_usage before, after;
    if (http_client_new(v->loop, url, (unsigned)v->connections, WAITING_MAX, &v->http) != ERR_OK) {
        bench_fail("\"%s\" is no address of a server", url);
        return false;
    }
    bool whole = cpu_sample(&v->pids, &before);
    bool good = stream_run(&o, "visible", &s);
    whole &= cpu_sample(&v->pids, &after);
    if (good && !whole) bench_fail("a server process named by --pid is gone");
    if (good && whole) {
        struct cpu_usage cpu = cpu_since(&before, &after);
        report(v, s, &cpu);
    }
    stream_free(&s);
    http_client_free(&v->http);
    return good && whole;
}

static void fini(struct visible *v) {
    size_t i = 0;
    for (struct map_entry *e; (e = map_next(&v->tokens, &i));) {
        mem_free(((struct person *)e->value)->header);
        mem_free(e->value);
    }
    map_fini(&v->tokens);
    authors_fini(&v->authors);
    idlists_fini(&v->followers);
    histogram_free(&v->lag);
    histogram_free(&v->poll);
    loop_free(&v->loop);
}

int command_visible(struct bench *b, int argc, char **argv) {
    struct visible v = {.prefix = "bench_v",
                        .max_followers = 1000,
                        .seconds = 15,
                        .polled = 20,
                        .poll_ms = 10,
                        .connections = 64,
                        .seed = 1,
                        .rate = 100};
    const struct arg table[] = {
        {"--prefix", ARG_TEXT, &v.prefix, 0, 0, NULL, "of the authors' handles (bench_v)"},
        {"--max-followers", ARG_NUMBER, &v.max_followers, 1, 1e9, NULL, "authors with 1 to so many followers (1000)"},
        {"--posts", ARG_TEXT, &v.posts, 0, 0, NULL, "file of texts, one a line (made up)"},
        {"--rate", ARG_REAL, &v.rate, 0.01, 1e5, NULL, "posts a second (100)"},
        {"--seconds", ARG_NUMBER, &v.seconds, 1, 3600, NULL, "of publishing (15)"},
        {"--followers", ARG_NUMBER, &v.polled, 1, 1000, NULL, "polled a post (20)"},
        {"--poll-ms", ARG_NUMBER, &v.poll_ms, 1, 1000, NULL, "between two reads of a follower (10)"},
        {"--connections", ARG_NUMBER, &v.connections, 1, 10000, NULL, "of the pollers (64)"},
        {"--seed", ARG_NUMBER, &v.seed, 0, 1e15, NULL, "of the draws (1)"},
        CPU_PID_ARG(&v.pids)};
    if (!bench_arguments(table, ARRAY_LEN(table), argc, argv)) return EXIT_USAGE;
    if (!bench_url(b)) return EXIT_FAILED;
    v.arrivals = (struct arrivals){.rate = v.rate, .rng = {.state = v.seed + 1}};
    v.readers.bench = b;
    v.lag = histogram_new();
    v.poll = histogram_new();
    v.loop = loop_new();
    bool good = authors_init(&v.authors, v.posts, v.seed) &&
                people_load_followed(b, v.prefix, 1, v.max_followers, &v.authors.people) &&
                idlists_load(b, IDLISTS_FOLLOWERS, &v.followers);
    if (good) {
        people_sign_all(&v.authors.people);
        good = run(&v, b->url);
    }
    fini(&v);
    return good ? EXIT_MEASURED : EXIT_FAILED;
}
