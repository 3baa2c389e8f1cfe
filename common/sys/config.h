/*
 * Options: declared in one table a daemon, set from (weakest first) the default, an INI file, FANFARE_<SECTION>_<NAME>
 * in the environment, and --set section.name=value. An unknown name, a wrong type or a value out of range is an error
 * that says what was found, where, and what would be right. Any number of tables may be parsed from one file: a daemon
 * skips sections that none of its tables names (in the file and in the environment; --set is for this daemon alone).
 *
 * In the file a value ends at " ;", which begins a comment; an option may stand there once. Blocks on the file; not
 * thread-safe (the INI library has settings of its own): call from the main thread.
 */
#ifndef SYS_CONFIG_H
#define SYS_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"

enum option_type {
    OPTION_STRING,   /* char *, (own by the struct; config_free) */
    OPTION_INT,      /* int64_t with min, max */
    OPTION_DOUBLE,   /* double with min, max (as integers) */
    OPTION_BOOL,     /* bool: yes no true false on off 1 0 */
    OPTION_DURATION, /* int64_t milliseconds; written with a unit: 250ms 5s 10m 2h 7d */
    OPTION_SIZE,     /* int64_t bytes; written plain or with k, M, G (1024) */
};

struct option {
    const char *section;
    const char *name;
    enum option_type type;
    size_t offset;       /* in the daemon's options struct */
    const char *initial; /* default, as it would be written; NULL: required */
    int64_t min, max;    /* in the unit of the type; both 0: any value */
    bool secret;         /* shown as "(set)" */
    bool reloadable;     /* takes effect on SIGHUP */
    const char *help;    /* one sentence, with unit and effect */
};

/*
 * tables: NULL-terminated array of tables, each ending with an option whose name is NULL. All write to the same struct.
 */
struct config_source {
    const char *file;        /* INI path or NULL */
    const char *const *sets; /* NULL-terminated "section.name=value" list, or NULL */
};
/* On failure *ret_message (own, mem_free) says what and where; into is left cleared. */
enum err config_parse(const struct option *const *tables, const struct config_source *source, void *into,
                      char **ret_message);
void config_free(const struct option *const *tables, void *options);
/*
 * For a reload: every option of `next` that is not reloadable gets the value of `old`; those that differed are appended
 * to ret_kept as "section.name section.name". Returns whether anything still differs.
 */
bool config_keep_fixed(const struct option *const *tables, const void *old, void *next, struct buf *ret_kept);
/* current values, INI */
void config_print(const struct option *const *tables, const void *options, struct buf *to);
/* reference table, Markdown */
void config_print_help(const struct option *const *tables, struct buf *to);

#endif
