/* UTF-8 (RFC 3629): shortest form only, no surrogates, nothing above U+10FFFF. Any thread. */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* True when all len bytes are well-formed; *ret_points (may be NULL) gets how many code points. NUL is well-formed. */
bool utf8_valid(const char *s, size_t len, size_t *ret_points);

#endif
