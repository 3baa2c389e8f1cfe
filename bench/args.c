/* Arguments of a command; every refusal names the argument and what would be right. */
#include "bench/args.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct arg *find(const struct arg *table, unsigned count, const char *name) {
    for (unsigned i = 0; i < count; i++)
        if (table[i].kind != ARG_WORD && !strcmp(table[i].name, name)) return &table[i];
    return NULL;
}

static enum err take_word(const struct arg *table, unsigned count, const char *word, struct buf *ret_why) {
    for (unsigned i = 0; i < count; i++) {
        const char **to = table[i].to;
        if (table[i].kind != ARG_WORD || *to) continue;
        *to = word;
        return ERR_OK;
    }
    buf_addf(ret_why, "\"%s\" is one argument too many", word);
    return ERR_INVALID;
}

static bool parse_real(const char *text, double *ret) {
    if (!*text || !strchr("0123456789.", *text)) return false;
    char *end;
    errno = 0;
    double v = strtod(text, &end);
    if (*end || errno || !isfinite(v)) return false;
    *ret = v;
    return true;
}

static bool set_value(const struct arg *a, const char *text, struct buf *ret_why) {
    uint64_t n;
    double d;
    switch (a->kind) {
    case ARG_NUMBER:
        if (str_u64(str_c(text), &n) && (double)n >= a->min && (double)n <= a->max) {
            *(uint64_t *)a->to = n;
            return true;
        }
        buf_addf(ret_why, "%s: \"%s\" is no whole number from %.0f to %.0f", a->name, text, a->min, a->max);
        return false;
    case ARG_REAL:
        if (parse_real(text, &d) && d >= a->min && d <= a->max) {
            *(double *)a->to = d;
            return true;
        }
        buf_addf(ret_why, "%s: \"%s\" is no number from %g to %g", a->name, text, a->min, a->max);
        return false;
    case ARG_EACH:
        buf_addf(ret_why, "%s: ", a->name);
        if (!a->each(a->to, text, ret_why)) return false;
        buf_clear(ret_why);
        return true;
    case ARG_TEXT:
    case ARG_FLAG:
    case ARG_WORD:
        *(const char **)a->to = text;
        return true;
    }
    return false;
}

enum err args_parse(const struct arg *table, unsigned count, int argc, char **argv, struct buf *ret_why) {
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] != '-' || !argv[i][1]) {
            if (take_word(table, count, argv[i], ret_why) != ERR_OK) return ERR_INVALID;
            continue;
        }
        const struct arg *a = find(table, count, argv[i]);
        if (!a) {
            buf_addf(ret_why, "there is no option \"%s\"", argv[i]);
            return ERR_INVALID;
        }
        if (a->kind == ARG_FLAG) {
            *(bool *)a->to = true;
            continue;
        }
        if (++i == argc) {
            buf_addf(ret_why, "%s needs a value", a->name);
            return ERR_INVALID;
        }
        if (!set_value(a, argv[i], ret_why)) return ERR_INVALID;
    }
    return ERR_OK;
}

void args_print(const struct arg *table, unsigned count, struct buf *to) {
    for (unsigned i = 0; i < count; i++) buf_addf(to, "  %-18s %s\n", table[i].name, table[i].help);
}
