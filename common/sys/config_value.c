/*
 * Values of options: parse, print, compare, by type. Pure.
 *
 * Numbers with units share one shape: digits, then a suffix from the type's table that multiplies. Printing picks the
 * largest unit that divides, so print(parse(x)) has the same value as x, if not always the same spelling.
 */
#include "common/sys/config_value.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/utf8.h"

struct unit {
    const char *suffix;
    int64_t factor;
};
/* Ascending, ended by a NULL suffix. */
static const struct unit duration_units[] = {{"ms", 1},      {"s", 1000},     {"m", 60000},
                                             {"h", 3600000}, {"d", 86400000}, {NULL, 0}};
static const struct unit size_units[] = {
    {"", 1}, {"k", 1024}, {"M", 1024 * 1024}, {"G", 1024 * 1024 * 1024}, {NULL, 0}};

static char **string_of(const struct option *o, const void *options) {
    return (char **)(void *)((char *)options + o->offset);
}
static int64_t *int_of(const struct option *o, const void *options) {
    return (int64_t *)(void *)((char *)options + o->offset);
}
static double *double_of(const struct option *o, const void *options) {
    return (double *)(void *)((char *)options + o->offset);
}
static bool *bool_of(const struct option *o, const void *options) {
    return (bool *)(void *)((char *)options + o->offset);
}

static void print_units(const struct unit *units, int64_t value, struct buf *to) {
    const struct unit *best = units;
    for (const struct unit *u = units; u->suffix; u++)
        if (value != 0 && value % u->factor == 0) best = u;
    buf_add_i64(to, value / best->factor);
    buf_add_c(to, best->suffix);
}

static void print_number(const struct option *o, int64_t value, struct buf *to) {
    if (o->type == OPTION_DURATION)
        print_units(duration_units, value, to);
    else if (o->type == OPTION_SIZE)
        print_units(size_units, value, to);
    else
        buf_add_i64(to, value);
}

static bool unbounded(const struct option *o) {
    return o->min == 0 && o->max == 0;
}

void config_value_expected(const struct option *o, struct buf *to) {
    static const char *const names[] = {
        [OPTION_STRING] = "text in UTF-8", [OPTION_INT] = "a whole number",  [OPTION_DOUBLE] = "a number",
        [OPTION_BOOL] = "yes or no",       [OPTION_DURATION] = "a duration", [OPTION_SIZE] = "a size in bytes",
    };
    buf_add_c(to, names[o->type]);
    if (o->type == OPTION_STRING || o->type == OPTION_BOOL) return;
    if (!unbounded(o)) {
        buf_add_c(to, " from ");
        print_number(o, o->min, to);
        buf_add_c(to, " to ");
        print_number(o, o->max, to);
    }
    if (o->type == OPTION_DURATION) buf_add_c(to, ", such as 250ms, 5s, 10m, 2h or 7d");
    if (o->type == OPTION_SIZE) buf_add_c(to, ", such as 4096, 64k, 16M or 1G");
}

static bool refuse(const struct option *o, const char *text, const char *problem, struct buf *ret_why) {
    if (o->secret)
        buf_addf(ret_why, "the value (not shown) %s; give ", problem);
    else
        buf_addf(ret_why, "\"%.100s\" %s; give ", text, problem);
    config_value_expected(o, ret_why);
    return false;
}

static bool set_number(const struct option *o, void *options, const char *text, int64_t value, struct buf *ret_why) {
    if (!unbounded(o) && (value < o->min || value > o->max)) return refuse(o, text, "is out of range", ret_why);
    *int_of(o, options) = value;
    return true;
}

/* Digits and one of the suffixes; "0" needs none. */
static bool parse_units(const struct unit *units, const char *text, int64_t *ret) {
    size_t digits = strspn(text, "0123456789");
    uint64_t number;
    if (!str_u64(str_of(text, digits), &number)) return false;
    for (const struct unit *u = units; u->suffix; u++) {
        if (strcmp(text + digits, u->suffix) != 0 && !(number == 0 && text[digits] == '\0')) continue;
        if (number > (uint64_t)(INT64_MAX / u->factor)) return false;
        *ret = (int64_t)number * u->factor;
        return true;
    }
    return false;
}

static bool set_double(const struct option *o, void *options, const char *text, struct buf *ret_why) {
    char *end;
    errno = 0;
    double value = strtod(text, &end);
    bool plain = text[0] != '\0' && text[strspn(text, "+-0123456789.eE")] == '\0'; /* no inf, nan, hex, blanks */
    if (!plain || *end != '\0' || errno == ERANGE || !isfinite(value)) return refuse(o, text, "is no number", ret_why);
    if (!unbounded(o) && (value < (double)o->min || value > (double)o->max))
        return refuse(o, text, "is out of range", ret_why);
    *double_of(o, options) = value;
    return true;
}

static bool set_bool(const struct option *o, void *options, const char *text, struct buf *ret_why) {
    static const char *const words[] = {"no", "yes", "false", "true", "off", "on", "0", "1"}; /* odd: true */
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (str_ieq_c(str_c(text), words[i])) {
            *bool_of(o, options) = i % 2 == 1;
            return true;
        }
    return refuse(o, text, "is neither yes nor no", ret_why);
}

static bool set_string(const struct option *o, void *options, const char *text, struct buf *ret_why) {
    if (!utf8_valid(text, strlen(text), NULL)) {
        buf_add_c(ret_why, "the value is not UTF-8; give text in UTF-8");
        return false;
    }
    mem_free(*string_of(o, options));
    *string_of(o, options) = mem_strdup(text);
    return true;
}

bool config_value_set(const struct option *o, void *options, const char *text, struct buf *ret_why) {
    int64_t value;
    switch (o->type) {
    case OPTION_STRING:
        return set_string(o, options, text, ret_why);
    case OPTION_BOOL:
        return set_bool(o, options, text, ret_why);
    case OPTION_DOUBLE:
        return set_double(o, options, text, ret_why);
    case OPTION_INT:
        if (!str_i64(str_c(text), &value)) return refuse(o, text, "is no whole number", ret_why);
        break;
    case OPTION_DURATION:
        if (!parse_units(duration_units, text, &value)) return refuse(o, text, "is no duration", ret_why);
        break;
    case OPTION_SIZE:
        if (!parse_units(size_units, text, &value)) return refuse(o, text, "is no size", ret_why);
        break;
    }
    return set_number(o, options, text, value, ret_why);
}

void config_value_init(const struct option *o, void *options) {
    if (o->type == OPTION_STRING) *string_of(o, options) = NULL;
    config_value_clear(o, options);
}

void config_value_clear(const struct option *o, void *options) {
    if (o->type == OPTION_STRING) {
        mem_free(*string_of(o, options));
        *string_of(o, options) = NULL;
    } else if (o->type == OPTION_BOOL) {
        *bool_of(o, options) = false;
    } else if (o->type == OPTION_DOUBLE) {
        *double_of(o, options) = 0;
    } else {
        *int_of(o, options) = 0;
    }
}

void config_value_copy(const struct option *o, void *to, const void *from) {
    if (o->type == OPTION_STRING) {
        char *copy = *string_of(o, from) ? mem_strdup(*string_of(o, from)) : NULL;
        mem_free(*string_of(o, to));
        *string_of(o, to) = copy;
    } else if (o->type == OPTION_BOOL) {
        *bool_of(o, to) = *bool_of(o, from);
    } else if (o->type == OPTION_DOUBLE) {
        *double_of(o, to) = *double_of(o, from);
    } else {
        *int_of(o, to) = *int_of(o, from);
    }
}

bool config_value_equal(const struct option *o, const void *a, const void *b) {
    if (o->type == OPTION_STRING) {
        const char *x = *string_of(o, a), *y = *string_of(o, b);
        return x == y || (x && y && strcmp(x, y) == 0);
    }
    if (o->type == OPTION_BOOL) return *bool_of(o, a) == *bool_of(o, b);
    if (o->type == OPTION_DOUBLE) return *double_of(o, a) == *double_of(o, b);
    return *int_of(o, a) == *int_of(o, b);
}

void config_value_print(const struct option *o, const void *options, struct buf *to) {
    if (o->type == OPTION_STRING) {
        const char *text = *string_of(o, options);
        if (text && *text) buf_add_c(to, o->secret ? "(set)" : text);
    } else if (o->secret) {
        buf_add_c(to, "(set)");
    } else if (o->type == OPTION_BOOL) {
        buf_add_c(to, *bool_of(o, options) ? "yes" : "no");
    } else if (o->type == OPTION_DOUBLE) {
        buf_addf(to, "%.15g", *double_of(o, options));
    } else {
        print_number(o, *int_of(o, options), to);
    }
}
