/*
 * Page cursors. Opaque to clients: "<kind><decimal id>" in base64url without padding. The kind keeps a cursor of one
 * list from being used on another. A cursor names the last item served; the next page holds what lies beyond it.
 */
#ifndef DOMAIN_CURSOR_H
#define DOMAIN_CURSOR_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"

#define CURSOR_FEED      'f'
#define CURSOR_POSTS     'p'
#define CURSOR_FOLLOWERS 'r'
#define CURSOR_FOLLOWING 'w'
#define CURSOR_BLOCKS    'b'
#define CURSOR_MUTES     'm'

#define CURSOR_TEXT_MAX 40
void cursor_encode(char kind, uint64_t id, char ret[static CURSOR_TEXT_MAX]);
bool cursor_decode(char kind, struct str text, uint64_t *ret_id); /* false: malformed or of another kind */

#endif
