/* What main.c and the shared helpers of bench.h have between them. */
#ifndef BENCH_FRONT_H
#define BENCH_FRONT_H

#include "bench/bench.h"
#include "common/sys/config.h"

void front_set_command(const struct bench_command *c); /* for usage messages: the one command that this process runs */
/* ERR_INVALID with *ret_message (own). */
enum err front_options(struct bench *b, const struct config_source *source, char **ret_message);
void front_close(struct bench *b);

#endif
