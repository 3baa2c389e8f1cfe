/*
 * Blocking connection for tools and tests. One thread. Rows are binary, as on the loop's side; scripts and COPY are
 * text.
 */
#include <string.h>

#include "common/base/mem.h"
#include "common/store/pg_internal.h"

struct pg_sync {
    PGconn *conn; /* (own) */
};

/* libpq's messages end in a newline. */
static void tell(char **ret_message, const char *message) {
    if (!ret_message) return;
    size_t length = strlen(message);
    while (length > 0 && message[length - 1] == '\n') length--;
    *ret_message = mem_strndup(message, length);
}

static void ignore_notice(void *ctx, const char *message) {
    (void)ctx;
    (void)message;
}

enum err pg_sync_open(const char *conninfo, struct pg_sync **ret, char **ret_message) {
    const char *keywords[] = {"dbname", "client_encoding", "fallback_application_name", NULL};
    const char *values[] = {conninfo, "UTF8", "fanfare", NULL};
    PGconn *conn = PQconnectdbParams(keywords, values, 1);
    if (PQstatus(conn) != CONNECTION_OK) {
        tell(ret_message, PQerrorMessage(conn));
        PQfinish(conn);
        return ERR_REFUSED;
    }
    PQsetNoticeProcessor(conn, ignore_notice, NULL);
    *ret = NEW(struct pg_sync);
    (*ret)->conn = conn;
    return ERR_OK;
}

void pg_sync_close(struct pg_sync **c) {
    if (!*c) return;
    PQfinish((*c)->conn);
    mem_free(*c);
    *c = NULL;
}

static bool succeeded(const PGresult *res) {
    switch (PQresultStatus(res)) {
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
    case PGRES_EMPTY_QUERY:
        return true;
    default:
        return false;
    }
}

static enum err failure(struct pg_sync *c, char **ret_message) {
    tell(ret_message, PQerrorMessage(c->conn));
    return PQstatus(c->conn) == CONNECTION_OK ? ERR_BACKEND : ERR_LOST;
}

static enum err finish(struct pg_sync *c, PGresult *res, struct pg_result **ret, char **ret_message) {
    if (!succeeded(res)) {
        PQclear(res);
        return failure(c, ret_message);
    }
    if (!ret) {
        PQclear(res);
        return ERR_OK;
    }
    *ret = NEW(struct pg_result);
    (*ret)->res = res;
    return ERR_OK;
}

enum err pg_sync_exec(struct pg_sync *c, const char *sql, const struct pg_params *params, struct pg_result **ret,
                      char **ret_message) {
    PGresult *res = params ? PQexecParams(c->conn, sql, params->count, params->types, params->values, params->lengths,
                                          params->formats, 1)
                           : PQexecParams(c->conn, sql, 0, NULL, NULL, NULL, NULL, 1);
    return finish(c, res, ret, ret_message);
}

enum err pg_sync_script(struct pg_sync *c, const char *sql, char **ret_message) {
    return finish(c, PQexec(c->conn, sql), NULL, ret_message);
}

enum err pg_sync_copy_begin(struct pg_sync *c, const char *sql, char **ret_message) {
    PGresult *res = PQexec(c->conn, sql);
    bool copying = PQresultStatus(res) == PGRES_COPY_IN;
    PQclear(res);
    return copying ? ERR_OK : failure(c, ret_message);
}

enum err pg_sync_copy_data(struct pg_sync *c, struct str lines, char **ret_message) {
    while (lines.len > 0) {
        int part = lines.len > 1 << 20 ? 1 << 20 : (int)lines.len;
        if (PQputCopyData(c->conn, lines.data, part) != 1) return failure(c, ret_message);
        lines.data += part;
        lines.len -= (size_t)part;
    }
    return ERR_OK;
}

enum err pg_sync_copy_end(struct pg_sync *c, char **ret_message) {
    if (PQputCopyEnd(c->conn, NULL) != 1) return failure(c, ret_message);
    enum err err = ERR_OK;
    for (PGresult *res; (res = PQgetResult(c->conn)); PQclear(res))
        if (err == ERR_OK && !succeeded(res)) err = failure(c, ret_message);
    return err;
}

void pg_copy_escape(struct buf *to, struct str text) {
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        switch (c) {
        case '\\':
            buf_add(to, "\\\\", 2);
            break;
        case '\n':
            buf_add(to, "\\n", 2);
            break;
        case '\r':
            buf_add(to, "\\r", 2);
            break;
        case '\t':
            buf_add(to, "\\t", 2);
            break;
        default:
            buf_add_char(to, c);
        }
    }
}
