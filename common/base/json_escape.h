/* JSON string escaping (RFC 8259, section 7), for those who write JSON without parsing any. Any thread. */
#ifndef BASE_JSON_ESCAPE_H
#define BASE_JSON_ESCAPE_H

#include "common/base/buf.h"

/*
 * Appends s as the inside of a JSON string, without the quotes: quote, backslash and control characters below 0x20 are
 * escaped, all else (U+2028 and U+2029 too) passes as it is. s is valid UTF-8 and not part of the buffer.
 */
void json_escape(struct buf *to, struct str s);

#endif
