/* Loading people and signing their tokens. */
#include "bench/people.h"

#include <string.h>
#include <time.h>

#include "common/base/arena.h"
#include "common/base/mem.h"

enum { TOKEN_LIFE_S = 6 * 3600 };

static void index_people(struct people *p) {
    map_clear(&p->by_number);
    for (size_t i = 0; i < p->count; i++) map_put(&p->by_number, p->list[i].number + 1, &p->list[i]);
}

static bool load(struct bench *b, const char *sql, const struct pg_params *params, const char *prefix,
                 struct people *ret) {
    CLEANUP(pg_result_free) struct pg_result *r = NULL;
    if (!bench_database(b) || !bench_keys(b) || !bench_query(b, sql, params, &r)) return false;
    size_t n = (size_t)pg_rows(r);
    if (!n) {
        bench_fail("there is no such user with a handle %s<number>; load a graph or the data set first", prefix);
        return false;
    }
    *ret = (struct people){.bench = b, .count = n, .list = mem_zalloc(n * sizeof(*ret->list)), .by_number = MAP_INIT};
    for (size_t i = 0; i < n; i++) {
        ret->list[i].id = pg_int8(r, (int)i, 0);
        ret->list[i].number = pg_int8(r, (int)i, 1);
    }
    index_people(ret);
    return true;
}

#define NUMBERED                                                                                                       \
    "SELECT h.user_id AS id, substr(h.handle, length($1) + 1)::bigint AS number FROM handles h "                       \
    "WHERE starts_with(h.handle, $1) AND substr(h.handle, length($1) + 1) ~ '^[0-9]{1,18}$'"

bool people_load(struct bench *b, const char *prefix, struct people *ret) {
    CLEANUP(arena_fini) struct arena a;
    arena_init(&a, 0);
    struct pg_params p;
    pg_params_init(&p, &a);
    pg_param_text(&p, str_c(prefix));
    return load(b, NUMBERED " ORDER BY number", &p, prefix, ret);
}

bool people_load_followed(struct bench *b, const char *prefix, uint64_t min_followers, uint64_t max_followers,
                          struct people *ret) {
    CLEANUP(arena_fini) struct arena a;
    arena_init(&a, 0);
    struct pg_params p;
    pg_params_init(&p, &a);
    pg_param_text(&p, str_c(prefix));
    pg_param_int8(&p, min_followers);
    pg_param_int8(&p, max_followers);
    return load(b,
                "SELECT n.id, n.number FROM (" NUMBERED ") AS n "
                "LEFT JOIN (SELECT followee, count(*) AS followers FROM followers GROUP BY followee) AS f "
                "ON f.followee = n.id WHERE coalesce(f.followers, 0) BETWEEN $2 AND $3 ORDER BY n.number",
                &p, prefix, ret);
}

void people_fini(struct people *p) {
    for (size_t i = 0; i < p->count; i++) mem_free(p->list[i].header);
    mem_free(p->list);
    map_fini(&p->by_number);
    *p = (struct people){0};
}

struct person *people_find(const struct people *p, uint64_t number) {
    return map_get(&p->by_number, number + 1);
}

struct str people_header(struct people *p, struct person *who) {
    if (!who->header) {
        CLEANUP(buf_fini) struct buf line = BUF_INIT;
        uint64_t now = (uint64_t)time(NULL);
        buf_add_c(&line, "Authorization: Bearer ");
        jwt_sign(p->bench->keys, who->id, now, now + TOKEN_LIFE_S,
                 &line); /* bench_keys made sure that a key can sign */
        buf_add_c(&line, "\r\n");
        who->header = buf_take(&line, NULL);
    }
    return str_c(who->header);
}

void people_sign_all(struct people *p) {
    for (size_t i = 0; i < p->count; i++) people_header(p, &p->list[i]);
}

void people_keep(struct people *p, const bool *keep) {
    size_t n = 0;
    for (size_t i = 0; i < p->count; i++) {
        if (keep[i])
            p->list[n++] = p->list[i];
        else
            mem_free(p->list[i].header);
    }
    p->count = n;
    index_people(p);
}
