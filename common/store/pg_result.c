/*
 * Rows in PostgreSQL's binary format. The types are fixed by the statement, so a mismatch is a programming error: it
 * aborts with the column's name rather than serve bytes of another type.
 */
#include <stdio.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/store/pg_internal.h"

static _Noreturn void wrong_type(const struct pg_result *r, int column, const char *wanted) {
    fprintf(stderr, "pg: column %d (%s, type %u) is not %s\n", column, PQfname(r->res, column) ?: "absent",
            PQftype(r->res, column), wanted);
    abort();
}

static const char *field(const struct pg_result *r, int row, int column, const char *wanted) {
    if (row < 0 || row >= PQntuples(r->res) || column < 0 || column >= PQnfields(r->res) ||
        PQgetisnull(r->res, row, column))
        wrong_type(r, column, wanted);
    return PQgetvalue(r->res, row, column);
}

int pg_rows(const struct pg_result *r) {
    return PQntuples(r->res);
}

bool pg_null(const struct pg_result *r, int row, int column) {
    return PQgetisnull(r->res, row, column);
}

uint64_t pg_int8(const struct pg_result *r, int row, int column) {
    const char *value = field(r, row, column, "a whole number");
    switch (PQftype(r->res, column)) {
    case PG_OID_INT8:
        return be64_load(value);
    case PG_OID_INT4:
        return (uint64_t)(int64_t)(int32_t)be32_load(value);
    case PG_OID_INT2: {
        unsigned bits = (unsigned)(unsigned char)value[0] << 8 | (unsigned char)value[1];
        return (uint64_t)(int64_t)(int16_t)(uint16_t)bits;
    }
    default:
        wrong_type(r, column, "a whole number");
    }
}

bool pg_bool(const struct pg_result *r, int row, int column) {
    const char *value = field(r, row, column, "a boolean");
    if (PQftype(r->res, column) != PG_OID_BOOL) wrong_type(r, column, "a boolean");
    return *value != 0;
}

struct str pg_text(const struct pg_result *r, int row, int column) {
    if (pg_null(r, row, column)) return (struct str){0};
    const char *value = field(r, row, column, "text");
    switch (PQftype(r->res, column)) {
    case PG_OID_TEXT:
    case PG_OID_VARCHAR:
    case PG_OID_BPCHAR:
    case PG_OID_NAME:
    case PG_OID_CHAR:
    case PG_OID_JSON:
    case PG_OID_BYTEA:
        return str_of(value, (size_t)PQgetlength(r->res, row, column));
    default:
        wrong_type(r, column, "text");
    }
}

uint64_t *pg_int8_array(const struct pg_result *r, int row, int column, struct arena *arena, size_t *ret_count) {
    if (PQftype(r->res, column) != PG_OID_INT8_ARRAY) wrong_type(r, column, "an array of bigint");
    size_t count = 0;
    const char *at = NULL, *end = NULL;
    if (!pg_null(r, row, column)) {
        at = field(r, row, column, "an array of bigint");
        end = at + PQgetlength(r->res, row, column);
        uint32_t dimensions = be32_load(at);
        if (dimensions > 1 || be32_load(at + 4) != 0) wrong_type(r, column, "a flat array of bigint without NULLs");
        if (dimensions == 1) count = be32_load(at + 12);
        at += 20;
        if (count > 0 && (size_t)(end - at) != count * 12) wrong_type(r, column, "an array of bigint");
    }
    uint64_t *values = arena_alloc(arena, (count > 0 ? count : 1) * sizeof *values);
    for (size_t i = 0; i < count; i++, at += 12) values[i] = be64_load(at + 4);
    *ret_count = count;
    return values;
}

const char *pg_sqlstate(const struct pg_result *r) {
    const char *state = PQresultErrorField(r->res, PG_DIAG_SQLSTATE);
    return state ? state : "";
}

struct str pg_message(const struct pg_result *r) {
    const char *message = PQresultErrorField(r->res, PG_DIAG_MESSAGE_PRIMARY);
    return str_c(message ? message : PQresultErrorMessage(r->res));
}

void pg_result_free(struct pg_result **r) {
    if (!*r) return;
    PQclear((*r)->res);
    mem_free(*r);
    *r = NULL;
}
