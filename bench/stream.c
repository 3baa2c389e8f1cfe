/*
 * Streams of requests.
 *
 *   due or a free connection -> slot: next() -> send -> answer -> tally -> (retry: timer -> send) -> answered()
 *                                       ^                                                               |
 *                                       +---------------------------------------------------------------+-> free
 *
 * A slot is one request under way; it keeps the request, so that it can be sent again byte by byte (publishers send an
 * Idempotency-Key, which makes that safe). In a closed loop there are as many slots as connections, in an open loop as
 * many as the server's slowness makes.
 */
#include "bench/stream.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench/bench.h"
#include "common/base/clock.h"
#include "common/base/list.h"
#include "common/base/mem.h"

enum { TIMEOUT_MS = 30000, WAITING_MAX = 200000, RETRY_LOST_MS = 100, RETRY_BUSY_MS = 5 };

struct slot {
    struct list link; /* of spare slots */
    struct stream *stream;
    struct stream_request request;
    uint64_t started_ns;
    struct loop_timer retry;
};

struct stream {
    struct stream_options options;
    struct http_client *http; /* (own) */
    struct tally tally;
    struct list spare;     /* of slots (own) */
    uint64_t under_way;    /* slots that are not spare */
    struct loop_timer due; /* open loop: the next arrival */
    uint64_t next_due_ns;  /* after the start */
    uint64_t start_ns, last_ns;
    bool started, exhausted, finished;
};

static void slot_send(struct slot *k);

static struct slot *slot_new(struct stream *s) {
    s->under_way++;
    struct list *n = list_pop(&s->spare);
    if (n) return CONTAINER_OF(n, struct slot, link);
    struct slot *k = NEW(struct slot);
    k->stream = s;
    return k;
}

static void slot_spare(struct slot *k) {
    struct stream *s = k->stream;
    list_add_head(&s->spare, &k->link);
    s->under_way--;
}

static void check_finished(struct stream *s) {
    if (!s->exhausted || s->under_way || s->finished) return;
    s->finished = true;
    s->last_ns = clock_mono_ns();
    if (s->options.finished)
        s->options.finished(s->options.ctx);
    else
        loop_stop(s->options.loop);
}

/* Fills and sends; false: there is nothing more to send, the slot is spare. */
static bool slot_next(struct slot *k, uint64_t started_ns) {
    struct stream *s = k->stream;
    const struct stream_options *o = &s->options;
    bool over = s->exhausted || (o->count && s->tally.sent >= o->count) ||
                (o->run_ms && clock_mono_ns() - s->start_ns >= o->run_ms * 1000000);
    if (!over) {
        buf_clear(&k->request.target);
        buf_clear(&k->request.headers);
        buf_clear(&k->request.body);
        over = !o->next(o->ctx, &k->request);
    }
    if (over) {
        s->exhausted = true;
        slot_spare(k);
        check_finished(s);
        return false;
    }
    s->tally.sent++;
    k->started_ns = started_ns;
    slot_send(k);
    return true;
}

static void slot_retry(struct loop_timer *t) {
    slot_send(CONTAINER_OF(t, struct slot, retry));
}

static void slot_later(struct slot *k, uint64_t ms) {
    k->retry.fire = slot_retry;
    loop_timer_start(k->stream->options.loop, &k->retry, ms);
}

static void slot_end(struct slot *k, const struct http_reply *reply, uint64_t now) {
    struct stream *s = k->stream;
    if (s->options.answered) s->options.answered(s->options.ctx, &k->request, reply, k->started_ns, now);
    if (!s->options.due) {
        slot_next(k, clock_mono_ns());
        return;
    }
    slot_spare(k);
    check_finished(s);
}

static void on_reply(void *ctx, enum err err, const struct http_reply *reply) {
    struct slot *k = ctx;
    struct stream *s = k->stream;
    struct tally *t = &s->tally;
    uint64_t now = clock_mono_ns(), wait_ms = RETRY_LOST_MS, seconds = 0;
    bool again = true;
    if (err == ERR_CANCELED) return; /* the stream is being freed */
    if (err != ERR_OK) {
        t->errors[err]++;
    } else {
        unsigned status = reply->status < ARRAY_LEN(t->status) ? reply->status : 0;
        t->status[status]++;
        bool told = str_u64(http_reply_header(reply, "Retry-After"), &seconds);
        if (status == 503 && !told) t->bare_503++;
        if (told) wait_ms = seconds * 1000;
        again = status == 503 || status == 429;
    }
    if (again && s->options.retry && now - k->started_ns < s->options.retry_ms * 1000000) {
        t->retries++;
        slot_later(k, wait_ms);
        return;
    }
    if (err == ERR_OK && reply->status < 400) {
        t->good++;
        t->bytes += reply->body.len;
        histogram_add(t->latency, now - k->started_ns);
    } else {
        t->given_up++;
    }
    slot_end(k, err == ERR_OK ? reply : NULL, now);
}

static void slot_send(struct slot *k) {
    struct stream *s = k->stream;
    const struct stream_request *r = &k->request;
    CLEANUP(mem_free_charp) char *target = mem_strndup(buf_str(&r->target).data, r->target.len);
    enum err e =
        http_client_send(s->http, r->method, target, buf_str(&r->headers), buf_str(&r->body), TIMEOUT_MS, on_reply, k);
    if (e == ERR_OK) return;
    s->tally.errors[e]++;
    slot_later(k, RETRY_BUSY_MS); /* too many wait: not sent, so not lost either; its latency goes on counting */
}

/* Sends all arrivals that are due. The timer has whole milliseconds: what that adds counts as latency. */
static void on_due(struct loop_timer *t) {
    struct stream *s = CONTAINER_OF(t, struct stream, due);
    const struct stream_options *o = &s->options;
    uint64_t now = clock_mono_ns() - s->start_ns;
    while (s->next_due_ns <= now) {
        if (!slot_next(slot_new(s), s->start_ns + s->next_due_ns)) return;
        s->next_due_ns = o->due(o->ctx, s->tally.sent);
    }
    uint64_t wait_ms = (s->next_due_ns - now) / 1000000;
    loop_timer_start(o->loop, &s->due, wait_ms ? wait_ms : 1);
}

bool stream_new(const struct stream_options *options, struct stream **ret) {
    struct http_client *http;
    if (http_client_new(options->loop, options->url, options->connections, WAITING_MAX, &http) != ERR_OK) {
        bench_fail("\"%s\" is no address of a server; give one like http://127.0.0.1:8080", options->url);
        return false;
    }
    struct stream *s = NEW(struct stream);
    s->options = *options;
    s->http = http;
    s->tally.latency = histogram_new();
    s->due.fire = on_due;
    list_init(&s->spare);
    *ret = s;
    return true;
}

void stream_free(struct stream **sp) {
    struct stream *s = *sp;
    if (!s) return;
    *sp = NULL;
    loop_timer_stop(&s->due);
    http_client_free(&s->http);
    for (struct list *n; (n = list_pop(&s->spare));) {
        struct slot *k = CONTAINER_OF(n, struct slot, link);
        buf_fini(&k->request.target);
        buf_fini(&k->request.headers);
        buf_fini(&k->request.body);
        mem_free(k);
    }
    histogram_free(&s->tally.latency);
    mem_free(s);
}

void stream_start(struct stream *s) {
    s->started = true;
    s->start_ns = clock_mono_ns();
    if (s->options.due) {
        s->next_due_ns = s->options.due(s->options.ctx, 0);
        loop_timer_start(s->options.loop, &s->due, s->next_due_ns / 1000000);
        return;
    }
    for (unsigned i = 0; i < s->options.connections; i++)
        if (!slot_next(slot_new(s), s->start_ns)) break;
}

void stream_stop(struct stream *s) {
    s->exhausted = true;
    loop_timer_stop(&s->due);
    check_finished(s);
}

bool stream_done(const struct stream *s) {
    return s->finished;
}

const struct tally *stream_tally(const struct stream *s) {
    return &s->tally;
}

uint64_t stream_elapsed_ns(const struct stream *s) {
    return (s->finished ? s->last_ns : clock_mono_ns()) - s->start_ns;
}

uint64_t arrivals_next(struct arrivals *a) {
    uint64_t at = (uint64_t)a->at_ns;
    a->at_ns += -log(1.0 - rng_double(&a->rng)) / a->rate * 1e9;
    return at;
}

static void on_progress(struct loop_timer *t) {
    struct stream_progress *p = CONTAINER_OF(t, struct stream_progress, timer);
    const struct tally *y = stream_tally(p->stream);
    uint64_t now = clock_mono_ns(), errors = 0;
    bool terminal = isatty(STDERR_FILENO);
    loop_timer_start(p->stream->options.loop, t, 1000);
    if (!terminal && ++p->ticks % 5) return;
    for (int e = 0; e < ERR_COUNT; e++) errors += y->errors[e];
    double rate = (double)(y->good - p->last_good) / ((double)(now - p->last_ns) / 1e9);
    fprintf(stderr, "%s%s: %llu answered, %.0f/s, p99 %.1f ms, under way %llu, retries %llu, errors %llu%s",
            terminal ? "\r\033[K" : "", p->what, (unsigned long long)y->good, rate,
            (double)histogram_quantile(y->latency, 0.99) / 1e6, (unsigned long long)p->stream->under_way,
            (unsigned long long)y->retries, (unsigned long long)errors, terminal ? "" : "\n");
    p->last_good = y->good;
    p->last_ns = now;
}

void stream_progress_start(struct stream_progress *p, struct loop *loop, const char *what, const struct stream *s) {
    *p =
        (struct stream_progress){.what = what, .stream = s, .timer = {.fire = on_progress}, .last_ns = clock_mono_ns()};
    loop_timer_start(loop, &p->timer, 1000);
}

void stream_progress_stop(struct stream_progress *p) {
    loop_timer_stop(&p->timer);
    if (isatty(STDERR_FILENO)) fputs("\r\033[K", stderr);
}

bool stream_run(struct stream_options *options, const char *what, struct stream **ret) {
    if (!stream_new(options, ret)) return false;
    struct stream_progress progress;
    stream_progress_start(&progress, options->loop, what, *ret);
    stream_start(*ret);
    loop_run(options->loop); /* returns at once when it is finished already */
    stream_progress_stop(&progress);
    return true;
}
