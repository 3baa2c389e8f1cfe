/* Cursors: one text for one cursor, and never of two kinds. */
#include <string.h>

#include "common/domain/cursor.h"
#include "common/domain/id.h"
#include "tests/fuzz/fuzz.h"

bool fuzz_seed(size_t index, struct buf *to) {
    char text[CURSOR_TEXT_MAX];
    if (index >= 19) return false;
    uint64_t id = 1;
    for (size_t i = 0; i < index; i++) id *= 10;
    cursor_encode(CURSOR_FEED, id, text);
    buf_add_c(to, text);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct str text = str_of((const char *)data, size);
    uint64_t id, other;
    char again[CURSOR_TEXT_MAX];
    if (!cursor_decode(CURSOR_FEED, text, &id)) return 0;
    FUZZ_CHECK(id && id <= ID_MAX);
    FUZZ_CHECK(!cursor_decode(CURSOR_POSTS, text, &other));
    cursor_encode(CURSOR_FEED, id, again);
    FUZZ_CHECK(str_eq_c(text, again));
    return 0;
}
