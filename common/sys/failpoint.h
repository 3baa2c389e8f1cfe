/*
 * Failpoints: named places where a test build can fail, stop or wait. Compiled to nothing unless FANFARE_FAILPOINTS is
 * defined (make builds bin/ without and the test tree with).
 *
 * Armed by the environment (FANFARE_FAILPOINTS) at start, or through the file named by FANFARE_FAILPOINT_FILE, re-read
 * when its modification time changes (checked at every hit, at most each 5 ms): lines or ';'-separated
 * "name=action[@n][*m]" with
 *   abort      _exit(137) at once, as kill -9 would
 *   error      failpoint() returns true: the code takes its failure path
 *   pause:PATH spin-sleeps while PATH exists (the loop blocks: that is the point), then returns false
 *   off
 * @n: from the n-th hit on (default 1); *m: at most m times (default: for ever). Any thread.
 */
#ifndef SYS_FAILPOINT_H
#define SYS_FAILPOINT_H

#include <stdbool.h>

#ifdef FANFARE_FAILPOINTS
bool failpoint_hit(const char *name);
#define FAILPOINT(name) failpoint_hit(name)
#else
#define FAILPOINT(name) false
#endif

#endif
