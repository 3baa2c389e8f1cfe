/*
 * verify: what HTTP serves against the oracle.
 *
 *   readers -> batches: oracle's feeds (ctl/oracle.c)  +  GET /v1/me/feed page by page with a token of each  -> compare
 * ids and authors in order readers that differ are asked again, after a pause and both sides afresh: what changed
 * between the two looks is no difference
 *
 * Every page must hold well-formed posts in strict order, without repeats, and be full unless it is the last. Being
 * told to come back (429, 503 with Retry-After) is obeyed for up to a minute. The daemons know nothing of this: it is a
 * client like any other.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/domain/id.h"
#include "common/sys/http_client.h"
#include "common/sys/json.h"
#include "ctl/arguments.h"
#include "ctl/ctl.h"
#include "ctl/oracle.h"

#define PAGE_LIMIT        200
#define BATCH             256
#define BATCH_DEEP        16
#define SHOWN_DIFFERENCES 10
#define PATIENCE_MS       60000
#define DEPTH_TO_THE_END  1000000000u

enum source { SOURCE_RESIDENT, SOURCE_REBUILD, SOURCE_DATABASE, SOURCE_UNKNOWN, SOURCE_COUNT };
static const char *const source_names[] = {"resident", "rebuild", "database", "unknown"};

struct verify {
    struct ctl *c;
    struct loop *loop;
    struct http_client *http;
    unsigned depth;
    unsigned open; /* readers of the batch at work */
    uint64_t feeds, entries, pages;
    uint64_t sources[SOURCE_COUNT]; /* of first pages */
    uint64_t *differing;            /* (own) readers */
    size_t differing_count, differing_cap;
    bool last_look; /* differences are final: show them */
    unsigned shown;
    char *failure; /* (own) why the run cannot go on */
};

struct reader {
    struct verify *v;
    const struct oracle_feed *want;
    size_t at;     /* entries compared so far */
    char *headers; /* (own) */
    char cursor[128];
    bool first_page;
    uint64_t asked_ms; /* of the page at work, for patience */
    struct loop_timer retry;
};

static void ask_page(struct reader *r);

static void reader_end(struct reader *r) {
    struct verify *v = r->v;
    v->feeds++;
    v->entries += r->at;
    mem_free(r->headers);
    mem_free(r);
    if (--v->open == 0) loop_stop(v->loop);
}

static void differ(struct reader *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void differ(struct reader *r, const char *fmt, ...) {
    struct verify *v = r->v;
    if (v->differing_count == v->differing_cap) {
        v->differing_cap = v->differing_cap ? v->differing_cap * 2 : 64;
        v->differing = mem_grow(v->differing, v->differing_cap, sizeof *v->differing);
    }
    v->differing[v->differing_count++] = r->want->reader;
    if (v->last_look && v->shown++ < SHOWN_DIFFERENCES) {
        va_list args;
        va_start(args, fmt);
        printf("difference: reader %" PRIu64 ", entry %zu: ", r->want->reader, r->at);
        vprintf(fmt, args);
        va_end(args);
        putchar('\n');
    }
    reader_end(r);
}

static void fail(struct reader *r, const char *what, struct str detail) {
    if (!r->v->failure)
        r->v->failure = mem_printf("reader %" PRIu64 ": %s%s%.*s", r->want->reader, what, detail.len ? ": " : "",
                                   (int)(detail.len < 300 ? detail.len : 300), detail.data ? detail.data : "");
    reader_end(r);
}

static void on_retry(struct loop_timer *t) {
    ask_page(CONTAINER_OF(t, struct reader, retry));
}

static void later(struct reader *r, uint64_t ms) {
    r->retry.fire = on_retry;
    loop_timer_start(r->v->loop, &r->retry, ms);
}

/* Post id and author id of one item; false: not as the contract says. */
static bool read_item(const struct json *item, struct entry *ret) {
    const struct json *author = json_member(item, "author");
    return item && author && id_parse(json_string(json_member(item, "id")), &ret->post_id) &&
           id_parse(json_string(json_member(author, "id")), &ret->author_id) &&
           json_type(json_member(item, "text")) == JSON_STRING;
}

/* Compares one page; true: go on with the next. */
static bool compare_page(struct reader *r, const struct json *page) {
    const struct json *items = json_member(page, "items"), *next = json_member(page, "next");
    if (!items || json_type(items) != JSON_ARRAY || !next) return differ(r, "a page without items and next"), false;
    size_t n = json_length(items);
    for (size_t i = 0; i < n && r->at < r->v->depth; i++, r->at++) {
        struct entry got;
        if (!read_item(json_at(items, i), &got)) return differ(r, "an item that is no post"), false;
        if (r->at >= r->want->count)
            return differ(r, "served %" PRIu64 " by %" PRIu64 ", oracle: the feed ended", got.post_id, got.author_id),
                   false;
        struct entry want = r->want->entries[r->at];
        if (got.post_id != want.post_id || got.author_id != want.author_id)
            return differ(r, "served %" PRIu64 " by %" PRIu64 ", oracle: %" PRIu64 " by %" PRIu64, got.post_id,
                          got.author_id, want.post_id, want.author_id),
                   false;
    }
    if (r->at >= r->v->depth) return reader_end(r), false;
    if (json_type(next) == JSON_NULL) {
        if (r->at < r->want->count)
            return differ(r, "served the end, oracle: %" PRIu64 " by %" PRIu64, r->want->entries[r->at].post_id,
                          r->want->entries[r->at].author_id),
                   false;
        return reader_end(r), false;
    }
    unsigned limit = r->v->depth < PAGE_LIMIT ? r->v->depth : PAGE_LIMIT;
    if (n < limit) return differ(r, "a page of %zu, not full and not the last", n), false;
    struct str cursor = json_string(next);
    if (!cursor.len || cursor.len >= sizeof r->cursor)
        return differ(r, "a cursor of %zu characters", cursor.len), false;
    memcpy(r->cursor, cursor.data, cursor.len);
    r->cursor[cursor.len] = 0;
    return true;
}

static void count_source(struct verify *v, const struct http_reply *reply) {
    struct str name = http_reply_header(reply, "Fanfare-Source");
    int s = 0;
    while (s < SOURCE_UNKNOWN && !str_eq_c(name, source_names[s])) s++;
    v->sources[s]++;
}

static void on_page(void *ctx, enum err err, const struct http_reply *reply) {
    struct reader *r = ctx;
    if (err == ERR_REFUSED && !r->v->pages) { /* nobody there from the start: no server to be patient with */
        fail(r, "no feed server answers at", str_c(r->v->c->url));
        return;
    }
    bool again = err != ERR_OK || reply->status == 429 || reply->status == 503;
    if (again) {
        if (clock_mono_ms() - r->asked_ms > PATIENCE_MS)
            return fail(r, err ? err_text(err) : "told to come back for a minute", STR(""));
        uint64_t seconds = 0;
        if (!err) str_u64(http_reply_header(reply, "Retry-After"), &seconds);
        return later(r, seconds ? seconds * 1000 : 100);
    }
    if (reply->status != 200) {
        char what[32];
        snprintf(what, sizeof what, "status %u", reply->status);
        return fail(r, what, reply->body);
    }
    r->v->pages++;
    if (r->first_page) count_source(r->v, reply);
    r->first_page = false;
    r->asked_ms = clock_mono_ms();
    struct json *page = NULL;
    char why[160];
    if (json_parse(reply->body, &page, why) != ERR_OK) return fail(r, "not JSON", str_c(why));
    bool more = compare_page(r, page);
    json_free(&page);
    if (more) ask_page(r);
}

static void ask_page(struct reader *r) {
    char target[256];
    unsigned limit = r->v->depth < PAGE_LIMIT ? r->v->depth : PAGE_LIMIT;
    snprintf(target, sizeof target, "/v1/me/feed?limit=%u%s%s", limit, r->cursor[0] ? "&cursor=" : "", r->cursor);
    enum err e = http_client_send(r->v->http, "GET", target, str_c(r->headers), STR(""), 30000, on_page, r);
    if (e != ERR_OK) later(r, 50);
}

static void start_reader(struct verify *v, const struct oracle_feed *want) {
    struct reader *r = NEW(struct reader);
    r->v = v;
    r->want = want;
    r->first_page = true;
    r->asked_ms = clock_mono_ms();
    v->open++;
    CLEANUP(buf_fini) struct buf token = BUF_INIT;
    if (!ctl_token(v->c, want->reader, &token)) {
        fail(r, "no token", STR(""));
        return;
    }
    r->headers = mem_printf("Authorization: Bearer %s\r\n", token.data);
    ask_page(r);
}

/* One look at these readers; false when it had to stop (v->failure). */
static bool look(struct verify *v, const uint64_t *ids, size_t count, bool show) {
    bool deep = v->depth == DEPTH_TO_THE_END;
    struct oracle *o = oracle_new(v->c->options.conninfo, ids, count, deep ? BATCH_DEEP : BATCH, v->depth);
    struct oracle_batch *b;
    size_t done = 0;
    while (!v->failure && (b = oracle_next(o))) {
        if (b->failure) {
            v->failure = mem_printf("oracle: %s", b->failure);
        } else {
            v->open = 1; /* ours, so that the loop is not stopped before it runs */
            for (size_t i = 0; i < b->count; i++) start_reader(v, &b->feeds[i]);
            if (--v->open) loop_run(v->loop);
        }
        done += b->count;
        if (show) fprintf(stderr, "\r\033[K%zu of %zu feeds, %zu differ", done, count, v->differing_count);
        oracle_batch_free(&b);
    }
    if (show) fputs("\r\033[K", stderr);
    oracle_free(&o);
    return !v->failure;
}

/* Looks, then looks again at those that differed, twice: only what differs each time is a difference. */
static bool verify_readers(struct verify *v, const uint64_t *ids, size_t count, uint64_t *ret_differences) {
    bool show = isatty(STDERR_FILENO);
    v->last_look = false;
    if (!look(v, ids, count, show)) return false;
    uint64_t feeds = v->feeds, entries = v->entries, sources[SOURCE_COUNT];
    memcpy(sources, v->sources, sizeof sources);
    for (int again = 0; again < 2 && v->differing_count; again++) {
        uint64_t *suspects = v->differing;
        size_t n = v->differing_count;
        v->differing = NULL;
        v->differing_count = v->differing_cap = 0;
        v->last_look = again == 1;
        usleep(1500000);
        bool good = look(v, suspects, n, false);
        mem_free(suspects);
        if (!good) return false;
    }
    v->feeds = feeds; /* later looks are not counted again */
    v->entries = entries;
    memcpy(v->sources, sources, sizeof sources);
    *ret_differences += v->differing_count;
    v->differing_count = 0;
    return true;
}

static uint64_t *column(struct ctl *c, const char *sql, const struct pg_params *p, size_t *ret_count) {
    CLEANUP(pg_result_free) struct pg_result *r = NULL;
    if (!ctl_query(c, sql, p, &r)) return NULL;
    size_t n = (size_t)pg_rows(r);
    uint64_t *ids = NEW_ARRAY(uint64_t, n + 1);
    for (size_t i = 0; i < n; i++) ids[i] = pg_int8(r, (int)i, 0);
    *ret_count = n;
    return ids;
}

static uint64_t *sample(struct ctl *c, uint64_t n, uint64_t seed, size_t *ret_count) {
    CLEANUP(arena_fini) struct arena a;
    arena_init(&a, 0);
    struct pg_params p;
    pg_params_init(&p, &a);
    pg_param_int8(&p, seed);
    pg_param_int8(&p, n);
    return column(c, "SELECT id FROM users ORDER BY hashint8extended(id, $1) LIMIT $2", &p, ret_count);
}

static uint64_t *from_file(const char *path, size_t *ret_count) {
    FILE *f = fopen(path, "re");
    if (!f) return ctl_fail("cannot open %s: %m", path), NULL;
    uint64_t *ids = NULL;
    size_t n = 0, cap = 0;
    char line[64];
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\r\n")] = 0;
        uint64_t id;
        if (!*line) continue;
        if (!id_parse(str_c(line), &id)) {
            ctl_fail("%s: \"%s\" is no user id", path, line);
            mem_free(ids);
            fclose(f);
            return NULL;
        }
        if (n == cap) ids = mem_grow(ids, cap = cap ? cap * 2 : 1024, sizeof *ids);
        ids[n++] = id;
    }
    fclose(f);
    *ret_count = n;
    return ids ? ids : NEW_ARRAY(uint64_t, 1);
}

static void print_summary(const struct verify *v, uint64_t differences, uint64_t deep_feeds, uint64_t deep_entries,
                          double seconds, bool json) {
    if (json) {
        printf("{\"feeds\":%" PRIu64 ",\"entries\":%" PRIu64 ",\"differences\":%" PRIu64 ",\"resident\":%" PRIu64
               ",\"rebuild\":%" PRIu64 ",\"database\":%" PRIu64 ",\"deep_feeds\":%" PRIu64 ",\"deep_entries\":%" PRIu64
               ",\"seconds\":%.1f}\n",
               v->feeds, v->entries, differences, v->sources[SOURCE_RESIDENT], v->sources[SOURCE_REBUILD],
               v->sources[SOURCE_DATABASE], deep_feeds, deep_entries, seconds);
        return;
    }
    printf("%" PRIu64 " feeds, %" PRIu64 " entries compared in %.1f s\n", v->feeds, v->entries, seconds);
    for (int s = 0; s < SOURCE_COUNT; s++)
        if (v->sources[s] || s != SOURCE_UNKNOWN)
            printf("  first pages from %-9s %10" PRIu64 "  (%.1f %%)\n", source_names[s], v->sources[s],
                   v->feeds ? 100.0 * (double)v->sources[s] / (double)v->feeds : 0.0);
    if (deep_feeds)
        printf("%" PRIu64 " feeds page by page to the end, %" PRIu64 " entries\n", deep_feeds, deep_entries);
    printf("%" PRIu64 " differences\n", differences);
}

struct request {
    const char *user, *users;
    uint64_t sample, depth, deep, seed, connections;
    bool all, json;
};

/* NULL when there is no such user: an empty feed of nobody would compare as right. */
static uint64_t *one_user(struct ctl *c, const char *text, size_t *ret_count) {
    uint64_t id = 0;
    id_parse(str_c(text), &id);
    CLEANUP(arena_fini) struct arena a;
    arena_init(&a, 0);
    struct pg_params p;
    pg_params_init(&p, &a);
    pg_param_int8(&p, id);
    uint64_t *ids = column(c, "SELECT id FROM users WHERE shard = shard_of($1) AND id = $1", &p, ret_count);
    if (!ids || *ret_count) return ids;
    ctl_fail("there is no user %s", text);
    mem_free(ids);
    return NULL;
}

static uint64_t *choose(struct ctl *c, const struct request *q, size_t *ret_count) {
    if (q->user) return one_user(c, q->user, ret_count);
    if (q->users) return from_file(q->users, ret_count);
    if (q->all) return column(c, "SELECT id FROM users ORDER BY id", NULL, ret_count);
    return sample(c, q->sample ? q->sample : 1000, q->seed, ret_count);
}

static int verify(struct ctl *c, const struct request *q) {
    struct verify v = {.c = c, .depth = (unsigned)q->depth, .loop = loop_new()};
    uint64_t began = clock_mono_ms(), differences = 0, deep_feeds = 0, deep_entries = 0;
    size_t count = 0, deep_count = 0;
    uint64_t *ids = choose(c, q, &count), *deep = NULL;
    int code = EXIT_FAILED;
    if (!ids) goto end;
    if (http_client_new(v.loop, c->url, (unsigned)q->connections, BATCH * 2, &v.http) != ERR_OK) {
        ctl_fail("\"%s\" is no address of a feed server; give one like http://127.0.0.1:8080", c->url);
        goto end;
    }
    if (!verify_readers(&v, ids, count, &differences)) goto failed;
    struct verify first = v;
    if (q->deep) {
        deep = sample(c, q->deep, q->seed + 1, &deep_count);
        v.depth = DEPTH_TO_THE_END;
        v.feeds = v.entries = 0;
        if (!deep || !verify_readers(&v, deep, deep_count, &differences)) goto failed;
        deep_feeds = v.feeds;
        deep_entries = v.entries;
    }
    print_summary(&first, differences, deep_feeds, deep_entries, (double)(clock_mono_ms() - began) / 1000, q->json);
    code = differences ? EXIT_DIFFERENCES : EXIT_DONE;
    goto end;
failed:
    ctl_fail("verify: %s", v.failure ? v.failure : "stopped");
end:
    http_client_free(&v.http);
    loop_free(&v.loop);
    mem_free(v.failure);
    mem_free(v.differing);
    mem_free(ids);
    mem_free(deep);
    return code;
}

int command_verify(struct ctl *c, int argc, char **argv) {
    struct request q = {.depth = (uint64_t)c->options.timeline_cap, .seed = 1, .connections = 16};
    const struct argument table[] = {ARGUMENT_TEXT("--user", &q.user),
                                     ARGUMENT_TEXT("--users", &q.users),
                                     ARGUMENT_FLAG("--all", &q.all),
                                     ARGUMENT_NUMBER("--sample", &q.sample, 100000000),
                                     ARGUMENT_NUMBER("--depth", &q.depth, 100000),
                                     ARGUMENT_NUMBER("--deep", &q.deep, 1000000),
                                     ARGUMENT_NUMBER("--seed", &q.seed, INT32_MAX),
                                     ARGUMENT_NUMBER("--connections", &q.connections, 1024),
                                     ARGUMENT_FLAG("--json", &q.json)};
    if (!arguments_parse(table, ARRAY_LEN(table), argc, argv)) return EXIT_USAGE;
    uint64_t id;
    if (q.user && !ctl_id_argument("--user", q.user, &id)) return EXIT_USAGE;
    if ((q.user != NULL) + (q.users != NULL) + q.all + (q.sample != 0) > 1)
        return ctl_usage("--user, --users, --sample and --all exclude each other");
    if (!q.depth || !q.connections) return ctl_usage("--depth and --connections start at 1");
    if (!ctl_url(c) || !ctl_database(c)) return EXIT_FAILED;
    return verify(c, &q);
}
