/*
 * Arguments of a command: options with a value ("--user 5"), flags, and words, from one table. (getopt_long's struct
 * option shares its name with the options of common/sys/config.h, and a message of ours says more.)
 */
#ifndef CTL_ARGUMENTS_H
#define CTL_ARGUMENTS_H

#include <stdbool.h>
#include <stdint.h>

struct argument {
    const char *name;   /* "--user", or NULL: a word without option */
    const char **value; /* set to the text; NULL for a flag */
    bool *flag;         /* set to true */
    uint64_t *number;   /* set to a whole number from 0 to max; NULL unless one */
    uint64_t max;
};
/* False: a message was printed. Words fill the word arguments in order; one too many, an unknown or repeated option is
 * an error. */
bool arguments_parse(const struct argument *table, unsigned count, int argc, char **argv);

#define ARGUMENT_WORD(v)                                                                                               \
    { .name = NULL, .value = (v), .flag = NULL, .number = NULL, .max = 0 }
#define ARGUMENT_TEXT(n, v)                                                                                            \
    { .name = (n), .value = (v), .flag = NULL, .number = NULL, .max = 0 }
#define ARGUMENT_FLAG(n, v)                                                                                            \
    { .name = (n), .value = NULL, .flag = (v), .number = NULL, .max = 0 }
#define ARGUMENT_NUMBER(n, v, m)                                                                                       \
    { .name = (n), .value = NULL, .flag = NULL, .number = (v), .max = (m) }

#endif
