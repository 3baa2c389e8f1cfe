/*
 * Statement parameters in PostgreSQL's binary format. Values are copied into the arena of the parameters, so what they
 * were made from may go.
 *
 * An array travels as: dimensions | has-null flag | element type | length | lower bound | (length of element |
 * element)...
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/store/pg_internal.h"

#define ARRAY_HEADER_BYTES 20

void pg_params_init(struct pg_params *p, struct arena *arena) {
    p->arena = arena;
    p->count = 0;
}

static void add(struct pg_params *p, enum pg_oid type, const char *value, size_t length) {
    if (p->count == 32 || length > INT32_MAX) {
        fprintf(stderr, "pg: more than 32 parameters, or one of more than 2 GB\n");
        abort();
    }
    int i = p->count++;
    p->values[i] = value;
    p->lengths[i] = (int)length;
    p->formats[i] = 1;
    p->types[i] = type;
}

static void store32(char *at, uint32_t v) {
    for (int i = 3; i >= 0; i--, v >>= 8) at[i] = (char)(unsigned char)v;
}

void pg_param_int8(struct pg_params *p, uint64_t v) {
    char *value = arena_alloc(p->arena, 8);
    be64_store(value, v);
    add(p, PG_OID_INT8, value, 8);
}

void pg_param_int4(struct pg_params *p, int32_t v) {
    char *value = arena_alloc(p->arena, 4);
    store32(value, (uint32_t)v);
    add(p, PG_OID_INT4, value, 4);
}

void pg_param_bool(struct pg_params *p, bool v) {
    char *value = arena_alloc(p->arena, 1);
    *value = v;
    add(p, PG_OID_BOOL, value, 1);
}

static void add_bytes(struct pg_params *p, enum pg_oid type, struct str v) {
    add(p, type, v.data ? arena_strndup(p->arena, v.data, v.len) : NULL, v.data ? v.len : 0);
}

void pg_param_text(struct pg_params *p, struct str v) {
    add_bytes(p, PG_OID_TEXT, v);
}

void pg_param_bytes(struct pg_params *p, struct str v) {
    add_bytes(p, PG_OID_BYTEA, v);
}

/* Writes the header into an allocation of header + payload bytes; returns where the payload starts. An empty array has
 * no dimension. */
static char *begin_array(struct pg_params *p, enum pg_oid array, enum pg_oid element, size_t n, size_t payload,
                         bool nulls) {
    size_t size = n > 0 ? ARRAY_HEADER_BYTES + payload : 12;
    char *value = arena_alloc(p->arena, size);
    store32(value, n > 0);
    store32(value + 4, nulls);
    store32(value + 8, element);
    if (n > 0) {
        store32(value + 12, (uint32_t)n);
        store32(value + 16, 1);
    }
    add(p, array, value, size);
    return value + ARRAY_HEADER_BYTES;
}

void pg_param_int8_array(struct pg_params *p, const uint64_t *v, size_t n) {
    char *at = begin_array(p, PG_OID_INT8_ARRAY, PG_OID_INT8, n, n * 12, false);
    for (size_t i = 0; i < n; i++, at += 12) {
        store32(at, 8);
        be64_store(at + 4, v[i]);
    }
}

void pg_param_int4_array(struct pg_params *p, const int32_t *v, size_t n) {
    char *at = begin_array(p, PG_OID_INT4_ARRAY, PG_OID_INT4, n, n * 8, false);
    for (size_t i = 0; i < n; i++, at += 8) {
        store32(at, 4);
        store32(at + 4, (uint32_t)v[i]);
    }
}

static void add_str_array(struct pg_params *p, enum pg_oid array, enum pg_oid element, const struct str *v, size_t n) {
    size_t payload = 0;
    bool nulls = false;
    for (size_t i = 0; i < n; i++) {
        payload += 4 + (v[i].data ? v[i].len : 0);
        nulls |= !v[i].data;
    }
    char *at = begin_array(p, array, element, n, payload, nulls);
    for (size_t i = 0; i < n; i++) {
        store32(at, v[i].data ? (uint32_t)v[i].len : UINT32_MAX);
        at += 4;
        if (!v[i].data) continue;
        memcpy(at, v[i].data, v[i].len);
        at += v[i].len;
    }
}

void pg_param_text_array(struct pg_params *p, const struct str *v, size_t n) {
    add_str_array(p, PG_OID_TEXT_ARRAY, PG_OID_TEXT, v, n);
}

void pg_param_bytes_array(struct pg_params *p, const struct str *v, size_t n) {
    add_str_array(p, PG_OID_BYTEA_ARRAY, PG_OID_BYTEA, v, n);
}
