/* Publish requests and their answers. */
#include "bench/authors.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/domain/id.h"
#include "common/sys/json.h"

enum { CHECK_BATCH = 50000 };

bool authors_init(struct authors *a, const char *posts, uint64_t seed) {
    CLEANUP(mem_free_charp) char *message = NULL;
    a->rng = (struct rng){.state = seed};
    a->run = random_u64();
    if (texts_init(&a->texts, posts, &message) == ERR_OK) return true;
    bench_fail("%s", message);
    return false;
}

void authors_fini(struct authors *a) {
    people_fini(&a->people);
    texts_fini(&a->texts);
    mem_free(a->ids);
    *a = (struct authors){0};
}

void authors_request(struct authors *a, struct person *who, struct stream_request *to) {
    CLEANUP(buf_fini) struct buf text = BUF_INIT;
    uint64_t n = a->published++;
    to->method = "POST";
    buf_add_c(&to->target, "/v1/me/feed");
    buf_add_str(&to->headers, people_header(&a->people, who));
    buf_addf(&to->headers, "Content-Type: application/json\r\nIdempotency-Key: bench-%016llx-%llu\r\n",
             (unsigned long long)a->run, (unsigned long long)n);
    texts_add(&a->texts, n, &text);
    buf_add_c(&to->body, "{\"text\":");
    json_write_string(&to->body, buf_str(&text));
    buf_add_char(&to->body, '}');
}

uint64_t authors_answered(struct authors *a, const struct http_reply *reply) {
    uint64_t id = 0;
    char why[160];
    struct json *post = NULL;
    if (!reply || reply->status != 201 || json_parse(reply->body, &post, why) != ERR_OK) return 0;
    const struct json *member = json_member(post, "id");
    if (member && id_parse(json_string(member), &id)) {
        if (a->id_count == a->id_cap)
            a->ids = mem_grow(a->ids, a->id_cap = a->id_cap ? a->id_cap * 2 : 1024, sizeof(*a->ids));
        a->ids[a->id_count++] = id;
    }
    json_free(&post);
    return id;
}

static int ascending(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static bool count_missing(struct bench *b, const uint64_t *ids, size_t n, uint64_t *missing) {
    CLEANUP(arena_fini) struct arena arena;
    arena_init(&arena, 1 << 16);
    struct pg_params p;
    pg_params_init(&p, &arena);
    pg_param_int8_array(&p, ids, n);
    CLEANUP(pg_result_free) struct pg_result *r = NULL;
    if (!bench_query(b,
                     "SELECT count(*) FROM unnest($1::bigint[]) AS w (id) WHERE NOT EXISTS "
                     "(SELECT FROM posts WHERE shard = shard_of(w.id) AND id = w.id)",
                     &p, &r))
        return false;
    *missing += pg_int8(r, 0, 0);
    return true;
}

bool authors_check(const struct authors *a, struct bench *b, uint64_t *ret_missing, uint64_t *ret_twice) {
    uint64_t missing = 0, twice = 0;
    uint64_t *ids = NEW_ARRAY(uint64_t, a->id_count + 1);
    if (a->id_count) memcpy(ids, a->ids, a->id_count * sizeof(*ids));
    qsort(ids, a->id_count, sizeof(*ids), ascending);
    for (size_t i = 1; i < a->id_count; i++) twice += ids[i] == ids[i - 1];
    bool good = true;
    for (size_t from = 0; good && from < a->id_count; from += CHECK_BATCH) {
        size_t n = a->id_count - from < CHECK_BATCH ? a->id_count - from : CHECK_BATCH;
        good = count_missing(b, ids + from, n, &missing);
    }
    mem_free(ids);
    *ret_missing = missing;
    *ret_twice = twice;
    return good;
}
