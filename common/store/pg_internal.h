/* What the libpq users (pg*.c) share. Nobody else includes it. */
#ifndef STORE_PG_INTERNAL_H
#define STORE_PG_INTERNAL_H

#include <libpq-fe.h>

#include "common/store/pg.h"

struct pg_result {
    PGresult *res; /* (own) */
};

/* Type oids of the binary protocol (catalog/pg_type.dat; fixed for ever). */
enum pg_oid {
    PG_OID_BOOL = 16,
    PG_OID_BYTEA = 17,
    PG_OID_CHAR = 18,
    PG_OID_NAME = 19,
    PG_OID_INT8 = 20,
    PG_OID_INT2 = 21,
    PG_OID_INT4 = 23,
    PG_OID_TEXT = 25,
    PG_OID_JSON = 114,
    PG_OID_BYTEA_ARRAY = 1001,
    PG_OID_INT4_ARRAY = 1007,
    PG_OID_TEXT_ARRAY = 1009,
    PG_OID_INT8_ARRAY = 1016,
    PG_OID_BPCHAR = 1042,
    PG_OID_VARCHAR = 1043,
};

#endif
