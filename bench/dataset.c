/*
 * dataset: the synthetic graph and its posts by COPY, in one transaction, rows in key order. The tables must not hold
 * it yet. Ends with VACUUM ANALYZE and a CHECKPOINT, so that neither falls into what is measured next.
 */
#include <stdio.h>
#include <stdlib.h>

#include "bench/copy.h"
#include "bench/report.h"
#include "bench/synthetic.h"
#include "bench/texts.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/domain/id.h"

static void copy_people(struct copy *users, const char *prefix, const uint64_t *ids, uint64_t count) {
    for (uint64_t i = 0; i < count; i++) {
        buf_addf(&users->rows, "%u\t%llu\t%s%llu\tBench %s%llu\t0", id_shard(ids[i]), (unsigned long long)ids[i],
                 prefix, (unsigned long long)i, prefix + sizeof("bench_") - 1, (unsigned long long)i);
        copy_row(users);
    }
}

static bool copy_users(struct bench *b, const struct synthetic *g) {
    struct copy k;
    if (!copy_begin(&k, b, "users", "users (shard, id, handle, name, following_count)")) return false;
    copy_people(&k, "bench_r", g->readers, g->size.readers);
    copy_people(&k, "bench_a", g->authors, g->size.authors);
    copy_people(&k, "bench_v", g->varied, g->size.varied);
    return copy_end(&k) && bench_script(b, "INSERT INTO handles (handle, user_id) SELECT handle, id FROM users "
                                           "WHERE starts_with(handle, 'bench_')");
}

static bool copy_follows(struct bench *b, struct synthetic *g) {
    struct copy k;
    qsort(g->follows, g->follow_count, sizeof(*g->follows), follow_by_key);
    if (!copy_begin(&k, b, "following", "following (shard, follower, followee)")) return false;
    for (size_t i = 0; i < g->follow_count; i++) {
        const struct follow *f = &g->follows[i];
        copy_ids(&k, (uint64_t[]){id_shard(f->follower), f->follower, f->followee}, 3);
    }
    if (!copy_end(&k)) return false;
    for (size_t i = 0; i < g->follow_count; i++)
        g->follows[i] = (struct follow){g->follows[i].followee, g->follows[i].follower};
    qsort(g->follows, g->follow_count, sizeof(*g->follows), follow_by_key);
    if (!copy_begin(&k, b, "followers", "followers (shard, followee, follower)")) return false;
    for (size_t i = 0; i < g->follow_count; i++) {
        const struct follow *f = &g->follows[i];
        copy_ids(&k, (uint64_t[]){id_shard(f->follower), f->follower, f->followee}, 3);
    }
    return copy_end(&k) &&
           bench_script(b, "UPDATE users u SET following_count = f.n FROM (SELECT shard, follower, "
                           "count(*) AS n FROM following GROUP BY shard, follower) AS f "
                           "WHERE u.shard = f.shard AND u.id = f.follower AND starts_with(u.handle, 'bench_')");
}

static bool copy_posts(struct bench *b, const struct synthetic *g, const struct texts *texts, uint64_t end_ms,
                       uint64_t span_ms) {
    struct copy k;
    CLEANUP(buf_fini) struct buf text = BUF_INIT;
    if (!copy_begin(&k, b, "posts", "posts (shard, id, author_id, text)")) return false;
    for (uint64_t post = 0; post < g->size.posts; post++) {
        for (uint64_t a = 0; a < g->size.authors; a++) {
            uint64_t author = g->authors[a];
            uint64_t id = synthetic_post_id(g, author, post, end_ms, span_ms);
            buf_addf(&k.rows, "%u\t%llu\t%llu\t", id_shard(id), (unsigned long long)id, (unsigned long long)author);
            buf_clear(&text);
            texts_add(texts, post * g->size.authors + a, &text);
            pg_copy_escape(&k.rows, buf_str(&text));
            copy_row(&k);
        }
    }
    return copy_end(&k);
}

static bool store(struct bench *b, struct synthetic *g, const struct texts *texts, uint64_t end_ms, uint64_t span_ms) {
    return bench_script(b, "BEGIN") && copy_users(b, g) && copy_follows(b, g) &&
           copy_posts(b, g, texts, end_ms, span_ms) && bench_script(b, "COMMIT") &&
           bench_script(b, "VACUUM (ANALYZE)") && bench_script(b, "CHECKPOINT");
}

int command_dataset(struct bench *b, int argc, char **argv) {
    struct synthetic_size size = {100000, 5000, 400, 60, 40, 1};
    const char *posts = NULL;
    uint64_t days = 30;
    const struct arg table[] = {
        {"--readers", ARG_NUMBER, &size.readers, 1, 10e6, NULL, "people who read (100000)"},
        {"--authors", ARG_NUMBER, &size.authors, 1, 10e6, NULL, "people who post (5000)"},
        {"--followers", ARG_NUMBER, &size.followers, 1, 1e6, NULL, "followers an author (400)"},
        {"--varied", ARG_NUMBER, &size.varied, 0, 1e5, NULL, "further authors with 50 to 1,000 followers (60)"},
        {"--posts-each", ARG_NUMBER, &size.posts, 1, 100000, NULL, "earlier posts an author (40)"},
        {"--days", ARG_NUMBER, &days, 1, 600, NULL, "over how many days before now (30)"},
        {"--seed", ARG_NUMBER, &size.seed, 0, 1e15, NULL, "the same seed makes the same graph (1)"},
        {"--posts", ARG_TEXT, &posts, 0, 0, NULL, "file of texts, one a line (made up)"}};
    if (!bench_arguments(table, ARRAY_LEN(table), argc, argv)) return EXIT_USAGE;
    if (size.followers > size.readers) return bench_usage("--followers: at most as many as --readers");
    CLEANUP(mem_free_charp) char *message = NULL;
    struct texts texts;
    if (texts_init(&texts, posts, &message) != ERR_OK) return bench_fail("%s", message);
    struct synthetic g;
    uint64_t began = clock_mono_ms(), now = clock_wall_ms();
    synthetic_init(&g, &size);
    bool good = bench_database(b) && store(b, &g, &texts, now - 60000, days * 86400000);
    if (good) {
        struct report r;
        report_init(&r);
        report_figure(&r, "seconds", (double)(clock_mono_ms() - began) / 1e3,
                      "%llu readers, %llu authors with %llu followers each drawn at random, %llu with 50 to 1,000, %zu "
                      "follows, %llu posts "
                      "an author over %llu days, texts of %.0f bytes; by COPY, VACUUM ANALYZE and CHECKPOINT included",
                      (unsigned long long)size.readers, (unsigned long long)size.authors,
                      (unsigned long long)size.followers, (unsigned long long)size.varied, g.follow_count,
                      (unsigned long long)size.posts, (unsigned long long)days, texts.mean_bytes);
        report_count(&r, "follows", g.follow_count);
        report_print(&r);
        report_fini(&r);
    }
    synthetic_fini(&g);
    texts_fini(&texts);
    return good ? EXIT_MEASURED : EXIT_FAILED;
}
