/* The schema on a real PostgreSQL: migrations, ids, write functions, the partitions they touch, the oracle. */
#include "tests/integration/database.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

static struct pg_sync *db; /* of the group */
static char *conninfo;     /* (own) */

static int group_setup(void **state) {
    (void)state;
    conninfo = test_database("fanfare_schema_test");
    db = test_open(conninfo);
    test_migrate(db);
    return 0;
}

static int group_teardown(void **state) {
    (void)state;
    pg_sync_close(&db);
    mem_free(conninfo);
    return 0;
}

/* A number from a statement in printf form. */
static int64_t number(const char *fmt, ...) {
    char sql[1000];
    va_list args;
    va_start(args, fmt);
    vsnprintf(sql, sizeof sql, fmt, args);
    va_end(args);
    return test_number(db, sql);
}

/* A text (own), "" for NULL. */
static char *text(const char *fmt, ...) {
    char sql[1000];
    va_list args;
    va_start(args, fmt);
    vsnprintf(sql, sizeof sql, fmt, args);
    va_end(args);
    char *value = test_text(db, sql);
    return value ? value : mem_strdup("");
}

/* Calls a write function: its status, and that what it wants invalidated is `targets` and was recorded in the same
 * transaction. */
static void assert_call(const char *call, const char *status, const char *targets) {
    CLEANUP(mem_free_charp)
    char *row = text("SELECT r.status || ' ' || coalesce(r.targets::text, '-') || ' ' ||"
                     " CASE WHEN r.invalidation IS NULL THEN '-' ELSE 'row' END FROM %s r",
                     call);
    CLEANUP(mem_free_charp)
    char *expected = mem_printf("%s %s %s", status, targets ? targets : "-", targets ? "row" : "-");
    assert_string_equal(row, expected);
}

static char *call_of(const char *function, int64_t a, int64_t b) {
    return mem_printf("%s(%lld, %lld)", function, (long long)a, (long long)b);
}

static void expect(const char *function, int64_t a, int64_t b, const char *status, const char *targets) {
    CLEANUP(mem_free_charp) char *call = call_of(function, a, b);
    assert_call(call, status, targets);
}

static char *targets_of(size_t count, const int64_t *v) {
    struct buf b = BUF_INIT;
    buf_add_char(&b, '{');
    for (size_t i = 0; i < count; i++) {
        if (i > 0) buf_add_char(&b, ',');
        buf_add_i64(&b, v[i]);
    }
    buf_add_char(&b, '}');
    return buf_take(&b, NULL);
}
#define TARGETS(...) targets_of(sizeof((int64_t[]){__VA_ARGS__}) / 8, (int64_t[]){__VA_ARGS__})

static int64_t sign_up(const char *handle) {
    return number("SELECT user_id FROM sign_up('%s', 'Name', NULL, NULL)", handle);
}

static int64_t publish(int64_t author, const char *body, int64_t reply) {
    return number("SELECT post_id FROM publish_posts(ARRAY[%lld::bigint], ARRAY['%s'], ARRAY[%lld::bigint],"
                  " ARRAY[NULL::text], ARRAY[0::bigint], ARRAY[NULL::text])",
                  (long long)author, body, (long long)reply);
}

/* ---- migrations ---- */

static void copy_schema(const char *to) {
    CLEANUP(mem_free_charp)
    char *command =
        mem_printf("mkdir -p %s && cp %s/[0-9]*.sql %s/", to, getenv("FANFARE_TEST_SCHEMA") ?: "schema", to);
    assert_int_equal(system(command), 0);
}

static void write_file(const char *directory, const char *name, const char *mode, const char *content) {
    CLEANUP(mem_free_charp) char *path = mem_printf("%s/%s", directory, name);
    FILE *f = fopen(path, mode);
    assert_non_null(f);
    fputs(content, f);
    fclose(f);
}

static void remove_file(const char *directory, const char *name) {
    CLEANUP(mem_free_charp) char *path = mem_printf("%s/%s", directory, name);
    assert_int_equal(unlink(path), 0);
}

static void expect_failure(const char *directory, enum err wanted, const char *mentions) {
    char *message = NULL;
    unsigned applied = 99;
    assert_int_equal(migrate_apply(db, directory, NULL, NULL, &applied, &message), wanted);
    assert_int_equal(applied, 99);
    assert_non_null(message);
    if (!strstr(message, mentions)) fail_msg("'%s' does not mention '%s'", message, mentions);
    mem_free(message);
}

static void migrations_repeat_and_refuse(void **state) {
    (void)state;
    char directory[] = "/tmp/fanfare-schema-XXXXXX";
    assert_non_null(mkdtemp(directory));
    copy_schema(directory);
    unsigned applied = 99;
    assert_int_equal(migrate_apply(db, directory, NULL, NULL, &applied, NULL), ERR_OK);
    assert_int_equal(applied, 0);
    int64_t before = number("SELECT count(*) FROM schema_migrations");

    write_file(directory, "9000_broken.sql", "w", "CREATE TABLE half (id bigint); SELECT nonsense;");
    expect_failure(directory, ERR_BACKEND, "9000_broken.sql");
    assert_int_equal(number("SELECT count(*) FROM pg_class WHERE relname = 'half'"), 0); /* all of it or nothing */
    write_file(directory, "9000_broken.sql", "w", "CREATE TABLE half (id bigint);");
    assert_int_equal(migrate_apply(db, directory, NULL, NULL, &applied, NULL), ERR_OK);
    assert_int_equal(applied, 1);
    assert_int_equal(number("SELECT count(*) FROM schema_migrations"), before + 1);

    write_file(directory, "9000_broken.sql", "a", "\n");
    expect_failure(directory, ERR_CONFLICT, "9000_broken.sql was changed");
    remove_file(directory, "9000_broken.sql");
    expect_failure(directory, ERR_CONFLICT, "9000_broken.sql is applied, but there is no such file");
    write_file(directory, "9000_broken.sql", "w", "CREATE TABLE half (id bigint);");
    write_file(directory, "8000_late.sql", "w", "SELECT 1;");
    expect_failure(directory, ERR_CONFLICT, "8000_late.sql is not applied");
    remove_file(directory, "8000_late.sql");
    write_file(directory, "9000_twice.sql", "w", "SELECT 1;");
    expect_failure(directory, ERR_INVALID, "9000_twice.sql");
    remove_file(directory, "9000_twice.sql");
    write_file(directory, "no_number.sql", "w", "SELECT 1;");
    expect_failure(directory, ERR_INVALID, "no_number.sql");
    expect_failure("/nonexistent", ERR_IO, "/nonexistent");

    test_script(db, "DROP TABLE half; DELETE FROM schema_migrations WHERE version = 9000");
    CLEANUP(mem_free_charp) char *clean = mem_printf("rm -r %s", directory);
    assert_int_equal(system(clean), 0);
}

/* ---- ids ---- */

static void ids_tell_shard_and_time(void **state) {
    (void)state;
    assert_int_equal(number("SELECT count(*) FROM generate_series(0, 1023) s WHERE shard_of(mint_id(s)) <> s"), 0);
    assert_true(number("SELECT abs((mint_id(1023) >> 22) + 1704067200000 - extract(epoch FROM clock_timestamp()) * "
                       "1000)::bigint") <= 5);
    assert_int_equal(number("SELECT count(DISTINCT mint_id(7)) FROM generate_series(1, 3000)"), 3000);
    int64_t last = 0;
    for (int i = 0; i < 20; i++) { /* a millisecond apart they rise; within one the sequence may wrap */
        int64_t id = number("SELECT mint_id(%d) FROM pg_sleep(0.002)", i * 50);
        assert_true(id > last);
        last = id;
    }
}

/* ---- write functions ---- */

static void relations_answer_and_invalidate(void **state) {
    (void)state;
    int64_t a = sign_up("rel_a"), b = sign_up("rel_b"), nobody = 1 << 12;
    CLEANUP(mem_free_charp) char *taken = text("SELECT status FROM sign_up('rel_a', 'x', NULL, NULL)");
    assert_string_equal(taken, "taken");
    CLEANUP(mem_free_charp) char *follow_targets = TARGETS(3, a, 0, a);
    CLEANUP(mem_free_charp) char *graph = TARGETS(3, a);
    CLEANUP(mem_free_charp) char *both = TARGETS(3, a, 3, b);
    CLEANUP(mem_free_charp) char *both_back = TARGETS(3, b, 3, a);
    expect("follow", a, b, "followed", follow_targets);
    expect("follow", a, b, "already", follow_targets);
    expect("follow", a, nobody, "unknown", NULL);
    expect("follow", nobody, a, "unknown", NULL);
    assert_int_equal(number("SELECT following_count FROM users WHERE id = %lld", (long long)a), 1);
    expect("unfollow", a, b, "unfollowed", graph);
    expect("unfollow", a, b, "already", graph);
    assert_int_equal(number("SELECT following_count FROM users WHERE id = %lld", (long long)a), 0);
    assert_int_equal(number("SELECT count(*) FROM followers WHERE followee = %lld", (long long)b), 0);

    CLEANUP(mem_free_charp) char *call = call_of("follow", a, b);
    CLEANUP(mem_free_charp) char *back = call_of("follow", b, a);
    mem_free(text("SELECT status FROM %s", call));
    mem_free(text("SELECT status FROM %s", back));
    expect("block_user", a, b, "blocked", both);
    expect("block_user", a, b, "already", both);
    expect("block_user", a, nobody, "unknown", NULL);
    assert_int_equal(
        number("SELECT count(*) FROM following WHERE follower IN (%lld, %lld)", (long long)a, (long long)b), 0);
    assert_int_equal(
        number("SELECT sum(following_count) FROM users WHERE id IN (%lld, %lld)", (long long)a, (long long)b), 0);
    expect("follow", a, b, "blocked", NULL);
    expect("follow", b, a, "blocked", NULL);
    expect("unblock_user", a, b, "unblocked", both);
    expect("unblock_user", a, b, "already", both);
    expect("unblock_user", b, a, "already", both_back);
    expect("mute_user", a, b, "muted", graph);
    expect("mute_user", a, b, "already", graph);
    expect("mute_user", a, nobody, "unknown", NULL);
    expect("unmute_user", a, b, "unmuted", graph);
    expect("unmute_user", a, b, "already", graph);
}

static void following_is_limited(void **state) {
    (void)state;
    int64_t a = sign_up("many"), b = sign_up("one_more");
    test_number(db,
                "WITH x AS (UPDATE users SET following_count = 5000 WHERE handle = 'many' RETURNING 1::bigint AS n) "
                "SELECT n FROM x");
    expect("follow", a, b, "limit", NULL);
}

static void posts_answer_and_invalidate(void **state) {
    (void)state;
    int64_t a = sign_up("post_a"), b = sign_up("post_b");
    int64_t p = publish(a, "hello", 0), reply = publish(b, "hello back", p);
    CLEANUP(mem_free_charp) char *content = TARGETS(1, p);
    CLEANUP(mem_free_charp) char *content_and_parent = TARGETS(1, reply, 5, p);
    CLEANUP(mem_free_charp) char *counters = TARGETS(5, p);
    assert_int_equal(number("SELECT shard FROM posts WHERE id = %lld", (long long)p), (a >> 12) & 1023);
    assert_int_equal(number("SELECT replies FROM post_counters WHERE post_id = %lld", (long long)p), 1);
    expect("like_post", b, p, "liked", counters);
    expect("like_post", b, p, "already", counters);
    expect("unlike_post", b, p, "unliked", counters);
    expect("unlike_post", b, p, "already", counters);
    assert_int_equal(number("SELECT likes FROM post_counters WHERE post_id = %lld", (long long)p), 0);
    expect("delete_post", a, reply, "forbidden", NULL);
    expect("delete_post", b, reply, "deleted", content_and_parent);
    expect("delete_post", b, reply, "already", content_and_parent);
    assert_int_equal(number("SELECT replies FROM post_counters WHERE post_id = %lld", (long long)p), 0);
    expect("delete_post", a, p, "deleted", content);
    expect("delete_post", a, p + (1 << 22), "unknown", NULL);
    expect("like_post", b, p, "unknown", NULL);
    int64_t hidden = publish(a, "not for b", 0);
    mem_free(text("SELECT status FROM block_user(%lld, %lld)", (long long)b, (long long)a));
    expect("like_post", b, hidden, "unknown", NULL);
    CLEANUP(mem_free_charp) char *user = TARGETS(2, a);
    CLEANUP(mem_free_charp) char *update = mem_printf("update_profile(%lld, 'New', false, NULL)", (long long)a);
    assert_call(update, "updated", user);
    assert_call("update_profile(4096, 'New', false, NULL)", "unknown", NULL);
}

/* ---- partitions ---- */

/*
 * Runs a call with custom plans and counts the partitions of each table that it had to lock: the planner locks what it
 * could not exclude. Answers the greatest number for one table; the transaction is rolled back.
 */
static int64_t partitions_touched(const char *call) {
    test_script(db, "BEGIN; SET LOCAL plan_cache_mode = force_custom_plan");
    CLEANUP(mem_free_charp) char *run = mem_printf("SELECT count(*) FROM %s", call);
    test_number(db, run);
    int64_t most =
        test_number(db, "SELECT coalesce(max(n), 0) FROM (SELECT count(DISTINCT l.relation) AS n FROM pg_locks l JOIN "
                        "pg_inherits i ON i.inhrelid = l.relation "
                        "JOIN pg_class c ON c.oid = l.relation WHERE l.pid = pg_backend_pid() AND c.relkind "
                        "= 'r' GROUP BY i.inhparent) t");
    test_script(db, "ROLLBACK");
    return most;
}

/* A user in another partition of `users` than this one. */
static int64_t user_elsewhere(int64_t than) {
    for (int i = 0; i < 100; i++) {
        CLEANUP(mem_free_charp) char *handle = mem_printf("elsewhere_%d_%lld", i, (long long)than);
        int64_t user = sign_up(handle);
        if (number("SELECT count(DISTINCT tableoid) FROM users WHERE id IN (%lld, %lld)", (long long)user,
                   (long long)than) == 2)
            return user;
    }
    fail_msg("100 users in one partition");
    return 0;
}

static void point_queries_touch_one_partition(void **state) {
    (void)state;
    int64_t a = sign_up("part_a"), b = user_elsewhere(a), p = publish(a, "x", 0);
    static const struct {
        const char *function;
        int partitions; /* of any one table: one for each user or post that the call names */
    } calls[] = {{"follow", 2},       {"unfollow", 1},  {"block_user", 2},
                 {"unblock_user", 2}, {"mute_user", 2}, {"unmute_user", 1}};
    mem_free(text("SELECT status FROM follow(%lld, %lld)", (long long)a, (long long)b)); /* an edge to remove */
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        CLEANUP(mem_free_charp) char *call = call_of(calls[i].function, a, b);
        int64_t touched = partitions_touched(call);
        if (touched != calls[i].partitions) fail_msg("%s touches %d partitions of a table", call, (int)touched);
    }
    static const char *const post_calls[] = {"delete_post", "like_post", "unlike_post"};
    for (size_t i = 0; i < ARRAY_LEN(post_calls); i++) {
        CLEANUP(mem_free_charp) char *call = call_of(post_calls[i], a, p);
        int64_t touched = partitions_touched(call);
        if (touched != 1) fail_msg("%s touches %d partitions of a table", call, (int)touched);
    }
    CLEANUP(mem_free_charp) char *update = mem_printf("update_profile(%lld, 'New', false, NULL)", (long long)a);
    assert_int_equal(partitions_touched(update), 1);
    assert_int_equal(partitions_touched("sign_up('part_new', 'n', NULL, NULL)"), 1);
    assert_int_equal(partitions_touched("users"), 16); /* the method sees what is not excluded */
}

/* The plan that daemons use: generic, partitions excluded when it starts. */
static void generic_plan_prunes_at_start(void **state) {
    (void)state;
    test_script(db, "SET plan_cache_mode = force_generic_plan;"
                    "PREPARE point(bigint) AS SELECT name FROM users WHERE shard = shard_of($1) AND id = $1");
    struct pg_result *rows;
    assert_int_equal(
        pg_sync_exec(db, "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) EXECUTE point(4096)", NULL, &rows, NULL), ERR_OK);
    int scans = 0;
    bool removed = false;
    for (int i = 0; i < pg_rows(rows); i++) {
        CLEANUP(mem_free_charp) char *line = mem_strndup(pg_text(rows, i, 0).data, pg_text(rows, i, 0).len);
        scans += strstr(line, "Scan") && strstr(line, "users_p");
        removed |= strstr(line, "Subplans Removed: 15") != NULL;
    }
    pg_result_free(&rows);
    test_script(db, "RESET plan_cache_mode; DEALLOCATE point");
    assert_int_equal(scans, 1);
    assert_true(removed);
}

/* ---- oracle ---- */

/* The feed of a reader as "id,id,..." (own). */
static char *feed(int64_t reader, int depth) {
    return text("SELECT string_agg(post_id::text, ',' ORDER BY post_id DESC) FROM oracle_feed(ARRAY[%lld::bigint], %d)",
                (long long)reader, depth);
}

static void assert_feed(int64_t reader, int depth, size_t count, const int64_t *posts) {
    CLEANUP(buf_fini) struct buf expected = BUF_INIT;
    for (size_t i = 0; i < count; i++) {
        if (i > 0) buf_add_char(&expected, ',');
        buf_add_i64(&expected, posts[i]);
    }
    CLEANUP(mem_free_charp) char *got = feed(reader, depth);
    assert_string_equal(got, count > 0 ? expected.data : "");
}
#define FEED(reader, depth, ...)                                                                                       \
    assert_feed(reader, depth, sizeof((int64_t[]){__VA_ARGS__}) / 8, (int64_t[]){__VA_ARGS__})

static int64_t publish_later(int64_t author) {
    number("SELECT 1 FROM pg_sleep(0.002)"); /* ids of one millisecond need not rise */
    return publish(author, "x", 0);
}

static void call(const char *function, int64_t a, int64_t b) {
    mem_free(text("SELECT status FROM %s(%lld, %lld)", function, (long long)a, (long long)b));
}

static void oracle_knows_every_rule(void **state) {
    (void)state;
    int64_t r = sign_up("reader"), a = sign_up("author_a"), b = sign_up("author_b"), c = sign_up("author_c");
    int64_t a1 = publish_later(a), r1 = publish_later(r), b1 = publish_later(b), a2 = publish_later(a);
    publish_later(c);
    FEED(r, 10, r1);
    call("follow", r, a); /* earlier posts show */
    call("follow", r, b);
    FEED(r, 10, a2, b1, r1, a1);
    FEED(r, 2, a2, b1);
    call("delete_post", a, a2);
    FEED(r, 10, b1, r1, a1);
    FEED(r, 2, b1, r1); /* full after filtering */
    call("mute_user", r, b);
    FEED(r, 10, r1, a1);
    call("unmute_user", r, b);
    FEED(r, 10, b1, r1, a1);
    call("unfollow", r, a);
    FEED(r, 10, b1, r1);
    call("follow", r, a);
    call("block_user", a, r); /* they block the reader: gone, and the edge with it */
    FEED(r, 10, b1, r1);
    call("block_user", r, b); /* the reader blocks them */
    FEED(r, 10, r1);
    call("unblock_user", r, b); /* the edge does not come back by itself */
    FEED(r, 10, r1);
    call("follow", r, b);
    FEED(r, 10, b1, r1);
    call("mute_user", r, r); /* nobody mutes himself */
    FEED(r, 10, b1, r1);
    /* A block that left an edge behind (it cannot, but the oracle does not rely on it) hides all the same. */
    number("WITH x AS (INSERT INTO blocked_by VALUES (shard_of(%lld), %lld, %lld) RETURNING 1::bigint AS n) SELECT n "
           "FROM x",
           (long long)r, (long long)r, (long long)b);
    FEED(r, 10, r1);
    CLEANUP(mem_free_charp) char *none = feed(4096, 10);
    assert_string_equal(none, "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(migrations_repeat_and_refuse),    cmocka_unit_test(ids_tell_shard_and_time),
        cmocka_unit_test(relations_answer_and_invalidate), cmocka_unit_test(following_is_limited),
        cmocka_unit_test(posts_answer_and_invalidate),     cmocka_unit_test(point_queries_touch_one_partition),
        cmocka_unit_test(generic_plan_prunes_at_start),    cmocka_unit_test(oracle_knows_every_rule),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
