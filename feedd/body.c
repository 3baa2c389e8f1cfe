/*
 * Typed JSON bodies. Order of the checks, so that the message is the most useful one: UTF-8, JSON, an object, members
 * that nobody knows, then member by member: there, type, length (counted in Unicode code points), characters.
 *
 * What is wrong with the shape is 400, what is wrong with a value is 422.
 */
#include "feedd/body.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/utf8.h"
#include "common/domain/id.h"

struct check {
    const struct body_member *member;
    char *detail;
};

static enum problem fail(const struct check *c, enum problem p, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static enum problem fail(const struct check *c, enum problem p, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    vsnprintf(c->detail, BODY_DETAIL_MAX, fmt, args);
    va_end(args);
    return p;
}

/* Next code point of well-formed UTF-8. */
static uint32_t next_point(const unsigned char **at) {
    const unsigned char *p = *at;
    unsigned more = p[0] < 0x80 ? 0 : p[0] < 0xe0 ? 1 : p[0] < 0xf0 ? 2 : 3;
    uint32_t c = more == 0 ? p[0] : p[0] & (0x3fu >> more);
    for (unsigned i = 1; i <= more; i++) c = c << 6 | (p[i] & 0x3fu);
    *at = p + 1 + more;
    return c;
}

static bool is_space(uint32_t c) {
    return (c >= 0x09 && c <= 0x0d) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200b) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x2060 ||
           c == 0x3000 || c == 0xfeff;
}

static bool is_control(uint32_t c) {
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029;
}

bool body_is_blank(struct str s) {
    const unsigned char *p = (const unsigned char *)s.data;
    const unsigned char *end = p + s.len;
    while (p < end)
        if (!is_space(next_point(&p))) return false;
    return true;
}

static bool has_control(struct str s) {
    const unsigned char *p = (const unsigned char *)s.data;
    const unsigned char *end = p + s.len;
    while (p < end)
        if (is_control(next_point(&p))) return true;
    return false;
}

static bool is_handle(struct str s) {
    for (size_t i = 0; i < s.len; i++) {
        char c = s.data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_')) return false;
    }
    return true;
}

static bool is_url(struct str s) {
    size_t scheme = str_starts(s, "https://") ? 8 : str_starts(s, "http://") ? 7 : 0;
    if (!scheme || s.len == scheme || s.data[scheme] == '/') return false;
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] <= ' ' || s.data[i] > '~' || strchr("\"<>\\^`{|}", s.data[i])) return false;
    return true;
}

static enum problem check_characters(const struct check *c, struct str s) {
    const char *name = c->member->name;
    switch (c->member->type) {
    case BODY_TEXT:
        if (memchr(s.data, 0, s.len))
            return fail(c, PROBLEM_BAD_VALUE, "Member \"%s\" contains the character U+0000, which cannot be stored.",
                        name);
        if (body_is_blank(s)) return fail(c, PROBLEM_TOO_SHORT, "Member \"%s\" is blank.", name);
        break;
    case BODY_LINE:
        if (has_control(s))
            return fail(c, PROBLEM_BAD_VALUE, "Member \"%s\" contains a control character or line break.", name);
        if (body_is_blank(s)) return fail(c, PROBLEM_TOO_SHORT, "Member \"%s\" is blank.", name);
        break;
    case BODY_HANDLE:
        if (!is_handle(s))
            return fail(c, PROBLEM_BAD_VALUE, "Member \"%s\" may hold only the characters a-z, 0-9 and _ (underscore).",
                        name);
        break;
    case BODY_URL:
        if (!is_url(s)) return fail(c, PROBLEM_BAD_VALUE, "Member \"%s\" must be an http or https URL in ASCII.", name);
        break;
    case BODY_SECRET:
    case BODY_ID:
        break;
    }
    return PROBLEM_NONE;
}

static enum problem check_value(const struct check *c, const struct json *j, struct body_value *ret) {
    const struct body_member *m = c->member;
    if (json_type(j) == JSON_NULL && m->nullable) {
        *ret = (struct body_value){.present = true, .null = true};
        return PROBLEM_NONE;
    }
    if (json_type(j) != JSON_STRING)
        return fail(c, PROBLEM_WRONG_TYPE, "Member \"%s\" must be a string%s, not %s.", m->name,
                    m->nullable ? " or null" : "", json_type_name(json_type(j)));
    struct str s = json_string(j);
    *ret = (struct body_value){.present = true, .text = s};
    if (m->type == BODY_ID)
        return id_parse(s, &ret->id)
                   ? PROBLEM_NONE
                   : fail(c, PROBLEM_BAD_VALUE, "Member \"%s\" is not an id (decimal digits in a string).", m->name);
    size_t points = 0;
    if (!utf8_valid(s.data, s.len, &points))
        return fail(c, PROBLEM_BAD_UTF8, "Member \"%s\" is not well-formed Unicode.", m->name);
    if (points < m->min)
        return fail(c, PROBLEM_TOO_SHORT, "Member \"%s\" has %zu characters; at least %u are needed.", m->name, points,
                    m->min);
    if (points > m->max)
        return fail(c, PROBLEM_TOO_LONG, "Member \"%s\" has %zu characters; at most %u are allowed.", m->name, points,
                    m->max);
    return check_characters(c, s);
}

static bool is_known(struct str key, const struct body_member *members, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (str_eq_c(key, members[i].name)) return true;
    return false;
}

/* A client's own member name in a message: short, and without anything that could confuse a reader. */
static int printable(struct str key) {
    int n = 0;
    while ((size_t)n < key.len && n < 60 && key.data[n] > ' ' && key.data[n] <= '~') n++;
    return n;
}

static enum problem check_members(const struct json *root, const struct body_member *members, size_t count,
                                  struct body_value *values, char *detail) {
    struct check c = {members, detail};
    void *iterator = NULL;
    struct str key;
    const struct json *value;
    while (json_each(root, &iterator, &key, &value))
        if (!is_known(key, members, count))
            return fail(&c, PROBLEM_UNKNOWN_MEMBER, "Member \"%.*s\" is not known here.", printable(key), key.data);
    for (size_t i = 0; i < count; i++) {
        c.member = &members[i];
        value = json_member(root, members[i].name);
        if (value) {
            enum problem p = check_value(&c, value, &values[i]);
            if (p) return p;
        } else if (members[i].required) {
            return fail(&c, PROBLEM_MISSING_MEMBER, "Member \"%s\" is missing.", members[i].name);
        }
    }
    return PROBLEM_NONE;
}

enum problem body_parse(struct str text, const struct body_member *members, size_t count, struct body_value *values,
                        struct json **ret_root, char detail[static BODY_DETAIL_MAX]) {
    struct check c = {members, detail};
    memset(values, 0, count * sizeof(*values));
    if (text.len == 0) return fail(&c, PROBLEM_BAD_JSON, "The body is empty; a JSON object is expected.");
    if (!utf8_valid(text.data, text.len, NULL)) return fail(&c, PROBLEM_BAD_UTF8, "The body is not well-formed UTF-8.");
    struct json *root = NULL;
    char why[160] = "";
    if (json_parse(text, &root, why) != ERR_OK) return fail(&c, PROBLEM_BAD_JSON, "The body is not JSON: %s", why);
    enum problem p = PROBLEM_NONE;
    if (json_type(root) != JSON_OBJECT)
        p = fail(&c, PROBLEM_WRONG_TYPE, "The body must be a JSON object, not %s.", json_type_name(json_type(root)));
    else
        p = check_members(root, members, count, values, detail);
    if (p)
        json_free(&root);
    else
        *ret_root = root;
    return p;
}
