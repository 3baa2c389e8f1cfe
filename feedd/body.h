/*
 * Typed reading of JSON bodies: a handler declares the members it knows, and gets them checked, or the client gets a
 * sentence that says what is wrong with which member. Pure but for body_read in request.h; any thread.
 */
#ifndef FEEDD_BODY_H
#define FEEDD_BODY_H

#include <stdbool.h>

#include "common/sys/json.h"
#include "feedd/problem.h"

enum body_type {
    BODY_TEXT,   /* string; not blank only; no NUL */
    BODY_LINE,   /* string; not blank only; no control characters */
    BODY_SECRET, /* string; anything */
    BODY_HANDLE, /* string; of [a-z0-9_] */
    BODY_URL,    /* string; http or https, visible ASCII */
    BODY_ID,     /* string; decimal id */
};
struct body_member {
    const char *name;
    enum body_type type;
    bool required;
    bool nullable;
    unsigned min, max; /* code points; not for BODY_ID */
};
struct body_value {
    bool present; /* false: the rest is not set */
    bool null;
    struct str text; /* (ref: the parsed root) */
    uint64_t id;     /* BODY_ID */
};

#define BODY_DETAIL_MAX 320
/*
 * text: the whole body. values: one a member, in order. On PROBLEM_NONE *ret_root (own, json_free) holds what values
 * refer to; else detail says what is wrong.
 */
enum problem body_parse(struct str text, const struct body_member *members, size_t count, struct body_value *values,
                        struct json **ret_root, char detail[static BODY_DETAIL_MAX]);

/* Only white space, or nothing (well-formed UTF-8). */
bool body_is_blank(struct str s);

#endif
