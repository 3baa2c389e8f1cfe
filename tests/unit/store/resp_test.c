/* RESP encoder and decoder: every cut of a stream, every kind of reply, what is not RESP; and SHA-1 by its published
 * vectors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/store/resp.h"
#include "common/store/sha1.h"

static void commands_are_encoded(void **state) {
    (void)state;
    CLEANUP(buf_fini) struct buf b = BUF_INIT;
    const struct str argv[] = {STR("SET"), STR("a\r\nb"), STR("")};
    resp_add_command(&b, 3, argv);
    assert_true(str_eq_c(buf_str(&b), "*3\r\n$3\r\nSET\r\n$4\r\na\r\nb\r\n$0\r\n\r\n"));
    buf_clear(&b);
    resp_add_array(&b, 1234567890);
    assert_true(str_eq_c(buf_str(&b), "*1234567890\r\n"));
}

/* Decodes from memory of exactly that size, so that a sanitizer sees a byte read too far. */
static ptrdiff_t decode(const char *bytes, size_t len, struct resp_reply *ret) {
    char *exact = mem_dup(bytes, len ? len : 1);
    ptrdiff_t n = resp_decode(exact, len, ret);
    if (n > 0 && ret->kind == RESP_ERROR) ret->text = str_of(bytes + 1, ret->text.len);
    mem_free(exact);
    return n;
}

static void every_cut_is_incomplete(void **state) {
    (void)state;
    const char *const replies[] = {":0\r\n",
                                   ":-12\r\n",
                                   ":9223372036\r\n",
                                   "-OOM command not allowed\r\n",
                                   "+PONG\r\n",
                                   "$3\r\nabc\r\n",
                                   "$-1\r\n",
                                   "$0\r\n\r\n",
                                   "*0\r\n",
                                   "*-1\r\n",
                                   "*2\r\n:1\r\n*1\r\n$1\r\nx\r\n"};
    for (size_t i = 0; i < ARRAY_LEN(replies); i++) {
        struct resp_reply r;
        size_t len = strlen(replies[i]);
        for (size_t cut = 0; cut < len; cut++) assert_int_equal(decode(replies[i], cut, &r), 0);
        assert_int_equal(decode(replies[i], len, &r), len);
    }
}

static void integers_and_errors_are_told(void **state) {
    (void)state;
    struct resp_reply r;
    assert_int_equal(decode(":801\r\n:1\r\n", 10, &r), 6);
    assert_int_equal(r.kind, RESP_INTEGER);
    assert_int_equal(r.integer, 801);
    assert_int_equal(decode(":-5\r\n", 5, &r), 5);
    assert_int_equal(r.integer, -5);
    assert_int_equal(decode("-READONLY no\r\n", 14, &r), 14);
    assert_int_equal(r.kind, RESP_ERROR);
    assert_true(str_eq_c(r.text, "READONLY no"));
    assert_int_equal(decode("+OK\r\n", 5, &r), 5);
    assert_int_equal(r.kind, RESP_OTHER);
}

static void what_is_not_resp_is_malformed(void **state) {
    (void)state;
    const char *const bad[] = {"HTTP/1.1 400\r\n",
                               ":\r\n",
                               ":1x\r\n",
                               ":1\rx",
                               ":99999999999999999999\r\n",
                               "$-2\r\n",
                               "$x\r\n",
                               "$1\r\nabc",
                               "*x\r\n",
                               "\r\n",
                               "-no carriage return\n",
                               "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct resp_reply r;
        assert_int_equal(decode(bad[i], strlen(bad[i]), &r), RESP_MALFORMED);
    }
}

static void a_line_without_end_is_malformed_not_endless(void **state) {
    (void)state;
    CLEANUP(buf_fini) struct buf b = BUF_INIT;
    struct resp_reply r;
    buf_add_char(&b, '-');
    for (int i = 0; i < 70000; i++) buf_add_char(&b, 'x');
    assert_int_equal(resp_decode(b.data, b.len, &r), RESP_MALFORMED);
}

static void sha1_vectors(void **state) {
    (void)state;
    char hex[SHA1_HEX_CHARS + 1];
    sha1_hex(STR("abc"), hex);
    assert_string_equal(hex, "a9993e364706816aba3e25717850c26c9cd0d89d");
    sha1_hex(STR(""), hex);
    assert_string_equal(hex, "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    sha1_hex(STR("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"), hex);
    assert_string_equal(hex, "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
    char *million = mem_alloc(1000000);
    memset(million, 'a', 1000000);
    sha1_hex(str_of(million, 1000000), hex);
    assert_string_equal(hex, "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
    mem_free(million);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_are_encoded),
        cmocka_unit_test(every_cut_is_incomplete),
        cmocka_unit_test(integers_and_errors_are_told),
        cmocka_unit_test(what_is_not_resp_is_malformed),
        cmocka_unit_test(a_line_without_end_is_malformed_not_endless),
        cmocka_unit_test(sha1_vectors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
