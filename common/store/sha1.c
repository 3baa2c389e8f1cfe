/* SHA-1, see sha1.h. Written out here because none of the libraries that the house uses has it and Redis names scripts
 * by it. */
#include "common/store/sha1.h"

#include <stdint.h>
#include <string.h>

static uint32_t rotate(uint32_t v, unsigned bits) {
    return v << bits | v >> (32 - bits);
}

static void sha1_block(uint32_t h[5], const unsigned char block[64]) {
    uint32_t w[80];
    for (int i = 0; i < 16; i++) w[i] = be32_load(block + 4 * i);
    for (int i = 16; i < 80; i++) w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    uint32_t a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
    for (int i = 0; i < 80; i++) {
        uint32_t f, k;
        if (i < 20)
            f = (b & c) | (~b & d), k = 0x5a827999;
        else if (i < 40)
            f = b ^ c ^ d, k = 0x6ed9eba1;
        else if (i < 60)
            f = (b & c) | (b & d) | (c & d), k = 0x8f1bbcdc;
        else
            f = b ^ c ^ d, k = 0xca62c1d6;
        uint32_t next = rotate(a, 5) + f + e + k + w[i];
        e = d, d = c, c = rotate(b, 30), b = a, a = next;
    }
    h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e;
}

void sha1_hex(struct str bytes, char ret[static SHA1_HEX_CHARS + 1]) {
    uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    const unsigned char *data = (const unsigned char *)bytes.data;
    size_t left = bytes.len;
    for (; left >= 64; data += 64, left -= 64) sha1_block(h, data);

    unsigned char tail[128] = {0};
    if (left) memcpy(tail, data, left);
    tail[left] = 0x80;
    size_t tail_len = left < 56 ? 64 : 128;
    be64_store(tail + tail_len - 8, (uint64_t)bytes.len * 8);
    for (size_t at = 0; at < tail_len; at += 64) sha1_block(h, tail + at);

    for (int i = 0; i < SHA1_HEX_CHARS; i++) ret[i] = "0123456789abcdef"[h[i / 8] >> (28 - 4 * (i % 8)) & 15];
    ret[SHA1_HEX_CHARS] = '\0';
}
