/* Request targets: every parameter comes out once, as a C string of its length, and is found by its name. */
#include <string.h>

#include "common/base/mem.h"
#include "common/sys/http_private.h"
#include "tests/fuzz/fuzz.h"

bool fuzz_seed(size_t index, struct buf *to) {
    static const char *const targets[] = {"/v1/me/feed?cursor=ZjEyMw&limit=50", "/a?b=%41%zz%4&&c&=d&b=%00+e%2", "/?",
                                          "/a?%62=1&b=2", "*"};
    if (index >= ARRAY_LEN(targets)) return false;
    buf_add_c(to, targets[index]);
    return true;
}

struct seen {
    struct http_request *request;
    size_t count;
};

static void see(void *ctx, const char *name, const char *value) {
    struct seen *s = ctx;
    struct str found = http_query(s->request, name);
    FUZZ_CHECK(found.data && strlen(found.data) == found.len && value);
    s->count++;
}

static size_t parts_of(struct str query) {
    size_t parts = 0;
    for (size_t i = 0; i < query.len; i++) parts += query.data[i] != '&' && (i == 0 || query.data[i - 1] == '&');
    return parts;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct http_server server;
    CLEANUP(mem_free_charp) char *target = mem_strndup((const char *)data, size);
    list_init(&server.spare);
    struct http_request *r = http_request_new(&server, NULL, NULL, target);
    struct seen seen = {r, 0};
    http_query_each(r, see, &seen);
    FUZZ_CHECK(seen.count == parts_of(r->query));
    FUZZ_CHECK(r->path.len + r->query.len + 1 >= strlen(target) && !memchr(r->path.data, '?', r->path.len));
    FUZZ_CHECK(http_query(r, "no such name").data == NULL || strstr(target, "no"));
    http_request_free(r);
    return 0;
}
