/* Request bodies: whatever passes is of its type and within its limits; whatever does not is told why. */
#include <string.h>

#include "common/base/mem.h"
#include "common/base/utf8.h"
#include "common/domain/id.h"
#include "feedd/body.h"
#include "tests/fuzz/fuzz.h"

static const struct body_member members[] = {
    {"text", BODY_TEXT, true, false, 1, 20},      {"name", BODY_LINE, false, false, 1, 10},
    {"password", BODY_SECRET, false, true, 2, 8}, {"handle", BODY_HANDLE, false, false, 3, 8},
    {"picture", BODY_URL, false, true, 1, 40},    {"in_reply_to", BODY_ID, false, true, 0, 0},
};

bool fuzz_seed(size_t index, struct buf *to) {
    static const char *const texts[] = {
        "{\"text\":\"hello\",\"name\":\"Ann\",\"password\":\"secret\",\"handle\":\"ann_1\"}",
        "{\"text\":\" \\u00e9 \",\"picture\":\"https://a.b/c\",\"in_reply_to\":\"4194304\"}",
        "{\"text\":\"x\",\"picture\":null,\"in_reply_to\":null,\"password\":null}",
        "{\"text\":\"12345678901234567890\",\"name\":\"1234567890\",\"handle\":\"12345678\",\"password\":\"12345678\"}",
        "{\"text\":\"x\",\"handle\":\"123\",\"password\":\"12\",\"in_reply_to\":\"9223372036854775807\"}",
    };
    if (index >= ARRAY_LEN(texts)) return false;
    buf_add_c(to, texts[index]);
    return true;
}

static bool all_of(struct str s, const char *allowed) {
    for (size_t i = 0; i < s.len; i++) {
        if (!s.data[i] || !strchr(allowed, s.data[i])) return false;
    }
    return true;
}

static void check_value(const struct body_member *m, const struct body_value *v) {
    size_t points = 0;
    FUZZ_CHECK(v->present || !m->required);
    if (!v->present) return;
    FUZZ_CHECK(!v->null || m->nullable);
    if (v->null) return;
    if (m->type == BODY_ID) {
        FUZZ_CHECK(v->id && v->id <= ID_MAX);
        return;
    }
    FUZZ_CHECK(utf8_valid(v->text.data, v->text.len, &points) && points >= m->min && points <= m->max);
    if (m->type == BODY_HANDLE) FUZZ_CHECK(all_of(v->text, "abcdefghijklmnopqrstuvwxyz0123456789_"));
    if (m->type == BODY_URL) FUZZ_CHECK(str_starts(v->text, "http://") || str_starts(v->text, "https://"));
    if (m->type == BODY_TEXT || m->type == BODY_LINE) FUZZ_CHECK(!body_is_blank(v->text));
    if (m->type != BODY_SECRET) FUZZ_CHECK(!memchr(v->text.data, 0, v->text.len));
    for (size_t i = 0; m->type == BODY_LINE && i < v->text.len; i++) FUZZ_CHECK((unsigned char)v->text.data[i] >= 0x20);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct body_value values[ARRAY_LEN(members)];
    CLEANUP(json_free) struct json *root = NULL;
    char detail[BODY_DETAIL_MAX] = "";
    enum problem p = body_parse(str_of((const char *)data, size), members, ARRAY_LEN(members), values, &root, detail);
    if (p != PROBLEM_NONE) {
        FUZZ_CHECK(!root && memchr(detail, 0, sizeof(detail)) && *detail);
        FUZZ_CHECK(utf8_valid(detail, strlen(detail), NULL)); /* it goes into a JSON answer */
        return 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(members); i++) check_value(&members[i], &values[i]);
    return 0;
}
