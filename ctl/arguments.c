/* Arguments of a command from a table; every refusal names the argument and what would be right. */
#include "ctl/arguments.h"

#include <string.h>

#include "common/base/buf.h"
#include "ctl/ctl.h"

static const struct argument *find(const struct argument *table, unsigned count, const char *name) {
    for (unsigned i = 0; i < count; i++)
        if (table[i].name && !strcmp(table[i].name, name)) return &table[i];
    return NULL;
}

static bool take_word(const struct argument *table, unsigned count, const char *word) {
    for (unsigned i = 0; i < count; i++) {
        if (table[i].name || *table[i].value) continue;
        *table[i].value = word;
        return true;
    }
    ctl_usage("\"%s\" is one argument too many", word);
    return false;
}

static bool take_value(const struct argument *a, const char *text) {
    if (!text) {
        ctl_usage("%s needs a value", a->name);
        return false;
    }
    if (a->value) {
        *a->value = text;
        return true;
    }
    uint64_t v;
    if (!str_u64(str_c(text), &v) || v > a->max) {
        ctl_usage("%s: \"%s\" is no whole number from 0 to %llu", a->name, text, (unsigned long long)a->max);
        return false;
    }
    *a->number = v;
    return true;
}

bool arguments_parse(const struct argument *table, unsigned count, int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] != '-' || !argv[i][1]) {
            if (!take_word(table, count, argv[i])) return false;
            continue;
        }
        const struct argument *a = find(table, count, argv[i]);
        if (!a) {
            ctl_usage("there is no option \"%s\"", argv[i]);
            return false;
        }
        if (a->flag) {
            *a->flag = true;
            continue;
        }
        i++;
        if (!take_value(a, i < argc ? argv[i] : NULL)) return false;
    }
    return true;
}
