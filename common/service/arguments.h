/* A daemon's command line. Main thread, before anything else. */
#ifndef SERVICE_ARGUMENTS_H
#define SERVICE_ARGUMENTS_H

#include "common/base/buf.h"
#include "common/base/err.h"

enum arguments_mode { MODE_RUN, MODE_CHECK, MODE_PRINT_CONFIG, MODE_HELP, MODE_HELP_OPTIONS, MODE_VERSION };

struct arguments {
    enum arguments_mode mode;
    const char *file;  /* (ref: argv) NULL: none */
    const char **sets; /* (own) NULL-terminated; its strings (ref: argv) */
};

/* ERR_INVALID with *ret_message (own) for what is not understood; ret is then empty. */
enum err arguments_parse(int argc, char **argv, struct arguments *ret, char **ret_message);
void arguments_fini(struct arguments *a);
void arguments_print_usage(const char *name, struct buf *to);

#endif
