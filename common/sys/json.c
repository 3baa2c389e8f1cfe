/*
 * JSON: writers for the few things that are not plain text, and a reader over jansson, whose only user this file is.
 *
 *   text -> depth scan -> json_loadb -> struct json (a json_t under another name; never defined) -> borrowed children
 *
 * The depth is checked before the library sees the text: its own bound is 2,048 levels of recursion. A root is any
 * value, as RFC 8259 has it; the caller says what it wants. Numbers keep their kind: an integer beyond 64 bits is an
 * error, not a rounded double.
 *
 * The library's header and ours want the same names (json_string, JSON_OBJECT, ...). The names we do not call are
 * renamed while its header is read; see json.h for what the linker would do with them.
 */
#define json_type   jansson_type
#define json_string jansson_string
#define json_real   jansson_real
#define JSON_OBJECT JANSSON_OBJECT
#define JSON_ARRAY  JANSSON_ARRAY
#define JSON_STRING JANSSON_STRING
#define JSON_REAL   JANSSON_REAL
#define JSON_NULL   JANSSON_NULL
#include <jansson.h>
#undef json_type
#undef json_string
#undef json_real
#undef JSON_OBJECT
#undef JSON_ARRAY
#undef JSON_STRING
#undef JSON_REAL
#undef JSON_NULL

#include "common/sys/json.h"

#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/json_escape.h"
#include "common/base/utf8.h"

#define DEPTH_MAX 32
#define WHY_MAX   160

void json_write_string(struct buf *to, struct str s) {
    buf_add_char(to, '"');
    json_escape(to, s);
    buf_add_char(to, '"');
}

void json_write_id(struct buf *to, uint64_t id) {
    buf_add_char(to, '"');
    buf_add_u64(to, id);
    buf_add_char(to, '"');
}

void json_write_time(struct buf *to, uint64_t unix_ms) {
    char text[25];
    clock_format_rfc3339(unix_ms, text);
    buf_add_char(to, '"');
    buf_add_c(to, text);
    buf_add_char(to, '"');
}

/* True when brackets outside of strings nest at most DEPTH_MAX deep; else the place of the one too many. */
static bool depth_allowed(struct str text, int *ret_line, int *ret_column) {
    int depth = 0, line = 1;
    size_t line_start = 0;
    bool in_string = false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        if (in_string && c == '\\') {
            i++;
        } else if (c == '"') {
            in_string = !in_string;
        } else if (c == '\n') {
            line++;
            line_start = i + 1;
        } else if (!in_string && (c == '[' || c == '{')) {
            if (++depth > DEPTH_MAX) {
                *ret_line = line;
                *ret_column = (int)(i - line_start) + 1;
                return false;
            }
        } else if (!in_string && (c == ']' || c == '}')) {
            depth--;
        }
    }
    return true;
}

/* The library quotes a piece of the text; what goes into an answer must be UTF-8 and one line. */
static void make_printable(char *why) {
    bool utf8 = utf8_valid(why, strlen(why), NULL);
    for (char *c = why; *c; c++) {
        unsigned char byte = (unsigned char)*c;
        if (byte < 0x20 || byte == 0x7f || (!utf8 && byte >= 0x80)) *c = '?';
    }
}

enum err json_parse(struct str text, struct json **ret, char ret_why[static 160]) {
    int line, column;
    if (!depth_allowed(text, &line, &column)) {
        snprintf(ret_why, WHY_MAX, "line %d, column %d: nested too deep; at most %d levels are allowed", line, column,
                 DEPTH_MAX);
        return ERR_INVALID;
    }
    json_error_t error;
    json_t *root = json_loadb(text.len > 0 ? text.data : "", text.len,
                              JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY, &error);
    if (!root) {
        snprintf(ret_why, WHY_MAX, "line %d, column %d: %.120s", error.line > 0 ? error.line : 1,
                 error.column > 0 ? error.column : 1, error.text);
        make_printable(ret_why);
        return ERR_INVALID;
    }
    *ret = (struct json *)root;
    return ERR_OK;
}

void json_free(struct json **root) {
    json_decref((json_t *)*root);
    *root = NULL;
}

static json_t *raw(const struct json *j) {
    return (json_t *)j;
}

enum json_type json_type(const struct json *j) {
    switch (json_typeof(raw(j))) {
    case JANSSON_OBJECT:
        return JSON_OBJECT;
    case JANSSON_ARRAY:
        return JSON_ARRAY;
    case JANSSON_STRING:
        return JSON_STRING;
    case JSON_INTEGER:
        return JSON_INT;
    case JANSSON_REAL:
        return JSON_REAL;
    case JSON_TRUE:
    case JSON_FALSE:
        return JSON_BOOL;
    case JANSSON_NULL:
        break;
    }
    return JSON_NULL;
}

const char *json_type_name(enum json_type t) {
    static const char *const names[] = {
        [JSON_NULL] = "null",       [JSON_BOOL] = "true or false", [JSON_INT] = "a whole number",
        [JSON_REAL] = "a number",   [JSON_STRING] = "a string",    [JSON_ARRAY] = "an array",
        [JSON_OBJECT] = "an object"};
    return names[t];
}

const struct json *json_member(const struct json *object, const char *key) {
    return (const struct json *)json_object_get(raw(object), key);
}

struct str json_get_string(const struct json *j) {
    if (json_type(j) != JSON_STRING) return STR("");
    return str_of(json_string_value(raw(j)), json_string_length(raw(j)));
}

int64_t json_int(const struct json *j) {
    return json_integer_value(raw(j));
}

double json_get_real(const struct json *j) {
    return json_number_value(raw(j));
}

bool json_bool(const struct json *j) {
    return json_typeof(raw(j)) == JSON_TRUE;
}

size_t json_length(const struct json *j) {
    return json_type(j) == JSON_OBJECT ? json_object_size(raw(j)) : json_array_size(raw(j));
}

const struct json *json_at(const struct json *array, size_t index) {
    return (const struct json *)json_array_get(raw(array), index);
}

bool json_each(const struct json *object, void **iterator, struct str *ret_key, const struct json **ret_value) {
    void *at = *iterator ? json_object_iter_next(raw(object), *iterator) : json_object_iter(raw(object));
    if (!at) return false;
    *iterator = at;
    *ret_key = str_of(json_object_iter_key(at), json_object_iter_key_len(at));
    *ret_value = (const struct json *)json_object_iter_value(at);
    return true;
}
