/* Timeline elements and views: any list of bytes gives a strictly ordered view that claims no more than its inputs
 * allow. */
#include "common/base/mem.h"
#include "common/domain/id.h"
#include "common/domain/view.h"
#include "tests/fuzz/fuzz.h"

#define ENTRIES_MAX 300

/* Two headers, then entries. */
bool fuzz_seed(size_t index, struct buf *to) {
    if (index >= 4) return false;
    unsigned char header[TIMELINE_HEADER_BYTES], entry[ENTRY_BYTES];
    timeline_header_encode((struct timeline_header){TIMELINE_COMPLETE, 9, index << 22}, header);
    buf_add(to, header, sizeof(header));
    buf_add(to, header, sizeof(header));
    for (uint64_t i = 0; i < index * 30; i++) {
        uint64_t id = index == 3 ? (i * 7 % 50 + 1) << 22 : (1000 - i) << 22;
        entry_encode((struct entry){id, 5}, entry);
        buf_add(to, entry, sizeof(entry));
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct timeline_header before, after;
    struct entry entries[ENTRIES_MAX];
    size_t count = 0, at = 2 * TIMELINE_HEADER_BYTES;
    if (size < at || !timeline_header_decode(data, TIMELINE_HEADER_BYTES, &before)) return 0;
    if (!timeline_header_decode(data + TIMELINE_HEADER_BYTES, TIMELINE_HEADER_BYTES, &after)) return 0;
    for (; at < size && count < ENTRIES_MAX; at += ENTRY_BYTES) {
        if (entry_decode(data + at, size - at < ENTRY_BYTES ? size - at : ENTRY_BYTES, &entries[count])) count++;
    }
    bool whole = size % 2 == 0;
    struct view v = view_make(entries, count, whole, before, after, size);
    FUZZ_CHECK(v.count <= count && (v.count > 0) == (count > 0) && v.complete_from <= ID_MAX);
    for (size_t i = 1; i < v.count; i++) FUZZ_CHECK(v.entries[i - 1].post_id > v.entries[i].post_id);
    if (before.nonce != after.nonce || after.state != TIMELINE_COMPLETE) FUZZ_CHECK(v.complete_from == ID_MAX);
    FUZZ_CHECK(v.complete_from >= (after.mark < ID_MAX ? after.mark : ID_MAX));
    if (!whole && v.count) FUZZ_CHECK(v.complete_from > v.entries[v.count - 1].post_id || v.complete_from == ID_MAX);
    return 0;
}
