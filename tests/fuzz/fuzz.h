/*
 * What a fuzz target offers: the libFuzzer entry point, and seeds made by our own encoders, so that mutation starts
 * from inputs that get past the first check. Targets run under libFuzzer or under driver.c, which needs nothing but the
 * compiler.
 */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/buf.h"

/* Ends the process when a property does not hold, in every build. */
#define FUZZ_CHECK(condition)                                                                                          \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);                             \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* Appends seed number `index`; false when there are no more. */
bool fuzz_seed(size_t index, struct buf *to);

#endif
