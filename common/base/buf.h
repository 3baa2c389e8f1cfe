/*
 * Growing byte buffer, and the borrowed string. One owner, one thread.
 *
 * data[len] is always NUL once anything was added, so that a buffer of text can be handed to C string functions;
 * embedded NULs are data like any other. BUF_INIT needs no allocation.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct str { /* borrowed bytes, not NUL-terminated */
    const char *data;
    size_t len;
};
#define STR(literal) ((struct str){"" literal, sizeof(literal) - 1})
static inline struct str str_of(const char *data, size_t len) {
    return (struct str){data, len};
}
struct str str_c(const char *cstring);
bool str_eq(struct str a, struct str b);
bool str_eq_c(struct str a, const char *b);
bool str_ieq_c(struct str a, const char *b); /* ASCII case-insensitive */
bool str_starts(struct str s, const char *prefix);
/* Whole string as a decimal number, no sign, no blanks, no overflow; false leaves *ret alone. */
bool str_u64(struct str s, uint64_t *ret);
bool str_i64(struct str s, int64_t *ret); /* the same with one leading '-' allowed */

struct buf {
    char *data; /* (own) */
    size_t len;
    size_t cap;
};
#define BUF_INIT ((struct buf){0})

void buf_fini(struct buf *b);                 /* frees and resets to BUF_INIT; fits CLEANUP */
void buf_clear(struct buf *b);                /* len = 0, keeps the memory */
void buf_reserve(struct buf *b, size_t more); /* room for more bytes without reallocation */
void buf_add(struct buf *b, const void *bytes, size_t len);
void buf_add_str(struct buf *b, struct str s);
void buf_add_c(struct buf *b, const char *cstring);
void buf_add_char(struct buf *b, char c);
void buf_add_u64(struct buf *b, uint64_t v); /* decimal */
void buf_add_i64(struct buf *b, int64_t v);  /* decimal */
void buf_add_be32(struct buf *b, uint32_t v);
void buf_add_be64(struct buf *b, uint64_t v);
void buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_drop_front(struct buf *b, size_t len); /* removes the first len bytes (memmove) */
/* (own by the caller, mem_free; never NULL) hands the memory over, b is empty after; ret_len may be NULL */
char *buf_take(struct buf *b, size_t *ret_len);
static inline struct str buf_str(const struct buf *b) {
    return (struct str){b->data ? b->data : "", b->len};
}

/* Big-endian words at any alignment. */
static inline uint64_t be64_load(const void *p) {
    const unsigned char *b = (const unsigned char *)p;
    return (uint64_t)b[0] << 56 | (uint64_t)b[1] << 48 | (uint64_t)b[2] << 40 | (uint64_t)b[3] << 32 |
           (uint64_t)b[4] << 24 | (uint64_t)b[5] << 16 | (uint64_t)b[6] << 8 | (uint64_t)b[7];
}
static inline void be64_store(void *p, uint64_t v) {
    unsigned char *b = (unsigned char *)p;
    for (int i = 7; i >= 0; i--, v >>= 8) b[i] = (unsigned char)v;
}
static inline uint32_t be32_load(const void *p) {
    const unsigned char *b = (const unsigned char *)p;
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | (uint32_t)b[3];
}

#endif
