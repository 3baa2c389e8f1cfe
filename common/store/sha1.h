/* SHA-1 (RFC 3174), only to name Lua scripts for EVALSHA: no security rests on it. Any thread. */
#ifndef STORE_SHA1_H
#define STORE_SHA1_H

#include "common/base/buf.h"

#define SHA1_HEX_CHARS 40
void sha1_hex(struct str bytes, char ret[static SHA1_HEX_CHARS + 1]);

#endif
