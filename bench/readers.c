/* Readers. The order of ranks is shuffled, so that who reads most has nothing to do with age or shard. */
#include "bench/readers.h"

#include <stdio.h>

#include "bench/lines.h"
#include "common/base/mem.h"

static bool keep_active(struct people *people, const char *path, uint64_t most) {
    CLEANUP(mem_free_charp) char *message = NULL;
    struct activity *rows;
    size_t n, malformed;
    if (activity_read(path, &rows, &n, &malformed, &message) != ERR_OK) {
        bench_fail("%s", message);
        return false;
    }
    bool *keep = mem_zalloc(people->count * sizeof(*keep));
    for (size_t i = 0; i < n && (!most || i < most); i++) {
        const struct person *a = people_find(people, rows[i].actor), *t = people_find(people, rows[i].target);
        if (a) keep[a - people->list] = true;
        if (t) keep[t - people->list] = true;
    }
    mem_free(rows);
    people_keep(people, keep);
    mem_free(keep);
    if (!people->count) bench_fail("nobody in %s is a user", path);
    return people->count > 0;
}

bool readers_init(struct readers *r, struct bench *b, const struct readers_options *options) {
    *r = (struct readers){.options = *options, .rng = {.state = options->seed}};
    if (!people_load(b, options->prefix, &r->people)) return false;
    if (options->activity && !keep_active(&r->people, options->activity, options->activity_rows)) {
        people_fini(&r->people);
        return false;
    }
    people_sign_all(&r->people);
    r->target = mem_printf("/v1/me/feed?limit=%llu", (unsigned long long)options->limit);
    r->order = NEW_ARRAY(size_t, r->people.count);
    shuffle_order(r->order, r->people.count, &r->rng);
    zipf_init(&r->zipf, r->people.count, options->zipf);
    return true;
}

void readers_fini(struct readers *r) {
    people_fini(&r->people);
    zipf_fini(&r->zipf);
    mem_free(r->target);
    mem_free(r->order);
    *r = (struct readers){0};
}

bool readers_next(void *readers, struct stream_request *to) {
    struct readers *r = readers;
    size_t rank;
    if (r->options.once) {
        if (r->next == r->people.count) return false;
        rank = r->next++;
    } else {
        rank = zipf_draw(&r->zipf, &r->rng);
    }
    struct person *who = &r->people.list[r->order[rank]];
    to->method = "GET";
    buf_add_c(&to->target, r->target);
    buf_add_str(&to->headers, people_header(&r->people, who));
    return true;
}

void readers_again(struct readers *r, bool once) {
    r->options.once = once;
    r->next = 0;
}

bool readers_write_ids(const struct readers *r, const char *path) {
    FILE *f = fopen(path, "we");
    for (size_t i = 0; f && i < r->people.count; i++) fprintf(f, "%llu\n", (unsigned long long)r->people.list[i].id);
    if (f && fclose(f) == 0) return true;
    bench_fail("cannot write %s: %m", path);
    return false;
}
