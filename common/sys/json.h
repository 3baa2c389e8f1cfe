/*
 * JSON (RFC 8259). Writing appends to a buffer; parsing wraps the JSON library (the only user of jansson.h). One thread
 * an object.
 */
#ifndef SYS_JSON_H
#define SYS_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"

void json_write_string(struct buf *to, struct str s);   /* quoted and escaped; s is valid UTF-8 */
void json_write_id(struct buf *to, uint64_t id);        /* "123" in quotes */
void json_write_time(struct buf *to, uint64_t unix_ms); /* RFC 3339 in quotes */

struct json; /* a parsed value; children are borrowed from the root */
/*
 * Nesting at most 32, duplicate keys refused, NUL in strings allowed. On ERR_INVALID ret_why (at least 160 bytes) says
 * where and why.
 */
enum err json_parse(struct str text, struct json **ret, char ret_why[static 160]);
void json_free(struct json **root); /* roots only */
enum json_type { JSON_NULL, JSON_BOOL, JSON_INT, JSON_REAL, JSON_STRING, JSON_ARRAY, JSON_OBJECT };
enum json_type json_type(const struct json *j);
const char *json_type_name(enum json_type t);                               /* "a string", "an object", ... */
const struct json *json_member(const struct json *object, const char *key); /* NULL when absent */
int64_t json_int(const struct json *j);                                     /* 0 unless an int */
/*
 * Inline, because a symbol json_string or json_real of ours would be called by the JSON library in place of its own
 * (the linker resolves a shared library's calls to the program's symbols first).
 */
struct str json_get_string(const struct json *j);
double json_get_real(const struct json *j);
/* Borrowed from the root; empty unless a string. */
static inline struct str json_string(const struct json *j) {
    return json_get_string(j);
}
/* Of an int too; else 0. */
static inline double json_real(const struct json *j) {
    return json_get_real(j);
}
bool json_bool(const struct json *j);
size_t json_length(const struct json *j); /* of an array or object */
const struct json *json_at(const struct json *array, size_t index);
/* Walks the members of an object; start with *iterator = NULL; false at the end. */
bool json_each(const struct json *object, void **iterator, struct str *ret_key, const struct json **ret_value);

#endif
