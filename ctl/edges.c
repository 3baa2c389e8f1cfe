/* Edge list of an import: reading and cleaning. No database here; ctl/import.c stores what comes out. */
#include "ctl/edges.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "common/base/mem.h"

const char *reject_text(enum reject r) {
    static const char *const texts[] = {
        [REJECT_MALFORMED] = "not two whole numbers",
        [REJECT_SELF] = "follows itself",
        [REJECT_DUPLICATE] = "stands in the file more than once",
        [REJECT_CAP] = "beyond the followees that one user may have",
    };
    return r < REJECT_COUNT ? texts[r] : "?";
}

static void refuse(struct edges *e, enum reject why, uint64_t line, const char *text, reject_fn *reject, void *ctx) {
    e->rejected[why]++;
    reject(ctx, why, line, text);
}

static void refuse_edge(struct edges *e, enum reject why, const struct edge *row, reject_fn *reject, void *ctx) {
    char text[64];
    snprintf(text, sizeof text, "%llu %llu", (unsigned long long)row->follower, (unsigned long long)row->followee);
    refuse(e, why, row->line, text, reject, ctx);
}

static void add(struct edges *e, uint64_t follower, uint64_t followee, uint64_t line) {
    if (e->count == e->cap) {
        e->cap = e->cap ? e->cap * 2 : 1 << 16;
        e->rows = mem_grow(e->rows, e->cap, sizeof *e->rows);
    }
    e->rows[e->count++] = (struct edge){follower, followee, line};
}

/* One whole number; moves *p behind it. */
static bool number(const char **p, uint64_t *ret) {
    if (**p < '0' || **p > '9') return false;
    char *end;
    errno = 0;
    unsigned long long v = strtoull(*p, &end, 10);
    if (errno || v > INT64_MAX) return false;
    *p = end;
    *ret = v;
    return true;
}

static const char *blanks(const char *p) {
    return p + strspn(p, " \t\r\n");
}

static void take_line(struct edges *e, const char *line, bool mutual, reject_fn *reject, void *ctx) {
    const char *p = blanks(line);
    if (!*p || *p == '#') return;
    uint64_t a, b;
    bool good = number(&p, &a);
    const char *gap = p;
    good = good && (p = blanks(p)) > gap && number(&p, &b) && !*blanks(p);
    if (!good) {
        refuse(e, REJECT_MALFORMED, e->lines, line, reject, ctx);
        return;
    }
    if (a == b) {
        refuse(e, REJECT_SELF, e->lines, line, reject, ctx);
        return;
    }
    add(e, a, b, e->lines);
    if (mutual) add(e, b, a, e->lines);
}

enum err edges_read(struct edges *e, const char *path, bool mutual, reject_fn *reject, void *ctx, char **ret_message) {
    gzFile f = gzopen(path, "rb");
    if (!f) {
        *ret_message = mem_printf("cannot open %s: %s", path, strerror(errno));
        return ERR_IO;
    }
    gzbuffer(f, 1 << 18);
    char line[4096];
    while (gzgets(f, line, sizeof line)) {
        e->lines++;
        size_t n = strcspn(line, "\n");
        bool cut = !line[n] && n == sizeof line - 1;
        line[n] = 0;
        take_line(e, line, mutual, reject, ctx);
        while (cut && gzgets(f, line, sizeof line)) cut = !strchr(line, '\n'); /* the rest of an overlong line */
    }
    int code;
    const char *why = gzerror(f, &code);
    if (code != Z_OK && code != Z_STREAM_END)
        *ret_message = code == Z_ERRNO ? mem_strdup(why) : mem_printf("%s: %s", path, why);
    bool bad = *ret_message != NULL;
    gzclose(f);
    return bad ? ERR_IO : ERR_OK;
}

static int by_follower(const void *a, const void *b) {
    const struct edge *x = a, *y = b;
    if (x->follower != y->follower) return x->follower < y->follower ? -1 : 1;
    if (x->followee != y->followee) return x->followee < y->followee ? -1 : 1;
    return x->line < y->line ? -1 : x->line > y->line;
}

static int by_number(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* All that occur, whether or not their rows were taken. */
static void collect_people(struct edges *e) {
    e->people = NEW_ARRAY(uint64_t, e->count * 2 + 1);
    size_t n = 0;
    for (size_t i = 0; i < e->count; i++) {
        e->people[n++] = e->rows[i].follower;
        e->people[n++] = e->rows[i].followee;
    }
    qsort(e->people, n, sizeof *e->people, by_number);
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (!kept || e->people[kept - 1] != e->people[i]) e->people[kept++] = e->people[i];
    e->people_count = kept;
}

static uint64_t index_of(const struct edges *e, uint64_t number) {
    const uint64_t *found = bsearch(&number, e->people, e->people_count, sizeof *e->people, by_number);
    return (uint64_t)(found - e->people);
}

void edges_index(struct edges *e, unsigned cap_followees, reject_fn *reject, void *ctx) {
    if (e->count) qsort(e->rows, e->count, sizeof *e->rows, by_follower);
    collect_people(e);
    size_t kept = 0;
    unsigned of_this = 0;
    struct edge last = {0};
    for (size_t i = 0; i < e->count; i++) {
        struct edge row = e->rows[i];
        bool first = i == 0;
        if (!first && row.follower == last.follower && row.followee == last.followee) {
            refuse_edge(e, REJECT_DUPLICATE, &row, reject, ctx);
            continue;
        }
        if (first || row.follower != last.follower) of_this = 0;
        last = row;
        if (++of_this > cap_followees) {
            refuse_edge(e, REJECT_CAP, &row, reject, ctx);
            continue;
        }
        e->rows[kept++] = (struct edge){index_of(e, row.follower), index_of(e, row.followee), row.line};
    }
    e->count = kept;
}

void edges_fini(struct edges *e) {
    mem_free(e->rows);
    mem_free(e->people);
    *e = (struct edges){0};
}
