/* Envelopes of cached values: the payload lies within the bytes, and only its own placeholder is taken for one. */
#include "common/base/mem.h"
#include "common/store/cache_envelope.h"
#include "tests/fuzz/fuzz.h"

bool fuzz_seed(size_t index, struct buf *to) {
    if (index >= 4) return false;
    unsigned char head[CACHE_ENVELOPE_BYTES];
    envelope_encode(index == 0   ? CACHE_VALUE
                    : index == 1 ? CACHE_ABSENT
                                 : CACHE_PLACEHOLDER,
                    index == 3 ? 77 : 0, head);
    buf_add(to, head, sizeof(head));
    if (index == 0) buf_add_c(to, "payload");
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct str raw = str_of((const char *)data, size), payload = {0};
    enum cache_kind kind = CACHE_VALUE;
    bool good = envelope_decode(raw, &kind, &payload);
    bool ours = envelope_is_placeholder_of(raw, 77);
    FUZZ_CHECK(good || !ours);
    if (!good) return 0;
    FUZZ_CHECK(payload.len <= size);
    FUZZ_CHECK(kind >= CACHE_VALUE && kind <= CACHE_PLACEHOLDER);
    FUZZ_CHECK(payload.data == raw.data + CACHE_ENVELOPE_BYTES && payload.len + CACHE_ENVELOPE_BYTES == size);
    if (ours) FUZZ_CHECK(kind == CACHE_PLACEHOLDER && be64_load(data + 8) == 77);
    return 0;
}
