/* Users and tokens by hand: user add, token, migrate. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/arena.h"
#include "common/base/mem.h"
#include "common/base/utf8.h"
#include "common/store/migrate.h"
#include "common/sys/json.h"
#include "common/sys/password.h"
#include "ctl/arguments.h"
#include "ctl/ctl.h"

static bool handle_ok(struct str h) {
    if (h.len < 3 || h.len > 30) return false;
    for (size_t i = 0; i < h.len; i++)
        if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789_", h.data[i]) || !h.data[i]) return false;
    return true;
}

struct hashing {
    struct loop *loop;
    char hash[PASSWORD_HASH_MAX];
    enum err err;
};

static void hashed(void *ctx, enum err err, const char *hash, bool match) {
    struct hashing *h = ctx;
    (void)match;
    h->err = err;
    snprintf(h->hash, sizeof h->hash, "%s", hash);
    loop_stop(h->loop);
}

/* First line of a file, hashed as feedd does it. */
static bool hash_password_file(const char *path, char ret_hash[static PASSWORD_HASH_MAX]) {
    FILE *f = fopen(path, "re");
    if (!f) return ctl_fail("cannot read %s: %m", path), false;
    char line[512] = "";
    bool got = fgets(line, sizeof line, f) != NULL;
    fclose(f);
    line[strcspn(line, "\n")] = 0;
    if (!got || strlen(line) < 8 || strlen(line) > 256)
        return ctl_fail("%s: the password must have 8 to 256 bytes", path), false;
    struct hashing h = {.loop = loop_new(), .err = ERR_INTERNAL};
    struct password_pool *pool = password_pool_new(1, 1, 2, 19u << 20);
    if (password_hash(pool, h.loop, str_c(line), hashed, &h) == ERR_OK) loop_run(h.loop);
    password_pool_free(&pool);
    loop_free(&h.loop);
    explicit_bzero(line, sizeof line);
    if (h.err != ERR_OK) return ctl_fail("cannot hash the password: %s", err_text(h.err)), false;
    memcpy(ret_hash, h.hash, PASSWORD_HASH_MAX);
    return true;
}

static void print_account(uint64_t id, const char *handle, const struct buf *token) {
    CLEANUP(buf_fini) struct buf out = BUF_INIT;
    buf_add_c(&out, "{\"id\":");
    json_write_id(&out, id);
    buf_add_c(&out, ",\"handle\":");
    json_write_string(&out, str_c(handle));
    buf_add_c(&out, ",\"token\":");
    json_write_string(&out, buf_str(token));
    buf_add_c(&out, "}");
    puts(out.data);
}

int command_user_add(struct ctl *c, int argc, char **argv) {
    const char *handle = NULL, *name = NULL, *password_file = NULL;
    const struct argument table[] = {ARGUMENT_WORD(&handle), ARGUMENT_TEXT("--name", &name),
                                     ARGUMENT_TEXT("--password-file", &password_file)};
    if (!arguments_parse(table, ARRAY_LEN(table), argc, argv)) return EXIT_USAGE;
    if (!handle || !handle_ok(str_c(handle))) return ctl_usage("give a handle of 3 to 30 characters a-z, 0-9, _");
    size_t points = 0;
    if (!name || !utf8_valid(name, strlen(name), &points) || points < 1 || points > 100)
        return ctl_usage("give --name with 1 to 100 characters of valid UTF-8");
    char hash[PASSWORD_HASH_MAX] = "";
    if (password_file && !hash_password_file(password_file, hash)) return EXIT_FAILED;
    if (!ctl_database(c)) return EXIT_FAILED;
    CLEANUP(arena_fini) struct arena arena;
    arena_init(&arena, 0);
    struct pg_params p;
    pg_params_init(&p, &arena);
    pg_param_text(&p, str_c(handle));
    pg_param_text(&p, str_c(name));
    pg_param_text(&p, (struct str){0});
    pg_param_text(&p, *hash ? str_c(hash) : (struct str){0});
    CLEANUP(pg_result_free) struct pg_result *r = NULL;
    if (!ctl_query(c, "SELECT status, user_id FROM sign_up($1, $2, $3, $4)", &p, &r)) return EXIT_FAILED;
    if (!str_eq_c(pg_text(r, 0, 0), "created")) return ctl_fail("the handle \"%s\" is taken", handle);
    CLEANUP(buf_fini) struct buf token = BUF_INIT;
    uint64_t id = pg_int8(r, 0, 1);
    if (!ctl_token(c, id, &token)) return EXIT_FAILED;
    print_account(id, handle, &token);
    return EXIT_DONE;
}

int command_token(struct ctl *c, int argc, char **argv) {
    const char *user = NULL, *handle = NULL;
    uint64_t ttl = (uint64_t)c->options.token_ttl_ms / 1000;
    const struct argument table[] = {ARGUMENT_TEXT("--user", &user), ARGUMENT_TEXT("--handle", &handle),
                                     ARGUMENT_NUMBER("--ttl", &ttl, 31536000)};
    if (!arguments_parse(table, ARRAY_LEN(table), argc, argv)) return EXIT_USAGE;
    if (!user == !handle) return ctl_usage("give either --user or --handle");
    uint64_t id = 0;
    if (user && !ctl_id_argument("--user", user, &id)) return EXIT_USAGE;
    if (!ttl) return ctl_usage("--ttl starts at 1");
    c->options.token_ttl_ms = (int64_t)ttl * 1000;
    if (!ctl_database(c)) return EXIT_FAILED;
    CLEANUP(arena_fini) struct arena arena;
    arena_init(&arena, 0);
    struct pg_params p;
    pg_params_init(&p, &arena);
    CLEANUP(pg_result_free) struct pg_result *r = NULL;
    if (user)
        pg_param_int8(&p, id);
    else
        pg_param_text(&p, str_c(handle));
    if (!ctl_query(c,
                   user ? "SELECT id FROM users WHERE shard = shard_of($1) AND id = $1"
                        : "SELECT user_id FROM handles WHERE handle = $1",
                   &p, &r))
        return EXIT_FAILED;
    if (pg_rows(r) == 0) return ctl_fail("there is no user \"%s\"", user ? user : handle);
    CLEANUP(buf_fini) struct buf token = BUF_INIT;
    if (!ctl_token(c, pg_int8(r, 0, 0), &token)) return EXIT_FAILED;
    puts(token.data);
    return EXIT_DONE;
}

/* schema/ lies beside bin/: the programs are run from the tree that they were built in, or told where it is. */
static char *schema_beside_program(void) {
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (n <= 0) return mem_strdup("schema");
    path[n] = 0;
    for (char *slash; (slash = strrchr(path, '/')) && slash != path;) {
        *slash = 0;
        char *candidate = mem_printf("%s/schema/0001_tables.sql", path);
        bool there = access(candidate, R_OK) == 0;
        mem_free(candidate);
        if (there) return mem_printf("%s/schema", path);
    }
    return mem_strdup("schema");
}

static void say_applied(void *ctx, const char *file) {
    (void)ctx;
    printf("applied %s\n", file);
}

int command_migrate(struct ctl *c, int argc, char **argv) {
    const char *schema = NULL;
    const struct argument table[] = {ARGUMENT_TEXT("--schema", &schema)};
    if (!arguments_parse(table, ARRAY_LEN(table), argc, argv)) return EXIT_USAGE;
    if (!ctl_database(c)) return EXIT_FAILED;
    CLEANUP(mem_free_charp) char *folder = schema ? mem_strdup(schema) : schema_beside_program();
    CLEANUP(mem_free_charp) char *message = NULL;
    unsigned applied = 0;
    if (migrate_apply(c->db, folder, say_applied, NULL, &applied, &message) != ERR_OK)
        return ctl_fail("migrate: %s", message);
    printf("%u applied\n", applied);
    return EXIT_DONE;
}
