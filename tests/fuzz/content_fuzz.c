/*
 * Content records: any bytes decode or are refused; any text comes out as a JSON string without a raw quote, backslash
 * or control character.
 */
#include <string.h>

#include "common/base/json_escape.h"
#include "common/base/mem.h"
#include "common/domain/content.h"
#include "tests/fuzz/fuzz.h"

bool fuzz_seed(size_t index, struct buf *to) {
    switch (index) {
    case 0:
        post_record_encode(UINT64_C(1) << 40, 5, STR("a \"quoted\"\n\\ text"), 9, to);
        return true;
    case 1:
        user_record_encode(UINT64_C(1) << 40, STR("ann"), STR("Ann"), str_of(NULL, 0), to);
        return true;
    case 2:
        counts_record_encode((struct counts_record){3, 4}, to);
        return true;
    default:
        return false;
    }
}

static void check_escaped(struct str s) {
    for (size_t i = 0; i < s.len; i++) {
        FUZZ_CHECK((unsigned char)s.data[i] >= 0x20 && s.data[i] != '"');
        if (s.data[i] != '\\') continue;
        FUZZ_CHECK(i + 1 < s.len && s.data[i + 1] && strchr("\"\\bfnrtu", s.data[i + 1]));
        i++;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct str bytes = str_of((const char *)data, size);
    struct post_record p = {1, 2, STR("")};
    struct user_record u = {2, STR("{}")};
    struct counts_record c = {0, 0};
    uint64_t id = size >= 16 ? be64_load(data + 8) : 1;
    CLEANUP(buf_fini) struct buf json = BUF_INIT, text = BUF_INIT, again = BUF_INIT;
    bool any = post_record_decode(id, bytes, &p) == ERR_OK;
    any |= user_record_decode(id, bytes, &u) == ERR_OK;
    any |= counts_record_decode(bytes, &c) == ERR_OK;
    if (any) post_write_json(&p, &u, c, &json);
    json_escape(&text, bytes);
    check_escaped(buf_str(&text));
    post_record_encode(77, 5, bytes, 0, &again);
    FUZZ_CHECK(post_record_decode(77, buf_str(&again), &p) == ERR_OK && p.author_id == 5);
    return 0;
}
