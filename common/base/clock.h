/* Clocks. Any thread. Tests may replace the monotonic clock to own the time. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

uint64_t clock_mono_ns(void); /* CLOCK_MONOTONIC, or the test's clock */
uint64_t clock_mono_ms(void);
uint64_t clock_wall_ms(void); /* Unix time in milliseconds */
/* Replaces clock_mono_*: NULL goes back to the real one. For tests with one thread. */
void clock_set_mono_source(uint64_t (*now_ns)(void));
/* "2026-01-02T03:04:05.678Z" (RFC 3339, UTC, 24 characters and a NUL). */
void clock_format_rfc3339(uint64_t unix_ms, char ret_text[static 25]);

#endif
