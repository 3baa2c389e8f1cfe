/*
 * Log lines on stderr: formatted on the stack, written with one write(2), so that lines of several threads never mix
 * and nothing allocates or locks. Bytes that could break the line or drive a terminal are escaped, as a last defence
 * behind log_quote. A reader that does not keep up blocks the writer: the log is the operator's, and it is complete.
 *
 * The level and the name are the one global state of the house.
 */
#include "common/sys/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/mem.h"

#define LINE_MAX_BYTES 2000

static _Atomic int current_level = LOG_INFO;
static char daemon_name[32] = "fanfare";

static const char *const level_names[] = {"debug", "info", "warn", "error"};

void log_init(const char *daemon) {
    snprintf(daemon_name, sizeof daemon_name, "%s", daemon);
}

void log_set_level(enum log_level level) {
    atomic_store_explicit(&current_level, (int)level, memory_order_relaxed);
}

enum log_level log_get_level(void) {
    return (enum log_level)atomic_load_explicit(&current_level, memory_order_relaxed);
}

int log_parse_level(const char *text) {
    for (size_t i = 0; i < ARRAY_LEN(level_names); i++)
        if (strcmp(text, level_names[i]) == 0) return (int)i;
    return -1;
}

static bool is_control(unsigned char c) {
    return c < 0x20 || c == 0x7f;
}

/* Writes c to `to` as it may stand in a line: itself, or an escape; the number of bytes (at most 4). */
static size_t put_escaped(char *to, unsigned char c) {
    static const char hex[] = "0123456789abcdef";
    if (!is_control(c)) {
        to[0] = (char)c;
        return 1;
    }
    to[0] = '\\';
    char letter = c == '\n' ? 'n' : c == '\r' ? 'r' : c == '\t' ? 't' : '\0';
    if (letter) {
        to[1] = letter;
        return 2;
    }
    to[1] = 'x';
    to[2] = hex[c >> 4];
    to[3] = hex[c & 15];
    return 4;
}

static void write_all(const char *bytes, size_t len) {
    while (len > 0) {
        ssize_t n = write(STDERR_FILENO, bytes, len);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return; /* nowhere to complain */
        bytes += n;
        len -= (size_t)n;
    }
}

void log_line(enum log_level level, const char *fmt, ...) {
    if (level < log_get_level()) return;
    int saved_errno = errno;
    char message[LINE_MAX_BYTES], line[LINE_MAX_BYTES + 8], time[25];
    va_list args;
    va_start(args, fmt);
    int wanted = vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    size_t message_len = wanted < 0 ? 0 : (size_t)wanted < sizeof message ? (size_t)wanted : sizeof message - 1;

    clock_format_rfc3339(clock_wall_ms(), time);
    size_t len = (size_t)snprintf(line, sizeof line, "%s %s %s: ", time, level_names[level], daemon_name);
    size_t i = 0;
    while (i < message_len && len + 8 <= LINE_MAX_BYTES) len += put_escaped(line + len, (unsigned char)message[i++]);
    if (i < (size_t)(wanted < 0 ? 0 : wanted)) {
        memcpy(line + len, "...", 3);
        len += 3;
    }
    line[len++] = '\n';
    write_all(line, len);
    errno = saved_errno;
}

static bool is_plain(const char *bytes, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (is_control((unsigned char)bytes[i]) || strchr(" \"\\=", bytes[i])) return false;
    return len > 0;
}

const char *log_quote(struct log_quoted *room, const char *bytes, size_t len) {
    size_t max = sizeof room->text - 10; /* an escape, dots, quote, NUL */
    if (len <= max && is_plain(bytes, len)) {
        memcpy(room->text, bytes, len);
        room->text[len] = '\0';
        return room->text;
    }
    size_t to = 0, i = 0;
    room->text[to++] = '"';
    for (; i < len && to < max; i++) {
        if (bytes[i] == '"' || bytes[i] == '\\') room->text[to++] = '\\';
        to += put_escaped(room->text + to, (unsigned char)bytes[i]);
    }
    snprintf(room->text + to, sizeof room->text - to, "%s\"", i < len ? "..." : "");
    return room->text;
}

int log_allow(uint64_t *last_ms_of_site, uint64_t interval_ms) {
    uint64_t now = clock_mono_ms() + 1; /* 0 means: never yet */
    uint64_t last = __atomic_load_n(last_ms_of_site, __ATOMIC_RELAXED);
    if (last != 0 && now - last < interval_ms) return false;
    return __atomic_compare_exchange_n(last_ms_of_site, &last, now, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}
