/*
 * Edge lists of an import, plain or gzip: every line ends as a row, a rejected row or a comment, and what is left is
 * clean: no self, no repeat, nobody above the cap, indexes within the people.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include "common/base/mem.h"
#include "ctl/edges.h"
#include "tests/fuzz/fuzz.h"

#define CAP 3

bool fuzz_seed(size_t index, struct buf *to) {
    static const char text[] =
        "# follower followee\n1 2\n1\t3\n2 1\n\n1 2\n7 7\n1 4\n1 5\nx y\n9223372036854775807 1\n1 2 3\n";
    if (index == 0) buf_add_c(to, text);
    if (index == 1) {
        unsigned char packed[512];
        z_stream z = {.next_in = (unsigned char *)(uintptr_t)text,
                      .avail_in = sizeof(text) - 1,
                      .next_out = packed,
                      .avail_out = sizeof(packed)};
        FUZZ_CHECK(deflateInit2(&z, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY) == Z_OK);
        FUZZ_CHECK(deflate(&z, Z_FINISH) == Z_STREAM_END);
        buf_add(to, packed, z.total_out);
        deflateEnd(&z);
    }
    return index < 2;
}

static void rejected(void *ctx, enum reject why, uint64_t line, const char *text) {
    FUZZ_CHECK(why < REJECT_COUNT && *reject_text(why) && line && text);
    ++*(uint64_t *)ctx;
}

static void check_clean(const struct edges *e) {
    size_t of_this = 0;
    for (size_t i = 0; i < e->people_count; i++) FUZZ_CHECK(i == 0 || e->people[i - 1] < e->people[i]);
    for (size_t i = 0; i < e->count; i++) {
        const struct edge *r = &e->rows[i];
        FUZZ_CHECK(r->follower < e->people_count && r->followee < e->people_count && r->follower != r->followee);
        bool same = i > 0 && r[-1].follower == r->follower;
        if (i > 0) FUZZ_CHECK(r[-1].follower < r->follower || (same && r[-1].followee < r->followee));
        of_this = same ? of_this + 1 : 1;
        FUZZ_CHECK(of_this <= CAP);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static int fd = -1;
    char path[40];
    struct edges e = {0};
    uint64_t told = 0, counted = 0;
    CLEANUP(mem_free_charp) char *message = NULL;
    if (fd < 0) fd = memfd_create("edges", MFD_CLOEXEC);
    FUZZ_CHECK(fd >= 0 && ftruncate(fd, 0) == 0 && pwrite(fd, data, size, 0) == (ssize_t)size);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    bool mutual = size & 1;
    enum err err = edges_read(&e, path, mutual, rejected, &told, &message);
    FUZZ_CHECK((err == ERR_OK) == (message == NULL));
    FUZZ_CHECK(e.count / (mutual ? 2 : 1) + told <= e.lines);
    size_t read = e.count;
    edges_index(&e, CAP, rejected, &told);
    for (size_t i = 0; i < REJECT_COUNT; i++) counted += e.rejected[i];
    FUZZ_CHECK(counted == told && e.count + e.rejected[REJECT_DUPLICATE] + e.rejected[REJECT_CAP] == read);
    check_clean(&e);
    edges_fini(&e);
    return 0;
}
