/* Shared by integration tests: a database of the test's own with schema/ applied, in the server that FANFARE_TEST_PG
 * names. */
#ifndef TESTS_INTEGRATION_DATABASE_H
#define TESTS_INTEGRATION_DATABASE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/store/migrate.h"
#include "common/store/pg.h"

static inline const char *test_env(const char *name) {
    const char *value = getenv(name);
    if (!value || !*value) {
        fprintf(stderr, "%s is not set: it must name a server for tests (see docs)\n", name);
        fail_msg("%s is not set", name);
    }
    return value;
}

static inline struct pg_sync *test_open(const char *conninfo) {
    struct pg_sync *db = NULL;
    char *message = NULL;
    if (pg_sync_open(conninfo, &db, &message) != ERR_OK) fail_msg("cannot connect: %s", message);
    return db;
}

static inline void test_script(struct pg_sync *db, const char *sql) {
    char *message = NULL;
    if (pg_sync_script(db, sql, &message) != ERR_OK) fail_msg("%s: %s", sql, message);
}

/* First column of the first row, as a number; the statement must return one. */
static inline int64_t test_number(struct pg_sync *db, const char *sql) {
    char *message = NULL;
    struct pg_result *rows = NULL;
    if (pg_sync_exec(db, sql, NULL, &rows, &message) != ERR_OK) fail_msg("%s: %s", sql, message);
    if (pg_rows(rows) < 1) fail_msg("%s: no row", sql);
    int64_t value = pg_null(rows, 0, 0) ? INT64_MIN : (int64_t)pg_int8(rows, 0, 0);
    pg_result_free(&rows);
    return value;
}

/* The same as text (own); NULL for NULL. */
static inline char *test_text(struct pg_sync *db, const char *sql) {
    char *message = NULL;
    struct pg_result *rows = NULL;
    if (pg_sync_exec(db, sql, NULL, &rows, &message) != ERR_OK) fail_msg("%s: %s", sql, message);
    if (pg_rows(rows) < 1) fail_msg("%s: no row", sql);
    struct str text = pg_text(rows, 0, 0);
    char *value = text.data ? mem_strndup(text.data, text.len) : NULL;
    pg_result_free(&rows);
    return value;
}

/* Makes database `name` anew; its connection string (own). URIs are not understood, key=value strings are. */
static inline char *test_database(const char *name) {
    const char *server = test_env("FANFARE_TEST_PG");
    struct pg_sync *db = test_open(server);
    CLEANUP(mem_free_charp) char *drop = mem_printf("DROP DATABASE IF EXISTS %s WITH (FORCE)", name);
    CLEANUP(mem_free_charp) char *create = mem_printf("CREATE DATABASE %s", name);
    test_script(db, drop);
    test_script(db, create);
    pg_sync_close(&db);
    return mem_printf("%s dbname=%s", server, name);
}

static inline void test_migrate(struct pg_sync *db) {
    const char *directory = getenv("FANFARE_TEST_SCHEMA");
    char *message = NULL;
    if (migrate_apply(db, directory ? directory : "schema", NULL, NULL, NULL, &message) != ERR_OK)
        fail_msg("migrations: %s", message);
}

#endif
