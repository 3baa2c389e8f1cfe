/* JSON bodies: what parses is well-formed UTF-8, no deeper than promised, and its strings survive another trip. */
#include <string.h>

#include "common/base/mem.h"
#include "common/base/utf8.h"
#include "common/sys/json.h"
#include "tests/fuzz/fuzz.h"

#define DEPTH_MAX 32

bool fuzz_seed(size_t index, struct buf *to) {
    static const char *const texts[] = {
        "{\"text\":\"a \\u00e9\\ud83d\\ude00\\n\",\"in_reply_to\":null}",
        "{\"a\":[1,-2,3.5e3,true,false,null,\"\\u0000\"],\"b\":{\"c\":{}}}",
        "[9223372036854775807,-9223372036854775808,1e308,0.1]",
        "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
        "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]", /* one too deep */
        "\"\xc3\xa9\\\"\"",
    };
    if (index >= ARRAY_LEN(texts)) return false;
    buf_add_c(to, texts[index]);
    return true;
}

static void check_string(struct str s) {
    char why[160];
    CLEANUP(buf_fini) struct buf written = BUF_INIT;
    CLEANUP(json_free) struct json *again = NULL;
    FUZZ_CHECK(utf8_valid(s.data, s.len, NULL));
    json_write_string(&written, s);
    FUZZ_CHECK(json_parse(buf_str(&written), &again, why) == ERR_OK);
    FUZZ_CHECK(json_type(again) == JSON_STRING && str_eq(json_string(again), s));
}

static void walk(const struct json *j, unsigned depth) {
    FUZZ_CHECK(j && *json_type_name(json_type(j)));
    if (json_type(j) == JSON_ARRAY || json_type(j) == JSON_OBJECT) FUZZ_CHECK(depth < DEPTH_MAX);
    if (json_type(j) == JSON_STRING) check_string(json_string(j));
    if (json_type(j) != JSON_STRING) FUZZ_CHECK(json_string(j).len == 0);
    if (json_type(j) == JSON_ARRAY) {
        for (size_t i = 0; i < json_length(j); i++) walk(json_at(j, i), depth + 1);
    }
    if (json_type(j) != JSON_OBJECT) return;
    void *at = NULL;
    struct str key;
    const struct json *value;
    size_t count = 0;
    for (; json_each(j, &at, &key, &value); count++) {
        check_string(key);
        walk(value, depth + 1);
    }
    FUZZ_CHECK(count == json_length(j));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char why[160] = "";
    CLEANUP(json_free) struct json *root = NULL;
    enum err err = json_parse(str_of((const char *)data, size), &root, why);
    FUZZ_CHECK((err == ERR_OK) == (root != NULL));
    if (err == ERR_OK) {
        FUZZ_CHECK(utf8_valid((const char *)data, size, NULL));
        walk(root, 0);
    } else {
        FUZZ_CHECK(err == ERR_INVALID && memchr(why, 0, sizeof(why)) && *why);
    }
    return 0;
}
