/*
 * Memory: allocation that cannot fail, and the cleanup attribute.
 *
 * Everything that a client or an operator can make large is bounded by a limit elsewhere, so running out of memory is a
 * configuration error: the process says so on stderr and aborts; another one carries on. Nobody checks for NULL.
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>

void *mem_alloc(size_t size);                         /* uninitialised; free with mem_free */
void *mem_zalloc(size_t size);                        /* zeroed */
void *mem_array(size_t count, size_t size);           /* uninitialised; aborts when count * size overflows */
void *mem_grow(void *old, size_t count, size_t size); /* realloc to count * size; overflow aborts */
void *mem_dup(const void *bytes, size_t size);        /* (own) copy */
char *mem_strdup(const char *s);                      /* (own) copy */
char *mem_strndup(const char *s, size_t size);        /* (own) copy with a terminating NUL */
char *mem_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2))); /* (own) */
void mem_free(void *p);                                                       /* NULL is fine */

#define NEW(type)              ((type *)mem_zalloc(sizeof(type)))
#define NEW_ARRAY(type, count) ((type *)mem_array((count), sizeof(type)))

/*
 * CLEANUP(buf_fini) struct buf b = ...; the function takes a pointer to the variable, like every x_free(struct x **).
 */
#define CLEANUP(function) __attribute__((cleanup(function)))
void mem_free_charp(char **p); /* for CLEANUP on a char * from mem_*: frees and nulls it */

#define ARRAY_LEN(a)                    (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#endif
