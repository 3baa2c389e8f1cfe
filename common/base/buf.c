/*
 * Growing byte buffer. Grows by doubling, from 64 bytes; one byte beyond len is always there for the NUL.
 * Bytes to add must not lie in the buffer itself: growing may move it.
 */
#include "common/base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

struct str str_c(const char *cstring) {
    return (struct str){cstring, strlen(cstring)};
}

bool str_eq(struct str a, struct str b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

bool str_eq_c(struct str a, const char *b) {
    return str_eq(a, str_c(b));
}

static char ascii_lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool str_ieq_c(struct str a, const char *b) {
    for (size_t i = 0; i < a.len; i++) {
        if (b[i] == '\0' || ascii_lower(a.data[i]) != ascii_lower(b[i])) return false;
    }
    return b[a.len] == '\0';
}

bool str_starts(struct str s, const char *prefix) {
    size_t len = strlen(prefix);
    return s.len >= len && (len == 0 || memcmp(s.data, prefix, len) == 0);
}

bool str_u64(struct str s, uint64_t *ret) {
    uint64_t value = 0;
    if (s.len == 0) return false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.data[i];
        if (c < '0' || c > '9') return false;
        if (__builtin_mul_overflow(value, UINT64_C(10), &value)) return false;
        if (__builtin_add_overflow(value, (uint64_t)(c - '0'), &value)) return false;
    }
    *ret = value;
    return true;
}

bool str_i64(struct str s, int64_t *ret) {
    bool negative = s.len > 0 && s.data[0] == '-';
    uint64_t magnitude;
    if (!str_u64(negative ? str_of(s.data + 1, s.len - 1) : s, &magnitude)) return false;
    if (magnitude > (uint64_t)INT64_MAX + (negative ? 1 : 0)) return false;
    *ret = (int64_t)(negative ? 0 - magnitude : magnitude);
    return true;
}

void buf_fini(struct buf *b) {
    mem_free(b->data);
    *b = BUF_INIT;
}

void buf_clear(struct buf *b) {
    b->len = 0;
    if (b->data) b->data[0] = '\0';
}

void buf_reserve(struct buf *b, size_t more) {
    size_t need;
    if (__builtin_add_overflow(b->len, more, &need) || need > SIZE_MAX / 2 - 1) abort();
    if (need < b->cap) return; /* strictly: a byte for the NUL */
    size_t cap = b->cap ? b->cap : 64;
    while (cap <= need) cap *= 2;
    bool fresh = !b->data;
    b->data = mem_grow(b->data, cap, 1);
    b->cap = cap;
    if (fresh) b->data[0] = '\0';
}

void buf_add(struct buf *b, const void *bytes, size_t len) {
    buf_reserve(b, len);
    if (len) memcpy(b->data + b->len, bytes, len);
    b->len += len;
    b->data[b->len] = '\0';
}

void buf_add_str(struct buf *b, struct str s) {
    buf_add(b, s.data, s.len);
}

void buf_add_c(struct buf *b, const char *cstring) {
    buf_add(b, cstring, strlen(cstring));
}

void buf_add_char(struct buf *b, char c) {
    buf_reserve(b, 1);
    b->data[b->len++] = c;
    b->data[b->len] = '\0';
}

void buf_add_u64(struct buf *b, uint64_t v) {
    char digits[20];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    buf_add(b, digits + at, sizeof(digits) - at);
}

void buf_add_i64(struct buf *b, int64_t v) {
    if (v < 0) buf_add_char(b, '-');
    buf_add_u64(b, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

void buf_add_be32(struct buf *b, uint32_t v) {
    unsigned char bytes[4] = {(unsigned char)(v >> 24), (unsigned char)(v >> 16), (unsigned char)(v >> 8),
                              (unsigned char)v};
    buf_add(b, bytes, sizeof(bytes));
}

void buf_add_be64(struct buf *b, uint64_t v) {
    unsigned char bytes[8];
    be64_store(bytes, v);
    buf_add(b, bytes, sizeof(bytes));
}

void buf_addf(struct buf *b, const char *fmt, ...) {
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (len < 0) abort(); /* a bad format or an encoding error: a bug */
    buf_reserve(b, (size_t)len);
    vsnprintf(b->data + b->len, (size_t)len + 1, fmt, again);
    va_end(again);
    b->len += (size_t)len;
}

void buf_drop_front(struct buf *b, size_t len) {
    if (len >= b->len) {
        buf_clear(b);
        return;
    }
    if (len == 0) return;
    memmove(b->data, b->data + len, b->len - len + 1);
    b->len -= len;
}

char *buf_take(struct buf *b, size_t *ret_len) {
    buf_reserve(b, 0); /* an empty one hands over an empty string, not NULL */
    char *data = b->data;
    if (ret_len) *ret_len = b->len;
    *b = BUF_INIT;
    return data;
}
