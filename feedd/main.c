/*
 * feedd: the HTTP front of the feed. Everything is in feedd.c (what the workers share), worker.c (one thread) and
 * routes.c (one line a call); this is the table that the daemon skeleton runs.
 */
#include "feedd/feedd.h"

int main(int argc, char **argv) {
    static const struct service_def def = {
        .name = "feedd",
        .tables = FEEDD_OPTIONS,
        .options_size = sizeof(struct feedd_options),
        .start = feedd_start,
        .ready = feedd_ready,
        .drain = feedd_drain,
        .stop = feedd_stop,
    };
    return service_main(argc, argv, &def);
}
