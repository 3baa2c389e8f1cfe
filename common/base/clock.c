/*
 * Clocks. The monotonic source is the one piece of process-wide state here: a test swaps it to own the time. The
 * calendar is computed, not asked of libc: no time zone, no locale, no lock.
 */
#include "common/base/clock.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef uint64_t clock_source_fn(void);

static uint64_t read_ns(clockid_t id) {
    struct timespec t;
    if (clock_gettime(id, &t) != 0) abort(); /* only for an unknown clock */
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static uint64_t real_mono_ns(void) {
    return read_ns(CLOCK_MONOTONIC);
}

static clock_source_fn *mono_source = real_mono_ns;

uint64_t clock_mono_ns(void) {
    return mono_source();
}

uint64_t clock_mono_ms(void) {
    return clock_mono_ns() / UINT64_C(1000000);
}

uint64_t clock_wall_ms(void) {
    return read_ns(CLOCK_REALTIME) / UINT64_C(1000000);
}

void clock_set_mono_source(uint64_t (*now_ns)(void)) {
    mono_source = now_ns ? now_ns : real_mono_ns;
}

static void put_digits(char *to, uint64_t value, size_t digits) {
    while (digits--) {
        to[digits] = (char)('0' + value % 10);
        value /= 10;
    }
}

void clock_format_rfc3339(uint64_t unix_ms, char ret_text[static 25]) {
    /* 9999-12-31T23:59:59.999Z: RFC 3339 has four digits of year. */
    const uint64_t last = UINT64_C(253402300799999);
    uint64_t ms = unix_ms < last ? unix_ms : last;
    uint64_t day = ms / 86400000, of_day = ms % 86400000;
    /* Days since 0000-03-01, so that a leap day ends its year; eras of 400 years repeat. */
    uint64_t z = day + 719468, era = z / 146097, doe = z % 146097;
    uint64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    uint64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    uint64_t shifted = (5 * doy + 2) / 153; /* months since March */
    uint64_t month = shifted < 10 ? shifted + 3 : shifted - 9;
    uint64_t year = era * 400 + yoe + (month <= 2 ? 1 : 0);
    memcpy(ret_text, "0000-00-00T00:00:00.000Z", 25);
    put_digits(ret_text, year, 4);
    put_digits(ret_text + 5, month, 2);
    put_digits(ret_text + 8, doy - (153 * shifted + 2) / 5 + 1, 2);
    put_digits(ret_text + 11, of_day / 3600000, 2);
    put_digits(ret_text + 14, of_day / 60000 % 60, 2);
    put_digits(ret_text + 17, of_day / 1000 % 60, 2);
    put_digits(ret_text + 20, of_day % 1000, 3);
}
