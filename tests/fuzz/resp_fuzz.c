/*
 * Redis replies. Wherever the stream is cut, a reply is taken whole or not at all: with fewer bytes it is incomplete,
 * with more it is the same; what is malformed stays so.
 */
#include "common/base/mem.h"
#include "common/store/resp.h"
#include "tests/fuzz/fuzz.h"

#define CUTS_MAX 300

bool fuzz_seed(size_t index, struct buf *to) {
    static const char *const replies[] = {
        ":0\r\n:12\r\n",
        ":-9223372036854775808\r\n",
        "-OOM command not allowed\r\n",
        "+OK\r\n",
        "$5\r\nhello\r\n:1\r\n",
        "$-1\r\n",
        "*2\r\n$1\r\na\r\n*1\r\n:7\r\n",
        "*-1\r\n*0\r\n",
    };
    if (index >= ARRAY_LEN(replies)) return false;
    buf_add_c(to, replies[index]);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *bytes = (const char *)data;
    struct resp_reply whole = {0}, part;
    ptrdiff_t taken = resp_decode(bytes, size, &whole);
    FUZZ_CHECK(taken >= RESP_MALFORMED && taken <= (ptrdiff_t)size);
    if (taken > 0 && whole.kind == RESP_ERROR)
        FUZZ_CHECK(whole.text.data == bytes + 1 && whole.text.len + 3 == (size_t)taken);
    bool malformed = false;
    for (size_t cut = 0; cut <= size && cut <= CUTS_MAX; cut++) {
        uint8_t *exact = mem_dup(data, cut); /* a byte read beyond the cut is one beyond an allocation */
        ptrdiff_t n = resp_decode((const char *)exact, cut, &part);
        if (n > 0) FUZZ_CHECK(n == taken && part.kind == whole.kind);
        if (n > 0 && part.kind == RESP_INTEGER) FUZZ_CHECK(part.integer == whole.integer);
        if (taken > 0) FUZZ_CHECK(n == ((ptrdiff_t)cut < taken ? 0 : taken));
        if (malformed) FUZZ_CHECK(n == RESP_MALFORMED);
        malformed = n == RESP_MALFORMED;
        mem_free(exact);
    }
    if (malformed) FUZZ_CHECK(taken == RESP_MALFORMED);
    return 0;
}
