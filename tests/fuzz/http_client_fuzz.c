/*
 * Fuzzes the response parser of the HTTP client. The first two bytes choose HEAD or not and how the stream is cut into
 * pieces; the verdict and everything parsed must be the same as when it comes whole.
 */
#include <string.h>

#include "common/base/mem.h"
#include "common/sys/http_parser.h"
#include "tests/fuzz/fuzz.h"

bool fuzz_seed(size_t index, struct buf *to) {
    static const char *const responses[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: a\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nTrailer: x\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n",
        "HTTP/1.0 404 Not Found\r\n\r\nuntil the end",
    };
    if (index >= ARRAY_LEN(responses)) return false;
    buf_add_c(to, "ab"); /* HEAD or not, pieces */
    buf_add_c(to, responses[index]);
    return true;
}

static bool same(struct str a, struct str b) {
    return a.len == b.len && (!a.len || !memcmp(a.data, b.data, a.len));
}

static enum http_parse whole(struct http_parser *p, const uint8_t *data, size_t size, bool head) {
    http_parser_init(p);
    http_parser_begin(p, head);
    buf_add(&p->raw, data, size);
    return http_parser_run(p, true);
}

/* Pieces of 1 to 16 bytes; what comes behind the first response stays unread. */
static enum http_parse pieces(struct http_parser *p, const uint8_t *data, size_t size, bool head, unsigned seed) {
    http_parser_init(p);
    http_parser_begin(p, head);
    enum http_parse result = HTTP_PARSE_MORE;
    for (size_t at = 0; at < size && result == HTTP_PARSE_MORE;) {
        seed = seed * 1103515245u + 12345u;
        size_t n = 1 + (seed >> 16) % 16;
        if (n > size - at) n = size - at;
        buf_add(&p->raw, data + at, n);
        at += n;
        result = http_parser_run(p, false);
        FUZZ_CHECK(p->at <= p->raw.len);
    }
    return result == HTTP_PARSE_MORE ? http_parser_run(p, true) : result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) return 0;
    bool head = data[0] & 1;
    struct http_parser a, b;
    enum http_parse one = whole(&a, data + 2, size - 2, head);
    enum http_parse many = pieces(&b, data + 2, size - 2, head, data[1]);
    FUZZ_CHECK(one != HTTP_PARSE_MORE && one == many);
    if (one == HTTP_PARSE_DONE) {
        FUZZ_CHECK(a.status == b.status && a.keep_alive == b.keep_alive && a.status >= 200);
        FUZZ_CHECK(same(http_parser_headers(&a), http_parser_headers(&b)));
        FUZZ_CHECK(same(http_parser_body(&a), http_parser_body(&b)));
        (void)http_header_find(http_parser_headers(&a), "content-type");
    }
    http_parser_fini(&a);
    http_parser_fini(&b);
    return 0;
}
