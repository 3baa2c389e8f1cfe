/* UTF-8 validation by the byte table of RFC 3629, section 4; runs of ASCII are skipped eight bytes at a time. */
#include "common/base/utf8.h"

#include <stdint.h>
#include <string.h>

/* Length of the well-formed sequence at s (left > 0 bytes), 0 when it is not well-formed. */
static size_t sequence(const unsigned char *s, size_t left) {
    unsigned char low = 0x80, high = 0xbf; /* of the second byte */
    size_t len;
    if (s[0] < 0x80) return 1;
    if (s[0] < 0xc2) return 0; /* a continuation, or an overlong two-byte form */
    if (s[0] < 0xe0) {
        len = 2;
    } else if (s[0] < 0xf0) {
        len = 3;
        if (s[0] == 0xe0) low = 0xa0;  /* overlong */
        if (s[0] == 0xed) high = 0x9f; /* surrogates */
    } else if (s[0] < 0xf5) {
        len = 4;
        if (s[0] == 0xf0) low = 0x90;  /* overlong */
        if (s[0] == 0xf4) high = 0x8f; /* above U+10FFFF */
    } else {
        return 0;
    }
    if (left < len || s[1] < low || s[1] > high) return 0;
    for (size_t i = 2; i < len; i++) {
        if ((s[i] & 0xc0) != 0x80) return 0;
    }
    return len;
}

bool utf8_valid(const char *s, size_t len, size_t *ret_points) {
    const unsigned char *at = (const unsigned char *)s;
    size_t left = len, points = 0;
    while (left) {
        uint64_t eight;
        while (left >= sizeof(eight)) {
            memcpy(&eight, at, sizeof(eight));
            if (eight & UINT64_C(0x8080808080808080)) break;
            at += sizeof(eight);
            left -= sizeof(eight);
            points += sizeof(eight);
        }
        if (!left) break;
        size_t n = sequence(at, left);
        if (!n) return false;
        at += n;
        left -= n;
        points++;
    }
    if (ret_points) *ret_points = points;
    return true;
}
