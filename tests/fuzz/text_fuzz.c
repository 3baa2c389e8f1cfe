/* UTF-8 and decimal numbers against slow, plain models of what they should be. */
#include <string.h>

#include "common/base/mem.h"
#include "common/base/utf8.h"
#include "common/domain/id.h"
#include "tests/fuzz/fuzz.h"

bool fuzz_seed(size_t index, struct buf *to) {
    static const char *const texts[] = {
        "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80",
        "\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf",
        "plain text of some length, 16 and more",
        "18446744073709551615",
        "9223372036854775807",
        "-9223372036854775808",
        "0042",
        "\xed\xa0\x80",
        "\xe0\x9f\xbf",
    };
    if (index >= ARRAY_LEN(texts)) return false;
    buf_add_c(to, texts[index]);
    return true;
}

/* Decodes by the length that the first byte names, then asks whether that was the shortest form of a code point. */
static bool model_utf8(const uint8_t *s, size_t len, size_t *points) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    *points = 0;
    for (size_t i = 0; i < len; ++*points) {
        size_t n = s[i] < 0x80 ? 1 : s[i] >> 5 == 6 ? 2 : s[i] >> 4 == 14 ? 3 : s[i] >> 3 == 30 ? 4 : 0;
        if (n == 0 || n > len - i) return false;
        uint32_t c = n == 1 ? s[i] : s[i] & (0x7fu >> n);
        for (size_t k = 1; k < n; k++) {
            if (s[i + k] >> 6 != 2) return false;
            c = c << 6 | (s[i + k] & 0x3f);
        }
        if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff)) return false;
        i += n;
    }
    return true;
}

static bool model_u64(const uint8_t *s, size_t len, uint64_t *ret) {
    unsigned __int128 v = 0;
    for (size_t i = 0; i < len; i++) {
        if (s[i] < '0' || s[i] > '9') return false;
        v = v * 10 + (s[i] - '0');
        if (v > UINT64_MAX) return false;
    }
    *ret = (uint64_t)v;
    return len > 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct str text = str_of((const char *)data, size);
    size_t points = 0, expected_points = 0;
    bool good = model_utf8(data, size, &expected_points);
    FUZZ_CHECK(utf8_valid(text.data, size, &points) == good && (!good || points == expected_points));

    uint64_t u = 0, expected = 0, id = 0;
    good = model_u64(data, size, &expected);
    FUZZ_CHECK(str_u64(text, &u) == good && (!good || u == expected));
    if (id_parse(text, &id)) FUZZ_CHECK(good && id == expected && id && id <= ID_MAX);

    int64_t i = 0;
    bool minus = size > 0 && data[0] == '-';
    good = model_u64(data + minus, size - minus, &expected) && expected <= (uint64_t)INT64_MAX + minus;
    FUZZ_CHECK(str_i64(text, &i) == good && (!good || (uint64_t)i == (minus ? 0 - expected : expected)));
    return 0;
}
