/*
 * Allocation that cannot fail. Out of memory (or a size that overflows) ends the process here, with one line on stderr
 * written without allocating: the log may not be usable any more, and recovery is another process's job.
 *
 * A size of 0 is served as 1, so that a result is never NULL and always may be freed.
 */
#include "common/base/mem.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void die(const char *why) __attribute__((noreturn));

static void die(const char *why) {
    if (write(STDERR_FILENO, why, strlen(why)) < 0) abort();
    abort();
}

static void *checked(void *p) {
    if (!p) die("fatal: out of memory\n");
    return p;
}

static size_t product(size_t count, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) die("fatal: size of an allocation overflows\n");
    return bytes ? bytes : 1;
}

void *mem_alloc(size_t size) {
    return checked(malloc(size ? size : 1));
}

void *mem_zalloc(size_t size) {
    return checked(calloc(1, size ? size : 1));
}

void *mem_array(size_t count, size_t size) {
    return checked(malloc(product(count, size)));
}

void *mem_grow(void *old, size_t count, size_t size) {
    return checked(realloc(old, product(count, size)));
}

void *mem_dup(const void *bytes, size_t size) {
    void *copy = mem_alloc(size);
    if (size) memcpy(copy, bytes, size);
    return copy;
}

char *mem_strdup(const char *s) {
    return mem_strndup(s, strlen(s));
}

char *mem_strndup(const char *s, size_t size) {
    if (size == SIZE_MAX) die("fatal: size of an allocation overflows\n");
    char *copy = mem_alloc(size + 1);
    if (size) memcpy(copy, s, size);
    copy[size] = '\0';
    return copy;
}

char *mem_printf(const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    char *text = NULL;
    int len = vasprintf(&text, fmt, args);
    va_end(args);
    if (len < 0) die("fatal: out of memory\n");
    return text;
}

void mem_free(void *p) {
    free(p);
}

void mem_free_charp(char **p) {
    free(*p);
    *p = NULL;
}
