/*
 * import-graph: users and follows in bulk.
 *
 *   file -> edges (cleaned) -> who exists already? -> ids minted by the database for the others -> COPY users, handles,
 * following, followers, all in one transaction, rows in index order
 *
 * A person of the file becomes the user with the handle <prefix><number>. Importing the same file again adds nothing;
 * follows that are there already are counted as such. Users that existed get an invalidation (the sweeper applies it).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/base/utf8.h"
#include "common/domain/id.h"
#include "ctl/arguments.h"
#include "ctl/ctl.h"
#include "ctl/edges.h"

#define FOLLOWEES_MAX  5000
#define LISTED_REJECTS 10

struct person {
    uint64_t id; /* minted or found */
    bool existed;
    uint32_t following; /* new ones from this file */
};
struct pair { /* one follow, by user ids */
    uint64_t first, second;
};
struct import {
    struct ctl *c;
    const char *prefix;
    const char *rejects_path;
    FILE *rejects; /* (own) opened with the first reject */
    uint64_t rejects_listed;
    struct edges edges;    /* (own) */
    struct person *people; /* (own) as edges.people */
    char **names;          /* (own) */
    size_t name_count;
    struct pair *old; /* (own) follows that were there, ascending */
    size_t old_count;
    uint64_t already;
    bool bar; /* stderr is a terminal */
};

static void progress(const struct import *im, const char *what, size_t done, size_t all) {
    if (im->bar) {
        int width = 40, filled = all ? (int)((double)done / (double)all * width) : width;
        fprintf(stderr, "\r\033[K%-10s [%.*s%*s] %3d %%  %zu", what, filled, "########################################",
                width - filled, "", all ? (int)(100.0 * (double)done / (double)all) : 100, done);
        if (done == all) fputc('\n', stderr);
    } else if (done == all) {
        fprintf(stderr, "%s: %zu\n", what, all);
    }
}

static void on_reject(void *ctx, enum reject why, uint64_t line, const char *text) {
    struct import *im = ctx;
    if (!im->rejects) {
        im->rejects = fopen(im->rejects_path, "we");
        if (!im->rejects) {
            fprintf(stderr, "fanfarectl: cannot write %s (%m); rejected rows go to the terminal\n", im->rejects_path);
            im->rejects = fdopen(dup(STDERR_FILENO), "w");
        }
        fputs("# line\treason\trow\n", im->rejects);
    }
    fprintf(im->rejects, "%llu\t%s\t%s\n", (unsigned long long)line, reject_text(why), text);
    if (im->rejects_listed++ < LISTED_REJECTS)
        fprintf(stderr, "not taken: line %llu: %s: %.80s\n", (unsigned long long)line, reject_text(why), text);
}

static bool read_names(struct import *im, const char *path) {
    gzFile f = gzopen(path, "rb");
    if (!f) return ctl_fail("cannot open %s: %m", path), false;
    char line[1024];
    size_t cap = 0;
    while (gzgets(f, line, sizeof line)) {
        size_t n = strcspn(line, "\r\n"), points;
        line[n] = 0;
        if (!n || !utf8_valid(line, n, &points) || points > 100) continue;
        if (im->name_count == cap) {
            cap = cap ? cap * 2 : 1024;
            im->names = mem_grow(im->names, cap, sizeof *im->names);
        }
        im->names[im->name_count++] = mem_strdup(line);
    }
    gzclose(f);
    return im->name_count > 0 || (ctl_fail("%s has no usable line", path), false);
}

/* Which of the handles exist: fills id and existed. In batches, since a parameter is bounded by memory. */
static bool find_existing(struct import *im) {
    size_t n = im->edges.people_count;
    for (size_t from = 0; from < n; from += 20000) {
        size_t count = n - from < 20000 ? n - from : 20000;
        CLEANUP(arena_fini) struct arena a;
        arena_init(&a, 1 << 16);
        struct str *handles = ARENA_ARRAY(&a, struct str, count);
        for (size_t i = 0; i < count; i++)
            handles[i] = str_c(arena_printf(&a, "%s%llu", im->prefix, (unsigned long long)im->edges.people[from + i]));
        struct pg_params p;
        pg_params_init(&p, &a);
        pg_param_text_array(&p, handles, count);
        CLEANUP(pg_result_free) struct pg_result *r = NULL;
        if (!ctl_query(im->c,
                       "SELECT h.user_id, w.n FROM unnest($1::text[]) WITH ORDINALITY AS w (handle, n) "
                       "JOIN handles h ON h.handle = w.handle",
                       &p, &r))
            return false;
        for (int row = 0; row < pg_rows(r); row++)
            im->people[from + pg_int8(r, row, 1) - 1] = (struct person){.id = pg_int8(r, row, 0), .existed = true};
    }
    return true;
}

static int by_pair(const void *a, const void *b) {
    const struct pair *x = a, *y = b;
    if (x->first != y->first) return x->first < y->first ? -1 : 1;
    return x->second < y->second ? -1 : x->second > y->second;
}

/* Follows of the users that existed, and their locks, so that neither repeats nor the cap are broken. */
static bool find_old_follows(struct import *im) {
    CLEANUP(arena_fini) struct arena a;
    arena_init(&a, 1 << 16);
    uint64_t *ids = ARENA_ARRAY(&a, uint64_t, im->edges.people_count + 1);
    size_t n = 0;
    for (size_t i = 0; i < im->edges.people_count; i++)
        if (im->people[i].existed) ids[n++] = im->people[i].id;
    if (!n) return true;
    struct pg_params p;
    pg_params_init(&p, &a);
    pg_param_int8_array(&p, ids, n);
    CLEANUP(pg_result_free) struct pg_result *locked = NULL;
    if (!ctl_query(
            im->c,
            "SELECT count(*) FROM (SELECT FROM unnest($1::bigint[]) AS w (id) JOIN users u ON u.shard = shard_of(w.id) "
            "AND u.id = w.id ORDER BY u.id FOR UPDATE OF u) AS l",
            &p, &locked))
        return false;
    CLEANUP(pg_result_free) struct pg_result *r = NULL;
    if (!ctl_query(im->c,
                   "SELECT f.follower, f.followee FROM unnest($1::bigint[]) AS w (id) "
                   "JOIN following f ON f.shard = shard_of(w.id) AND f.follower = w.id",
                   &p, &r))
        return false;
    im->old_count = (size_t)pg_rows(r);
    im->old = NEW_ARRAY(struct pair, im->old_count + 1);
    for (size_t i = 0; i < im->old_count; i++) im->old[i] = (struct pair){pg_int8(r, (int)i, 0), pg_int8(r, (int)i, 1)};
    qsort(im->old, im->old_count, sizeof *im->old, by_pair);
    return true;
}

static size_t old_following(const struct import *im, uint64_t follower) {
    size_t lo = 0, hi = im->old_count;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (im->old[mid].first < follower)
            lo = mid + 1;
        else
            hi = mid;
    }
    size_t n = 0;
    while (lo + n < im->old_count && im->old[lo + n].first == follower) n++;
    return n;
}

static bool mint_ids(struct import *im) {
    size_t missing = 0;
    for (size_t i = 0; i < im->edges.people_count; i++) missing += !im->people[i].existed;
    if (!missing) return true;
    CLEANUP(arena_fini) struct arena a;
    arena_init(&a, 0);
    struct pg_params p;
    pg_params_init(&p, &a);
    pg_param_int8(&p, missing);
    CLEANUP(pg_result_free) struct pg_result *r = NULL;
    if (!ctl_query(im->c, "SELECT mint_id(floor(random() * 1024)::integer) FROM generate_series(1, $1)", &p, &r))
        return false;
    int row = 0;
    for (size_t i = 0; i < im->edges.people_count; i++)
        if (!im->people[i].existed) im->people[i].id = pg_int8(r, row++, 0);
    return true;
}

/* Edges by user ids, without those that were there, within the cap; counts what each new follower gets. */
static struct pair *new_follows(struct import *im, size_t *ret_count) {
    struct pair *pairs = NEW_ARRAY(struct pair, im->edges.count + 1);
    size_t n = 0;
    for (size_t i = 0; i < im->edges.count; i++) {
        const struct edge *e = &im->edges.rows[i];
        struct person *follower = &im->people[e->follower];
        struct pair pair = {follower->id, im->people[e->followee].id};
        if (follower->existed && bsearch(&pair, im->old, im->old_count, sizeof *im->old, by_pair)) {
            im->already++;
            continue;
        }
        if (follower->existed && old_following(im, follower->id) + follower->following >= FOLLOWEES_MAX) {
            char text[64];
            snprintf(text, sizeof text, "%llu %llu", (unsigned long long)im->edges.people[e->follower],
                     (unsigned long long)im->edges.people[e->followee]);
            im->edges.rejected[REJECT_CAP]++;
            on_reject(im, REJECT_CAP, e->line, text);
            continue;
        }
        follower->following++;
        pairs[n++] = pair;
    }
    *ret_count = n;
    return pairs;
}

struct copy {
    struct import *im;
    const char *what;
    struct buf rows;
    size_t done, all;
    bool failed;
};

static bool copy_begin(struct copy *k, struct import *im, const char *what, const char *sql, size_t all) {
    *k = (struct copy){.im = im, .what = what, .all = all};
    CLEANUP(mem_free_charp) char *message = NULL;
    if (pg_sync_copy_begin(im->c->db, sql, &message) == ERR_OK) return true;
    ctl_fail("copy of %s: %s", what, message);
    return false;
}

static void copy_flush(struct copy *k) {
    CLEANUP(mem_free_charp) char *message = NULL;
    if (!k->failed && k->rows.len && pg_sync_copy_data(k->im->c->db, buf_str(&k->rows), &message) != ERR_OK) {
        ctl_fail("copy of %s: %s", k->what, message);
        k->failed = true;
    }
    buf_clear(&k->rows);
}

static void copy_row_done(struct copy *k) {
    buf_add_char(&k->rows, '\n');
    if (++k->done % 8192 == 0) {
        copy_flush(k);
        progress(k->im, k->what, k->done, k->all);
    }
}

static bool copy_end(struct copy *k) {
    copy_flush(k);
    buf_fini(&k->rows);
    if (k->failed) return false;
    CLEANUP(mem_free_charp) char *message = NULL;
    if (pg_sync_copy_end(k->im->c->db, &message) != ERR_OK) return ctl_fail("copy of %s: %s", k->what, message), false;
    if (k->done % 8192 || !k->done) progress(k->im, k->what, k->done, k->all);
    return true;
}

static bool copy_users(struct import *im) {
    size_t fresh = 0;
    for (size_t i = 0; i < im->edges.people_count; i++) fresh += !im->people[i].existed;
    struct copy k;
    if (!copy_begin(&k, im, "users", "COPY users (shard, id, handle, name, following_count) FROM STDIN", fresh))
        return false;
    for (size_t i = 0; i < im->edges.people_count; i++) {
        const struct person *p = &im->people[i];
        if (p->existed) continue;
        uint64_t number = im->edges.people[i];
        buf_addf(&k.rows, "%u\t%llu\t%s%llu\t", id_shard(p->id), (unsigned long long)p->id, im->prefix,
                 (unsigned long long)number);
        if (im->name_count)
            pg_copy_escape(&k.rows, str_c(im->names[number % im->name_count]));
        else
            buf_addf(&k.rows, "%s%llu", im->prefix, (unsigned long long)number);
        buf_addf(&k.rows, "\t%u", p->following);
        copy_row_done(&k);
    }
    if (!copy_end(&k) || !copy_begin(&k, im, "handles", "COPY handles (handle, user_id) FROM STDIN", fresh))
        return false;
    for (size_t i = 0; i < im->edges.people_count; i++) {
        if (im->people[i].existed) continue;
        buf_addf(&k.rows, "%s%llu\t%llu", im->prefix, (unsigned long long)im->edges.people[i],
                 (unsigned long long)im->people[i].id);
        copy_row_done(&k);
    }
    return copy_end(&k);
}

static int by_shard(const void *a, const void *b) {
    const struct pair *x = a, *y = b;
    if (id_shard(x->first) != id_shard(y->first)) return id_shard(x->first) < id_shard(y->first) ? -1 : 1;
    return by_pair(a, b);
}

static bool copy_pairs(struct import *im, const char *what, const char *sql, struct pair *pairs, size_t count) {
    qsort(pairs, count, sizeof *pairs, by_shard);
    struct copy k;
    if (!copy_begin(&k, im, what, sql, count)) return false;
    for (size_t i = 0; i < count; i++) {
        buf_add_u64(&k.rows, id_shard(pairs[i].first));
        buf_add_char(&k.rows, '\t');
        buf_add_u64(&k.rows, pairs[i].first);
        buf_add_char(&k.rows, '\t');
        buf_add_u64(&k.rows, pairs[i].second);
        copy_row_done(&k);
    }
    return copy_end(&k);
}

static bool copy_follows(struct import *im, struct pair *pairs, size_t count) {
    if (!copy_pairs(im, "following", "COPY following (shard, follower, followee) FROM STDIN", pairs, count))
        return false;
    for (size_t i = 0; i < count; i++) pairs[i] = (struct pair){pairs[i].second, pairs[i].first};
    return copy_pairs(im, "followers", "COPY followers (shard, followee, follower) FROM STDIN", pairs, count);
}

/* Users that existed: their counts, and an invalidation each of graph and timeline. */
static bool touch_existing(struct import *im) {
    CLEANUP(arena_fini) struct arena a;
    arena_init(&a, 1 << 16);
    uint64_t *ids = ARENA_ARRAY(&a, uint64_t, im->edges.people_count + 1);
    uint64_t *counts = ARENA_ARRAY(&a, uint64_t, im->edges.people_count + 1);
    size_t n = 0;
    for (size_t i = 0; i < im->edges.people_count; i++) {
        if (!im->people[i].existed || !im->people[i].following) continue;
        ids[n] = im->people[i].id;
        counts[n++] = im->people[i].following;
    }
    if (!n) return true;
    struct pg_params p;
    pg_params_init(&p, &a);
    pg_param_int8_array(&p, ids, n);
    pg_param_int8_array(&p, counts, n);
    return ctl_query(im->c,
                     "WITH w AS (SELECT * FROM unnest($1::bigint[], $2::bigint[]) AS w (id, n)), "
                     "u AS (UPDATE users SET following_count = following_count + w.n FROM w "
                     "WHERE shard = shard_of(w.id) AND users.id = w.id) "
                     "SELECT add_invalidation(w.id, ARRAY[3, w.id, 0, w.id]) FROM w",
                     &p, NULL);
}

static bool store(struct import *im, size_t *ret_follows) {
    CLEANUP(mem_free_charp) char *message = NULL;
    if (pg_sync_script(im->c->db, "BEGIN; SET LOCAL synchronous_commit = on; SET LOCAL maintenance_work_mem = '256MB'",
                       &message) != ERR_OK)
        return ctl_fail("database: %s", message), false;
    if (!find_existing(im) || !find_old_follows(im) || !mint_ids(im)) return false;
    size_t count;
    struct pair *pairs = new_follows(im, &count);
    bool good = copy_users(im) && copy_follows(im, pairs, count) && touch_existing(im);
    mem_free(pairs);
    *ret_follows = count;
    if (!good) return false;
    if (pg_sync_script(im->c->db, "COMMIT; ANALYZE users, handles, following, followers", &message) != ERR_OK)
        return ctl_fail("database: %s", message), false;
    return true;
}

static void summary(const struct import *im, size_t follows, double seconds) {
    size_t fresh = 0;
    for (size_t i = 0; i < im->edges.people_count; i++) fresh += !im->people[i].existed;
    printf("%llu lines: %zu users (%zu new), %zu follows added, %llu there already, in %.1f s\n",
           (unsigned long long)im->edges.lines, im->edges.people_count, fresh, follows, (unsigned long long)im->already,
           seconds);
    uint64_t all = 0;
    for (int i = 0; i < REJECT_COUNT; i++) {
        all += im->edges.rejected[i];
        if (im->edges.rejected[i])
            printf("not taken: %llu (%s)\n", (unsigned long long)im->edges.rejected[i], reject_text((enum reject)i));
    }
    if (all) printf("all %llu rows that were not taken are listed in %s\n", (unsigned long long)all, im->rejects_path);
}

static int import(struct import *im, const char *file, const char *names, bool mutual) {
    uint64_t began = clock_mono_ms();
    CLEANUP(mem_free_charp) char *message = NULL;
    if (edges_read(&im->edges, file, mutual, on_reject, im, &message) != ERR_OK) return ctl_fail("%s", message);
    if (names && !read_names(im, names)) return EXIT_FAILED;
    edges_index(&im->edges, FOLLOWEES_MAX, on_reject, im);
    if (!im->edges.people_count) return ctl_fail("%s holds no follow", file);
    if (!ctl_database(im->c)) return EXIT_FAILED;
    im->people = mem_zalloc(im->edges.people_count * sizeof *im->people);
    size_t follows = 0;
    if (!store(im, &follows)) return EXIT_FAILED;
    summary(im, follows, (double)(clock_mono_ms() - began) / 1000);
    return EXIT_DONE;
}

int command_import_graph(struct ctl *c, int argc, char **argv) {
    const char *file = NULL, *names = NULL, *prefix = "u", *rejects = "import-rejects.tsv";
    bool directed = false, mutual = false;
    const struct argument table[] = {ARGUMENT_WORD(&file),
                                     ARGUMENT_TEXT("--names", &names),
                                     ARGUMENT_TEXT("--prefix", &prefix),
                                     ARGUMENT_TEXT("--rejects", &rejects),
                                     ARGUMENT_FLAG("--directed", &directed),
                                     ARGUMENT_FLAG("--mutual", &mutual)};
    if (!arguments_parse(table, ARRAY_LEN(table), argc, argv)) return EXIT_USAGE;
    if (!file) return ctl_usage("name a file of 'follower followee' lines");
    if (directed && mutual) return ctl_usage("--directed and --mutual exclude each other");
    if (strlen(prefix) > 10 || strspn(prefix, "abcdefghijklmnopqrstuvwxyz0123456789_") != strlen(prefix))
        return ctl_usage("--prefix: up to 10 characters a-z, 0-9, _");
    struct import im = {.c = c, .prefix = prefix, .rejects_path = rejects, .bar = isatty(STDERR_FILENO)};
    int code = import(&im, file, names, mutual);
    if (im.rejects) fclose(im.rejects);
    for (size_t i = 0; i < im.name_count; i++) mem_free(im.names[i]);
    mem_free(im.names);
    mem_free(im.people);
    mem_free(im.old);
    edges_fini(&im.edges);
    return code;
}
