/* RESP encoding and the decoder of bare replies, see resp.h. A line is at most RESP_LINE_MAX bytes, nesting at most
 * RESP_DEPTH_MAX. */
#include "common/store/resp.h"

#include <string.h>

enum { RESP_LINE_MAX = 64 * 1024, RESP_DEPTH_MAX = 8, RESP_BULK_MAX = 512 * 1024 * 1024 };

static void add_header(struct buf *to, char kind, size_t n) {
    char text[24];
    size_t at = sizeof(text);
    text[--at] = '\n';
    text[--at] = '\r';
    do text[--at] = (char)('0' + n % 10);
    while (n /= 10);
    text[--at] = kind;
    buf_add(to, text + at, sizeof(text) - at);
}

void resp_add_array(struct buf *to, size_t argc) {
    add_header(to, '*', argc);
}

void resp_add_bulk(struct buf *to, struct str s) {
    add_header(to, '$', s.len);
    buf_add(to, s.data, s.len);
    buf_add(to, "\r\n", 2);
}

void resp_add_command(struct buf *to, size_t argc, const struct str *argv) {
    size_t bytes = 24;
    for (size_t i = 0; i < argc; i++) bytes += argv[i].len + 26;
    buf_reserve(to, bytes);
    resp_add_array(to, argc);
    for (size_t i = 0; i < argc; i++) resp_add_bulk(to, argv[i]);
}

/* The line after the kind byte, without "\r\n". Returns bytes of the whole line with kind and end, 0 incomplete. */
static ptrdiff_t decode_line(const char *bytes, size_t len, struct str *ret) {
    size_t look = len < RESP_LINE_MAX ? len : RESP_LINE_MAX;
    const char *end = memchr(bytes, '\n', look);
    if (!end) return len >= RESP_LINE_MAX ? RESP_MALFORMED : 0;
    size_t line = (size_t)(end - bytes) + 1;
    if (line < 3 || end[-1] != '\r') return RESP_MALFORMED;
    *ret = str_of(bytes + 1, line - 3);
    return (ptrdiff_t)line;
}

static ptrdiff_t skip_bulk(const char *bytes, size_t len) {
    struct str line;
    int64_t size;
    ptrdiff_t head = decode_line(bytes, len, &line);
    if (head <= 0) return head;
    if (!str_i64(line, &size) || size < -1 || size > RESP_BULK_MAX) return RESP_MALFORMED;
    if (size == -1) return head;
    size_t need = (size_t)head + (size_t)size + 2;
    if (len < need) return 0;
    return memcmp(bytes + need - 2, "\r\n", 2) == 0 ? (ptrdiff_t)need : RESP_MALFORMED;
}

static ptrdiff_t skip_reply(const char *bytes, size_t len, unsigned depth);

static ptrdiff_t skip_array(const char *bytes, size_t len, unsigned depth) {
    struct str line;
    int64_t count;
    ptrdiff_t at = decode_line(bytes, len, &line);
    if (at <= 0) return at;
    if (!str_i64(line, &count) || count < -1 || depth >= RESP_DEPTH_MAX) return RESP_MALFORMED;
    for (int64_t i = 0; i < count; i++) {
        ptrdiff_t n = skip_reply(bytes + at, len - (size_t)at, depth + 1);
        if (n <= 0) return n;
        at += n;
    }
    return at;
}

static ptrdiff_t skip_reply(const char *bytes, size_t len, unsigned depth) {
    struct str line;
    if (len == 0) return 0;
    switch (bytes[0]) {
    case ':':
    case '-':
    case '+':
        return decode_line(bytes, len, &line);
    case '$':
        return skip_bulk(bytes, len);
    case '*':
        return skip_array(bytes, len, depth);
    default:
        return RESP_MALFORMED;
    }
}

/* ":<digits>\r\n" read in one pass: this is what a delivery's answer is. */
static ptrdiff_t decode_integer(const char *bytes, size_t len, struct resp_reply *ret) {
    size_t at = 1;
    bool negative = at < len && bytes[at] == '-';
    if (negative) at++;
    size_t first = at;
    uint64_t v = 0;
    while (at < len && (unsigned char)(bytes[at] - '0') < 10) v = v * 10 + (unsigned char)(bytes[at++] - '0');
    if (at - first > 18) return RESP_MALFORMED;
    if (at == len) return 0;
    if (at == first || bytes[at] != '\r') return RESP_MALFORMED;
    if (at + 1 == len) return 0;
    if (bytes[at + 1] != '\n') return RESP_MALFORMED;
    ret->kind = RESP_INTEGER;
    ret->integer = negative ? -(int64_t)v : (int64_t)v;
    return (ptrdiff_t)at + 2;
}

ptrdiff_t resp_decode(const char *bytes, size_t len, struct resp_reply *ret) {
    if (len == 0) return 0;
    if (bytes[0] == ':') return decode_integer(bytes, len, ret);
    if (bytes[0] == '-') {
        ptrdiff_t n = decode_line(bytes, len, &ret->text);
        if (n > 0) ret->kind = RESP_ERROR;
        return n;
    }
    ptrdiff_t n = skip_reply(bytes, len, 0);
    if (n > 0) ret->kind = RESP_OTHER;
    return n;
}
