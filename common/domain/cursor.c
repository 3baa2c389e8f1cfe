/*
 * Cursors in base64url (RFC 4648, section 5) without padding. Decoding is strict: one text for one cursor, so anything
 * that does not encode back to itself is refused.
 */
#include "common/domain/cursor.h"

#include <string.h>

#include "common/domain/id.h"

#define PLAIN_MAX 21 /* kind and up to 20 digits */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void cursor_encode(char kind, uint64_t id, char ret[static CURSOR_TEXT_MAX]) {
    unsigned char plain[PLAIN_MAX + 2] = {(unsigned char)kind}; /* zeros behind: the last group may be short */
    size_t len = 1, out = 0;
    for (uint64_t v = id; len == 1 || v; v /= 10) plain[len++] = (unsigned char)('0' + v % 10);
    for (size_t i = 1, j = len - 1; i < j; i++, j--) {
        unsigned char digit = plain[i];
        plain[i] = plain[j];
        plain[j] = digit;
    }
    for (size_t i = 0; i < len; i += 3) {
        uint32_t group = (uint32_t)plain[i] << 16 | (uint32_t)plain[i + 1] << 8 | plain[i + 2];
        size_t chars = len - i < 3 ? len - i + 1 : 4;
        for (size_t j = 0; j < chars; j++) ret[out++] = alphabet[group >> (18 - 6 * j) & 63];
    }
    ret[out] = '\0';
}

static bool decode_plain(struct str text, char plain[static PLAIN_MAX], size_t *ret_len) {
    uint32_t bits = 0;
    unsigned have = 0;
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        const char *at = text.data[i] ? strchr(alphabet, text.data[i]) : NULL;
        if (!at) return false;
        bits = bits << 6 | (uint32_t)(at - alphabet);
        have += 6;
        if (have < 8) continue;
        have -= 8;
        if (len == PLAIN_MAX) return false;
        plain[len++] = (char)(bits >> have & 0xff);
    }
    *ret_len = len;
    return true;
}

bool cursor_decode(char kind, struct str text, uint64_t *ret_id) {
    char plain[PLAIN_MAX], again[CURSOR_TEXT_MAX];
    size_t len;
    uint64_t id;
    if (!decode_plain(text, plain, &len) || len < 2) return false;
    if (!id_parse(str_of(plain + 1, len - 1), &id)) return false;
    cursor_encode(kind, id, again); /* differs: another kind, or stray bits in the last character */
    if (!str_eq_c(text, again)) return false;
    *ret_id = id;
    return true;
}
