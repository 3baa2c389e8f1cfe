/*
 * Migrations: applies the files schema/NNNN_name.sql that the database has not seen, forward only, in order, each in a
 * transaction of its own together with its row in schema_migrations (version, name, checksum). Safe to repeat, and to
 * run twice at once (an advisory lock). Blocking; for fanfarectl, set-up and tests.
 */
#ifndef STORE_MIGRATE_H
#define STORE_MIGRATE_H

#include "common/base/err.h"
#include "common/store/pg.h"

typedef void migrate_applied_fn(void *ctx, const char *file);

/*
 * applied (may be NULL) is called after each file. *ret_applied (may be NULL): how many. Failures say in *ret_message
 * (own; may be NULL) which file and why: ERR_CONFLICT  an applied file was changed or is missing, or a file is older
 * than what is applied ERR_INVALID   two files of one version, or a name that is not NNNN_name.sql ERR_IO        the
 * directory or a file cannot be read ERR_BACKEND   a file failed; those before it stay applied
 */
enum err migrate_apply(struct pg_sync *db, const char *directory, migrate_applied_fn *applied, void *ctx,
                       unsigned *ret_applied, char **ret_message);

#endif
