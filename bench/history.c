/*
 * history: posts in the past for authors with many followers, so that cap, trim and deep paging are at work. Run it
 * while the timelines are cold: what is resident does not learn of it.
 */
#include <stdio.h>

#include "bench/copy.h"
#include "bench/people.h"
#include "bench/report.h"
#include "bench/texts.h"
#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/domain/id.h"

struct past {
    uint64_t posts, end_ms, span_ms;
};

static bool copy_history(struct bench *b, const struct people *people, const struct past *past,
                         const struct texts *texts) {
    struct copy k;
    CLEANUP(buf_fini) struct buf text = BUF_INIT;
    uint64_t step = past->span_ms / past->posts;
    if (!copy_begin(&k, b, "posts", "posts (shard, id, author_id, text)")) return false;
    for (size_t i = 0; i < people->count; i++) {
        uint64_t author = people->list[i].id;
        struct rng r = {.state = author};
        for (uint64_t post = 0; post < past->posts; post++) {
            uint64_t ms = past->end_ms - past->span_ms + post * step + rng_below(&r, step);
            uint64_t id = id_at_unix_ms(ms) | (uint64_t)id_shard(author) << 12 | rng_below(&r, 4096);
            buf_addf(&k.rows, "%u\t%llu\t%llu\t", id_shard(id), (unsigned long long)id, (unsigned long long)author);
            buf_clear(&text);
            texts_add(texts, rng_next(&r), &text);
            pg_copy_escape(&k.rows, buf_str(&text));
            copy_row(&k);
        }
    }
    return copy_end(&k) && bench_script(b, "ANALYZE posts");
}

int command_history(struct bench *b, int argc, char **argv) {
    const char *prefix = "u", *posts = NULL;
    uint64_t min_followers = 1001, each = 1500, days = 30;
    const struct arg table[] = {
        {"--prefix", ARG_TEXT, &prefix, 0, 0, NULL, "of the authors' handles (u)"},
        {"--min-followers", ARG_NUMBER, &min_followers, 0, 1e9, NULL, "authors with so many followers or more (1001)"},
        {"--posts-each", ARG_NUMBER, &each, 1, 1e6, NULL, "posts an author (1500)"},
        {"--days", ARG_NUMBER, &days, 1, 600, NULL, "over how many days before now (30)"},
        {"--posts", ARG_TEXT, &posts, 0, 0, NULL, "file of texts, one a line (made up)"}};
    if (!bench_arguments(table, ARRAY_LEN(table), argc, argv)) return EXIT_USAGE;
    CLEANUP(mem_free_charp) char *message = NULL;
    struct texts texts;
    if (texts_init(&texts, posts, &message) != ERR_OK) return bench_fail("%s", message);
    struct people people = {0};
    struct past past = {each, clock_wall_ms() - 60000, days * 86400000};
    uint64_t began = clock_mono_ms();
    bool good =
        people_load_followed(b, prefix, min_followers, INT32_MAX, &people) && copy_history(b, &people, &past, &texts);
    if (good) {
        struct report r;
        report_init(&r);
        report_figure(&r, "seconds", (double)(clock_mono_ms() - began) / 1e3,
                      "%zu authors with %llu followers or more, %llu posts each over %llu days, by COPY", people.count,
                      (unsigned long long)min_followers, (unsigned long long)each, (unsigned long long)days);
        report_count(&r, "authors", people.count);
        report_count(&r, "posts", people.count * each);
        report_print(&r);
        report_fini(&r);
    }
    people_fini(&people);
    texts_fini(&texts);
    return good ? EXIT_MEASURED : EXIT_FAILED;
}
