/* Option files: any file gives options within their ranges or a message; what is printed reads back the same. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/sys/config.h"
#include "tests/fuzz/fuzz.h"

struct options {
    char *text;
    int64_t number, duration, bytes;
    double share;
    bool flag;
};

static const struct option table[] = {
    {"fuzz", "text", OPTION_STRING, offsetof(struct options, text), "abc", 0, 0, false, true, "Text."},
    {"fuzz", "number", OPTION_INT, offsetof(struct options, number), "5", 1, 100, false, true, "A number."},
    {"fuzz", "duration", OPTION_DURATION, offsetof(struct options, duration), "5s", 1, 86400000, false, true, "Time."},
    {"fuzz", "bytes", OPTION_SIZE, offsetof(struct options, bytes), "64k", 0, 1 << 30, false, true, "Bytes."},
    {"fuzz", "share", OPTION_DOUBLE, offsetof(struct options, share), "0.5", 0, 1, false, true, "A share."},
    {"fuzz", "flag", OPTION_BOOL, offsetof(struct options, flag), "no", 0, 0, false, true, "Yes or no."},
    {0},
};
static const struct option *const tables[] = {table, NULL};

bool fuzz_seed(size_t index, struct buf *to) {
    static const char *const files[] = {
        "[fuzz]\ntext = hello ; a comment\nnumber = 7\nduration = 2h\nbytes = 3M\nshare = 0.25\nflag = on\n",
        "; nothing of ours\n[other]\nx = y\n[fuzz]\nnumber=100\n",
        "[fuzz]\nduration: 250ms\nbytes = 1G\nflag = 0\n",
    };
    if (index >= ARRAY_LEN(files)) return false;
    buf_add_c(to, files[index]);
    return true;
}

static enum err parse(const void *bytes, size_t size, struct options *ret, char **ret_message) {
    static int fd = -1;
    char path[40];
    if (fd < 0) fd = memfd_create("options", MFD_CLOEXEC);
    FUZZ_CHECK(fd >= 0 && ftruncate(fd, 0) == 0 && pwrite(fd, bytes, size, 0) == (ssize_t)size);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return config_parse(tables, &(struct config_source){.file = path}, ret, ret_message);
}

static void check_again(const struct options *o) {
    CLEANUP(buf_fini) struct buf printed = BUF_INIT;
    CLEANUP(mem_free_charp) char *message = NULL;
    struct options again = {0};
    if (strcspn(o->text, ";#\"'") < strlen(o->text)) return; /* what a comment or a quote could begin is not kept */
    config_print(tables, o, &printed);
    FUZZ_CHECK(parse(printed.data, printed.len, &again, &message) == ERR_OK);
    FUZZ_CHECK(again.number == o->number && again.duration == o->duration && again.bytes == o->bytes);
    FUZZ_CHECK(again.flag == o->flag && !strcmp(again.text, o->text));
    config_free(tables, &again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct options o = {0};
    CLEANUP(mem_free_charp) char *message = NULL;
    enum err err = parse(data, size, &o, &message);
    if (err != ERR_OK) {
        FUZZ_CHECK(message && *message && !o.text);
        return 0;
    }
    FUZZ_CHECK(o.text && o.number >= 1 && o.number <= 100 && o.duration >= 1 && o.duration <= 86400000);
    FUZZ_CHECK(o.bytes >= 0 && o.bytes <= 1 << 30 && o.share >= 0 && o.share <= 1);
    check_again(&o);
    config_free(tables, &o);
    return 0;
}
