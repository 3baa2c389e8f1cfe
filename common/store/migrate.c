/*
 * Migrations: see the header.
 *
 *   lock -> table schema_migrations -> files of the directory, sorted -> compare with what is applied -> apply the rest
 *        -> unlock
 *
 * The comparison comes first and covers everything: a directory that does not continue the database's history changes
 * nothing.
 */
#include "common/store/migrate.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/mem.h"

#define LOCK_KEY "7014391188210"
#define FILE_MAX (16 << 20)

struct migration {
    unsigned version;
    char *name; /* (own) of the file */
    char *sql;  /* (own) */
    size_t length;
    char checksum[17];
    bool applied;
};

struct migrations {
    struct migration *list;
    size_t count;
};

static void migrations_fini(struct migrations *m) {
    for (size_t i = 0; i < m->count; i++) {
        mem_free(m->list[i].name);
        mem_free(m->list[i].sql);
    }
    mem_free(m->list);
}

static enum err failed(enum err err, char **ret_message, char *message) {
    if (ret_message)
        *ret_message = message;
    else
        mem_free(message);
    return err;
}

/* ---- files ---- */

static bool parse_name(const char *name, unsigned *ret_version) {
    unsigned version = 0;
    for (int i = 0; i < 4; i++) {
        if (!isdigit((unsigned char)name[i])) return false;
        version = version * 10 + (unsigned)(name[i] - '0');
    }
    *ret_version = version;
    return name[4] == '_';
}

static enum err read_file(const char *path, char **ret, size_t *ret_length) {
    errno = 0;
    FILE *file = fopen(path, "rbe");
    if (!file) return ERR_IO;
    CLEANUP(buf_fini) struct buf content = BUF_INIT;
    size_t got;
    do {
        buf_reserve(&content, 65536);
        got = fread(content.data + content.len, 1, 65535, file);
        content.len += got;
    } while (got > 0 && content.len <= FILE_MAX);
    bool whole = !ferror(file) && content.len <= FILE_MAX;
    fclose(file);
    if (!whole) return ERR_IO;
    content.data[content.len] = 0;
    *ret = buf_take(&content, ret_length);
    return ERR_OK;
}

static int is_sql(const struct dirent *entry) {
    size_t length = strlen(entry->d_name);
    return entry->d_name[0] != '.' && length > 4 && strcmp(entry->d_name + length - 4, ".sql") == 0;
}

static enum err load_one(const char *directory, const char *name, struct migrations *m, char **ret_message) {
    struct migration loaded = {0};
    if (!parse_name(name, &loaded.version))
        return failed(ERR_INVALID, ret_message, mem_printf("%s: not named NNNN_name.sql", name));
    if (m->count > 0 && m->list[m->count - 1].version == loaded.version)
        return failed(ERR_INVALID, ret_message,
                      mem_printf("%s: has the version of %s", name, m->list[m->count - 1].name));
    CLEANUP(mem_free_charp) char *path = mem_printf("%s/%s", directory, name);
    if (read_file(path, &loaded.sql, &loaded.length) != ERR_OK)
        return failed(ERR_IO, ret_message, mem_printf("%s: %s", path, errno ? strerror(errno) : "too large"));
    loaded.name = mem_strdup(name);
    snprintf(loaded.checksum, sizeof loaded.checksum, "%016llx",
             (unsigned long long)hash_bytes(loaded.sql, loaded.length));
    m->list = mem_grow(m->list, m->count + 1, sizeof *m->list);
    m->list[m->count++] = loaded;
    return ERR_OK;
}

static enum err load(const char *directory, struct migrations *m, char **ret_message) {
    struct dirent **entries;
    errno = 0;
    int count = scandir(directory, &entries, is_sql, alphasort);
    if (count < 0) return failed(ERR_IO, ret_message, mem_printf("%s: %s", directory, strerror(errno)));
    enum err err = count > 0 ? ERR_OK : failed(ERR_IO, ret_message, mem_printf("%s: holds no migration", directory));
    for (int i = 0; i < count; i++) {
        if (err == ERR_OK) err = load_one(directory, entries[i]->d_name, m, ret_message);
        free(entries[i]);
    }
    free(entries);
    return err;
}

/* ---- what the database has ---- */

static struct migration *find(struct migrations *m, uint64_t version) {
    for (size_t i = 0; i < m->count; i++)
        if (m->list[i].version == version) return &m->list[i];
    return NULL;
}

static enum err compare(struct migrations *m, const struct pg_result *rows, char **ret_message) {
    uint64_t newest = 0;
    for (int i = 0; i < pg_rows(rows); i++) {
        uint64_t version = pg_int8(rows, i, 0);
        struct str name = pg_text(rows, i, 1);
        struct migration *file = find(m, version);
        if (!file)
            return failed(ERR_CONFLICT, ret_message,
                          mem_printf("%.*s is applied, but there is no such file: the database is newer than this "
                                     "program",
                                     (int)name.len, name.data));
        if (!str_eq_c(pg_text(rows, i, 2), file->checksum))
            return failed(ERR_CONFLICT, ret_message,
                          mem_printf("%s was changed after it was applied; write a new migration instead", file->name));
        file->applied = true;
        newest = version;
    }
    for (size_t i = 0; i < m->count; i++)
        if (!m->list[i].applied && m->list[i].version < newest)
            return failed(ERR_CONFLICT, ret_message,
                          mem_printf("%s is not applied, but newer ones are", m->list[i].name));
    return ERR_OK;
}

static enum err check(struct pg_sync *db, struct migrations *m, char **ret_message) {
    struct pg_result *rows;
    enum err err = pg_sync_script(db,
                                  "CREATE TABLE IF NOT EXISTS schema_migrations (version integer PRIMARY KEY,"
                                  " name text NOT NULL, checksum text NOT NULL,"
                                  " applied_at timestamptz NOT NULL DEFAULT now())",
                                  ret_message);
    if (err == ERR_OK)
        err = pg_sync_exec(db, "SELECT version, name, checksum FROM schema_migrations ORDER BY version", NULL, &rows,
                           ret_message);
    if (err != ERR_OK) return err;
    err = compare(m, rows, ret_message);
    pg_result_free(&rows);
    return err;
}

/* ---- applying ---- */

static enum err record(struct pg_sync *db, const struct migration *m, char **ret_message) {
    struct arena arena;
    struct pg_params params;
    arena_init(&arena, 512);
    pg_params_init(&params, &arena);
    pg_param_int4(&params, (int32_t)m->version);
    pg_param_text(&params, str_c(m->name));
    pg_param_text(&params, str_c(m->checksum));
    enum err err = pg_sync_exec(db, "INSERT INTO schema_migrations (version, name, checksum) VALUES ($1, $2, $3)",
                                &params, NULL, ret_message);
    arena_fini(&arena);
    return err;
}

static enum err apply(struct pg_sync *db, const struct migration *m, char **ret_message) {
    char *why = NULL;
    enum err err = pg_sync_script(db, "BEGIN", &why);
    if (err == ERR_OK) err = pg_sync_script(db, m->sql, &why);
    if (err == ERR_OK) err = record(db, m, &why);
    if (err == ERR_OK) err = pg_sync_script(db, "COMMIT", &why);
    if (err == ERR_OK) return ERR_OK;
    pg_sync_script(db, "ROLLBACK", NULL);
    failed(err, ret_message, mem_printf("%s: %s", m->name, why ? why : err_text(err)));
    mem_free(why);
    return err;
}

enum err migrate_apply(struct pg_sync *db, const char *directory, migrate_applied_fn *applied, void *ctx,
                       unsigned *ret_applied, char **ret_message) {
    struct migrations m = {0};
    unsigned count = 0;
    enum err err = load(directory, &m, ret_message);
    if (err == ERR_OK)
        err =
            pg_sync_script(db, "SET client_min_messages = warning; SELECT pg_advisory_lock(" LOCK_KEY ")", ret_message);
    if (err == ERR_OK) {
        err = check(db, &m, ret_message);
        for (size_t i = 0; i < m.count && err == ERR_OK; i++) {
            if (m.list[i].applied) continue;
            err = apply(db, &m.list[i], ret_message);
            if (err != ERR_OK) break;
            count++;
            if (applied) applied(ctx, m.list[i].name);
        }
        pg_sync_script(db, "SELECT pg_advisory_unlock(" LOCK_KEY ")", NULL);
    }
    if (err == ERR_OK && ret_applied) *ret_applied = count;
    migrations_fini(&m);
    return err;
}
