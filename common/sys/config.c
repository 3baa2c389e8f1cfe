/*
 * Options from their four sources (the only user of ini.h; values themselves: config_value.c).
 *
 *   defaults -> file -> environment -> --set       each later one replaces what the earlier set
 *
 * Every value is checked where it stands, even when a stronger source replaces it: a wrong line in a file is wrong on
 * the day the environment is cleaned up, too. The first error ends the parse.
 *
 * The INI library tells no line numbers to its handler, so lines are counted where they are read, one call a line.
 */
#include "common/sys/config.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/sys/config_value.h"

#define LINE_BYTES 16384 /* longest line of a file, with its end */
#define ENV_PREFIX "FANFARE_"

#define EACH_OPTION(o, tables)                                                                                         \
    for (const struct option *const *table_##o = (tables); *table_##o; table_##o++)                                    \
        for (const struct option *o = *table_##o; o->name; o++)

struct parse {
    const struct option *const *tables;
    void *into;
    char *message; /* (own) the first error */
    const char *file;
    FILE *stream;
    int line;
    int *file_line; /* (own) by option: where the file set it, 0 nowhere */
    bool *is_set;   /* (own) by option: by any source */
};

static void fail(struct parse *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void fail(struct parse *p, const char *fmt, ...) {
    if (p->message) return;
    char text[4096];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    p->message = mem_strdup(text);
}

/* Position among all options of the tables; their number for NULL. */
static size_t option_index(const struct option *const *tables, const struct option *wanted) {
    size_t n = 0;
    EACH_OPTION(o, tables) {
        if (o == wanted) return n;
        n++;
    }
    return n;
}

static const struct option *find_option(const struct option *const *tables, const char *section, const char *name) {
    EACH_OPTION(o, tables) {
        if (strcmp(o->section, section) == 0 && strcmp(o->name, name) == 0) return o;
    }
    return NULL;
}

static bool knows_section(const struct option *const *tables, const char *section) {
    EACH_OPTION(o, tables) {
        if (strcmp(o->section, section) == 0) return true;
    }
    return false;
}

static void add_names(const struct option *const *tables, const char *section, struct buf *to) {
    const char *between = "";
    EACH_OPTION(o, tables) {
        if (strcmp(o->section, section) != 0) continue;
        buf_addf(to, "%s%s", between, o->name);
        between = ", ";
    }
}

static bool set_value(struct parse *p, const struct option *o, const char *text, const char *where) {
    CLEANUP(buf_fini) struct buf why = BUF_INIT;
    if (!config_value_set(o, p->into, text, &why)) {
        fail(p, "%s: %s", where, why.data);
        return false;
    }
    p->is_set[option_index(p->tables, o)] = true;
    return true;
}

static void fail_unknown(struct parse *p, const char *where, const char *section) {
    CLEANUP(buf_fini) struct buf names = BUF_INIT;
    add_names(p->tables, section, &names);
    fail(p, "%s: no such option; [%s] has: %s", where, section, names.data);
}

static void set_defaults(struct parse *p) {
    EACH_OPTION(o, p->tables) {
        CLEANUP(mem_free_charp) char *where = mem_printf("default of [%s] %s", o->section, o->name);
        if (o->initial && !set_value(p, o, o->initial, where)) return;
    }
}

static char *read_line(char *to, int size, void *ctx) {
    struct parse *p = ctx;
    if (p->message || !fgets(to, size, p->stream)) return NULL;
    p->line++;
    size_t len = strlen(to);
    if (len + 1 == (size_t)size && to[len - 1] != '\n') {
        fail(p, "%s:%d: the line is too long; at most %d bytes are allowed", p->file, p->line, LINE_BYTES - 2);
        return NULL;
    }
    return to;
}

/* The INI library calls this for each "name = value"; 0 tells it to stop. */
static int handle_file_value(void *ctx, const char *section, const char *name, const char *value) {
    struct parse *p = ctx;
    CLEANUP(mem_free_charp) char *where = mem_printf("%s:%d: [%s] %s", p->file, p->line, section, name);
    if (section[0] == '\0') {
        fail(p, "%s:%d: %s stands outside of a section; write a line such as [%s] before it", p->file, p->line, name,
             p->tables[0]->section);
        return 0;
    }
    if (!knows_section(p->tables, section)) return 1;
    const struct option *o = find_option(p->tables, section, name);
    if (!o) {
        fail_unknown(p, where, section);
        return 0;
    }
    int *seen = &p->file_line[option_index(p->tables, o)];
    if (*seen) {
        fail(p, "%s: is set a second time (first in line %d); keep one", where, *seen);
        return 0;
    }
    *seen = p->line;
    return set_value(p, o, value, where);
}

static void read_file(struct parse *p) {
    p->stream = fopen(p->file, "re");
    if (!p->stream) {
        fail(p, "%s: cannot be opened: %s; give a readable file", p->file, strerror(errno));
        return;
    }
    ini_use_stack = false;
    ini_initial_alloc = LINE_BYTES;
    ini_max_line = LINE_BYTES;
    ini_allow_multiline = false;
    ini_stop_on_first_error = true;
    int bad_line = ini_parse_stream(read_line, p, handle_file_value, p);
    if (bad_line != 0)
        fail(p, "%s:%d: neither [section] nor name = value nor a comment; write one of these", p->file, p->line);
    if (ferror(p->stream)) fail(p, "%s: cannot be read: %s", p->file, strerror(errno));
    fclose(p->stream);
}

static void add_upper(struct buf *to, const char *s) {
    for (; *s; s++) buf_add_char(to, (char)toupper((unsigned char)*s));
}

static void env_name(const struct option *o, struct buf *to) {
    buf_clear(to);
    buf_add_c(to, ENV_PREFIX);
    add_upper(to, o->section);
    buf_add_char(to, '_');
    add_upper(to, o->name);
}

/* name has FANFARE_ and a section's name before it but is no option of any section. */
static void check_env_name(struct parse *p, struct str name) {
    CLEANUP(buf_fini) struct buf known = BUF_INIT;
    const char *section = NULL;
    EACH_OPTION(o, p->tables) {
        env_name(o, &known);
        if (str_eq(name, buf_str(&known))) return;
        known.len -= strlen(o->name);
        known.data[known.len] = '\0';
        if (str_starts(name, known.data)) section = o->section;
    }
    if (!section) return;
    CLEANUP(mem_free_charp) char *where = mem_printf("environment: %.*s", (int)name.len, name.data);
    fail_unknown(p, where, section);
}

static void read_environment(struct parse *p) {
    for (char **e = environ; e && *e; e++)
        if (strncmp(*e, ENV_PREFIX, strlen(ENV_PREFIX)) == 0) check_env_name(p, str_of(*e, strcspn(*e, "=")));
    CLEANUP(buf_fini) struct buf name = BUF_INIT;
    EACH_OPTION(o, p->tables) {
        env_name(o, &name);
        const char *value = getenv(name.data);
        CLEANUP(mem_free_charp) char *where = mem_printf("environment: %s", name.data);
        if (value && !set_value(p, o, value, where)) return;
    }
}

static void apply_set(struct parse *p, const char *set) {
    const char *equals = strchr(set, '='), *dot = strchr(set, '.');
    if (!equals || !dot || dot > equals) {
        fail(p, "--set %.*s: give section.name=value", (int)strcspn(set, "="), set);
        return;
    }
    CLEANUP(mem_free_charp) char *where = mem_printf("--set %.*s", (int)(equals - set), set);
    CLEANUP(mem_free_charp) char *section = mem_strndup(set, (size_t)(dot - set));
    CLEANUP(mem_free_charp) char *name = mem_strndup(dot + 1, (size_t)(equals - dot - 1));
    const struct option *o = find_option(p->tables, section, name);
    if (o) {
        set_value(p, o, equals + 1, where);
    } else if (knows_section(p->tables, section)) {
        fail_unknown(p, where, section);
    } else {
        fail(p, "%s: no such section; --help-options lists all", where);
    }
}

static void check_required(struct parse *p, const char *file) {
    EACH_OPTION(o, p->tables) {
        if (p->is_set[option_index(p->tables, o)]) continue;
        CLEANUP(buf_fini) struct buf name = BUF_INIT;
        env_name(o, &name);
        fail(p, "[%s] %s is not set and has no default; set it in %s or as %s", o->section, o->name,
             file ? file : "a file (-c)", name.data);
    }
}

enum err config_parse(const struct option *const *tables, const struct config_source *source, void *into,
                      char **ret_message) {
    struct parse p = {.tables = tables, .into = into, .file = source->file};
    size_t count = option_index(tables, NULL);
    p.file_line = mem_zalloc((count + 1) * sizeof *p.file_line);
    p.is_set = mem_zalloc((count + 1) * sizeof *p.is_set);
    EACH_OPTION(o, tables) {
        config_value_init(o, into);
    }
    set_defaults(&p);
    if (!p.message && source->file) read_file(&p);
    if (!p.message) read_environment(&p);
    for (const char *const *set = source->sets; !p.message && set && *set; set++) apply_set(&p, *set);
    if (!p.message) check_required(&p, source->file);
    mem_free(p.file_line);
    mem_free(p.is_set);
    if (!p.message) return ERR_OK;
    config_free(tables, into);
    *ret_message = p.message;
    return ERR_INVALID;
}

void config_free(const struct option *const *tables, void *options) {
    EACH_OPTION(o, tables) {
        config_value_clear(o, options);
    }
}

bool config_keep_fixed(const struct option *const *tables, const void *old, void *next, struct buf *ret_kept) {
    bool differs = false;
    EACH_OPTION(o, tables) {
        if (config_value_equal(o, old, next)) continue;
        if (o->reloadable) {
            differs = true;
            continue;
        }
        buf_addf(ret_kept, "%s%s.%s", ret_kept->len > 0 ? " " : "", o->section, o->name);
        config_value_copy(o, next, old);
    }
    return differs;
}

/* The first option of each section, in order: a section may be spread over tables. */
static bool opens_section(const struct option *const *tables, const struct option *wanted) {
    EACH_OPTION(o, tables) {
        if (strcmp(o->section, wanted->section) == 0) return o == wanted;
    }
    return false;
}

void config_print(const struct option *const *tables, const void *options, struct buf *to) {
    EACH_OPTION(first, tables) {
        if (!opens_section(tables, first)) continue;
        buf_addf(to, "%s[%s]\n", to->len > 0 ? "\n" : "", first->section);
        EACH_OPTION(o, tables) {
            if (strcmp(o->section, first->section) != 0) continue;
            buf_addf(to, "%s = ", o->name);
            config_value_print(o, options, to);
            buf_add_char(to, '\n');
        }
    }
}

static void add_cell(struct buf *to, const char *text) {
    for (; *text; text++) {
        if (*text == '|') buf_add_char(to, '\\');
        buf_add_char(to, *text);
    }
}

static void print_help_row(const struct option *o, struct buf *to) {
    CLEANUP(buf_fini) struct buf expected = BUF_INIT;
    config_value_expected(o, &expected);
    buf_addf(to, "| `%s` | ", o->name);
    if (!o->initial)
        buf_add_c(to, "(required)");
    else if (!*o->initial)
        buf_add_c(to, "(empty)");
    else
        buf_addf(to, "`%s`", o->initial);
    buf_add_c(to, " | ");
    add_cell(to, expected.data);
    buf_addf(to, " | %s | ", o->reloadable ? "yes" : "no");
    add_cell(to, o->help);
    buf_add_c(to, " |\n");
}

void config_print_help(const struct option *const *tables, struct buf *to) {
    EACH_OPTION(first, tables) {
        if (!opens_section(tables, first)) continue;
        buf_addf(to, "%s### [%s]\n\n| option | default | value | reload | meaning |\n|---|---|---|---|---|\n",
                 to->len > 0 ? "\n" : "", first->section);
        EACH_OPTION(o, tables) {
            if (strcmp(o->section, first->section) == 0) print_help_row(o, to);
        }
    }
}
