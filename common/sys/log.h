/*
 * Log: one line an event on stderr, "time level daemon: message key=value ...". Any thread. Libraries do not log; a
 * daemon logs once, where it decides. Values with blanks, quotes or control characters are quoted and escaped
 * (log_quote); whatever a message holds, it stays one line. Secrets never go in.
 */
#ifndef SYS_LOG_H
#define SYS_LOG_H

#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

void log_init(const char *daemon); /* name in every line; default "fanfare" */
void log_set_level(enum log_level level);
int log_parse_level(const char *text); /* debug info warn error, or -1 */
enum log_level log_get_level(void);
/*
 * fmt is the whole message, usually "what happened" followed by key=value pairs made by the caller. At most 2,000
 * bytes.
 */
void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)
#define log_info(...)  log_line(LOG_INFO, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)
/*
 * A value from outside, as it goes after "key=": bare when it is a plain word, else in quotes and escaped; cut to what
 * fits.
 *   log_warn("log-in refused handle=%s", log_quote(&(struct log_quoted){{0}}, handle.data, handle.len));
 */
struct log_quoted {
    char text[256];
};
const char *log_quote(struct log_quoted *room, const char *bytes, size_t len);
/* True at most once in interval_ms a call site: for failures that come in floods. */
int log_allow(uint64_t *last_ms_of_site, uint64_t interval_ms);
#define LOG_EVERY_MS(interval)                                                                                         \
    ({                                                                                                                 \
        static uint64_t log_site_;                                                                                     \
        log_allow(&log_site_, (interval));                                                                             \
    })

#endif
