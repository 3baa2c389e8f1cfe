/*
 * raw-pg: PostgreSQL alone. The rows of a publish (post and outbox row, ids minted in the statement) into tables of the
 * same shape that nobody fans out, one post a transaction on many connections, then many posts a transaction. The
 * tables are dropped at the end.
 */
#include <stdio.h>

#include "bench/bench.h"
#include "bench/cpu.h"
#include "bench/report.h"
#include "bench/texts.h"
#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/domain/id.h"
#include "common/sys/loop.h"

enum { ROWS_MAX = 1000 };

struct raw {
    struct loop *loop;
    struct pg_pool *pool; /* (own) */
    struct texts texts;
    struct rng rng;
    unsigned batch; /* posts a transaction */
    uint64_t end_ms, rows, transactions, failed;
    unsigned open;
    char *why; /* (own) of the first failure */
};

static const struct pg_statement INSERT = {
    "bench_insert", "WITH input AS MATERIALIZED (SELECT shard_of(i.author) AS shard, i.author, i.body, "
                    "mint_id(shard_of(i.author)) AS id "
                    "FROM unnest($1::bigint[], $2::text[]) AS i (author, body)), p AS (INSERT INTO bench_posts (shard, "
                    "id, author_id, text) "
                    "SELECT shard, id, author, body FROM input) INSERT INTO bench_outbox (shard, post_id, author_id) "
                    "SELECT shard, id, author FROM input"};

static const char MAKE_TABLES[] = "DROP TABLE IF EXISTS bench_posts, bench_outbox;"
                                  "CREATE TABLE bench_posts (LIKE posts INCLUDING ALL) PARTITION BY HASH (shard);"
                                  "CREATE TABLE bench_outbox (LIKE outbox INCLUDING ALL) PARTITION BY HASH (shard);"
                                  "DO $$ BEGIN FOR i IN 0..15 LOOP "
                                  "EXECUTE format('CREATE TABLE bench_posts_p%s PARTITION OF bench_posts FOR VALUES "
                                  "WITH (MODULUS 16, REMAINDER %s)', i, i);"
                                  "EXECUTE format('CREATE TABLE bench_outbox_p%s PARTITION OF bench_outbox FOR VALUES "
                                  "WITH (MODULUS 16, REMAINDER %s)', i, i);"
                                  "END LOOP; END $$";

static void insert(struct raw *w);

static void inserted(void *ctx, enum err err, const struct pg_result *r) {
    struct raw *w = ctx;
    w->open--;
    if (err == ERR_OK) {
        w->rows += w->batch;
        w->transactions++;
    } else if (!w->failed++) {
        w->why = r ? mem_strndup(pg_message(r).data, pg_message(r).len) : mem_strdup(err_text(err));
    }
    if (clock_mono_ms() < w->end_ms && !w->failed)
        insert(w);
    else if (!w->open)
        loop_stop(w->loop);
}

static void insert(struct raw *w) {
    CLEANUP(arena_fini) struct arena a;
    CLEANUP(buf_fini) struct buf text = BUF_INIT;
    uint64_t authors[ROWS_MAX];
    struct str texts[ROWS_MAX];
    arena_init(&a, 1 << 14);
    for (unsigned i = 0; i < w->batch; i++) {
        authors[i] = id_at_unix_ms(ID_EPOCH_MS + 86400000) | rng_below(&w->rng, ID_SHARDS) << 12;
        buf_clear(&text);
        texts_add(&w->texts, rng_next(&w->rng), &text);
        texts[i] = str_of(arena_strndup(&a, text.data, text.len), text.len);
    }
    struct pg_params p;
    pg_params_init(&p, &a);
    pg_param_int8_array(&p, authors, w->batch);
    pg_param_text_array(&p, texts, w->batch);
    if (pg_exec(w->pool, &INSERT, &p, inserted, w) == ERR_OK)
        w->open++;
    else
        w->failed++;
}

struct up {
    struct loop_timer timer;
    struct raw *raw;
    unsigned want, looks;
};

static void look_up(struct loop_timer *t) {
    struct up *u = CONTAINER_OF(t, struct up, timer);
    if (pg_pool_up(u->raw->pool) == u->want || ++u->looks > 500)
        loop_stop(u->raw->loop);
    else
        loop_timer_start(u->raw->loop, t, 20);
}

static bool run(struct raw *w, struct bench *b, unsigned connections, unsigned batch, uint64_t seconds) {
    w->pool = pg_pool_new(w->loop, &(struct pg_pool_options){.conninfo = b->options.conninfo,
                                                             .connections = connections,
                                                             .depth = 1,
                                                             .max_waiting = connections,
                                                             .timeout_ms = 10000,
                                                             .application_name = "fanfare-bench"});
    struct up u = {.timer = {.fire = look_up}, .raw = w, .want = connections};
    loop_timer_start(w->loop, &u.timer, 0);
    loop_run(w->loop);
    w->batch = batch;
    w->rows = w->transactions = w->failed = 0;
    w->end_ms = clock_mono_ms() + seconds * 1000;
    for (unsigned i = 0; i < connections; i++) insert(w);
    if (w->open) loop_run(w->loop);
    return !w->failed;
}

static bool measure(struct raw *w, struct bench *b, const struct cpu_pids *pids, unsigned connections, unsigned batch,
                    uint64_t seconds, struct report *r) {
    struct cpu_usage before, after;
    fprintf(stderr, "raw-pg: %u posts a transaction\n", batch);
    bool whole = cpu_sample(pids, &before);
    uint64_t began = clock_mono_ns();
    bool good = run(w, b, connections, batch, seconds);
    double s = (double)(clock_mono_ns() - began) / 1e9;
    whole &= cpu_sample(pids, &after);
    pg_pool_free(&w->pool);
    if (!good || !whole) {
        bench_fail("%s", good     ? "a server process named by --pid is gone"
                         : w->why ? w->why
                                  : "PostgreSQL takes no statement");
        return false;
    }
    double used = cpu_since(&before, &after).seconds[CPU_POSTGRES];
    const char *name = batch == 1 ? "pg_posts_per_s" : "pg_batched_posts_per_s";
    const char *per_cpu = batch == 1 ? "pg_posts_per_cpu_s" : "pg_batched_posts_per_cpu_s";
    report_figure(r, name, (double)w->rows / s,
                  "post and outbox row in tables shaped as the real ones (16 partitions, the same indexes), texts of "
                  "%.0f bytes, %u a "
                  "transaction, %u connections, one transaction in flight each, synchronous commit, %.0f s",
                  w->texts.mean_bytes, batch, connections, s);
    if (pids->count)
        report_figure(r, per_cpu, used > 0 ? (double)w->rows / used : 0,
                      "the same run; CPU of all PostgreSQL processes");
    return true;
}

int command_raw_pg(struct bench *b, int argc, char **argv) {
    const char *posts = NULL;
    uint64_t connections = 16, batch = 100, seconds = 5;
    struct cpu_pids pids = {.count = 0};
    const struct arg table[] = {
        {"--connections", ARG_NUMBER, &connections, 1, 100, NULL, "at once (16)"},
        {"--batch", ARG_NUMBER, &batch, 2, ROWS_MAX, NULL, "posts a transaction of the second run (100)"},
        {"--seconds", ARG_NUMBER, &seconds, 1, 600, NULL, "of each run (5)"},
        {"--posts", ARG_TEXT, &posts, 0, 0, NULL, "file of texts, one a line (made up)"},
        CPU_PID_ARG(&pids)};
    if (!bench_arguments(table, ARRAY_LEN(table), argc, argv)) return EXIT_USAGE;
    struct raw w = {.rng = {.state = 1}};
    CLEANUP(mem_free_charp) char *message = NULL;
    if (texts_init(&w.texts, posts, &message) != ERR_OK) return bench_fail("%s", message);
    struct report r;
    report_init(&r);
    w.loop = loop_new();
    bool good = bench_database(b) && bench_script(b, MAKE_TABLES);
    if (good) {
        good = measure(&w, b, &pids, (unsigned)connections, 1, seconds, &r) &&
               measure(&w, b, &pids, (unsigned)connections, (unsigned)batch, seconds, &r);
        good = bench_script(b, "DROP TABLE bench_posts, bench_outbox") && good;
    }
    if (good) report_print(&r);
    report_fini(&r);
    loop_free(&w.loop);
    texts_fini(&w.texts);
    mem_free(w.why);
    return good ? EXIT_MEASURED : EXIT_FAILED;
}
