/* The drain. PostgreSQL is asked five times a second only: what that costs is in the figures, so it is kept small. */
#include "bench/drain.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/sys/http_client.h"

enum { POLL_MS = 200, PAGE_TIMEOUT_MS = 3000 };

bool fanoutd_argument(void *to, const char *value, struct buf *ret_why) {
    struct fanoutds *f = to;
    if (f->count < FANOUTD_MAX) {
        f->urls[f->count++] = value;
        return true;
    }
    buf_addf(ret_why, "at most %d", FANOUTD_MAX);
    return false;
}

/* One line "name{labels} value"; false: another family, or not these labels. */
static bool sample_value(struct str line, const char *family, const char *label, double *ret) {
    size_t n = strlen(family);
    if (line.len <= n || memcmp(line.data, family, n) != 0 || (line.data[n] != ' ' && line.data[n] != '{'))
        return false;
    if (label && !memmem(line.data, line.len, label, strlen(label))) return false;
    const char *space = memrchr(line.data, ' ', line.len);
    if (!space) return false;
    char text[64];
    size_t len = (size_t)(line.data + line.len - space - 1);
    if (len >= sizeof(text)) return false;
    memcpy(text, space + 1, len);
    text[len] = 0;
    *ret = strtod(text, NULL);
    return true;
}

double samples_sum(struct str page, const char *family, const char *label) {
    double sum = 0, v;
    while (page.len) {
        const char *end = memchr(page.data, '\n', page.len);
        size_t n = end ? (size_t)(end - page.data) : page.len;
        if (sample_value(str_of(page.data, n), family, label, &v)) sum += v;
        size_t skip = end ? n + 1 : n;
        page = str_of(page.data + skip, page.len - skip);
    }
    return sum;
}

struct fetch {
    struct loop *loop;
    struct buf page; /* (own) */
    bool good;
};

static void on_page(void *ctx, enum err err, const struct http_reply *reply) {
    struct fetch *f = ctx;
    f->good = err == ERR_OK && reply->status == 200;
    if (f->good) buf_add_str(&f->page, reply->body);
    loop_stop(f->loop);
}

static bool fetch_page(const char *url, struct buf *to) {
    struct fetch f = {.loop = loop_new()};
    struct http_client *http = NULL;
    if (http_client_new(f.loop, url, 1, 1, &http) == ERR_OK &&
        http_client_send(http, "GET", "/metrics", STR(""), STR(""), PAGE_TIMEOUT_MS, on_page, &f) == ERR_OK)
        loop_run(f.loop);
    http_client_free(&http);
    loop_free(&f.loop);
    buf_add_str(to, buf_str(&f.page));
    buf_fini(&f.page);
    return f.good;
}

double fanoutds_sum(const struct fanoutds *f, const char *family, const char *label) {
    double sum = 0;
    for (unsigned i = 0; i < f->count; i++) {
        CLEANUP(buf_fini) struct buf page = BUF_INIT;
        if (!fetch_page(f->urls[i], &page)) return -1;
        sum += samples_sum(buf_str(&page), family, label);
    }
    return sum;
}

static bool outbox_count(struct bench *b, uint64_t *ret) {
    CLEANUP(pg_result_free) struct pg_result *r = NULL;
    if (!bench_query(b, "SELECT count(*) FROM outbox", NULL, &r)) return false;
    *ret = pg_int8(r, 0, 0);
    return true;
}

/* Backlog and jobs held: a gauge may be a second old, so it counts only when the outbox is empty as well. */
static bool queue_empty(const struct fanoutds *f) {
    return fanoutds_sum(f, "fanfare_fanout_held", NULL) <= 0;
}

bool drain_wait(struct bench *b, const struct fanoutds *f, uint64_t timeout_ms, uint64_t *ret_left) {
    uint64_t end = clock_mono_ms() + timeout_ms, left, shown = 0;
    for (;;) {
        if (!outbox_count(b, &left)) return false;
        if (!left && queue_empty(f)) break;
        if (clock_mono_ms() >= end) break;
        if (clock_mono_ms() - shown > 2000) {
            fprintf(stderr, "drain: %llu jobs left\n", (unsigned long long)left);
            shown = clock_mono_ms();
        }
        usleep(POLL_MS * 1000);
    }
    *ret_left = left;
    return true;
}
