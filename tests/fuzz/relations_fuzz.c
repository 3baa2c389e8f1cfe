/* Relations: what decodes has exactly the bytes it claims, and every look-up stays within them, ordered or not. */
#include "common/base/mem.h"
#include "common/domain/relations.h"
#include "tests/fuzz/fuzz.h"

bool fuzz_seed(size_t index, struct buf *to) {
    if (index >= 8) return false;
    CLEANUP(buf_fini) struct buf ids = BUF_INIT;
    for (uint64_t id = 1; id <= 10; id++) buf_add_be64(&ids, id << 40);
    struct str none = STR(""), some = str_of(ids.data, 24), all = buf_str(&ids);
    relations_encode(index & 1 ? all : none, index & 2 ? some : none, index & 4 ? all : some, to);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct relations r;
    if (relations_decode(7, str_of((const char *)data, size), &r) != ERR_OK) return 0;
    FUZZ_CHECK(r.followees == data + 32);
    FUZZ_CHECK((r.followee_count + r.hidden_count + r.muted_count) * 8 + 32 == size);
    static const uint64_t ids[] = {0, 1, 7, UINT64_C(3) << 40, UINT64_C(9) << 40, UINT64_MAX};
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        bool admits = relations_admits(&r, ids[i]);
        bool follows = relations_follows(&r, ids[i]), hides = relations_hides(&r, ids[i]),
             mutes = relations_mutes(&r, ids[i]);
        FUZZ_CHECK(admits == (ids[i] == 7 || (follows && !hides && !mutes)));
    }
    return 0;
}
